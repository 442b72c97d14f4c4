"""The conversion event, and the names of everything it is made of.

All the protocol's rules are checked once, for the whole event, when it is constructed.
An event that exists is valid, so nothing behind it checks again.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - cattrs resolves the fields' types
from datetime import datetime  # noqa: TC003 - cattrs resolves the fields' types

import attrs

from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.faults import find_faults
from adcp_tracker.parts import EMPTY, Content, CustomData, Surface, UniversalId, UserMatch
from adcp_tracker.validation import is_plain, is_sound
from adcp_tracker.vocabulary import ActionSource, EventType, SurfaceCategory, UidType

__all__ = [
    "ActionSource",
    "Content",
    "CustomData",
    "Event",
    "EventType",
    "Surface",
    "SurfaceCategory",
    "UidType",
    "UniversalId",
    "UserMatch",
]


@attrs.frozen(slots=False, repr=False)
class Event:
    """A valid conversion event.

    Attributes:
        event_id: 1–256 characters; with type and event source, what sellers deduplicate by.
        event_type: What happened.
        event_time: When, with its UTC offset; the far future is allowed.
        user_match: Who the shopper is.
        custom_data: What it was about; ``watch_milestone`` needs its progress.
        action_source: Where it happened.
        event_source_url: The page's absolute URL, needed when it happened on a website.
        custom_event_name: Needed when the type is ``custom``.
        surface: Where it happened, in detail; not every seller takes it.
        ext: Extensions, each under its vendor's key.
        extra: Keys the protocol does not name.

    Raises:
        InvalidEventError: If a rule is broken; it lists every broken one.
    """

    event_id: str
    event_type: EventType
    event_time: datetime
    user_match: UserMatch | None = None
    custom_data: CustomData | None = None
    action_source: ActionSource | None = None
    event_source_url: str | None = None
    custom_event_name: str | None = None
    surface: Surface | None = None
    ext: Mapping[str, object] | None = attrs.field(default=None, hash=False)
    extra: Mapping[str, object] = attrs.field(default=EMPTY, hash=False)

    def __attrs_post_init__(self) -> None:
        if not is_sound(self) and (faults := find_faults(self)):
            raise InvalidEventError(faults)

    @property
    def plain(self) -> bool:
        """Say whether every kind and line of seller takes this event."""
        return is_plain(self)

    def __repr__(self) -> str:
        return f"Event(event_id={self.event_id!r}, event_type={self.event_type.value!r})"
