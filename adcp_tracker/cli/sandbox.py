"""``adcp-tracker sandbox``: the local seller in the foreground."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

import attrs
import typer

from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_OK, AsJson, command
from adcp_tracker.cli.queue import make_settings, open_existing_queue, stopping
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.directory import is_queue_url
from adcp_tracker.settings import directory_path
from adcp_tracker.tracker import Tracker

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Mapping

    from adcp_tracker.delivery.api import ReplayResult
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.sandbox import SandboxConfig
    from adcp_tracker.sandbox.timeline import Entry

_DIRECTORY: Final = "adcp-queue"
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
    directory: Annotated[
        str,
        typer.Option(
            "--directory",
            "-d",
            "--queue",
            metavar="PATH|URL",
            help="Your application's queue, to show, correct and replay its dead letters.",
        ),
    ] = _DIRECTORY,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Don't print a line per event.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run a strict local seller to send events to.

    Speaks the Interchange REST API and MCP, and shows on a page what it receives and how well
    it matches. The page also has the dead letters of the application in --directory. Stop it
    with Ctrl-C or SIGTERM.
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
        on_ready=_announcement(settings, token, directory, as_json=as_json),
        on_event=None if quiet or as_json else _print_entry,
        token=token,
        dead_letters=QueueDeadLetters(directory),
    )
    return EXIT_OK


class QueueDeadLetters:
    """The dead letters of a queue, for the page. Nothing is sent from here.

    Args:
        place: The queue's directory or URL. It may be created later.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._lock = threading.Lock()

    def list(self) -> builtins.list[DeadLetter]:
        """Return every dead letter, oldest first."""
        shards = open_existing_queue(self._place).shards()
        return [letter for shard in shards for letter in shard.open().dead_letters]

    def replay(self, ids: Collection[str], timeout: float = 10.0) -> ReplayResult:
        """Send dead letters again, by the process that uploads."""
        with self._lock, stopping(self._tracker()) as tracker:
            return tracker.dead_letters.replay(ids, timeout)

    def correct(
        self, letter_id: str, event: Mapping[str, object], timeout: float = 10.0
    ) -> ReplayResult:
        """Send a corrected event in place of the one in a dead letter, likewise."""
        with self._lock, stopping(self._tracker()) as tracker:
            return tracker.dead_letters.correct(letter_id, event, timeout)

    def _tracker(self) -> Tracker:
        """Return a tracker without destinations, so that it can't send anything."""
        open_existing_queue(self._place)
        settings = make_settings(
            self._place, max_bytes=None, uploader="external", handle_sigterm=False
        )
        return Tracker((), **attrs.asdict(settings, recurse=False))


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
    _common.print_line(f"{moment:%H:%M:%S} {label}: {what} ({place})", style)
    _common.flush()


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
    settings: SandboxConfig, token: str | None, directory: str, *, as_json: bool
) -> Callable[[str], None]:
    def announce(origin: str) -> None:
        public = origin.replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:")
        base_url, agent_url = f"{public}/api/v2/buyer", f"{public}/mcp"
        query = "" if token is None else f"?{urlencode({'token': token})}"
        page = f"{public}/{query}"
        if as_json:
            page = page.removesuffix("/")
            _common.print_json({"page": page, "base_url": base_url, "agent_url": agent_url})
        else:
            _common.print_line(f"The local seller is running. See its page: {page}")
            _common.print_line("To send events to it, set:")
            for line in _environment(settings, token, base_url, agent_url, directory):
                _common.print_line(f"export {line}", indent=4)
        _common.flush()

    return announce


def _environment(
    settings: SandboxConfig, token: str | None, base_url: str, agent_url: str, directory: str
) -> list[str]:
    advertiser, sources = next(iter(settings.advertisers.items()), ("none", ()))
    key = token or (settings.tokens[0] if settings.tokens else "any")
    return [
        _place(directory),
        f"ADCP_EVENT_SOURCE_ID={next(iter(sources), 'none')}",
        f"ADCP_ADVERTISER_ID={advertiser} ADCP_API_KEY={key} ADCP_BASE_URL={base_url}",
        f"ADCP_AGENT_URL={agent_url} ADCP_AGENT_TOKEN={key}",
    ]


def _place(directory: str) -> str:
    if directory == _DIRECTORY:
        return f"ADCP_DIRECTORY=$PWD/{_DIRECTORY}"
    if is_queue_url(directory):
        return "ADCP_QUEUE=…"  # it may have a password
    return f"ADCP_DIRECTORY={shlex.quote(str(Path(directory_path(directory)).absolute()))}"
