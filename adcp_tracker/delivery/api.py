"""``tracker.dead_letters``: list, replay, correct and discard rejected events."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.events.event import Event, converter
from adcp_tracker.events.parsing import parse_amount
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.journal._syscalls import FsyncError
from adcp_tracker.journal.records import ENVELOPED, with_envelope

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Mapping, Sequence

    from adcp_tracker.delivery.pipeline import Pipeline
    from adcp_tracker.delivery.uploader import Uploader
    from adcp_tracker.journal.buffer import Journal
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
        shards = self._pipeline.shards()
        return [letter for shard in shards for letter in shard.open().dead_letters]

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
        return _merge(
            self._pipeline.run_on_all(
                lambda leader: replay(leader, journal, ids, on_progress=on_progress), timeout
            )
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
        body = converter.structure(_with_amounts(wire), Event).json
        letters = self.list()
        places = {(each.segment, each.offset) for each in letters if each.id == letter_id}
        ids = {each.id for each in letters if (each.segment, each.offset) in places}
        ids = ids or {letter_id}
        journal = self._pipeline.journal
        return _merge(
            self._pipeline.run_on_all(lambda leader: replay(leader, journal, ids, body), timeout)
        )

    def discard(self, ids: Collection[str], timeout: float = 10.0) -> int:
        """Delete dead letters permanently, and return how many there were.

        Args:
            ids: Their ids.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If another process did not hand over in time.
        """
        return sum(self._pipeline.run_on_all(lambda leader: discard(leader, ids), timeout))


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


@attrs.frozen
class ReplayResult:
    """The result of a replay.

    Attributes:
        replayed: The ids of dead letters that will be sent again.
        refused: The ids of those that can't be sent as they are: the event is invalid, or the
            destination is no longer known.
        unknown: The ids that no dead letter has.
    """

    replayed: tuple[str, ...]
    refused: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.replayed)} on their way again"]
        if self.refused:
            parts.append(f"{len(self.refused)} cannot be sent as they are")
        if self.unknown:
            parts.append(f"{len(self.unknown)} not there any more")
        return f"Dead letters: {', '.join(parts)}."


def _merge(results: Sequence[ReplayResult]) -> ReplayResult:
    """Return the result of a replay in several queues; what one of them knows is known."""
    replayed = {each for result in results for each in result.replayed}
    refused = {each for result in results for each in result.refused} - replayed
    unknown = {each for result in results for each in result.unknown} - replayed - refused
    return ReplayResult(tuple(sorted(replayed)), tuple(sorted(refused)), tuple(sorted(unknown)))


def replay(
    uploader: Uploader,
    journal: Journal,
    ids: Collection[str],
    corrected: bytes | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ReplayResult:
    """Send dead letters again, each to its own destination.

    Args:
        uploader: The uploader.
        journal: Where their events are written.
        ids: The ids of the dead letters.
        corrected: An event to send instead of theirs.
        on_progress: Called with how many are written, and how many there are.

    Raises:
        OSError: If the disk does not take them all; those it did not take stay where they are.
    """
    letters = uploader.dead_letter_buffer.find(ids)
    if corrected is not None:
        letters = [attrs.evolve(each, event=corrected, replayable=True) for each in letters]
    found = {letter.id: letter for letter in letters}
    known = uploader.state.destinations
    again = [each for each in found.values() if each.replayable and each.destination in known]
    taken, trouble = _write_events(journal, again, on_progress)
    for letter in taken:
        counts = known[letter.destination].counts
        counts.accepted -= 1
        counts.dead -= 1
    uploader.dead_letter_buffer.mark_removed(taken)
    uploader.commit()
    if trouble is not None:
        raise trouble
    replayed = {letter.id for letter in taken}
    return ReplayResult(
        tuple(sorted(replayed)),
        tuple(sorted(found.keys() - replayed)),
        tuple(sorted(set(ids) - found.keys())),
    )


def discard(uploader: Uploader, ids: Collection[str]) -> int:
    """Delete dead letters without sending them.

    Returns:
        How many there were.
    """
    found = uploader.dead_letter_buffer.find(ids)
    for letter in found:
        state = uploader.state.destinations.get(letter.destination)
        if state is not None:
            state.counts.dead -= 1
            state.counts.dropped["operator"] += 1
    uploader.dead_letter_buffer.mark_removed(found)
    uploader.commit()
    return len(found)


def remove_destination(uploader: Uploader, destination: str) -> bool:
    """Remove a destination that is no longer configured, and its events.

    Returns:
        Whether it was known and is not in use.
    """
    if uploader.is_configured(destination) or destination not in uploader.state.destinations:
        return False
    uploader.remove_destination(destination)
    return True


def _write_events(
    journal: Journal,
    letters: list[DeadLetter],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[DeadLetter], OSError | None]:
    """Append letters as events; return those written, and the error if any."""
    for number, letter in enumerate(letters):
        body = with_envelope(_envelope(letter), letter.event)
        try:
            journal.append_record(body, int(letter.died_at * 1000), ENVELOPED)
        except FsyncError as error:  # it is in its segment, and goes from there
            return letters[: number + 1], error
        except OSError as error:
            return letters[:number], error
        if on_progress is not None:
            on_progress(number + 1, len(letters))
    return letters, None


def _envelope(letter: DeadLetter) -> dict[str, object]:
    envelope: dict[str, object] = {"only": letter.destination}
    if letter.test_event_code is not None:
        envelope["test"] = letter.test_event_code
    return envelope
