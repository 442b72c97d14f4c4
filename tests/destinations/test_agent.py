"""The Agent destination against sellers over real HTTP."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from adcp_tracker import Tracker
from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import (
    Batch,
    Delivered,
    Destination,
    Paused,
    Rejected,
    Retry,
    Timeouts,
    TooLarge,
)
from adcp_tracker.destinations.capabilities import AgentInfo, read_capabilities
from adcp_tracker.events.model import ActionSource, EventType, UidType
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import SandboxConfig
from tests.destinations.rawseller import RawRequest, answering, http, raw_seller
from tests.support.destinations import HandClock
from tests.support.seller import SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from adcp_tracker.events.rules import AdcpVersion
    from adcp_tracker.sandbox import Sandbox
    from tests.destinations.rawseller import RawSeller, Script

KEY = re.compile(rb'"idempotency_key":"([A-Za-z0-9_.:-]{16,255})"')
OPENING = ["initialize", "notifications/initialized", "tools/list", "get_adcp_capabilities"]


def event(number: int, **fields: object) -> bytes:
    """Return a valid event's final bytes."""
    whole: dict[str, object] = {
        "event_id": f"order-{number}",
        "event_type": "purchase",
        "event_time": "2026-01-02T03:04:05Z",
        "user_match": {"uids": [{"type": "other", "value": f"crm-{number}"}]},
        "custom_data": {"value": 12.5, "currency": "EUR"},
        **fields,
    }
    return json.dumps(whole).encode()


def batch(count: int = 3, identity: bytes = b"identity", test: str | None = None) -> Batch:
    """Return a frozen batch."""
    return Batch([event(number) for number in range(count)], identity, test)


def agent(url: str, **settings: Any) -> Agent:  # noqa: ANN401 - settings differ
    """Return a destination that the seller knows."""
    known: dict[str, Any] = {"url": url, "event_source_id": SOURCE, "token": TOKEN}
    return Agent(**(known | settings))


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """One seller for all tests of this module."""
    with run_seller() as seller:
        yield seller


@pytest.fixture
def seller(running: Sandbox) -> Sandbox:
    """The seller as if it were fresh."""
    running.reset()
    running.configure(**attrs.asdict(SandboxConfig(), recurse=False))
    return running


@pytest.fixture
def shop(seller: Sandbox) -> Iterator[Agent]:
    """A destination before a fresh seller."""
    destination = agent(seller.mcp_url)
    yield destination
    destination.close()


def calls(seller: Sandbox) -> list[str]:
    """Return what was called, in order."""
    return [request.call for request in seller.requests]


def test_it_is_a_destination() -> None:
    """It fits the protocol that deliveries go by, under a name without a secret."""
    shop = agent("https://seller.example:8443/a/mcp/")
    assert isinstance(shop, Destination)
    assert shop.name == f"agent:seller.example:8443/a/mcp/{SOURCE}"
    assert agent("https://seller.example", name="mine").name == "mine"


@pytest.mark.parametrize("sse", [False, True])
@pytest.mark.parametrize("sessions", [False, True])
def test_a_batch_is_delivered(shop: Agent, seller: Sandbox, *, sse: bool, sessions: bool) -> None:
    """With a session or without, as JSON or as events, a strict seller takes the events."""
    seller.configure(sse=sse, sessions=sessions)
    first, second = shop.send(batch(3)), shop.send(batch(2, b"other"))
    assert isinstance(first, Delivered)
    assert (first.received, first.processed, first.failures) == (3, 3, ())
    assert isinstance(second, Delivered)
    assert [event["event_id"] for event in seller.events] == ["order-0", "order-1", "order-2"]
    assert calls(seller) == [*OPENING, "log_event", "log_event"]


@pytest.mark.parametrize("status", [None, "completed"])
def test_the_status_of_an_answer_may_be_missing(
    shop: Agent, seller: Sandbox, status: str | None
) -> None:
    """Most sellers leave it out."""
    seller.configure(status=status)
    assert isinstance(shop.send(batch()), Delivered)


def test_a_test_code_marks_the_whole_request(shop: Agent, seller: Sandbox) -> None:
    """Test events arrive as tests."""
    assert isinstance(shop.send(batch(2, test='T"1')), Delivered)
    assert len(seller.test_events) == 2
    assert seller.events == []


def test_the_same_batch_has_the_same_key_for_ever(seller: Sandbox) -> None:
    """A destination built anew, as after a crash, is answered by replay."""
    outcomes = []
    for _ in range(2):
        destination = agent(seller.mcp_url)
        outcomes.append(destination.send(batch()))
        destination.close()
    assert [isinstance(outcome, Delivered) and outcome.replayed for outcome in outcomes] == [
        False,
        True,
    ]


def test_other_bytes_or_another_generation_have_another_key(shop: Agent) -> None:
    """A key is for one identity only, and the seller would tell a conflict."""
    assert isinstance(shop.send(batch(3, b"one")), Delivered)
    other = shop.send(batch(2, b"two"))
    assert isinstance(other, Delivered)
    assert not other.replayed
    conflict = shop.send(batch(2, b"one"))
    assert isinstance(conflict, Retry)
    assert (conflict.code, conflict.fresh_key) == ("IDEMPOTENCY_CONFLICT", True)


def test_an_expired_key_is_renewed(seller: Sandbox) -> None:
    """The events go again under a fresh key, and the seller knows them by their ids."""
    destination = agent(seller.mcp_url)
    assert isinstance(destination.send(batch()), Delivered)
    seller.configure(idempotency_ttl_s=-1.0)
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.fresh_key) == ("IDEMPOTENCY_EXPIRED", True)


PLACES = ["adcp_error", "jsonrpc", "text", "errors"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"code": "SERVICE_UNAVAILABLE", "recovery": "transient"}, Retry),
        ({"code": "IDEMPOTENCY_IN_FLIGHT", "recovery": "transient"}, Retry),
        ({"code": "FROM_THE_FUTURE"}, Retry),
        ({"code": "BATCH_TOO_LARGE", "recovery": "correctable"}, TooLarge),
        ({"code": "VALIDATION_ERROR", "recovery": "correctable"}, Rejected),
        ({"code": "AUTH_REQUIRED", "recovery": "correctable"}, Paused),
        ({"code": "REFERENCE_NOT_FOUND", "recovery": "correctable"}, Paused),
        ({"code": "MYSTERY", "recovery": "terminal"}, Paused),
        ({"code": "MYSTERY", "recovery": "whatever"}, Paused),
    ],
)
def test_errors_are_understood_in_each_place(
    seller: Sandbox, place: str, fault: dict[str, Any], kind: type
) -> None:
    """Where an error stands changes nothing, and the next try is delivered."""
    destination = agent(seller.mcp_url)
    seller.fail(place=place, **fault)
    outcome, later = destination.send(batch()), destination.send(batch())
    destination.close()
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert outcome.code == fault["code"]
    assert isinstance(later, Delivered)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Paused),
        (403, Paused),
        (404, Paused),
        (408, Retry),
        (413, TooLarge),
        (415, Paused),
        (425, Retry),
        (429, Retry),
        (500, Retry),
        (503, Retry),
    ],
)
@pytest.mark.parametrize("html", [False, True])
def test_each_status_has_its_outcome(
    seller: Sandbox, status: int, kind: type, *, html: bool
) -> None:
    """A proxy's page and a bare JSON-RPC error are judged by the status, twice if need be."""
    destination = agent(seller.mcp_url)
    assert isinstance(destination.send(batch(1, b"first")), Delivered)
    seller.fail(status=status, body="html" if html else None, place="http", times=2)
    outcome = destination.send(batch())
    seller.clear_faults()
    later = destination.send(batch())
    destination.close()
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert outcome.code == f"http_{status}"
    assert isinstance(later, Delivered)


def test_words_without_a_code_are_tried_again_on_a_budget(shop: Agent, seller: Sandbox) -> None:
    """An error of text alone says nothing that may decide."""
    seller.fail(code="X", place="plain", message="401: unknown token")
    outcome = shop.send(batch())
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.budgeted) == ("tool_error", True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("notation", ["pointer", "dotted"])
@pytest.mark.parametrize("home", ["details", "top", "nowhere"])
def test_an_invalid_event_is_named(
    seller: Sandbox,
    place: str,
    notation: str,
    home: str,
) -> None:
    """In every place, notation and home the one wrong event is found."""
    seller.configure(error_place=place, notation=notation, issues_in=home)
    destination = agent(seller.mcp_url)
    events = [event(0), event(1, event_time="yesterday"), event(2)]
    outcome = destination.send(Batch(events, b"i"))
    destination.close()
    assert isinstance(outcome, Rejected)
    assert [failure.index for failure in outcome.failures] == [1]


def test_a_seller_with_few_nodes_asks_for_less(shop: Agent, seller: Sandbox) -> None:
    """A limit told by keyword under a validation error halves the batch."""
    seller.fail(code="VALIDATION_ERROR", issues=({"pointer": "/", "keyword": "payload_size"},))
    assert isinstance(shop.send(batch()), TooLarge)


@pytest.mark.parametrize("place", PLACES)
def test_a_wait_is_honoured_wherever_it_stands(seller: Sandbox, place: str) -> None:
    """Seconds in the error and in the header are both minima."""
    destination = agent(seller.mcp_url)
    seller.fail(code="RATE_LIMITED", place=place, retry_after_s=5, retry_after="9")
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, Retry)
    assert (outcome.rate_limited, outcome.retry_after) == (True, 9)


@pytest.mark.parametrize("connection", ["reset", "close", "truncate", "truncate_reset"])
@pytest.mark.parametrize("sse", [False, True])
def test_an_answer_lost_on_the_way_is_asked_for_again(
    seller: Sandbox, connection: str, *, sse: bool
) -> None:
    """The events were taken; the same key brings the first answer."""
    seller.configure(sse=sse)
    destination = agent(seller.mcp_url)
    seller.fail(connection=connection, after=True)
    outcome, later = destination.send(batch()), destination.send(batch())
    destination.close()
    assert isinstance(outcome, Retry)
    assert not outcome.budgeted
    assert not outcome.fresh_key
    assert isinstance(later, Delivered)
    assert later.replayed


@pytest.mark.parametrize("body", ["not_json", "cut_json", "empty", "wrong_types", "huge", "html"])
def test_a_garbled_success_is_tried_again(shop: Agent, seller: Sandbox, body: str) -> None:
    """Nothing is decided by what cannot be read."""
    seller.fail(body=body, after=True)
    assert isinstance(shop.send(batch()), Retry)
    assert isinstance(shop.send(batch()), Delivered)


def test_a_redirect_is_not_followed(shop: Agent, seller: Sandbox) -> None:
    """The credential does not travel."""
    seller.fail(status=307, location=seller.mcp_url)
    outcome = shop.send(batch())
    assert isinstance(outcome, Paused)
    assert outcome.code == "http_307"


@pytest.mark.parametrize("fault", [{"forget_session": True}, {"status": 400, "place": "http"}])
def test_a_lost_session_is_opened_anew_within_the_same_try(
    shop: Agent, seller: Sandbox, fault: dict[str, Any]
) -> None:
    """A seller that restarted says 404, or 400 in some, and gets the same bytes again."""
    assert isinstance(shop.send(batch(1, b"first")), Delivered)
    seller.fail(**fault)
    outcome = shop.send(batch())
    assert isinstance(outcome, Delivered)
    assert not outcome.replayed
    again = ["log_event", "initialize", "notifications/initialized", "log_event"]
    assert calls(seller)[-4:] == again


def test_a_restarted_seller_is_asked_again_what_it_offers(shop: Agent, seller: Sandbox) -> None:
    """What was learned belongs to a session."""
    assert isinstance(shop.send(batch(1, b"first")), Delivered)
    seller.fail(forget_session=True)
    shop.send(batch(1, b"second"))
    seller.configure(versions=("3.0",))
    assert shop.check({"event_type": "follow"}) is None
    shop.send(batch(1, b"third"))
    assert shop.check({"event_type": "follow"}) is not None


@pytest.mark.parametrize(
    ("settings", "kind"),
    [({"token": "wrong"}, Paused), ({"event_source_id": "unknown"}, Paused)],
)
def test_a_wrong_configuration_pauses(seller: Sandbox, settings: Any, kind: type) -> None:  # noqa: ANN401
    """Nothing is lost, and the remedy says what to change."""
    destination = agent(seller.mcp_url, **settings)
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Paused)
    assert outcome.remedy


def test_a_seller_of_other_lines_pauses_with_those_it_speaks(seller: Sandbox) -> None:
    """The message tells what to set."""
    seller.configure(versions=("3.2",))
    destination = agent(seller.mcp_url)
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, Paused)
    assert outcome.code == "VERSION_UNSUPPORTED"
    assert "3.2" in outcome.message


@pytest.mark.parametrize("status", [400, 401, 404, 405, 413])
def test_a_session_that_cannot_be_opened_pauses(seller: Sandbox, status: int) -> None:
    """No event was sent, so none is rejected, halved or searched for."""
    seller.configure(stateless=False)  # else the agent needs no session
    destination = agent(seller.mcp_url)
    seller.fail(on="initialize", status=status, place="http")
    outcome = destination.send(batch())
    assert isinstance(outcome, Paused)
    assert outcome.remedy
    assert isinstance(destination.send(batch()), Delivered)
    destination.close()


@pytest.mark.parametrize("fault", [{"status": 503, "place": "http"}, {"body": "not_json"}])
@pytest.mark.parametrize("on", ["initialize", "tools/list", "get_adcp_capabilities"])
def test_trouble_before_the_events_costs_them_nothing(
    seller: Sandbox, on: str, fault: dict[str, Any]
) -> None:
    """Opening may fail and is tried again; the rest is not needed to deliver."""
    seller.configure(stateless=False)
    destination = agent(seller.mcp_url)
    seller.fail(on=on, **fault)
    outcome = destination.send(batch())
    assert isinstance(outcome, Retry if on == "initialize" else Delivered)
    assert not (isinstance(outcome, Retry) and outcome.budgeted)
    assert isinstance(destination.send(batch()), Delivered)
    destination.close()


@pytest.mark.slow
def test_an_agent_that_cannot_list_its_tools_is_asked_once(seller: Sandbox) -> None:
    """A question nobody answers holds up the first try only."""
    destination = agent(seller.mcp_url, timeout=Timeouts(read=3.0))
    seller.fail(on="tools/list", connection="stall", times=None)
    first, second = destination.send(batch()), destination.send(batch())
    destination.close()
    assert isinstance(first, Retry)
    assert first.code == "read_timeout"
    assert isinstance(second, Delivered)


class _Signature(httpx.Auth):
    """Signs what is sent, as RFC 9421 would have it."""

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add a header made of the body's length."""
        request.headers["Signature"] = f"len={len(request.content)}"
        yield request


def speaking(tool: Callable[[RawRequest], object], tools: object = None) -> Script:
    """Return a plain agent whose one tool answers as `tool` says."""
    offered = {"tools": [{"name": "log_event"}]} if tools is None else tools

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        message = json.loads(request.body)
        opening: dict[str, object] = {"initialize": {}, "tools/list": offered}
        answer = {"jsonrpc": "2.0", "id": message.get("id")}
        if message["method"] == "tools/call":
            said = tool(request)
            answer |= said if isinstance(said, dict) else {"result": said}
        else:
            answer["result"] = opening.get(message["method"])
        connection.sendall(http(200, json.dumps(answer).encode()))

    return script


def taken(_: RawRequest) -> dict[str, object]:
    """Answer with a success."""
    content = {"events_received": 1, "events_processed": 1}
    return {"result": {"structuredContent": content, "content": []}}


ODD = b'{ "event_id":"\\u0041",  "custom_data":{"value":1.10000000000000000001} }'


@pytest.mark.parametrize(
    ("line", "versions"),
    [
        ("3.0", b""),
        ("3.1", b'"adcp_version":"3.1","adcp_major_version":3,'),
        ("3.2", b'"adcp_version":"3.2","adcp_major_version":3,'),
    ],
)
def test_the_frozen_bytes_are_sent_untouched(line: AdcpVersion, versions: bytes) -> None:
    """What is sent is the events' own bytes between a few fields of the line."""
    with raw_seller(speaking(taken)) as seller:
        destination = agent(f"{seller.origin}/mcp", adcp_version=line)
        assert isinstance(destination.send(Batch([ODD, ODD], b"i", "T")), Delivered)
        destination.close()
    body = seller.requests[-1].body
    key = KEY.search(body)
    assert key is not None
    expected = (
        b'"params":{"name":"log_event","arguments":{"idempotency_key":"%b",%b'
        b'"event_source_id":"%b","events":[%b,%b],"test_event_code":"T"}}}'
    )
    assert body.endswith(expected % (key[1], versions, SOURCE.encode(), ODD, ODD))
    json.loads(body)


def test_keys_differ_by_seller_and_credential() -> None:
    """A key known to one seller is of no use at another."""
    keys = set()
    with raw_seller(speaking(taken)) as seller:
        for settings in ({}, {"token": "other"}, {"name": "other"}, {"event_source_id": "other"}):
            destination = agent(f"{seller.origin}/mcp", **settings)
            destination.send(Batch([ODD], b"i"))
            destination.close()
            key = KEY.search(seller.requests[-1].body)
            assert key is not None
            keys.add(key[1])
    assert len(keys) == 4


def test_requests_can_be_signed() -> None:
    """The hook sees the body that is sent, and a token is not needed then."""
    with raw_seller(speaking(taken)) as seller:
        destination = agent(
            f"{seller.origin}/mcp", token=None, auth=_Signature(), key_secret="k" * 32
        )
        assert isinstance(destination.send(Batch([ODD], b"i")), Delivered)
        destination.close()
    for request in seller.requests:
        assert request.headers["signature"] == f"len={len(request.body)}"
        assert "authorization" not in request.headers
    assert seller.requests[-1].headers["accept"] == "application/json, text/event-stream"


@pytest.mark.parametrize("offered", [{"tools": []}, {"tools": [{"name": "get_products"}]}])
def test_an_agent_without_the_tool_pauses_until_it_has_it(offered: dict[str, Any]) -> None:
    """No event is sent to an agent that takes none, and it is asked again each time."""
    with raw_seller(speaking(taken, offered)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        outcome = destination.send(Batch([ODD], b"i"))
        assert isinstance(outcome, Paused)
        assert outcome.code == "TOOL_NOT_FOUND"
        assert destination.send(Batch([ODD], b"i")) == outcome
        assert all(b"log_event" not in request.body for request in seller.requests)
        offered["tools"].append({"name": "log_event"})
        assert isinstance(destination.send(Batch([ODD], b"i")), Delivered)
        destination.close()


def test_tools_may_come_in_pages() -> None:
    """The tool is found on a later page, and endless pages are not followed for ever."""
    pages = {"tools": [{"name": "get_products"}], "nextCursor": "again"}
    with raw_seller(speaking(taken, pages)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        assert isinstance(destination.send(Batch([ODD], b"i")), Delivered)
        destination.close()
    assert len(seller.requests) < 40


@pytest.mark.parametrize(
    ("tools", "kind"), [({"tools": [{"name": "log_event"}]}, Rejected), ({"tools": 7}, Paused)]
)
def test_wrong_parameters_are_searched_only_where_the_tool_is_known(
    tools: object, kind: type
) -> None:
    """JSON-RPC has one number for unknown tools and for wrong parameters."""
    error = {"error": {"code": -32602, "message": "Unknown tool: log_event"}}
    with raw_seller(speaking(lambda _: error, tools)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        outcome = destination.send(Batch([ODD], b"i"))
        destination.close()
    assert isinstance(outcome, kind)


def test_a_400_of_the_protocol_does_not_open_a_session_anew() -> None:
    """Only a bare 400 may mean that the session is lost."""
    error = {"code": "VALIDATION_ERROR", "field": "events[0].event_time"}
    refusal = {"id": None, "error": {"code": -32000, "data": {"adcp_error": error}}}
    answers = [
        http(200, b'{"id":1,"result":{}}', "Mcp-Session-Id: s1\r\n"),
        http(202),
        http(200, b'{"id":2,"result":{"tools":[{"name":"log_event"}]}}'),
        http(200, b'{"id":3,"result":{"structuredContent":{"events_received":1}}}'),
        http(400, json.dumps(refusal).encode()),
    ]
    with raw_seller(answering(*answers)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        assert isinstance(destination.send(Batch([ODD], b"i")), Delivered)
        outcome = destination.send(Batch([ODD], b"j"))
        destination.close()
    assert isinstance(outcome, Rejected)
    assert [failure.index for failure in outcome.failures] == [0]
    assert len(seller.requests) == 5
    assert seller.requests[-1].headers["mcp-session-id"] == "s1"
    assert seller.requests[-1].headers["mcp-protocol-version"] == "2025-06-18"


def test_answers_to_other_requests_are_no_answer() -> None:
    """An id that was not asked with does not count."""
    other = {"id": 999, **taken(RawRequest("", {}, b""))}
    with raw_seller(speaking(lambda _: other)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        outcome = destination.send(Batch([ODD], b"i"))
        destination.close()
    assert isinstance(outcome, Retry)
    assert outcome.code == "unreadable_answer"


def test_a_stream_that_stays_open_does_not_hold_the_call() -> None:
    """The answer is enough; what the seller says later is of no use."""

    def script(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        message = json.loads(request.body)
        tools = {"tools": [{"name": "log_event"}]}
        content = {"structuredContent": {"events_received": 1, "events_processed": 1}}
        results = {"initialize": {}, "tools/list": tools, "tools/call": content}
        answer = {"id": message.get("id"), "result": results.get(message["method"])}
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.sendall(b"data: " + json.dumps(answer).encode() + b"\n\n")
        seller.stopping.wait(30)

    with raw_seller(script) as seller:
        destination = agent(f"{seller.origin}/mcp", timeout=Timeouts(read=20.0, total=40.0))
        started = time.monotonic()
        outcome = destination.send(Batch([ODD], b"i"))
        assert time.monotonic() - started < 10
        destination.close()
    assert isinstance(outcome, Delivered)


@pytest.mark.parametrize(
    ("line", "fields", "refused"),
    [
        ("3.0", {"event_type": "follow"}, True),
        ("3.0", {"event_type": "purchase", "surface": {"category": "app"}}, False),
        ("3.1", {"event_type": "follow"}, False),
        ("3.2", {"event_type": "watch_milestone"}, False),
    ],
)
def test_events_of_a_newer_line_are_refused_with_the_remedy(
    line: AdcpVersion,
    fields: dict[str, object],
    *,
    refused: bool,
) -> None:
    """The failure names the line that is needed."""
    failure = agent("https://seller.example", adcp_version=line).check({"event_id": "e", **fields})
    assert (failure is not None) is refused
    if failure:
        assert (failure.code, failure.event_id) == ("VERSION_UNSUPPORTED", "e")
        assert "3.1" in failure.remedy


@pytest.mark.parametrize("line", ["3.0", "3.1", "3.2"])
def test_every_line_is_taken_by_a_seller_of_that_line(seller: Sandbox, line: AdcpVersion) -> None:
    """Newer fields do no harm on an older line."""
    destination = agent(seller.mcp_url, adcp_version=line)
    surface = event(0, surface={"category": "owned_property"})
    outcome = destination.send(Batch([surface], b"i"))
    destination.close()
    assert isinstance(outcome, Delivered)


def choosy(tracking: dict[str, object], versions: list[str] | None = None) -> Script:
    """Return an agent that says it takes no more than `tracking`, and takes all the same."""
    body: dict[str, object] = {"media_buy": {"conversion_tracking": tracking}}
    if versions:
        body["adcp"] = {"supported_versions": versions}
    tools = {"tools": [{"name": "log_event"}, {"name": "get_adcp_capabilities"}]}

    def tool(request: RawRequest) -> object:
        if b"get_adcp_capabilities" in request.body:
            return {"result": {"content": [{"type": "text", "text": json.dumps(body)}]}}
        count = len(json.loads(request.body)["params"]["arguments"]["events"])
        content = {"events_received": count, "events_processed": count}
        return {"result": {"structuredContent": content}}

    return speaking(tool, tools)


def test_what_the_seller_does_not_take_is_refused_early() -> None:
    """Once the capabilities are known, they are believed."""
    with raw_seller(choosy({"supported_event_types": ["lead"]})) as seller:
        destination = agent(f"{seller.origin}/mcp")
        assert destination.check({"event_type": "purchase"}) is None
        destination.send(Batch([ODD], b"i"))
        failure = destination.check({"event_id": "e", "event_type": "purchase"})
        assert destination.check({"event_type": "lead"}) is None
        destination.close()
    assert failure is not None
    assert (failure.code, failure.event_id) == ("UNSUPPORTED_EVENT_TYPE", "e")


@pytest.mark.parametrize(
    ("tracking", "versions", "code"),
    [
        ({"supported_event_types": ["lead"]}, None, "UNSUPPORTED_EVENT_TYPE"),
        ({"supported_action_sources": ["app"]}, None, "UNSUPPORTED_ACTION_SOURCE"),
        ({}, ["3.0"], "VERSION_UNSUPPORTED"),
    ],
)
def test_no_seller_sees_what_it_says_it_does_not_take(
    tracking: dict[str, object], versions: list[str] | None, code: str, tmp_path: Path
) -> None:
    """Not even in the first batch, frozen before it could say so; the other event arrives."""
    kind = "follow" if versions else "purchase"
    unwanted: dict[str, Any] = {
        "event_source_url": "https://shop.example/",
        "user_match": {"uids": [{"type": "id5", "value": "x"}]},
    }
    with raw_seller(choosy(tracking, versions)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        with Tracker([destination], directory=tmp_path) as tracker:
            tracker.track(kind, event_id="unwanted", **unwanted)
            tracker.track_lead("wanted", client_ip="192.0.2.1", client_user_agent="curl")
            counts = tracker.flush(20.0).total()
            (letter,) = tracker.dead_letters.list()
        assert (counts.delivered, counts.dead, counts.pending) == (1, 1, 0)
        assert letter.code == code
        assert b'"unwanted"' in letter.event
        assert letter.remedy
        assert not any(b'"unwanted"' in request.body for request in seller.requests)
        assert sum(b'"wanted"' in request.body for request in seller.requests) == 1


def test_universal_ids_that_a_seller_does_not_match_cost_no_event(tmp_path: Path) -> None:
    """They are left out of the request, under another key, logged and counted as omitted."""
    tracking: dict[str, object] = {"supported_uid_types": ["uid2"]}
    uids = [{"type": "id5", "value": "x"}, {"type": "uid2", "value": "y"}]
    with raw_seller(choosy(tracking)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        with Tracker([destination], directory=tmp_path) as tracker:
            tracker.track_lead("both", user_match={"uids": uids})
            tracker.track_lead("one", user_match={"uids": uids[:1]})
            counts = tracker.flush(20.0).total()
        assert (counts.delivered, counts.dead) == (2, 0)
        assert counts.omitted == {"user_match.uids unsupported": 2}
        bodies = [json.loads(request.body) for request in seller.requests]
    calls = [
        body["params"]["arguments"] for body in bodies if "arguments" in body.get("params", {})
    ]
    sent = {event["event_id"]: event for call in calls for event in call.get("events", ())}
    assert sent["both"]["user_match"] == {"uids": uids[1:]}
    assert "user_match" not in sent["one"]


def test_other_bytes_for_a_seller_have_another_key() -> None:
    """The same key never comes with other bytes, whenever the capabilities were learned."""
    keys = []
    with_uid = event(0, user_match={"uids": [{"type": "id5", "value": "x"}]})
    chosen: dict[str, object] = {"supported_uid_types": ["uid2"]}
    choices: list[dict[str, object]] = [{}, chosen, chosen]
    for tracking in choices:
        with raw_seller(choosy(tracking)) as seller:
            destination = agent(f"{seller.origin}/mcp", name="same")
            destination.send(Batch([with_uid], b"i"))
            destination.close()
            body = json.loads(seller.requests[-1].body)
            keys.append(body["params"]["arguments"]["idempotency_key"])
    assert keys[0] != keys[1] == keys[2]


def test_what_a_seller_takes_is_asked_again_by_the_hour() -> None:
    """An agent that takes more than it did is not refused events for as long as a session lasts."""
    tracking: dict[str, object] = {"supported_event_types": ["lead"]}
    clock = HandClock()
    purchase = Batch([event(1)], b"i")
    with raw_seller(choosy(tracking)) as seller:
        destination = agent(f"{seller.origin}/mcp", now=clock.now)
        assert isinstance(destination.send(purchase), Rejected)
        tracking["supported_event_types"] = ["lead", "purchase"]
        clock.time += 3500.0
        assert isinstance(destination.send(purchase), Rejected)
        clock.time += 200.0
        assert isinstance(destination.send(purchase), Delivered)
        destination.close()
    asked = [request for request in seller.requests if b"get_adcp_capabilities" in request.body]
    assert len(asked) == 2


def test_a_seller_that_takes_everything_is_sent_unseen_bytes() -> None:
    """Whoever lists all there is restricts nothing, so no event is looked into."""
    tracking: dict[str, object] = {
        "supported_event_types": [word.value for word in EventType],
        "supported_uid_types": [word.value for word in UidType],
        "supported_action_sources": [word.value for word in ActionSource],
    }
    with raw_seller(choosy(tracking)) as seller:
        destination = agent(f"{seller.origin}/mcp")
        outcome = destination.send(Batch([b'{"is":"looked at by nobody"'], b"i"))
        destination.close()
        assert isinstance(outcome, Retry)
        assert b'"looked at by nobody"' in seller.requests[-1].body


def test_a_probe_tells_what_the_agent_offers(shop: Agent, seller: Sandbox) -> None:
    """No event is sent to find out."""
    assert [finding.level for finding in shop.probe()] == ["ok", "ok", "ok"]
    seller.configure(versions=("3.0",))
    findings = shop.probe()
    levels = ["ok", "warning", "warning", "warning", "ok"]
    assert [finding.level for finding in findings] == levels
    assert "3.0" in findings[1].message
    assert "all event types except content_view, follow, watch_milestone" in findings[2].message
    assert "all universal id types except world_id_nullifier" in findings[3].message
    assert "log_event" not in calls(seller)
    assert seller.events == []


@pytest.mark.parametrize(
    ("adcp", "level", "words"),
    [
        ({"major_versions": [2, 4]}, "error", "speaks AdCP 2, 4, not 3"),
        ({"idempotency": {"supported": False}}, "warning", "recognize repeated requests"),
        ({"idempotency": {"supported": True, "replay_ttl_seconds": 3600}}, "ok", "3600 s"),
    ],
)
def test_a_probe_reads_the_capabilities(adcp: dict[str, Any], level: str, words: str) -> None:
    """What a person has to know before events go there is told."""
    offer = AgentInfo(frozenset({"log_event"}), read_capabilities({"adcp": adcp}))
    _, finding = offer.findings("3.1")
    assert finding.level == level
    assert words in finding.message


@pytest.mark.parametrize("settings", [{"token": "wrong"}, {"url": "http://127.0.0.1:9/mcp"}])
def test_a_probe_tells_what_is_wrong(seller: Sandbox, settings: dict[str, Any]) -> None:
    """What keeps the agent from being asked is a fault with a remedy."""
    destination = agent(**({"url": seller.mcp_url} | settings))
    [finding] = destination.probe()
    destination.close()
    assert finding.level == "error"
    assert finding.remedy


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "http://seller.example/mcp"}, "allow_http=True"),
        ({"url": "seller.example"}, "url"),
        ({"url": "https://u:s3cr3t@seller.example"}, "without user"),
        ({"event_source_id": ""}, "event_source_id"),
        ({"token": "s3cr3t\n"}, "token"),
        ({"adcp_version": "3.1.2"}, "adcp_version"),
        ({"adcp_version": "4.0"}, "adcp_version"),
        ({"name": "a\nb"}, "name"),
        ({"token": None, "auth": _Signature()}, "key_secret"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused(settings: Any, words: str) -> None:  # noqa: ANN401
    """The message says which setting and what is expected, and shows no secret."""
    with pytest.raises(ConfigurationError) as caught:
        agent(**({"url": "https://seller.example/mcp"} | settings))
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_credential_is_never_shown() -> None:
    """Neither ``repr`` nor the name holds it."""
    destination = agent("https://seller.example/mcp", token="s3cr3t", key_secret="s3cr3t")
    assert "s3cr3t" not in f"{destination!r} {destination} {destination.name}"


def test_a_child_opens_a_session_of_its_own(shop: Agent, seller: Sandbox) -> None:
    """After a fork neither side disturbs the other."""
    assert isinstance(shop.send(batch(1, b"first")), Delivered)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if isinstance(shop.send(batch(1, b"child")), Delivered) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert isinstance(shop.send(batch(1, b"parent")), Delivered)
    assert calls(seller).count("initialize") == 2
