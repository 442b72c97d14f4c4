"""A thousand orders with one defect each: none of it costs the sale, and none goes unseen."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker import Event
from adcp_tracker.events.rules import REASONS
from adcp_tracker.orders.events import plain_purchase_event
from adcp_tracker.orders.reader import order_values
from adcp_tracker.testing import RecordingTracker
from tests.support.events import NOW

SECRET = "alice.private@example.com"
ORDER: dict[str, Any] = {
    "id": "W-1001",
    "total": "59.90",
    "currency": "EUR",
    "email": SECRET,
    "phone": "+12065551234",
    "client_ip": "93.184.216.34",
    "client_user_agent": "Mozilla/5.0",
    "event_source_url": "https://shop.example/thanks",
    "created_at": "2026-03-14T15:09:26Z",
    "click_id": "IwAR0",
    "click_id_type": "fbclid",
    "uids": [{"type": "uid2", "value": "AbC=="}],
    "custom": {"coupon": "SPRING"},
    "items": [
        {"sku": "mug", "quantity": 2, "price": "19.95", "brand": "Acme", "name": "Mug"},
        {"sku": "hat", "quantity": 1, "price": "20.00"},
    ],
}
VITAL = frozenset({"id", "total", "currency"})
OPTIONAL = [name for name in ORDER if name not in VITAL]
IN_A_LINE = ["sku", "quantity", "price", "brand", "name"]


class Hostile:
    """An object of the shop's own that answers nothing."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    def __repr__(self) -> str:
        return "Hostile()"

    def __bool__(self) -> bool:
        raise RuntimeError(SECRET)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it never answers
        raise RuntimeError(name)


DEFECTS: list[Any] = [
    None,
    "",
    " \t\n",
    "n/a",
    "none",
    "-",
    "x" * 5000,
    "\ud83c",
    "a\x00b",
    "a\tb",
    "\u202a+442079460958\u202c",
    "1,234.50",
    "-5.00",
    "1e400",
    "9" * 10_000,
    0,
    -1,
    0.5,
    2**70,
    -(2**200),
    float("nan"),
    float("inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("-Infinity"),
    Decimal("1E+1000000"),
    Decimal("1E-1000000"),
    True,
    b"bytes",
    [],
    [None],
    ["x", 1],
    {},
    {"a": None},
    {1: 2},
    (),
    range(3),
    NOW,
    NOW.replace(tzinfo=None),
    Hostile(),
    object(),
]


@st.composite
def defective(draw: Any) -> dict[str, Any]:  # noqa: ANN401 - Hypothesis' own
    """Draw an order that has one defect somewhere it does not matter."""
    order = copy.deepcopy(ORDER)
    defect = draw(st.sampled_from(DEFECTS) | st.text(max_size=20) | st.binary(max_size=5))
    place = draw(st.sampled_from([*OPTIONAL, "line", "custom key", "another line"]))
    if place == "line":
        order["items"][draw(st.integers(0, 1))][draw(st.sampled_from(IN_A_LINE))] = defect
    elif place == "another line":
        order["items"].append(defect)
    elif place == "custom key":
        order["custom"]["defect"] = defect
    else:
        order[place] = defect
    return order


def made_of(order: dict[str, Any], *, strict: bool) -> Event:
    """Make the purchase of an order."""
    return plain_purchase_event(order_values(order), NOW, None, None, strict)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(defective())
def test_one_defect_does_not_cost_the_sale(order: dict[str, Any]) -> None:
    """Id, total and currency arrive, and what was left out is named by its field and reason."""
    event = made_of(order, strict=False)
    data = event.custom_data
    assert data is not None
    assert (event.event_id, data.value, data.currency) == ("W-1001", Decimal("59.90"), "EUR")
    assert {each.reason for each in event.omissions} <= REASONS
    assert SECRET not in repr(event) + repr(event.omissions)
    assert SECRET.encode() not in event.json


def test_the_order_they_all_differ_from_is_sound() -> None:
    """Nothing is left out of it."""
    event = made_of(ORDER, strict=True)
    assert event.omissions == ()
    assert event.custom_data is not None
    assert event.custom_data.num_items == 3


def test_every_omission_is_counted_and_nothing_raw_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The tracker's stats hold each by field and reason; the log has the event's id alone."""
    caplog.set_level(logging.DEBUG, logger="adcp_tracker")
    expected: Counter[str] = Counter()
    with RecordingTracker(strict=False) as tracker:
        for number, name in enumerate(OPTIONAL):
            for defect in (SECRET + "\x00", f"{SECRET} at home", [SECRET], {SECRET: SECRET}):
                order = {**copy.deepcopy(ORDER), "id": f"W-{number}", name: defect}
                event = tracker.track_purchase(order)
                assert isinstance(event, Event)
                expected.update(f"{each.field} {each.reason}" for each in event.omissions)
        assert len(tracker.events) == 4 * len(OPTIONAL)
        stats = tracker.stats()
    assert expected
    assert stats.total().omitted == dict(expected)
    for record in caplog.records:
        logged = f"{record.getMessage()} {vars(record)}"
        assert SECRET not in logged


@attrs.frozen
class Odd:
    """An order whose one attribute raises."""

    id: str = "W-1"
    total: str = "5.00"
    currency: str = "EUR"

    @property
    def email(self) -> str:
        """Raise, as a related object that cannot be loaded does."""
        raise RuntimeError(SECRET)


def test_an_attribute_that_raises_costs_nothing_else() -> None:
    """It counts as absent."""
    event = plain_purchase_event(order_values(Odd()), NOW, None, None, False)  # noqa: FBT003 - by place
    assert event.user_match is None
    assert event.event_id == "W-1"
