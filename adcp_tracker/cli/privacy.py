"""``adcp-tracker erase`` and ``export``: what the queue holds about a person."""

from __future__ import annotations

import sys
from typing import Annotated

import attrs
import typer

from adcp_tracker.cli import _common
from adcp_tracker.cli._common import (
    EXIT_ATTENTION,
    EXIT_OK,
    AsJson,
    Directory,
    Handover,
    Yes,
    command,
    confirm,
    plural,
)
from adcp_tracker.cli.queue import make_tracker, open_existing_queue, stopping
from adcp_tracker.exceptions import ConfigurationError

_STDIN = "-"

Email = Annotated[
    list[str] | None, typer.Option(metavar="ADDRESS", help="An e-mail address, or its hash.")
]
Phone = Annotated[
    list[str] | None, typer.Option(metavar="NUMBER", help="A phone number, or its hash.")
]
Uid = Annotated[list[str] | None, typer.Option(metavar="ID", help="A universal id of any type.")]
ClickId = Annotated[list[str] | None, typer.Option(metavar="ID", help="A click id.")]
OrderId = Annotated[list[str] | None, typer.Option(metavar="ID", help="An order of the person's.")]
EventId = Annotated[list[str] | None, typer.Option(metavar="ID", help="An event of the person's.")]
Region = Annotated[
    str | None,
    typer.Option(metavar="COUNTRY", help="The country of phone numbers without a country code."),
]
Follow = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Also find other events of the same orders.")
]


@command
def erase(  # noqa: PLR0913 - options, each by its name
    *,
    email: Email = None,
    phone: Phone = None,
    uid: Uid = None,
    click_id: ClickId = None,
    order_id: OrderId = None,
    event_id: EventId = None,
    region: Region = None,
    follow: Follow = True,
    yes: Yes = False,
    timeout: Handover = 10.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Erase a person from the queue: events, dead letters and remembered contexts.

    Give everything you know about the person; each option can be repeated. With - as its value,
    an option reads its values from standard input, a line each, so that they are in no shell
    history. Exits with 1 if something of the person is left, and says what to do about it.
    """
    open_existing_queue(directory)
    whom = _read(
        email=email, phone=phone, uid=uid, click_id=click_id, order_id=order_id, event_id=event_id
    )
    if not confirm("Erase this person's data permanently?", yes=yes):
        return EXIT_ATTENTION
    progress = _common.progress("erasing", hidden=as_json)
    with stopping(make_tracker(directory)) as tracker, progress:
        report = tracker.privacy.erase(
            **whom, default_region=region, follow=follow, timeout=timeout
        )
    steps = report.remaining_steps
    if as_json:
        _common.print_json(attrs.asdict(report) | {"remaining_steps": steps})
    else:
        _common.print_line(
            f"Erased: {plural(report.events, 'event')}, "
            f"{plural(report.dead_letters, 'dead letter')}, "
            f"{plural(report.remembered, 'remembered context')}."
        )
        for step in steps:
            _common.print_text(step, "yellow")
    return EXIT_OK if report.is_complete else EXIT_ATTENTION


@command
def export(  # noqa: PLR0913 - options, each by its name
    *,
    email: Email = None,
    phone: Phone = None,
    uid: Uid = None,
    click_id: ClickId = None,
    order_id: OrderId = None,
    event_id: EventId = None,
    region: Region = None,
    follow: Follow = True,
    timeout: Handover = 10.0,
    directory: Directory = None,
) -> int:
    """Print what the queue holds about a person, as a JSON list.

    Takes the options of erase, and changes nothing.
    """
    open_existing_queue(directory)
    whom = _read(
        email=email, phone=phone, uid=uid, click_id=click_id, order_id=order_id, event_id=event_id
    )
    with stopping(make_tracker(directory)) as tracker, _common.progress("looking"):
        found = tracker.privacy.export(
            **whom, default_region=region, follow=follow, timeout=timeout
        )
    _common.print_json(found)
    return EXIT_OK


def _read(**options: list[str] | None) -> dict[str, list[str]]:
    """Return the values of the options that were given, read from standard input where they say so.

    Raises:
        ConfigurationError: If there are none, or if several are to be read.
    """
    given = {name: values for name, values in options.items() if values}
    read = [name for name, values in given.items() if _STDIN in values]
    if len(read) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in read)
        raise ConfigurationError(f"{names}: only one option can be read from standard input")
    for name in read:
        lines = [line.strip() for line in sys.stdin]
        given[name] = [value for value in given[name] + lines if value not in {_STDIN, ""}]
    if not any(given.values()):
        raise ConfigurationError(
            "expected at least one of --email, --phone, --uid, --click-id, --order-id and "
            "--event-id, got none"
        )
    return given
