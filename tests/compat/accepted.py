"""Differences from the recorded corpus that are meant, by their reasons.

A change that makes inputs differ on purpose adds their names here, in the same commit, under
a reason that a user of the library would understand. The test names what differs.
"""

from __future__ import annotations

BY_REASON: dict[str, tuple[str, ...]] = {
    "a blank text of a shop's order is no value": (
        "purchase-0137",
        "purchase-0150",
        "purchase-0204",
        "purchase-0304",
        "purchase-0465",
        "purchase-0483",
        "purchase-0535",
        "refund-0158",
    ),
    "a shop's currency in lower case is read as its code": (
        "purchase-0165",
        "purchase-0350",
        "purchase-0537",
    ),
    "a shop's address with a port is read without it": (
        "purchase-0491",
        "purchase-0601",
    ),
    "a number of seconds since the epoch is read as a time": (
        "purchase-0044",
        "event-0260",
    ),
    "a phone number that begins with 00 and a country code is read as one with a plus": (
        "purchase-0039",
        "purchase-0041",
        "purchase-0061",
        "purchase-0216",
        "purchase-0319",
        "purchase-0338",
        "purchase-0411",
        "purchase-0415",
        "purchase-0516",
        "purchase-0556",
        "purchase-0568",
        "purchase-0639",
        "refund-0075",
        "refund-0147",
        "refund-0148",
        "refund-0188",
        "event-0001",
        "event-0018",
        "event-0101",
        "event-0175",
        "event-0215",
        "event-0283",
        "event-0299",
        "event-0334",
        "event-0343",
        "event-0389",
        "event-0530",
        "event-0533",
        "event-0580",
    ),
}
"""The names of items by why they differ."""

ACCEPTED = {name: reason for reason, names in BY_REASON.items() for name in names}
"""Why an item differs, by its name."""
