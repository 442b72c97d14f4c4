"""Options that several commands have, and the question that one of them answers."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from adcp_tracker.cli.screen import shown
from adcp_tracker.exceptions import ConfigurationError

LONGEST_SECONDS: Final = 1_000_000.0
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
        max=LONGEST_SECONDS,
        metavar="SECONDS",
        help="How long another process may take to hand over.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask somebody, unless they have said yes already.

    Raises:
        ConfigurationError: If nobody is there to be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError("--yes: expected it where nobody can be asked, got nothing")
    return typer.confirm(shown(question), err=True)
