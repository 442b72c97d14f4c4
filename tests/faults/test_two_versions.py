"""Two versions of the library on one directory, as in the middle of a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, Rejected, Retry
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import ENVELOPED, encode_record, with_envelope
from adcp_tracker.outbox.directory import open_outbox
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Make

    Json = dict[str, object]

NOW_MS = 1_767_225_600_123


def _rewrite(directory: Path, change: Callable[[str, Json], Json]) -> None:
    """Write every row of the state as another version would have."""
    outbox = open_outbox(QueueDirectory(directory))
    rows = outbox.load()
    changed = {key: orjson.dumps(change(key, orjson.loads(row))) for key, row in rows.items()}
    outbox.apply(changed | {"schedule:scripted": b"of a newer version"}, ())
    outbox.close()


def _leave_a_batch(make: Make) -> list[str]:
    seller = ScriptedDestination()
    seller.always = lambda _: Retry("http_503", "busy")
    tracker = make(seller)
    ids = track(tracker, 5)
    wait_until(lambda: balanced(tracker).retrying)
    tracker.close(1.0)
    return ids


def test_what_a_newer_version_wrote_is_read_and_its_rows_are_kept(
    make: Make, tmp_path: Path
) -> None:
    """Fields nobody knows here are passed over, and rows of no known kind wait for its return."""
    ids = _leave_a_batch(make)
    _rewrite(tmp_path / "queue", lambda _, row: {**row, "priority": 3, "hints": {"a": [1]}})
    seller = ScriptedDestination()
    tracker = make(seller)
    tracker.flush(20.0)
    wait_until(lambda: seller.ids == ids)
    assert tracker.close(20.0).total().delivered == 5
    outbox = open_outbox(QueueDirectory(tmp_path / "queue"))
    assert outbox.load()["schedule:scripted"] == b"of a newer version"
    outbox.close()


def test_what_an_older_version_wrote_has_defaults(make: Make, tmp_path: Path) -> None:
    """A state with no more than the first version's fields is whole."""
    ids = _leave_a_batch(make)
    first = {"cursors", "next_number", "counts", "destination", "number", "spans", "count"}
    _rewrite(tmp_path / "queue", lambda _, row: {name: row[name] for name in first & row.keys()})
    seller = ScriptedDestination()
    tracker = make(seller)
    tracker.flush(20.0)
    assert seller.ids == ids
    assert balanced(tracker).delivered == 5


def test_records_of_a_newer_version_cost_nothing_but_themselves(make: Make, tmp_path: Path) -> None:
    """A kind of record nobody knows here is counted, and keys in an envelope are passed over."""
    writer = make(uploader="external")
    ids = track(writer, 2)
    writer.stop()
    (segment,) = (tmp_path / "queue" / "segments").glob("*.log")
    event = orjson.dumps({"event_id": "L-new", "event_type": "lead"})
    with segment.open("ab") as file:
        file.write(encode_record(b"something new", NOW_MS, b"N"))
        file.write(encode_record(with_envelope({"colour": "blue"}, event), NOW_MS, ENVELOPED))
    seller = ScriptedDestination()
    tracker = make(seller)
    tracker.flush(20.0)
    assert seller.ids == [*ids, "L-new"]
    assert balanced(tracker).dropped == {"unknown_kind": 1}


def test_dead_letters_of_another_version_are_kept_and_stop_nothing(
    make: Make, tmp_path: Path
) -> None:
    """Letters with other fields are passed over, and their file outlives the known letters."""

    def refuse(batch: Batch) -> Outcome:
        return Rejected(
            "BAD", "no", tuple(EventFailure("BAD", "no", index=0) for _ in batch.events)
        )

    seller = ScriptedDestination(outcomes=[refuse])
    tracker = make(seller)
    ids = track(tracker, 2)
    wait_until(lambda: balanced(tracker).dead == 1)
    (path,) = (tmp_path / "queue" / "dead").iterdir()
    strange = encode_record(
        with_envelope({"to": "scripted", "died": "today"}, b'{"a":1}'), NOW_MS, ENVELOPED
    )
    with path.open("ab") as file:
        file.write(strange)
    (letter,) = tracker.dead_letters.list()
    assert tracker.dead_letters.discard([letter.id]) == 1
    assert strange in path.read_bytes()
    more = track(tracker, 2, first=2)
    wait_until(lambda: seller.ids == [*ids[1:], *more])
    tracker.close(20.0)
    again = make(seller)
    track(again, 1, first=4)
    again.flush(20.0)
    assert "L-4" in seller.ids
    assert again.dead_letters.list() == []
