"""Order, OrderItem and to_order, which reads any order by its field names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone, tzinfo
from decimal import Decimal
from functools import cache, singledispatch
from itertools import islice
from operator import attrgetter, is_
from typing import Any, Final, NoReturn
from uuid import UUID

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.events.builder import tame
from adcp_tracker.events.event import converter
from adcp_tracker.events.model import EMPTY, UniversalId
from adcp_tracker.events.parsing import (
    CENTS,
    is_absent,
    known_floats,
    parse_amount,
    parse_brand,
    parse_country,
    parse_created_at,
    parse_currency,
    parse_id,
    parse_ip,
    parse_price,
    parse_product_id,
    parse_quantity,
    parse_time,
    parse_total,
    present,
    unbox,
)
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.orders._shapes import (
    TEXT,
    Convert,
    FieldPlan,
    Get,
    camel,
    get_attribute,
    getter,
    has_attribute,
    is_loaded,
    log_failure,
    may_query,
    plan_fields,
    shape_of,
    spelled,
    unfold,
)
from adcp_tracker.orders.names import (
    CLIENT_FIELDS,
    CLIENT_NAMES,
    CONTACT_FIELDS,
    CONTACT_NAMES,
    ITEM_NAMES,
    ORDER_NAMES,
    PRIMARY_KEY,
    PRODUCT_FIELDS,
    SHOPIFY_ID_NAMES,
    SHOPIFY_KEY,
    UNSURE_ID,
    canonical,
    reject_foreign_payload,
)

MAX_LINES: Final = 10_000
"""Lines that are read of an order. No event could hold more."""


class TooManyLines:
    """Stands for the lines of an order that has more than :data:`MAX_LINES`."""


_SHOPIFY_GID: Final = "gid://shopify/Order/"
_MAX_PLANS: Final = 256
_UTC: Final = timezone.utc
_LINE_ID: Final = "id"
_PART_OF_A_LINE: Final = "parent_item_id"

Trace = dict[str, str]
"""Which name each field was read from, for :func:`.explain`."""


@attrs.frozen
class OrderItem:
    """One line of an order.

    Attributes:
        id: The item's id in the catalogue, such as its SKU.
        quantity: How many of it; ``None`` if that isn't known.
        price: Per unit, exact; it may have more decimals than the currency.
        brand: The item's brand.
        name: The item's name; sent as a custom key.
    """

    id: str
    quantity: int | None = 1
    price: Decimal | int | None = None
    brand: str | None = None
    name: str | None = None


@attrs.frozen
class Order:
    """An order. Only the id is required; the more fields it has, the better it's matched.

    Attributes:
        order_id: Its id, the same whenever the order is tracked.
        total: The amount paid, exact. Left out, it is the sum of the items
            if the price of each is known.
        currency: An ISO 4217 code.
        items: Its lines; ``None`` if it has none.
        email: The shopper's e-mail address, raw or as its SHA-256.
        phone: The shopper's phone number, raw or as its SHA-256.
        created_at: When it was placed, with the UTC offset; left out, now.
        client_ip: The shopper's IP address when it was placed.
        client_user_agent: The shopper's browser when it was placed.
        event_source_url: The page it was placed on.
        click_id: The click that brought the shopper.
        click_id_type: Which kind of click id.
        uids: Universal ids of the shopper.
        custom: Custom keys for the event's custom data.
        country: The ISO 3166 code of the shopper's country, in which a phone number without
            a country code is read.
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
    country: str | None = None


_values_of: Final = attrgetter(*(field.name for field in attrs.fields(Order)))


def to_order(source: object) -> Order:
    """Read an order as the shop has it.

    Args:
        source: An :class:`Order`; a mapping or an object with attributes by the names
            in :data:`.ORDER_NAMES`, with items by those in :data:`.ITEM_NAMES`;
            or an object of a class given to :func:`.register_order`.

    Returns:
        The order. Its values are converted where nothing is lost by it, but not validated.

    Raises:
        InvalidEventError: If `source` has none of an order's fields, or is a webhook's
            envelope, or counts in minor units.
    """
    values = order_values(source)
    # The values of an Order are a tuple if none of them had to be converted.
    return source if type(values) is tuple and isinstance(source, Order) else make_order(values)


def order_values(source: object) -> Sequence[Any]:
    """Read the values of an :class:`Order`, in the order of its fields, without making one.

    Args:
        source: What :func:`to_order` takes.

    Returns:
        The values. In the tuple of items, a line that could be read is a list of the values
        of an :class:`OrderItem`, or is one.

    Raises:
        InvalidEventError: As :func:`to_order`.
    """
    return _read_dictionary(source) if type(source) is dict else dispatch_order(source)


def _read_dictionary(source: dict[Any, Any]) -> list[Any]:
    """Read a dictionary in one pass if none of its values depends on another."""
    plan, values = _orders.read_dict(source)
    order_id, total, currency, ip = values[0], values[_TOTAL], values[_CURRENCY], values[_CLIENT_IP]
    if (
        plan.is_plain
        and type(total) is Decimal
        and type(currency) is str
        and currency in CENTS
        and values[_CREATED_AT] is None
        and (ip is None or (type(ip) is str and ":" not in ip))
        and type(order_id) is str
        and not order_id.startswith(_SHOPIFY_GID)
    ):
        return values
    return _completed(source, values, plan, source.get)


@singledispatch
def dispatch_order(source: object) -> Sequence[Any]:
    """Read the values of an order of a class that isn't registered."""
    return converted_values(_values_of(source)) if isinstance(source, Order) else read_order(source)


def quick_values(source: object) -> Sequence[Any]:
    """Read the values of an order; those of an :class:`Order` aren't converted.

    Most need no conversion. One that does fails the check of its field, and the event is made
    once more, of :func:`converted_values`.
    """
    kind = type(source)
    if kind is dict:
        return _read_dictionary(source)  # type: ignore[arg-type]  # as its type says
    if kind is not Order:
        return dispatch_order(source)
    values: tuple[Any, ...] = _values_of(source)
    return values if values[COUNTRY] is None else converted_values(values)


def converted_values(values: Sequence[Any]) -> Sequence[Any]:
    """Convert the values of an :class:`Order` like those of a mapping.

    Returns:
        The same sequence if none has to be converted.
    """
    converted: list[Any] = [
        None if value is None else _convert(index, field, value)
        for index, (field, value) in enumerate(zip(ORDER_NAMES, values, strict=True))
    ]
    if type(converted[_TOTAL]) is tuple and converted[_TOTAL] is not values[_TOTAL]:
        converted[_TOTAL], own = converted[_TOTAL]
        converted[_CURRENCY] = parse_currency(own) or converted[_CURRENCY]
    if converted[_TOTAL] is None and not converted[ITEMS] and _is_nan(values[_TOTAL]):
        converted[_TOTAL] = values[_TOTAL]
    return values if all(map(is_, values, converted)) else converted


def _is_nan(total: object) -> bool:
    return type(total) in {float, Decimal} and is_absent(total)


def _convert(index: int, field: str, value: object) -> Any:  # noqa: ANN401 - of the field's type
    """Convert a field of an :class:`Order`. Return the value itself if nothing changes."""
    _, convert = _orders.conversions.get(field, TEXT)
    converted: Any = convert(value)
    if converted is None:
        return _orders.defaults[index]
    if type(converted) is tuple and type(value) in {tuple, list} and index == ITEMS:
        lines: Any = value
        same = all(map(is_, lines, converted))
        return value if same else converted
    return converted


@attrs.frozen
class OrderDefaults:
    """What a shop's settings say of orders that don't say it themselves.

    Attributes:
        currency: The currency of orders without one.
        zone: The time zone of naive times.
    """

    currency: str | None = None
    zone: tzinfo | None = None

    def fill(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return an order's values with its missing currency and UTC offset filled in."""
        filled = [*(converted_values(values) if type(values) is tuple else values)]
        time = filled[_CREATED_AT]
        if filled[_CURRENCY] is None:
            filled[_CURRENCY] = self.currency
        if self.zone is not None and isinstance(time, datetime) and time.tzinfo is None:
            filled[_CREATED_AT] = time.replace(tzinfo=self.zone)
        return filled


def order_defaults(currency: str | None, zone: str | None) -> OrderDefaults | None:
    """Return the defaults of a tracker's settings; ``None`` if there are none."""
    if currency is None and zone is None:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - for those who set it

    return OrderDefaults(currency, None if zone is None else ZoneInfo(zone))


def make_order(values: Sequence[Any]) -> Order:
    """Make an order of its values."""
    lines: Any = values[ITEMS]
    if type(lines) is tuple:
        lines = tuple(OrderItem(*line) if type(line) is list else line for line in lines)
    fields = [*values]
    fields[ITEMS] = lines
    return Order(*fields)


def read_order(
    source: object, trace: Trace | None = None, given: Mapping[str, object] | None = None
) -> list[Any]:
    """Read the values of an order by the names in :data:`.ORDER_NAMES`.

    Args:
        source: A mapping or an object.
        trace: Where to note which name each field was read from.
        given: Values found otherwise. They are converted, and their names aren't looked up.

    Raises:
        InvalidEventError: If it has none of an order's fields.
    """
    source = unfold(source)
    plan = _orders.plan_for(source)
    get = getter(source, plan)
    values = _orders.read_with(plan, get, trace, given or {})
    return _completed(source, values, plan, get, trace, given or {})


def _completed(  # noqa: PLR0913, PLR0917 - what is known of an order while it is read
    source: object,
    values: list[Any],
    plan: FieldPlan,
    get: Get,
    trace: Trace | None = None,
    given: Mapping[str, object] = EMPTY,
) -> list[Any]:
    """Choose the id among several, and fill in what depends on several fields."""
    if (not plan.steps and not given) or isinstance(source, type):
        _reject(source)
    if plan.id_names and "order_id" not in given:
        values[0] = choose_id(source, get, plan, trace)
    _finish_order(source, values, plan, get, trace)
    return values


def _reject(source: object) -> NoReturn:
    expected = (
        "an Order, a mapping or an object with an order's attributes, or a class given to "
        "register_order"
    )
    got = describe(source)
    if isinstance(source, Mapping):
        got += " with none of them, such as id, number, total and currency"
        if isinstance(source.get("order"), Mapping):
            got += "; pass what is under its key 'order'"
    raise InvalidEventError([FieldError("$", expected, got)])


def choose_id(source: object, get: Get, plan: FieldPlan, trace: Trace | None = None) -> object:
    """Return the id of an order that has several names for it.

    Args:
        source: The order.
        get: Returns the value of a name.
        plan: The order's names for it, the best first; one without a value is skipped.
        trace: Where to note the chosen name.
    """
    last: object = None
    names = plan.id_names
    if plan.open and get(SHOPIFY_KEY) is not None:
        names = spelled(SHOPIFY_ID_NAMES, None)
    for name, usual in names:
        value = get(name)
        if is_absent(value):
            continue
        value = unbox(value)
        if isinstance(value, (str, int, UUID)) and not isinstance(value, bool):
            if usual == UNSURE_ID and type(value) is int and not is_absent(get(PRIMARY_KEY)):
                _warn_of_number_as_id(f"{type(source).__module__}.{type(source).__qualname__}")
            named = parse_id(value)
            if named is None:
                continue
            if trace is not None:
                trace["order_id"] = name
            return named
        last = value if last is None else last
    return parse_id(last)


@cache
def _warn_of_number_as_id(kind: str) -> None:
    logger.warning(
        "order.id_is_number",
        kind=kind,
        remedy="register_order(kind, order_id='id') if number counts anything but orders, "
        "and order_id='number' if it does not",
    )


@attrs.frozen
class OrderReader:
    """Reads one class from sources of many shapes; each shape is planned once.

    A shape is what decides which names a source has: a mapping's keys, or an object's class
    and its own attributes. The values of one source never decide for another.

    Attributes:
        names: What a source may call each field.
        conversions: Which type of value a field takes unchanged, and how it converts others.
        defaults: The values of fields that the source doesn't have.
        related: Names of related objects that may hold further fields.
        plans: The shapes seen so far.
    """

    names: Mapping[str, tuple[str, ...]]
    conversions: Mapping[str, tuple[type, Convert]]
    defaults: Sequence[object]
    related: tuple[str, ...] = ()
    plans: dict[object, FieldPlan] = attrs.field(factory=dict)

    def read(self, source: object, trace: Trace | None = None) -> tuple[FieldPlan, list[Any]]:
        """Read the values of `source`, in the order of the class's fields."""
        if type(source) is dict and trace is None:
            return self.read_dict(source)
        source = unfold(source)
        plan = self.plan_for(source)
        return plan, self.read_with(plan, getter(source, plan), trace, {})

    def read_dict(self, source: dict[Any, Any]) -> tuple[FieldPlan, list[Any]]:
        """Read a dictionary, as most are, without a call for each of its values."""
        plan = self.plans.get(tuple(source)) or self.plan_for(source)
        values: list[Any] = [*self.defaults]
        value: Any
        for index, name, convert, later in plan.texts:
            value = source[name]
            if type(value) is not str or not value or value.isspace():
                value = None if value is None else convert(value)
                if value is None:
                    value = _first_value(source, later, convert, values[index])
            values[index] = value
        for index, name, ready, convert, later in plan.others:
            value = source[name]
            kind = type(value)
            if kind is ready and (kind is not Decimal or not value.is_nan()):
                values[index] = value
            elif kind is float and ready is Decimal and value in known_floats:
                values[index] = known_floats[value]
            elif value is not None and (value := convert(value)) is not None:
                values[index] = value
            elif later:
                values[index] = _first_value(source, later, convert, values[index])
        first = values[0]
        if type(first) is str and (not first.isprintable() or first.strip() is not first):
            return plan, self.read_with(plan, source.get, None, {})  # an id to be cleaned
        return plan, values

    def read_with(
        self, plan: FieldPlan, get: Get, trace: Trace | None, given: Mapping[str, object]
    ) -> list[Any]:
        """Read the values of any source, beside those that are given."""
        values = [*self.defaults]
        fields = tuple(self.names)
        for index, names, _, convert in plan.steps:
            if fields[index] in given:
                continue
            for name in names:
                value = get(name)
                if value is not None and (value := convert(value)) is not None:
                    values[index] = value
                    if trace is not None:
                        trace[fields[index]] = name
                    break
        for field, value in given.items():
            _, convert = self.conversions.get(field, TEXT)
            if value is not None and (value := convert(value)) is not None:
                values[fields.index(field)] = value
        return values

    def plan_for(self, source: object) -> FieldPlan:
        """Return the plan for a source of this shape."""
        shape, available = shape_of(source)
        plan = self.plans.get(shape)
        if plan is None:
            if len(self.plans) >= _MAX_PLANS:
                self.plans.clear()
            made = plan_fields(self.names, self.conversions, self.related, available)
            plan = self.plans.setdefault(shape, made)
        return plan


def _first_value(
    source: Mapping[Any, object], names: tuple[str, ...], convert: Convert, default: object
) -> object:
    for name in names:
        value = source[name]
        if value is not None and (value := convert(value)) is not None:
            return value
    return default


def _finish_order(
    source: object, values: list[Any], plan: FieldPlan, get: Get, trace: Trace | None
) -> None:
    """Fill in what depends on several fields of an order."""
    if plan.foreign and isinstance(source, dict):
        reject_foreign_payload(source)
    order_id, created_at = values[0], values[_CREATED_AT]
    if type(order_id) is str and order_id.startswith(_SHOPIFY_GID):
        values[0] = order_id.removeprefix(_SHOPIFY_GID)
    currency = values[_CURRENCY]
    is_usual = type(currency) is str and currency in CENTS
    if type(values[_TOTAL]) is not Decimal or not is_usual:
        _finish_money(values, plan, get, trace)
    if isinstance(created_at, datetime) and created_at.tzinfo is None:
        values[_CREATED_AT] = _aware_time(plan, get, created_at, trace)
    client_ip = values[_CLIENT_IP]
    if type(client_ip) is str and ":" in client_ip:
        values[_CLIENT_IP] = parse_ip(client_ip)
    if plan.related:
        _fill_contact(source, values, plan.related, trace)
        if values[_CLIENT_IP] is None or values[_USER_AGENT] is None:
            _fill_client(source, values, plan.related, trace)


def _finish_money(values: list[Any], plan: FieldPlan, get: Get, trace: Trace | None) -> None:
    """Take a total's own currency, and a currency in capital letters."""
    if type(values[_TOTAL]) is tuple:
        values[_TOTAL], own = values[_TOTAL]
        own = parse_currency(own)
        if own is not None:
            values[_CURRENCY] = own
            if trace is not None:
                trace["currency"] = f"{trace.get('total', 'total')}.currency"
    elif values[_TOTAL] is None and not values[ITEMS]:
        values[_TOTAL] = _not_a_number(plan, get)
    if values[_CURRENCY] is not None:
        values[_CURRENCY] = parse_currency(values[_CURRENCY])


def _not_a_number(plan: FieldPlan, get: Get) -> object:
    """Return a total that is NaN and no null: the shop's sum went wrong, so it's an error."""
    for name in plan.names_of(_TOTAL):
        value = get(name)
        if type(value) in {float, Decimal}:
            return parse_amount(value)
    return None


def _aware_time(plan: FieldPlan, get: Get, naive: object, trace: Trace | None) -> object:
    """Prefer a time with an offset, or one whose name says that it is UTC, to a naive one."""
    for name in plan.names_of(_CREATED_AT):
        value = parse_time(get(name))
        if not isinstance(value, datetime):
            continue
        if value.tzinfo is None and canonical(name).endswith(("_gmt", "_utc")):
            value = value.replace(tzinfo=_UTC)
        if value.tzinfo is not None:
            if trace is not None:
                trace["created_at"] = name
            return value
    return naive


def _fill_contact(
    source: object, values: list[Any], related: Sequence[str], trace: Trace | None
) -> None:
    """Fill in the e-mail address and phone number from the first person who has them.

    People who would have to be loaded are asked only if the order and those who are loaded
    have neither, and only until one is found.
    """
    if values[_EMAIL] is not None and values[_PHONE] is not None and values[COUNTRY] is not None:
        return
    people = [name for name in related if name not in _CLIENT_KEYS]
    unloaded = []
    for name in people:
        if is_loaded(source, name):
            _ask_person(source, name, values, trace)
        else:
            unloaded.append(name)
    if unloaded and may_query():
        for name in unloaded:
            if values[_EMAIL] is None and values[_PHONE] is None:
                _ask_person(source, name, values, trace)


def _ask_person(source: object, name: str, values: list[Any], trace: Trace | None) -> None:
    person = _related_object(source, name)
    if person is None:
        return
    found: Trace | None = None if trace is None else {}
    _, (email, phone, country) = _contacts.read(person, found)
    # A person's country is that of their phone number.
    own_country = values[COUNTRY] is None or (values[_PHONE] is None and phone is not None)
    for index, value in ((_EMAIL, email), (_PHONE, phone), (COUNTRY, country)):
        wanted = own_country if index == COUNTRY else values[index] is None
        if wanted and value is not None:
            values[index] = value
            if trace is not None and found is not None:
                field = _FIELDS[index]
                trace[field] = f"{name}.{found[field]}"


def _fill_client(
    source: object, values: list[Any], related: Sequence[str], trace: Trace | None
) -> None:
    """Fill in the IP address and user agent from where Shopify keeps them."""
    for name in related:
        if name not in _CLIENT_KEYS or not is_loaded(source, name):
            continue
        client = _related_object(source, name)
        found = () if client is None else _clients.read(client)[1]
        for index, value in zip((_CLIENT_IP, _USER_AGENT), found, strict=False):
            if values[index] is None and value is not None:
                values[index] = value
                if trace is not None:
                    trace[_FIELDS[index]] = name


def to_item(source: object) -> object:
    """Read a line of an order. Return it unchanged if it has no known field."""
    values = read_item(source)
    return OrderItem(*values) if type(values) is list else values


def read_item(
    source: object, trace: Trace | None = None, given: Mapping[str, object] | None = None
) -> object:
    """Read the values of a line of an order.

    Args:
        source: A mapping or an object.
        trace: Where to note which name each field was read from.
        given: Values found otherwise.

    Returns:
        A list of the values of an :class:`OrderItem`; `source` if it has none of them.
    """
    if type(source) is dict and trace is None and given is None:
        plan, values = _items.read_dict(source)
        if plan.related:
            values[0] = _product_id(source, plan, values[0])
        elif not plan.steps:
            return source
    elif isinstance(source, OrderItem):
        return _converted_item(source)
    elif isinstance(source, (str, bytes)):
        return source
    else:
        # A list stands for a line that was read, so a shop's own list mustn't stay one.
        source = tuple(source) if type(source) is list else source
        plan, values = _read_any_item(source, trace, given or {})
        if not (plan.steps or plan.related or given):
            return source
    if values[1] is None and not plan.unsure:
        values[1] = 1
    return values


def _read_any_item(
    source: object, trace: Trace | None, given: Mapping[str, object]
) -> tuple[FieldPlan, list[Any]]:
    source = unfold(source)
    plan = _items.plan_for(source)
    values = _items.read_with(plan, getter(source, plan), trace, given)
    if plan.related and "id" not in given:
        values[0] = _product_id(source, plan, values[0])
    return plan, values


def _converted_item(item: OrderItem) -> OrderItem:
    """Return a line, its number of pieces and price converted like those of a mapping."""
    quantity: Any = parse_quantity(item.quantity)
    price: Any = parse_price(item.price)
    if quantity is item.quantity and price is item.price:
        return item
    return attrs.evolve(item, quantity=quantity, price=price)


def _product_id(source: object, plan: FieldPlan, own: object) -> object:
    """Prefer the id of an item's product to that of the line, which no catalogue has."""
    if own is not None and not _is_from_line(source, plan):
        return own
    for name in plan.related:
        product = _member(source, name) if is_loaded(source, name) else None
        if isinstance(product, (str, int)):
            own = parse_id(product) if own is None else own
        elif not is_absent(product):
            return _items.read(product)[1][0] or own
    return own


def _is_from_line(source: object, plan: FieldPlan) -> bool:
    """Return whether a line's id is the key of the line itself."""
    names = plan.steps[0][1]
    if names[-1] != _LINE_ID:
        return False
    return all(parse_product_id(_member(source, name)) is None for name in names[:-1])


def _member(source: object, name: str) -> object:
    return source.get(name) if isinstance(source, dict) else get_attribute(source, name)


def _related_object(source: object, name: str) -> object:
    """Return an object that a source refers to; ``None`` if there is only its key, or nothing."""
    found = _member(source, name)
    return None if is_absent(found) or isinstance(found, (str, int)) else found


def parse_items(  # noqa: PLR0911 - a line a kind
    value: object, read: Callable[[object], object] = read_item
) -> object:
    """Read the lines of a list, a generator, or a manager of related objects.

    Args:
        value: The lines.
        read: Reads one line.

    Returns:
        A tuple of what `read` returns; it is empty for ``None``. :class:`TooManyLines` if
        there are more than :data:`MAX_LINES`. The value, see :func:`.tame`, if it doesn't hold
        lines.
    """
    if type(value) is list:
        if len(value) > MAX_LINES:
            return TooManyLines()
        return tuple(map(read, _whole_lines(value)))
    if is_absent(value):
        return ()
    if isinstance(value, Mapping):
        lines = _lines_of_mapping(value)
        return value if lines is None else parse_items(lines, read)
    if has_attribute(value, "all"):
        value = _fetched(value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return tame(value)
    try:
        lines = list(islice(value, MAX_LINES + 1))
    except Exception as error:  # noqa: BLE001 - the shop's own generator or query
        reraise_interruption(error)
        log_failure(value, "__iter__", error)
        return ()
    return parse_items(lines, read)


def _parse_lines(value: object) -> object:
    """Return an order's lines; ``None`` if there are none, so that a later name is asked."""
    if type(value) is list and len(value) <= MAX_LINES:
        lines: object = tuple(map(_read_line, _whole_lines(value)))
    else:
        lines = parse_items(value)
    return None if type(lines) is tuple and not lines else lines


def _read_line(line: object) -> object:
    if type(line) is dict:
        plan, values = _items.read_dict(line)
        if plan.is_plain:
            if values[1] is None and not plan.unsure:
                values[1] = 1
            return values
    return read_item(line)


def _whole_lines(lines: list[Any]) -> Iterable[object]:
    """Leave out the parts of bundles and configurable products, as Magento lists them."""
    first = lines[0] if lines else None
    if type(first) is dict and _PART_OF_A_LINE in first:
        return [line for line in lines if is_absent(_member(unfold(line), _PART_OF_A_LINE))]
    return lines


def _lines_of_mapping(value: Mapping[Any, Any]) -> object:
    """Return the lines that a mapping holds; ``None`` if it is a line itself.

    That is a GraphQL connection, PrestaShop's associations, a PHP array written as an object,
    or BigCommerce's link to the lines, which holds none.
    """
    if _LINK_KEYS.issuperset(islice(value, len(_LINK_KEYS) + 1)):
        return ()
    for name in ("nodes", "order_rows", "order_row"):
        lines = value.get(name)
        if isinstance(lines, (list, tuple, Mapping)):
            return lines
    if isinstance(value.get("edges"), list):
        edges = value["edges"][: MAX_LINES + 1]
        return [edge.get("node") for edge in edges if isinstance(edge, Mapping)]
    keys = list(islice(value, MAX_LINES + 1))
    if keys and all(str(key).isdecimal() for key in keys):
        return [value[key] for key in keys]
    return None


def _fetched(manager: Any) -> object:  # noqa: ANN401 - an ORM's own
    """Return the rows of a manager; in a coroutine only those that are fetched already."""
    rows = get_attribute(manager, "all")
    if not may_query() and getattr(rows, "_result_cache", ()) is None:
        return ()
    if hasattr(rows, "_result_cache"):
        return rows[: MAX_LINES + 1]
    return rows


class _Raw:
    """No value has this type, so each one is converted."""


_LINK_KEYS: Final = frozenset({"url", "resource", "href"})
_CLIENT_KEYS: Final = frozenset({*CLIENT_FIELDS, *map(camel, CLIENT_FIELDS)})
_FIELDS: Final = list(ORDER_NAMES)
_TOTAL: Final = _FIELDS.index("total")
_CURRENCY: Final = _FIELDS.index("currency")
ITEMS: Final = _FIELDS.index("items")
_EMAIL: Final = _FIELDS.index("email")
_PHONE: Final = _FIELDS.index("phone")
_CREATED_AT: Final = _FIELDS.index("created_at")
_CLIENT_IP: Final = _FIELDS.index("client_ip")
_USER_AGENT: Final = _FIELDS.index("client_user_agent")
COUNTRY: Final = _FIELDS.index("country")

_orders: Final = OrderReader(
    ORDER_NAMES,
    {
        "order_id": (str, parse_id),
        "total": (Decimal, parse_total),
        "currency": (str, parse_currency),
        "items": (_Raw, _parse_lines),
        "phone": (str, present),
        "created_at": (datetime, parse_created_at),
        "client_ip": (str, parse_ip),
        "uids": (_Raw, present),
        "custom": (_Raw, present),
        "country": (_Raw, parse_country),
    },
    (None, None, None, (), *[None] * 9, EMPTY, None),
    (*CONTACT_FIELDS, *CLIENT_FIELDS),
)
_items: Final = OrderReader(
    ITEM_NAMES,
    {
        "id": (str, parse_product_id),
        "quantity": (int, parse_quantity),
        "price": (Decimal, parse_price),
        "brand": (str, parse_brand),
    },
    [None] * 5,
    PRODUCT_FIELDS,
)
_contacts: Final = OrderReader(
    CONTACT_NAMES,
    {"phone": (str, present), "country": (_Raw, parse_country)},
    [None] * 3,
)
_clients: Final = OrderReader(CLIENT_NAMES, {"client_ip": (str, parse_ip)}, [None] * 2)

converter.register_structure_hook(Order, lambda source, _: to_order(source))
