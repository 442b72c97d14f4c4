"""Orders in the shop's own words."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.events.event import converter
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.events import purchase_event
from adcp_tracker.orders.mapping import register_order
from adcp_tracker.orders.reader import Order, OrderItem, to_item, to_order
from tests.support.events import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORDER = Order(
    "1001",
    Decimal("59.90"),
    "EUR",
    (OrderItem("sock", 1, Decimal("19.90")), OrderItem("hat", 2, Decimal("20.00"))),
    "alice@example.com",
    "+12065551234",
)
LINES = [
    {"sku": "sock", "quantity": 1, "price": Decimal("19.90")},
    {"sku": "hat", "quantity": 2, "price": Decimal("20.00")},
]
MAPPING: dict[str, Any] = {
    "order_id": "1001",
    "total": Decimal("59.90"),
    "currency": "EUR",
    "items": LINES,
    "email": "alice@example.com",
    "phone": "+12065551234",
}


@dataclasses.dataclass
class DataLine:
    """A dataclass of a line."""

    product_id: str
    qty: int
    unit_price: Decimal


@dataclasses.dataclass
class DataOrder:
    """A dataclass of an order."""

    id: int
    grand_total: Decimal
    currency_code: str
    lines: list[DataLine]
    customer_email: str
    phone_number: str


@attrs.frozen
class AttrsLine:
    """An attrs class of a line."""

    item_id: str
    quantity: int
    price: Decimal


@attrs.define
class AttrsOrder:
    """An attrs class of an order."""

    number: str
    value: Decimal
    currency: str
    line_items: tuple[AttrsLine, ...]
    email: str
    phone: str


class ModelLine(pydantic.BaseModel):
    """A pydantic model of a line."""

    sku: str
    quantity: int
    price: Decimal


class ModelOrder(pydantic.BaseModel):
    """A pydantic model of an order."""

    order_id: str
    amount: Decimal
    currency: str
    items: list[ModelLine]
    email: str
    phone: str


class Related:
    """Stands for what an ORM gives in place of a list: a manager, callable and lazy."""

    def __init__(self, rows: list[object]) -> None:
        self.rows = rows

    def __call__(self, *, manager: str) -> None:
        """Managers can be called, and must not be."""
        raise AssertionError(manager)

    def all(self) -> Iterator[object]:
        """Give an iterable that is no list, as a query is."""
        return iter(self.rows)


class Row:
    """Stands for an ORM's row: columns are descriptors of the class, state is beside them."""

    def __init__(self, **columns: object) -> None:
        self._state = object()
        self._columns = columns

    def __getattr__(self, name: str) -> object:
        try:
            return self.__dict__["_columns"][name]
        except KeyError:
            raise AttributeError(name) from None


def rows() -> Related:
    """Give the order's lines as an ORM does, each with a row id of its own."""
    return Related(
        [
            Row(id=51, product=SimpleNamespace(sku="sock"), quantity=1, price=Decimal("19.90")),
            Row(id=52, product=SimpleNamespace(id="hat"), quantity=2, price=Decimal("20.00")),
        ]
    )


class WithMethods:
    """An object that answers by methods and properties."""

    id = "1001"
    currency = "EUR"
    items = LINES

    @property
    def total(self) -> str:
        """Give the amount as text."""
        return "59.90"

    def email(self) -> str:
        """Give the address."""
        return "alice@example.com"

    def phone(self) -> str:
        """Give the number."""
        return "+12065551234"


class Slotted:
    """An object without a dict."""

    __slots__ = ("currency", "email", "items", "number", "phone", "total")

    def __init__(self) -> None:
        self.number, self.total, self.currency = 1001, 59.9, "EUR"
        self.items = (dict(line) for line in LINES)
        self.email, self.phone = "alice@example.com", "+12065551234"


data_order = DataOrder(
    1001,
    Decimal("59.90"),
    "EUR",
    [DataLine("sock", 1, Decimal("19.90")), DataLine("hat", 2, Decimal("20.00"))],
    "alice@example.com",
    "+12065551234",
)
attrs_order = AttrsOrder(
    "1001",
    Decimal("59.90"),
    "EUR",
    (AttrsLine("sock", 1, Decimal("19.90")), AttrsLine("hat", 2, Decimal("20.00"))),
    "alice@example.com",
    "+12065551234",
)
model_order = ModelOrder(
    order_id="1001",
    amount=Decimal("59.90"),
    currency="EUR",
    items=[
        ModelLine(sku="sock", quantity=1, price=Decimal("19.90")),
        ModelLine(sku="hat", quantity=2, price=Decimal("20.00")),
    ],
    email="alice@example.com",
    phone="+12065551234",
)
customer = {"email": "alice@example.com", "phone": "+12065551234"}
billing = SimpleNamespace(email=None, phone="+12065551234")
export = {
    "id": 1001,
    "total": "59.90",
    "currency": "EUR",
    "line_items": [
        {"product_id": "sock", "qty": "1", "unit_price": "19.90", "color": "red"},
        {"variant_id": "hat", "qty": 2.0, "unit_price": "20.00"},
    ],
    "customer": customer,
    "note": "please wrap",
}
PEOPLE_APART = {key: MAPPING[key] for key in ("order_id", "total", "currency", "items")}


@pytest.mark.parametrize(
    "source",
    [
        ORDER,
        MAPPING,
        OrderedDict(MAPPING),
        UserDict(MAPPING),
        export,
        data_order,
        attrs_order,
        model_order,
        SimpleNamespace(**MAPPING),
        Row(**{**MAPPING, "items": rows()}),
        WithMethods(),
        Slotted(),
        PEOPLE_APART | {"customer": SimpleNamespace(**customer)},
        PEOPLE_APART | {"user": {"email": "alice@example.com"}, "billing_address": billing},
        PEOPLE_APART | {"email": "alice@example.com", "shipping_address": billing},
        PEOPLE_APART | {"email": None, "phone": None, "customer": customer, "buyer": "Alice"},
    ],
    ids=lambda source: type(source).__name__,
)
def test_a_shops_order_is_taken_as_it_is(source: object) -> None:
    """Whatever the shop keeps its orders in, the same purchase comes of it."""
    made = purchase_event(to_order(source), now=NOW)
    ours = purchase_event(ORDER, now=NOW)
    assert made.event_id == ours.event_id == "1001"
    assert made.user_match == ours.user_match
    assert made.custom_data == ours.custom_data


@pytest.mark.parametrize(
    "source",
    [
        {"id": "1001", "total": 5, "currency": "EUR", "items": None},
        {"id": "1001", "total": 5, "currency": "EUR", "items": None, "lines": None},
        SimpleNamespace(id="1001", total=5, currency="EUR", items=None),
        Order("1001", 5, "EUR", items=None),
    ],
    ids=["mapping", "two names", "object", "Order"],
)
def test_an_order_whose_items_are_none_has_no_lines(source: object) -> None:
    """As a serializer writes an order without any; the purchase is as good as any."""
    made = purchase_event(to_order(source), now=NOW)
    assert made.json == purchase_event(Order("1001", 5, "EUR"), now=NOW).json


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, lambda it: SimpleNamespace(**it)])
def test_a_name_without_a_value_leaves_its_field_to_the_next(kind: Callable[[Any], object]) -> None:
    """Of any field, such as lines that stand under another name, and a total likewise."""
    given = MAPPING | {"total": None, "items": None, "email": None}
    others = {"grand_total": "59.90", "line_items": LINES, "customer_email": MAPPING["email"]}
    assert to_order(kind(given | others)) == to_order(MAPPING)


def test_names_that_say_with_tax_are_known() -> None:
    """An order as Oscar keeps it has its total, and its lines their own price and stock number."""
    line = {"id": 7, "partner_sku": "sock", "quantity": 2, "unit_price_incl_tax": Decimal("9.90")}
    order = {"number": "1001", "total_incl_tax": "19.80", "currency": "EUR", "lines": [line]}
    data = purchase_event(to_order(order), now=NOW).custom_data
    assert data is not None
    assert data.value == Decimal("19.80")
    assert [(each.id, each.price) for each in data.contents or ()] == [("sock", Decimal("9.90"))]


def test_an_order_is_not_copied() -> None:
    """The library's own order is taken as it is."""
    assert to_order(ORDER) is ORDER


def test_shapes_met_before_do_not_hide_new_names() -> None:
    """What was learnt of one mapping or object is not believed of one with other names."""
    assert to_order({"id": "1"}).email is None
    assert to_order({"id": "1", "email": "a@b.example"}).email == "a@b.example"
    assert to_order(SimpleNamespace(id="1")).email is None
    assert to_order(SimpleNamespace(id="1", email="a@b.example")).email == "a@b.example"
    assert to_order({"email": "a@b.example", "id": "1"}).order_id == "1"


def test_the_better_name_wins() -> None:
    """An order's own id goes before its number, and a catalogue's id before a line's own."""
    assert to_order({"number": 7, "id": 1001, "order_id": "W-1"}).order_id == "W-1"
    assert to_order({"number": 7, "id": 1001}).order_id == "7"
    item = to_item({"id": 5, "sku": "sock", "name": "Sock"})
    assert item == OrderItem("sock", name="Sock")
    assert to_item({"id": 5, "product": {"sku": "sock"}}) == OrderItem("sock")
    assert to_item({"id": "sock", "product": "Red sock", "variant": "L"}) == OrderItem("sock")
    assert to_item({"quantity": 2, "variant": "sock-l"}) == OrderItem("sock-l", 2)
    assert to_item({"id": "sock", "product": {"name": "Sock"}}) == OrderItem("sock")


def test_many_shapes_are_dropped_again() -> None:
    """Mappings of ever new keys do not fill the memory."""
    for number in range(600):
        assert to_order({"id": number, f"key {number}": 1}).order_id == str(number)


@pytest.mark.parametrize(
    ("value", "order_id"),
    [
        (1001, "1001"),
        ("1001", "1001"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (True, True),
        (1.5, 1.5),
    ],
)
def test_ids_become_text_where_they_can(value: object, order_id: object) -> None:
    """A database's key is an id; a boolean is left for the event to refuse."""
    assert to_order({"id": value}).order_id == order_id


def test_times_are_read() -> None:
    """A time may be a datetime or its text with an offset."""
    text = "2026-01-02T03:04:05+01:00"
    order = to_order({"id": 1, "created_at": text})
    assert order.created_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=timezone.utc)
    later = NOW + timedelta(days=1)
    assert to_order({"id": 1, "placed_at": later}).created_at == later


def test_money_objects_of_other_libraries_are_read() -> None:
    """An amount with its currency, as money libraries have it."""
    total = SimpleNamespace(amount=Decimal("5.00"), currency="EUR")
    order = to_order({"id": 1, "total": total, "currency": SimpleNamespace(code="EUR")})
    assert (order.total, order.currency) == (Decimal("5.00"), "EUR")


@pytest.mark.parametrize("source", [None, 42, "1001", b"{}", [], {}, object(), Order, {"x": 1}])
def test_what_is_no_order_is_refused(source: object) -> None:
    """The error says what is taken, and shows only the kind of what was given."""
    with pytest.raises(InvalidEventError, match=r"\$: expected an Order, a mapping or an object"):
        to_order(source)


class Sale:
    """An order of no shape that could be guessed."""

    def __init__(self, ref: str) -> None:
        self.ref = ref


class OnlineSale(Sale):
    """A kind of it."""


class Basket:
    """Another, which becomes a mapping."""


def test_orders_of_any_class_can_be_registered() -> None:
    """A hook makes an order, or a mapping, of a class and its subclasses."""
    register_order(Sale, lambda sale: Order(sale.ref, 1, "EUR"))
    register_order(Basket, lambda _: {"id": 7, "email": "a@b.example"})
    assert to_order(Sale("S-1")) == to_order(OnlineSale("S-1")) == Order("S-1", 1, "EUR")
    assert to_order(Basket()) == Order("7", email="a@b.example")


def test_cattrs_knows_orders() -> None:
    """Whoever structures with the library's converter gets an order."""
    assert converter.structure(MAPPING, Order) == to_order(MAPPING)


def test_an_orders_repr_shows_no_personal_data() -> None:
    """An order may stand in a traceback."""
    assert "alice" not in repr(ORDER)
    assert "+1206" not in repr(ORDER)
    assert "1001" in repr(ORDER)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = ["id", "total", "currency", "items", "email", "phone", "created_at", "customer", "custom"]


@pytest.mark.slow
@settings(deadline=None)  # The first number that has to be read imports a large package.
@given(
    st.dictionaries(st.sampled_from([*names, "price", "client_ip", "uids"]), anything)
    | st.fixed_dictionaries(
        {"id": st.just("1"), "total": st.decimals(0, 99, places=2), "currency": st.just("EUR")},
        optional=dict.fromkeys(("items", "email", "created_at", "client_ip"), anything),
    )
)
def test_any_mapping_is_an_event_or_its_faults(source: dict[str, object]) -> None:
    """Whatever a shop's export holds, nothing but a refusal comes of it."""
    try:
        event = purchase_event(to_order(source), now=NOW)
    except InvalidEventError as error:
        assert error.errors  # noqa: PT017 - it may or may not be refused
    else:
        assert event.json


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {"id": st.just("1"), "items": st.lists(anything | st.fixed_dictionaries({"sku": anything}))}
    )
)
def test_any_lines_are_an_event_or_its_faults(source: dict[str, object]) -> None:
    """The same goes for an order's lines."""
    try:
        event = purchase_event(to_order(source), now=NOW)
    except InvalidEventError as error:
        assert error.errors  # noqa: PT017 - it may or may not be refused
    else:
        assert event.json
