"""Which of an order's names is its id, where it has several.

A shop that keeps orders in a database has two names for one: the key of its row, and the
number that the shopper is shown. Payment providers, e-mails and exports know the number alone,
and an event that one of them leads to must be the event that the order itself leads to. So the
number goes before the row's key, wherever it is sure to be one:

- ``order_id`` is said outright.
- ``order_number`` and ``increment_id`` are nothing else, and ``number`` is one if it is text,
  as with Oscar, Saleor and WooCommerce. A ``number`` that is a number may count anything,
  tickets or tables; were it taken for an id, most of the orders would pass for repetitions.
- Shopify's own refunds, transactions and pixels name an order by its ``id``, so there it wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

ORDER_ID_NAMES: Final = ("order_id", "order_number", "increment_id", "number", "id")
"""What shops call an order's id, the first of them that is there wins."""

_UNSURE: Final = "number"
_SHOPIFY: Final = "admin_graphql_api_id"
_SHOPIFY_NAMES: Final = ("order_id", "id", "order_number", "number")


def names_of(has: Callable[[str], bool]) -> tuple[str, ...]:
    """Return which names an order has, the best first.

    Args:
        has: Whether the order has a name.
    """
    return tuple(filter(has, _SHOPIFY_NAMES if has(_SHOPIFY) else ORDER_ID_NAMES))


def choose_id(get: Callable[[str], object], names: tuple[str, ...]) -> object:
    """Return the id of an order that has several names for it.

    Args:
        get: Gives the value of a name.
        names: The order's names, the best first; one without a value is passed over.
    """
    last: object = None
    for name in names:
        value = get(name)
        if value is None or (type(value) is str and not value):
            continue
        if name != _UNSURE or isinstance(value, (str, UUID)):
            return read_id(value)
        last = value
    return read_id(last)


def read_id(value: object) -> object:
    """Make text of a key as databases have them; anything else is left to be judged."""
    if type(value) is int or isinstance(value, UUID):
        return str(value)
    return value
