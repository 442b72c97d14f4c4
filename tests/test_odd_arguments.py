"""Odd arguments: an event that can't be sent is kept as a dead letter, and none is lost."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker import (
    Consent,
    Event,
    Order,
    OrderItem,
    RejectedEvent,
    RequestContext,
    Tracker,
    bind_context,
    register_order,
)
from adcp_tracker.events.builder import EventFields
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.orders.mapping import explained_kinds
from adcp_tracker.orders.names import ITEM_NAMES, ORDER_NAMES
from adcp_tracker.testing import RecordingTracker
from tests.support.destinations import ScriptedDestination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOPPER = RequestContext("8.8.8.8", "Mozilla/5.0", "https://shop.example/thanks")
ORDER = {"id": "A-1", "total": "59.90", "currency": "EUR", "email": "alice@example.com"}


class _Raising:
    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it has none
        raise RuntimeError(name)


class _Mute:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class _Null:
    """As pandas' ``NA``."""

    def __bool__(self) -> bool:
        raise TypeError

    def __eq__(self, other: object) -> _Null:  # type: ignore[override]
        return self

    __hash__ = object.__hash__


class _Word(str):
    __slots__ = ()


class _Kind(Enum):
    TEXT = "text"
    NUMBER = 1


ODD: list[Any] = [
    *(_Raising(), _Mute(), _Null(), object(), int, len, NotImplemented),
    *(_Word("x"), _Kind.TEXT, _Kind.NUMBER, b"x", "\ud800", "\x00", "x" * 70_000, "http://["),
    *(10**5000, float("nan"), float("inf"), Decimal("sNaN"), Decimal("1E+999999"), 1j, True),
    *(datetime(9999, 12, 31), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),  # noqa: DTZ001
    *(UUID(int=5), date(2026, 1, 1), timedelta(1), range(3), set(), {1: 2}, {None: None}),
    MappingProxyType({"id": "1"}),
]

# Shown by its number, as some of them can't be shown.
odd = st.integers(0, len(ODD) - 1).map(lambda index: ODD[index])
plain = st.none() | st.integers() | st.floats() | st.text(max_size=9) | st.decimals() | odd
names = st.sampled_from(sorted({*ORDER_NAMES, *ITEM_NAMES, "id", "amount", "value", "sku", "qty"}))
values: st.SearchStrategy[Any] = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names, inner, max_size=4)
        | st.dictionaries(names, inner, max_size=4).map(lambda each: SimpleNamespace(**each))
    ),
    max_leaves=6,
)
mappings = st.dictionaries(names, values, max_size=6).map(lambda each: {**ORDER, **each})
own_orders: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from([each.name for each in attrs.fields(Order)]), values, max_size=6
).map(lambda each: Order(**{"order_id": "A-1", **each}))
orders = st.one_of(
    mappings,
    mappings.map(lambda each: SimpleNamespace(**each)),
    mappings.map(type("Row", (dict,), {})),
    own_orders,
    st.lists(st.builds(OrderItem, *[values] * 5) | values, max_size=3).map(
        lambda items: Order("A-1", Decimal(5), "EUR", items)
    ),
    values,
)
indices = st.integers(0, 1)
details = st.dictionaries(
    st.sampled_from([*EventFields.__annotations__, "test_event_code", "default_region"]),
    values,
    max_size=3,
)


@pytest.fixture
def trackers(tmp_path: Path) -> Iterator[list[Tracker]]:
    """A plain tracker, and one that uses what is optional."""
    options: dict[str, Any] = {"uploader": "external", "handle_sigterm": False}
    more: dict[str, Any] = {"default_currency": "EUR", "naive_times": "Europe/Berlin"}
    more |= {"default_region": "DE", "on_rejected": lambda _: None, "on_drop": lambda _: None}
    made = [
        Tracker(directory=tmp_path / "plain", **options),
        Tracker(directory=tmp_path / "full", **options, **more),
    ]
    made[1].contexts.remember("A-1", context=SHOPPER)
    yield made
    for each in made:
        each.close()


steady = settings(derandomize=True, max_examples=300)
"""The same examples in each run: they are odd enough for a rare one to raise somewhere else."""


def _is_kept(result: Event | RejectedEvent) -> bool:
    """Return whether an event, or a dead letter with its data, is on disk."""
    return isinstance(result, Event) or all("raised" not in each.got for each in result.errors)


def test_no_purchase_is_lost(trackers: list[Tracker]) -> None:
    """Nor the first one of a class, which is explained in the log."""

    @steady
    @given(order=orders, more=details, context=odd | st.just(SHOPPER), which=indices)
    def track(order: object, more: dict[str, Any], context: Any, which: int) -> None:  # noqa: ANN401 - also wrong ones
        explained_kinds.clear()
        assert _is_kept(trackers[which].track_purchase(order, context=context, **more))

    track()


def test_no_refund_is_lost(trackers: list[Tracker]) -> None:
    """Whatever its id, its amount and its items are."""
    facts = st.fixed_dictionaries(dict.fromkeys(["refund_id", "amount", "items"], values))

    @steady
    @given(order=orders, given=facts, which=indices)
    def track(order: object, given: dict[str, Any], which: int) -> None:
        assert _is_kept(trackers[which].track_refund(order, **given))

    track()


def test_no_other_event_is_lost(trackers: list[Tracker]) -> None:
    """Whatever it is called, and whatever it is known by."""
    types = st.sampled_from(["lead", "subscribe", "add_to_cart"]) | odd

    @steady
    @given(event_type=types, key=values, more=details, which=indices)
    def track(event_type: Any, key: object, more: dict[str, Any], which: int) -> None:  # noqa: ANN401 - also wrong ones
        assert _is_kept(trackers[which].track(event_type, key=key, **more))

    track()


NO_CONTEXTS = [each for each in ODD if not isinstance(each, str)]
NO_CONTEXTS += [{"client_ip": "1.1.1.1"}, SimpleNamespace(client_ip="1.1.1.1")]


@pytest.mark.parametrize("context", NO_CONTEXTS, ids=type)
def test_what_is_no_context_is_left_out(
    caplog: pytest.LogCaptureFixture,
    context: Any,  # noqa: ANN401 - wrong ones
) -> None:
    """Such as a framework's request. Nothing of the current request is taken but its consent."""
    with RecordingTracker(strict=False) as tracker:
        tracker.track_purchase(ORDER, context=context)
        with bind_context(SHOPPER):
            tracker.track_lead("L-1", email="alice@example.com", context=context)
        with bind_context(context):
            tracker.track_refund(ORDER)
            tracker.track_lead("L-2", email="alice@example.com")
        with bind_context(RequestContext(consent=Consent.DENIED)):
            tracker.track_lead("L-3", email="alice@example.com", context=context)
        events = tracker.events
    assert [each.event_id for each in events] == ["A-1", "L-1", "A-1:refund", "L-2"]
    assert all(each.user_match and not each.user_match.client_ip for each in events)
    assert "context.not_restored" in caplog.text
    with RecordingTracker(strict=True) as tracker, pytest.raises(ConfigurationError, match="got"):
        tracker.track_purchase(ORDER, context=context)


def test_a_context_of_another_class_is_one() -> None:
    """It has the attributes of one; an answer to the question of consent is converted."""
    parts = {each.name: getattr(SHOPPER, each.name) for each in attrs.fields(RequestContext)}
    with RecordingTracker(strict=True) as tracker:
        tracker.track_purchase(ORDER, context=SimpleNamespace(**parts))
        denied = SimpleNamespace(**{**parts, "consent": False})
        tracker.track_lead("L-1", email="alice@example.com", context=denied)
        (event,) = tracker.events
    assert event.user_match is not None
    assert event.user_match.client_ip == "8.8.8.8"


@pytest.mark.parametrize(
    ("given", "consent"),
    [
        (True, Consent.GRANTED),
        (False, Consent.DENIED),
        (None, Consent.UNKNOWN),
        ("granted", Consent.DENIED),
        (1, Consent.DENIED),
    ],
)
def test_an_answer_that_is_not_understood_is_a_no(
    caplog: pytest.LogCaptureFixture,
    given: Any,  # noqa: ANN401 - also wrong ones
    consent: Consent,
) -> None:
    """A word isn't interpreted, and doesn't raise in a checkout either."""
    assert RequestContext(consent=given).consent is consent
    assert ("consent.failed" in caplog.text) == (type(given) not in {bool, type(None)})


def test_what_cannot_be_read_leaves_a_dead_letter(tmp_path: Path) -> None:
    """It says which line raised, and nothing of what the exception said."""

    def read(_: object) -> Order:
        raise LookupError("alice@example.com")

    class Basket:
        pass

    register_order(Basket, read)
    with Tracker([ScriptedDestination()], directory=tmp_path, handle_sigterm=False) as tracker:
        rejected = tracker.track_purchase(Basket())
        assert tracker.flush(10.0).total().dead == 1
        (letter,) = tracker.dead_letters.list()
    assert isinstance(rejected, RejectedEvent)
    assert f"got LookupError, raised at {__file__}:" in letter.message
    assert "alice" not in letter.message
    assert letter.summary()["event"] == {"event_type": "purchase"}


@pytest.mark.parametrize("region", [_Null(), object(), SimpleNamespace(code="GB")], ids=type)
def test_no_other_region_is_guessed(region: Any) -> None:  # noqa: ANN401 - wrong ones
    """A number isn't read in the tracker's region instead; that it is left out is told."""
    with RecordingTracker(strict=False, default_region="DE") as tracker:
        order = {**ORDER, "phone": "030 123456"}
        event = tracker.track_purchase(order, default_region=region)
        refund = tracker.track_refund(order, default_region=region)
        lead = tracker.track_lead(
            "L-1", phone="030 123456", email="a@b.example", default_region=region
        )
    for each in (event, refund, lead):
        assert isinstance(each, Event)
        assert [omission.field for omission in each.omissions] == ["user_match.hashed_phone"]


@pytest.mark.parametrize("key", [object(), _Mute(), 10**5000], ids=type)
def test_a_key_without_a_text_of_its_own_is_refused(key: Any) -> None:  # noqa: ANN401 - wrong ones
    """The address of an object is another in each process, so the event would count twice."""
    with RecordingTracker(strict=False) as tracker:
        kept = tracker.track("subscribe", key=key, email="alice@example.com")
        refund = tracker.track_refund(ORDER, refund_id=key)
        assert tracker.events == []
    assert isinstance(kept, RejectedEvent)
    assert isinstance(refund, RejectedEvent)
    assert [each.path for each in (*kept.errors, *refund.errors)] == ["$.event_id"] * 2
