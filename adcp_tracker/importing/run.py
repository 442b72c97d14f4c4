"""Import a file: record an event for each of its rows, and go on after an interruption.

What was done is kept in a progress file beside the queue. It is a single page, written after
each conversion by one system call, so that a process that is killed leaves it whole. It is
written once the event is in the journal: a process that dies between the two records that one
event again, under the same id, and sellers count it once.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timezone
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from adcp_tracker._formatting import describe
from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.context import Consent
from adcp_tracker.exceptions import ConfigurationError, InvalidEventError, QueueFullError
from adcp_tracker.importing.files import open_source
from adcp_tracker.importing.mapping import (
    Built,
    Defaults,
    ImportOptions,
    Plan,
    RejectedRow,
    RowReader,
    Skipped,
    grouped,
    make_plan,
    reasons,
    zone_of,
)
from adcp_tracker.journal.files import opened, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.events.event import Event
    from adcp_tracker.importing.files import Row, Source
    from adcp_tracker.tracker import Tracker

_PAGE: Final = 4096
_MOST_OMISSIONS: Final = 40
_SAVED: Final = (
    *("rows", "events", "rejected", "unidentified", "skipped", "dropped", "omitted"),
    "finished_at",
)
"""What is remembered of a report, by its attributes."""
_CHUNK: Final = 1024 * 1024
_FIRST_EVENTS: Final = 3
_FIRST_REASONS: Final = 5
_PROGRESS_ROWS: Final = 500
_WAIT_SECONDS: Final = 0.05
_UTC: Final = timezone.utc


@attrs.define
class ImportReport:
    """What became of a file's rows.

    Attributes:
        rows: Rows that were read, blank ones left out.
        events: Events that were recorded; in a dry run, that would be.
        rejected: Rows that no event can be made of. They are in `errors`.
        skipped: Rows that weren't wanted, by reason.
        dropped: Events that were dropped, by reason.
        unidentified: Events whose person no seller can match.
        omitted: Fields that were unusable and left out, as ``field reason``, with their number.
        errors: The file of rejected rows; empty if there is none.
        resumed_after: The row that an earlier, interrupted import had come to; 0 if there was none.
        finished_at: When the import ended, in seconds since the epoch; 0 if it hasn't.
        repeated: Whether the file had been imported before, so that nothing was done.
        reasons: Why the first rows were rejected, by row.
        first: The first events of a dry run.
    """

    rows: int = 0
    events: int = 0
    rejected: int = 0
    skipped: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)
    unidentified: int = 0
    omitted: Counter[str] = attrs.field(factory=Counter)
    errors: str = ""
    resumed_after: int = 0
    finished_at: float = 0.0
    repeated: bool = False
    reasons: dict[int, str] = attrs.field(factory=dict, repr=False)
    first: list[Event] = attrs.field(factory=list, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON-compatible dict, without the events of a dry run."""
        return attrs.asdict(self, filter=lambda field, _: field.name != "first") | {
            "reasons": {str(row): why for row, why in self.reasons.items()}
        }


@attrs.frozen
class Import:
    """A file that is to be imported.

    Attributes:
        path: The file.
        source: Its rows.
        plan: Which column is read as which field.
        digest: A digest of its content.
        lines: How many line breaks it has, which is about the number of its rows.
    """

    path: Path
    source: Source
    plan: Plan
    digest: str
    lines: int

    @classmethod
    def open(cls, path: str | os.PathLike[str], options: ImportOptions | None = None) -> Import:
        """Look at a file, and choose which column is which field.

        Raises:
            ConfigurationError: If it can't be read, or a column isn't there.
            OSError: If it can't be opened.
        """
        file = Path(path)
        chosen = options or ImportOptions()
        digest, lines = _digest(file)
        source = open_source(file, chosen.format, chosen.encoding, chosen.delimiter)
        return cls(file, source, make_plan(chosen, source), digest, lines)

    def run(
        self,
        tracker: Tracker,
        *,
        errors: str | os.PathLike[str] | None = None,
        again: bool = False,
        patience: float = 120.0,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> ImportReport:
        """Record an event for each row; go on where an interrupted import of the file ended.

        Args:
            tracker: Records the events. It needs ``when_full="raise"``: the import waits for
                room in the queue rather than drop events.
            errors: Where rejected rows are written, in full and with their reasons. The file
                is created when there is one, readable only by its owner. Left out, it is
                beside the imported file, with ``.rejected`` in its name.
            again: Import a file again that has been imported.
            patience: How many seconds to wait for room in the queue, and for a disk that
                accepts nothing.
            on_progress: Called with the number of rows done and their total, about.

        Raises:
            ConfigurationError: If the tracker may drop events, if the file was changed since
                its import was interrupted, or if `errors` exists.
            QueueFullError: If the queue has no room and nothing delivers from it.
            OSError: If a file can't be written.
        """
        if tracker.settings.when_full != "raise":
            raise ConfigurationError(
                "when_full: expected a tracker with when_full='raise', so that an import waits "
                f"for room instead of dropping events, got {tracker.settings.when_full!r}"
            )
        tracker.prepare()
        with _Progress.open(self, tracker, self._errors_path(errors), again=again) as progress:
            if progress.report.repeated:
                return progress.report
            with _Rejects(self.source, progress.errors, progress.errors_bytes) as rejects:
                record = _TrackerSink(tracker, patience).record
                report, defaults = progress.report, _defaults(tracker)
                self._import(record, defaults, report, rejects, progress.save, on_progress)
            progress.finish()
            return progress.report

    def dry_run(
        self,
        tracker: Tracker | None = None,
        *,
        errors: str | os.PathLike[str] | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> ImportReport:
        """Do all that :meth:`run` does, but record nothing and remember nothing.

        Args:
            tracker: Its settings and what its sellers accept are taken into account.
            errors: Where rejected rows are written; left out, nowhere.
            on_progress: As for :meth:`run`.
        """
        report = ImportReport()
        destinations = () if tracker is None else tracker.destinations
        drops = tracker is None or tracker.settings.on_denied == "drop"

        def check(built: Built) -> str:
            _check_accepted(built.event, destinations)
            if built.context is not None and drops:
                return "consent"
            if len(report.first) < _FIRST_EVENTS:
                report.first.append(built.event)
            return ""

        target = None if errors is None else Path(errors)
        with _Rejects(self.source, target, 0) as rejects:
            self._import(check, _defaults(tracker), report, rejects, None, on_progress)
        report.errors = str(target) if target and report.rejected else ""
        return report

    def _errors_path(self, errors: str | os.PathLike[str] | None) -> Path:
        if errors is None:
            suffix = ".ndjson" if self.source.format == "parquet" else self.path.suffix
            return self.path.with_name(f"{self.path.stem}.rejected{suffix}").absolute()
        return Path(errors).absolute()

    def _import(  # noqa: PLR0913, PLR0917 - what is read, and into what
        self,
        record: Callable[[Built], str],
        defaults: Defaults,
        report: ImportReport,
        rejects: _Rejects,
        save: Callable[[int, int], None] | None,
        on_progress: Callable[[int, int | None], None] | None,
    ) -> None:
        """Go through the conversions that aren't done, and account for each before the next."""
        reader, done = RowReader(self.plan, defaults), report.resumed_after
        rows = (row for row in self.source.rows() if row.number > done)
        for group in grouped(rows, self.plan):
            report.rows += len(group)
            _import_one(group, reader, record, report, rejects)
            if save is not None:
                save(group[-1].number, rejects.length)
            if on_progress is not None and report.rows % _PROGRESS_ROWS < len(group):
                on_progress(group[-1].number, max(self.lines, group[-1].number))


def import_file(
    tracker: Tracker,
    path: str | os.PathLike[str],
    options: ImportOptions | None = None,
    *,
    errors: str | os.PathLike[str] | None = None,
    again: bool = False,
) -> ImportReport:
    """Import a CSV, NDJSON or Parquet file; see :meth:`Import.run`.

    Example::

        options = ImportOptions(timezone="Europe/Berlin", currency="EUR")
        report = import_file(tracker, "till.csv", options, errors="bad.csv")
    """
    return Import.open(path, options).run(tracker, errors=errors, again=again)


def _defaults(tracker: Tracker | None) -> Defaults:
    if tracker is None:
        return Defaults()
    settings = tracker.settings
    zone = None if settings.naive_times is None else zone_of(settings.naive_times)
    return Defaults(settings.default_currency, zone, settings.default_region)


def _digest(path: Path) -> tuple[str, int]:
    """Return a digest of a file's content, and how many lines it has."""
    digest, lines = blake2b(digest_size=16), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            lines += chunk.count(b"\n")
    return digest.hexdigest(), lines


def _import_one(
    group: list[Row],
    reader: RowReader,
    record: Callable[[Built], str],
    report: ImportReport,
    rejects: _Rejects,
) -> None:
    """Record the event of one conversion, or write its rows to the rejected ones.

    `record` returns why an event was dropped, if it was.
    """
    try:
        built = reader.read(group, datetime.now(_UTC))
        dropped = record(built)
    except Skipped as reason:
        report.skipped[str(reason)] += len(group)
        return
    except QueueFullError:
        raise
    except InvalidEventError as error:
        _reject(group, reasons(error, reader.plan), report, rejects)
        return
    except RejectedRow as error:
        _reject(group, str(error), report, rejects)
        return
    except (ValueError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
        # Of a value that no rule expected. Not its message: it may contain parts of the row.
        reraise_interruption(error)
        _reject(group, f"It can't be read: {type(error).__name__}.", report, rejects)
        return
    if dropped:
        report.dropped[dropped] += 1
        return
    report.events += 1
    report.unidentified += not built.is_identified
    for each in built.event.omissions:
        report.omitted[f"{each.field} {each.reason}"] += 1


def _reject(group: list[Row], why: str, report: ImportReport, rejects: _Rejects) -> None:
    report.rejected += len(group)
    if len(report.reasons) < _FIRST_REASONS:
        report.reasons[group[0].number] = why
    for row in group:
        rejects.write(row, why)
    report.errors = rejects.name


def _check_accepted(event: Event, destinations: Sequence[Destination]) -> None:
    """Raise if no seller would accept an event, as far as that is known here.

    Raises:
        RejectedRow: If so.
    """
    has_rules = any(getattr(each, "source_rule", None) for each in destinations)
    if event.is_baseline and not has_rules:
        return
    decoded = orjson.loads(event.json)
    failures = [each.check(decoded) for each in destinations]
    if failures and all(failures) and failures[0] is not None:
        raise RejectedRow(failures[0].message)


class _TrackerSink:
    """Records events with a tracker, and waits where it would drop one."""

    def __init__(self, tracker: Tracker, patience: float) -> None:
        self._tracker = tracker
        self._patience = patience
        self._recorder = tracker._recorder  # noqa: SLF001 - an import is a way of tracking
        self._buffer = tracker._pipeline.buffer  # noqa: SLF001 - likewise
        self._drops = tracker.settings.on_denied == "drop"

    def record(self, built: Built) -> str:
        """Record an event durably."""
        _check_accepted(built.event, self._tracker.destinations)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._recorder.record(built.event, built.event.json, built.context, None)
                break
            except QueueFullError:
                if time.monotonic() >= deadline:
                    raise
            self._tracker.start()
            time.sleep(_WAIT_SECONDS)
        if self._buffer.in_memory:
            self._await_disk(deadline)
        is_denied = built.context is not None and built.context.consent is Consent.DENIED
        return "consent" if is_denied and self._drops else ""

    def _await_disk(self, deadline: float) -> None:
        """Wait until the disk has what the buffer keeps in memory."""
        while self._buffer.in_memory:
            if time.monotonic() >= deadline:
                raise OSError(
                    f"{self._tracker.settings.location} accepts no events. Fix its volume or "
                    "its database, and run the import again: it goes on where it stopped."
                )
            time.sleep(_WAIT_SECONDS)
            self._buffer.flush()


class _Rejects:
    """Writes rejected rows to a file, which is created by the first one.

    Args:
        source: Where the rows are from.
        path: The file; ``None`` to write none.
        length: How much of it an interrupted import had written. The rest is cut off.
    """

    def __init__(self, source: Source, path: Path | None, length: int) -> None:
        self._source = source
        self._path = path
        self._descriptor = -1
        self._write: Callable[[Row, str], int] | None = None
        self.length = length
        self.name = "" if path is None else str(path)

    def __enter__(self) -> Self:
        if self._path is not None and self.length:
            self._descriptor = os.open(self._path, _APPEND)
            os.ftruncate(self._descriptor, self.length)
        elif self._path is not None and self._path.exists():
            raise ConfigurationError(
                f"{self._path} exists, and could hold rows that were rejected earlier. "
                "Move it away, or name another file with --errors."
            )
        return self

    def write(self, row: Row, why: str) -> None:
        """Write a row and why it was rejected."""
        if self._path is None:
            return
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if self._write is None:
            self._write = self._source.rejects(self._descriptor)
        self._write(row, why)
        self.length = os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


@attrs.define(eq=False)
class _Progress:
    """What is done of an import, in a file that survives the process.

    Args:
        descriptor: The progress file, open and locked.
        facts: What it says about the imported file.
        report: What became of its rows so far.
        errors: The file of rejected rows.
        errors_bytes: How much of that file is accounted for.
    """

    _descriptor: int
    _facts: dict[str, object]
    report: ImportReport
    errors: Path
    errors_bytes: int
    _row: int = attrs.field(init=False)

    @_row.default
    def _last_row(self) -> int:
        return self.report.resumed_after

    @classmethod
    @contextmanager
    def open(
        cls, wanted: Import, tracker: Tracker, errors: Path, *, again: bool
    ) -> Iterator[_Progress]:
        """Open the progress of a file's import.

        Raises:
            ConfigurationError: If the file was changed since its import was interrupted, if
                that had other options, or if another process imports it.
        """
        folder = progress_folder(tracker)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = folder / f"{wanted.digest}.json"
        if not again:
            _check_unchanged(folder, place, wanted)
        with opened(place, os.O_RDWR | os.O_CREAT) as descriptor:
            if not try_lock(descriptor):
                raise ConfigurationError(f"{wanted.path}: another process imports this file.")
            facts: dict[str, object] = {
                "path": str(wanted.path.resolve()),
                "options": _options_digest(wanted.plan.options),
            }
            known = {} if again else _read(descriptor)
            yield cls(descriptor, facts, *_resumed(known, facts, wanted.path, errors))

    def save(self, row: int, errors_bytes: int) -> None:
        """Write what is done, in one system call."""
        self._row, self.errors_bytes = row, errors_bytes
        report = self.report
        page = orjson.dumps(
            {
                **self._facts,
                "row": row,
                "errors": str(self.errors),
                "errors_bytes": errors_bytes,
                **{name: getattr(report, name) for name in _SAVED},
                "omitted": dict(report.omitted.most_common(_MOST_OMISSIONS)),
            }
        )
        if len(page) > _PAGE:
            raise OSError(f"{self.errors}: the paths are too long to be remembered.")
        os.pwrite(self._descriptor, page.ljust(_PAGE), 0)

    def finish(self) -> None:
        """Remember that the file was imported."""
        self.report.finished_at = time.time()
        self.save(self._row, self.errors_bytes)
        os.fsync(self._descriptor)


def progress_folder(tracker: Tracker) -> Path:
    """Return where progress is kept: in the queue's directory, or else in the user's own."""
    if tracker.settings.directory is not None:
        return Path(tracker.settings.directory) / "imports"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    queue = blake2b((tracker.settings.queue or "").encode(), digest_size=8).hexdigest()
    return Path(state) / "adcp-tracker" / "imports" / queue


def _options_digest(options: ImportOptions) -> str:
    plain = orjson.dumps(attrs.asdict(options), default=describe, option=orjson.OPT_SORT_KEYS)
    return blake2b(plain, digest_size=8).hexdigest()


def _read(descriptor: int) -> dict[str, Any]:
    """Return what a progress file says; nothing if it is new."""
    try:
        found = orjson.loads(os.pread(descriptor, _PAGE, 0) or b"{}")
    except ValueError:
        raise ConfigurationError(
            "The progress of this import can't be read. To import the file from its first row, "
            "use --again: events keep their ids."
        ) from None
    return found if isinstance(found, dict) else {}


def _check_unchanged(folder: Path, place: Path, wanted: Import) -> None:
    """Reject a file that was changed since its import was interrupted."""
    path = str(wanted.path.resolve())
    for other in folder.glob("*.json"):
        if other == place:
            continue
        try:
            with opened(other, os.O_RDONLY) as descriptor:
                known = _read(descriptor)
        except ConfigurationError:
            continue
        if known.get("path") == path and not known.get("finished_at"):
            raise ConfigurationError(
                f"{wanted.path} was changed since its import was interrupted at row "
                f"{known['row']:,}. Put the file back to finish it, or use --again to import "
                "this one from its first row: events keep their ids."
            )


def _resumed(
    known: dict[str, Any], facts: dict[str, object], path: Path, errors: Path
) -> tuple[ImportReport, Path, int]:
    """Return what an earlier import of the same content came to."""
    if not known:
        return ImportReport(), errors, 0
    if not known["finished_at"] and known["options"] != facts["options"]:
        raise ConfigurationError(
            f"{path}: its import was interrupted at row {known['row']:,}, and had other options. "
            "Repeat those, or use --again to import it from its first row: events keep their ids."
        )
    saved: dict[str, Any] = {
        name: Counter(known[name]) if isinstance(known[name], dict) else known[name]
        for name in _SAVED
    }
    report = ImportReport(
        errors=known["errors"] if known["errors_bytes"] else "",
        resumed_after=known["row"],
        repeated=bool(known["finished_at"]),
        **saved,
    )
    if not report.repeated:
        logger.info("import.resumed", path=str(path), row=report.resumed_after)
    return report, Path(known["errors"]), known["errors_bytes"]
