"""Taking over: what a new leader finds, and how it sets right what was left half done."""

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
    from collections.abc import Iterable

    from adcp_tracker.outbox.batcher import Batcher
    from adcp_tracker.outbox.dead_letters import DeadLetter
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
    if state.is_new:
        _recount_after_rebuild(state, queue)
    return state


def _open_patiently(queue: Queue, names: DestinationNames) -> State:
    """Open the state; try again before it is called damaged, as a disk may misread once."""
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


def _recount_after_rebuild(state: State, queue: Queue) -> None:
    """Take dead letters back into books that were begun anew.

    A letter whose event is still in a segment is decided again with it, unless nobody
    knows its destination.
    """
    letters, present = queue.dead_letters, queue.segments.sizes()
    letters.remove(
        {
            letter.id
            for letter in letters
            if letter.segment in present and letter.destination in state.destinations
        }
    )
    for letter in letters:
        if letter.destination in state.destinations:
            counts = state.destinations[letter.destination].counts
            counts.accepted += 1
            counts.dead += 1


def repair(state: State, segments: Segments, letters: DeadLetters, batcher: Batcher) -> None:
    """Set right what the last leader left between two writes."""
    _drop_missing_segments(state, segments.sizes(), batcher)
    _remove_undecided_letters(state, letters, segments)
    _recount_letters(state, letters)
    for destination in state.destinations.values():
        if destination.pause is not None:  # whoever restarted may have mended it
            destination.resume_at = 0.0
        destination.missing_keys = ""  # and given a key, or taken one away


def _drop_missing_segments(state: State, present: Iterable[str], batcher: Batcher) -> None:
    """Drop what is known of segments that are gone; batches go on with what is left of them."""
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
    """Go on with some of a batch's spans; other bytes, another identity."""
    rest = attrs.evolve(batch, spans=left, generation=batch.generation + 1)
    try:
        count = batcher.count(rest)
    except OSError:  # once it can be read, what is missing is counted as damaged
        count = batch.count
    gone = batch.count - count
    state.replace(batch, *([attrs.evolve(rest, count=count)] if count else []))
    state.destinations[batch.destination].counts.dropped["vanished"] += gone
    logger.warning("segment.vanished", destination=batch.destination, events=gone)


def _remove_undecided_letters(state: State, letters: DeadLetters, segments: Segments) -> None:
    """Remove dead letters that the state does not know of, as the last leader died before.

    Letters are written first, so that none is lost. Their events are still to be sealed, or in
    a delivery that was not settled: they go again, which decides.
    """
    if letters.is_empty():
        return
    present = segments.sizes().keys()
    letters.remove(
        {each.id for each in letters if each.segment in present and _is_undecided(each, state)}
    )


def _is_undecided(letter: DeadLetter, state: State) -> bool:
    """Say whether the event of a letter, whose segment is there, is still to be decided about."""
    destination = state.destinations.get(letter.destination)
    if destination is None:
        return False
    return letter.offset >= destination.cursors.get(letter.segment, 0) or any(
        span.segment == letter.segment and span.start <= letter.offset < span.stop
        for batch in state.batches[letter.destination]
        for span in batch.spans
    )


def _recount_letters(state: State, letters: DeadLetters) -> None:
    """Have the books count the letters there are.

    One that the last leader removed before it died was on its way again as a new record, or
    given up. One that it could not remove in time is there to be decided about again.
    """
    dead = any(destination.counts.dead for destination in state.destinations.values())
    if not dead and letters.is_empty():
        return
    there = Counter(letter.destination for letter in letters)
    for name, destination in state.destinations.items():
        gone = destination.counts.dead - there[name]
        destination.counts.accepted -= gone
        destination.counts.dead -= gone
