"""Order, OrderItem, register_order; reads any order by its field aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache, partial, singledispatch
from types import MethodType
from typing import Any, Final, TypeVar
from uuid import UUID

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker._logging import logger
from adcp_tracker.events._fast_init import quick
from adcp_tracker.events.codec import converter
from adcp_tracker.events.model import EMPTY, UniversalId
from adcp_tracker.events.money import parse_amount
from adcp_tracker.events.parsing import parse_time
from adcp_tracker.exceptions import ConfigurationError, FieldError, InvalidEventError

ORDER_ID_NAMES: Final = ("order_id", "order_number", "increment_id", "number", "id")
"""What shops call an order's id, the first of them that has a value wins."""

_KEY: Final = "id"
_UNSURE: Final = "number"
_SHOPIFY: Final = "admin_graphql_api_id"
_SHOPIFY_NAMES: Final = ("order_id", _KEY, "order_number", _UNSURE)


def names_of(has: Callable[[str], bool]) -> tuple[str, ...]:
    """Return which names an order has, the best first.

    Args:
        has: Whether the order has a name.
    """
    return tuple(filter(has, _SHOPIFY_NAMES if has(_SHOPIFY) else ORDER_ID_NAMES))


def choose_id(source: object, get: Callable[[str], object], names: tuple[str, ...]) -> object:
    """Return the id of an order that has several names for it.

    Args:
        source: The order.
        get: Gives the value of a name.
        names: The order's names, the best first; one without a value is passed over.
    """
    last: object = None
    for name in names:
        value = get(name)
        if value is None or (type(value) is str and not value):
            continue
        if isinstance(value, (str, int, UUID)) and not isinstance(value, bool):
            if name == _UNSURE and type(value) is int and _KEY in names:
                _warn_once(f"{type(source).__module__}.{type(source).__qualname__}")
            return parse_id(value)
        last = value if last is None else last
    return parse_id(last)


def parse_id(value: object) -> object:
    """Make text of a key as databases have them; anything else is left to be judged."""
    if type(value) is int or isinstance(value, UUID):
        return str(value)
    return value


@cache
def _warn_once(kind: str) -> None:
    logger.warning(
        "order.id_is_number",
        kind=kind,
        remedy="register_order(kind, order_id='id') if number counts anything but orders, "
        "and order_id='number' if it does not",
    )


@attrs.frozen
class OrderItem:
    """One line of an order.

    Attributes:
        id: The item's id in the catalogue, such as its SKU.
        quantity: How many of it.
        price: Per unit, exact; it may be finer than the currency.
        brand: Who makes it.
        name: What it is called; sent as a custom key.
    """

    id: str
    quantity: int = 1
    price: Decimal | int | None = None
    brand: str | None = None
    name: str | None = None


@attrs.frozen
class Order:
    """What a shop knows of an order; only the id is needed, more is matched better.

    Attributes:
        order_id: Its id, the same whenever the order is tracked.
        total: What was paid, exact. Left out, it is the sum of the items
            if the price of each is known.
        currency: A code of ISO 4217.
        items: Its lines; ``None`` if it has none.
        email: The shopper's address, raw or as its SHA-256.
        phone: The shopper's number, raw or as its SHA-256.
        created_at: When it was placed, with the UTC offset; left out, it is now.
        client_ip: The shopper's address when it was placed.
        client_user_agent: The shopper's browser when it was placed.
        event_source_url: The page it was placed on.
        click_id: The click that brought the shopper.
        click_id_type: Which kind of click id.
        uids: Universal ids of the shopper.
        custom: Custom keys for the event's custom data.
    """

    order_id: str
    total: Decimal | int | None = None
    currency: str | None = None
    items: Sequence[OrderItem] | None = ()
    email: str | None = attrs.field(default=None, repr=False)
    phone: str | None = attrs.field(default=None, repr=False)
    created_at: datetime | None = None
    client_ip: str | None = attrs.field(default=None, repr=False)
    client_user_agent: str | None = attrs.field(default=None, repr=False)
    event_source_url: str | None = attrs.field(default=None, repr=False)
    click_id: str | None = attrs.field(default=None, repr=False)
    click_id_type: str | None = None
    uids: Sequence[UniversalId] | None = attrs.field(default=None, repr=False)
    custom: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


ORDER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": ORDER_ID_NAMES,
    "total": (
        "total",
        "grand_total",
        "total_price",
        "total_amount",
        "total_incl_tax",
        "value",
        "amount",
    ),
    "currency": ("currency", "currency_code"),
    "items": ("items", "line_items", "lines", "order_items"),
    "email": ("email", "customer_email", "email_address", "hashed_email"),
    "phone": ("phone", "phone_number", "customer_phone", "hashed_phone"),
    "created_at": ("created_at", "placed_at", "ordered_at", "date_placed", "date_created"),
    "client_ip": ("client_ip", "ip_address", "customer_ip_address", "ip"),
    "client_user_agent": ("client_user_agent", "user_agent", "customer_user_agent"),
    "event_source_url": ("event_source_url",),
    "click_id": ("click_id",),
    "click_id_type": ("click_id_type",),
    "uids": ("uids",),
    "custom": ("custom", "custom_data"),
}
"""What shops call the fields of an :class:`Order`, the first of them that has a value wins.

For an order with several names for its id, see :mod:`adcp_tracker.orders.reader`.
"""

_LINE_ID: Final = "id"

ITEM_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("sku", "partner_sku", "product_id", "item_id", "variant_id", _LINE_ID),
    "quantity": ("quantity", "qty"),
    "price": ("price", "unit_price", "unit_price_incl_tax"),
    "brand": ("brand",),
    "name": ("name", "title"),
}
"""What shops call the fields of an :class:`OrderItem`; a line's own id is the last resort."""

CONTACT_FIELDS: Final = (
    "customer",
    "billing_address",
    "billing",
    "user",
    "buyer",
    "shipping_address",
)
"""Where shops keep an e-mail address or phone number that is not on the order itself."""

PRODUCT_FIELDS: Final = ("variant", "product")
"""Where shops keep an item's id that is not on the line itself."""

_order: Final = quick(Order)
_item: Final = quick(OrderItem)
_MAX_PLANS: Final = 256
_Source = TypeVar("_Source")
_Convert = Callable[[Any], object]


def to_order(source: object) -> Order:
    """Take an order as the shop has it.

    Args:
        source: An :class:`Order`; a mapping or an object with attributes by the names
            in :data:`ORDER_NAMES`, with items by those in :data:`ITEM_NAMES`;
            or whatever :func:`register_order` was told of.

    Returns:
        The order, its values converted where nothing is lost by it and not yet judged.

    Raises:
        InvalidEventError: If `source` has nothing of an order.
    """
    kind = type(source)
    if kind is dict:
        return _read_order(source)
    return source if kind is Order else _to_order(source)  # type: ignore[return-value]


def register_order(
    kind: type[_Source],
    hook: Callable[[_Source], object] | None = None,
    *,
    order_id: str | None = None,
) -> None:
    """Say how orders of class `kind`, and of its subclasses, become an :class:`Order`.

    Args:
        kind: The shop's own class.
        hook: Gets one, and returns an :class:`Order` or anything else :func:`to_order` takes.
        order_id: Instead of a hook, which attribute is the order's id; the rest is found by
            its usual names.

    Raises:
        ConfigurationError: If it is not one of `hook` and `order_id`.
    """
    if hook is not None and order_id is None:
        _to_order.register(kind, partial(_by_hook, hook))
    elif hook is None and order_id is not None:
        _to_order.register(kind, partial(_read_order, id_name=order_id))
    else:
        raise ConfigurationError(
            "register_order: expected a hook or order_id=, one of them, "
            f"got {'neither' if hook is None else 'both'}"
        )


def to_item(source: object) -> object:
    """Take an order's line as the shop has it; what has nothing of one is left as it is."""
    if type(source) is not dict and isinstance(source, (OrderItem, str, bytes)):
        return source
    values, plan = _items.read(source)
    if plan.nested:
        values[0] = _product_id(source, plan, values[0])
    return _item(*values) if plan.steps or plan.nested else source


@singledispatch
def _to_order(source: object) -> Order:
    return source if isinstance(source, Order) else _read_order(source)


def _by_hook(hook: Callable[[Any], object], source: object) -> Order:
    return to_order(hook(source))


def _read_order(source: object, *, id_name: str | None = None) -> Order:
    values, plan = _orders.read(source)
    if not plan.steps or isinstance(source, type):
        expected = "an Order, a mapping or an object with an order's attributes, or register_order"
        got = describe(source)
        if isinstance(source, Mapping):
            got += " with none of them, such as id, number, total and currency"
        raise InvalidEventError([FieldError("$", expected, got)])
    if id_name is not None:
        values[0] = parse_id(_value_of(source, id_name))
    elif plan.id_candidates:
        values[0] = choose_id(source, partial(_value_of, source), plan.id_candidates)
    for index, default, names, convert in plan.fallbacks:
        if values[index] is default:
            values[index] = _first_value(source, names, convert, default)
    if plan.nested and (values[_EMAIL] is None or values[_PHONE] is None):
        _fill_contact(source, values, plan.nested)
    return _order(*values)


@attrs.frozen
class FieldPlan:
    """What a source of one shape has: which of its names fills which place, and people.

    Rivals are its names for an order's id, where it has several; fallbacks are its further names
    for another field, which are asked if the first has no value.
    """

    steps: tuple[tuple[int, str, type, _Convert], ...]
    nested: tuple[str, ...]
    id_candidates: tuple[str, ...]
    fallbacks: tuple[tuple[int, object, tuple[str, ...], _Convert], ...]


@attrs.frozen
class OrderReader:
    """How to read one class from sources of many shapes; each shape is worked out once.

    Attributes:
        names: What a source may call each field.
        ready: Which class of value a field takes as it is, and how it takes another.
        defaults: What a field is if the source has no name for it.
        nested: Where else a source may keep values.
        plans: The shapes met so far.
    """

    names: Mapping[str, tuple[str, ...]]
    ready: Mapping[str, tuple[type, _Convert]]
    defaults: Sequence[object]
    nested: tuple[str, ...] = ()
    plans: dict[object, FieldPlan] = attrs.field(factory=dict)

    def read(self, source: object) -> tuple[list[Any], FieldPlan]:
        """Read the values that `source` has, in the order of the class's fields."""
        if type(source) is dict:
            return self._read_dict(source)
        if isinstance(source, Mapping):
            shape, get = tuple(source), source.__getitem__
        else:
            shape = (type(source), *getattr(source, "__dict__", ()))
            get = partial(_attribute, source)
        plan = self.plans.get(shape) or self._plan(shape, source)
        values = [*self.defaults]
        for index, name, ready, convert in plan.steps:
            value = get(name)
            if type(value) is ready:
                values[index] = value
            elif value is not None:
                values[index] = convert(value)
        return values, plan

    def _read_dict(self, source: dict[Any, Any]) -> tuple[list[Any], FieldPlan]:
        """Read a plain dictionary, as most are: without a call for each of its values."""
        shape = tuple(source)
        plan = self.plans.get(shape) or self._plan(shape, source)
        values = [*self.defaults]
        for index, name, ready, convert in plan.steps:
            value = source[name]
            if type(value) is ready:
                values[index] = value
            elif value is not None:
                values[index] = convert(value)
        return values, plan

    def _plan(self, shape: object, source: object) -> FieldPlan:
        has = source.__contains__ if isinstance(source, Mapping) else partial(hasattr, source)
        steps, fallbacks = [], []
        for index, (field, names) in enumerate(self.names.items()):
            first, *others = tuple(filter(has, names)) or (None,)
            ready, convert = self.ready.get(field, _UNCHANGED)
            if first is not None:
                steps.append((index, first, ready, convert))
            if others and index > 0:  # an id has id_candidates instead
                fallbacks.append((index, self.defaults[index], tuple(others), convert))
        if len(self.plans) >= _MAX_PLANS:
            self.plans.clear()
        id_candidates = names_of(has) if "order_id" in self.names else ()
        nested = tuple(filter(has, self.nested))
        plan = FieldPlan(
            tuple(steps), nested, id_candidates if id_candidates[1:] else (), tuple(fallbacks)
        )
        return self.plans.setdefault(shape, plan)


def _attribute(source: object, name: str) -> object:
    value = getattr(source, name, None)
    return value() if isinstance(value, MethodType) else value


def _first_value(
    source: object, names: Sequence[str], convert: _Convert, default: object
) -> object:
    for name in names:
        value = _value_of(source, name)
        if value is not None:
            return convert(value)
    return default


def _fill_contact(source: object, values: list[Any], people: Sequence[str]) -> None:
    """Fill in the e-mail address and phone number from the first person who has them."""
    for name in people:
        person = _member(source, name)
        if person is not None and not isinstance(person, str):
            (email, phone), _ = _people.read(person)
            values[_EMAIL] = values[_EMAIL] or email
            values[_PHONE] = values[_PHONE] or phone


def _product_id(source: object, plan: FieldPlan, own: object) -> object:
    """Prefer the id of an item's product to that of the line, which no catalogue has."""
    if own is not None and plan.steps[0][1] != _LINE_ID:
        return own
    for name in plan.nested:
        product = _member(source, name)
        if isinstance(product, (str, int)):
            own = parse_id(product) if own is None else own
        elif product is not None:
            return _items.read(product)[0][0] or own
    return own


def _member(source: object, name: str) -> object:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _value_of(source: object, name: str) -> object:
    return source.get(name) if isinstance(source, Mapping) else _attribute(source, name)


def _parse_quantity(value: object) -> object:
    """Read a whole number that a shop keeps as text, as a float or as a Decimal."""
    if type(value) is int:
        return value
    number = parse_amount(value)
    if isinstance(number, Decimal) and number.is_finite() and number == number.to_integral_value():
        return int(number)
    return value


def _parse_currency(value: object) -> object:
    return value if isinstance(value, str) else getattr(value, "code", value)


class _Raw:
    """No value is of this class, so none is taken as it is."""


def _identity(value: object) -> object:
    return value


def parse_items(value: object) -> object:
    """Read the lines of a list, of a generator, or of a manager of related objects.

    Returns:
        A tuple, which is empty for ``None``; what is none of them is left as it is.
    """
    if type(value) is list:
        return tuple(map(to_item, value))
    if value is None:
        return ()
    if hasattr(value, "all"):
        value = value.all()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return value
    return tuple(map(to_item, value))


_UNCHANGED: Final = (str, _identity)
_EMAIL: Final = list(ORDER_NAMES).index("email")
_PHONE: Final = list(ORDER_NAMES).index("phone")

_orders: Final = OrderReader(
    ORDER_NAMES,
    {
        "order_id": (str, parse_id),
        "total": (Decimal, parse_amount),
        "currency": (str, _parse_currency),
        "items": (_Raw, parse_items),
        "created_at": (datetime, parse_time),
    },
    (None, None, None, (), *[None] * 9, EMPTY),
    CONTACT_FIELDS,
)
_items: Final = OrderReader(
    ITEM_NAMES,
    {
        "id": (str, parse_id),
        "quantity": (int, _parse_quantity),
        "price": (Decimal, parse_amount),
    },
    (None, 1, None, None, None),
    PRODUCT_FIELDS,
)
_people: Final = OrderReader(
    {name: ORDER_NAMES[name] for name in ("email", "phone")}, {}, (None, None)
)

converter.register_structure_hook(Order, lambda source, _: to_order(source))
