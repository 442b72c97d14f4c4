"""The Interchange REST API."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import orjson
from starlette.responses import Response
from starlette.routing import Route

from adcp_tracker.sandbox.failures import ApiError, apply_fault
from adcp_tracker.sandbox.middleware import (
    apply_rate_limit,
    check_token,
    decode,
    log_request,
    read_body,
    read_whole_number,
)
from adcp_tracker.sandbox.schema import Issue
from adcp_tracker.sandbox.seller import (
    LogRequest,
    list_sources,
    summarize,
    sync_sources,
    validation_error,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from adcp_tracker.sandbox.config import InjectedFault
    from adcp_tracker.sandbox.seller import Seller

BASES = ("/api/v2/buyer", "")
"""The base paths of the API."""

_DEFAULT_TAKE = 50


@attrs.frozen
class ApiCall:
    """A call of the API.

    Attributes:
        seller: The seller.
        request: The HTTP request.
        body: The body as received.
        fault: The fault to inject, if any.
        advertiser_id: The advertiser in the path.
    """

    seller: Seller
    request: Request
    body: bytes
    fault: InjectedFault | None
    advertiser_id: str

    def decoded(self) -> object:
        """Return the body parsed as JSON."""
        return decode(self.body, self.request, self.seller.config)


def rest_routes(seller: Seller) -> list[Route]:
    """Return the routes of the API."""
    calls = (
        ("POST", "log-event", "log_event", _log_event),
        ("POST", "event-sources/sync", "sync_event_sources", _sync_sources),
        ("GET", "event-sources", "list_event_sources", _list_sources),
        ("GET", "events/summary", "events_summary", _summarize),
    )
    return [
        Route(
            f"{base}/advertisers/{{advertiser_id}}/{path}",
            _endpoint(seller, name, handler),
            methods=[method],
        )
        for base in BASES
        for method, path, name, handler in calls
    ]


def _log_event(call: ApiCall) -> dict[str, object]:
    lose = 0 if call.fault is None else call.fault.lose
    request = LogRequest(call.decoded(), "interchange", call.advertiser_id, lose)
    return call.seller.log_events(request)


def _sync_sources(call: ApiCall) -> dict[str, object]:
    body = call.decoded()
    if not isinstance(body, dict):
        raise ApiError(400, "BAD_REQUEST", "The body must be a JSON object.")
    if body.get("account") != {"account_id": call.advertiser_id}:
        issue = Issue("/account/account_id", "must be the advertiser of the path", "const")
        raise validation_error([issue])
    if "event_sources" not in body:
        raise validation_error([Issue("/event_sources", "is required", "required")])
    return sync_sources(call.seller, body, call.advertiser_id, "REST")


def _list_sources(call: ApiCall) -> dict[str, object]:
    take, skip = _number(call, "take", _DEFAULT_TAKE), _number(call, "skip", 0)
    return list_sources(call.seller, call.advertiser_id, "REST", take, skip)


def _summarize(call: ApiCall) -> dict[str, object]:
    query = call.request.query_params
    if query.get("eventType") != "conversion":
        raise ApiError(400, "BAD_REQUEST", "eventType must be conversion.")
    start, end = query.get("startHour"), query.get("endHour")
    return summarize(call.seller, call.advertiser_id, start, end)


def _number(call: ApiCall, name: str, usual: int) -> int:
    number = read_whole_number(call.request.query_params.get(name, str(usual)))
    if number is None:
        message = f"{name} must be a whole number of up to 18 digits."
        raise ApiError(400, "BAD_REQUEST", message)
    return number


def _endpoint(
    seller: Seller, name: str, handler: Callable[[ApiCall], dict[str, object]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body, limits = b"", dict[str, str]()
        seller.timeline.open_request()
        try:
            limits = apply_rate_limit(seller)
            body = await read_body(request, seller.config)
            response = await _handle(seller, request, name, body, handler)
        except ApiError as refusal:
            response = _refuse(seller, refusal)
        response.headers.update(limits)
        log_request(request, seller, response, call=name, body=body, via="REST")
        return response

    return answer


async def _handle(
    seller: Seller,
    request: Request,
    name: str,
    body: bytes,
    handler: Callable[[ApiCall], dict[str, object]],
) -> Response:
    fault = seller.faults.take(name)

    def produce() -> Response:
        check_token(request, seller.config)
        advertiser_id = str(request.path_params["advertiser_id"])
        if not seller.sources.knows(advertiser_id):
            raise ApiError(404, "ADVERTISER_NOT_FOUND", "No such advertiser.")
        call = ApiCall(seller, request, body, fault, advertiser_id)
        return _respond(seller, handler(call))

    return await apply_fault(fault, produce, partial(_refuse, seller), seller.crash)


def _respond(seller: Seller, data: object) -> Response:
    answer: object = {"data": data, "error": None} if seller.config.wrapped else data
    return Response(orjson.dumps(answer), media_type="application/json")


def _refuse(seller: Seller, refusal: ApiError) -> Response:
    """Return an error in Interchange's format, without ``recovery``."""
    error = {"error": refusal.body(seller.config)}
    answer = {"data": None, **error} if seller.config.wrapped else error
    response = Response(orjson.dumps(answer), refusal.status, media_type="application/json")
    response.headers.update(refusal.headers)
    return response
