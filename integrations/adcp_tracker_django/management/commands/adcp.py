"""``manage.py adcp …``: the commands of ``adcp-tracker``, for the tracker of the site."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from adcp_tracker.cli import run
from adcp_tracker.exceptions import AdcpTrackerError
from adcp_tracker_django.config import make_integration

if TYPE_CHECKING:
    from adcp_tracker import Tracker

_PROG = "manage.py adcp"
_DJANGO_OPTIONS = ("--settings", "--pythonpath")


class Command(BaseCommand):
    """Runs a command of ``adcp-tracker`` with the site's settings."""

    help = "Inspect and deliver the queue of conversion events; see: manage.py adcp --help"

    def run_from_argv(self, argv: list[str]) -> None:
        """Run with the arguments as typed, without Django's own options."""
        self._called_from_command_line = True
        try:
            tracker = _make_tracker()
        except CommandError as error:
            sys.stderr.write(f"{_PROG}: {error}\n")
            sys.exit(error.returncode)
        sys.exit(run(_without_django_options(argv[2:]), tracker=tracker, prog=_PROG))

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take the command and its options."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - each has its own type
        """Run when called by ``call_command``.

        Raises:
            CommandError: If the exit code is not 0; it has the code.
        """
        code = run([str(each) for each in options["arguments"]], tracker=_make_tracker())
        if code:
            raise CommandError(f"adcp ended with exit code {code}", returncode=code)


def _make_tracker() -> Tracker:
    """Make a tracker from the site's settings.

    Raises:
        CommandError: If a setting is invalid.
    """
    try:
        return make_integration().tracker
    except AdcpTrackerError as error:
        raise CommandError(str(error), returncode=2) from None


def _without_django_options(arguments: list[str]) -> list[str]:
    """Remove the options that ``manage.py`` itself has read."""
    kept: list[str] = []
    rest = iter(arguments)
    for each in rest:
        name, equals, _ = each.partition("=")
        if name not in _DJANGO_OPTIONS:
            kept.append(each)
        elif not equals:
            next(rest, None)
    return kept
