"""The protocol's whole table of errors, row by row, for both kinds of destination.

A real tracker sends over real HTTP to a seller that says no in one way. What is checked is
not how the answer is read but what becomes of the events: whether they go again, under which
key, in how many parts, which one dies of it, and what a person is told.
"""

from __future__ import annotations

import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from adcp_tracker import Agent, Interchange, Tracker
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.destinations.base import Timeouts
from adcp_tracker.destinations.error_codes import CODES, FAMILIES, Action, ErrorRule
from tests.destinations.rawseller import RawRequest, RawSeller, http, raw_seller, reset
from tests.faults.logged import told
from tests.support.booked import balanced
from tests.support.destinations import RestlessClock, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from adcp_tracker.delivery.stats import DestinationStats

KINDS = ("interchange", "agent")
IDS = ["a", "b", "bad", "d"]
BUDGET = 12
HTML = {"content_type": "text/html"}
PATIENT = Timeouts(connect=20.0, read=20.0, write=20.0, total=60.0)


@attrs.frozen
class No:
    """One way to say no.

    Attributes:
        error: The protocol's error, in the place that the wire has for it.
        status: The HTTP status that the Interchange gives it; an agent answers 200.
        bare: An HTTP answer that is the same on both wires, instead of an error.
        result: A success with something the matter, instead of an error.
        beside: What stands beside an agent's error.
        text: An agent's error in words alone.
        resets: The connection breaks instead.
        hangs_up: The connection ends after the answer.
    """

    error: dict[str, Any] | None = None
    status: int = 400
    bare: bytes | None = None
    result: dict[str, Any] | None = None
    beside: dict[str, Any] = attrs.field(factory=dict)
    text: str = ""
    resets: bool = False
    hangs_up: bool = False


def code(name: str, status: int = 400, **more: object) -> No:
    """Say an error of the protocol."""
    return No({"code": name, "message": "No.", **more}, status)


def bare(status: int, body: bytes = b"", **more: Any) -> No:  # noqa: ANN401 - as given
    """Say nothing but a status, as machines in between do."""
    return No(bare=http(status, body, **more))


@attrs.define(eq=False)
class Seller:
    """A seller of either kind, which says no for as long as `refuses` has it.

    Attributes:
        no: How it says no.
        refuses: Tells by the number of a try, from 0 on, and its events, whether it does.
        tries: The arguments of each ``log_event`` that came.
    """

    no: No
    refuses: Callable[[int, list[str]], bool]
    tries: list[dict[str, Any]] = attrs.field(factory=list)

    @property
    def keys(self) -> list[object]:
        """The idempotency key of each try, ``None`` at the Interchange."""
        return [each.get("idempotency_key") for each in self.tries]

    @property
    def events(self) -> list[list[str]]:
        """The ids of the events of each try."""
        return [[event["event_id"] for event in each["events"]] for each in self.tries]

    def play(self, _: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        """Answer one request."""
        message = json.loads(request.body)
        if message.get("method", "tools/call") != "tools/call":
            opened = {"tools": [{"name": "log_event"}]}
            answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": opened}
            connection.sendall(http(200, json.dumps(answer).encode()))
            return
        agents = "method" in message
        self.tries.append(message["params"]["arguments"] if agents else message)
        ids = self.events[-1]
        said = self.no if self.refuses(len(self.tries) - 1, ids) else No(result={})
        if said.resets:
            reset(connection)
        else:
            connection.sendall(_said(said, len(ids), message["id"] if agents else None))
        if said.hangs_up:
            connection.shutdown(socket.SHUT_RDWR)


def _said(no: No, count: int, number: object) -> bytes:
    if no.bare is not None:
        return no.bare
    taken = {"events_received": count, "events_processed": count, **(no.result or {})}
    if number is None:
        body = {"data": None, "error": no.error} if no.error else {"data": taken, "error": None}
        return http(no.status if no.error else 200, json.dumps(body).encode())
    result: dict[str, Any] = {"structuredContent": taken}
    if no.error:
        content = {"adcp_error": no.error, **no.beside}
        result = {"isError": True, "structuredContent": content}
    elif no.text:
        result = {"isError": True, "content": [{"type": "text", "text": no.text}]}
    answer = {"jsonrpc": "2.0", "id": number, "result": result}
    return http(200, json.dumps(answer).encode())


@attrs.define(eq=False)
class Case:
    """A tracker with four events, one of them bad, and the seller they go to."""

    tracker: Tracker
    seller: Seller
    name: str

    @property
    def counts(self) -> DestinationStats:
        """The counts, which balance."""
        return balanced(self.tracker, self.name)

    def settled(self) -> DestinationStats:
        """Wait until nothing is on its way any more."""
        wait_until(lambda: self.counts.pending == 0)
        return self.counts

    def letter(self) -> Any:  # noqa: ANN401 - a dead letter
        """Return the one dead letter, which is the bad event's and has a remedy."""
        (letter,) = self.tracker.dead_letters.list()
        assert json.loads(letter.event)["event_id"] == "bad"
        return letter


@pytest.fixture
def facing(tmp_path: Path) -> Iterator[Callable[..., Case]]:
    """Return what has a tracker of one kind of destination face a seller that says no."""
    stack = []

    def face(
        kind: str,
        no: No,
        refuses: Callable[[int, list[str]], bool],
        tracked: Sequence[tuple[str, str]] = tuple(("lead", each) for each in IDS),
    ) -> Case:
        seller = Seller(no, refuses)
        running = raw_seller(seller.play)
        origin = running.__enter__().origin
        more: dict[str, Any] = {"event_source_id": "website", "timeout": PATIENT}
        destination = (
            Agent(url=f"{origin}/mcp", token="t", **more)
            if kind == "agent"
            else Interchange(advertiser_id="1", api_key="k", base_url=origin, **more)
        )
        clock = RestlessClock()
        with Tracker(directory=tmp_path, _clock=clock) as shop:
            for event_type, event_id in tracked:
                shop.track(event_type, event_id=event_id, click_id="c")
        clock.flies = True
        tracker = Tracker(
            [destination],
            directory=tmp_path,
            _clock=clock,
            flush_interval=0.02,
            _policy=RetryPolicy(lambda: 0.5),
        )
        stack.append((running, tracker))
        tracker.start()
        return Case(tracker, seller, destination.name)

    yield face
    for running, tracker in stack:
        tracker.close(timeout=0.5)
        running.__exit__(None, None, None)


def once(number: int, _: list[str]) -> bool:
    """Refuse the first try only."""
    return number == 0


def the_bad_one(_: int, ids: list[str]) -> bool:
    """Refuse every request that holds the bad event."""
    return "bad" in ids


def more_than_two(_: int, ids: list[str]) -> bool:
    """Refuse every request of more than two events."""
    return len(ids) > 2


AGAIN: dict[str, No] = {
    "reset": No(resets=True),
    "408": bare(408),
    "425": bare(425),
    "500": bare(500, b"<html>oops</html>", **HTML),
    "502": bare(502, b"<html>bad gateway</html>", **HTML),
    "503": bare(503, headers="Retry-After: 7\r\n"),
    "504": bare(504),
    "429": bare(429, headers="Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n"),
    "429 of a page": bare(429, b"<html>slow down</html>", **HTML),
    "RATE_LIMITED": code("RATE_LIMITED", 429, retry_after=5),
    "RATE_LIMIT_EXCEEDED": code("RATE_LIMIT_EXCEEDED", 429),
    "SERVICE_UNAVAILABLE": code("SERVICE_UNAVAILABLE", 503, recovery="transient"),
    "CONFLICT": code("CONFLICT", 409),
    "IDEMPOTENCY_IN_FLIGHT": code("IDEMPOTENCY_IN_FLIGHT", 409, retry_after=1),
    "unknown but transient": code("FROM_THE_FUTURE", 500, recovery="transient"),
    "unknown": code("FROM_THE_FUTURE", 418),
    "answer of wrong types": No(result={"events_received": "four", "events_processed": []}),
    "answer cut short": No(bare=http(200, b'{"events_rece', length=400), hangs_up=True),
    "answer no JSON": bare(200, b"It went well, I think."),
    "answer of a page": bare(200, b"<html>Welcome</html>", **HTML),
    "answer over the cap": bare(200, b" " * 1_000_001),
    "answer empty": bare(200),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("no", AGAIN.values(), ids=AGAIN.keys())
def test_what_may_pass_is_tried_again_unchanged(
    facing: Callable[..., Case], kind: str, no: No
) -> None:
    """The same bytes go again under the same key, and nothing dies of it."""
    case = facing(kind, no, once)
    counts = case.settled()
    assert (counts.delivered, counts.dead, counts.paused) == (4, 0, "")
    first, second = case.seller.tries
    assert first == second


def test_words_of_an_agent_alone_are_tried_again_unchanged(facing: Callable[..., Case]) -> None:
    """An error of the tool that says something to people only may pass by itself."""
    case = facing("agent", No(text="Error executing tool log_event: db is locked"), once)
    assert case.settled().delivered == 4
    first, second = case.seller.tries
    assert first == second


FRESH: dict[str, No] = {
    "IDEMPOTENCY_CONFLICT": code("IDEMPOTENCY_CONFLICT", 409, recovery="correctable"),
    "IDEMPOTENCY_EXPIRED": code("IDEMPOTENCY_EXPIRED", 410, recovery="terminal"),
    "a replayed error": attrs.evolve(code("SERVICE_UNAVAILABLE", 503), beside={"replayed": True}),
    "a replayed pause": attrs.evolve(code("AUTH_REQUIRED", 401), beside={"replayed": True}),
}


@pytest.mark.parametrize("no", FRESH.values(), ids=FRESH.keys())
def test_a_spent_key_is_renewed(facing: Callable[..., Case], no: No) -> None:
    """The same events go again at once under another key, and are taken."""
    case = facing("agent", no, once)
    assert case.settled().delivered == 4
    first, second = case.seller.tries
    assert first.pop("idempotency_key") != second.pop("idempotency_key")
    assert first == second


def test_an_error_replayed_in_silence_is_escaped(facing: Callable[..., Case]) -> None:
    """A seller that gives one key the same error for ever, and does not say so, gets another."""
    case = facing("agent", code("SERVICE_UNAVAILABLE", 503), lambda number, _: number < 5)
    assert case.settled().delivered == 4
    keys = case.seller.keys
    assert len(keys) == 6
    assert keys[:5] == keys[:1] * 5
    assert keys[5] != keys[0]


HALVED: dict[str, No] = {
    "413 of a page": bare(413, b"<html>Request Entity Too Large</html>", **HTML),
    "BATCH_TOO_LARGE": code("BATCH_TOO_LARGE", recovery="correctable"),
    "payload_size": code("VALIDATION_ERROR", issues=[{"pointer": "/", "keyword": "payload_size"}]),
    "maxItems": code(
        "VALIDATION_ERROR", details={"issues": [{"pointer": "/events", "keyword": "maxItems"}]}
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("no", HALVED.values(), ids=HALVED.keys())
def test_what_is_too_large_is_halved_and_remembered(
    facing: Callable[..., Case], kind: str, no: No
) -> None:
    """Everything arrives in halves, and what comes later is sent in such parts at once."""
    case = facing(kind, no, more_than_two)
    assert case.settled().delivered == 4
    assert case.seller.events == [IDS, IDS[:2], IDS[2:]]
    for number in range(4):
        case.tracker.track_lead(f"later-{number}", click_id="c")
    wait_until(lambda: case.counts.delivered == 8)
    assert max(map(len, case.seller.events[3:])) <= 2
    assert case.counts.dead == 0


PLACES = {
    "pointer": {"issues": [{"pointer": "/events/2/event_time", "keyword": "format"}]},
    "dotted": {"issues": [{"path": "events[2].event_time", "keyword": "format"}]},
    "pointer in details": {"details": {"issues": [{"pointer": "/events/2/event_time"}]}},
    "dotted in details": {"details": {"issues": [{"field": "events[2].event_time"}]}},
    "field": {"field": "events[2].event_time"},
    "field as pointer": {"field": "/events/2/event_time"},
}
OF_EVENTS = [
    *("VALIDATION_ERROR", "INVALID_REQUEST", "BAD_REQUEST"),
    *("INVALID_EVENT_TYPE", "INVALID_EVENT_TIME", "MISSING_USER_MATCH"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_EVENTS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_named_event_dies_and_the_rest_goes_again(
    facing: Callable[..., Case], kind: str, name: str, place: dict[str, Any]
) -> None:
    """One event that spoils the request is set aside with code, words and remedy."""
    case = facing(kind, code(name, **place), the_bad_one)
    counts = case.settled()
    assert (counts.delivered, counts.dead) == (3, 1)
    assert case.seller.events == [IDS, ["a", "b", "d"]]
    letter = case.letter()
    assert (letter.code, letter.remedy) == (name, CODES[name].remedy)
    assert "event_time" in letter.message
    first, second = case.seller.keys
    assert kind == "interchange" or first != second


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("no", [*map(code, OF_EVENTS[:3]), bare(400), bare(422)], ids=repr)
def test_an_event_that_nobody_names_is_found_by_halving(
    facing: Callable[..., Case], kind: str, no: No
) -> None:
    """The batch is halved until the bad event stands alone; every other one arrives."""
    case = facing(kind, no, the_bad_one)
    counts = case.settled()
    assert (counts.delivered, counts.dead, counts.paused) == (3, 1, "")
    assert case.seller.events[0] == IDS
    assert ["bad"] in case.seller.events
    assert case.letter()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_EVENTS[3:])
def test_a_partial_failure_is_a_dead_letter(
    facing: Callable[..., Case], kind: str, name: str
) -> None:
    """What the seller takes is delivered in the same try; what it names is set aside."""
    failure = {"event_id": "bad", "code": name, "message": "Not \x1b[31mthis."}
    part = {"events_processed": 3, "partial_failures": [failure]}
    case = facing(kind, No(result=part), once)
    counts = case.settled()
    assert (counts.delivered, counts.dead, counts.unconfirmed) == (3, 1, 0)
    assert len(case.seller.tries) == 1
    letter = case.letter()
    assert (letter.code, letter.message) == (name, "Not [31mthis.")
    assert letter.remedy == CODES[name].remedy


@pytest.mark.parametrize("kind", KINDS)
def test_events_left_out_without_a_word_are_counted(facing: Callable[..., Case], kind: str) -> None:
    """Fewer processed than received, and no list: nobody can tell which, so none goes again."""
    case = facing(kind, No(result={"events_processed": 1}), once)
    counts = case.settled()
    assert (counts.delivered, counts.dead, counts.unconfirmed) == (1, 0, 3)
    assert len(case.seller.tries) == 1


PAUSED: dict[str, No] = {
    "REFERENCE_NOT_FOUND": code("REFERENCE_NOT_FOUND", 404, recovery="correctable"),
    "EVENT_SOURCE_NOT_FOUND": code("EVENT_SOURCE_NOT_FOUND", 404),
    "ADVERTISER_NOT_FOUND": code("ADVERTISER_NOT_FOUND", 404),
    "404": bare(404),
    "404 of a page": bare(404, b"<html>Not Found</html>", **HTML),
    "401": bare(401),
    "403": bare(403),
    "UNAUTHORIZED": code("UNAUTHORIZED", 401),
    "AUTH_REQUIRED": code("AUTH_REQUIRED", 401, recovery="correctable"),
    "AUTH_INVALID": code("AUTH_INVALID", 403, recovery="terminal"),
    "ACCOUNT_NOT_FOUND": code("ACCOUNT_NOT_FOUND", 404, recovery="terminal"),
    "ACCOUNT_SUSPENDED": code("ACCOUNT_SUSPENDED", 403, recovery="terminal"),
    "VERSION_UNSUPPORTED": code(
        "VERSION_UNSUPPORTED",
        recovery="correctable",
        details={"supported_versions": ["3.0", "2.5"]},
    ),
    "unknown and terminal": code("FROM_THE_FUTURE", 402, recovery="terminal"),
    "unknown recovery": code("FROM_THE_FUTURE", 403, recovery="prayer"),
    "a field of the request": code("VALIDATION_ERROR", field="event_source_id"),
    "a redirect": bare(307, headers="Location: https://evil.example/\r\n"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("no", PAUSED.values(), ids=PAUSED.keys())
def test_a_wrong_configuration_loses_nothing(
    facing: Callable[..., Case], kind: str, no: No, caplog: pytest.LogCaptureFixture
) -> None:
    """The destination pauses aloud, keeps its events, and goes on once all is mended."""
    caplog.set_level(logging.ERROR, "adcp_tracker")
    mended: list[bool] = []
    case = facing(kind, no, lambda _, __: not mended)
    wait_until(lambda: len(case.seller.tries) >= 3)
    counts = case.counts
    assert (counts.delivered, counts.dead, counts.pending) == (0, 0, 4)
    assert counts.paused
    assert told(caplog)["destination.paused"] == 1
    if no.error and "details" in no.error:
        assert "The seller supports: 3.0, 2.5." in counts.paused
    mended.append(True)
    counts = case.settled()
    assert (counts.delivered, counts.dead, counts.paused) == (4, 0, "")
    assert case.seller.events[0] == case.seller.events[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_error_has_a_budget(facing: Callable[..., Case], kind: str) -> None:
    """What nobody knows is tried a dozen times, then looked for, and costs one event."""
    case = facing(kind, code("FROM_THE_FUTURE", 418), the_bad_one)
    counts = case.settled()
    assert (counts.delivered, counts.dead) == (3, 1)
    assert case.seller.events[: BUDGET + 1] == [*[IDS] * BUDGET, IDS[:2]]
    assert case.letter().code == "FROM_THE_FUTURE"


@pytest.mark.parametrize("kind", KINDS)
def test_two_events_of_one_id_never_share_a_request(facing: Callable[..., Case], kind: str) -> None:
    """A partial failure names only an id, so it must mean one event, whatever its type."""
    tracked = [("lead", "same"), ("purchase", "same"), ("refund", "same"), ("lead", "other")]
    case = facing(kind, No(), lambda _, __: False, tracked)
    assert case.settled().delivered == 4
    assert sorted(map(sorted, case.seller.events)) == [["other", "same"], ["same"], ["same"]]


EXPECTED = {
    Action.RETRY: (4, 0, False),
    Action.SLOW_DOWN: (4, 0, False),
    Action.FRESH_KEY: (4, 0, False),
    Action.SPLIT: (4, 0, False),
    Action.REJECT: (3, 1, False),
    Action.REJECT_NAMED: (0, 0, True),
    Action.PAUSE: (0, 0, True),
}
SPOILS = {
    Action.SPLIT: more_than_two,
    Action.REJECT: the_bad_one,
    Action.REJECT_NAMED: lambda _, __: True,
    Action.PAUSE: lambda _, __: True,
}
MEMBERS = {f"X{part}" if part.startswith("_") else f"{part}X": FAMILIES[part] for part in FAMILIES}
"""A code of each family, such as nobody has listed."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "row"), sorted({**CODES, **MEMBERS}.items(), key=repr))
def test_each_code_of_the_table_has_its_way(
    facing: Callable[..., Case], kind: str, name: str, row: ErrorRule
) -> None:
    """One row of the code's own table, one fate of the events, on either wire."""
    delivered, dead, paused = EXPECTED[row.action]
    case = facing(kind, code(name, 418), SPOILS.get(row.action, once))
    wait_until(lambda: len(case.seller.tries) >= 2 and (paused or case.counts.pending == 0))
    counts = case.counts
    assert (counts.delivered, counts.dead, bool(counts.paused)) == (delivered, dead, paused)
    assert row.remedy in counts.paused or not paused
