"""Reading the rows of files, whatever is in them, and writing back the rejected ones."""

from __future__ import annotations

import csv
import json
import os
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.importing.files import (
    REASONS,
    ROW,
    CsvSource,
    Row,
    Source,
    detect_encoding,
    open_source,
    value_at,
)


def _source(path: Path, content: bytes, **options: str) -> Source:
    path.write_bytes(content)
    return open_source(path, **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_headers(tmp_path: Path, delimiter: str) -> None:
    """Commas in quoted names and in later rows decide nothing."""
    header = delimiter.join(['"Name, first"', "total", "date"])
    content = f"{header}\n{delimiter.join(['a', '1', 'b'])}\n".encode()

    source = _source(tmp_path / "rows.csv", content)

    assert source.columns == ("Name, first", "total", "date")
    assert [row.raw for row in source.rows()] == [["a", "1", "b"]]


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-16-le", None),
        ("utf-16-be", None),
        ("utf-32", None),
        ("latin-1", "latin-1"),
        ("cp1252", "windows-1252"),
        ("utf-8-sig", "latin-1"),
    ],
)
def test_the_encoding_is_told_by_the_first_bytes(
    tmp_path: Path, encoding: str, named: str | None
) -> None:
    """A byte-order mark counts for more than what is given; UTF-16 is told without one."""
    content = "id,café\nA-1,Süd\n".encode(encoding)

    options = {} if named is None else {"encoding": named}
    (row,) = _source(tmp_path / "rows.csv", content, **options).rows()

    assert row.values == {"id": "A-1", "café": "Süd"}
    assert not row.problem


def test_an_unknown_encoding_is_refused() -> None:
    """Nor is one taken that doesn't encode text."""
    for name in ("latin-11", "hex", "undefined"):
        with pytest.raises(ConfigurationError, match="encoding: expected the name"):
            detect_encoding(b"a", name)


def test_bytes_of_another_encoding_are_a_problem_of_their_row_alone(tmp_path: Path) -> None:
    """The other rows are read, and the row is written back byte for byte."""
    content = b"id,name\nA-1,S\xfcd\nA-2,Nord\n"
    source = _source(tmp_path / "rows.csv", content)
    bad, good = source.rows()

    assert "--encoding" in bad.problem
    assert good.values == {"id": "A-2", "name": "Nord"}
    assert b"A-1,S\xfcd" in _written(source, tmp_path / "bad.csv", [bad])


def _written(source: Source, path: Path, rows: list[Row]) -> bytes:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        write = source.rejects(descriptor)
        lengths = [write(row, "because") for row in rows]
    finally:
        os.close(descriptor)
    assert all(lengths)
    return path.read_bytes()


def test_row_numbers_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    """The header is row 1; blank rows count, and line breaks in quotes don't."""
    content = b'id,note\r\nA-1,"two\r\nlines"\r\n\r\n,\r\nA-2,x\r\n'

    rows = list(_source(tmp_path / "rows.csv", content).rows())

    assert [(row.number, row.values["id"]) for row in rows] == [(2, "A-1"), (5, "A-2")]
    assert rows[0].values["note"] == "two\r\nlines"


def test_headers_are_stripped_and_told_apart(tmp_path: Path) -> None:
    """Blank names and copies get a number, as in Meta's template."""
    source = _source(tmp_path / "rows.csv", b" id ,email,,email,email\n1,a,b,c,d\n")

    assert source.columns == ("id", "email", "column 3", "email (2)", "email (3)")


def test_a_row_with_too_few_or_too_many_cells_is_a_problem(tmp_path: Path) -> None:
    """A file that was cut off could end in the middle of an amount."""
    rows = list(_source(tmp_path / "rows.csv", b"id,total\nA-1\nA-2,1,9\nA-3,1\n").rows())

    assert [row.problem for row in rows] == [
        "Expected 2 cells, got 1.",
        "Expected 2 cells, got 3.",
        "",
    ]


@pytest.mark.slow
def test_an_endless_cell_is_a_problem_of_bounded_size(tmp_path: Path) -> None:
    """A quote that is never closed doesn't read the file into memory."""
    content = b'id,note\nA-1,"' + b"x\n" * 300_000 + b"A-2,fine\n"

    rows = list(_source(tmp_path / "rows.csv", content).rows())

    assert rows[0].problem.startswith("It can't be read as CSV")
    assert rows[-1].values == {"id": "A-2", "note": "fine"}


def test_lines_above_the_header_are_left_out(tmp_path: Path) -> None:
    """Google's template begins with instructions and its time zone."""
    content = (
        b"### INSTRUCTIONS ###,,\n\nParameters:TimeZone=America/New_York;,,\n"
        b"Google Click ID,Conversion Name,Conversion Time\nG-1,Sale,11/27/2026 10:00:00\n"
    )

    source = _source(tmp_path / "rows.csv", content)

    assert source.timezone == "America/New_York"
    assert [row.number for row in source.rows()] == [5]


def test_excels_own_first_line_names_the_delimiter(tmp_path: Path) -> None:
    """It is no header."""
    source = _source(tmp_path / "rows.csv", b"sep=;\nid;total\nA-1;1,50\n")

    assert source.columns == ("id", "total")


def test_a_file_without_a_header_is_refused(tmp_path: Path) -> None:
    """The error says what was expected."""
    with pytest.raises(ConfigurationError, match="expected a row with the names"):
        _source(tmp_path / "rows.csv", b"\n\n")


def test_ndjson_rows_are_numbered_as_lines(tmp_path: Path) -> None:
    """Amounts are exact, and a bad line is a problem of that line alone."""
    content = b'{"id": "A-1", "total": 19.99, "customer": {"email": "a"}}\n\n[]\nnope\n{"id": 1}'

    source = _source(tmp_path / "rows.ndjson", content)
    rows = list(source.rows())

    assert [(row.number, bool(row.problem)) for row in rows] == [
        (1, False),
        (3, True),
        (4, True),
        (5, False),
    ]
    assert rows[0].values["total"] == Decimal("19.99")
    assert value_at(rows[0].values, "customer.email") == "a"
    assert "customer.email" in source.columns


def test_a_line_that_is_too_long_is_one_problem(tmp_path: Path) -> None:
    """The lines after it keep their numbers."""
    content = b'{"id": "' + b"x" * (9 * 1024 * 1024) + b'"}\n{"id": 2}\n'

    first, second = _source(tmp_path / "rows.jsonl", content).rows()

    assert "longer than 4 MiB" in first.problem
    assert (second.number, second.values) == (2, {"id": 2})


def test_a_list_of_objects_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    """It isn't NDJSON, although its name says JSON."""
    with pytest.raises(ConfigurationError, match="jq -c"):
        _source(tmp_path / "rows.json", b'[{"id": 1},\n{"id": 2}]')


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Times, days, exact amounts and lists come as such."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = datetime(2026, 11, 27, 10, tzinfo=timezone.utc)
    table = pa.table(
        {
            "id": ["A-1", "A-2"],
            "total": [Decimal("19.99"), None],
            "at": [when, None],
            "day": [date(2026, 11, 27), None],
            "items": [[{"sku": "M", "quantity": 2}], []],
        }
    )
    path = tmp_path / "rows"
    parquet.write_table(table, path)

    source = open_source(path)
    first, second = source.rows()

    assert source.format == "parquet"
    assert (first.number, second.number) == (1, 2)
    assert first.values["total"] == Decimal("19.99")
    assert first.values["at"] == when
    written = json.loads(_written(source, tmp_path / "bad", [first]))
    assert written[ROW] == 1
    assert (written["total"], written["day"]) == (19.99, "2026-11-27")


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """So is a file that was cut off."""
    pytest.importorskip("pyarrow")
    with pytest.raises(ConfigurationError, match="expected a Parquet file"):
        _source(tmp_path / "rows.parquet", b"PAR1 and no more")


def test_rejected_rows_can_be_read_back_as_they_came(tmp_path: Path) -> None:
    """What a spreadsheet takes for a formula is disarmed, and armed again."""
    cells = ["=1+1", "+44 20 7946 0958", "-5,00", "@x", "'=y", "plain", "\tz", '"q"\r\nx']
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([[f"c{n}" for n in range(len(cells))], cells])
    source = open_source(path)
    (row,) = source.rows()

    content = _written(source, tmp_path / "bad.csv", [row])
    again = open_source(tmp_path / "bad.csv")

    shown = next(csv.reader(content.decode().splitlines()[1:2], delimiter=";"))
    assert shown[:6] == ["2", "because", "'=1+1", "+44 20 7946 0958", "-5,00", "'@x"]
    assert again.columns == source.columns
    assert [each.raw for each in again.rows()] == [cells]


@given(
    content=st.binary(max_size=300),
    form=st.sampled_from(["csv", "ndjson"]),
    encoding=st.sampled_from([None, "latin-1", "utf-8", "utf-16", "cp1252", "shift_jis"]),
)
@example(content=b'a,"\x00\nb', form="csv", encoding=None)
@example(content=b"\xff\xfe\x00", form="csv", encoding=None)
@example(content=b'{"a": "\\ud800"}', form="ndjson", encoding=None)
@example(content=b'{"a": 1e999999999999999999999}', form="ndjson", encoding=None)
def test_no_bytes_make_reading_fail(content: bytes, form: str, encoding: str | None) -> None:
    """A file is read to its end or refused as a whole, and its rows can be written back."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        path.write_bytes(content)
        try:
            source = open_source(path, form, encoding)
            rows = list(source.rows())
        except ConfigurationError:
            return
        numbers = [row.number for row in rows]
        assert numbers == sorted(set(numbers))
        if rows:
            _written(source, Path(folder, "bad"), rows)


_cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\ufeff"))


@given(rows=st.lists(st.tuples(_cells, _cells, _cells), min_size=1, max_size=5))
def test_rows_survive_the_way_through_a_file_of_rejected_ones(
    rows: list[tuple[str, str, str]],
) -> None:
    """Every cell is read as it was written, and again from the file of rejected rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("a", "b", "c"), *rows])
        source = CsvSource(path, "utf-8", ",")
        read = list(source.rows())
        assert [tuple(row.raw) for row in read] == [row for row in rows if any(row)]
        assert [row.number for row in read] == [n for n, row in enumerate(rows, 2) if any(row)]
        if read:
            _written(source, Path(folder, "bad.csv"), read)
            again = CsvSource(Path(folder, "bad.csv"), "utf-8", ",")
            assert again.columns == ("a", "b", "c")
            assert [row.raw for row in again.rows()] == [row.raw for row in read]


def test_the_added_columns_are_named_so_that_nothing_else_is(tmp_path: Path) -> None:
    """Only a file that begins with both of them is one of rejected rows."""
    source = _source(tmp_path / "rows.csv", f"{ROW},id\n1,A-1\n".encode())

    assert source.columns == (ROW, "id")
    assert REASONS not in source.columns
