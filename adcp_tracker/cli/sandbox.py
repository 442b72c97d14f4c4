"""``adcp-tracker sandbox``: the local seller in the foreground."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_OK, AsJson, command
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.sandbox import SandboxConfig
    from adcp_tracker.sandbox.timeline import Entry

_LATE: Final = ("repeated", "trimmed", "dropped")


@command
def sandbox(  # noqa: PLR0913 - options
    *,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="The address to listen on; needs --token if public."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 picks a free one.")
    ] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="ADCP_SANDBOX_TOKEN",
            help="Required for the page and for all calls, as with --host 0.0.0.0 in a container.",
        ),
    ] = None,
    config: Annotated[str, typer.Option(metavar="JSON", help="SandboxConfig settings.")] = "{}",
    port_file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Write the port to this file once it listens."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Don't print a line per event.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run a strict local seller to send events to.

    Speaks the Interchange REST API and MCP, and shows on a page what it receives. Stop it with
    Ctrl-C or SIGTERM.
    """
    require_sandbox()
    from adcp_tracker.sandbox import run  # noqa: PLC0415 - needs an extra

    settings = _settings(config)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops it like Ctrl-C
    run(
        settings,
        host=host,
        port=port,
        port_file=None if port_file is None else Path(port_file),
        on_ready=_announcement(settings, token, as_json=as_json),
        on_event=None if quiet or as_json else _print_entry,
        token=token,
    )
    return EXIT_OK


def _print_entry(entry: Entry) -> None:
    """Print one line per event."""
    from adcp_tracker.sandbox.timeline import OUTCOMES  # noqa: PLC0415 - needs an extra

    moment = datetime.fromtimestamp(entry.at, timezone.utc).astimezone()
    style = (
        "green" if entry.outcome == "delivered" else "yellow" if entry.outcome in _LATE else "red"
    )
    what = " ".join(filter(None, (entry.event_type, entry.event_id, entry.code)))
    place = " ".join(filter(None, (entry.via, entry.destination)))
    label = OUTCOMES[entry.outcome].lower()
    _output.print_line(f"{moment:%H:%M:%S} {label}: {what} ({place})", style)
    _output.flush()


def require_sandbox() -> None:
    """Check that the extra ``sandbox`` is installed.

    Raises:
        ConfigurationError: If it is not.
    """
    try:
        import adcp_tracker.sandbox  # noqa: F401, PLC0415 - needs an extra
    except ImportError as error:
        raise ConfigurationError(str(error)) from error


def _settings(config: str) -> SandboxConfig:
    from adcp_tracker.sandbox import SandboxConfig  # noqa: PLC0415 - needs an extra
    from adcp_tracker.sandbox.config import structure  # noqa: PLC0415 - likewise

    try:
        return structure(json.loads(config), SandboxConfig)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"--config: expected a JSON object, {error}") from error


def _announcement(
    settings: SandboxConfig, token: str | None, *, as_json: bool
) -> Callable[[str], None]:
    def announce(origin: str) -> None:
        public = origin.replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:")
        base_url, agent_url = f"{public}/api/v2/buyer", f"{public}/mcp"
        query = "" if token is None else f"?{urlencode({'token': token})}"
        page = f"{public}/{query}"
        if as_json:
            page = page.removesuffix("/")
            _output.print_json({"page": page, "base_url": base_url, "agent_url": agent_url})
        else:
            _output.print_line(f"The local seller is running. See its page: {page}")
            _output.print_line("To send events to it, set:")
            for line in _environment(settings, token, base_url, agent_url):
                _output.print_line(f"export {line}", indent=4)
        _output.flush()

    return announce


def _environment(
    settings: SandboxConfig, token: str | None, base_url: str, agent_url: str
) -> list[str]:
    advertiser, sources = next(iter(settings.advertisers.items()), ("none", ()))
    key = token or (settings.tokens[0] if settings.tokens else "any")
    return [
        "ADCP_DIRECTORY=$PWD/adcp-queue",
        f"ADCP_EVENT_SOURCE_ID={next(iter(sources), 'none')}",
        f"ADCP_ADVERTISER_ID={advertiser} ADCP_API_KEY={key} ADCP_BASE_URL={base_url}",
        f"ADCP_AGENT_URL={agent_url} ADCP_AGENT_TOKEN={key}",
    ]
