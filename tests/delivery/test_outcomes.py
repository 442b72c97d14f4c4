"""What each outcome does to a delivery, to its destination and to the counts."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.delivery.outcomes import OutcomeHandler, RetryPolicy
from adcp_tracker.destinations.base import (
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.batcher import Batcher
from adcp_tracker.outbox.directory import open_outbox
from adcp_tracker.outbox.state import DestinationState, FrozenBatch, Histogram, Measures, State
from tests.support.destinations import ScriptedDestination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.outbox.batch import LocatedEvent
    from adcp_tracker.outbox.dead_letters import DeadLetter

NOW = 1_767_225_700.0
NAME = "scripted"


class Desk:
    """A sealed batch of four events, ready to be settled in any way."""

    def __init__(self, path: Path) -> None:
        directory = QueueDirectory(path / "queue")
        journal = JournalWriter(directory)
        for number in range(4):
            journal.append(b'{"event_id":"A-%d","event_type":"lead"}' % number, 1_767_225_600_123)
        self.outbox = open_outbox(directory)
        self.state = State(self.outbox, [NAME])
        self.segments = SegmentStore(directory)
        self.batcher = Batcher(self.segments, self.state)
        sealed = self.batcher.next_batches(ScriptedDestination(), self.segments.sizes(), NOW)
        ((self.delivery, self.members),) = sealed.batches
        self.policy = RetryPolicy(lambda: 0.5, budget=3)
        journal.roll()

    @property
    def destination(self) -> DestinationState:
        """What is known of the destination."""
        return self.state.destinations[NAME]

    @property
    def deliveries(self) -> list[FrozenBatch]:
        """What is left to deliver."""
        return self.state.batches[NAME]

    def settle(self, outcome: Outcome, delivery: FrozenBatch | None = None) -> list[DeadLetter]:
        """Settle one delivery, and commit."""
        chosen = delivery or self.delivery
        members = self.batcher.read(chosen)
        letters = OutcomeHandler(self.state, self.policy, chosen, members, NOW).apply(outcome)
        self.state.commit()
        self.check_books()
        return letters

    def check_books(self) -> None:
        """Every event is in exactly one place."""
        counts = self.destination.counts
        pending = sum(delivery.count for delivery in self.deliveries)
        dropped = sum(counts.dropped.values())
        assert counts.accepted == counts.delivered + counts.dead + pending + dropped == 4

    def ids_left(self) -> list[list[str]]:
        """Return the event ids of each delivery that is left."""
        return [[name(member) for member in self.batcher.read(each)] for each in self.deliveries]


def name(member: LocatedEvent) -> str:
    """Return an event's id."""
    return member.event[13:16].decode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return a batch to settle."""
    made = Desk(tmp_path)
    with closing(made.outbox):
        yield made


def test_a_delivered_batch_is_done(desk: Desk) -> None:
    """Everything is in the counts as delivered, and nothing is left."""
    assert desk.settle(Delivered(received=4, processed=4)) == []
    assert desk.deliveries == []
    assert desk.destination.counts.delivered == 4


@pytest.mark.parametrize(
    "failure", [EventFailure("C", "m", event_id="A-2"), EventFailure("C", "m", index=2)]
)
def test_partial_failures_are_dead_letters(desk: Desk, failure: EventFailure) -> None:
    """The events a seller names die with its words; the others are delivered."""
    (letter,) = desk.settle(Delivered(failures=(failure,)))
    assert (letter.code, letter.message, letter.event[13:16]) == ("C", "m", b"A-2")
    assert (desk.destination.counts.delivered, desk.destination.counts.dead) == (3, 1)


def test_failures_of_unknown_events_leave_as_many_unconfirmed(desk: Desk) -> None:
    """A seller that names other events, or positions outside, kills none of ours."""
    strangers = (EventFailure("C", "m", event_id="Z"), EventFailure("C", "m", index=9))
    assert desk.settle(Delivered(failures=strangers)) == []
    counts = desk.destination.counts
    assert (counts.delivered, counts.unconfirmed) == (4, 2)


def test_fewer_processed_than_received_is_counted_and_not_sent_again(desk: Desk) -> None:
    """Which ones were left out cannot be known."""
    desk.settle(Delivered(received=4, processed=3))
    assert desk.destination.counts.unconfirmed == 1
    assert desk.deliveries == []


def test_a_retry_keeps_the_batch_as_it_is(desk: Desk) -> None:
    """The same bytes under the same identity, later."""
    desk.settle(Retry("timeout", "no answer in 10 s"))
    (again,) = desk.deliveries
    assert again.identity == desk.delivery.identity
    assert (again.attempts, again.last_code) == (1, "timeout")
    assert again.next_attempt_at == desk.destination.resume_at == NOW + 2.0
    desk.settle(Retry("timeout", "no answer in 10 s"), again)
    assert desk.destination.resume_at == NOW + 4.0


def test_a_seller_is_not_asked_before_it_wants_to_be(desk: Desk) -> None:
    """What the seller asks for is a minimum."""
    desk.settle(Retry("RATE_LIMITED", "slow down", retry_after=120.0))
    assert desk.destination.resume_at == NOW + 120.0


def test_a_fresh_key_is_another_identity_for_the_same_events(desk: Desk) -> None:
    """After a conflict the same events go under a new key."""
    desk.settle(Retry("IDEMPOTENCY_CONFLICT", "other payload", fresh_key=True))
    (again,) = desk.deliveries
    assert again.spans == desk.delivery.spans
    assert again.identity != desk.delivery.identity


def test_a_reason_nobody_knows_is_tried_so_often_and_then_isolated(desk: Desk) -> None:
    """An unknown code costs bounded tries; then the batch is halved, down to a dead letter."""
    outcome = Retry("WHAT", "?", budgeted=True)
    for _ in range(2):
        desk.settle(outcome, desk.deliveries[0])
    assert desk.ids_left() == [["A-0", "A-1", "A-2", "A-3"]]
    desk.settle(outcome, desk.deliveries[0])
    assert desk.ids_left() == [["A-0", "A-1"], ["A-2", "A-3"]]


def test_a_try_that_costs_no_budget_leaves_it_whole(desk: Desk) -> None:
    """However often nobody answered, an error nobody knows has its own number of tries."""
    for _ in range(30):
        desk.settle(Retry("timeout", "no answer"), desk.deliveries[0])
    for _ in range(2):
        desk.settle(Retry("WHAT", "?", budgeted=True), desk.deliveries[0])
        assert desk.ids_left() == [["A-0", "A-1", "A-2", "A-3"]]
    desk.settle(Retry("WHAT", "?", budgeted=True), desk.deliveries[0])
    assert desk.ids_left() == [["A-0", "A-1"], ["A-2", "A-3"]]


def test_too_large_is_halved_and_remembered(desk: Desk) -> None:
    """The smaller limit holds for all that follows."""
    desk.settle(TooLarge("http_413", "too large"))
    assert desk.ids_left() == [["A-0", "A-1"], ["A-2", "A-3"]]
    assert desk.destination.max_events == 2
    assert desk.destination.max_bytes == sum(len(each.event) + 1 for each in desk.members) // 2


def test_one_event_that_is_too_large_is_a_dead_letter(desk: Desk) -> None:
    """What cannot be made smaller is set aside, and no limit is learned from what led to it."""
    for _ in range(2):
        desk.settle(TooLarge("http_413", "too large"), desk.deliveries[0])
    (letter,) = desk.settle(TooLarge("http_413", "too large"), desk.deliveries[0])
    assert (letter.code, letter.event[13:16]) == ("http_413", b"A-0")
    assert (desk.destination.max_events, desk.destination.max_bytes) == (None, None)


def test_nothing_is_learned_while_events_are_too_large_one_by_one(desk: Desk) -> None:
    """A seller that finds everything too large says nothing about sizes."""
    desk.destination.single_rejections = 1
    desk.settle(TooLarge("http_413", "too large"))
    assert desk.ids_left() == [["A-0", "A-1"], ["A-2", "A-3"]]
    assert desk.destination.max_events is None


def test_a_limit_is_outgrown_by_many_requests_that_came_near_it(desk: Desk) -> None:
    """What was learned once is not for ever."""
    desk.destination.max_events, desk.destination.max_bytes = 4, 1000
    desk.destination.successes_near_limit = 99
    desk.settle(Delivered())
    assert (desk.destination.max_events, desk.destination.max_bytes) == (8, 2000)
    assert desk.destination.successes_near_limit == 0


def test_a_limit_is_not_outgrown_by_small_requests(desk: Desk) -> None:
    """They do not tell that larger ones would be taken."""
    desk.destination.max_events, desk.destination.max_bytes = 400, 100_000
    desk.destination.successes_near_limit = 99
    desk.settle(Delivered())
    assert (desk.destination.max_events, desk.destination.max_bytes) == (400, 100_000)
    assert desk.destination.successes_near_limit == 99


def test_a_limit_that_stands_is_tried_again_only_after_as_many_requests(desk: Desk) -> None:
    """The count begins anew with each refusal for the size."""
    desk.destination.successes_near_limit = 99
    desk.settle(TooLarge("http_413", "too large"))
    assert desk.destination.successes_near_limit == 0


def test_named_events_die_and_the_rest_goes_again(desk: Desk) -> None:
    """The rest is another batch under another identity."""
    outcome = Rejected("VALIDATION_ERROR", "bad", (EventFailure("BAD", "when?", index=1),))
    (letter,) = desk.settle(outcome)
    assert letter.event[13:16] == b"A-1"
    assert desk.ids_left() == [["A-0", "A-2", "A-3"]]
    assert desk.deliveries[0].identity != desk.delivery.identity
    assert len(desk.deliveries[0].spans) == 2


def test_an_unnamed_rejection_is_bisected_to_the_event(desk: Desk) -> None:
    """Halving finds the bad one, and every other event is delivered."""
    dead: list[DeadLetter] = []
    while desk.deliveries:
        delivery = desk.deliveries[0]
        bad = any(name(member) == "A-2" for member in desk.batcher.read(delivery))
        dead += desk.settle(Rejected("BAD_REQUEST", "no") if bad else Delivered(), delivery)
    assert [letter.event[13:16] for letter in dead] == [b"A-2"]
    assert desk.destination.counts.delivered == 3


def test_a_pause_keeps_everything_and_says_why(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong configuration loses nothing; it is loud, once, and probed rarely."""
    outcome = Paused("http_401", "unknown token", "Set ADCP_API_KEY.")
    desk.settle(outcome)
    (again,) = desk.deliveries
    assert (again.attempts, again.identity) == (0, desk.delivery.identity)
    assert desk.destination.resume_at == NOW + 300.0
    assert desk.destination.pause is not None
    desk.settle(outcome, again)
    (entry,) = caplog.messages
    assert "destination.paused" in entry
    assert "Set ADCP_API_KEY." in entry


def test_an_answer_ends_pause_and_backoff(desk: Desk) -> None:
    """Once the seller takes a batch, everything is as if nothing had been."""
    desk.settle(Paused("http_401", "unknown token", "Set ADCP_API_KEY."))
    desk.settle(Delivered(), desk.deliveries[0])
    state = desk.destination
    assert (state.pause, state.failures, state.resume_at) == (None, 0, 0.0)


def test_a_seller_whose_allowance_is_used_up_is_left_in_peace(desk: Desk) -> None:
    """A delivered batch can come with a wish to wait."""
    desk.settle(Delivered(wait=30.0))
    assert desk.destination.resume_at == NOW + 30.0


@pytest.mark.parametrize(
    ("code", "fresh"),
    [("SERVICE_UNAVAILABLE", True), ("IDEMPOTENCY_IN_FLIGHT", False), ("read_timeout", False)],
)
def test_an_error_replayed_for_ever_is_escaped(desk: Desk, code: str, fresh: bool) -> None:  # noqa: FBT001 - a case
    """The same code of the seller's own, five times, gets a fresh key; the unknown does not."""
    for _ in range(5):
        desk.settle(Retry(code, "again"), desk.deliveries[0])
    assert (desk.deliveries[0].identity != desk.delivery.identity) == fresh


def test_a_wrong_setting_that_looks_like_bad_events_kills_few(desk: Desk) -> None:
    """When every event is refused alone, the destination pauses before all are dead."""
    desk.destination.single_rejections = 3
    dead: list[DeadLetter] = []
    for _ in range(20):
        dead += desk.settle(Rejected("INVALID_REQUEST", "no caller identity"), desk.deliveries[0])
    assert len(dead) == 2
    assert desk.destination.pause is not None
    assert "settings" in desk.destination.pause.remedy
    assert sum(delivery.count for delivery in desk.deliveries) == 2
    desk.settle(Delivered(), desk.deliveries[0])
    assert desk.destination.single_rejections == 0


@pytest.mark.parametrize(
    "outcome", [TooLarge("http_413", "too large"), Retry("tool_error", "oops", budgeted=True)]
)
def test_an_outage_that_looks_like_bad_events_kills_few(desk: Desk, outcome: Outcome) -> None:
    """Who refuses everything for its size, or in words alone, is not believed for long."""
    desk.destination.single_rejections = 3
    dead: list[DeadLetter] = []
    for _ in range(40):
        dead += desk.settle(outcome, desk.deliveries[0])
    assert len(dead) == 2
    assert desk.destination.pause is not None
    assert desk.destination.resume_at > NOW
    assert sum(delivery.count for delivery in desk.deliveries) == 2


def test_a_pause_over_events_refused_alone_lasts_until_one_is_taken(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """A probe with several events is refused and halved, which mends nothing, and is told once."""
    caplog.set_level(logging.INFO)
    desk.destination.single_rejections = 5
    refusal = Rejected("INVALID_REQUEST", "no caller identity")
    for _ in range(10):
        desk.settle(refusal, desk.deliveries[0])
    assert sum("destination.paused" in message for message in caplog.messages) == 1
    assert "destination.resumed" not in caplog.text
    desk.settle(Delivered(), desk.deliveries[0])
    assert desk.destination.pause is None
    assert "destination.resumed" in caplog.text


@pytest.mark.parametrize(
    ("outcome", "first"),
    [
        (TooLarge("http_413", "too large"), ["A-0"]),
        (Retry("WHAT", "?", budgeted=True), ["A-2", "A-3"]),
    ],
)
def test_halves_go_first_unless_they_have_to_wait(
    desk: Desk, outcome: Outcome, first: list[str]
) -> None:
    """The event at fault is found in few requests, and one that takes long holds up nobody."""
    desk.settle(Rejected("BAD_REQUEST", "no"))
    half = attrs.evolve(desk.deliveries[0], budgeted=desk.policy.budget - 1)
    desk.state.replace(desk.deliveries[0], half)
    desk.settle(outcome, half)
    assert desk.ids_left()[0] == first
    assert len(desk.deliveries) == 3


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Rejected("http_400", "m"), "Fix the code"),
        (Rejected("INVALID_EVENT_TIME", "m"), "UTC offset"),
        (Rejected("UNHEARD_OF", "m"), "Ask the seller"),
        (TooLarge("http_413", "m"), "smaller"),
        (TooLarge("BATCH_TOO_LARGE", "m"), "smaller"),
    ],
)
def test_a_dead_letter_after_bisection_has_a_remedy(
    desk: Desk, outcome: Outcome, words: str
) -> None:
    """The code alone says what to do when nothing else does."""
    letters: list[DeadLetter] = []
    while not letters:
        letters = desk.settle(outcome, desk.deliveries[0])
    assert words in letters[0].remedy


@pytest.mark.parametrize("code", ["RATE_LIMIT_EXCEEDED", "SERVICE_UNAVAILABLE", "TIMEOUT"])
def test_a_partial_failure_that_may_pass_says_to_replay_it(desk: Desk, code: str) -> None:
    """The event is not to blame, so there is nothing about it to fix."""
    (letter,) = desk.settle(Delivered(failures=(EventFailure(code, "m", index=0),)))
    assert "Replay" in letter.remedy


def test_latency_and_size_are_of_what_the_seller_has(desk: Desk) -> None:
    """A failed event has no latency, and the request keeps its size."""
    desk.settle(Delivered(failures=(EventFailure("C", "m", event_id="A-2"),)))
    measures = desk.destination.measures
    assert (measures.latency.buckets, measures.latency.count) == ({"300": 3}, 3)
    assert measures.latency.sum == pytest.approx(3 * 99.877)
    assert (measures.batches.buckets, measures.batches.sum) == ({"10": 1}, 4)


def test_retries_are_counted_by_reason(desk: Desk) -> None:
    """Sellers choose codes: after thirty, the others count together."""
    for number in range(40):
        desk.settle(Retry(f"CODE_{number}", "m"), desk.deliveries[0])
    retries = desk.destination.measures.retries
    assert (retries["CODE_29"], retries["other"], len(retries)) == (1, 10, 31)


def test_a_clock_set_back_makes_no_negative_latency() -> None:
    """A sum that decreases would look like a new process."""
    measures = Measures()
    measures.deliver([int(NOW * 1000) + 5000], NOW, 1)
    assert (measures.latency.sum, measures.latency.buckets) == (0.0, {"0.5": 1})


@given(st.lists(st.floats(0, 1e6)), st.sets(st.floats(0, 1e6).map(lambda each: round(each, 1))))
def test_a_histogram_counts_every_value_once(values: list[float], bounds: set[float]) -> None:
    """Each value is counted at the smallest bound that it doesn't exceed."""
    histogram = Histogram()
    histogram.observe(values, sorted(bounds))
    above = [min((each for each in bounds if each >= value), default=None) for value in values]
    names = ["+Inf" if each is None else f"{each:g}" for each in above]
    assert histogram.buckets == Counter(names)
    assert histogram.count == len(values)
