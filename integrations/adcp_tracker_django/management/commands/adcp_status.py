"""``manage.py adcp_status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker_django.management._commands import StatsCommand, open_tracker, wait_for_stats

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(StatsCommand):
    """Prints what became of every event."""

    help = (
        "Print what became of every event: "
        "accepted = delivered + unconfirmed + pending + dead + dropped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take ``--json``."""
        parser.add_argument("--json", action="store_true", help="print one line of JSON")

    def handle(self, *_: object, **options: bool) -> None:
        """Run."""
        tracker = open_tracker()
        self.show(wait_for_stats(tracker), as_json=options["json"])
        tracker.stop(timeout=0)
