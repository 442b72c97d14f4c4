"""Options and exit codes shared by all commands."""

from __future__ import annotations

import errno
import functools
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec

import typer

from adcp_tracker.cli._output import print_error, printable
from adcp_tracker.exceptions import (
    AdcpTrackerError,
    ConfigurationError,
    InvalidEventError,
    OutboxError,
    UnsafeDirectoryError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


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
