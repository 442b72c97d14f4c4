"""What somebody who exports orders can do about each kind of fault."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from adcp_tracker.exceptions import Fault

_INDEX: Final = re.compile(r"\[\d+\]")
_NEGATIVE: Final = re.compile(r"-\d")
_NEGATIVE_REMEDY: Final = (
    "Money paid back is a refund: track it by track_refund, as a positive value."
)
_GENERAL_REMEDY: Final = "Mend the order where it comes from."
_REMEDIES: Final = {
    "$.event_id": "Give the order its number: it is what keeps it from counting twice.",
    "$.event_time": "Export the time with its offset from UTC, as in 2026-01-02 03:04:05 +0100.",
    "$.user_match.hashed_email": "Correct the address or leave it empty: a wrong one is nobody's.",
    "$.user_match.hashed_phone": (
        "Write the number with plus and country code, or give default_region and a whole number."
    ),
    "$.custom_data.value": (
        "Write a plain number, with a point and with no more decimals than the currency has."
    ),
    "$.custom_data.currency": "Write the currency's ISO 4217 code in capitals, such as EUR.",
    "$.custom_data.contents[].price": "Write the price of one item, and 0 or more.",
    "$.custom_data.contents[].quantity": "Write how many items as a whole number, and 1 or more.",
}


def remedy_for(fault: Fault) -> str:
    """Return what to do about a fault in an order."""
    if fault.path == "$.custom_data.value" and _NEGATIVE.match(fault.got):
        return _NEGATIVE_REMEDY
    return _REMEDIES.get(_INDEX.sub("[]", fault.path), _GENERAL_REMEDY)
