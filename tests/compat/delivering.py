"""Delivers prepared queues to sellers that answer in many ways.

The segments have fixed names and hold records of the corpus, so the idempotency keys, which
are derived from where events lie, are the same in every run.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from adcp_tracker import Agent, Interchange, Tracker
from tests.compat.answering import KINDS
from tests.compat.disk import dead_letters, write_line, write_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.compat.replaying import Outcome

    No = Callable[[int, list[str]], dict[str, Any] | None]

_ALIKE = frozenset(
    {"named-one", "named-two", "policy-named", "policy", "unauthorized", "no-source"}
)
_EVENTS, _REJECTED = 14, 2
_SEGMENT = "01778051289123456000-1-compat01.log"
_AT_ONCE = 12
_PATIENCE_S = 20.0
_POLL_S = 0.01
_REFUSED = 400


@attrs.frozen
class Scenario:
    """A queue, a destination and a seller.

    Attributes:
        name: Names it.
        kind: Which destination.
        first: Which of the corpus's records the queue begins with.
        no: Returns the error for a request by its number and its events' ids, if there is one.
        options: Settings of the destination.
        partial: Which events the seller takes the others without, by their place.
        alike: Whether the queue holds one batch only: plain events, each id once.
    """

    name: str
    kind: str
    first: int
    no: No
    options: dict[str, Any] = attrs.field(factory=dict)
    partial: tuple[int, ...] = ()
    alike: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, records from {self.first}, {self.options}, alike={self.alike}"


def _never(_: int, __: list[str]) -> None:
    return None


def _once(error: dict[str, Any]) -> No:
    return lambda number, _: error if number == 0 else None


def _always(error: dict[str, Any]) -> No:
    return lambda _, __: error


def _more_than(count: int) -> No:
    error = {"code": "BATCH_TOO_LARGE", "message": "No."}
    return lambda _, ids: error if len(ids) > count else None


def _with(place: int) -> No:
    """Refuse whatever holds the event that came `place`-th, without naming it."""
    seen: list[str] = []

    def no(_: int, ids: list[str]) -> dict[str, Any] | None:
        seen.extend(each for each in ids if each not in seen)
        bad = seen[place % len(seen)] if len(seen) > place else None
        return {"code": "VALIDATION_ERROR", "message": "No."} if bad in ids else None

    return no


def _named(code: str, *places: int) -> No:
    issues = [{"pointer": f"/events/{place}/event_time"} for place in places]
    error = {"code": code, "message": "No.", "issues": issues}
    return _once(error)


def scenarios() -> list[Scenario]:
    """Return all scenarios; each has a seller of its own."""
    found = []
    for kind in KINDS:
        for place, (name, no, options, partial) in enumerate(_ways()):
            # What is refused only once must be the whole queue, or it is chance what is refused.
            alike = name in _ALIKE or name.endswith(("-once", "-key"))
            made = Scenario(f"{kind}-{name}", kind, 20 * place, no, options, partial, alike)
            found.append(made)
    return found


def _ways() -> Iterator[tuple[str, No, dict[str, Any], tuple[int, ...]]]:
    for number in range(6):
        yield f"well-{number}", _never, {}, ()
    yield "small-batches", _never, {"max_events": 3}, ()
    yield "small-requests", _never, {"max_bytes": 2000}, ()
    yield "partial", _never, {}, (1,)
    yield "partial-two", _never, {}, (0, 3)
    yield "partial-all", _never, {"max_events": 2}, (0, 1)
    yield "busy-once", _once({"code": "SERVICE_UNAVAILABLE", "message": "No."}), {}, ()
    yield "slow-down-once", _once({"code": "RATE_LIMITED", "retry_after": 1}), {}, ()
    yield "conflict-once", _once({"code": "CONFLICT"}), {}, ()
    yield "fresh-key", _once({"code": "IDEMPOTENCY_CONFLICT", "recovery": "correctable"}), {}, ()
    yield "expired-key", _once({"code": "IDEMPOTENCY_EXPIRED", "recovery": "terminal"}), {}, ()
    yield "too-large-4", _more_than(4), {}, ()
    yield "too-large-1", _more_than(1), {}, ()
    yield "bisected-first", _with(0), {}, ()
    yield "bisected-third", _with(2), {}, ()
    yield "named-one", _named("INVALID_EVENT_TIME", 1), {}, ()
    yield "named-two", _named("VALIDATION_ERROR", 0, 2), {}, ()
    yield "policy-named", _named("POLICY_VIOLATION", 1), {}, ()
    yield "policy", _always({"code": "POLICY_VIOLATION", "message": "No."}), {}, ()
    yield "unauthorized", _always({"code": "UNAUTHORIZED", "message": "No."}), {}, ()
    yield "no-source", _always({"code": "EVENT_SOURCE_NOT_FOUND", "message": "No."}), {}, ()


def segment_of(outcomes: Mapping[str, Outcome], scenario: Scenario) -> bytes:
    """Return the records of a scenario's queue: some of the corpus's, good ones and others."""
    recorded = [each for outcome in outcomes.values() for each in outcome.get("records", ())]
    good = [each for each in recorded if isinstance(each, str)]
    others = [each for each in recorded if not isinstance(each, str)]
    if scenario.alike:
        alike = [each.encode() + b"\n" for each in good if each[23] == "E"]
        distinct = _distinct(alike)
        first = scenario.first % (len(distinct) - _EVENTS)
        return b"".join(distinct[first : first + _EVENTS])
    data = [each.encode() + b"\n" for each in good[scenario.first : scenario.first + _EVENTS]]
    for record in others[scenario.first // 4 : scenario.first // 4 + _REJECTED]:
        envelope = {**record["envelope"], "message": "It is invalid.", "remedy": "Fix it."}
        event = record["event"].encode()
        data.append(write_line(record["kind"], int(record["time"]), envelope, event))
    dropped = write_line("D", 1778051289123, {}, b'{"consent":2}')
    return b"".join([*data, dropped])


def _distinct(records: list[bytes]) -> list[bytes]:
    by_id = {json.loads(each[25:])["event_id"]: each for each in reversed(records)}
    return list(by_id.values())


@attrs.define
class Seller:
    """Answers one scenario's requests, and keeps their bodies."""

    scenario: Scenario
    sent: list[str] = attrs.field(factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        message = json.loads(request.content)
        if message.get("method", "tools/call") != "tools/call":
            opened = {"tools": [{"name": "log_event"}]}
            told = {"jsonrpc": "2.0", "id": message.get("id"), "result": opened}
            return httpx.Response(200, json=told)
        body = request.content.decode()
        if self.scenario.kind == "agent":  # the calls of a session are counted
            body = body.replace(f'"id":{message["id"]},', "", 1)
            arguments = message["params"]["arguments"]
        else:
            arguments = message
        number = len(self.sent)
        self.sent.append(body)
        ids = [event["event_id"] for event in arguments["events"]]
        error = self.scenario.no(number, ids)
        if self.scenario.kind == "agent":
            return httpx.Response(200, json=self._called(message["id"], error, ids))
        if error:
            return httpx.Response(_REFUSED, json={"data": None, "error": error})
        return httpx.Response(200, json={"data": self._taken(ids), "error": None})

    def _called(self, number: int, error: dict[str, Any] | None, ids: list[str]) -> dict[str, Any]:
        result: dict[str, Any] = {"structuredContent": self._taken(ids)}
        if error:
            result = {"isError": True, "structuredContent": {"adcp_error": error}}
        return {"jsonrpc": "2.0", "id": number, "result": result}

    def _taken(self, ids: list[str]) -> dict[str, Any]:
        failures = [
            {"event_id": ids[place], "code": "INVALID_EVENT_TIME", "message": "Old."}
            for place in self.scenario.partial
            if place < len(ids)
        ]
        taken = {"events_received": len(ids), "events_processed": len(ids) - len(failures)}
        return {**taken, "partial_failures": failures} if failures else taken


def deliver_all(folder: Path, outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, Any]]:
    """Play all scenarios, several at a time, and return what came of each by its name."""
    played = scenarios()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda each: _play(folder / each.name, each, outcomes), played)
        return dict(zip((each.name for each in played), found, strict=True))


def _play(directory: Path, scenario: Scenario, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    write_segment(directory, _SEGMENT, segment_of(outcomes, scenario))
    seller = Seller(scenario)
    destination = _destination(scenario, seller.handle)
    with Tracker(
        [destination],
        directory=directory,
        flush_interval=0.01,
        handle_sigterm=False,
        shutdown_timeout=0.5,
    ) as tracker:
        tracker.start()
        deadline = time.monotonic() + _PATIENCE_S
        while not _is_done(tracker) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        total = tracker.stats().total()
        # de0da3b counted what a seller did not process among the delivered events too.
        unprocessed = getattr(total, "unprocessed", None)
        apart = total.unconfirmed if unprocessed is None else 0
        unprocessed = apart if unprocessed is None else unprocessed
        paused = next(iter(tracker.stats().destinations.values())).paused
    letters = dead_letters(directory)
    for letter in letters:
        letter["event"] = json.loads(letter["event"]).get("event_id")
    return {
        "requests": sorted(seller.sent),
        "dead": letters,
        "paused": paused.partition(":")[0],
        "books": {
            "accepted": total.accepted,
            "delivered": total.delivered + apart,
            "pending": total.pending,
            "dead": total.dead,
            "dropped": dict(sorted(Counter(total.dropped).items())),
            "unprocessed": unprocessed,
        },
    }


def _is_done(tracker: Tracker) -> bool:
    books = tracker.stats().destinations.values()
    return bool(books) and all(each.paused or not each.pending for each in books)


def _destination(
    scenario: Scenario, handle: Callable[[httpx.Request], httpx.Response]
) -> Agent | Interchange:
    transport, options = httpx.MockTransport(handle), scenario.options
    if scenario.kind == "agent":
        return Agent(
            url="https://seller.example/mcp",
            event_source_id="website_pixel",
            token="t-1",
            transport=transport,
            **options,
        )
    return Interchange(
        advertiser_id="12345",
        event_source_id="website_pixel",
        api_key="k-1",
        base_url="https://interchange.example/api",
        transport=transport,
        **options,
    )
