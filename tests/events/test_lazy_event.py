"""Events that read their parts back when somebody asks."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given

from adcp_tracker.events.codec import encode
from adcp_tracker.events.event import Event, EventType, Surface, SurfaceCategory
from adcp_tracker.events.lazy_event import WrittenEvent, written_event
from tests.support.events import NOW, plain_events

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = Event("A-1", EventType.PURCHASE, NOW)


def written() -> Event:
    """Make an event that nobody has looked at."""
    return written_event("A-1", WHOLE.json)


@given(plain_events)
def test_a_written_event_is_the_event_that_was_written(event: Event) -> None:
    """In every field, and in either order of comparison."""
    assert written_event(event.event_id, event.json) == event
    assert event == written_event(event.event_id, event.json)
    assert hash(written_event(event.event_id, event.json)) == hash(event)
    assert repr(written_event(event.event_id, event.json)) == repr(event)


def test_its_id_and_line_are_there_at_once() -> None:
    """What the tracker needs of it does not make it read itself."""
    event = written()
    assert (event.event_id, encode(event), event.is_baseline) == ("A-1", WHOLE.json, True)
    assert type(event) is WrittenEvent


@pytest.mark.parametrize(
    "look",
    [
        lambda event: event.custom_data,
        lambda event: event.event_time,
        repr,
        hash,
        pickle.dumps,
        copy.copy,
        lambda event: event == WHOLE,
        lambda event: event != WHOLE,
        attrs.asdict,
    ],
)
def test_a_look_makes_it_an_event_like_any_other(look: Callable[[Event], object]) -> None:
    """Once it is whole, nothing tells it from another."""
    event = written()
    look(event)
    assert type(event) is Event
    assert event == WHOLE


def test_it_is_frozen_before_and_after() -> None:
    """Nobody changes it while it is not whole."""
    event = written()
    for _ in range(2):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.event_id = "B-2"  # type: ignore[misc]
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            del event.json
        assert event.event_time == NOW


def test_a_changed_copy_is_an_ordinary_event() -> None:
    """It is judged anew, also for who takes it."""
    changed = attrs.evolve(written(), surface=Surface(SurfaceCategory.APP))
    assert type(changed) is Event
    assert not changed.is_baseline
    assert b"surface" in changed.json


def test_it_goes_through_pickle_and_copies() -> None:
    """A task queue may take it as it is."""
    assert pickle.loads(pickle.dumps(written())) == WHOLE  # noqa: S301 - our own bytes
    assert copy.copy(written()) == copy.deepcopy(written()) == WHOLE


def test_it_has_no_other_attributes() -> None:
    """A misspelt one is missed as on any object."""
    assert not hasattr(written(), "custom_date")


def test_threads_may_look_at_once() -> None:
    """Whoever comes first, all see the same event."""
    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            event = written()
            assert {*pool.map(lambda _, event=event: event.event_time, range(8))} == {NOW}
