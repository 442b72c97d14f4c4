"""What an event needs of the protocol line its destination speaks.

Only new words in closed lists make an older seller refuse an event. New fields, such as
``surface`` or ``custom_data.progress_percent``, are legal extra keys on every line: an older
seller passes over them, so events that hold them go out as they are and nothing is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Line = Literal["3.0", "3.1", "3.2"]

LINES: tuple[Line, ...] = ("3.0", "3.1", "3.2")

EVENT_TYPES: Mapping[str, Line] = {
    "follow": "3.1",
    "content_view": "3.1",
    "watch_milestone": "3.1",
}
"""Event types that came after 3.0, and the line they came with."""

UID_TYPES: Mapping[str, Line] = {"world_id_nullifier": "3.1"}
"""Types of universal ids that came after 3.0, and the line they came with."""


def lacks(event: Mapping[str, object], line: str) -> tuple[str, Line] | None:
    """Return what `event` needs and `line` has not, and the line that has it.

    Args:
        event: The decoded event.
        line: The protocol line that is spoken.
    """
    for what, needed in _needs(event):
        if release(needed) > release(line):
            return what, needed
    return None


def release(line: str) -> tuple[int, int]:
    """Return a line as numbers that compare; ``(0, 0)`` for what is none."""
    major, _, minor = line.partition("-")[0].partition(".")
    # Two digits each are plenty, and keep hostile input from being converted at length.
    known = all(part.isascii() and part.isdigit() and len(part) <= 2 for part in (major, minor))  # noqa: PLR2004 - said above
    return (int(major), int(minor)) if known else (0, 0)


def spoken(own: Line, supported: Iterable[str]) -> str:
    """Return the line a seller will read a request of line `own` by.

    A seller that does not speak `own` goes down to its next older one.
    """
    lines = [line for line in supported if release(line) != (0, 0)]
    if not lines or own in lines:
        return own
    older = [line for line in lines if release(line) <= release(own)]
    return max(older, key=release, default=own)


def uid_types(event: Mapping[str, object]) -> Iterator[str]:
    """Return the types of the universal ids in `event`."""
    match = event.get("user_match")
    uids = match.get("uids") if isinstance(match, dict) else None
    for uid in uids if isinstance(uids, list) else []:
        kind = uid.get("type") if isinstance(uid, dict) else None
        if isinstance(kind, str):
            yield kind


def _needs(event: Mapping[str, object]) -> Iterator[tuple[str, Line]]:
    kind = event.get("event_type")
    if isinstance(kind, str) and kind in EVENT_TYPES:
        yield f"event type {kind!r}", EVENT_TYPES[kind]
    for uid_type in uid_types(event):
        if uid_type in UID_TYPES:
            yield f"universal id type {uid_type!r}", UID_TYPES[uid_type]
