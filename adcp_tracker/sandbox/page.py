"""A page that shows what the seller gets, as it gets it.

Whatever events hold was written by strangers: all of it is escaped, and the page's
Content-Security-Policy lets no script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING

import orjson
from starlette.responses import HTMLResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from adcp_tracker.sandbox.seller import Seller
    from adcp_tracker.sandbox.store import BadEvent, GoodEvent


STYLE = """
:root {
  color-scheme: light dark;
  --ground: light-dark(#f6f7f9, #15181c); --sheet: light-dark(#fff, #1e2227);
  --ink: light-dark(#1b1f24, #e8eaed); --faint: light-dark(#5b6570, #9aa4af);
  --line: light-dark(#dde1e6, #333941);
  --good: light-dark(#0b6e4f, #4fc99b); --bad: light-dark(#b3261e, #ff8a80);
  background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 82rem; padding: 1.25rem; }
header { align-items: center; display: flex; flex-wrap: wrap; gap: .5rem 1rem; }
h1 { font-size: 1.35rem; margin: 0; }
#state { color: var(--faint); font-size: .85rem; margin: 0; }
#state::before {
  background: var(--good); border-radius: 50%; content: ""; display: inline-block;
  height: .55rem; margin-right: .4rem; width: .55rem;
}
#state.lost { color: var(--bad); } #state.lost::before { background: var(--bad); }
dl {
  display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr));
  margin: 1rem 0;
}
dl div, section { background: var(--sheet); border: 1px solid var(--line); border-radius: .5rem; }
dl div { display: flex; flex-direction: column-reverse; padding: .5rem .8rem; }
dt { color: var(--faint); font-size: .8rem; }
dd { font-size: 1.4rem; font-variant-numeric: tabular-nums; font-weight: 600; line-height: 1.2;
  margin: 0; }
.good dd, .good h2 { color: var(--good); } .bad dd, .bad h2 { color: var(--bad); }
main { align-items: start; display: grid; gap: 1rem; }
@media (min-width: 60rem) { main { grid-template-columns: 3fr 2fr; } }
section { min-width: 0; overflow: hidden; }
h2 { border-bottom: 1px solid var(--line); font-size: .95rem; margin: 0; padding: .6rem .9rem; }
section > p { color: var(--faint); margin: 0; padding: .9rem; }
section:has(summary) > p { display: none; }
details + details { border-top: 1px solid var(--line); }
summary { align-items: baseline; cursor: pointer; display: flex; gap: .3rem .7rem;
  padding: .45rem .9rem; }
summary::-webkit-details-marker { display: none; }
summary::before { color: var(--faint); content: "▸"; flex: none; font-size: .8rem; }
[open] > summary::before { content: "▾"; }
summary:hover { background: color-mix(in srgb, var(--ink) 5%, transparent); }
summary:focus-visible { outline: 2px solid var(--good); outline-offset: -2px; }
summary strong { flex: none; font-weight: 600; max-width: 50%; overflow-wrap: anywhere; }
summary .id { flex: 1 1 auto; font: .85rem ui-monospace, monospace; min-width: 0; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
summary .aside { color: var(--faint); flex: none; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
summary .test { border: 1px solid var(--line); border-radius: 1rem; color: var(--faint); flex: none;
  font-size: .75rem; max-width: 30%; overflow: hidden; padding: 0 .5rem; text-overflow: ellipsis;
  white-space: nowrap; }
.more { padding: .2rem .9rem .8rem 2.1rem; }
.more p { margin: 0 0 .4rem; }
ul { margin: 0 0 .5rem; overflow-wrap: anywhere; padding-left: 1.1rem; }
code, pre { font: .8rem/1.5 ui-monospace, monospace; }
pre { background: var(--ground); border-radius: .35rem; margin: 0; max-height: 30rem;
  overflow: auto; overflow-wrap: anywhere; padding: .6rem .8rem; white-space: pre-wrap; }
"""

# Rows that are there already are left where they are, so that whoever reads one keeps it
# open, and whoever goes through them by keyboard keeps the focus.
SCRIPT = """
const every = 1000;
const state = document.getElementById("state");
function merge(shown, fresh) {
  const old = new Map();
  for (const row of shown.children) {
    old.set(row.dataset.key, [...(old.get(row.dataset.key) ?? []), row]);
  }
  const rows = [...fresh.children];
  rows.forEach((row, at) => {
    const same = old.get(row.dataset.key)?.shift() ?? row;
    if (shown.children[at] !== same) shown.insertBefore(same, shown.children[at] ?? null);
  });
  while (shown.children.length > rows.length) shown.lastElementChild.remove();
}
async function refresh() {
  try {
    const answer = await fetch(location.pathname, {cache: "no-store"});
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const name of ["good", "bad"]) {
      merge(document.getElementById(name), fresh.getElementById(name));
    }
    document.querySelector("dl").replaceWith(fresh.querySelector("dl"));
    if (state.className) { state.className = ""; state.textContent = "listening"; }
  } catch {
    if (!state.className) { state.className = "lost"; state.textContent = "does not answer"; }
  }
  setTimeout(refresh, every);
}
setTimeout(refresh, every);
"""


_SHOWN = 50
_MOST_JSON = 4_000
_MOST_ISSUES = 20
_MOST_MONEY = 24
_KEY_CHARACTERS = 16


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; img-src data:; script-src {_hash(SCRIPT)}; style-src {_hash(STYLE)}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes(seller: Seller) -> list[Route]:
    """Return the route of the page."""

    async def show(_request: Request) -> Response:
        return HTMLResponse(_page(seller), headers=_HEADERS)

    return [Route("/", show)]


def _page(seller: Seller) -> str:
    record = seller.store
    counts = "".join(_count(name, number) for name, number in record.counts().items())
    good = "".join(map(_good, reversed(record.latest_good(_SHOWN))))
    bad = "".join(map(_bad, reversed(record.latest_bad(_SHOWN))))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<title>Local seller</title><style>{STYLE}</style></head><body>"
        '<header><h1>Local seller</h1><p id="state" role="status">listening</p></header>'
        f"<dl>{counts}</dl><main>"
        f"{_section('good', 'Good events', 'Nothing was taken yet; it shows here at once.', good)}"
        f"{_section('bad', 'Bad events', 'Nothing was refused.', bad)}"
        f"</main><script>{SCRIPT}</script></body></html>"
    )


def _count(name: str, number: int) -> str:
    colour = f' class="{name}"' if number and name in {"good", "bad"} else ""
    return f"<div{colour}><dt>{escape(name)}</dt><dd>{number:,}</dd></div>"


def _section(name: str, title: str, when_empty: str, rows: str) -> str:
    return (
        f'<section class="{name}"><h2>{title}</h2><p>{when_empty}</p>'
        f'<div id="{name}">{rows}</div></section>'
    )


def _good(kept: GoodEvent) -> str:
    event = kept.decoded()
    moment = datetime.fromtimestamp(kept.received_at, timezone.utc).astimezone()
    code = kept.test_event_code
    test = "" if code is None else _span("test", f"test {code}")
    aside = " · ".join(filter(None, (_money(event), f"{moment:%H:%M:%S}")))
    summary = f"{_strong(kept.event_type)}{_span('id', kept.event_id)}{test}{_span('aside', aside)}"
    place = f"<p><code>{escape(kept.advertiser_id)}/{escape(kept.event_source_id)}</code></p>"
    return _row(summary, place + _json(event), str(kept.received_at))


def _bad(kept: BadEvent) -> str:
    event = kept.decoded()
    event_id = str(event.get("event_id", "")) if isinstance(event, dict) else ""
    reasons = "".join(
        f"<li><code>{escape(issue.pointer)}</code> {escape(issue.message)}</li>"
        for issue in kept.issues[:_MOST_ISSUES]
    )
    summary = _strong(kept.code) + _span("id", event_id)
    return _row(summary, (f"<ul>{reasons}</ul>" if reasons else "") + _json(event))


def _row(summary: str, more: str, moment: str = "") -> str:
    """Return a row under a key by which the page knows it again."""
    row = f'<summary>{summary}</summary><div class="more">{more}</div>'
    key = hashlib.sha256(f"{moment}{row}".encode(errors="replace")).hexdigest()[:_KEY_CHARACTERS]
    return f'<details data-key="{key}">{row}</details>'


def _money(event: dict[str, object]) -> str:
    data = event.get("custom_data")
    if not isinstance(data, dict) or "value" not in data:
        return ""
    return f"{data['value']} {data.get('currency', '')}".strip()[:_MOST_MONEY]


def _strong(text: str) -> str:
    return f"<strong>{escape(text)}</strong>"


def _span(name: str, text: str) -> str:
    return f'<span class="{name}" title="{escape(text)}">{escape(text)}</span>'


def _json(event: object) -> str:
    text = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    shown = text if len(text) <= _MOST_JSON else text[:_MOST_JSON] + " …"
    return f"<pre>{escape(shown)}</pre>"
