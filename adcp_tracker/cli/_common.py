"""Shared options, exit codes."""

from __future__ import annotations

import errno
import functools
import os
import sys
from typing import TYPE_CHECKING, Annotated, Final, ParamSpec

import typer

from adcp_tracker.cli._output import print_error, printable
from adcp_tracker.exceptions import (
    AdcpTrackerError,
    ConfigurationError,
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
    errno.EACCES: "run this as the user who owns it, or choose another directory",
    errno.EPERM: "run this as the user who owns it, or choose another directory",
    errno.ENOSPC: "free some room on its volume",
    errno.EDQUOT: "free some room within the user's quota",
    errno.EROFS: "choose a directory on a volume that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EEXIST: "choose the path of a directory",
    errno.ENAMETOOLONG: "choose a shorter path",
}
_OUTBOX_REMEDY: Final = "the events are safe on disk; see to its volume and try again"


def command(body: Callable[P, int]) -> Callable[P, None]:
    """Make a command of a function that returns an exit code.

    A mistake of its user, or a machine that fails, ends it with one line instead of a
    traceback. What is left is a fault of this program, and keeps its traceback.
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
    """Return the exit code an error stands for, and what to say of it."""
    if isinstance(error, (ConfigurationError, UnsafeDirectoryError)):
        return EXIT_USAGE, str(error)
    if isinstance(error, TimeoutError):
        return EXIT_BUSY, str(error)
    if isinstance(error, OutboxError):
        return EXIT_IO, f"{error}; {_OUTBOX_REMEDY}"
    if isinstance(error, OSError) and error.errno is not None:
        where = (
            f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        )
        remedy = _REMEDIES.get(error.errno, "see to it and try again")
        return EXIT_IO, f"{where}{error.strerror}; {remedy}"
    return EXIT_IO, str(error)


def _on_broken_pipe() -> int:
    """Let the interpreter flush into nothing, as whoever read this has seen enough."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
    return EXIT_OK


MAX_SECONDS: Final = 1_000_000.0
"""As long as anything may be told to wait: the system's own clocks end somewhere."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Directory = Annotated[
    str | None,
    typer.Option("--directory", "-d", metavar="PATH", help="The queue. [default: ADCP_DIRECTORY]"),
]
Handover = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=0.0,
        max=MAX_SECONDS,
        metavar="SECONDS",
        help="How long another process may take to hand over.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool) -> bool:
    """Ask somebody, unless they have said yes already.

    Raises:
        ConfigurationError: If nobody is there to be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError("--yes: expected it where nobody can be asked, got nothing")
    return typer.confirm(printable(question), err=True)
