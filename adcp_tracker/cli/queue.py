"""``adcp-tracker queue``: the tables of a queue in a database."""

from __future__ import annotations

from typing import Annotated

import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.cli._queue import open_existing_queue, queue_numbers, queue_url
from adcp_tracker.outbox.storage import Shards

queue = typer.Typer(no_args_is_help=True, help="Create and check the tables of a queue.")


@queue.command()
@command
def migrate(
    *,
    queues: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many queues the database has.")
    ] = 1,
    url: Directory = None,
) -> int:
    """Create the tables of a queue in a database, or bring them up to date.

    Safe to run again, as at each deployment. Needs a user who may create tables; the
    application and the workers don't.
    """
    from adcp_tracker.outbox.database import migrate as run  # noqa: PLC0415 - an extra

    place = queue_url(url)
    run(place, queues)
    _output.print_line(f"{open_existing_queue(place).location}: the tables are up to date.")
    return EXIT_OK


@queue.command()
@command
def check(*, url: Directory = None, as_json: AsJson = False) -> int:
    """Check the tables, who delivers, and what in the database may lose or slow events.

    Exits with 1 if there is a warning or an error.
    """
    from adcp_tracker.outbox.database import DatabaseStore  # noqa: PLC0415 - an extra

    numbers = Shards(queue_numbers(url))
    found = DatabaseStore(queue_url(url), shards=numbers).conditions()
    if as_json:
        _output.print_json({"findings": [each._asdict() for each in found]})
    else:
        for each in found:
            _output.print_check(each.level, "queue", each.message, each.remedy)
    return EXIT_OK if all(each.level == "ok" for each in found) else EXIT_ATTENTION
