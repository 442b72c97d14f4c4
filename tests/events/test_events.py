"""Events and their parts, as data."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from decimal import Decimal

import attrs
import pytest

from adcp_tracker.events.event import Event
from adcp_tracker.events.model import (
    EMPTY,
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW

SECRET = "0123456789abcdef" * 4
MATCH = UserMatch(
    hashed_email=SECRET,
    uids=(UniversalId(UidType.ID5, "uid-secret"),),
    click_id="click-secret",
    client_ip="203.0.113.7",
    client_user_agent="agent-secret",
    extra={"crm": "extra-secret"},
)


def event(**fields: object) -> Event:
    """Make an event that has `fields` besides the required ones."""
    return Event("A-1", EventType.PURCHASE, NOW, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (event(), "event_id"),
        (MATCH, "hashed_email"),
        (CustomData(), "value"),
        (Content("a"), "id"),
        (UniversalId(UidType.ID5, "x"), "value"),
        (Surface(SurfaceCategory.APP), "category"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_nothing_of_an_event_changes(part: object, name: str) -> None:
    """An event was judged as a whole, so no part of it can be changed afterwards."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(part, name, "other")


def test_reprs_show_no_personal_data() -> None:
    """A traceback or a log may show an event without telling who the shopper is."""
    data = CustomData(order_id="A-1", search_string="my-secret", extra={"note": "a-secret"})
    shown = repr((event(user_match=MATCH, custom_data=data), MATCH, MATCH.uids, data))
    for secret in (SECRET, "secret", "203.0.113.7"):
        assert secret not in shown
    assert repr(event()) == "Event(event_id='A-1', event_type='purchase')"
    assert repr(MATCH) == (
        "UserMatch(hashed_email, uids, click_id, client_ip, client_user_agent, extra)"
    )


def test_events_can_be_pickled_and_copied() -> None:
    """An event passes through a task queue or a process pool unchanged."""
    made = event(user_match=MATCH, custom_data=CustomData(Decimal("1.10"), "EUR"))
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(EMPTY)) is EMPTY  # noqa: S301 - our own bytes


def test_an_evolved_event_is_checked_and_encoded_again() -> None:
    """A changed copy is as valid as the event it was made from."""
    assert b"B-2" in attrs.evolve(event(), event_id="B-2").json
    with pytest.raises(InvalidEventError):
        attrs.evolve(event(), event_id="")


def test_equal_events_are_equal() -> None:
    """Events compare by what they hold, and one can be put into a set."""
    assert {event(custom_data=CustomData(1)), event(custom_data=CustomData(1))} == {
        event(custom_data=CustomData(1))
    }


def test_lists_and_plain_words_are_as_good() -> None:
    """A caller may write a list for a tuple and a word for its enumeration's member."""
    made = Event(
        "A-1",
        "purchase",
        NOW,
        UserMatch(uids=[UniversalId("id5", "x")]),  # type: ignore[arg-type]  # on purpose
        CustomData(contents=[Content("a")], content_ids=["a"]),
        "app",
    )
    assert b'"event_type":"purchase"' in made.json
    assert b'"action_source":"app"' in made.json
    assert repr(made) == "Event(event_id='A-1', event_type='purchase')"
    assert made.is_baseline


def test_every_event_type_can_be_told() -> None:
    """The protocol's 31 types make an event each."""
    assert len(EventType) == 31
    progress = CustomData(progress_percent=25)
    for kind in EventType:
        made = Event("A-1", kind, NOW, custom_data=progress, custom_event_name="own")
        assert f'"event_type":"{kind.value}"'.encode() in made.json


def test_every_action_source_can_be_told() -> None:
    """The protocol's nine sources can be written."""
    assert len(ActionSource) == 9
    for source in ActionSource:
        made = event(action_source=source, event_source_url="https://shop.example/")
        assert f'"action_source":"{source.value}"'.encode() in made.json


def test_the_far_future_is_allowed() -> None:
    """Sellers' own scenarios use event times in 2099."""
    made = Event("A-1", EventType.PURCHASE, datetime(2099, 1, 1, tzinfo=timezone.utc))
    assert b"2099-01-01T00:00:00Z" in made.json


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (event(), True),
        (event(user_match=MATCH, custom_data=CustomData(1, "EUR", extra={"a": 1})), True),
        (event(action_source=ActionSource.IN_STORE), True),
        (event(action_source=ActionSource.OFFLINE), False),
        (event(action_source=ActionSource.CHAT), False),
        (event(action_source=ActionSource.EMAIL), False),
        (event(surface=Surface(SurfaceCategory.APP)), False),
        (event(custom_data=CustomData(progress_percent=50)), False),
        (event(custom_data=CustomData(progress_seconds=50)), False),
        (event(user_match=UserMatch(uids=[UniversalId(UidType.WORLD_ID_NULLIFIER, "x")])), False),
        (Event("A-1", EventType.FOLLOW, NOW), False),
        (Event("A-1", EventType.CONTENT_VIEW, NOW), False),
        (Event("A-1", EventType.CUSTOM, NOW, custom_event_name="own"), True),
    ],
)
def test_plain_events_are_those_that_every_seller_takes(made: Event, plain: bool) -> None:  # noqa: FBT001 - a case
    """What only a newer line or only one kind of seller knows makes an event less than plain."""
    assert made.is_baseline is plain
