"""The page: a live timeline of events, with filters, details and faults to inject.

Events are written by strangers: everything is escaped, and the Content-Security-Policy allows
no script but the page's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from adcp_tracker.exceptions import AdcpTrackerError
from adcp_tracker.sandbox.config import DEFAULT_TOKEN
from adcp_tracker.sandbox.middleware import read_whole_number
from adcp_tracker.sandbox.panels import export_letters, render_coach, render_entry, render_letters
from adcp_tracker.sandbox.timeline import OUTCOMES, Filter

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Iterable

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from adcp_tracker.sandbox.seller import Seller
    from adcp_tracker.sandbox.timeline import Entry


FAULTS: Final[dict[str, dict[str, dict[str, object]]]] = {
    "Errors": {
        "503: temporarily unavailable": {"status": 503},
        "500: server error": {"status": 500},
        "429: too many requests, retry after 2 s": {"status": 429, "retry_after": "2"},
        "401: credential rejected": {"status": 401},
        "403: access denied": {"status": 403},
        "404: event source not found": {"status": 404, "code": "EVENT_SOURCE_NOT_FOUND"},
        "400: events rejected": {"status": 400, "code": "VALIDATION_ERROR"},
        "413: request too large": {"status": 413},
        "415: unsupported content type": {"status": 415},
        "Redirect to another address": {"location": "/elsewhere", "status": 307},
    },
    "Connection": {
        "Slow: respond after 3 s": {"latency_ms": 3000},
        "Never respond": {"connection": "stall"},
        "Reset the connection": {"connection": "reset"},
        "Close the connection": {"connection": "close"},
        "Cut the response, then close": {"connection": "truncate"},
        "Cut the response, then reset": {"connection": "truncate_reset"},
        "Stop the seller": {"crash": True},
    },
    "Stored, then failed": {
        "Store the events, then 503": {"status": 503, "after": True},
        "Store the events, then reset": {"connection": "reset", "after": True},
        "Lose one event silently": {"lose": 1},
    },
    "Malformed responses": {
        "An HTML page": {"body": "html"},
        "Plain text": {"body": "not_json"},
        "Half of the JSON": {"body": "cut_json"},
        "An empty body": {"body": "empty"},
        "JSON with wrong types": {"body": "wrong_types"},
        "null": {"body": "null"},
        "A list": {"body": "list"},
        "5 MB": {"body": "huge"},
    },
    "MCP": {
        "Forget the session": {"forget_session": True},
        "Error as JSON-RPC error": {"code": "SERVICE_UNAVAILABLE", "place": "jsonrpc"},
        "Error as text": {"code": "SERVICE_UNAVAILABLE", "place": "text"},
        "Error in a successful result": {"code": "SERVICE_UNAVAILABLE", "place": "errors"},
        "Error without a code": {"code": "SERVICE_UNAVAILABLE", "place": "plain"},
    },
}
"""The settings of :class:`~.InjectedFault` by group and label."""


def render_menu() -> str:
    """Return the options of the select element."""
    return "".join(
        f'<optgroup label="{escape(group)}">{_options(faults)}</optgroup>'
        for group, faults in FAULTS.items()
    )


def _options(faults: dict[str, dict[str, object]]) -> str:
    return "".join(
        f'<option value="{escape(orjson.dumps(settings).decode())}">{escape(label)}</option>'
        for label, settings in faults.items()
    )


ROWS: Final = 50
"""How many rows a page has, and how many more each click on "Show older events" brings."""

_POLL_SECONDS: Final = 0.2
_MAX_MONEY: Final = 24
_MAX_CHIPS: Final = 12
_MAX_FAULTS: Final = 5
_COUNTS: Final = {
    "good": "delivered",
    "bad": "rejected",
    "duplicates": "repeated",
    "lost": "unconfirmed",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript"}
_FOLDER: Final = files("adcp_tracker.sandbox")


def template(name: str) -> Template:
    """Return one of the templates."""
    return Template(_FOLDER.joinpath("templates", name).read_text(encoding="utf-8"))


def page_routes(seller: Seller) -> list[Route]:
    """Return the routes of the page, its files and its stream."""

    async def show(request: Request) -> Response:
        return HTMLResponse(_render_page(seller, request), headers=_HEADERS)

    async def entry(request: Request) -> Response:
        number = read_whole_number(request.path_params["number"])
        found = None if number is None else seller.timeline.find(number)
        if found is None:
            return HTMLResponse(_GONE, 404, headers=_HEADERS)
        html = template("entry.html").substitute(render_entry(found, seller, _origin(request)))
        return _article(request, "Event", html)

    async def panel(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in PANELS:
            return HTMLResponse(_GONE, 404, headers=_HEADERS)
        title, render = PANELS[name]
        body = await run_in_threadpool(render, seller)
        html = template("panel.html").substitute(name=name, title=title, body=body)
        return _article(request, title, html)

    async def export(request: Request) -> Response:
        try:
            lines = await run_in_threadpool(export_letters, seller, request.query_params)
        except (AdcpTrackerError, OSError) as error:
            return HTMLResponse(escape(str(error)), 400, headers=_HEADERS)
        name = {"Content-Disposition": 'attachment; filename="dead-letters.ndjson"'}
        return Response(lines, headers=_HEADERS | name, media_type="application/x-ndjson")

    async def stream(request: Request) -> Response:
        body = _stream(seller, request)
        return StreamingResponse(body, headers=_HEADERS, media_type="text/event-stream")

    return [
        Route("/", show),
        Route("/_static/{name}", _send_static),
        Route("/_sandbox/entry/{number}", entry),
        Route("/_sandbox/stream", stream),
        Route("/_sandbox/dead-letters/export", export),
        Route("/_sandbox/panel/{name}", panel),
    ]


PANELS: Final = {
    "coach": ("Match coach", render_coach),
    "dead-letters": ("Dead letters", render_letters),
}
"""Each panel's title, and what renders it."""


def _article(request: Request, title: str, html: str) -> Response:
    """Return a part of the page: alone for its script, with a head for a browser."""
    head = (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<link rel="stylesheet" href="/_static/page.css">'
    )
    is_fragment = "x-fragment" in request.headers
    return HTMLResponse(html if is_fragment else head + html, headers=_HEADERS)


_GONE: Final = '<article><h2 tabindex="-1">This event is no longer kept.</h2></article>'


async def _send_static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response(status_code=404)
    content = _FOLDER.joinpath("static", name).read_bytes()
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(content, headers=headers, media_type=_STATIC[name])


def parse_filter(query: QueryParams) -> Filter:
    """Return the filter in the query of a URL."""
    return Filter(
        outcomes=frozenset(query.getlist("outcome")),
        types=frozenset(query.getlist("type")),
        via=frozenset(query.getlist("via")),
        destinations=frozenset(query.getlist("destination")),
        test="test" in query,
        text=query.get("q", "").strip(),
    )


def _render_page(seller: Seller, request: Request) -> str:
    query = request.query_params
    wanted = parse_filter(query)
    before = read_whole_number(query.get("before", ""))
    entries, total = seller.timeline.page(wanted, before, ROWS)
    oldest = entries[-1].number if entries else 0
    older = "&".join(
        [f"{name}={escape(value)}" for name, value in query.multi_items() if name != "before"]
        + [f"before={oldest}"]
    )
    return template("page.html").substitute(
        last=seller.timeline.last,
        counts=_render_counts(seller),
        faults=_render_faults(seller),
        text=escape(wanted.text),
        chips=_render_chips(seller, wanted),
        shown=f"{len(entries):,} of {total:,}",
        rows="".join(map(_render_row, entries)),
        empty=_render_empty(seller, request),
        more=f"/?{older}",
        menu=render_menu(),
    )


def _render_empty(seller: Seller, request: Request) -> str:
    if seller.timeline.last:
        return "<p>No event matches these filters.</p>"
    advertiser, sources = next(iter(seller.config.advertisers.items()), ("ID", ()))
    is_default = DEFAULT_TOKEN in seller.config.tokens
    return template("empty.html").substitute(
        origin=escape(_origin(request)),
        advertiser=escape(advertiser),
        source=escape(next(iter(sources), "ID")),
        token=DEFAULT_TOKEN if is_default or not seller.config.tokens else "YOUR-TOKEN",
    )


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _render_counts(seller: Seller) -> str:
    counts = seller.store.counts()
    before = {name: seller.timeline.counts[name] for name in ("invalid", "trimmed", "dropped")}
    shown = {_COUNTS.get(name, name): count for name, count in counts.items()} | {
        name: count for name, count in before.items() if count
    }
    return "".join(_render_count(name, count) for name, count in shown.items())


def _render_count(name: str, count: int) -> str:
    colour = {"delivered": "good", "rejected": "bad", "invalid": "bad"}.get(name, "")
    attribute = f' class="{colour}"' if count and colour else ""
    return f"<div{attribute}><dt>{escape(name)}</dt><dd>{count:,}</dd></div>"


def _render_faults(seller: Seller) -> str:
    active = seller.faults.active()
    if not active:
        return ""
    items = "".join(f"<li>{escape(_describe_fault(each))}</li>" for each in active[:_MAX_FAULTS])
    more = f"<li>and {len(active) - _MAX_FAULTS} more</li>" if len(active) > _MAX_FAULTS else ""
    return f"<strong>Broken:</strong><ul>{items}{more}</ul><button type='button'>Mend</button>"


def _describe_fault(fault: Mapping[str, object]) -> str:
    names = ("status", "code", "connection", "body", "location", "latency_ms", "lose")
    what = [f"{name.removesuffix('_ms')} {fault[name]}" for name in names if fault[name]]
    what += [name for name in ("forget_session", "crash", "after") if fault[name]]
    left = "until mended" if fault["left"] is None else f"{fault['left']} left"
    return f"{', '.join(what) or 'nothing'} on {fault['on']} ({left})"


def _render_chips(seller: Seller, wanted: Filter) -> str:
    timeline = seller.timeline
    outcomes = [(str(name), label, timeline.counts[name]) for name, label in OUTCOMES.items()]
    groups: list[tuple[str, str, list[tuple[str, str, int]], frozenset[str]]] = [
        ("Outcome", "outcome", outcomes, wanted.outcomes),
        ("Type", "type", _common(timeline.types), wanted.types),
        ("Protocol", "via", _common(timeline.via), wanted.via),
        ("Destination", "destination", _common(timeline.destinations), wanted.destinations),
    ]
    html = "".join(_render_group(*group) for group in groups)
    tests = _render_chip("test", "1", "Test events", timeline.tests, is_checked=wanted.test)
    return f"{html}<fieldset><legend class='quiet'>Tests</legend>{tests}</fieldset>"


def _common(counts: Counter[str]) -> list[tuple[str, str, int]]:
    common = counts.most_common(_MAX_CHIPS)
    return [(name, name, count) for name, count in sorted(common) if name]


def _render_group(
    legend: str, name: str, choices: Iterable[tuple[str, str, int]], checked: frozenset[str]
) -> str:
    chips = "".join(
        _render_chip(name, value, label, count, is_checked=value in checked)
        for value, label, count in choices
        if count or value in checked
    )
    return f"<fieldset><legend>{legend}</legend>{chips}</fieldset>" if chips else ""


def _render_chip(name: str, value: str, label: str, count: int, *, is_checked: bool) -> str:
    checked = " checked" if is_checked else ""
    return (
        f'<label class="chip"><input type="checkbox" name="{name}" value="{escape(value)}"'
        f"{checked}>{escape(label)} <b>{count:,}</b></label>"
    )


def _render_row(entry: Entry) -> str:
    moment = datetime.fromtimestamp(entry.at).astimezone()
    test = "" if entry.test_event_code is None else ' <span class="test">test</span>'
    place = " ".join(filter(None, (entry.via, entry.destination)))
    reason = entry.code or _money(entry)
    return (
        f'<li class="{entry.outcome}" data-number="{entry.number}">'
        f'<a id="e{entry.number}" href="/_sandbox/entry/{entry.number}">'
        f'<time datetime="{moment.isoformat()}">{moment:%H:%M:%S}</time>'
        f'<span class="tag">{OUTCOMES[entry.outcome]}</span>'
        f'<span class="type">{escape(entry.event_type)}{test}</span>'
        f'<span class="id">{escape(entry.event_id)}</span>'
        f'<span class="value">{escape(reason)}</span>'
        f'<span class="via">{escape(place)}</span></a></li>'
    )


def _money(entry: Entry) -> str:
    event = entry.decoded()
    data = event.get("custom_data") if isinstance(event, Mapping) else None
    if not isinstance(data, Mapping) or "value" not in data:
        return ""
    return f"{data['value']} {data.get('currency', '')}".strip()[:_MAX_MONEY]


async def _stream(seller: Seller, request: Request) -> AsyncIterator[bytes]:
    """Send new rows and counters as server-sent events, while the browser listens."""
    timeline, wanted = seller.timeline, parse_filter(request.query_params)
    given = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    last = read_whole_number(given) or 0
    sent = b""
    yield b"retry: 1000\n\n"
    while not await request.is_disconnected():
        if last > timeline.last:  # the seller was started anew
            yield b'data: {"reload": true}\n\n'
            return
        news, last = _news(seller, wanted, last)
        encoded = orjson.dumps(news)
        if encoded != sent:
            yield b"id: %d\ndata: %b\n\n" % (last, encoded)
            sent = orjson.dumps(news | {"added": 0, "rows": ""})
        await asyncio.sleep(_POLL_SECONDS)


def _news(seller: Seller, wanted: Filter, last: int) -> tuple[dict[str, object], int]:
    """Return what has changed since entry `last`, and the number of the newest entry."""
    new = seller.timeline.since(last)
    matching = [entry for entry in new if wanted.matches(entry)]
    newest = matching[: -ROWS - 1 : -1]
    news: dict[str, object] = {
        "rows": "".join(map(_render_row, newest)),
        "added": len(matching),
        "counts": _render_counts(seller),
        "faults": _render_faults(seller),
        "chips": _render_chips(seller, wanted),
    }
    if len(matching) > ROWS:
        news = {"reload": True}
    return news, new[-1].number if new else last
