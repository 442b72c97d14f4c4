"""Why the library refuses events that the official schema would take: each reason, in writing.

The schema is the least a seller asks for. Where the library asks for more, it is because some
seller, the protocol's own prose, or a machine on the way would not take it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from adcp_tracker.exceptions import FieldError


@attrs.frozen
class Reason:
    """One rule that goes beyond the schema.

    Attributes:
        path: Which faults it is about, by a pattern of their paths.
        expected: And by a pattern of what they ask for.
        why: Why the library asks for it.
        example: What to change in a good event so that the rule is broken.
    """

    path: str
    expected: str
    why: str
    example: dict[str, object]

    def covers(self, fault: FieldError) -> bool:
        """Tell whether this is the reason of a fault."""
        return bool(
            re.fullmatch(self.path, fault.path) and re.fullmatch(self.expected, fault.expected)
        )


_INTERCHANGE = "The Interchange's own description of the call bounds its length."
_CONTROL = "Control characters end log lines and headers of whoever passes it on."

REASONS = (
    Reason(
        r"\$\.(event_id|custom_event_name)",
        r"a string (of 1–256|without control) characters",
        "Ids and names are logged and compared: control characters and empty ones go astray.",
        {"event_id": "o\n1"},
    ),
    Reason(
        r"\$\.custom_data\.(order_id|contents\[\d+\]\.id|content_ids\[\d+\])",
        r"a string (of 1–256|without control) characters",
        _INTERCHANGE + " " + _CONTROL,
        {"custom_data": {"order_id": "x" * 257}},
    ),
    Reason(
        r"\$\.custom_data\.contents\[\d+\]\.brand",
        r"a string of at most 256 characters",
        _INTERCHANGE,
        {"custom_data": {"contents": [{"id": "a", "brand": "x" * 257}]}},
    ),
    Reason(
        r"\$\.custom_data\.content_type",
        r"a string (of 1–128|without control) characters",
        _INTERCHANGE + " " + _CONTROL,
        {"custom_data": {"content_type": "x" * 129}},
    ),
    Reason(
        r"\$\.user_match\.(click_id|uids\[\d+\]\.value)",
        r"a string (of 1–512|without control) characters",
        _INTERCHANGE + " " + _CONTROL,
        {"user_match": {"click_id": "x" * 513}},
    ),
    Reason(
        r"\$\.user_match\.click_id_type",
        r"a string (of 1–64|without control) characters",
        _INTERCHANGE + " " + _CONTROL,
        {"user_match": {"click_id": "c", "click_id_type": "x" * 65}},
    ),
    Reason(
        r"\$\.user_match\.client_user_agent",
        r"a string of at most 512 characters",
        _INTERCHANGE,
        {"user_match": {"client_ip": "192.0.2.1", "client_user_agent": "x" * 513}},
    ),
    Reason(
        r"\$\.user_match\.client_ip",
        r"an IPv4 or IPv6 address",
        "What is no address matches nobody, and often is a header that an attacker wrote.",
        {"user_match": {"client_ip": "unknown", "client_user_agent": "curl"}},
    ),
    Reason(
        r"\$\.user_match",
        r"an identifier: .*",
        "An empty value passes the schema as an identifier, but identifies nobody.",
        {"user_match": {"client_ip": "192.0.2.1", "client_user_agent": ""}},
    ),
    Reason(
        r"\$\.surface\.(property_type|namespace|property_id)",
        r"a string (of 1–\d+|without control) characters",
        _CONTROL + " One of nothing but such characters names nothing.",
        {"surface": {"category": "app", "namespace": "a\tb"}},
    ),
    Reason(
        r"\$\.event_source_url",
        r'the page\'s URL, as action_source is "website"',
        "The protocol's prose asks for it, and the Interchange refuses the request without.",
        {"action_source": "website"},
    ),
    Reason(
        r"\$\.event_source_url",
        r"an absolute URI, percent-encoded",
        "An address without a host, or with one that no browser visits, is no page.",
        {"event_source_url": "https:///thanks"},
    ),
    Reason(
        r"\$\.custom_event_name",
        r'a name, as event_type is "custom"',
        "The Interchange refuses a custom event without a name, and no seller can use one.",
        {"event_type": "custom"},
    ),
    Reason(
        r"\$\.custom_data\.(value|progress_seconds|contents\[\d+\]\.price)",
        r"a number (below 2\^53|not finer than 10\^-20)",
        "From 2^53 on, most parsers change a number's last digits, and by RFC 8785, by which "
        "sellers compare requests, an integer of that size cannot be written at all.",
        {"custom_data": {"value": 9007199254740993.5}},
    ),
    Reason(
        r"\$\.custom_data\.progress_percent",
        r"a number not finer than 10\^-20",
        "Numbers finer than that are noise, and expand to hundreds of digits.",
        {"custom_data": {"progress_percent": 1e-30}},
    ),
    Reason(
        r"\$\.custom_data\.(num_items|contents\[\d+\]\.quantity)",
        r"an integer (≥ [01]|below 2\^53)",
        "JSON Schema counts 2.0 as an integer and knows no largest one; sellers' parsers differ.",
        {"custom_data": {"num_items": 2.0}},
    ),
    Reason(
        r"\$\.event_time",
        r"a datetime with its UTC offset|a UTC offset of whole minutes",
        "Leap seconds, picoseconds and years that no date type holds are times to some validators "
        "and none to sellers' programs.",
        {"event_time": "2026-01-02T03:04:05.1234567890Z"},
    ),
    Reason(
        r"\$(\..*)?",
        r"at most 16 levels of nesting",
        "Deeper extensions are refused or cut by sellers' parsers.",
        {"ext": {"a": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}},
    ),
    Reason(
        r"\$(\..*|\[.*)",
        r"a string, a finite number, true, false, a list or a mapping",
        "A null inside an extension is legal JSON, but nulls are invalid to sellers that read "
        "unknown keys as they read known ones; leave the key out. Integers of more than 64 bits "
        "are no id, and digits without end fill requests.",
        {"ext": {"a": {"b": None}}},
    ),
)
"""Everything the library asks for beyond the schema."""


def unexplained(faults: tuple[FieldError, ...]) -> list[FieldError]:
    """Return the faults that no reason covers."""
    return [fault for fault in faults if not any(reason.covers(fault) for reason in REASONS)]
