"""``flask adcp …``: the commands of ``adcp-tracker``, for the tracker of the application."""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext

from adcp_tracker.cli import run
from adcp_tracker_flask.extension import get_tracker


@click.command(
    "adcp",
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
    help="Inspect and deliver the queue of conversion events.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def adcp(arguments: tuple[str, ...]) -> None:
    """Run a command of ``adcp-tracker`` with the application's tracker."""
    sys.exit(run(arguments, tracker=get_tracker(), prog="flask adcp"))
