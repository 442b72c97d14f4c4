"""What came of erasing a person, and what is left to do for whoever asked for it."""

from __future__ import annotations

import attrs

_BY_HAND = (
    "Expire the click-id cookie when the person's browser next asks: Capture.forget_cookie.",
    "Remove the context tokens stored with the person's orders, and backups of the queue.",
    "Writes that a database transaction still holds are made when it commits: ask again then.",
)
_SENT = "Ask {} to delete what they were sent: {} events still on disk had been delivered."
_SENT_BEFORE = "Ask every seller to delete what was delivered before; the queue does not keep it."
_ON_WAY = "Ask again shortly: {} events were in a request just then, which nobody can call back."
_UNSEARCHED = "Ask again with the site's context_keys: {} remembered orders are signed by others."
_LOCKED = "Ask again with every key in encryption_keys: {} events are sealed with another one."
_TRACES = "See to {}: something of the person still stands there, as in somebody else's event."


@attrs.frozen
class Forgotten:
    """What was erased of a person, and what is left to do.

    Attributes:
        events: Events overwritten on disk, those delivered already included.
        undelivered: Deliveries that will not be made, one for each event and destination.
        sent: How many of these events each destination had been sent already.
        on_the_way: Events that were in a request at that moment.
        dead_letters: Dead letters erased.
        in_memory: Events erased from this process's memory, where they waited for the disk.
        remembered: Orders whose context was remembered, and others that had expired.
        unsearched: Orders whose context was signed with keys that this process does not know.
        unreadable: Pieces of damage and set-aside files that cannot be searched, and so
            were removed whole.
        locked: Events and dead letters that were sealed with a key that is not given.
        traces: Files in which something of the person is still found.
    """

    events: int = 0
    undelivered: int = 0
    sent: dict[str, int] = attrs.field(factory=dict)
    on_the_way: int = 0
    dead_letters: int = 0
    in_memory: int = 0
    remembered: int = 0
    unsearched: int = 0
    unreadable: int = 0
    locked: int = 0
    traces: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the person is left in the queue."""
        return not (self.on_the_way or self.unsearched or self.locked or self.traces)

    @property
    def left_to_do(self) -> tuple[str, ...]:
        """What only the site can do, in sentences for a person."""
        told = [_SENT_BEFORE, *_BY_HAND]
        if self.sent:
            told.insert(0, _SENT.format(", ".join(sorted(self.sent)), sum(self.sent.values())))
        if self.on_the_way:
            told.insert(0, _ON_WAY.format(self.on_the_way))
        if self.unsearched:
            told.insert(0, _UNSEARCHED.format(self.unsearched))
        if self.locked:
            told.insert(0, _LOCKED.format(self.locked))
        if self.traces:
            told.insert(0, _TRACES.format(", ".join(self.traces)))
        return tuple(told)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            **attrs.asdict(self),
            "traces": list(self.traces),
            "is_complete": self.is_complete,
            "left_to_do": list(self.left_to_do),
        }
