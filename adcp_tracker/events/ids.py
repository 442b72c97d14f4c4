"""Stable event ids: the same business fact gets the same id, in every process and version.

Sellers deduplicate by event id, so an order tracked twice counts once.
"""

from __future__ import annotations

import os
from hashlib import blake2b

_DIGEST_BYTES = 16


def purchase_id(order_id: str) -> str:
    """Name the purchase of an order, which there is one of: by the order's own id."""
    return order_id


def refund_id(order_id: str, refund_id: str | None = None) -> str:
    """Name a refund of an order.

    Args:
        order_id: The refunded order.
        refund_id: Which refund of the order; ``None`` is the one full refund it can have.

    Returns:
        The order's id with the refund's, which may be longer than an event id can be;
        that is refused by the event rather than cut, as a cut id could be another's.
    """
    return f"{order_id}:refund" if refund_id is None else f"{order_id}:refund:{refund_id}"


def lead_id(lead_id: str) -> str:
    """Name a lead by its own id."""
    return lead_id


def digest_id(event_type: str, *parts: object) -> str:
    """Name an event by what makes it the same event, such as who did what on which day.

    Each part counts with its length, so ``("ab", "c")`` and ``("a", "bc")`` differ.

    Args:
        event_type: The event's type, which the id begins with.
        *parts: The business key; only its digest is in the id, 32 hex digits.
    """
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return f"{event_type}:{digest.hexdigest()}"


def random_id() -> str:
    """Name an event that nothing identifies; tracked twice, it counts twice."""
    return os.urandom(_DIGEST_BYTES).hex()
