"""``adcp-tracker check --ip``: whose request it is, hop by hop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from adcp_tracker.cli import screen
from adcp_tracker.cli.exits import FINE, LEFT
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.web.clientip import Origin

_STYLES = {"client": "green", "trusted proxy": "", "not read": ""}


@attrs.frozen
class Way:
    """A request, and who is believed about it.

    Attributes:
        peer: The address at the other end of its connection; empty on a unix socket.
        headers: Its headers, each as ``Name: value``.
        trusted_proxies: The networks of the site's own proxies.
        trusted_hops: How many they are, where their networks are not known.
        ip_header: The header in which they name the client.
        platform: The platform that sets all of these.
    """

    peer: str
    headers: Sequence[str] = ()
    trusted_proxies: Sequence[str] = ()
    trusted_hops: int = 0
    ip_header: str = "X-Forwarded-For"
    platform: str | None = None

    def follow(self) -> Origin:
        """Find out who asked.

        Raises:
            ConfigurationError: If a setting or a header cannot be right.
        """
        from adcp_tracker.web.capturesettings import (  # noqa: PLC0415 - for a quick --help
            CaptureSettings,
        )
        from adcp_tracker.web.clientip import explain  # noqa: PLC0415 - likewise

        settings = CaptureSettings(
            platform=self.platform,
            trusted_proxies=tuple(self.trusted_proxies),
            trusted_hops=self.trusted_hops,
            ip_header=self.ip_header,
        )
        return explain(settings.proxy_trust(), self.peer, map(_header, self.headers))


def print_way(way: Way, *, as_json: bool) -> int:
    """Print who asked, and how that was found.

    Returns:
        The exit code: 1 if there is no address that could be a shopper's.
    """
    origin = way.follow()
    if as_json:
        screen.emit(attrs.asdict(origin))
    else:
        _print(origin)
    return FINE if origin.client_ip else LEFT


def _print(origin: Origin) -> None:
    screen.table(
        ("from", "address", "verdict"),
        [
            (hop.source, hop.text, screen.Mark(hop.verdict, _STYLES.get(hop.verdict, "yellow")))
            for hop in origin.hops
        ],
    )
    screen.say()
    if origin.client_ip:
        screen.say(f"The client is {origin.client_ip}.", "green")
        return
    screen.say("There is no address to be sent as the client's.", "red")
    screen.say(
        "If the last hop above is a proxy of yours, name its network with --trusted-proxy, or "
        "set --trusted-hops."
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"--header: expected 'Name: value', got {text!r}")
    return name.strip(), value.strip()
