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

from adcp_tracker.sandbox.pagelook import SCRIPT, STYLE

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from adcp_tracker.sandbox.record import BadEvent, GoodEvent
    from adcp_tracker.sandbox.seller import Seller

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
    record = seller.record
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
