"""Faults of the local seller, seen from the other end of the wire."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import InjectedFault, Sandbox, create_app
from adcp_tracker.sandbox.config import FaultInjector
from tests.support.destinations import wait_until
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, SellerProcess, run_seller
from tests.support.wire import make_event, request, send

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def wire(seller: Sandbox) -> Iterator[socket.socket]:
    """A bare TCP connection to the seller."""
    parts = urlsplit(seller.origin)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 5) as connection:
        yield connection


def write_request(wire: socket.socket, *events: object) -> None:
    """Write a REST request by hand."""
    body = json.dumps({"event_source_id": SOURCE, "events": events}).encode()
    head = (
        f"POST /advertisers/{ADVERTISER}/log-event HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    wire.sendall(head.encode() + body)


def read_all(wire: socket.socket) -> bytes:
    """Read until the other side ends the stream in order."""
    whole = b""
    while part := wire.recv(65_536):
        whole += part
    return whole


def test_reset_is_a_reset(seller: Sandbox, wire: socket.socket) -> None:
    """The kernel reports a reset, nothing was answered and nothing was taken."""
    seller.fail(connection="reset")
    write_request(wire, make_event())
    with pytest.raises(ConnectionResetError):
        wire.recv(1)
    assert seller.events == []
    assert [seen.status for seen in seller.requests] == [0]
    assert send(seller, make_event()).status_code == 200


def test_reset_after_the_events_were_taken(seller: Sandbox) -> None:
    """A lost answer leaves the sender in doubt; a retry is a duplicate and counts once."""
    seller.fail(connection="reset", after=True)
    with pytest.raises(httpx.ReadError):
        send(seller, make_event("a"))
    assert seller.counts["good"] == 1
    assert send(seller, make_event("a")).status_code == 200
    assert (seller.counts["good"], seller.counts["duplicates"]) == (1, 1)


def test_close_ends_the_stream_without_an_answer(seller: Sandbox, wire: socket.socket) -> None:
    """The connection ends in order, but without a byte."""
    seller.fail(connection="close")
    write_request(wire, make_event())
    assert read_all(wire) == b""


def test_truncated_answers_are_cut_in_the_body(seller: Sandbox, wire: socket.socket) -> None:
    """The head promises a whole body, half of it comes, and the events were taken."""
    seller.fail(connection="truncate")
    write_request(wire, make_event())
    head, _, body = read_all(wire).partition(b"\r\n\r\n")
    (length,) = (line for line in head.lower().splitlines() if line.startswith(b"content-length"))
    assert head.startswith(b"HTTP/1.1 200")
    assert 0 < len(body) < int(length.split(b":")[1])
    assert seller.counts["good"] == 1


def test_truncated_answers_may_end_in_a_reset(seller: Sandbox) -> None:
    """Half an answer comes, and then a reset; an error is cut as well."""
    seller.fail(connection="truncate_reset", times=2)
    with pytest.raises(httpx.ReadError):
        send(seller, make_event())
    with pytest.raises(httpx.ReadError):
        send(seller, {})


def test_stalled_requests_get_no_answer(seller: Sandbox, wire: socket.socket) -> None:
    """Nothing comes for as long as the client waits, and the seller serves others meanwhile."""
    seller.fail(connection="stall")
    write_request(wire, make_event())
    wire.settimeout(0.2)
    with pytest.raises(TimeoutError):
        wire.recv(1)
    assert send(seller, make_event()).status_code == 200


def test_latency_delays_the_answer(seller: Sandbox) -> None:
    """An answer comes late, and is right when it comes."""
    seller.fail(latency_ms=150)
    start = time.monotonic()
    assert send(seller, make_event()).status_code == 200
    assert time.monotonic() - start >= 0.15
    seller.fail(latency_ms=5000)
    with pytest.raises(httpx.ReadTimeout):
        request("POST", seller.url + f"/advertisers/{ADVERTISER}/log-event", timeout=0.1)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BAD_REQUEST"),
        (403, "FORBIDDEN"),
        (408, "REQUEST_TIMEOUT"),
        (425, "TOO_EARLY"),
        (429, "RATE_LIMIT_EXCEEDED"),
        (500, "INTERNAL_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
        (599, "INTERNAL_ERROR"),
    ],
)
def test_any_status_on_request(seller: Sandbox, status: int, code: str) -> None:
    """A status comes with an error body that fits it, so many times, and takes nothing."""
    seller.fail(status=status, times=2)
    for _ in range(2):
        answer = send(seller, make_event())
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert seller.events == []
    assert send(seller, make_event()).status_code == 200


def test_errors_can_be_worded(seller: Sandbox) -> None:
    """Code, message, field, issues and details of an error are as asked for."""
    seller.fail(
        status=422,
        code="VALIDATION_ERROR",
        message="no",
        field="events[0].event_id",
        issues=({"pointer": "/events/0/event_id", "message": "bad", "keyword": "k"},),
        details={"hint": 1},
    )
    error = send(seller, make_event()).json()["error"]
    issue = {"pointer": "/events/0/event_id", "message": "bad", "keyword": "k"}
    assert error == {
        "code": "VALIDATION_ERROR",
        "message": "no",
        "field": "/events/0/event_id",
        "details": {"hint": 1, "issues": [issue]},
    }
    seller.fail(status=422, field="/events/9")
    assert send(seller, make_event()).json()["error"]["field"] == "/events/9"


@pytest.mark.parametrize("value", [7, "7", "Fri, 02 Jan 2026 03:04:05 GMT"])
def test_retry_after_is_seconds_or_a_date(seller: Sandbox, value: str | int) -> None:
    """The header stands as it was given."""
    seller.fail(status=503, retry_after=value)
    given = send(seller, make_event()).headers["retry-after"]
    assert given == str(value)
    assert given == "7" or parsedate_to_datetime(given).year == 2026


def test_redirects_point_elsewhere(seller: Sandbox) -> None:
    """A redirect names its target, and further headers are added."""
    seller.fail(location="https://elsewhere.example/", headers={"X-More": "1"})
    answer = send(seller, make_event())
    assert (answer.status_code, answer.headers["location"], answer.headers["x-more"]) == (
        307,
        "https://elsewhere.example/",
        "1",
    )
    seller.fail(location="/", status=302)
    assert send(seller, make_event()).status_code == 302
    assert seller.events == []


def test_html_instead_of_json(seller: Sandbox) -> None:
    """A proxy's page has the status and no JSON."""
    seller.fail(status=413, body="html")
    answer = send(seller, make_event())
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>413</h1>" in answer.text


@pytest.mark.parametrize("body", ["not_json", "cut_json", "empty"])
def test_bodies_that_cannot_be_read(seller: Sandbox, body: str) -> None:
    """The answer claims to be JSON and a success, and is not JSON."""
    seller.fail(body=body)
    answer = send(seller, make_event())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_bodies_of_wrong_types(seller: Sandbox) -> None:
    """The answer is JSON, and nothing in it has the type it should have."""
    for body in ("wrong_types", "null", "list"):
        seller.fail(body=body)
    assert send(seller, make_event()).json()["data"]["events_received"] == "three"
    assert send(seller, make_event()).json() is None
    assert send(seller, make_event()).json() == [1, 2, 3]


def test_any_text_as_a_body(seller: Sandbox) -> None:
    """A text is answered as it is; the events may have been taken before."""
    seller.fail(text="ok", content_type="text/plain", after=True)
    answer = send(seller, make_event())
    assert (answer.text, answer.headers["content-type"]) == ("ok", "text/plain; charset=utf-8")
    assert seller.counts["good"] == 1


def test_huge_bodies_have_their_size(seller: Sandbox) -> None:
    """A huge body is JSON of just the size that was asked for."""
    seller.fail(body="huge", size_bytes=3_000_000)
    answer = send(seller, make_event())
    assert len(answer.content) == 3_000_000
    assert answer.json()["data"].keys() == {"filler"}


def test_events_can_get_lost_without_a_word(seller: Sandbox) -> None:
    """Fewer events are processed than received, and none is named."""
    seller.fail(lose=2)
    data = send(seller, *(make_event(name) for name in "abc")).json()["data"]
    assert (data["events_received"], data["events_processed"]) == (3, 1)
    assert "partial_failures" not in data
    assert [event["event_id"] for event in seller.events] == ["a"]
    assert seller.counts["lost"] == 2


def test_more_can_be_lost_than_came(seller: Sandbox) -> None:
    """Losing more events than there are loses them all."""
    seller.fail(lose=9)
    data = send(seller, make_event("a")).json()["data"]
    assert (data["events_received"], data["events_processed"]) == (1, 0)
    assert seller.counts["lost"] == 1


def test_faults_strike_in_their_order(seller: Sandbox) -> None:
    """Faults wait for one another, and may let requests through first."""
    seller.fail(status=500, skip=1)
    seller.fail(status=503, skip=1)
    statuses = [send(seller, make_event()).status_code for _ in range(4)]
    assert statuses == [200, 500, 503, 200]


def test_faults_strike_the_calls_they_are_meant_for(seller: Sandbox) -> None:
    """A fault for another call lets this one through; one for all calls does not."""
    seller.fail(on="sync_event_sources", status=500)
    assert send(seller, make_event()).status_code == 200
    seller.fail(on="*", status=503)
    assert send(seller, make_event()).status_code == 503


def test_healing_ends_every_fault(seller: Sandbox) -> None:
    """A fault without an end lasts until the seller is healed."""
    seller.fail(status=500, times=None)
    assert {send(seller, make_event()).status_code for _ in range(5)} == {500}
    seller.clear_faults()
    assert send(seller, make_event()).status_code == 200


def test_a_share_of_requests_fails_the_same_way_again() -> None:
    """The share is met, which requests it is depends on the seed alone."""

    def strikes(seed: int) -> list[bool]:
        book = FaultInjector(seed)
        book.add(InjectedFault(share=0.2, times=None, status=500))
        return [book.take("log_event") is not None for _ in range(2000)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 300 < sum(strikes(1)) < 500


def test_shares_of_none_and_all() -> None:
    """A share of 0 never strikes, one of 1 always."""
    book = FaultInjector(random.randrange(100))  # noqa: S311 - any seed will do
    book.add(InjectedFault(share=0, times=None, status=500))
    book.add(InjectedFault(share=1, times=None, status=503))
    found = [book.take("log_event") for _ in range(50)]
    assert {fault.status for fault in found if fault} == {503}
    assert None not in found


def test_faults_are_used_up_by_many_threads_once() -> None:
    """However many requests come at once, a fault strikes its number of times."""
    book = FaultInjector(0)
    book.add(InjectedFault(times=100, status=500))
    struck: list[InjectedFault] = []

    def take() -> None:
        struck.extend(fault for _ in range(50) if (fault := book.take("log_event")))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(struck) == 100
    assert book.active() == []


def listens(seller: Sandbox) -> bool:
    """Say whether anybody takes connections where the seller was."""
    parts = urlsplit(seller.origin)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), 1).close()
    except ConnectionError:
        return False
    return True


def test_dying_after_an_answer(seller: Sandbox) -> None:
    """The answer comes whole, then nobody listens until the seller is started again."""
    seller.fail(crash=True)
    assert send(seller, make_event("a")).status_code == 200
    wait_until(lambda: not listens(seller))
    seller.start()
    assert send(seller, make_event("b")).status_code == 200
    assert [event["event_id"] for event in seller.events] == ["a", "b"]


@pytest.mark.slow
def test_a_process_dies_for_real(seller_process: SellerProcess) -> None:
    """A seller process that is told to die answers, exits with a failure and forgets all."""
    seller_process.fail(crash=True)
    assert send(seller_process, make_event()).status_code == 200
    assert seller_process.process is not None
    assert seller_process.process.wait(60) == 70
    seller_process.start()
    assert seller_process.counts["good"] == 0


@pytest.mark.slow
def test_dying_without_an_answer(seller_process: SellerProcess) -> None:
    """A crash in the middle of a request resets the connection."""
    seller_process.fail(connection="reset", after=True, crash=True)
    with pytest.raises(httpx.ReadError):
        send(seller_process, make_event())
    assert seller_process.process is not None
    assert seller_process.process.wait(60) == 70


def test_connection_faults_need_the_own_server() -> None:
    """Under another server a fault of the connection is a clear error."""
    app = create_app()
    app.state.seller.faults.add(InjectedFault(connection="reset"))
    transport = httpx.ASGITransport(app)

    async def post() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await client.post(f"/advertisers/{ADVERTISER}/log-event", json={})

    with pytest.raises(RuntimeError, match="use Sandbox or run"):
        asyncio.run(post())


@pytest.mark.parametrize(
    "settings", [{"share": -0.1}, {"share": 2}, {"times": 0}, {"skip": -1}, {"size_bytes": -1}]
)
def test_impossible_faults_are_refused(settings: dict[str, Any]) -> None:
    """What cannot be is refused when it is asked for."""
    with pytest.raises(ConfigurationError):
        InjectedFault(**settings)


def test_faults_come_before_the_token_is_checked() -> None:
    """An outage does not ask who is there."""
    with run_seller(tokens=("other",)) as seller:
        seller.fail(status=503)
        assert send(seller, make_event()).status_code == 503
        assert send(seller, make_event()).status_code == 401
