"""Read the rows of CSV, NDJSON and Parquet files, and write back those that were rejected.

Nothing here depends on what a row means. Memory doesn't grow with a file: a row is read,
handed out and forgotten.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections import Counter
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from adcp_tracker._formatting import format_setting
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.files import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

ROW: Final = "adcp_row"
REASONS: Final = "adcp_reasons"
LINE: Final = "adcp_line"
"""What a file of rejected rows adds to them: their number, the reasons, a line that isn't JSON."""

FORMATS: Final = ("csv", "ndjson", "parquet")
_SUFFIXES: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "ndjson",
    ".jsonl": "ndjson",
    ".ndjson": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES: Final = 65_536
_MAX_LINE: Final = 4 * 1024 * 1024
_BATCH_ROWS: Final = 1_000
_DELIMITERS: Final = ",;\t|"
_PARAMETERS: Final = "Parameters:"
_COMMENT: Final = "###"
_SEPARATOR: Final = "sep="
_is_bytewise: Final = re.compile(r"utf-8|utf-8-sig|ascii|iso8859.*|cp125[0-9]").fullmatch
_is_formula: Final = re.compile(r"'*[=+\-@\t\r]").match
_is_harmless: Final = re.compile(r"[+-][0-9 ().,/-]*").fullmatch


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        number: Its number as a spreadsheet shows it, or its line in an NDJSON file.
        values: Its values by column.
        raw: The row as it came: its cells, its line, or its values.
        problem: Why it can't be read; empty if it can.
    """

    number: int
    values: dict[str, Any]
    raw: Any
    problem: str = ""


class Source(Protocol):
    """A file of rows."""

    format: str
    """Its format, one of :data:`FORMATS`."""

    columns: tuple[str, ...]
    """Its columns, or those of its first rows."""

    timezone: str | None
    """The time zone that it names itself."""

    def rows(self) -> Iterator[Row]:
        """Yield its rows from the first one, blank rows left out."""

    def rejects(self, descriptor: int) -> Callable[[Row, str], int]:
        """Return a function that writes a row and why it was rejected, and returns its length."""


def open_source(
    path: Path, form: str | None = None, encoding: str | None = None, delimiter: str | None = None
) -> Source:
    """Open a file of rows.

    Args:
        path: The file.
        form: Its format; left out, told by its name, or else by its content.
        encoding: The encoding of a text file; left out, told by its first bytes, or else UTF-8.
            A byte-order mark counts for more.
        delimiter: What separates the cells of a CSV file; left out, told by its header.

    Raises:
        ConfigurationError: If it can't be read as such a file.
        OSError: If it can't be opened.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    form = form or _SUFFIXES.get(path.suffix.lower()) or _format_of(head)
    if form == "parquet":
        return ParquetSource(path)
    encoding = detect_encoding(head, encoding)
    if form == "ndjson":
        return NdjsonSource(path, encoding)
    return CsvSource(path, encoding, delimiter)


def _format_of(head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    return "ndjson" if head.lstrip()[:1] == b"{" else "csv"


def detect_encoding(head: bytes, given: str | None = None) -> str:
    """Return the encoding of a text that begins with `head`.

    Raises:
        ConfigurationError: If `given` is no encoding.
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    if given is not None:
        return _known_encoding(given)
    zeros = head[1::2].count(0), head[::2].count(0)
    if max(zeros) * 4 > len(head) and min(zeros) * 4 < max(zeros):
        return "utf-16-le" if zeros[0] > zeros[1] else "utf-16-be"
    return "utf-8"


def _known_encoding(given: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(b"a,b\n"), given).read()
        return codecs.lookup(given).name
    except (LookupError, UnicodeError, ValueError):
        raise ConfigurationError(
            f"encoding: expected the name of a text encoding, such as latin-1, got "
            f"{format_setting(given)}"
        ) from None


def _open_text(path: Path, encoding: str) -> io.TextIOWrapper:
    """Open a text so that no byte raises, and most can be written back."""
    handler = "surrogateescape" if _is_bytewise(encoding) else "replace"
    return path.open("r", encoding=encoding, errors=handler, newline="")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; a longer one in pieces, so that memory stays bounded."""
    try:
        while line := text.readline(_MAX_LINE):
            yield line
    except UnicodeError:
        raise ConfigurationError(
            f"{text.name}: can't be read as {text.encoding}. Say how it is encoded with --encoding."
        ) from None


def _undecodable(text: str) -> bool:
    """Return whether a text has bytes that its encoding doesn't have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


_UNDECODABLE: Final = "It has bytes that the file's encoding doesn't have; see --encoding."


class CsvSource:
    """Reads a CSV file, whatever separates its cells.

    Lines above the header are left out if they are blank, comments or parameters of Google's
    template, or Excel's ``sep=``.
    """

    format = "csv"

    def __init__(self, path: Path, encoding: str, delimiter: str | None = None) -> None:
        self._path = path
        self._encoding = encoding
        self.timezone: str | None = None
        self.delimiter = delimiter or self._detect_delimiter()
        self._header_number, cells = self._read_header()
        if delimiter is None and len(cells) == 1:
            self.delimiter = ","
        self._is_rejects = cells[:2] == [ROW, REASONS]
        self._cells = cells[2:] if self._is_rejects else cells
        self.columns = _labels(self._cells)

    def _detect_delimiter(self) -> str:
        """Return the delimiter: of the usual ones, the one that the header has most of."""
        with _open_text(self._path, self._encoding) as text:
            for line in islice(_lines(text), 100):
                start = line.lstrip("\ufeff").strip()
                if start.startswith(_SEPARATOR) and len(start) > len(_SEPARATOR):
                    return start[len(_SEPARATOR)]
                if start and not start.startswith((_PARAMETERS, _COMMENT)):
                    counts = Counter(re.sub(r'"[^"]*"', "", line))
                    return max(_DELIMITERS, key=counts.__getitem__)
        return ","

    def _records(self) -> Iterator[tuple[int, list[str], str]]:
        """Yield the number and the cells of every record, or why it can't be read."""
        with _open_text(self._path, self._encoding) as text:
            reader = csv.reader(_lines(text), delimiter=self.delimiter)
            number = 0
            while True:
                number += 1
                try:
                    yield number, next(reader), ""
                except StopIteration:
                    return
                except csv.Error as error:
                    yield number, [], f"It can't be read as CSV: {error}."

    def _read_header(self) -> tuple[int, list[str]]:
        for number, cells, problem in islice(self._records(), 100):
            first = cells[0].lstrip("\ufeff").strip() if cells else ""
            if first.startswith(_PARAMETERS):
                self._read_parameters(first)
            elif not problem and any(cells) and not first.startswith((_COMMENT, _SEPARATOR)):
                return number, [first, *(cell.strip() for cell in cells[1:])]
        raise ConfigurationError(
            f"{self._path}: expected a row with the names of the columns, got none."
        )

    def _read_parameters(self, cell: str) -> None:
        found = re.search(r"TimeZone\s*=\s*([A-Za-z0-9_+:/-]+)", cell)
        if found:
            self.timezone = found[1]

    def rows(self) -> Iterator[Row]:
        """Yield its rows; the header is a row of the spreadsheet, too."""
        columns, width = self.columns, len(self.columns)
        for number, record, unreadable in self._records():
            if number <= self._header_number or not (unreadable or any(record)):
                continue
            cells = [_unescape(cell) for cell in record[2:]] if self._is_rejects else record
            problem = unreadable
            if not problem and len(cells) != width:
                problem = f"Expected {width} cells, got {len(cells)}."
            elif not problem and _undecodable("".join(cells)):
                problem = _UNDECODABLE
            yield Row(number, dict(zip(columns, cells, strict=False)), cells, problem)

    def rejects(self, descriptor: int) -> Callable[[Row, str], int]:
        """Write rows as CSV that spreadsheets don't take for formulas."""
        encoding = self._encoding if _is_bytewise(self._encoding) else "utf-8-sig"
        is_empty = os.fstat(descriptor).st_size == 0

        def write(cells: Sequence[object], *, first: bool = False) -> int:
            buffer = io.StringIO()
            csv.writer(buffer, delimiter=self.delimiter).writerow(cells)
            name = encoding if first else encoding.removesuffix("-sig")
            return _append(descriptor, buffer.getvalue().encode(name, "surrogateescape"))

        if is_empty:
            write([ROW, REASONS, *self._cells], first=True)
        return lambda row, why: write([row.number, _ascii(why), *map(_escape, row.raw)])


def _labels(cells: Sequence[str]) -> tuple[str, ...]:
    """Return a distinct name for each column."""
    labels: dict[str, None] = {}
    copies: Counter[str] = Counter()
    for place, cell in enumerate(cells, 1):
        name = label = cell.replace("\xa0", " ").strip() or f"column {place}"
        while label in labels:
            copies[name] += 1
            label = f"{name} ({copies[name] + 1})"
        labels[label] = None
    return tuple(labels)


def _escape(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet could take for a formula."""
    return f"'{cell}" if _is_formula(cell) and not _is_harmless(cell) else cell


def _unescape(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def _ascii(text: str) -> str:
    return text.replace("≥", ">=").replace("–", "-").encode("ascii", "replace").decode()


def _append(descriptor: int, data: bytes) -> int:
    write_all(descriptor, data)
    return len(data)


class NdjsonSource:
    """Reads a file with one JSON object in each line."""

    format = "ndjson"
    timezone: str | None = None

    def __init__(self, path: Path, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        names: dict[str, None] = {}
        for place, row in enumerate(islice(self.rows(), 100)):
            if not place and row.raw.lstrip("\ufeff ")[:1] == "[":
                raise ConfigurationError(
                    f"{path}: expected one JSON object in each line, got a list. "
                    "Run: jq -c '.[]' < list.json > rows.ndjson"
                )
            names |= dict.fromkeys(_paths(row.values))
        self.columns = tuple(names)

    def rows(self) -> Iterator[Row]:
        """Yield its rows, numbered as lines."""
        with _open_text(self._path, self._encoding) as text:
            for number, line in enumerate(_whole_lines(text), 1):
                if line.strip():
                    yield _parsed(number, line)

    def rejects(self, descriptor: int) -> Callable[[Row, str], int]:
        """Write rows as lines of JSON."""

        def write(row: Row, why: str) -> int:
            known = row.values or {LINE: row.raw.rstrip("\r\n")}
            return _append_json(descriptor, {ROW: row.number, REASONS: why, **known})

        return write


def _whole_lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield lines; only the beginning of one that is too long."""
    beginning = ""
    for line in _lines(text):
        is_whole = line.endswith(("\n", "\r")) or len(line) < _MAX_LINE
        if is_whole:
            yield beginning or line
        beginning = "" if is_whole else beginning or line
    if beginning:
        yield beginning


def _parsed(number: int, line: str) -> Row:
    if len(line) >= _MAX_LINE:
        return Row(
            number, {}, line[:_HEAD_BYTES], "It is longer than 4 MiB; this is its beginning."
        )
    if _undecodable(line):
        return Row(number, {}, line, _UNDECODABLE)
    try:
        values = json.loads(line.lstrip("\ufeff"), parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        return Row(number, {}, line, "Expected a JSON object, got something else.")
    if not isinstance(values, dict):
        return Row(number, {}, line, "Expected a JSON object, got another value.")
    values = {name: value for name, value in values.items() if name not in {ROW, REASONS}}
    if set(values) == {LINE} and isinstance(values[LINE], str):
        return _parsed(number, values[LINE])
    return Row(number, values, line)


def _paths(values: dict[str, Any], depth: int = 2) -> Iterator[str]:
    """Yield the names in an object, those of objects in it as ``customer.email``."""
    for name, value in values.items():
        yield name
        if isinstance(value, dict) and depth:
            yield from (f"{name}.{inner}" for inner in _paths(value, depth - 1))


def value_at(values: dict[str, Any], column: str) -> object:
    """Return the value of a column, which may be a path such as ``customer.email``."""
    found: Any = values.get(column)
    if found is not None or "." not in column:
        return found
    name, _, rest = column.partition(".")
    inner = values.get(name)
    return value_at(inner, rest) if isinstance(inner, dict) else None


def _append_json(descriptor: int, values: dict[str, Any]) -> int:
    text = json.dumps(values, default=_plain, ensure_ascii=True)
    return _append(descriptor, f"{text}\n".encode())


def _plain(value: object) -> object:
    """Return a value that JSON has no form for as text; an exact number as a number."""
    if isinstance(value, Decimal) and Decimal(repr(float(value))) == value:
        return float(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


class ParquetSource:
    """Reads a Parquet file, a thousand rows at a time."""

    format = "parquet"
    timezone: str | None = None

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                f"{path}: pyarrow must be installed to read Parquet; "
                "run: pip install 'adcp-tracker[parquet]'"
            ) from None
        self._path = path
        self._errors = (ArrowException, OSError, ValueError)
        self._open: Callable[[str], Any] = parquet.ParquetFile
        with self._reading() as file:
            self.columns = tuple(file.schema_arrow.names)

    def _reading(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        try:
            return self._open(str(self._path))
        except self._errors:
            raise ConfigurationError(
                f"{self._path}: expected a Parquet file, got something else."
            ) from None

    def rows(self) -> Iterator[Row]:
        """Yield its rows, numbered from 1."""
        with self._reading() as file:
            try:
                batches = file.iter_batches(batch_size=_BATCH_ROWS)
                rows = chain.from_iterable(batch.to_pylist() for batch in batches)
                for number, values in enumerate(rows, 1):
                    yield Row(number, values, values)
            except self._errors:
                raise ConfigurationError(
                    f"{self._path}: it is damaged and can't be read to its end."
                ) from None

    def rejects(self, descriptor: int) -> Callable[[Row, str], int]:
        """Write rows as lines of JSON."""
        return lambda row, why: _append_json(
            descriptor, {ROW: row.number, REASONS: why, **row.values}
        )
