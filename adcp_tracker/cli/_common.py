"""What all commands share: exit codes, options, and what is printed."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import shutil
import sys
import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec, TypeVar

import attrs
import typer

from adcp_tracker.destinations.responses import sanitize
from adcp_tracker.exceptions import (
    AdcpTrackerError,
    ConfigurationError,
    InvalidEventError,
    OutboxError,
    UnsafeDirectoryError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from rich.console import Console

    from adcp_tracker.delivery.stats import DestinationStats, Stats


P = ParamSpec("P")

EXIT_OK: Final = 0
EXIT_ATTENTION: Final = 1
EXIT_USAGE: Final = 2
EXIT_IO: Final = 3
EXIT_BUSY: Final = 4
EXIT_INTERRUPTED: Final = 130

_REMEDIES: Final = {
    errno.EACCES: "run this as its owner, or choose another directory",
    errno.EPERM: "run this as its owner, or choose another directory",
    errno.ENOSPC: "free some space on its volume",
    errno.EDQUOT: "free some space within the user's quota",
    errno.EROFS: "choose a directory on a writable volume",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: one of its parents is a file",
    errno.EEXIST: "choose a directory, not a file",
    errno.ENAMETOOLONG: "choose a shorter path",
}
_OUTBOX_REMEDY: Final = "no event is lost; check the volume and try again"


def command(body: Callable[P, int]) -> Callable[P, None]:
    """Turn a function that returns an exit code into a command.

    Expected errors are printed in one line; other exceptions keep their traceback.
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = body(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        except BrokenPipeError:
            code = _on_broken_pipe()
        except (AdcpTrackerError, OSError) as error:
            code, message = describe_error(error)
            print_error(message)
        raise typer.Exit(code)

    return run


def describe_error(error: AdcpTrackerError | OSError) -> tuple[int, str]:
    """Return the exit code and the message for an error."""
    if isinstance(error, (ConfigurationError, InvalidEventError, UnsafeDirectoryError)):
        return EXIT_USAGE, str(error)
    if isinstance(error, TimeoutError):
        return EXIT_BUSY, str(error)
    if isinstance(error, OutboxError):
        return EXIT_IO, f"{error}; {_OUTBOX_REMEDY}"
    if isinstance(error, OSError) and error.errno is not None:
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        remedy = _REMEDIES.get(error.errno, "fix this and try again")
        return EXIT_IO, f"{where}{error.strerror}; {remedy}"
    return EXIT_IO, str(error)


def _on_broken_pipe() -> int:
    """Redirect stdout to /dev/null so the interpreter can exit quietly."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
    return EXIT_OK


_MAX_SECONDS: Final = 1_000_000.0
"""The longest timeout an option accepts; the system's clocks overflow eventually."""


def seconds(meaning: str, *names: str) -> Any:  # noqa: ANN401 - typer's own type
    """Return an option that takes a time in seconds."""
    return typer.Option(*names, min=0.0, max=_MAX_SECONDS, metavar="SECONDS", help=meaning)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Directory = Annotated[
    str | None,
    typer.Option(
        "--directory",
        "-d",
        "--queue",
        metavar="PATH|URL",
        help="The queue's directory, or its database's URL. [default: ADCP_DIRECTORY]",
    ),
]
Handover = Annotated[
    float, seconds("How long to wait for another process to hand over.", "--timeout")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]


def confirm(question: str, *, yes: bool) -> bool:
    """Ask for confirmation, unless ``--yes`` was given.

    Raises:
        ConfigurationError: If standard input is not a terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "standard input is not a terminal, so you can't be asked; confirm with --yes"
        )
    return typer.confirm(printable(question), err=True)


_LONGEST: Final = 4000
_T = TypeVar("_T")
_GAP: Final = "  "
_REFRESH_SECONDS: Final = 0.1
_FINAL_COMMAND: Final = re.compile(r"(?<=: )adcp-tracker( \S+){1,3}$")


@attrs.frozen
class Styled:
    """A text with a colour, used on terminals.

    Attributes:
        text: The text.
        style: ``green``, ``yellow`` or ``red``.
    """

    text: str
    style: str


def print_json(document: object) -> None:
    """Print `document` as one line of ASCII JSON."""
    sys.stdout.write(json.dumps(document) + "\n")


def print_line(text: str = "", style: str = "", *, indent: int = 0) -> None:
    """Print one line."""
    _write(" " * indent + printable(text), style)


def _write(line: str, style: str = "") -> None:
    if not is_terminal():
        sys.stdout.write(line + "\n")
        return
    from rich.text import Text  # noqa: PLC0415 - not needed in a pipe

    _console().print(Text(line, style), soft_wrap=True)


def print_text(text: str, style: str = "", *, indent: int = 0, unknown: int = 0) -> None:
    """Print sentences, broken between words, but never within a command at their end.

    Args:
        text: The sentences.
        style: Their colour on a terminal.
        indent: How many spaces each line begins with.
        unknown: The width to use if that of the screen is unknown; 0 breaks nothing then.
    """
    width = (_width() or unknown) - indent
    if width <= 0:
        print_line(text, style, indent=indent)
        return
    whole = _FINAL_COMMAND.sub(lambda found: found[0].replace(" ", "\xa0"), printable(text))
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    for line in lines or [""]:
        print_line(line.replace("\xa0", " "), style, indent=indent)


def _width() -> int:
    """Return the width of the screen; 0 in a pipe, unless ``COLUMNS`` says it."""
    return shutil.get_terminal_size((0, 0)).columns


def flush() -> None:
    """Flush stdout."""
    sys.stdout.flush()


def print_error(text: str) -> None:
    """Print one line to stderr."""
    sys.stderr.write(f"adcp-tracker: {printable(text)}\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table with numbers right-aligned; plain columns if stdout is a pipe.

    If it is wider than the screen, the first cell of each row gets a line of its own.
    """
    cells = [list(columns), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_narrow = 0 < _width() < sum(widths) + len(_GAP) * (len(widths) - 1)
    if is_terminal() and not is_narrow:
        _draw(columns, rows)
        return
    numeric = _numeric(columns, rows)
    styles = ["", *(_style_of(row) for row in rows)]
    for row, style in zip(cells, styles, strict=True):
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        if is_narrow:
            _write(row[0])
            _write(_GAP + _GAP.join(aligned[1:]).rstrip(), style)
        else:
            _write(_GAP.join(aligned).rstrip())


def _style_of(row: Sequence[object]) -> str:
    return next((cell.style for cell in row if isinstance(cell, Styled)), "")


def printable(cell: object) -> str:
    """Return a value as text without control characters, shortened."""
    if isinstance(cell, Styled):
        return printable(cell.text)
    if isinstance(cell, int):
        return f"{cell:,}"
    return sanitize(str(cell), _LONGEST)


def plural(count: int, noun: str) -> str:
    """Return a number with its noun, as in ``1 event`` and ``2 events``."""
    if count == 1:
        return f"{count:,} {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


@contextmanager
def progress(doing: str, *, hidden: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on a terminal; do nothing in a pipe.

    Args:
        doing: What takes so long, such as ``replaying``.
        hidden: Show nothing on a terminal either, as with ``--json``.

    Yields:
        A function that takes how much is done and how much there is, ``None`` if unknown. It
        can be called for every item, from any thread.
    """
    if hidden or not is_terminal():
        yield lambda _done, _total: None
        return
    from rich.progress import (  # noqa: PLC0415 - not needed in a pipe
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console(), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        shown_at = 0.0

        def show(done: int, total: int | None) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if now - shown_at >= _REFRESH_SECONDS or done == total:
                shown_at = now
                bar.update(task, completed=done, total=total)

        yield show


def track_progress(
    items: Iterable[_T], doing: str, total: int | None = None, *, hidden: bool = False
) -> Iterator[_T]:
    """Yield `items`, with a progress bar while they are read if this is a terminal."""
    with progress(doing, hidden=hidden) as show:
        for done, item in enumerate(items, 1):
            yield item
            show(done, total)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich import box  # noqa: PLC0415 - not needed in a pipe
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, right in zip(columns, _numeric(columns, rows), strict=True):
        drawn.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in rows:
        styles = (cell.style if isinstance(cell, Styled) else "" for cell in row)
        drawn.add_row(
            *(Text(printable(cell), style) for cell, style in zip(row, styles, strict=True))
        )
    _console().print(drawn)


def _numeric(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    return [
        bool(rows) and all(isinstance(row[at], int) for row in rows) for at in range(len(columns))
    ]


def is_terminal() -> bool:
    """Return whether a person reads what is printed."""
    return sys.stdout.isatty()


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - not needed in a pipe

    return Console(markup=False, highlight=False, emoji=False)


_COLUMNS = (
    *("destination", "accepted", "delivered", "unconfirmed", "pending", "dead", "dropped"),
    "state",
)


def print_stats(
    stats: Stats, configured: Collection[str] = (), *, is_uploaded: bool = True
) -> None:
    """Print the counts of all destinations, then the reason for each problem.

    Args:
        stats: The counts.
        configured: The names of the configured destinations; empty if unknown.
        is_uploaded: Whether a process uploads from the queue and will retry.
    """
    print_counts(stats)
    for name, counts in stats.destinations.items():
        is_known = not configured or name in configured
        _print_reasons(name, counts, is_known=is_known, is_uploaded=is_uploaded)


def print_counts(stats: Stats) -> None:
    """Print the counts of all destinations."""
    print_table(
        _COLUMNS,
        [
            (
                name,
                counts.accepted,
                counts.delivered,
                counts.unconfirmed,
                counts.pending,
                counts.dead,
                sum(counts.dropped.values()),
                _state(counts),
            )
            for name, counts in stats.destinations.items()
        ],
    )


def state_of(counts: DestinationStats) -> str:
    """Return ``paused``, ``missing key``, ``retrying`` or ``ok``."""
    if counts.paused:
        return "paused"
    if counts.missing_keys:
        return "missing key"
    return "retrying" if counts.retrying else "ok"


def _state(counts: DestinationStats) -> Styled:
    word = state_of(counts)
    colours = {"paused": "red", "missing key": "red", "retrying": "yellow"}
    return Styled(word, colours.get(word, "green"))


def _print_reasons(
    name: str, counts: DestinationStats, *, is_known: bool, is_uploaded: bool
) -> None:
    if counts.paused:
        print_text(f"{name} is paused; no event is lost: {counts.paused}", "red")
    elif counts.retrying:
        again = "retries automatically" if is_uploaded else "retries once a process uploads"
        print_text(f"{name} {again}. The last attempt failed: {counts.retrying}.")
    if counts.missing_keys:
        print_text(
            f"{name} has events that were encrypted with another key; no event is lost. "
            f"Add {counts.missing_keys} to encryption_keys or ADCP_ENCRYPTION_KEYS.",
            "red",
        )
    if counts.dropped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.dropped.items())
        print_text(f"{name} dropped {plural(sum(counts.dropped.values()), 'event')}: {reasons}.")
    if counts.unconfirmed:
        print_text(
            f"{name}: the seller accepted {counts.unconfirmed:,} events without confirming that "
            "it processed them. Ask it why, and compare with: adcp-tracker reconcile",
            "yellow",
        )
    if counts.match_quality is not None:
        print_text(f"{name}: the seller could match {counts.match_quality:.0%} of the last events.")
    for warning in counts.warnings:
        print_text(f"{name}: the seller warns: {warning}", "yellow")
    if not is_known:
        print_text(
            f"{name} is not configured here. To drop it and its pending events, run: "
            f"adcp-tracker retire {name}",
            "yellow",
        )


_LEVELS = {"ok": "green", "warning": "yellow", "error": "red"}


def print_check(level: str, subject: str, message: str, remedy: str) -> None:
    """Print the result of a check at once, as others may take long."""
    print_text(f"{level} {subject}: {message}", _LEVELS[level])
    if remedy:
        print_text(remedy, indent=7)
    flush()
