"""What orders hold besides values: nulls, errors, endless lists, numbers without end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from decimal import Decimal
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.parsing import (
    is_absent,
    normalize_url,
    parse_amount,
    parse_time,
    strip_page_url,
)
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.events import purchase_event
from adcp_tracker.orders.names import ITEM_NAMES, ORDER_NAMES
from adcp_tracker.orders.reader import TooManyLines, order_values, read_order, to_item, to_order
from tests.support.events import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NULLS: list[Any] = [None, "", " ", "\t\n", "\u00a0", float("nan"), Decimal("NaN")]
try:
    import numpy as np
    import pandas as pd
except ImportError:
    pass
else:
    NULLS += [
        np.float64("nan"),
        np.float32("nan"),
        np.datetime64("NaT", "s"),
        np.ma.masked,
        pd.NaT,
        pd.NA,
    ]

ORDER: dict[str, Any] = {"id": "A-1", "total": "59.90", "currency": "EUR"}
SECOND: dict[str, Any] = {
    "total": "59.90",
    "currency": "EUR",
    "items": [{"sku": "A"}],
    "email": "alice@example.com",
    "phone": "+442079460958",
    "created_at": "2026-01-02T03:04:05Z",
    "client_ip": "203.0.113.7",
    "client_user_agent": "Firefox",
    "country": "GB",
}
"""A value for each field that has several names."""


@pytest.mark.parametrize("null", NULLS, ids=lambda null: f"{type(null).__name__} {null!r}")
def test_a_null_is_no_value(null: Any) -> None:  # noqa: ANN401 - nulls of all kinds
    """Whatever a database or data frame writes for nothing is nothing."""
    assert is_absent(null)
    nothing = to_order(ORDER)
    for field, names in ORDER_NAMES.items():
        if field not in {"order_id", "total", "currency"}:
            assert to_order({**ORDER, names[0]: null}) == nothing
            assert to_order(SimpleNamespace(**ORDER, **{names[0]: null})) == nothing
    for field, names in ITEM_NAMES.items():
        line = to_item({"sku": "A", "price": 5, names[0]: null})
        kept = to_item({} if field == "id" else {"sku": "A", "price": 5})
        if field not in {"id", "price", "quantity"}:
            assert line == kept


@pytest.mark.parametrize("null", NULLS, ids=lambda null: f"{type(null).__name__} {null!r}")
@pytest.mark.parametrize("kind", [dict, lambda given: SimpleNamespace(**given)])
def test_a_null_leaves_a_field_to_its_later_names(
    null: Any,  # noqa: ANN401 - nulls of all kinds
    kind: Callable[[dict[str, Any]], object],
) -> None:
    """Of every field of an order and of a line."""
    for field, value in SECOND.items():
        first, *_, last = ORDER_NAMES[field]
        want = to_order(kind({"id": "A-1", last: value}))
        assert to_order(kind({"id": "A-1", first: null, last: value})) == want
        assert to_order(kind({"id": "A-1", last: value, first: null})) == want
    values = {"id": "A", "quantity": 3, "price": "5.00", "name": "Mug"}
    for field, value in values.items():
        first, *_, last = ITEM_NAMES[field]
        assert getattr(to_item(kind({first: null, last: value})), field) == getattr(
            to_item(kind({last: value})), field
        )


class Guest:
    """An order whose address is computed from a user that guests don't have."""

    currency = "EUR"
    total = "59.90"

    def __init__(self, number: str, user: object) -> None:
        self.number, self.account = number, user

    @property
    def email(self) -> object:
        """Fail for a guest, with an error that looks like a missing attribute."""
        return self.account.email  # type: ignore[attr-defined]

    @property
    def phone(self) -> object:
        """Fail for everybody, as a database that is down does."""
        raise ConnectionError

    @property
    def items(self) -> object:
        """Fail as a lazy relation does in a coroutine."""
        raise RuntimeError


def test_one_object_decides_nothing_for_another(caplog: pytest.LogCaptureFixture) -> None:
    """A guest's order first, and the members after it keep their address."""
    with caplog.at_level(logging.WARNING, "adcp_tracker"):
        orders = [
            to_order(Guest(number, user))
            for number, user in (
                ("A-1", None),
                ("A-2", SimpleNamespace(email="alice@example.com")),
                ("A-3", None),
            )
        ]

    assert [order.email for order in orders] == [None, "alice@example.com", None]
    assert [order.total for order in orders] == [Decimal("59.90")] * 3
    logged = [entry.getMessage() for entry in caplog.records]
    for name in ("email", "phone", "items"):
        assert len([text for text in logged if f"'{name}'" in text or f"={name}" in text]) == 1


class Open:
    """An object whose attributes are computed by name."""

    def __init__(self, **data: object) -> None:
        self.__dict__["data"] = data

    def __getattr__(self, name: str) -> object:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None


class Slotted:
    """An object without a dict, some of whose slots are empty."""

    __slots__ = ("currency", "email", "number", "total")

    def __init__(self, **data: object) -> None:
        for name, value in data.items():
            setattr(self, name, value)


@pytest.mark.parametrize("kind", [Open, Slotted, SimpleNamespace, dict])
def test_objects_of_one_class_have_different_names(kind: Callable[..., object]) -> None:
    """Whichever comes first."""
    sparse = {"number": "A-1", "total": "5.00"}
    full = {**sparse, "currency": "EUR", "email": "alice@example.com"}
    for _ in range(2):
        assert to_order(kind(**sparse)).email is None
        assert to_order(kind(**full)).email == "alice@example.com"


def test_camel_case_is_read_of_all_kinds() -> None:
    """As GraphQL, JavaScript and Java name fields."""
    names = {"orderId": "A-1", "totalPrice": "5.00", "currencyCode": "EUR", "phoneNumber": "+1"}
    want = to_order({"order_id": "A-1", "total": "5.00", "currency": "EUR", "phone": "+1"})
    for kind in (dict, Open, SimpleNamespace):
        assert to_order(kind(**names)) == want
    heading = {"Order Number": "A-1", "Total": "5.00", "Currency": "EUR", "Phone": "+1"}
    assert to_order(heading) == want


def test_a_quantity_under_an_unknown_name_is_not_one() -> None:
    """It is left out, and no total is made of it."""
    for name in ("Menge", "qtyShipped", "number_of_units", "anzahl"):
        line: Any = to_item({"sku": "A", "price": "5.00", name: 3})
        assert line.quantity is None
    for line in ({"sku": "A", "discount": 3, "account": 1}, {"sku": "A"}):
        read: Any = to_item(line)
        assert read.quantity == 1


class Size(IntEnum):
    """An enumeration of integers."""

    TWO = 2


class Code(Enum):
    """An enumeration of texts."""

    EUR = "EUR"


def test_numbers_and_codes_of_other_classes_are_read() -> None:
    """Enumerations, and subclasses of the built-in ones."""
    order = to_order(
        {
            "id": Size.TWO,
            "total": Size.TWO,
            "currency": Code.EUR,
            "items": [{"id": 1, "qty": Size.TWO}],
        }
    )
    assert (order.order_id, order.total, order.currency) == ("2", 2, "EUR")
    assert [line.quantity for line in order.items or ()] == [2]


def test_numbers_of_numpy_are_numbers() -> None:
    """In every place for one."""
    numpy = pytest.importorskip("numpy")
    line = {"sku": numpy.str_("A"), "quantity": numpy.int64(2), "price": numpy.float64(1.5)}
    order = to_order(
        {"id": numpy.int64(7), "total": numpy.float32(59.5), "currency": "EUR", "items": [line]}
    )
    assert (order.order_id, str(order.total)) == ("7", "59.5")
    assert [(each.quantity, str(each.price)) for each in order.items or ()] == [(2, "1.5")]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_a_float_of_numpy_means_the_digits_it_is_written_with(kind: str) -> None:
    """One of 32 bits is no amount with fifteen decimals."""
    numpy = pytest.importorskip("numpy")
    order = to_order({"id": 7, "total": getattr(numpy, kind)(5.1), "currency": "EUR"})
    assert str(order.total) == "5.1"


@pytest.mark.parametrize("unseen", ["\n", "\ufeff", "\u200b", "\u202a", "\xa0"])
def test_what_is_invisible_around_a_value_is_no_part_of_it(unseen: str) -> None:
    """It must cost neither the sale nor anything of it."""
    given = {
        "total": "5.00",
        "currency": "EUR",
        "created_at": "2026-11-01T10:00:00Z",
        "client_ip": "203.0.113.7",
        "event_source_url": "https://shop.example/thanks",
    }
    agent = {"id": 7, "client_user_agent": "Mozilla/5.0"}
    clean = purchase_event(given | agent, now=NOW)
    odd = {name: f"{unseen}{value}{unseen}" for name, value in given.items()}
    for source in (odd | agent, SimpleNamespace(**odd, **agent)):
        made = purchase_event(source, now=NOW, strict=False)
        assert (made.json, made.omissions) == (clean.json, ())


@pytest.mark.parametrize("nothing", [-0.0, Decimal("-0.00"), "-0.00"])
def test_an_amount_of_nothing_has_no_sign(nothing: object) -> None:
    """Discounts of all of it make one."""
    made = purchase_event({"id": 7, "total": nothing, "currency": "EUR"}, now=NOW)
    assert b'"value":0.0' in made.json


def test_a_row_of_pandas_is_an_order() -> None:
    """As a series, with the nulls of a column with gaps."""
    pandas = pytest.importorskip("pandas")
    rows = [
        {"id": 1, "total": 59.9, "currency": "EUR", "email": "alice@example.com"},
        {"id": 2, "total": 12.5, "currency": "EUR"},
    ]
    frame = pandas.DataFrame(rows)
    first, second = (to_order(frame.iloc[number]) for number in range(2))
    assert (first.order_id, first.email) == ("1", "alice@example.com")
    assert (second.order_id, str(second.total), second.email) == ("2", "12.5", None)


class Coroutines:
    """An order of an asynchronous ORM, whose relations have to be awaited."""

    id = "A-1"
    total = "5.00"

    async def items(self) -> list[object]:
        """Load the lines."""
        return []

    async def email(self) -> str:
        """Load the address."""
        return "alice@example.com"


def test_what_has_to_be_awaited_is_absent() -> None:
    """No coroutine is left behind that nobody awaits."""

    async def read() -> None:
        order = to_order(Coroutines())
        assert (order.order_id, order.email, order.items) == ("A-1", None, ())

    asyncio.run(read())


def endless() -> Iterator[dict[str, str]]:
    """Give lines without end."""
    for number in itertools.count():
        yield {"sku": str(number)}


def failing() -> Iterator[dict[str, str]]:
    """Give one line, and fail."""
    yield {"sku": "A"}
    raise ConnectionError


def test_lines_are_bounded_before_they_are_read() -> None:
    """An endless generator ends, and an order with more lines than fit has none."""
    assert isinstance(order_values({**ORDER, "items": endless()})[3], TooManyLines)
    assert isinstance(order_values({**ORDER, "items": [{"sku": "A"}] * 1_000_000})[3], TooManyLines)
    assert to_order({**ORDER, "items": failing()}).items == ()


DIGITS = "9" * 100_000
HUGE: list[Any] = [
    Decimal("1E+1000000"),
    Decimal("1E-1000000"),
    Decimal("-9.99E+999999"),
    Decimal(DIGITS),
    Decimal("0." + DIGITS),
    10**100_000,
    1e308,
    DIGITS,
    "1E+1000000",
    "0" * 100_000,
    "-" * 100_000,
    "1." * 50_000,
]
TEXTS = [
    *(character * 100_000 for character in "a0+@.-<:%[ /#"),
    "a@" + "b." * 50_000,
    "a" * 50_000 + "@" + "b" * 50_000,
    "<" * 50_000 + ">" * 50_000,
    "+1" * 50_000,
    "(" * 50_000 + "+",
    "2026-01-02T03:04:05" + "0" * 100_000,
    "https://shop.example/" + "%25" * 33_000,
    "https://" + "a." * 50_000,
    "https://" + "[" * 100_000,
    "mailto:" + "%40" * 33_000,
    "\u200b" * 100_000,
    "é" * 50_000,
]
_PARSERS: list[Callable[[Any], object]] = [
    hash_email,
    hash_phone,
    lambda text: hash_phone(text, "GB"),
    parse_time,
    parse_amount,
    normalize_url.__wrapped__,
    strip_page_url,
    lambda text: to_order({"id": text, "total": text, "currency": text, "created_at": text}),
    lambda text: to_item({"sku": text, "quantity": text, "price": text, "name": text}),
    lambda text: to_order({text: text, "id": 1}),
    lambda text: to_order({"id": 1, "country": text, "client_ip": text, "phone": text}),
]
_SECONDS = 0.05


def cpu_seconds(parse: Callable[[Any], object], value: object) -> float:
    """Return how long a parser computes, at best of three."""
    best = 60.0
    for _ in range(3):
        started = time.thread_time()
        with contextlib.suppress(InvalidEventError):
            parse(value)
        best = min(best, time.thread_time() - started)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(_PARSERS)))
def test_no_text_freezes_a_request(number: int) -> None:
    """Any parser is through with a hundred kilobytes in fifty milliseconds."""
    parse = _PARSERS[number]
    hash_phone("+44 20 7946 0958", "GB")  # loads its package
    slow = {text[:20]: spent for text in TEXTS if (spent := cpu_seconds(parse, text)) > _SECONDS}
    assert not slow


@pytest.mark.slow
@pytest.mark.parametrize("value", HUGE, ids=lambda value: f"{type(value).__name__}")
def test_no_number_freezes_a_request(value: object) -> None:
    """Numbers are bounded before they are expanded, wherever they stand."""
    for order in (
        {"id": 1, "total": value, "currency": "EUR"},
        {"id": 1, "items": [{"sku": "A", "quantity": value, "price": 1}]},
        {"id": 1, "items": [{"sku": "A", "quantity": 2, "price": value}]},
        {"id": value},
        {"id": 1, "created_at": value},
    ):
        assert cpu_seconds(to_order, order) < _SECONDS


@pytest.mark.slow
def test_many_keys_and_lines_are_read_in_time() -> None:
    """A mapping of thousands of keys, and a basket of thousands of lines."""
    keys = {f"key{number}": number for number in range(10_000)}
    assert cpu_seconds(to_order, {"id": 1, **keys}) < _SECONDS
    lines = [{"sku": "A", "qty": 1} for _ in range(4_000)]
    assert cpu_seconds(to_order, {"id": 1, "items": lines}) < _SECONDS


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from([name for each in ORDER_NAMES.values() for name in each])


@given(st.dictionaries(names | st.sampled_from(["customer", "user", "object"]), json_values))
def test_any_mapping_is_read_or_refused(order: dict[str, Any]) -> None:
    """No value of any kind raises anything but the error for a payload that is no order."""
    try:
        read = to_order(order)
    except InvalidEventError:
        return
    assert repr(read) == repr(to_order(order))  # a NaN differs from itself


@given(st.dictionaries(names, json_values, min_size=1))
def test_the_quick_way_reads_what_the_traced_one_reads(order: dict[str, Any]) -> None:
    """explain() shows what track_purchase takes."""
    try:
        quick = read_order(order)
    except InvalidEventError:
        with pytest.raises(InvalidEventError):
            read_order(order, {})
        return
    trace: dict[str, str] = {}
    assert repr(read_order(order, trace)) == repr(quick)
    assert set(trace) <= set(ORDER_NAMES)
    assert orjson.dumps(trace)


@pytest.mark.parametrize(
    ("order_id", "text"),
    [
        (Decimal(1001), "1001"),
        (Decimal("1001.00"), "1001"),
        (Decimal("1E+3"), "1000"),
        (1001.0, "1001"),
        (Decimal("1001.5"), None),
        (Decimal("Infinity"), None),
        (Decimal("1E+1000000"), None),
    ],
)
def test_a_whole_number_of_any_kind_is_an_id(order_id: object, text: str | None) -> None:
    """Oracle's NUMBER comes as a Decimal; what has a fraction or no end is no id."""
    found: object = to_order({**ORDER, "id": order_id}).order_id
    assert (found if isinstance(found, str) else None) == text


@pytest.mark.parametrize(
    ("money", "amount"),
    [
        ({"type": "centPrecision", "centAmount": 5990, "fractionDigits": 2}, "59.90"),
        ({"amount": 5990, "currency": "EUR", "precision": 2}, "59.90"),
        ({"amount": 5990, "currency": "EUR", "scale": 3}, "5.990"),
        ({"amount": 5990, "currency": "JPY", "exponent": 0}, "5990"),
        ({"amount": 5990, "currency": "EUR"}, "5990"),
        ({"amount": "59.90", "currency": "EUR", "precision": 2}, "59.90"),
        ({"amount": 5990, "currency": "EUR", "precision": 20}, "5990"),
        ({"amount": 5990, "currency": "EUR", "precision": True}, "5990"),
    ],
)
def test_minor_units_are_read_where_their_decimals_are_said(
    money: dict[str, object], amount: str
) -> None:
    """As commercetools and Dinero say them; nothing is guessed without."""
    assert parse_amount(money) == Decimal(amount)


@given(st.integers(-(2**60), 2**60), st.integers(-3, 9), st.sampled_from(["scale", "precision"]))
def test_no_scale_makes_an_amount_that_was_not_meant(amount: int, decimals: int, name: str) -> None:
    """It is scaled by what is said, or taken as it is."""
    read = parse_amount({"amount": amount, "currency": "EUR", name: decimals})
    assert read in {Decimal(amount), Decimal(amount).scaleb(-decimals)}
