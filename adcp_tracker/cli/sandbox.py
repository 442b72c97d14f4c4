"""``adcp-tracker sandbox``: the local seller in the foreground."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_OK, AsJson, command
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.sandbox import SandboxConfig


@command
def sandbox(
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The loopback address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 picks a free one.")
    ] = 8765,
    config: Annotated[str, typer.Option(metavar="JSON", help="SandboxConfig settings.")] = "{}",
    port_file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Write the port to this file once it listens."),
    ] = None,
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
    file = None if port_file is None else Path(port_file)
    ready = _announcement(settings, as_json=as_json)
    run(settings, host=host, port=port, port_file=file, on_ready=ready)
    return EXIT_OK


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


def _announcement(settings: SandboxConfig, *, as_json: bool) -> Callable[[str], None]:
    def announce(origin: str) -> None:
        base_url, agent_url = f"{origin}/api/v2/buyer", f"{origin}/mcp"
        if as_json:
            _output.print_json({"page": origin, "base_url": base_url, "agent_url": agent_url})
        else:
            _output.print_line(f"The local seller is running. See its page: {origin}/")
            _output.print_line("To send events to it, set:")
            for line in _environment(settings, base_url, agent_url):
                _output.print_line(f"export {line}", indent=4)
        _output.flush()

    return announce


def _environment(settings: SandboxConfig, base_url: str, agent_url: str) -> list[str]:
    advertiser, sources = next(iter(settings.advertisers.items()), ("none", ()))
    token = settings.tokens[0] if settings.tokens else "any"
    return [
        f"ADCP_EVENT_SOURCE_ID={next(iter(sources), 'none')}",
        f"ADCP_ADVERTISER_ID={advertiser} ADCP_API_KEY={token} ADCP_BASE_URL={base_url}",
        f"ADCP_AGENT_URL={agent_url} ADCP_AGENT_TOKEN={token}",
    ]
