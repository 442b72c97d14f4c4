"""Decide what of an event may be sent, by consent and by whether a robot made the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from adcp_tracker.context import Consent
from adcp_tracker.events.model import EventType

if TYPE_CHECKING:
    from adcp_tracker.context import Context
    from adcp_tracker.events.event import Event

OnDenied = Literal["drop", "strip"]
"""What happens to an event after a denied consent: drop it, or strip its identifiers."""

NO_CONSENT: Final = "consent"
"""The reason for dropping an event of a shopper who denied consent."""

IGNORED_FOR_BOTS: Final = frozenset(
    {
        EventType.PAGE_VIEW,
        EventType.VIEW_CONTENT,
        EventType.SELECT_CONTENT,
        EventType.SELECT_ITEM,
        EventType.SEARCH,
        EventType.VIEWED_CART,
        EventType.CONTENT_VIEW,
    }
)
"""Events of viewing a page. They mean nothing if a robot made the request."""


def drop_reason(event: Event, context: Context, on_denied: OnDenied) -> str | None:
    """Return why an event must not be sent, in one word; ``None`` if it may be."""
    if context.automated is not None and event.event_type in IGNORED_FOR_BOTS:
        return context.automated
    if context.consent is Consent.DENIED and on_denied == "drop":
        return NO_CONSENT
    return None


def strip_identifiers(event: Event, context: Context) -> Event:
    """Return an event without the shopper's identifiers if consent was denied.

    The page's query is removed, too: it may contain a click id.
    """
    if context.consent is not Consent.DENIED:
        return event
    url = event.event_source_url
    page = url and url.partition("?")[0]
    stripped = attrs.evolve(event, user_match=None, event_source_url=page)
    object.__setattr__(stripped, "omissions", event.omissions)
    return stripped
