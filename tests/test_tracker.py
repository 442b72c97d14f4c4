"""The tracker as a shop's code calls it: what it returns, writes, refuses and withholds."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import sys
import threading
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pytest
from freezegun import freeze_time

from adcp_tracker import (
    Consent,
    CustomData,
    Event,
    EventType,
    InvalidEventError,
    Order,
    OrderItem,
    QueueFullError,
    RejectedEvent,
    RequestContext,
    Tracker,
    UnusableDirectoryError,
    bind_context,
)
from adcp_tracker.journal import files
from adcp_tracker.testing import RecordingTracker
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker.context import Automated

    Make = Callable[..., Tracker]

EMAIL = "alice.private@example.com"
PHONE = "+12065551234"
ORDER = {
    "id": "A-1001",
    "total": Decimal("129.90"),
    "currency": "EUR",
    "email": EMAIL,
    "phone": PHONE,
    "items": [{"sku": "SKU-1", "quantity": 2, "price": Decimal("64.95")}],
}
CONTEXT = RequestContext(
    client_ip="8.8.8.8",
    client_user_agent="Mozilla/5.0 (private)",
    event_source_url="https://shop.example/thanks?gclid=c1",
    click_id="c1",
    click_id_type="gclid",
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of trackers over one directory, closed at the end."""
    made: list[Tracker] = []

    def maker(*destinations: ScriptedDestination, **settings: Any) -> Tracker:  # noqa: ANN401 - by name
        options = {"directory": tmp_path / "queue", "handle_sigterm": False, **settings}
        tracker = Tracker(destinations, **options)
        made.append(tracker)
        return tracker

    yield maker
    for tracker in made:
        tracker.close(timeout=5.0)


def delivered(tracker: Tracker) -> list[dict[str, Any]]:
    """Deliver everything and return the events as the seller reads them."""
    assert tracker.flush(10.0).pending == 0
    (destination,) = tracker.destinations
    assert isinstance(destination, ScriptedDestination)
    return [orjson.loads(event) for event in destination.delivered]


def test_a_purchase_is_an_event_with_the_orders_id(make: Make) -> None:
    """The call returns the event, and the seller gets it with money digit for digit."""
    tracker = make(ScriptedDestination())
    event = tracker.track_purchase(ORDER)
    assert isinstance(event, Event)
    assert (event.event_id, event.event_type) == ("A-1001", EventType.PURCHASE)
    delivered(tracker)
    (destination,) = tracker.destinations
    assert isinstance(destination, ScriptedDestination)
    assert b'"value":129.90' in destination.delivered[0]
    assert b'"price":64.95' in destination.delivered[0]


def test_the_same_order_is_the_same_event(make: Make) -> None:
    """A checkout that is tried again makes no second conversion."""
    tracker = make()
    first, second = tracker.track_purchase(ORDER), tracker.track_purchase(dict(ORDER))
    third = tracker.track_purchase(
        Order("A-1001", Decimal("129.90"), "EUR", [OrderItem("SKU-1", 2, Decimal("64.95"))])
    )
    assert first.event_id == second.event_id == third.event_id == "A-1001"


def test_repeated_events_go_in_separate_requests(make: Make) -> None:
    """No request names an id twice, as sellers answer by id alone."""
    destination = ScriptedDestination()
    tracker = make(uploader="external")
    for _ in range(3):
        tracker.track_purchase(ORDER)
    assert make(destination).flush(10.0).pending == 0
    assert [len(batch.events) for batch in destination.batches] == [1, 1, 1]


def test_nothing_raw_is_written_anywhere(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Addresses and numbers are in no file, log or repr, whether the event is valid or not."""
    caplog.set_level(logging.DEBUG, "adcp_tracker")
    tracker = make(ScriptedDestination(), default_region="US")
    shown = []
    wrong: list[dict[str, object]] = [
        {},
        {"total": Decimal(-1)},
        {"email": "alice.private@", "phone": "02079460958"},
        {"phone": "not-a-number-alice"},
        {"email": 5},
        {"items": [{"sku": "", "quantity": 0}]},
    ]
    for number, changes in enumerate(wrong):
        result = tracker.track_purchase({**ORDER, "id": f"A-{number}", **changes})
        shown.append(repr(result))
    shown.append(repr(tracker.track_lead(lead_id="L", email="bob.private@example.com")))
    shown.append(repr(CONTEXT))
    tracker.flush(10.0)
    written = b"".join(
        path.read_bytes() for path in (tmp_path / "queue").rglob("*") if path.is_file()
    )
    everything = written + "".join([*shown, caplog.text]).encode()
    for secret in (b"private", b"5551234", b"2065551234", b"20794609", b"not-a-number", b"alice"):
        assert secret not in everything, secret
    destination = tracker.destinations[0]
    assert isinstance(destination, ScriptedDestination)
    hashed = hashlib.sha256(EMAIL.encode()).hexdigest()
    assert hashed.encode() in destination.delivered[0]


def test_an_invalid_event_breaks_no_checkout(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, kept as a dead letter with every fault, and returned as rejected."""
    tracker = make(ScriptedDestination())
    result = tracker.track_purchase({**ORDER, "total": Decimal(-1), "currency": "euro"})
    assert isinstance(result, RejectedEvent)
    assert (result.event_id, result.event_type) == ("A-1001", "purchase")
    assert [fault.path for fault in result.errors] == [
        "$.custom_data.value",
        "$.custom_data.currency",
    ]
    assert "event.invalid" in caplog.text
    tracker.flush(10.0)
    (letter,) = tracker.dead_letters.list()
    assert letter.code == "INVALID_EVENT"
    assert "$.custom_data.currency: expected" in letter.message
    total = tracker.stats().total()
    assert (total.accepted, total.dead, total.delivered) == (1, 1, 0)
    assert tracker.dead_letters.replay([letter.id]).refused == (letter.id,)


@pytest.mark.parametrize("keys", [(), (b"k" * 32,)])
@pytest.mark.parametrize("lines", [3_000, 9_000])
def test_a_refused_order_of_any_length_is_a_dead_letter(
    make: Make, lines: int, keys: tuple[bytes, ...]
) -> None:
    """Of parts that are too long to be kept, only their kind is."""
    tracker = make(ScriptedDestination(), encryption_keys=keys)
    item = {"quantity": 1, "price": Decimal("1.00")}
    items = [{"sku": f"SKU-{number:050}", **item} for number in range(lines)]
    tracker.track_purchase({**ORDER, "items": items, "currency": "euro"})
    total = tracker.flush(10.0).total()
    assert (total.accepted, total.dead, total.dropped) == (1, 1, {})
    (letter,) = tracker.dead_letters.list()
    assert "$.custom_data.currency: expected" in letter.message
    kept = orjson.loads(letter.event)
    assert kept["event_id"] == "A-1001"
    assert kept["custom_data"]["contents"] == "a list"
    assert kept["custom_data"]["value"] == 129.9


def test_strict_raises_instead(make: Make) -> None:
    """Under strict the caller hears of it, and nothing is kept."""
    tracker = make(strict=True)
    with pytest.raises(InvalidEventError, match=r"\$\.custom_data\.value: expected"):
        tracker.track_purchase({**ORDER, "total": Decimal(-1)})
    with pytest.raises(InvalidEventError):
        tracker.track("no_such_type")
    with pytest.raises(InvalidEventError):
        tracker.track_custom("")


@pytest.mark.parametrize("method", ["track", "track_purchase", "track_refund", "track_lead"])
def test_a_misspelt_detail_is_left_out(make: Make, method: str) -> None:
    """The event goes without it; a strict tracker says which detail may be meant."""
    subject = {"track": "purchase", "track_lead": "A-1001"}.get(method, ORDER)
    details = {"emial": EMAIL, "total": Decimal(-1), "alice private": 1}
    result = getattr(make(ScriptedDestination()), method)(subject, **details)
    assert isinstance(result, Event)
    assert {(each.field, each.reason) for each in result.omissions} == {
        ("emial", "unknown_field"),
        ("total", "unknown_field"),
        ("", "unknown_field"),
    }
    with pytest.raises(InvalidEventError) as caught:
        getattr(make(strict=True), method)(subject, **details)
    told = {fault.path: fault.expected for fault in caught.value.errors}
    assert told["$.emial"] == "email, as it seems"
    assert told["$.total"].startswith("one of event_id, event_time, ")
    assert set(told) == {"$.emial", "$.total", "$"}
    assert "alice" not in str(caught.value)


@pytest.mark.parametrize("key", [None, "sub-1"])
@pytest.mark.parametrize(
    "event_type", ["margaret.private@example.com", "x" * 5_000_000], ids=["address", "huge"]
)
def test_what_is_no_event_type_is_shown_nowhere(
    make: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path, event_type: str, key: object
) -> None:
    """Swapped arguments put an address in its place, or a text of any length."""
    caplog.set_level(logging.DEBUG, "adcp_tracker")
    tracker = make(ScriptedDestination())
    result = tracker.track(event_type, key=key, email=EMAIL)
    assert isinstance(result, RejectedEvent)
    assert result.event_type == f"a string of {len(event_type)} characters"
    tracker.flush(10.0)
    (letter,) = tracker.dead_letters.list()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    shown = repr(result) + repr(letter) + letter.event.decode() + caplog.text
    for part in ("private", "x" * 1000):
        assert part not in shown
        assert part.encode() not in written
    with pytest.raises(InvalidEventError) as raised:
        make(strict=True).track(event_type, key=key, email=EMAIL)
    assert "private" not in str(raised.value)
    assert len(str(raised.value)) < 1000


class Unprintable(str):
    """Text that cannot be turned into text."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("margaret.private")

    __repr__ = __str__


class Kind(str, Enum):
    """A shop's own names of the types that it tracks."""

    TRIAL = "start_trial"


def test_a_shops_own_name_of_an_event_type_makes_the_same_id(make: Make) -> None:
    """A member of an enumeration of text is as good as its text."""
    tracker = make(strict=True)
    ids = {tracker.track(each, key=1, email=EMAIL).event_id for each in (Kind.TRIAL, "start_trial")}
    assert len(ids) == 1


@pytest.mark.parametrize(
    "event_type", [Unprintable("lead"), Unprintable("x"), b"lead", None, 5, []]
)
@pytest.mark.parametrize("key", [None, "L-1"])
def test_no_event_type_however_broken_raises(
    make: Make,
    caplog: pytest.LogCaptureFixture,
    event_type: Any,  # noqa: ANN401 - also wrong ones
    key: object,
) -> None:
    """Whatever the shop's code hands in, the loss is counted."""
    tracker = make(ScriptedDestination())
    tracker.track(event_type, key=key, email=EMAIL)
    total = tracker.flush(10.0).total()
    assert total.accepted == total.dead + total.delivered + sum(total.dropped.values()) == 1
    assert "private" not in caplog.text


BAD_CODES = [b"x", object(), 5, "\ud800", "a\nb", "y" * 256, "y" * 5_000_000]


@pytest.mark.parametrize("code", BAD_CODES, ids=lambda code: type(code).__name__)
def test_a_test_code_that_is_none_costs_its_own_event_alone(make: Make, code: Any) -> None:  # noqa: ANN401 - also wrong ones
    """It is a fault like any other, and whatever else is tracked is delivered."""
    tracker = make(ScriptedDestination())
    result = tracker.track_lead("L-1", email=EMAIL, test_event_code=code)
    assert isinstance(result, RejectedEvent)
    assert (result.event_id, result.event_type) == ("L-1", "lead")
    assert [fault.path for fault in result.errors] == ["$.test_event_code"]
    tracker.track_lead("L-2", email=EMAIL)
    total = tracker.flush(10.0).total()
    assert (total.accepted, total.dead, total.delivered, total.dropped) == (2, 1, 1, {})
    (letter,) = tracker.dead_letters.list()
    assert orjson.loads(letter.event)["event_id"] == "L-1"
    with pytest.raises(InvalidEventError, match="test_event_code: expected a string"):
        make(strict=True).track_lead("L-3", email=EMAIL, test_event_code=code)


def test_an_empty_test_code_is_none(make: Make) -> None:
    """As a form leaves it that was not filled in."""
    destination = ScriptedDestination()
    tracker = make(destination)
    tracker.track_lead("L-1", email=EMAIL, test_event_code="")
    tracker.track_lead("L-2", email=EMAIL, test_event_code=Unprintable("TEST1"))
    tracker.track_lead("L-3", email=EMAIL, test_event_code="TEST1\n")
    assert tracker.flush(10.0).total().delivered == 3
    assert [batch.test_event_code for batch in destination.batches] == [None, "TEST1"]


@pytest.mark.parametrize("place", ["keyword", "order", "order with details", "context"])
def test_a_given_page_goes_without_user_info_and_fragment(make: Make, place: str) -> None:
    """Its query is the caller's own to give; what a browser keeps to itself is not."""
    tracker = make(ScriptedDestination(), strict=True)
    page = "https://user:secret@shop.example/reset?step=2#token=secret"
    if place == "keyword":
        tracker.track_page_view(email=EMAIL, event_source_url=page)
    elif place == "context":
        tracker.track_purchase(ORDER, context=RequestContext(event_source_url=page))
    else:
        details: dict[str, Any] = {"ext": {"a": 1}} if place == "order with details" else {}
        tracker.track_purchase({**ORDER, "event_source_url": page}, **details)
    (event,) = delivered(tracker)
    assert event["event_source_url"] == "https://shop.example/reset?step=2"
    assert event["action_source"] == "website"


class Broken:
    """An order whose every attribute fails."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"database gone while reading alice.private {name}")


ORDERS: dict[str, object] = {
    "none": None,
    "number": 5,
    "text": "A-1",
    "object": object(),
    "broken": Broken(),
    "list": [],
    "bytes": b"x",
    "empty": {},
    "no id": {"id": None},
}


@pytest.mark.parametrize("name", ORDERS)
def test_no_order_however_broken_raises(
    make: Make, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Whatever the shop's code hands in, the checkout goes on and the loss is counted."""
    order = ORDERS[name]
    tracker = make(ScriptedDestination())
    result = tracker.track_purchase(order)
    assert isinstance(result, RejectedEvent)
    tracker.track_refund(order, refund_id="R")
    assert "alice.private" not in caplog.text
    total = tracker.flush(10.0).total()
    assert total.accepted == total.dead + sum(total.dropped.values()) == 2


METHODS = [
    event_type
    for event_type in EventType
    if event_type not in {EventType.PURCHASE, EventType.REFUND, EventType.CUSTOM}
]


@pytest.mark.parametrize("event_type", METHODS)
def test_there_is_a_method_for_each_type(make: Make, event_type: EventType) -> None:
    """Every type of the protocol has a method that makes it, with the details given."""
    tracker = make(strict=True)
    method = getattr(tracker, f"track_{event_type.value}")
    event = method(event_id="E-1", email=EMAIL, custom_data={"progress_percent": 75, "mine": 1})
    assert (event.event_type, event.event_id) == (event_type, "E-1")
    assert event.custom_data.extra == {"mine": 1}


def test_a_custom_event_has_its_name(make: Make) -> None:
    """What the protocol has no type for goes under a name of its own."""
    event = make(strict=True).track_custom("quiz_finished", event_id="Q-1", email=EMAIL)
    assert isinstance(event, Event)
    assert event.custom_event_name == "quiz_finished"


def test_ids_are_stable_by_key_and_lead(make: Make, tmp_path: Path) -> None:
    """The same business key gives the same id in every process, and types do not mix."""
    tracker = make(strict=True)
    other = make(strict=True, directory=tmp_path / "other")
    first = tracker.track_subscribe(key="sub-1", email=EMAIL)
    assert first.event_id == other.track("subscribe", key="sub-1", email=EMAIL).event_id
    assert first.event_id != tracker.track_subscribe(key="sub-2", email=EMAIL).event_id
    assert first.event_id != tracker.track_start_trial(key="sub-1", email=EMAIL).event_id
    assert tracker.track_lead("L-1", email=EMAIL).event_id == "L-1"
    assert tracker.track_qualify_lead("L-1", email=EMAIL).event_id != "L-1"
    assert (
        tracker.track_page_view(email=EMAIL).event_id
        != tracker.track_page_view(email=EMAIL).event_id
    )


def test_refunds_are_told_apart(make: Make) -> None:
    """A full refund, and partial ones, have stable and distinct ids and positive values."""
    tracker = make(strict=True)
    full = tracker.track_refund(ORDER)
    first = tracker.track_refund(ORDER, refund_id="R-1", amount="10.00")
    second = tracker.track_refund(ORDER, refund_id="R-2", amount="10.00")
    assert full.event_id == tracker.track_refund(ORDER).event_id
    assert len({full.event_id, first.event_id, second.event_id, "A-1001"}) == 4
    assert isinstance(first, Event)
    assert first.custom_data is not None
    assert first.custom_data.value == Decimal("10.00")


@freeze_time("2026-03-29T00:30:00.123Z")
def test_event_times_follow_a_frozen_clock_and_delivery_does_not(make: Make) -> None:
    """A test that freezes time gets that time in its events, and they are delivered."""
    tracker = make(ScriptedDestination())
    tracker.track_lead(event_id="L", email=EMAIL)
    (event,) = delivered(tracker)
    when = datetime.fromisoformat(event["event_time"].replace("Z", "+00:00"))
    assert when == datetime(2026, 3, 29, 0, 30, 0, 123000, tzinfo=timezone.utc)


def test_the_requests_context_is_in_the_event(make: Make) -> None:
    """What the middleware bound is in every event tracked meanwhile, in threads of its own."""
    tracker = make(ScriptedDestination())
    with bind_context(CONTEXT):
        tracker.track_purchase(ORDER)
        outside = threading.Thread(target=tracker.track_lead, args=("L",))
        outside.start()
        outside.join()
    purchase = next(each for each in delivered(tracker) if each["event_type"] == "purchase")
    assert purchase["user_match"]["client_ip"] == "8.8.8.8"
    assert purchase["user_match"]["click_id"] == "c1"
    assert purchase["event_source_url"] == "https://shop.example/thanks?gclid=c1"
    assert purchase["action_source"] == "website"


def test_without_consent_nothing_is_sent(make: Make, tmp_path: Path) -> None:
    """A denied shopper's event is dropped before it is written, and counted."""
    reasons: list[str] = []
    tracker = make(ScriptedDestination(), on_drop=reasons.append)
    with bind_context(denied()):
        assert tracker.track_purchase(ORDER).event_id == "A-1001"
    assert delivered(tracker) == []
    assert reasons == ["consent"]
    assert tracker.stats().total().dropped == {"consent": 1}
    assert not any(b"A-1001" in path.read_bytes() for path in tmp_path.rglob("*.log"))


def test_without_consent_an_event_can_go_without_the_shopper(make: Make) -> None:
    """Stripped events say that something was sold, and not to whom."""
    tracker = make(ScriptedDestination(), on_denied="strip")
    with bind_context(denied()):
        tracker.track_purchase(ORDER)
    (event,) = delivered(tracker)
    assert "user_match" not in event
    assert event["event_source_url"] == "https://shop.example/thanks"
    assert event["custom_data"]["value"] == 129.9
    assert "c1" not in str(event)


def test_without_consent_a_given_page_goes_without_its_query(make: Make) -> None:
    """It may hold the click id that was taken out of everything else."""
    tracker = make(ScriptedDestination(), on_denied="strip")
    context = RequestContext(consent=Consent.DENIED)
    page = "https://shop.example/thanks?gclid=c1"
    tracker.track_purchase({**ORDER, "event_source_url": page}, context=context)
    (event,) = delivered(tracker)
    assert event["event_source_url"] == "https://shop.example/thanks"


def denied() -> RequestContext:
    """Return the context of a shopper who said no."""
    return RequestContext(
        client_ip=CONTEXT.client_ip,
        client_user_agent=CONTEXT.client_user_agent,
        event_source_url=CONTEXT.event_source_url,
        click_id=CONTEXT.click_id,
        click_id_type=CONTEXT.click_id_type,
        consent=Consent.DENIED,
    )


@pytest.mark.parametrize("automated", ["crawler", "link_preview", "prefetch"])
def test_page_events_of_robots_are_dropped_and_purchases_never(
    make: Make, automated: Automated
) -> None:
    """A robot looks at pages; whoever buys is taken at his word."""
    tracker = make(ScriptedDestination())
    context = RequestContext(client_ip="8.8.8.8", client_user_agent="x", automated=automated)
    with bind_context(context):
        tracker.track_page_view(email=EMAIL)
        tracker.track_purchase(ORDER)
    assert [event["event_type"] for event in delivered(tracker)] == ["purchase"]
    assert tracker.stats().total().dropped == {automated: 1}


def test_a_test_event_code_marks_its_whole_request(make: Make) -> None:
    """Test events never share a request with live ones."""
    destination = ScriptedDestination()
    tracker = make(destination)
    tracker.track_lead("L-1", email=EMAIL)
    tracker.track_lead("L-2", email=EMAIL, test_event_code="TEST1")
    tracker.flush(10.0)
    codes = {
        orjson.loads(event)["event_id"]: batch.test_event_code
        for batch in destination.batches
        for event in batch.events
    }
    assert codes == {"L-1": None, "L-2": "TEST1"}
    everything = make(ScriptedDestination("b"), test_event_code="ALL")
    everything.track_lead("L-3", email=EMAIL)
    everything.flush(10.0)
    assert {batch.test_event_code for batch in destination.batches} == {None, "TEST1"}


def test_a_held_event_is_written_when_it_is_released(make: Make, tmp_path: Path) -> None:
    """Whoever holds a write decides when, and whether, it is made."""
    held: list[Callable[[], None]] = []

    def hold(write: Callable[[], None]) -> bool:
        held.append(write)
        return len(held) < 3

    tracker = make(on_commit=hold)
    for name in ("L-1", "L-2", "L-3"):
        tracker.track_lead(name, email=EMAIL)
    held[1]()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*.log"))
    assert [name in written for name in (b"L-1", b"L-2", b"L-3")] == [False, True, True]


def test_a_held_event_that_finds_no_room_is_counted(make: Make) -> None:
    """Whoever lets a write go after the call cannot be told, so the counts are."""
    held: list[Callable[[], None]] = []
    reasons: list[str] = []

    def hold(write: Callable[[], None]) -> bool:
        held.append(write)
        return True

    tracker = make(
        on_commit=hold,
        max_bytes=1,
        when_full="raise",
        on_drop=reasons.append,
        uploader="external",
    )
    for number in range(100):
        tracker.track_lead(f"L-{number}", email=EMAIL)
    for write in held:
        write()
    assert set(reasons) == {"full"}


def test_what_waits_is_counted_before_anybody_uploads(make: Make) -> None:
    """A directory that nobody has uploaded from yet has counts all the same."""
    tracker = make()
    tracker.track_lead("L-1", email=EMAIL)
    tracker.track_lead("L-2", email=EMAIL)
    assert tracker.stats().pending == 2


@pytest.mark.slow
def test_what_the_disk_refuses_is_counted_where_it_waits(make: Make, tmp_path: Path) -> None:
    """A directory that is none costs no checkout, and the counts say that its events are left."""
    destination = ScriptedDestination()
    tracker = make(destination)
    (tmp_path / "queue").write_text("in the way")
    tracker.track_lead("L-1", email=EMAIL)
    left = tracker.flush(0.1)
    assert left.in_memory == left.pending == left.total().accepted == 1
    (tmp_path / "queue").unlink()
    left = tracker.flush(10.0)
    assert left.in_memory == left.pending == 0
    assert len(destination.delivered) == 1


def test_an_event_over_the_size_limit_is_refused_whole(make: Make) -> None:
    """A quarter of a megabyte is more than any event; it is told, not cut."""
    tracker = make(strict=True)
    with pytest.raises(InvalidEventError, match=r"\$: expected at most 262144 bytes"):
        tracker.track_lead("L", email=EMAIL, custom_data={"blob": "x" * 300_000})


def test_a_full_queue_costs_the_event_and_not_the_checkout(make: Make) -> None:
    """By default new events are dropped and counted, and those on disk are delivered."""
    reasons: list[str] = []
    tracker = make(uploader="external", max_bytes=20_000, on_drop=reasons.append)
    track_many(tracker)
    assert set(reasons) == {"full"}
    destination = ScriptedDestination()
    later = make(destination)

    def told() -> bool:
        tracker.flush(0.0)
        return later.flush(1.0).total().accepted == 500

    later.flush(10.0)
    wait_until(told)
    assert later.stats().total().dropped == {"full": len(reasons)}
    assert len(destination.delivered) == 500 - len(reasons) > 20


def test_a_full_queue_raises_where_that_was_asked_for(make: Make) -> None:
    """With when_full="raise" the caller hears of it."""
    tracker = make(uploader="external", max_bytes=20_000, when_full="raise")
    with pytest.raises(QueueFullError, match="expected less than 20000 bytes waiting"):
        track_many(tracker)


def track_many(tracker: Tracker) -> None:
    """Track five hundred leads."""
    for number in range(500):
        tracker.track_lead(f"L-{number}", email=EMAIL)


def test_it_is_a_context_manager_of_both_kinds(make: Make, tmp_path: Path) -> None:
    """Leaving the block delivers, in sync code and in async code."""
    first, second = ScriptedDestination("a"), ScriptedDestination("b")
    with make(first) as tracker:
        tracker.track_lead("L-1", email=EMAIL)

    async def main() -> None:
        async with make(second, directory=tmp_path / "b") as tracker:
            tracker.track_lead("L-2", email=EMAIL)
            assert (await tracker.aflush(10.0)).pending == 0

    asyncio.run(main())
    assert "L-1" in first.ids
    assert "L-2" in second.ids


def test_a_closed_tracker_still_keeps_events(make: Make) -> None:
    """An event tracked after the end is on disk for the next process."""
    destination = ScriptedDestination()
    tracker = make(destination)
    tracker.track_lead("L-1", email=EMAIL)
    tracker.close()
    tracker.track_lead("L-2", email=EMAIL)
    assert make(destination).flush(10.0).pending == 0
    assert destination.ids == ["L-1", "L-2"]


def test_orders_of_other_shops_need_one_line(make: Make) -> None:
    """Yen without decimals, dinars with three, and a region for national numbers."""
    tracker = make(ScriptedDestination(), strict=True, default_region="GB")
    tracker.track_purchase({"id": "1", "total": 1500, "currency": "JPY", "email": EMAIL})
    tracker.track_purchase({"id": "2", "total": "1.234", "currency": "KWD", "email": EMAIL})
    tracker.track_purchase(
        {"id": "3", "total": "9.99", "currency": "GBP", "phone": "020 7946 0958"}
    )
    with pytest.raises(InvalidEventError):
        tracker.track_purchase({"id": "4", "total": "15.5", "currency": "JPY"})
    values = [event["custom_data"]["value"] for event in delivered(tracker)]
    assert values == [1500, 1.234, 9.99]


@pytest.mark.parametrize(
    ("prepare", "remedy"),
    [
        (lambda path: path.mkdir(mode=0o755), "run: chmod go-rwx"),
        (lambda path: path.symlink_to(path.parent), "put a directory in its place"),
        (lambda path: path.write_text(""), "put a directory in its place"),
    ],
    ids=["open to others", "link", "file"],
)
def test_a_directory_that_cannot_be_used_is_refused_at_once(
    tmp_path: Path, prepare: Callable[[Path], object], remedy: str
) -> None:
    """Not found out by losing events; and nothing is created by looking."""
    prepare(tmp_path / "queue")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnusableDirectoryError, match=r"^directory: ") as raised:
        Tracker(directory=tmp_path / "queue")
    assert remedy in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_below_a_file_is_refused_and_a_missing_one_is_not_made(tmp_path: Path) -> None:
    """It is created with the first event."""
    (tmp_path / "file").touch()
    with pytest.raises(UnusableDirectoryError, match="can't be used: Not a directory"):
        Tracker(directory=tmp_path / "file" / "queue")
    Tracker(directory=tmp_path / "a" / "queue", handle_sigterm=False).close()
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no such folders")
@pytest.mark.parametrize("path", ["/proc/queue", "/proc/self/fd/queue", "/sys/queue", "/proc/1/a"])
def test_a_directory_where_no_file_can_be_made_is_refused(path: str) -> None:
    """Root may write anywhere, it seems, and would find out by losing events."""
    with pytest.raises(UnusableDirectoryError, match=f"^directory: {path} can't be "):
        Tracker(directory=path)


@pytest.mark.parametrize("name", ["loop/queue", "n" * 300, "a\0b"])
def test_a_path_that_cannot_be_one_is_refused_like_any_other(tmp_path: Path, name: str) -> None:
    """The error names the setting."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UnusableDirectoryError, match=r"^directory: .* can't be used: "):
        Tracker(directory=tmp_path / name)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_volume_that_may_recover_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Events wait in memory until it does."""

    def fail(_: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_try_file", fail)
    Tracker(directory=tmp_path / "queue", handle_sigterm=False).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused_as_a_container_mounts_it(tmp_path: Path) -> None:
    """A volume's mount point belongs to root, and a folder below it is the remedy."""
    (tmp_path / "queue").mkdir(mode=0o700)
    os.chown(tmp_path / "queue", 12345, -1)
    with pytest.raises(UnusableDirectoryError, match="use a folder below the mount"):
        Tracker(directory=tmp_path / "queue")


@pytest.mark.parametrize("held", [False, True])
def test_what_is_left_out_of_an_event_is_counted_and_logged_once(
    make: Make, caplog: pytest.LogCaptureFixture, *, held: bool
) -> None:
    """By field and reason, in the stats of every destination, with an event to look at."""
    tracker = make(ScriptedDestination(), on_commit=(lambda _: False) if held else None)
    for number in range(3):
        event = tracker.track_purchase({**ORDER, "id": f"A-{number}", "email": "none at all"})
        assert isinstance(event, Event)
    tracker.track_purchase({**ORDER, "id": "A-3"})
    assert len(delivered(tracker)) == 4
    (field, count) = next(iter(tracker.stats().total().omitted.items()))
    assert field.startswith("user_match.hashed_email ")
    assert count == 3
    entries = [record for record in caplog.records if vars(record).get("event") == "event.omitted"]
    assert [vars(record)["event_id"] for record in entries] == ["A-0"]
    assert vars(entries[0])["field"] == "user_match.hashed_email"
    assert "none at all" not in caplog.text


def test_a_strict_tracker_leaves_nothing_out(make: Make) -> None:
    """It raises for what is optional too."""
    with pytest.raises(InvalidEventError, match="hashed_email"):
        make(strict=True).track_purchase({**ORDER, "email": "none at all"})


@pytest.mark.parametrize("lead_id", [42, UUID(int=42)])
def test_a_leads_id_may_be_what_a_database_gives(make: Make, lead_id: int | UUID) -> None:
    """As an order's id may."""
    assert make(strict=True).track_lead(lead_id, email=EMAIL).event_id == str(lead_id)


@pytest.mark.parametrize(
    ("data", "currency"),
    [
        ({"value": 5}, "EUR"),
        ({"value": 5, "currency": ""}, "EUR"),
        ({"value": 5, "currency": "USD"}, "USD"),
        (CustomData(value=Decimal(5)), "EUR"),
        (CustomData(value=Decimal(5), currency="USD"), "USD"),
        ({"content_name": "Brochure"}, None),
        ({"value": ""}, None),
    ],
)
def test_a_lead_with_a_value_has_the_default_currency(data: Any, currency: str | None) -> None:  # noqa: ANN401 - any form
    """As an order has; a lead without a value has no currency."""
    with RecordingTracker(default_currency="EUR", strict=False) as tracker:
        tracker.track_lead("L-1", custom_data=data)
        tracker.track("subscribe", key="S-1", custom_data=data)
    currencies = [event.custom_data and event.custom_data.currency for event in tracker.events]
    assert currencies == [currency] * 2


@pytest.mark.parametrize("order_id", [None, "", "x" * 300, object()])
def test_a_rejected_event_without_a_valid_id_has_none(tmp_path: Path, order_id: object) -> None:
    """A description of what was found is no id."""
    with Tracker(directory=tmp_path, uploader="external", handle_sigterm=False) as tracker:
        event = tracker.track_purchase({"id": order_id, "total": "5.00", "currency": "EUR"})
    assert isinstance(event, RejectedEvent)
    assert event.event_id == ""
