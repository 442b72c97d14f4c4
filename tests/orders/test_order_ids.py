"""One order makes one event id, by whichever of its names it is tracked."""

from __future__ import annotations

import logging
from collections import UserDict
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.context import RequestContext, bind_context
from adcp_tracker.events.parsing import clean_id
from adcp_tracker.exceptions import ConfigurationError, InvalidEventError
from adcp_tracker.orders.events import plain_purchase_event, purchase_event, refund_event
from adcp_tracker.orders.mapping import register_order
from adcp_tracker.orders.reader import Order, OrderItem, quick_values, to_order
from adcp_tracker.testing import RecordingTracker
from tests.support.events import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

OSCAR = {"id": 2, "number": "100002", "basket_id": 2, "currency": "EUR"}
SALEOR = {"id": "T3JkZXI6MQ==", "number": "1023", "channel": "default"}
WOOCOMMERCE = {"id": 727, "number": "A-0727", "order_key": "wc_order_58d2d042d1d"}
SHOPIFY = {
    "id": 820982911946154508,
    "admin_graphql_api_id": "gid://shopify/Order/820982911946154508",
    "name": "#1234",
    "number": 234,
    "order_number": 1234,
}


@pytest.mark.parametrize("kind", [dict, UserDict, lambda fields: SimpleNamespace(**fields)])
@pytest.mark.parametrize(
    ("order", "webhook", "event_id"),
    [
        (OSCAR, {"number": "100002", "amount": "5.00"}, "100002"),
        (OSCAR | {"number": 100002}, OSCAR, "100002"),
        (OSCAR, {"order_number": 100002, "amount": "5.00"}, "100002"),
        (SALEOR, {"order_id": "1023"}, "1023"),
        (WOOCOMMERCE, {"id": "A-0727"}, "A-0727"),
        ({"id": 7, "order_number": 1007}, {"order_number": "1007"}, "1007"),
        ({"entity_id": 7, "increment_id": "000000107"}, {"id": "000000107"}, "000000107"),
        ({"id": 7, "number": UUID(int=1)}, {"number": str(UUID(int=1))}, str(UUID(int=1))),
        (SHOPIFY, {"id": 99, "order_id": 820982911946154508}, "820982911946154508"),
    ],
    ids=[
        "oscar",
        "oscar, just placed",
        "oscar, a number",
        "saleor",
        "woocommerce",
        "plain",
        "magento",
        "uuid",
        "shopify",
    ],
)
def test_the_order_and_what_a_webhook_knows_of_it_make_one_event(
    kind: Callable[[dict[str, object]], object],
    order: dict[str, object],
    webhook: dict[str, object],
    event_id: str,
) -> None:
    """The order from the shop's database, and the mapping of who knows its number alone."""
    for source in (order, webhook):
        taken = to_order(kind(source))
        made = purchase_event(taken, now=NOW)
        assert made.event_id == event_id
        assert made.custom_data is not None
        assert made.custom_data.order_id == event_id
        assert refund_event(taken, now=NOW, refund_id="R-1").event_id == f"{event_id}:refund:R-1"


@pytest.mark.parametrize(
    ("order", "order_id"),
    [
        ({"number": 3}, "3"),
        ({"number": 3, "id": None}, "3"),
        ({"number": None, "id": 1001}, "1001"),
        ({"number": "", "id": 1001}, "1001"),
        ({"number": 2.5, "id": 1001}, "1001"),
        ({"number": True, "id": 1001}, "1001"),
        ({"order_id": None, "number": "N-7", "id": 1001}, "N-7"),
        ({"order_id": "W-1", "number": "N-7", "id": 1001}, "W-1"),
        ({"order_number": None, "id": None, "order_id": ""}, None),
        ({"order_number": 2.5, "id": None}, 2.5),
    ],
)
def test_the_best_name_with_a_value_counts(order: dict[str, object], order_id: object) -> None:
    """What has no value, or none that could be an id, is passed over if there is another."""
    assert to_order(order).order_id == order_id
    assert to_order(SimpleNamespace(**order)).order_id == order_id


def test_what_may_be_a_count_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A ``number`` of tickets would make most orders pass for repetitions, so the log tells."""

    class Booking(SimpleNamespace):
        """An order with a number of tickets."""

    class Sale(SimpleNamespace):
        """One with a number of its own, as its shop has said."""

    register_order(Sale, order_id="number")
    with caplog.at_level(logging.WARNING, "adcp_tracker"):
        for row in range(3):
            assert to_order(Sale(id=row, number=row + 1000)).order_id == str(row + 1000)
            assert to_order(Booking(number=str(row + 1), id=row)).order_id == str(row + 1)
        assert not caplog.records
        for row in range(3):
            assert to_order(Booking(number=2, id=row)).order_id == "2"
    assert len(caplog.records) == 1
    assert "Booking'" in caplog.text
    assert "register_order(kind, order_id='id')" in caplog.text


class Row:
    """An order whose row is what everything else names it by."""

    def __init__(self, pk: int, number: str) -> None:
        self.id, self.number, self.total, self.currency = pk, number, "5.00", "EUR"

    def reference(self) -> str:
        """Give what the shop prints on its invoices."""
        return f"INV-{self.id}"


class Invoice(Row):
    """One that is known by a method's answer."""


def test_a_shop_can_say_which_name_is_the_id() -> None:
    """So that ids stay what they were, or are what only the shop knows; the rest is found."""
    assert to_order(Row(7, "N-7")).order_id == "N-7"
    register_order(Row, order_id="id")
    register_order(Invoice, order_id="reference")
    assert to_order(Row(7, "N-7")).order_id == "7"
    invoice = to_order(Invoice(7, "N-7"))
    assert (invoice.order_id, invoice.currency) == ("INV-7", "EUR")
    register_order(Row, order_id="nothing")
    with pytest.raises(InvalidEventError, match=r"\$\.event_id"):
        purchase_event(to_order(Row(7, "N-7")), now=NOW)


@pytest.mark.parametrize("words", [{}, {"hook": lambda row: {"id": row.id}, "order_id": "id"}])
def test_a_registration_says_one_thing(words: dict[str, Any]) -> None:
    """A hook makes the id itself, and nothing at all would change nothing."""
    with pytest.raises(
        ConfigurationError, match="register_order: expected a hook, or fields such as order_id="
    ):
        register_order(Row, **words)


values = st.none() | st.integers() | st.text(max_size=3) | st.uuids() | st.floats()


@given(
    st.fixed_dictionaries({"number": st.text(min_size=1).filter(clean_id), "id": values}), values
)
def test_a_text_number_decides_whatever_else_there_is(
    order: dict[str, object], other: object
) -> None:
    """Neither the row's key nor anything of another name changes the id of a numbered order."""
    number = clean_id(str(order["number"]))
    assert to_order(order).order_id == number
    assert to_order(order | {"reference": other, "pk": other}).order_id == number


UNSEEN = ["\n", "\r", "\t", " ", "\x00", "\xa0", "\u2003", "\u2028", "\u200b", "\ufeff"]
around = st.text(st.sampled_from([*UNSEEN, "\u202a", "\u202c"]), max_size=3)
ids = st.builds("{}{}{}".format, around, st.sampled_from(["A-1", "7", "A 1", "Ä1"]), around)


@dataclass
class Placed:
    """An order as a shop's own class has it."""

    id: str
    total: str
    currency: str
    items: list[dict[str, str]]


@given(ids, ids)
def test_an_id_is_cleaned_in_the_same_way_wherever_an_order_comes_from(one: str, sku: str) -> None:
    """A dictionary is read in a quicker way than others, and must make the same event."""
    order = {"id": one, "total": "5.00", "currency": "EUR", "items": [{"sku": sku, "price": "5"}]}
    sources = [order, UserDict(order), Placed(**order), order | {"number": None}]  # type: ignore[arg-type]
    sources.append(Order(one, Decimal("5.00"), "EUR", [OrderItem(sku, 1, Decimal(5))]))
    order_id, item_id = clean_id(one), clean_id(sku)
    for source in sources:
        bought = plain_purchase_event(quick_values(source), NOW, None, None, strict=True)
        back = refund_event(source, now=NOW, refund_id=one)
        assert bought.json == purchase_event(source, now=NOW).json
        assert (bought.event_id, back.event_id) == (order_id, f"{order_id}:refund:{order_id}")
        for data in (bought.custom_data, back.custom_data):
            assert data is not None
            assert data.order_id == order_id
            assert [*(data.content_ids or ())] == [item_id]


def test_what_is_invisible_around_an_id_is_no_part_of_it() -> None:
    """Files end their lines with it, and people paste it: it must not cost an event."""
    order = {"id": "1", "total": "5.00", "currency": "EUR"}
    with RecordingTracker(strict=True) as tracker:
        clean_key = tracker.track("subscribe", key="A-1").event_id
        for unseen in UNSEEN:
            odd = f"{unseen}A-1{unseen}"
            made = [
                tracker.track_purchase(order, event_id=odd),
                tracker.track_lead(odd),
                tracker.track("subscribe", event_id=odd),
            ]
            assert {each.event_id for each in made} == {"A-1"}, ascii(unseen)
            assert tracker.track("subscribe", key=odd).event_id == clean_key
            with bind_context(RequestContext(click_id=f"c-{unseen!a}")):
                tracker.contexts.remember(odd)
            assert tracker.contexts.recall("A-1").click_id == f"c-{unseen!a}"


@pytest.mark.parametrize("unseen", ["", " ", "\u200b", None, float("nan")])
def test_nothing_but_the_invisible_is_no_id(unseen: str | None) -> None:
    """Events without an id of their own must not all become one."""
    with RecordingTracker(strict=False) as tracker:
        made = [tracker.track("subscribe", key=unseen, event_id=unseen) for _ in "12"]
        made += [tracker.track_lead(unseen) for _ in "12"]
        lost = tracker.track_purchase({"id": unseen, "total": "5.00", "currency": "EUR"})
        found = tracker.track_purchase({"number": unseen, "id": 7, "total": "5", "currency": "EUR"})
        assert len({each.event_id for each in tracker.events}) == len(made) + 1
    assert (lost.event_id, found.event_id) == ("", "7")


@pytest.mark.parametrize("given_id", [17, UUID(int=17), Decimal(17), 17.0])
def test_an_events_own_id_may_be_a_databases_key(given_id: object) -> None:
    """As an order's may."""
    with RecordingTracker() as tracker:
        made = tracker.track("subscribe", event_id=given_id)  # type: ignore[arg-type]  # on purpose
    assert made.event_id == str(given_id).removesuffix(".0")
