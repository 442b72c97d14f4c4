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

    from adcp_tracker.sandbox.record import BadEvent, GoodEvent
    from adcp_tracker.sandbox.seller import Seller

_SHOWN = 50
_MOST_JSON = 4_000
_MOST_ISSUES = 20

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; }
header { align-items: baseline; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; }
h1 { font-size: 1.25rem; margin: 0; }
dl { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0; }
dl div { display: flex; gap: .35rem; }
dd { font-variant-numeric: tabular-nums; font-weight: 600; margin: 0; }
.columns { display: grid; gap: 1.5rem; }
.columns { grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); }
h2 { font-size: 1rem; border-bottom: 2px solid; padding-bottom: .25rem; }
.good h2 { border-color: #2a8f5a; } .bad h2 { border-color: #c8443c; }
details { border-bottom: 1px solid #8884; padding: .35rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary span { opacity: .7; }
pre { font-size: .8rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
ul { margin: .25rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
"""

_SCRIPT = """
const every = 1000;
async function refresh() {
  try {
    const answer = await fetch(location.pathname, {cache: "no-store"});
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!document.querySelector("details[open]")) {
      document.querySelector("main").replaceWith(fresh.querySelector("main"));
    }
    document.querySelector("dl").replaceWith(fresh.querySelector("dl"));
  } finally {
    setTimeout(refresh, every);
  }
}
setTimeout(refresh, every);
"""


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; "
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
    record = seller.record
    counts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{number}</dd></div>"
        for name, number in record.counts().items()
    )
    good = "".join(map(_good, reversed(record.latest_good(_SHOWN))))
    bad = "".join(map(_bad, reversed(record.latest_bad(_SHOWN))))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Local seller</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>Local seller</h1><dl>{counts}</dl></header>"
        f'<main class="columns"><section class="good"><h2>Good events</h2>{good or _none()}'
        f'</section><section class="bad"><h2>Bad events</h2>{bad or _none()}</section></main>'
        f"<script>{_SCRIPT}</script></body></html>"
    )


def _none() -> str:
    return "<p>None so far.</p>"


def _good(kept: GoodEvent) -> str:
    moment = datetime.fromtimestamp(kept.received_at, timezone.utc).strftime("%H:%M:%S")
    test = "" if kept.test_event_code is None else f" · test {kept.test_event_code}"
    title = f"{moment} · {kept.event_source_id}{test}"
    summary = f"{_strong(kept.event_type)} {escape(kept.event_id)} <span>{escape(title)}</span>"
    return f"<details><summary>{summary}</summary>{_json(kept.decoded())}</details>"


def _bad(kept: BadEvent) -> str:
    event = kept.decoded()
    event_id = str(event.get("event_id", "")) if isinstance(event, dict) else ""
    reasons = "".join(
        f"<li>{escape(issue.pointer)} {escape(issue.message)}</li>"
        for issue in kept.issues[:_MOST_ISSUES]
    )
    summary = f"{_strong(kept.code)} {escape(event_id)}"
    return f"<details><summary>{summary}</summary><ul>{reasons}</ul>{_json(event)}</details>"


def _strong(text: str) -> str:
    return f"<strong>{escape(text)}</strong>"


def _json(event: object) -> str:
    text = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    shown = text if len(text) <= _MOST_JSON else text[:_MOST_JSON] + " …"
    return f"<pre>{escape(shown)}</pre>"
