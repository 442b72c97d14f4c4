"""The inputs of the corpus: orders, refunds and events of every kind, good and bad.

They are drawn by a seeded generator from lists of values, so every run makes the same ones.
Nothing here depends on how the library is built: only on its public names.
"""

from __future__ import annotations

import random
import types
import uuid
from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs

from adcp_tracker import (
    ActionSource,
    Consent,
    Content,
    CustomData,
    EventType,
    Order,
    OrderItem,
    RequestContext,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONG = 200
SEED = 20261130
PURCHASES, REFUNDS, EVENTS = 640, 220, 620

DIGEST = "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"
ABSENT = "<absent>"
"""Stands for a field that is left out."""


@attrs.frozen
class Input:
    """One call of a tracker.

    Attributes:
        name: Names the input, such as ``purchase-0007``.
        setup: Which of the trackers in :data:`tests.compat.replaying.SETUPS` is called.
        method: The tracker's method.
        arguments: Its positional arguments.
        options: Its keyword arguments, except for the context.
        context: What the call gets as its context; a name from the recorded tokens if a string.
        bound: Whether the context is bound around the call instead of given to it.
        remembered: Whether the context was remembered for the order instead.
    """

    name: str
    setup: str
    method: str
    arguments: tuple[object, ...]
    options: dict[str, Any]
    context: RequestContext | str | None = None
    bound: bool = False
    remembered: bool = False

    def __str__(self) -> str:
        given = [show(each) for each in self.arguments]
        given += [f"{name}={show(value)}" for name, value in self.options.items()]
        if self.context is not None:
            how = "remembered" if self.remembered else "bound" if self.bound else "context"
            given.append(f"{how}={show(self.context)}")
        return f"{self.setup}.{self.method}({', '.join(given)})"


def show(value: object) -> str:
    """Return a value as text that is the same in every run and version."""
    kind = type(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{show(key)}: {show(each)}" for key, each in value.items())
        return "{" + inner + "}" if kind is dict else f"{kind.__name__}({{{inner}}})"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, (str, bytes)) and len(value) > _LONG:
        return f"{value[:20]!r}…{len(value)}"
    fields = _fields(value)
    if fields is None:
        return kind.__name__ + "." + value.name if isinstance(value, Enum) else repr(value)
    inner = ", ".join(f"{name}={show(each)}" for name, each in fields.items())
    return f"{kind.__name__}({inner})"


def _fields(value: object) -> dict[str, object] | None:
    kind = type(value)
    if attrs.has(kind):
        every = {name: getattr(value, name) for name in attrs.fields_dict(kind)}
        return {name: each for name, each in every.items() if each not in (None, {}, ())}
    if kind is Slotted:
        return {name: getattr(value, name) for name in Slotted.__slots__}
    if kind in {Plain, Related, Generated, Shouting, types.SimpleNamespace}:
        return vars(value)
    return None


@dataclass
class Plain:
    """An order as a data class, with a method among its attributes."""

    number: object
    total_price: object
    currency_code: object
    lines: object = field(default_factory=list)
    customer: object = None

    def placed_at(self) -> str:
        """Return when it was placed."""
        return "2026-05-06T07:08:09.123456+02:00"


class Slotted:
    """An order with slots."""

    __slots__ = ("currency", "email", "id", "items", "total")

    def __init__(self, **values: object) -> None:
        for name in self.__slots__:
            setattr(self, name, values.get(name))


class Related:
    """Lines behind a manager, as an object-relational mapper has them."""

    def __init__(self, lines: list[object]) -> None:
        self.lines = lines

    def all(self) -> list[object]:
        """Return the lines."""
        return self.lines


class Generated:
    """Lines that come one by one."""

    def __init__(self, lines: list[object]) -> None:
        self.lines = lines

    def __iter__(self) -> Iterator[object]:
        return iter(self.lines)


class Shouting:
    """An object whose attributes all raise."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


class Currency:
    """A currency with a code, as money libraries have it."""

    code = "EUR"

    def __repr__(self) -> str:
        return "Currency()"


class Text(str):
    """A caller's own class of strings."""

    __slots__ = ()


EMAILS = [
    "alice@example.com",
    " Alice@Example.COM ",
    "a.l.ice+tag@gmail.com",
    "bücher@exämple.de",
    DIGEST,
    DIGEST.upper(),
    Text("alice@example.com"),
]
BAD_EMAILS = ["nope", "", "a@b", "@example.com", 5, b"alice@example.com", "x" * 400, "a b@c.de"]
PHONES = ["+49 30 901820", "+1 (202) 555-0143", "+44 20 7946 0958", "+49-30-901820", DIGEST]
LOCAL_PHONES = ["030 901820", "0049 30 901820"]
BAD_PHONES = ["12", "", "phone", 4930901820, "+999999999999999999", "+49"]
AMOUNTS = [
    Decimal("59.90"),
    Decimal(0),
    Decimal("0.01"),
    Decimal("1E+3"),
    Decimal("1234567.89"),
    Decimal("10.10"),
    Decimal("10.00"),
    12,
    0,
    59.9,
    0.1,
    "59.90",
    " 12 ",
    "0",
]
BAD_AMOUNTS = [
    *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal(-1), -5, "-3.00"),
    *("twelve", "", True, float("nan"), float("inf"), [], {}, "€ 5", Decimal("0.001")),
    *("59,90", "1.234,50", "1,234.50"),
    *(10**19, Decimal("1E-400"), Decimal("1E+400"), "1e5", b"5"),
]
CURRENCIES = ["EUR", "USD", "JPY", "KWD", "GBP", "EUR", "EUR", "SEK", Currency()]
BAD_CURRENCIES = ["eur", "EURO", "", "E1R", 978, ABSENT, None, "€"]
IDS = ["A-1001", 1002, uuid.UUID(int=5), "ä/1", "x" * 256, "0", Text("A-7"), "a:b:c"]
BAD_IDS: list[object] = [None, "", "x" * 257, "a\nb", 0.5, True, [], "\x7f", b"A-1", " "]
TIMES = [
    datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=timezone.utc),
    datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    "2026-05-06T07:08:09Z",
    "2026-05-06T07:08:09.5+02:00",
    "2026-05-06 07:08:09+00:00",
]
BAD_TIMES = [
    *(datetime(2026, 5, 6, 7, 8, 9), "2026-05-06T07:08:09", "yesterday", "", 1778051289),  # noqa: DTZ001 - bad on purpose
    *(17.5, "2026-13-01T00:00:00Z", datetime(1, 1, 1, tzinfo=timezone.utc), b"2026", []),
]
ADDRESSES = ["93.184.216.34", "2001:db8::1", "::ffff:10.0.0.1", "10.0.0.1"]
BAD_ADDRESSES = ["localhost", "300.1.1.1", "", 5, "1.2.3.4:80", "fe80::1%eth0"]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8", "Ägent"]
BAD_AGENTS = ["", "x" * 600, "a\x00b", 7]
PAGES = [
    "https://shop.example/thanks",
    "https://shop.example/thanks?gclid=abc&email=a%40b.de#top",
    "https://user:pw@shop.example:8443/a%20b",
    "http://[2001:db8::1]/",
    "app+x://open/42",
]
BAD_PAGES = [
    "https://exämple.de/ü",
    "/thanks",
    "shop.example",
    "",
    "https://",
    "https://a b/",
    "x" * 3000,
    5,
    "https:///x",
]
CLICKS = [("gclid", "EAIaIQobChMI"), ("fbclid", "IwAR0"), (None, "click-1"), ("adcp", "x" * 512)]
BAD_CLICKS = [("gclid", ""), ("x" * 65, "c"), ("gclid", "x" * 513), ("gclid", 5), (5, "c")]
UIDS = [
    [{"type": "uid2", "value": "AbC=="}],
    [UniversalId(UidType.UID2, "AbC=="), {"type": "publisher_first_party", "value": "u-1"}],
    [{"type": "other", "value": "x", "source": "crm"}],
    [],
]
BAD_UIDS: list[object] = [
    [{"type": "passport", "value": "x"}],
    [{"type": "uid2"}],
    [{"type": "uid2", "value": ""}],
    [{"value": "x"}],
    "uid2",
    [5],
    {"type": "uid2", "value": "x"},
]
CUSTOM: list[object] = [
    {"coupon": "SPRING", "gift": True},
    {"nested": {"a": [1, 2.5, "ä"]}, "n": Decimal("1.50")},
    {"content_type": "product", "content_name": "Mug", "num_items": 3},
    {"value": 1, "search_string": "mugs"},
    {"content_ids": ["a", "b"], "progress_percent": 50},
    {},
]
BAD_CUSTOM: list[object] = [
    {"f": float("nan")},
    {"nested": {"a": [1, None]}, "when": TIMES[0], "id": uuid.UUID(int=7)},
    {5: "x"},
    {"s": {1}},
    {"content_type": 5},
    {"num_items": -1},
    {"content_ids": "abc"},
    {"deep": [[[[[[[[[[[["x"]]]]]]]]]]]]},
    {"big": 2**70},
    "text",
    [1],
    {"surrogate": "\ud800"},
    {"o": object},
]
ITEMS: list[object] = [
    [],
    None,
    [{"sku": "MUG-01", "quantity": 2, "price": "29.95"}],
    [{"id": 5, "qty": "2", "unit_price": 3.5, "title": "Mug", "brand": "Acme"}],
    [{"variant": {"sku": "V-1", "id": 9}, "id": 77, "quantity": 1, "price": Decimal(3)}],
    [{"product_id": "P", "price": Decimal("1.005"), "quantity": Decimal(3)}],
    [OrderItem("A", 3, Decimal("1.10"), brand="B", name="N"), OrderItem("C")],
    [types.SimpleNamespace(sku="S", quantity=1, price=5)],
    Related([{"sku": "M", "price": 1}]),
    Generated([{"sku": "M", "price": 1}, {"sku": "N", "price": "2.50"}]),
    [{"sku": f"S-{number}", "price": number, "quantity": number + 1} for number in range(30)],
    ({"sku": "T", "quantity": 1},),
]
BAD_ITEMS: list[object] = [
    "MUG",
    5,
    [5],
    [None],
    [{"quantity": 1}],
    [{"sku": "A", "quantity": 0}],
    [{"sku": "A", "quantity": 1.5, "price": 1}],
    [{"sku": "A", "price": -1}, {"sku": "", "price": "x"}],
    {"sku": "A"},
    [{"sku": "x" * 300, "brand": "y" * 300, "price": 1}],
    [OrderItem("A", quantity=True, price=Decimal("NaN"))],
    [{"sku": "A", "price": 1e400, "quantity": "many"}],
]
SURFACES: list[object] = [
    {"category": "website"},
    {"category": "app", "namespace": "apple", "property_id": "123"},
    Surface(next(iter(SurfaceCategory)), property_type="channel"),
    {"category": next(iter(SurfaceCategory)).value, "extra_key": [1]},
]
BAD_SURFACES: list[object] = [
    {"category": "podcast"},
    {"category": "moon"},
    {},
    "web",
    {"category": 5},
    [],
]
MATCHES: list[object] = [
    {"hashed_email": DIGEST},
    {"hashed_phone": DIGEST, "x": 1},
    UserMatch(hashed_email=DIGEST, click_id="c", click_id_type="gclid"),
    {"client_ip": "93.184.216.34", "client_user_agent": "curl/8"},
    {"uids": [{"type": "uid2", "value": "v"}]},
]
BAD_MATCHES: list[object] = [
    {"hashed_email": "alice@example.com"},
    {},
    UserMatch(),
    {"client_ip": "93.184.216.34"},
    "x",
    {"hashed_email": DIGEST.upper()},
    {"uids": []},
]
EXTS: list[object] = [{"vendor": {"a": 1}}, {}, {"n": Decimal("0.5")}]
BAD_EXTS: list[object] = ["x", {1: 2}, {"f": float("inf")}, [1]]
SOURCES: list[object] = [*ActionSource, *(each.value for each in ActionSource)]
BAD_SOURCES: list[object] = ["moon", "", 5, "WEBSITE"]
TYPES: list[object] = [*EventType, *(each.value for each in EventType), Text("lead")]
BAD_TYPES: list[object] = ["sale", "", 5, None, "PURCHASE", []]
CODES: list[object] = ["TEST-1", "x" * 255]
BAD_CODES: list[object] = ["", "x" * 256, 5, "a\nb"]
DATA: list[object] = [
    *CUSTOM,
    {"value": Decimal("9.90"), "currency": "EUR", "order_id": "A-1"},
    CustomData(value=Decimal("9.90"), currency="USD", contents=(Content("A", 1, Decimal(2)),)),
    {"contents": [{"id": "A", "quantity": 2, "price": 1.25, "colour": "red"}], "currency": "EUR"},
    {"progress_seconds": 12.5},
]
BAD_DATA: list[object] = [
    *BAD_CUSTOM,
    {"value": -1, "currency": "EUR"},
    {"value": 1},
    {"value": 1, "currency": "eur"},
    {"contents": [{"quantity": 1}]},
    {"contents": {"id": "A"}},
    {"progress_percent": 101},
]


class Draw:
    """Draws values, mostly good ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a choice

    def chance(self, share: float) -> bool:
        """Return true in a `share` of the calls."""
        return self._random.random() < share

    def one(self, values: list[Any]) -> Any:  # noqa: ANN401 - as the lists have them
        """Return one of the values."""
        return values[int(self._random.random() * len(values))]

    def of(self, good: list[Any], bad: list[Any], share: float) -> Any:  # noqa: ANN401 - as above
        """Return a bad value in a `share` of the calls, and a good one otherwise."""
        return self.one(bad if self.chance(share) else good)


def context_of(draw: Draw) -> RequestContext:
    """Draw a request's context."""
    click = draw.one([*CLICKS, (None, None)])
    return RequestContext(
        client_ip=draw.one([*ADDRESSES, None]),
        client_user_agent=draw.one([*AGENTS, None]),
        event_source_url=draw.one([*PAGES, None]),
        click_id=click[1],
        click_id_type=click[0],
        consent=draw.one([*Consent, Consent.GRANTED]),
        automated=draw.one([None] * 6 + ["crawler", "link_preview", "prefetch"]),
    )


def order_fields(draw: Draw, share: float) -> dict[str, Any]:
    """Draw an order's fields, by the library's own names; a `share` of them is bad."""
    click = draw.of(CLICKS, BAD_CLICKS, share)
    drawn = {
        "order_id": draw.of(IDS, BAD_IDS, share),
        "total": draw.of(AMOUNTS, BAD_AMOUNTS, share),
        "currency": draw.of(CURRENCIES, BAD_CURRENCIES, share),
        "items": draw.of(ITEMS, BAD_ITEMS, share),
        "email": draw.of(EMAILS, BAD_EMAILS, share),
        "phone": draw.of([*PHONES, *PHONES, *LOCAL_PHONES], BAD_PHONES, share),
        "created_at": draw.of(TIMES, BAD_TIMES, share),
        "client_ip": draw.of(ADDRESSES, BAD_ADDRESSES, share),
        "client_user_agent": draw.of(AGENTS, BAD_AGENTS, share),
        "event_source_url": draw.of(PAGES, BAD_PAGES, share),
        "click_id": click[1],
        "click_id_type": click[0],
        "uids": draw.of(UIDS, BAD_UIDS, share),
        "custom": draw.of(CUSTOM, BAD_CUSTOM, share),
    }
    kept = {"order_id", "total", "currency"}
    return {
        name: value
        for name, value in drawn.items()
        if value is not ABSENT and draw.chance(0.97 if name in kept else 0.4)
    }


NAMES: dict[str, list[str]] = {
    "order_id": ["id", "order_id", "number", "order_number", "increment_id"],
    "total": ["total", "grand_total", "total_price", "total_amount", "value", "amount"],
    "currency": ["currency", "currency_code"],
    "items": ["items", "line_items", "lines", "order_items"],
    "email": ["email", "customer_email", "email_address"],
    "phone": ["phone", "phone_number", "customer_phone"],
    "created_at": ["created_at", "placed_at", "ordered_at", "date_placed"],
    "client_ip": ["client_ip", "ip_address", "customer_ip_address", "ip"],
    "client_user_agent": ["client_user_agent", "user_agent"],
    "custom": ["custom", "custom_data"],
}


def mapping_order(draw: Draw, fields: dict[str, Any]) -> dict[str, Any]:
    """Return an order as a mapping, under the names that shops use."""
    order = {draw.one(NAMES.get(name, [name])): value for name, value in fields.items()}
    if "email" in fields and draw.chance(0.3):
        order = {name: value for name, value in order.items() if "email" not in name}
        person = {"email": fields["email"], "phone": fields.get("phone")}
        order[draw.one(["customer", "billing_address", "user", "buyer"])] = person
    if draw.chance(0.1):
        order["unknown_key"] = [1, 2]
    if draw.chance(0.1):
        order["order_number"] = "N-55"
    return order


def _as_order(draw: Draw, fields: dict[str, Any]) -> object:
    if not isinstance(fields.get("order_id"), str) and draw.chance(0.8):
        fields["order_id"] = "A-1003"
    return Order(fields.pop("order_id", None), **fields)


def _as_plain(_: Draw, fields: dict[str, Any]) -> object:
    return Plain(
        fields.get("order_id"),
        fields.get("total"),
        fields.get("currency"),
        fields.get("items", []),
        types.SimpleNamespace(email=fields.get("email"), phone=fields.get("phone")),
    )


def _as_namespace(draw: Draw, fields: dict[str, Any]) -> object:
    return types.SimpleNamespace(**mapping_order(draw, fields))


def _as_slotted(_: Draw, fields: dict[str, Any]) -> object:
    return Slotted(id=fields.get("order_id"), **fields)


SHAPES: list[Callable[[Draw, dict[str, Any]], object]] = [
    mapping_order,
    mapping_order,
    mapping_order,
    _as_order,
    _as_order,
    _as_plain,
    _as_namespace,
    _as_slotted,
    lambda draw, fields: UserDict(mapping_order(draw, fields)),
    lambda draw, fields: types.MappingProxyType(mapping_order(draw, fields)),
]
ODD: list[object] = [None, 42, "A-1", [], {}, b"x", Shouting(), object, {"nothing": "of an order"}]


def order_of(draw: Draw) -> object:
    """Draw an order of any shape; two in five have something wrong."""
    if draw.chance(0.02):
        return draw.one(ODD)
    share = draw.one([0.0, 0.0, 0.0, 0.05, 0.25])
    return draw.one(SHAPES)(draw, order_fields(draw, share))


def details_of(draw: Draw, share: float, often: float = 0.3) -> dict[str, Any]:
    """Draw details of an event."""
    click = draw.of(CLICKS, BAD_CLICKS, share)
    drawn = {
        "event_time": draw.of(TIMES, BAD_TIMES, share),
        "user_match": draw.of(MATCHES, BAD_MATCHES, share),
        "email": draw.of(EMAILS, BAD_EMAILS, share),
        "phone": draw.of([*PHONES, *PHONES, *LOCAL_PHONES], BAD_PHONES, share),
        "uids": draw.of(UIDS, BAD_UIDS, share),
        "click_id": click[1],
        "click_id_type": click[0],
        "client_ip": draw.of(ADDRESSES, BAD_ADDRESSES, share),
        "client_user_agent": draw.of(AGENTS, BAD_AGENTS, share),
        "custom_data": draw.of(DATA, BAD_DATA, share),
        "action_source": draw.of([*SOURCES], BAD_SOURCES, share),
        "event_source_url": draw.of(PAGES, BAD_PAGES, share),
        "custom_event_name": draw.of(["quiz"], ["", 5, "x" * 200], share),
        "surface": draw.of(SURFACES, BAD_SURFACES, share),
        "ext": draw.of(EXTS, BAD_EXTS, share),
    }
    if "user_match" in drawn and draw.chance(0.7):
        del drawn["user_match"]
    return {name: value for name, value in drawn.items() if draw.chance(often)}


def common_options(draw: Draw) -> dict[str, Any]:
    """Draw the options that every method takes."""
    options: dict[str, Any] = {}
    if draw.chance(0.05):
        options["test_event_code"] = draw.of(CODES, BAD_CODES, 0.4)
    if draw.chance(0.2):
        options["default_region"] = draw.one(["DE", "US"])
    return options


SETUP_NAMES = ["drop", "drop", "strip", "strict"]


def _contexts(draw: Draw, tokens: list[str]) -> dict[str, Any]:
    chosen = draw.one(["none", "none", "given", "bound", "token", "remembered"])
    if chosen == "none":
        return {}
    if chosen == "token":
        return {"context": draw.one(tokens)}
    how = {"bound": chosen == "bound", "remembered": chosen == "remembered"}
    return {"context": context_of(draw), **how}


def purchases(draw: Draw, tokens: list[str]) -> Iterator[Input]:
    """Draw purchases."""
    for number in range(PURCHASES):
        options = common_options(draw)
        if draw.chance(0.25):
            options |= details_of(draw, draw.one([0.0, 0.2]), 0.15)
        order, where = order_of(draw), _contexts(draw, tokens)
        setup = draw.one(SETUP_NAMES)
        yield Input(f"purchase-{number:04}", setup, "track_purchase", (order,), options, **where)


def refunds(draw: Draw, tokens: list[str]) -> Iterator[Input]:
    """Draw refunds."""
    for number in range(REFUNDS):
        options = common_options(draw)
        if draw.chance(0.5):
            options["refund_id"] = draw.of(["R-1", "x" * 250], ["", 5, None], 0.2)
        if draw.chance(0.5):
            options["amount"] = draw.of(AMOUNTS, BAD_AMOUNTS, 0.2)
        if draw.chance(0.4):
            options["items"] = draw.of(ITEMS, BAD_ITEMS, 0.2)
        if draw.chance(0.15):
            options |= details_of(draw, 0.1, 0.1)
        order, where = order_of(draw), _contexts(draw, tokens)
        setup = draw.one(SETUP_NAMES)
        yield Input(f"refund-{number:04}", setup, "track_refund", (order,), options, **where)


def events(draw: Draw, tokens: list[str]) -> Iterator[Input]:
    """Draw events of every type, by ``track`` and by the methods of their own."""
    named = sorted(each.value for each in EventType if each.value not in {"purchase", "refund"})
    for number in range(EVENTS):
        options = common_options(draw) | details_of(draw, draw.one([0.0, 0.0, 0.05, 0.3]))
        if not {"email", "user_match", "click_id"} & options.keys() and draw.chance(0.8):
            options["email"] = EMAILS[0]
        identity = draw.one(["key", "key", "event_id"])
        drawn = draw.of(IDS, BAD_IDS, 0.05)
        options[identity] = drawn if drawn is not None else "K-1"
        if identity == "event_id" and draw.chance(0.7):
            options[identity] = str(options[identity])
        method = "track"
        arguments: tuple[object, ...] = (draw.of(TYPES, BAD_TYPES, 0.04),)
        if arguments[0] in BAD_TYPES:  # else the id is made of a description of the type
            options = {name: value for name, value in options.items() if name != "key"}
            options["event_id"] = "E-1"
        if draw.chance(0.4):
            name = draw.one(named)
            method, arguments = f"track_{name}", ()
            if name == "custom":
                options.pop("custom_event_name", None)
                arguments = (draw.of(["quiz"], ["", 5, None, "x" * 300], 0.2),)
            elif name.endswith("lead"):
                options.pop(identity)
                arguments = ("L-5",)
        where = _contexts(draw, tokens)
        where.pop("remembered", None)
        yield Input(
            f"event-{number:04}", draw.one(SETUP_NAMES), method, arguments, options, **where
        )


def inputs() -> list[Input]:
    """Return all inputs."""
    tokens = [f"token-{number}" for number in range(len(token_contexts()))]
    draw = Draw(SEED)
    return [*purchases(draw, tokens), *refunds(draw, tokens), *events(draw, tokens)]


def token_contexts() -> list[RequestContext]:
    """Return the contexts that tokens are recorded for."""
    draw = Draw(SEED + 1)
    return [context_of(draw) for _ in range(12)]
