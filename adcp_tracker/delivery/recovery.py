"""What a new leader repairs."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._logging import logger
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.outbox.state import State
from adcp_tracker.outbox.storage import DamagedOutboxError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from adcp_tracker.outbox.batcher import Batcher
    from adcp_tracker.outbox.dead_letters import DeadLetterKey
    from adcp_tracker.outbox.state import FrozenBatch, Span
    from adcp_tracker.outbox.storage import DeadLetters, DestinationNames, Queue, Segments

_RETRY_SECONDS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


def open_state(queue: Queue, names: DestinationNames) -> State:
    """Open the state; if it is damaged, set it aside and begin a new one from the segments.

    Then every event still on disk is sent again under its own id, so nothing is lost and
    sellers count nothing twice.
    """
    queue.segments.remove_stale()
    names.remove_stale()
    names.add_own_synced()
    try:
        state = _open_patiently(queue, names)
    except DamagedOutboxError as error:
        aside = queue.quarantine_state()
        logger.error("outbox.rebuilt", error=str(error), set_aside=aside)
        state = _open(queue, names)
    names.add(state.destinations)
    return state


def _open_patiently(queue: Queue, names: DestinationNames) -> State:
    """Open the state, with retries: a disk may misread once."""
    for seconds in _RETRY_SECONDS:
        with suppress(DamagedOutboxError):
            return _open(queue, names)
        time.sleep(seconds)
    return _open(queue, names)


def _open(queue: Queue, names: DestinationNames) -> State:
    outbox = queue.open_outbox()
    try:
        return State(outbox, [*names.own, *names])
    except OutboxError:
        outbox.close()
        raise


def repair(
    state: State, segments: Segments, letters: DeadLetters, batcher: Batcher
) -> Counter[str]:
    """Repair what a crashed leader left half-written.

    Returns:
        How many bytes the dead letters of each destination take.
    """
    present = segments.sizes(is_complete=False)
    _drop_missing_segments(state, present, batcher)
    sizes = _settle_letters(state, letters, present)
    for destination in state.destinations.values():
        if destination.pause is not None:  # a restart may have fixed the cause
            destination.resume_at = 0.0
        destination.missing_keys = ""  # and given a key, or taken one away
    return sizes


def _drop_missing_segments(state: State, present: Iterable[str], batcher: Batcher) -> None:
    """Drop cursors and spans of segments that no longer exist."""
    names = set(present)
    for destination in state.destinations.values():
        for name in destination.cursors.keys() - names:
            del destination.cursors[name]
    for batches in list(state.batches.values()):
        for batch in list(batches):
            left = tuple(span for span in batch.spans if span.segment in names)
            if len(left) < len(batch.spans):
                _shorten(state, batch, left, batcher)


def _shorten(state: State, batch: FrozenBatch, left: tuple[Span, ...], batcher: Batcher) -> None:
    """Reduce a batch to some of its spans, under a new identity."""
    rest = attrs.evolve(batch, spans=left, generation=batch.generation + 1)
    try:
        count = batcher.count(rest)
    except OSError:  # once it can be read, what is missing is counted as damaged
        count = batch.count
    gone = batch.count - count
    state.replace(batch, *([attrs.evolve(rest, count=count)] if count else []))
    state.destinations[batch.destination].counts.dropped["vanished"] += gone
    logger.warning("segment.vanished", destination=batch.destination, events=gone)


def _settle_letters(state: State, letters: DeadLetters, present: Collection[str]) -> Counter[str]:
    """Make dead letters and counts agree after a crash, or in a state that was rebuilt.

    Letters are written before the state, so that none is lost. One that the state does not know
    of is removed if its event is still to be frozen or sent, which decides anew; otherwise it is
    counted. One that is gone was on its way again as a new record, or discarded; it is no longer
    counted.
    """
    there: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    undecided: set[str] = set()
    for key in () if letters.is_empty() else letters.keys():
        if key.segment in present and _is_undecided(key, state):
            undecided.add(key.id)
        else:
            there[key.destination] += 1
            sizes[key.destination] += key.size
    letters.remove(undecided)
    for name, destination in state.destinations.items():
        gone = destination.counts.dead - there[name]
        destination.counts.accepted -= gone
        destination.counts.dead -= gone
    return sizes


def _is_undecided(letter: DeadLetterKey, state: State) -> bool:
    """Return whether the event of a letter, whose segment is there, is still to be decided."""
    destination = state.destinations.get(letter.destination)
    if destination is None:
        return False
    return letter.offset >= destination.cursors.get(letter.segment, 0) or any(
        batch.holds(letter.segment, letter.offset) for batch in state.batches[letter.destination]
    )
