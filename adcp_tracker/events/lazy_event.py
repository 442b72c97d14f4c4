"""An event that is known by its JSON, and reads its parts back when somebody asks for them.

Most callers track a purchase and look at nothing but its id. Five frozen objects that
nobody looks at cost more than a third of the whole call, so they are made on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from adcp_tracker.events.codec import decode
from adcp_tracker.events.event import Event

if TYPE_CHECKING:
    from typing_extensions import SupportsIndex


class WrittenEvent(Event):
    """A plain event of which only the id and the line are there, until it is looked at.

    The first look at anything else reads the line, and makes it an :class:`.Event`
    like any other. It is as frozen before that as after.
    """

    __slots__ = ()

    is_baseline = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - an event's own
        # Whoever makes one like another, with some fields changed, makes an ordinary event.
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "__class__", Event)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of any field
        """Read every field when the first one is missed."""
        if name not in _FIELDS:
            raise AttributeError(name, name=name, obj=self)
        return getattr(_unfolded(self), name)

    def __eq__(self, other: object) -> bool:
        return _unfolded(self) == other

    def __ne__(self, other: object) -> bool:
        return _unfolded(self) != other

    def __hash__(self) -> int:
        return hash(_unfolded(self))

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return _unfolded(self).__reduce_ex__(protocol)


class _Draft(WrittenEvent):
    """One that can be written, until it is whole."""

    __slots__ = ()

    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__  # Both, or the interpreter does not see either.


def written_event(event_id: str, line: bytes) -> Event:
    """Make an event of the line that was written of it, without reading that."""
    event = _new(_Draft)
    event.event_id = event_id  # type: ignore[misc]  # A draft can be written.
    event.json = line  # type: ignore[misc]  # As above.
    event.__class__ = WrittenEvent  # type: ignore[assignment]  # Of the same slots.
    return event


def _unfolded(event: Event) -> Event:
    """Set all fields of a written event, and make it an ordinary one."""
    whole = decode(event.json)
    for name in _FIELDS:
        object.__setattr__(event, name, getattr(whole, name))
    object.__setattr__(event, "__class__", Event)
    return event


_FIELDS: Final = frozenset(field.name for field in attrs.fields(Event))
_new: Final = object.__new__
