"""The conversion event, and the names of everything it is made of.

All the protocol's rules are checked once, for the whole event, when it is constructed.
An event that exists is valid and has its final JSON, so nothing behind it checks or
writes again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - cattrs resolves the fields' types
from datetime import datetime  # noqa: TC003 - cattrs resolves the fields' types

import attrs

from adcp_tracker.events.fast_path import write_sound
from adcp_tracker.events.model import (
    COMMON_ACTION_SOURCES,
    EMPTY,
    NEWER_EVENT_TYPES,
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.serialization import write
from adcp_tracker.events.validation import validate
from adcp_tracker.exceptions import InvalidEventError

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


@attrs.frozen(repr=False)
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
        json: Its final JSON, written as it was judged.

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

    json: bytes = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        line = write_sound(self)
        if line is None:
            if faults := validate(self):
                raise InvalidEventError(faults)
            line = write(self)
        _set(self, "json", line)

    @property
    def is_baseline(self) -> bool:
        """Tell whether the event uses nothing but what every kind and line of seller takes."""
        data, match = self.custom_data, self.user_match
        return (
            self.surface is None
            and self.event_type not in NEWER_EVENT_TYPES
            and self.action_source in COMMON_ACTION_SOURCES
            and (data is None or data.progress_percent is data.progress_seconds is None)
            and (match is None or match.uids is None or _knows_all(match.uids))
        )

    def __repr__(self) -> str:
        return f"Event(event_id={self.event_id!r}, event_type={EventType(self.event_type).value!r})"


def _knows_all(uids: Sequence[UniversalId]) -> bool:
    return all(uid.type != UidType.WORLD_ID_NULLIFIER for uid in uids)


_set = object.__setattr__
