"""Whatever a seller's success looks like, events go as seldom as can be and are booked truly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from adcp_tracker import Agent, Interchange, Tracker
from adcp_tracker.delivery.outcomes import RetryPolicy
from tests.destinations.rawseller import http, raw_seller
from tests.support.booked import balanced
from tests.support.destinations import RestlessClock, wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker.delivery.stats import DestinationStats
    from tests.destinations.rawseller import RawRequest, RawSeller

IDS = ["e-1", "e-2", "e-3", "e-4"]
FULL: dict[str, Any] = {"events_received": 4, "events_processed": 4}
CAMEL = {"eventsReceived": 4.0, "eventsProcessed": 4.0, "partialFailures": []}


@attrs.define(eq=False)
class Seller:
    """Answers ``log_event`` with given bytes, or with a tool's result."""

    answer: bytes = b""
    result: dict[str, Any] | None = None
    tries: list[bytes] = attrs.field(factory=list)

    def play(self, _: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        """Answer one request of either kind."""
        message = json.loads(request.body)
        if message.get("method", "tools/call") != "tools/call":
            opened = {"tools": [{"name": "log_event"}]}
            self._say(connection, {"jsonrpc": "2.0", "id": message.get("id"), "result": opened})
            return
        self.tries.append(json.dumps(message.get("params", message)).encode())
        if self.result is None:
            connection.sendall(self.answer)
        else:
            self._say(connection, {"jsonrpc": "2.0", "id": message["id"], "result": self.result})

    @staticmethod
    def _say(connection: socket.socket, message: dict[str, Any]) -> None:
        connection.sendall(http(200, json.dumps(message).encode()))


@attrs.define(eq=False)
class Case:
    """Four events, the tracker that has them and the seller they go to."""

    tracker: Tracker
    seller: Seller
    name: str

    def settled(self) -> DestinationStats:
        """Return the counts once nothing is pending."""
        wait_until(lambda: balanced(self.tracker, self.name).pending == 0)
        return balanced(self.tracker, self.name)


@pytest.fixture
def facing(tmp_path: Path) -> Iterator[Callable[[Seller], Case]]:
    """Return what sends four events to a seller."""
    stack = []

    def face(seller: Seller) -> Case:
        running = raw_seller(seller.play)
        origin = running.__enter__().origin
        destination = (
            Interchange(advertiser_id="1", event_source_id="w", api_key="k", base_url=origin)
            if seller.result is None
            else Agent(url=f"{origin}/mcp", event_source_id="w", token="t")
        )
        clock = RestlessClock()
        with Tracker(directory=tmp_path, _clock=clock) as shop:
            for event_id in IDS:
                shop.track("lead", event_id=event_id, click_id="c")
        clock.flies = True
        policy = RetryPolicy(lambda: 0.5)
        tracker = Tracker([destination], directory=tmp_path, _clock=clock, _policy=policy)
        stack.append((running, tracker))
        tracker.start()
        return Case(tracker, seller, destination.name)

    yield face
    for running, tracker in stack:
        tracker.close(timeout=0.5)
        running.__exit__(None, None, None)


def rest(body: object, status: int = 200) -> Seller:
    """Return a REST seller that answers with this JSON."""
    return Seller(http(status, json.dumps(body).encode()))


def tool(content: object = None, text: str | None = None) -> Seller:
    """Return an agent whose tool returns this structured content and this text."""
    result: dict[str, Any] = {} if content is None else {"structuredContent": content}
    if text is not None:
        result["content"] = [{"type": "text", "text": text}]
    return Seller(result=result)


READABLE: dict[str, Callable[[], Seller]] = {
    "camel case and floats": lambda: rest(CAMEL),
    "counts as text": lambda: rest({"events_received": "4", "events_processed": "4"}),
    "wrapped twice": lambda: rest({"data": {"result": FULL}, "error": None}),
    "an unknown wrapper": lambda: rest({"log_event_response": {"summary": [FULL]}}),
    "a union's wrapper": lambda: tool({"result": FULL}),
    "a text's wrapper": lambda: tool({"result": json.dumps(FULL)}),
    "words beside the right text": lambda: tool({"result": "ok"}, json.dumps(FULL)),
    "a fence": lambda: tool(text=f"Done.\n```json\n{json.dumps(CAMEL)}\n```\n"),
    "a word in front": lambda: rest({"data": "ok", "result": FULL}),
    "an echo in front": lambda: tool({"context": {"events_received": 1}, "out": FULL}),
}


@pytest.mark.parametrize("make", READABLE.values(), ids=READABLE.keys())
def test_a_receipt_in_an_odd_shape_is_read(
    facing: Callable[[Seller], Case], make: Callable[[], Seller]
) -> None:
    """The events were processed and the seller says so: one try, and all are delivered."""
    case = facing(make())
    totals = case.settled()
    assert (totals.delivered, totals.unconfirmed, totals.dead) == (4, 0, 0)
    assert len(case.seller.tries) == 1


ERRORS: dict[str, dict[str, Any]] = {
    "a list": {"errors": [{"code": "AUTH_REQUIRED", "message": "Who?"}]},
    "one": {"adcp_error": {"code": "AUTH_REQUIRED", "message": "Who?"}},
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_an_error_in_a_wrapper_is_no_success(
    facing: Callable[[Seller], Case], error: dict[str, Any]
) -> None:
    """What a framework wraps is looked into before it counts as taken."""
    case = facing(tool({"result": error}))
    wait_until(lambda: balanced(case.tracker, case.name).paused != "")
    totals = balanced(case.tracker, case.name)
    assert totals.paused.startswith("AUTH_REQUIRED")
    assert (totals.delivered, totals.unconfirmed, totals.pending) == (0, 0, 4)


@pytest.mark.parametrize("status", [202, 204])
def test_a_success_without_a_body_is_unconfirmed_at_once(
    facing: Callable[[Seller], Case], status: int
) -> None:
    """Such a status says that there is nothing more to come."""
    case = facing(Seller(http(status)))
    totals = case.settled()
    assert (totals.delivered, totals.unconfirmed, totals.dead) == (0, 4, 0)
    assert len(case.seller.tries) == 1


UNREADABLE: dict[str, Callable[[], Seller]] = {
    "nothing": lambda: Seller(http(200)),
    "words": lambda: Seller(http(200, b"It went well, I think.", content_type="text/plain")),
    "no counts": lambda: rest({"ok": True}),
    "a list": lambda: rest([1, 2, 3]),
    "too much": lambda: Seller(http(200, b" " * 1_100_000)),
    "a tool's nothing": tool,
    "a tool's words": lambda: tool({"result": "ok"}, "All fine."),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_success_is_sent_three_times_at_most(
    facing: Callable[[Seller], Case], make: Callable[[], Seller]
) -> None:
    """Under the same key and bytes; then the events are unconfirmed, and none is dead."""
    case = facing(make())
    totals = case.settled()
    assert (totals.delivered, totals.unconfirmed, totals.dead) == (0, 4, 0)
    assert len(case.seller.tries) == 3
    assert len(set(case.seller.tries)) == 1


COUNTS: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = {
    "fewer received": ({"events_received": 3, "events_processed": 3}, (3, 1, 0)),
    "fewer processed": ({"events_received": 4, "events_processed": 1}, (1, 3, 0)),
    "fewer received, no more said": ({"events_received": 1}, (1, 3, 0)),
    "none": ({"events_received": 0, "events_processed": 0}, (0, 4, 0)),
    "more": ({"events_received": 9, "events_processed": 9}, (4, 0, 0)),
    "one named": (
        {"events_received": 4, "events_processed": 3, "partial_failures": [{"event_id": "e-2"}]},
        (3, 0, 1),
    ),
    "one named, and another missing": (
        {"events_received": 4, "events_processed": 2, "partial_failures": [{"event_id": "e-2"}]},
        (2, 1, 1),
    ),
    "one named and left out of all counts": (
        {"events_received": 3, "events_processed": 3, "partial_failures": [{"event_id": "e-2"}]},
        (3, 0, 1),
    ),
    "an unknown one named": (
        {**FULL, "partial_failures": [{"event_id": "somebody else's", "code": "X"}]},
        (3, 1, 0),
    ),
    "a nameless one": ({**FULL, "partial_failures": [{"code": "X"}]}, (3, 1, 0)),
    "in camel case": (
        {"eventsReceived": 4, "partialFailures": [{"eventId": "e-1", "code": "X"}]},
        (3, 0, 1),
    ),
    "for later": ({"status": "submitted", "task_id": "t-1"}, (0, 4, 0)),
    "for later, counted": ({"status": "submitted", **FULL}, (0, 4, 0)),
    "at work": ({"data": {"status": "working"}}, (0, 4, 0)),
}


@pytest.mark.parametrize(("report", "counts"), COUNTS.values(), ids=COUNTS.keys())
@pytest.mark.parametrize("make", [rest, tool])
def test_a_sellers_counts_are_believed(
    facing: Callable[[Seller], Case],
    make: Callable[[dict[str, Any]], Seller],
    report: dict[str, Any],
    counts: tuple[int, int, int],
) -> None:
    """What it doesn't say it processed is unconfirmed, and goes no second time."""
    case = facing(make(report))
    totals = case.settled()
    assert (totals.delivered, totals.unconfirmed, totals.dead) == counts
    assert len(case.seller.tries) == 1


def test_warnings_and_match_quality_are_shown(facing: Callable[[Seller], Case]) -> None:
    """The latest of each kind, in the statistics and in their JSON."""
    warnings = ["Key rotates in 3 days.", "Key rotates in 2 days.", {"message": "Few phones."}]
    case = facing(rest({**FULL, "warnings": warnings, "match_quality": 0.25}))
    totals = case.settled()
    assert totals.warnings == ["Key rotates in 2 days.", "Few phones."]
    assert totals.match_quality == 0.25
    assert list(totals.match_quality_by_hour.values()) == [0.25]
    shown: Any = case.tracker.stats().as_json()
    assert shown["destinations"][case.name]["match_quality"] == 0.25
