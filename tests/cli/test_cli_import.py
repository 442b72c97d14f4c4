"""``adcp-tracker import``: what it shows, asks, records and delivers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.events.hashing import hash_email
from tests.cli.program import pointing_at, run
from tests.support.importing import HEADER, ids, sale, write

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


@pytest.mark.slow
def test_a_file_is_delivered(tmp_path: Path, seller: Sandbox) -> None:
    """The plan comes first, then what became of the rows; again, nothing is done."""
    file, queue = write(tmp_path / "till.csv", sale(1), sale(2)), tmp_path / "queue"
    environment = pointing_at(seller, ADCP_DIRECTORY=str(queue))

    ended = run("import", file, "--yes", **environment)

    assert (ended.code, ended.err) == (0, "")
    plan, _, outcome = ended.out.partition("Events: purchase, action source: in_store.")
    assert "columns guessed from their names" in plan
    assert "a string of 20 characters" in plan
    assert "2 events recorded." in outcome
    assert {event["event_id"] for event in seller.events} == {"S-1", "S-2"}
    again = run("import", file, "--yes", **environment)
    assert again.code == 0
    assert "was imported on" in again.out
    assert seller.times_received("S-1") == 1


@pytest.mark.slow
def test_guessed_columns_need_an_answer(tmp_path: Path) -> None:
    """In a pipe, nobody can be asked, and nothing is recorded; given columns need none."""
    file, queue = write(tmp_path / "till.csv", sale(1)), tmp_path / "queue"

    asked = run("import", file, "--directory", queue)

    assert asked.code == 2
    assert "confirm with --yes" in asked.err
    assert not queue.exists()
    columns = [f"--map={name}={name}" for name in HEADER.split(",")]
    assert run("import", file, "--directory", queue, *columns).code == 0
    assert ids(queue) == ["S-1"]


def test_a_dry_run_shows_hashes_only(tmp_path: Path) -> None:
    """It needs no directory, counts everything, and exits with 1 if rows are rejected."""
    file = tmp_path / "till.csv"
    row = "S-1,1.00,EUR,alice@example.com,2026-11-27T10:00:00Z,93.184.216.34,gclid-secret"
    write(file, row, row.replace("1.00", "n/a"), header=f"{HEADER},client_ip,gclid")

    ended = run("import", file, "--dry-run")

    assert ended.code == 1
    assert hash_email("alice@example.com") in ended.out
    assert "1 event would be recorded." in ended.out
    assert "1 row rejected:" in ended.out
    for secret in ("alice", "93.184", "gclid-secret"):
        assert secret not in ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["till.csv"]


def test_rejected_rows_are_named_with_their_file(tmp_path: Path) -> None:
    """A script can tell by the exit code and by the JSON."""
    file = write(tmp_path / "till.csv", sale(1), sale(2, "n/a"))
    errors = tmp_path / "bad.csv"
    options: list[str | Path] = ["--yes", "--errors", errors, "--directory", tmp_path / "queue"]

    ended = run("import", file, *options, "--json")

    assert ended.code == 1
    assert ended.json["errors"] == str(errors)
    assert (ended.json["events"], ended.json["rejected"], ended.json["pending"]) == (1, 1, 0)
    assert list(ended.json["reasons"]) == ["3"]


def test_options_say_what_a_row_means(tmp_path: Path) -> None:
    """Columns, constants, filters, dates, amounts, zone, region and type, also from a file."""
    file = tmp_path / "anrufe.csv"
    file.write_bytes(
        "Nr;Wert;Tel;Zeit;Art\nL-1;1.234,50;0171 2345678;3/4/2026 10:00;Süd\n"
        "L-2;1,00;;3/4/2026 10:00;Nord\n".encode("latin-1")
    )
    (tmp_path / "calls.toml").write_text('dates = "dmy"\n[columns]\norder_id = "Nr"\n')
    options: list[str | Path] = [
        *("--mapping", tmp_path / "calls.toml", "--map", "total=Wert", "--map", "phone=Tel"),
        *("--map", "created_at=Zeit", "--set", "currency=EUR", "--where", "Art=Süd"),
        *("--encoding", "latin-1", "--decimal-comma", "--timezone", "Europe/Berlin"),
        *("--region", "DE", "--event-type", "lead", "--action-source", "phone_call"),
    ]

    ended = run("import", file, *options, "--dry-run", "--json")

    assert ended.code == 0, ended.err
    (event,) = ended.json["first"]
    assert (event["event_type"], event["event_id"]) == ("lead", "L-1")
    assert event["event_time"] == "2026-04-03T08:00:00Z"
    assert event["custom_data"] == {"value": 1234.5, "currency": "EUR"}
    assert "hashed_phone" in event["user_match"]
    assert event["action_source"] == "phone_call"
    assert list(ended.json["skipped"].values()) == [1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--map", "email"], "--map: expected NAME=VALUE"),
        (["--preset", "magento"], "preset: expected one of"),
        (["--map", "email=nowhere"], "email: expected a column 'nowhere'"),
        (["--encoding", "utf-9"], "encoding: expected"),
        (["--mapping", "missing.toml"], "missing.toml"),
    ],
)
def test_mistakes_end_before_anything_is_recorded(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    """In one line that says what to do."""
    file = write(tmp_path / "till.csv", sale(1))

    ended = run("import", file, *arguments, "--yes", "--directory", tmp_path / "queue")

    assert ended.code in {2, 3}
    assert says in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "queue").exists()


@pytest.mark.slow
def test_parquet_is_imported_as_well(tmp_path: Path) -> None:
    """Its name tells what it is."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = zip(HEADER.split(","), sale(1).split(","), strict=True)
    table = pa.table({name: [cell] for name, cell in cells})
    parquet.write_table(table, tmp_path / "t.parquet")

    ended = run("import", tmp_path / "t.parquet", "--yes", "--json", "-d", tmp_path / "queue")

    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["events"] == 1
    assert ids(tmp_path / "queue") == ["S-1"]
