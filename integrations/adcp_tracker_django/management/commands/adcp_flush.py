"""``manage.py adcp_flush``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from adcp_tracker_django.management._commands import StatsCommand, open_tracker

if TYPE_CHECKING:
    from argparse import ArgumentParser

_SECONDS = 30.0


class Command(StatsCommand):
    """Delivers what waits, and says what is left."""

    help = "Deliver what waits on disk. Exits with 1 if something is left, 2 if it cannot try."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take ``--timeout`` and ``--json``."""
        parser.add_argument("--json", action="store_true", help="print one line of JSON")
        parser.add_argument(
            "--timeout",
            type=float,
            default=_SECONDS,
            metavar="SECONDS",
            help="how long to take at most (default: %(default)g)",
        )

    def handle(self, *_: object, **options: Any) -> None:  # noqa: ANN401 - each has its own type
        """Run.

        Raises:
            CommandError: If something is left.
        """
        tracker = open_tracker(uploader="thread")
        stats = tracker.flush(options["timeout"])
        tracker.stop(timeout=0)
        self.show(stats, as_json=options["json"])
        if stats.pending:
            raise CommandError(f"{stats.pending} deliveries are left; they are safe on disk")
