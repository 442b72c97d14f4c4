"""Which of an order's names is its id, where it has several.

A shop that keeps orders in a database has two names for one: the key of its row, and the
number that the shopper is shown. Payment providers, e-mails and exports know the number alone,
and an event that one of them leads to must be the event that the order itself leads to. So the
number goes before the row's key.

It does so whatever its type: an order that was just placed may hold as an integer what its
column keeps as text, as Oscar's do, and one that is loaded later has to have the same id.
An integer ``number`` might also count something, tickets or tables, and then most orders would
pass for repetitions of others; so the log says once that it was taken.

Shopify's own refunds, transactions and pixels name an order by its ``id``, so there it wins.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adcp_tracker.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable

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
            return read_id(value)
        last = value if last is None else last
    return read_id(last)


def read_id(value: object) -> object:
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
