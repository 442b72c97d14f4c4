"""``adcp-tracker check``: find out whether events would arrive, before they have to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.clientway import Way, print_way
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.options import AsJson, Directory

if TYPE_CHECKING:
    from adcp_tracker.cli.findings import About

_STYLES = {"good": "green", "advice": "yellow", "fault": "red"}


@command
def check(  # noqa: PLR0913 - options, each by its name
    *,
    event: Annotated[
        bool, typer.Option("--event/--no-event", help="Send each destination a test event.")
    ] = True,
    test_code: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="What marks it as a test. [default: ADCP_TEST_EVENT_CODE, or adcp-tracker-check]",
        ),
    ] = None,
    directory: Directory = None,
    as_json: AsJson = False,
    ip: Annotated[
        bool, typer.Option("--ip", help="Only explain who a request's client is.")
    ] = False,
    peer: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="The other end of its connection; none for a unix socket."
        ),
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header it came with.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="Your own proxies' network.")
    ] = None,
    trusted_hops: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many they are, if not known by address.")
    ] = 0,
    ip_header: Annotated[
        str, typer.Option(metavar="NAME", help="The header in which they name the client.")
    ] = "X-Forwarded-For",
    platform: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Your platform: cloudflare, aws_alb, heroku or fly."),
    ] = None,
) -> int:
    """Check configuration and directory, and try each destination.

    Each destination gets one test event, which goes past the queue and is no conversion. With
    --ip, nothing of that is done: it shows whom a request with that --peer and --header comes
    from. Exits with 1 if anything is at fault.
    """
    if ip:
        way = Way(peer, header or (), trusted_proxy or (), trusted_hops, ip_header, platform)
        return print_way(way, as_json=as_json)
    from adcp_tracker.cli.findings import examine  # noqa: PLC0415 - for a quick --help

    found = []
    for about in examine(directory, send_event=event, test_code=test_code):
        found.append(about)
        if not as_json:
            _print(about)
    is_well = not any(about.finding.level == "fault" for about in found)
    if as_json:
        documents = [{"about": each.subject} | attrs.asdict(each.finding) for each in found]
        screen.emit({"ok": is_well, "findings": documents})
    else:
        screen.say("All is well." if is_well else "Not all is well.", "green" if is_well else "red")
    return FINE if is_well else LEFT


def _print(about: About) -> None:
    finding = about.finding
    screen.say(f"{finding.level} {about.subject}: {finding.message}", _STYLES[finding.level])
    if finding.remedy:
        screen.say(finding.remedy, indent=7)
    screen.flush()
