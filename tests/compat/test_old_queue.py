"""A queue that a process of commit de0da3b left behind is taken over whole."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.compat import surface
from tests.compat.local_seller import LocalSeller, local_seller
from tests.compat.old_queue import (
    REMEMBERED,
    SHOPPER,
    VARIANTS,
    destinations,
    open_tracker,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker import Tracker

KINDS = {"interchange": "exchange", "agent": "agent"}
_PATIENCE_S = 15.0


@attrs.define
class Heir:
    """The process that comes after the old one.

    Attributes:
        directory: The queue as it was left.
        expected: What is to become of its events.
        seller: The seller that all destinations lead to.
        variant: Whether the queue is plain or encrypted.
    """

    directory: Path
    expected: dict[str, Any]
    seller: LocalSeller
    variant: str

    def open(self) -> Tracker:
        """Open the queue to deliver what is in it."""
        return open_tracker(self.directory, self.variant, self.seller.origin)

    def deliver(self, tracker: Tracker) -> None:
        """Wait until nothing is left."""
        tracker.flush(_PATIENCE_S)
        wait_for(lambda: not tracker.stats().pending)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=VARIANTS)
def heir(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Heir]:
    """The next process, for a plain and for an encrypted queue."""
    directory, expected = unpack(tmp_path, request.param)
    with local_seller() as seller:
        yield Heir(directory, expected, seller, request.param)


def test_all_that_waits_is_delivered_once(heir: Heir) -> None:
    """Each destination gets each waiting event once, and what it has had never again."""
    with heir.open() as tracker:
        heir.deliver(tracker)
        books = tracker.stats().destinations
    for kind, name in KINDS.items():
        assert Counter(heir.seller.taken(kind)) == Counter(heir.expected["waiting"])
        assert books[name].delivered == len(heir.expected["waiting"] + heir.expected["done"])
        assert books[name].dead == 2
        assert books[name].dropped == {"consent": 1}
        assert books[name].accepted == books[name].delivered + 3


def test_a_frozen_batch_goes_again_as_the_same_bytes_under_the_same_key(heir: Heir) -> None:
    """The batch that the old process tried in vain comes first, idempotency key included."""
    with heir.open() as tracker:
        heir.deliver(tracker)
    for kind in KINDS:
        first = next(each for each in heir.seller.requests if each.kind == kind)
        was = heir.expected["frozen"][kind]
        assert first.body == was["body"]
        assert first.key == was["key"]
    keys = [each.key for each in heir.seller.requests if each.kind == "agent"]
    assert len(set(keys)) == len(keys)


def test_dead_letters_are_listed_and_can_be_replayed(heir: Heir) -> None:
    """Both kinds of letters are shown; what a seller refused can be sent again."""
    with heir.open() as tracker:
        heir.deliver(tracker)
        letters = surface.letters(tracker)
        shown = sorted(
            [each.destination, each.code, json.loads(each.event)["event_id"]] for each in letters
        )
        refused = [each.id for each in letters if each.code == "INVALID_EVENT_TIME"]
        surface.replay(tracker, refused)
        heir.deliver(tracker)
        left = {each.code for each in surface.letters(tracker)}
    assert shown == [
        [name, code, event_id]
        for name in ("agent", "exchange")
        for code, event_id in (("INVALID_EVENT", "invalid-1"), ("INVALID_EVENT_TIME", "refused-1"))
    ]
    assert left == {"INVALID_EVENT"}
    for kind in KINDS:
        assert heir.seller.taken(kind).count("refused-1") == 1


def test_a_remembered_context_is_found_by_its_order(heir: Heir) -> None:
    """A purchase outside of any request carries what was remembered for its order."""
    with heir.open() as tracker:
        tracker.track_purchase({"id": REMEMBERED, "total": "1.00", "currency": "EUR"})
        heir.deliver(tracker)
    sent = [
        event
        for each in heir.seller.requests
        if each.kind == "interchange"
        for event in json.loads(each.body)["events"]
        if event["event_id"] == REMEMBERED
    ]
    assert [each["user_match"]["client_ip"] for each in sent] == [SHOPPER.client_ip]
    assert sent[0]["event_source_url"] == SHOPPER.event_source_url


def test_a_destination_that_is_not_configured_is_still_known(heir: Heir) -> None:
    """A process that knows one destination less leaves the other's events where they are."""
    first, _ = destinations(heir.seller.origin)
    fewer = surface.make_tracker(
        [first],
        directory=heir.directory,
        flush_interval=0.02,
        handle_sigterm=False,
        **VARIANTS[heir.variant],
    )
    with fewer as tracker:
        tracker.flush(_PATIENCE_S)
        wait_for(lambda: not tracker.stats().destinations["exchange"].pending)
        books = tracker.stats().destinations["agent"]
        assert not books.configured
    assert heir.seller.taken("agent") == []
    with heir.open() as tracker:
        heir.deliver(tracker)
    assert set(heir.seller.taken("agent")) == set(heir.expected["waiting"])
