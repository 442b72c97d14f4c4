"""The few public names that are called in another way by older versions.

The corpus is recorded by one version of the library and replayed by others. Whatever a
version calls differently is bridged here, so that the rest of these tests stays as it is.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from adcp_tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from adcp_tracker import RequestContext


class StillClock:
    """A clock that stands still; for versions that take one."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        """Return the time of day."""
        return self._now

    def monotonic(self) -> float:
        """Return the same moment."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Let no time pass."""


def make_tracker(*arguments: Any, now: float | None = None, **settings: Any) -> Tracker:  # noqa: ANN401 - handed on
    """Make a tracker whose clock stands still, if it takes a clock."""
    taken = inspect.signature(Tracker).parameters
    for name in {"clock", "_clock"} & taken.keys() if now is not None else ():
        settings[name] = StillClock(now or 0.0)
    return Tracker(*arguments, **settings)


def _part(tracker: Tracker, old: str, part: str, new: str) -> Callable[..., Any]:
    """Return a method of a part of a tracker, or what it was called on the tracker itself."""
    found = getattr(tracker, part, None)
    method = getattr(found, new, None) if found is not None else None
    return method or getattr(tracker, old)  # type: ignore[no-any-return]


def capture(tracker: Tracker, context: RequestContext) -> str:
    """Return a context as a token."""
    return str(_part(tracker, "capture_context", "contexts", "capture")(context))


def remember(tracker: Tracker, order: object, context: RequestContext) -> None:
    """Keep a context for an order."""
    _part(tracker, "remember", "contexts", "remember")(order, context=context)


def letters(tracker: Tracker) -> list[Any]:
    """List a tracker's dead letters."""
    return list(_part(tracker, "dead_letters", "dead_letters", "list")())


def replay(tracker: Tracker, ids: Collection[str]) -> Any:  # noqa: ANN401 - another class in each version
    """Send dead letters again."""
    return _part(tracker, "replay", "dead_letters", "replay")(ids)


def paths(refused: object) -> list[str]:
    """Return which fields are at fault in a rejected event or in the error about one."""
    errors: tuple[Any, ...] = getattr(refused, "errors", ()) or getattr(refused, "faults", ())
    return sorted(each.path for each in errors)
