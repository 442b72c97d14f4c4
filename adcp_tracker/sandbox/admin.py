"""Inspect and control the local seller over HTTP, under ``/_sandbox``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker.sandbox.config import InjectedFault, SandboxConfig, structure
from adcp_tracker.sandbox.failures import ApiError
from adcp_tracker.sandbox.middleware import read_json, read_whole_number
from adcp_tracker.sandbox.panels import correct_letter, count_letters, replay_letters
from adcp_tracker.sandbox.seller import LogRequest
from adcp_tracker.sandbox.timeline import Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from adcp_tracker.sandbox.seller import Seller

    _Action = Callable[[Seller, Request, object], object]

_DEFAULT_LIMIT = 100
_SLOW = "/_sandbox/dead-letters/"
"""Below it, requests wait for a queue, and so in a thread."""


def admin_routes(seller: Seller) -> list[Route]:
    """Return the routes under ``/_sandbox``."""
    reads: dict[str, _Action] = {
        "events": _events,
        "bad": _bad,
        "requests": _requests,
        "counts": lambda seller, *_: seller.store.counts(),
        "faults": lambda seller, *_: seller.faults.active(),
        "config": lambda seller, *_: _shown_config(seller),
        "dead-letters/count": lambda seller, *_: {"count": count_letters(seller)},
    }
    writes: dict[str, _Action] = {
        "faults": _add_faults,
        "config": _configure,
        "reset": _reset,
        "clear": _clear,
        "reports": _report,
        "entry/{number}/resend": _resend,
        "dead-letters/replay": lambda seller, _, content: replay_letters(seller, content),
        "dead-letters/correct": lambda seller, _, content: correct_letter(seller, content),
    }
    routes = [(name, "GET", read) for name, read in reads.items()]
    routes += [(name, "POST", write) for name, write in writes.items()]
    routes.append(("faults", "DELETE", _clear_faults))
    return [
        Route(f"/_sandbox/{name}", _endpoint(seller, action), methods=[method])
        for name, method, action in routes
    ]


def _endpoint(seller: Seller, action: _Action) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = await request.body()
        try:
            content = _decode(request, body)
            if request.url.path.startswith(_SLOW):
                result = await run_in_threadpool(action, seller, request, content)
            else:
                result = action(seller, request, content)
        except (AdcpTrackerError, OSError) as error:
            return _json({"error": str(error)}, 400)
        return _json(result)

    return answer


def _decode(request: Request, body: bytes) -> object:
    if not body:
        return {}
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise ConfigurationError("Content-Type: expected application/json.")
    try:
        return read_json(body)
    except ValueError as error:
        raise ConfigurationError(f"body: expected JSON: {error}") from error


def _json(content: object, status: int = 200) -> Response:
    return Response(
        orjson.dumps(content),
        status,
        {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        "application/json",
    )


def _limit(request: Request) -> int:
    limit = read_whole_number(request.query_params.get("limit", str(_DEFAULT_LIMIT)))
    if limit is None:
        raise ConfigurationError("limit: expected a whole number of up to 18 digits.")
    return limit


def _events(seller: Seller, request: Request, _content: object) -> object:
    return [
        {
            "event": kept.decoded(),
            "event_source_id": kept.event_source_id,
            "advertiser_id": kept.advertiser_id,
            "received_at": kept.received_at,
            "test_event_code": kept.test_event_code,
        }
        for kept in seller.store.latest_good(_limit(request))
    ]


def _bad(seller: Seller, request: Request, _content: object) -> object:
    return [
        {
            "event": kept.decoded(),
            "code": kept.code,
            "issues": [attrs.asdict(issue) for issue in kept.issues],
        }
        for kept in seller.store.latest_bad(_limit(request))
    ]


def _requests(seller: Seller, request: Request, _content: object) -> object:
    return [attrs.asdict(seen) for seen in seller.store.latest_requests(_limit(request))]


def _shown_config(seller: Seller) -> object:
    return attrs.asdict(seller.config) | {"tokens": len(seller.config.tokens)}


def _add_faults(seller: Seller, _request: Request, content: object) -> object:
    faults = content if isinstance(content, list) else [content]
    for fault in [structure(settings, InjectedFault) for settings in faults]:
        seller.faults.add(fault)
    return seller.faults.active()


def _clear_faults(seller: Seller, _request: Request, _content: object) -> object:
    seller.faults.clear(seller.config.seed)
    return []


def _configure(seller: Seller, _request: Request, content: object) -> object:
    if not isinstance(content, dict):
        raise ConfigurationError("body: expected a JSON object of settings.")
    changes = structure(content, SandboxConfig)
    given = {name: getattr(changes, name) for name in content}
    seller.configure(attrs.evolve(seller.config, **given))
    return _shown_config(seller)


def _clear(seller: Seller, _request: Request, _content: object) -> object:
    seller.clear()
    return seller.store.counts()


def _resend(seller: Seller, request: Request, _content: object) -> object:
    """Send the event of an entry again, by REST and without injected faults."""
    number = read_whole_number(request.path_params["number"])
    entry = None if number is None else seller.timeline.find(number)
    event = None if entry is None else entry.decoded()
    if entry is None or event is None:
        raise ConfigurationError("This event is no longer kept.")
    advertiser, _, source = entry.destination.partition("/")
    body: dict[str, object] = {"event_source_id": source, "events": [event]}
    if entry.test_event_code is not None:
        body["test_event_code"] = entry.test_event_code
    try:
        answer = seller.log_events(LogRequest(body, "interchange", advertiser))
    except ApiError as error:
        return {"result": f"Rejected: {error.code}"}
    return {"result": "Sent again" if answer["events_processed"] else "Rejected"}


def _report(seller: Seller, _request: Request, content: object) -> object:
    """Take what a tracker on this machine reports: see :mod:`adcp_tracker._development`."""
    reports = content if isinstance(content, list) else []
    for report in [structure(each, Report) for each in reports]:
        if report.origin and report.event_id:
            seller.timeline.add_origin(report.event_id, report.origin)
        if report.outcome != "tracked":
            seller.timeline.add([report.entry()])
    return {"reports": len(reports)}


def _reset(seller: Seller, _request: Request, _content: object) -> object:
    seller.reset()
    return seller.store.counts()
