"""Importing a file: what is recorded, what is rejected, what is remembered."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import EventSource, Interchange, Tracker
from adcp_tracker.exceptions import ConfigurationError, QueueFullError
from adcp_tracker.importing import Import, ImportOptions, import_file
from adcp_tracker.importing.run import progress_folder
from tests.importing.killed import EVERY_BAD, prove
from tests.support.importing import HEADER, ids, recorded, sale, tracker_of, write
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.events.event import Event
    from adcp_tracker.sandbox import Sandbox


class Killed(BaseException):
    """Stands for the end of the process."""


def _killed_after(directory: Path, rows: int) -> Tracker:
    """Return a tracker that ends in the instant in which its n-th event is on disk.

    The import hasn't accounted for that event then.
    """
    written = 0

    def write_and_end(write: Callable[[], None]) -> bool:
        nonlocal written
        write()
        written += 1
        if written == rows:
            raise Killed
        return True

    return tracker_of(directory, on_commit=write_and_end)


def _interrupt(file: Path, directory: Path, rows: int) -> None:
    tracker = _killed_after(directory, rows)
    with pytest.raises(Killed):
        import_file(tracker, file)
    tracker.stop()


def test_each_row_becomes_an_event_or_is_rejected(tmp_path: Path) -> None:
    """Rejected rows are in a file of their owner's, and not among the dead letters."""
    file = write(tmp_path / "till.csv", sale(1), sale(2, "n/a"), sale(3))
    with tracker_of(tmp_path / "queue") as tracker:
        report = import_file(tracker, file)
        assert not tracker.dead_letters.list()

    assert (report.rows, report.events, report.rejected) == (3, 2, 1)
    assert ids(tmp_path / "queue") == ["S-1", "S-3"]
    assert {event["action_source"] for event in recorded(tmp_path / "queue")} == {"in_store"}
    errors = tmp_path / "till.rejected.csv"
    assert report.errors == str(errors)
    assert stat.S_IMODE(errors.stat().st_mode) == 0o600
    header, row = errors.read_text().splitlines()
    assert header == f"adcp_row,adcp_reasons,{HEADER}"
    assert row.startswith('3,"total: expected a number >= 0')
    assert row.endswith(sale(2, "n/a"))


def test_corrected_rows_are_imported_from_the_file_of_errors(tmp_path: Path) -> None:
    """The columns in front of them are ignored."""
    file = write(tmp_path / "till.csv", sale(1, "n/a"))
    with tracker_of(tmp_path / "queue") as tracker:
        import_file(tracker, file, errors=tmp_path / "bad.csv")
        corrected = (tmp_path / "bad.csv").read_text().replace("n/a", "7.00")
        (tmp_path / "bad.csv").write_text(corrected)
        report = import_file(tracker, tmp_path / "bad.csv")

    assert (report.events, report.rejected) == (1, 0)
    assert ids(tmp_path / "queue") == ["S-1"]


def test_no_reason_shows_what_the_row_has(tmp_path: Path) -> None:
    """Neither the report nor the log repeats personal data."""
    secret = "Alice Secret"
    file = write(tmp_path / "till.csv", f"{secret},{secret},{secret},{secret},{secret}")
    with tracker_of(tmp_path / "queue") as tracker:
        report = import_file(tracker, file)

    assert report.rejected == 1
    assert secret not in json.dumps(report.as_json())


def test_an_imported_file_is_not_imported_again(tmp_path: Path) -> None:
    """Whatever its name is by now; unless that is wanted, and under the same ids then."""
    file = write(tmp_path / "till.csv", sale(1))
    with tracker_of(tmp_path / "queue") as tracker:
        assert not import_file(tracker, file).repeated
        copy = file.rename(tmp_path / "copy.csv")
        again = import_file(tracker, copy)
        assert (again.repeated, again.events) == (True, 1)
        assert ids(tmp_path / "queue") == ["S-1"]

        assert import_file(tracker, copy, again=True).events == 1
        assert ids(tmp_path / "queue") == ["S-1", "S-1"]


def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Every good row is recorded, every bad row is in the file of errors once."""
    rows = [sale(n, "n/a" if n % 3 == 0 else "1.00") for n in range(10)]
    file = write(tmp_path / "till.csv", *rows)
    _interrupt(file, tmp_path / "queue", 4)
    with (tmp_path / "till.rejected.csv").open("a") as errors:
        errors.write("half a row that nobody accoun")

    with tracker_of(tmp_path / "queue") as tracker:
        report = import_file(tracker, file)

    assert report.resumed_after == 6
    assert (report.rows, report.events, report.rejected) == (10, 6, 4)
    good = [f"S-{n}" for n in range(10) if n % 3]
    # The one event that was on disk and not accounted for is there twice, under one id.
    assert sorted(ids(tmp_path / "queue"), key=str) == sorted([*good, "S-5"])
    lines = (tmp_path / "till.rejected.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["adcp_row", "2", "5", "8", "11"]


def test_a_file_that_was_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """Nobody could say which of its rows were imported; it can be imported from the start."""
    file = write(tmp_path / "till.csv", sale(1), sale(2))
    _interrupt(file, tmp_path / "queue", 2)
    write(file, sale(3), sale(4))

    with tracker_of(tmp_path / "queue") as tracker:
        with pytest.raises(ConfigurationError, match="was changed since its import was interr"):
            import_file(tracker, file)
        assert import_file(tracker, file, again=True).events == 2


def test_other_options_do_not_finish_an_interrupted_import(tmp_path: Path) -> None:
    """Half of a file as purchases and half of it as leads is what nobody wants."""
    file = write(tmp_path / "till.csv", sale(1), sale(2))
    _interrupt(file, tmp_path / "queue", 2)

    with tracker_of(tmp_path / "queue") as tracker:
        with pytest.raises(ConfigurationError, match="had other options"):
            import_file(tracker, file, ImportOptions(event_type="lead"))
        assert import_file(tracker, file).resumed_after == 2


def test_one_process_at_a_time_imports_a_file(tmp_path: Path) -> None:
    """The other one is told so."""
    file = write(tmp_path / "till.csv", sale(1))
    with tracker_of(tmp_path / "queue") as tracker:
        import_file(tracker, file)
        (progress,) = (tmp_path / "queue" / "imports").iterdir()
        with progress.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(ConfigurationError, match="another process imports"):
                import_file(tracker, file)


def test_damaged_progress_is_said(tmp_path: Path) -> None:
    """The file can be imported from its first row."""
    file = write(tmp_path / "till.csv", sale(1))
    with tracker_of(tmp_path / "queue") as tracker:
        import_file(tracker, file)
        (progress,) = (tmp_path / "queue" / "imports").iterdir()
        progress.write_bytes(b"{" * 100)

        with pytest.raises(ConfigurationError, match="use --again"):
            import_file(tracker, file)
        assert import_file(tracker, file, again=True).events == 1


def test_no_file_of_errors_is_overwritten(tmp_path: Path) -> None:
    """It could hold the rows of another import that nobody has corrected yet."""
    file = write(tmp_path / "till.csv", sale(1, "n/a"))
    (tmp_path / "bad.csv").write_text("precious")
    with (
        tracker_of(tmp_path / "queue") as tracker,
        pytest.raises(ConfigurationError, match="exists"),
    ):
        import_file(tracker, file, errors=tmp_path / "bad.csv")

    assert (tmp_path / "bad.csv").read_text() == "precious"


def test_a_tracker_that_could_drop_events_is_refused(tmp_path: Path) -> None:
    """An import waits for room instead."""
    file = write(tmp_path / "till.csv", sale(1))
    with (
        Tracker(directory=tmp_path / "queue") as tracker,
        pytest.raises(ConfigurationError, match="when_full='raise'"),
    ):
        import_file(tracker, file)


def test_a_full_queue_is_waited_for(tmp_path: Path, seller: Sandbox) -> None:
    """Nothing is dropped: events are delivered until there is room."""
    rows = 400
    file = write(tmp_path / "till.csv", *[sale(n) for n in range(rows)])
    with Tracker(
        [_interchange(seller)],
        directory=tmp_path / "queue",
        when_full="raise",
        max_bytes=64 * 1024,
        flush_interval=0.05,
    ) as tracker:
        report = import_file(tracker, file)
        left = tracker.flush(60).pending

    assert (report.events, left) == (rows, 0)
    assert {event["event_id"] for event in seller.events} == {f"S-{n}" for n in range(rows)}


def _interchange(seller: Sandbox) -> Interchange:
    return Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )


def test_a_queue_that_nobody_empties_ends_the_import(tmp_path: Path) -> None:
    """After a while; it goes on once there is room."""
    file = write(tmp_path / "till.csv", *[sale(n) for n in range(400)])
    with (
        tracker_of(tmp_path / "queue", max_bytes=32 * 1024) as tracker,
        pytest.raises(QueueFullError),
    ):
        Import.open(file).run(tracker, patience=0.2)
    before = len(ids(tmp_path / "queue"))

    with tracker_of(tmp_path / "queue") as tracker:
        report = import_file(tracker, file)

    assert 0 < before < 400
    assert report.events == 400
    assert ids(tmp_path / "queue") == [f"S-{n}" for n in range(400)]


def test_what_no_event_source_accepts_is_rejected(tmp_path: Path, seller: Sandbox) -> None:
    """Before it is sent, as far as the event source's rules are known."""
    file = write(tmp_path / "till.csv", sale(1), sale(2).replace("EUR", "USD"))
    source = EventSource(event_source_id=SOURCE, name="Till", value_currencies=("EUR",))
    with Tracker(
        [_interchange(seller)],
        directory=tmp_path / "queue",
        when_full="raise",
        event_sources=[source],
    ) as tracker:
        report = import_file(tracker, file)
        tracker.stop()

    assert (report.events, report.rejected) == (1, 1)
    assert "isn't registered for values in USD" in report.reasons[3]


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    """No queue, no progress; only the rejected rows, if that is wanted."""
    file = write(tmp_path / "till.csv", sale(1), sale(2, "n/a"))

    report = Import.open(file).dry_run(errors=tmp_path / "bad.csv")

    assert (report.events, report.rejected, len(report.first)) == (1, 1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "till.csv"]


def test_json_rows_are_rejected_as_json(tmp_path: Path) -> None:
    """Also a line that isn't JSON; corrected in place, both are imported."""
    file = tmp_path / "till.ndjson"
    row = {"id": "A-1", "total": "n/a", "currency": "EUR", "created_at": "2026-11-27T10:00:00Z"}
    cut = json.dumps({**row, "id": "A-2", "total": 2})[:-1]
    file.write_text(json.dumps(row) + "\n" + cut + "\n")
    with tracker_of(tmp_path / "queue") as tracker:
        assert import_file(tracker, file).rejected == 2
        errors = tmp_path / "till.rejected.ndjson"
        first, second = map(json.loads, errors.read_text().splitlines())
        assert (first["adcp_row"], second["adcp_row"]) == (1, 2)
        first["total"] = 3
        second["adcp_line"] += "}"
        errors.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
        assert import_file(tracker, errors).events == 2

    assert ids(tmp_path / "queue") == ["A-1", "A-2"]


def test_progress_of_a_shared_queue_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue in a database has no directory; two of them don't share their progress."""
    pytest.importorskip("psycopg")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    places = {
        progress_folder(Tracker(queue=f"postgresql://user:secret@host/{name}"))
        for name in ("one", "two")
    }

    assert len(places) == 2
    assert all(place.is_relative_to(tmp_path / "adcp-tracker") for place in places)
    assert not any("secret" in str(place) for place in places)


def test_events_are_durable_before_they_are_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The progress never knows of more events than the journal has."""
    file = write(tmp_path / "till.csv", *[sale(n) for n in range(5)])
    seen: list[tuple[int, int]] = []
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        seen.append((len(recorded(tmp_path / "queue")), json.loads(data)["events"]))
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with tracker_of(tmp_path / "queue") as tracker:
        import_file(tracker, file)

    assert seen[:5] == [(n, n) for n in range(1, 6)]


def test_unidentified_events_are_counted(tmp_path: Path) -> None:
    """So are the fields that were left out."""
    row = sale(1).replace("shopper1@example.com", "nobody")
    file = write(tmp_path / "till.csv", row)
    with tracker_of(tmp_path / "queue") as tracker:
        report = import_file(tracker, file)

    assert (report.events, report.unidentified) == (1, 1)
    assert dict(report.omitted) == {"user_match.hashed_email invalid": 1}


def _rows(events: list[Event]) -> list[str]:
    return [event.event_id for event in events]


def test_the_first_events_of_a_dry_run_are_kept(tmp_path: Path) -> None:
    """Three of them, however many there are."""
    file = write(tmp_path / "till.csv", *[sale(n) for n in range(9)])

    assert _rows(Import.open(file).dry_run().first) == ["S-0", "S-1", "S-2"]


@pytest.mark.slow
def test_a_killed_program_sends_each_row_once(tmp_path: Path) -> None:
    """Killed twice by SIGKILL on its way, it sends every good row and keeps every bad one."""
    rows = 6_000
    proof = prove(tmp_path, rows, kills=2)

    assert [run.row for run in proof.runs][-1] == rows + 1
    assert (proof.missing, proof.wrong) == (0, 0)
    assert proof.twice <= 2
    assert proof.sent + proof.twice == rows - len(range(0, rows, EVERY_BAD))
    assert proof.rejected == list(range(0, rows, EVERY_BAD))
    assert proof.report["events"] == proof.sent + proof.twice
