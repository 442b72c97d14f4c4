"""``tracker.dead_letters``: list, replay, correct and discard rejected events."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from adcp_tracker.delivery import commands
from adcp_tracker.events.codec import converter, encode
from adcp_tracker.events.event import Event
from adcp_tracker.events.money import parse_amount
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Mapping

    from adcp_tracker.delivery.commands import ReplayResult
    from adcp_tracker.delivery.pipeline import Pipeline
    from adcp_tracker.outbox.dead_letters import DeadLetter


_AMOUNTS = frozenset({"value", "price"})


class DeadLetterApi:
    """List, replay, correct and discard dead letters. Found as ``tracker.dead_letters``.

    Args:
        pipeline: Runs the commands where the queue is uploaded.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def list(self) -> builtins.list[DeadLetter]:
        """Return every dead letter, oldest first."""
        return [*self._pipeline.store.open().dead_letters]

    def replay(
        self,
        ids: Collection[str],
        timeout: float = 10.0,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> ReplayResult:
        """Send dead letters again.

        Args:
            ids: Their ids.
            timeout: How long to wait for another process to hand over, in seconds.
            on_progress: Called in another thread with how many are written, and how many
                there are.

        Raises:
            TimeoutError: If another process did not hand over in time.
            OSError: If the disk does not take them; then they stay where they are.
        """
        journal = self._pipeline.journal
        return self._pipeline.run(
            lambda leader: commands.replay(leader, journal, ids, on_progress=on_progress), timeout
        )

    def correct(
        self, letter_id: str, event: Mapping[str, object] | bytes | str, timeout: float = 10.0
    ) -> ReplayResult:
        """Send a corrected event in place of the one in a dead letter.

        Dead letters of other destinations with the same event are corrected, too.

        Args:
            letter_id: The id of the dead letter.
            event: The whole event, as a mapping or as JSON. Amounts may be strings, as dead
                letters keep them.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            InvalidEventError: If the event is invalid; it lists every error.
            TimeoutError: If another process did not hand over in time.
            OSError: If the disk does not take it; then the dead letters stay.
        """
        wire = _parse_json(event) if isinstance(event, (bytes, str)) else event
        body = encode(converter.structure(_with_amounts(wire), Event))
        letters = self.list()
        places = {(each.segment, each.offset) for each in letters if each.id == letter_id}
        ids = {each.id for each in letters if (each.segment, each.offset) in places}
        ids = ids or {letter_id}
        journal = self._pipeline.journal
        return self._pipeline.run(
            lambda leader: commands.replay(leader, journal, ids, body), timeout
        )

    def discard(self, ids: Collection[str], timeout: float = 10.0) -> int:
        """Give dead letters up for good, and return how many there were.

        Args:
            ids: Their ids.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If another process did not hand over in time.
        """
        return self._pipeline.run(lambda leader: commands.discard(leader, ids), timeout)


def _parse_json(text: bytes | str) -> object:
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise InvalidEventError(
            [FieldError("$", "a JSON object", "text that is no JSON")]
        ) from None


def _with_amounts(value: object) -> object:
    """Return decoded JSON with amounts that are strings as numbers."""
    if isinstance(value, dict):
        return {
            key: parse_amount(inner)
            if key in _AMOUNTS and isinstance(inner, str)
            else _with_amounts(inner)
            for key, inner in value.items()
        }
    return [_with_amounts(each) for each in value] if isinstance(value, list) else value
