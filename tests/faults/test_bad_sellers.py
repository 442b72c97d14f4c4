"""Sellers that do everything a seller should not, with a tracker at the other end.

What one call makes of each is shown in the tests of the destinations; here it is what a
queue makes of it: nothing lost, counts that balance, bounded memory, and one log entry.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import orjson
import pytest

from adcp_tracker import Interchange
from adcp_tracker.destinations.base import Batch, Outcome, Retry, Timeouts
from tests.destinations.rawseller import (
    PEM,
    RawRequest,
    RawSeller,
    answering,
    http,
    raw_seller,
    reset,
    tls_context,
)
from tests.faults.logged import told
from tests.faults.memory import begin_high_water, high_water
from tests.support.booked import balanced, track, track_before
from tests.support.destinations import (
    HandClock,
    RestlessClock,
    ScriptedDestination,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.tracker import Tracker
    from tests.faults.conftest import Make

    Misdeed = Callable[[RawSeller, socket.socket, RawRequest], None]

HOUR = 3600.0
_ELSEWHERE = "/elsewhere"
_BRIEF = Timeouts(connect=1.0, read=0.3, write=1.0, total=0.6)
_PATIENT = Timeouts(connect=20.0, read=20.0, write=20.0, total=60.0)


def be_slow(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Stay silent for longer than anybody waits."""
    del connection, request
    seller.stopping.wait(10.0)


def break_off(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Reset the connection."""
    del seller, request
    reset(connection)


def answer_half(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Promise more than comes."""
    del seller, request
    connection.sendall(http(200, b'{"events_rec', length=400))
    connection.shutdown(socket.SHUT_RDWR)


def answer_for_ever(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Announce ten gigabytes, and send as much of them as is taken."""
    del request
    connection.sendall(http(200, length=10**10))
    while not seller.stopping.is_set():
        connection.sendall(b" " * 65_536)


def speak_no_http(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Answer with an alert of TLS, as a broken proxy does."""
    del seller, request
    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28" * 10)
    connection.shutdown(socket.SHUT_RDWR)


def break_tls(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Send what is no record of TLS, amid a connection whose beginning was right."""
    del seller, request
    with socket.socket(fileno=os.dup(connection.fileno())) as beneath:
        beneath.sendall(b"\x00not of TLS" * 50)
        beneath.shutdown(socket.SHUT_RDWR)


def redirect(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Say that the call is to be made elsewhere."""
    del request
    elsewhere = f"Location: {seller.origin}{_ELSEWHERE}\r\n"
    connection.sendall(http(307, headers=elsewhere))


def take(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Take everything, as a good seller does."""
    del seller
    count = len(orjson.loads(request.body)["events"])
    body = orjson.dumps({"events_received": count, "events_processed": count})
    connection.sendall(http(200, body))


MISDEEDS: dict[str, Misdeed] = {
    "is slow": be_slow,
    "resets": break_off,
    "redirects": redirect,
    "answers HTML": answering(http(200, b"<html>hello</html>", content_type="text/html")),
    "answers 502 HTML": answering(http(502, b"<html>bad</html>", content_type="text/html")),
    "speaks no HTTP": speak_no_http,
    "breaks TLS": break_tls,
    "says 429": answering(http(429, headers="Retry-After: 3600\r\n")),
}


@pytest.mark.parametrize("misdeed", [answer_half, answer_for_ever])
def test_a_success_whose_body_does_not_come_is_unconfirmed_after_three_tries(
    make: Make, misdeed: Misdeed
) -> None:
    """The seller said 200, so the batch isn't sent for ever; the count shows what isn't known."""
    clock = RestlessClock()
    with raw_seller(misdeed) as raw:
        shop = Interchange(
            advertiser_id="1",
            event_source_id="pixel",
            api_key="key",
            base_url=raw.origin,
            timeout=_PATIENT,
            now=clock.now,
        )
        track_before(make, 20, _clock=clock)
        tracker = make(shop, _clock=clock)
        before_kb = begin_high_water()
        clock.flies = True
        tracker.start()
        wait_until(lambda: not balanced(tracker, shop.name).pending)
        counts = balanced(tracker, shop.name)
        assert (counts.delivered, counts.unconfirmed, counts.dead) == (0, 20, 0)
        assert len({request.body for request in raw.requests}) == 1
        assert len(raw.requests) == 3
        assert high_water() - before_kb < 32 * 1024


@pytest.mark.parametrize("misdeed", MISDEEDS.values(), ids=MISDEEDS.keys())
def test_a_seller_that_misbehaves_costs_no_event(
    make: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    misdeed: Misdeed,
) -> None:
    """Everything arrives once it behaves; meanwhile the counts balance, and the log says why."""
    caplog.set_level(logging.WARNING, "adcp_tracker")
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    behaving: list[bool] = []

    def script(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        (take if behaving else misdeed)(seller, connection, request)

    clock = RestlessClock()
    with raw_seller(script, tls_context() if misdeed is break_tls else None) as raw:
        shop = Interchange(
            advertiser_id="1",
            event_source_id="pixel",
            api_key="key",
            base_url=raw.origin,
            timeout=_BRIEF,
            now=clock.now,
        )
        ids = track_before(make, 20, _clock=clock)
        tracker = make(shop, _clock=clock)
        before_kb = begin_high_water()
        tracker.start()
        wait_until(lambda: raw.requests)
        wait_until(
            lambda: tracker.stats().destinations[shop.name].retrying or _paused(tracker, shop)
        )
        clock.flies = True
        wait_until(lambda: len(raw.requests) >= 3)
        counts = balanced(tracker, shop.name)
        assert (counts.delivered, counts.dead, counts.pending) == (0, 0, 20)
        entries = told(caplog)
        assert entries["destination.failing"] + entries["destination.paused"] == 1
        behaving.append(True)
        wait_until(lambda: balanced(tracker, shop.name).delivered == 20)
        sent = [event["event_id"] for event in orjson.loads(raw.requests[-1].body)["events"]]
        assert sent == ids
        assert raw.requests[-1].body == raw.requests[0].body
        assert not any(_ELSEWHERE in request.line for request in raw.requests)
        assert high_water() - before_kb < 32 * 1024
        assert tracker.close(5.0).pending == 0


def _paused(tracker: Tracker, shop: Interchange) -> str:
    return tracker.stats().destinations[shop.name].paused


def test_an_hour_of_429_is_an_hour_of_few_requests(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A seller that asks for a minute each time is asked once a minute, and the log is as calm."""
    clock = HandClock()
    until = clock.time + HOUR

    def busy(batch: Batch) -> Outcome:
        del batch
        return Retry("RATE_LIMITED", "slow down", 60.0, rate_limited=True)

    def an_hour_has_passed() -> bool:
        clock.time += 5.0
        tracker.flush(0.1)
        return clock.time >= until

    seller = ScriptedDestination()
    seller.always = busy
    tracker = make(seller, _clock=clock)
    ids = track(tracker, 10)
    wait_until(lambda: balanced(tracker).retrying)
    wait_until(an_hour_has_passed, timeout=60.0)
    assert 10 <= len(seller.batches) <= 61
    assert all(batch.events == seller.batches[0].events for batch in seller.batches)
    assert balanced(tracker).pending == 10
    assert 1 <= told(caplog)["destination.failing"] <= 61
    seller.always = None

    def has_everything() -> bool:
        clock.time += 5.0
        tracker.flush(0.1)
        return seller.ids == ids

    wait_until(has_everything)
