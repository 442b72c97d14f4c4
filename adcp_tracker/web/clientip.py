"""Who asked, when proxies stand between: the rightmost address that no proxy of ours owns.

The socket's peer cannot be forged, every header can. So nothing but the peer counts until
:class:`ProxyTrust` says which proxies, or how many, are the site's own. Then exactly one
header is read, and only if the peer is such a proxy; from its right end, where the nearest
proxy wrote, up to the first address that is not trusted. Scheme and host follow the same trust.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.forwarded import (
    Address,
    elements_from_right,
    is_public,
    join_lines,
    list_from_right,
    parse_node,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    HeaderLines = Callable[[str], Sequence[str]]

Network = IPv4Network | IPv6Network

Verdict = Literal[
    "trusted proxy", "client", "not public", "not an address", "the CDN itself", "not read"
]
"""What became of one hop; ``not read`` is whatever stands left of the verdict."""

UNIX = "unix"
"""Stands in a list of trusted proxies for a peer without address, as on a unix socket."""


@attrs.frozen
class Hop:
    """One address on the request's way.

    Attributes:
        source: ``peer``, or the name of the header.
        text: What stood there.
        verdict: What became of it.
    """

    source: str
    text: str
    verdict: Verdict


@attrs.frozen
class Origin:
    """Where a request came from, and how it was addressed.

    Attributes:
        client_ip: The shopper's public address, if there is one to be believed.
        scheme: ``http`` or ``https`` as a trusted proxy tells it; else ``None``.
        host: The host as a trusted proxy tells it, not yet validated; else ``None``.
        hops: How that was found, nearest first.
    """

    client_ip: str | None
    scheme: str | None
    host: str | None
    hops: tuple[Hop, ...]


@attrs.frozen
class _Entry:
    text: str
    address: Address | None
    parameters: Mapping[str, str] = attrs.field(factory=dict)


def _networks(proxies: Sequence[str]) -> tuple[Network, ...]:
    return tuple(
        _network(f"trusted_proxies[{index}]", text)
        for index, text in enumerate(proxies)
        if text.lower() != UNIX
    )


def _network(where: str, text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ConfigurationError(
            f"{where}: expected a network such as '10.0.0.0/8', an address or {UNIX!r}, "
            f"got {text!r}; where addresses change, set trusted_hops instead"
        ) from None
    if network.prefixlen == 0:
        raise ConfigurationError(
            f"{where}: expected the networks of your own proxies, got {text!r}, which is "
            "everybody; where their addresses are not known, set trusted_hops instead"
        )
    return network


@attrs.frozen
class ProxyTrust:
    """Which proxies are believed, and which of their headers. By default, none.

    Attributes:
        proxies: Their networks in CIDR notation, single addresses, or ``"unix"``.
        hops: How many proxies the request passes, where their addresses are not known;
            the server must then be out of reach for anyone else.
        header: The one header that names the client: ``X-Forwarded-For``, ``Forwarded``,
            or one that holds a single address, such as ``CF-Connecting-IP``.
        proto_header: Which header tells the scheme; ``None`` believes none.
            Not used with ``Forwarded``, which tells it itself.
        host_header: Which header tells the host; likewise.
        edges: Networks of a CDN in front of the site. It is crossed once, whatever else of its
            own is named further left: its other customers' programs have addresses there too,
            and none of them is a shopper.
        one_line: Name nobody if the header came in several lines, since it is not known to
            which of them the platform appended.
    """

    proxies: Sequence[str] = attrs.field(default=(), converter=tuple[str, ...])
    hops: int = 0
    header: str = "X-Forwarded-For"
    proto_header: str | None = "X-Forwarded-Proto"
    host_header: str | None = "X-Forwarded-Host"
    edges: Sequence[str] = attrs.field(default=(), converter=tuple[str, ...])
    one_line: bool = False
    _trusted: tuple[Network, ...] = attrs.field(init=False, repr=False, eq=False)
    _edges: tuple[Network, ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_trusted", _networks(self.proxies))
        object.__setattr__(self, "_edges", tuple(_network("edges", text) for text in self.edges))
        if type(self.hops) is not int or self.hops < 0:
            raise ConfigurationError(f"trusted_hops: expected an integer ≥ 0, got {self.hops!r}")
        if self.hops and self.proxies:
            raise ConfigurationError(
                "trusted_hops and trusted_proxies: expected one of them, got both; "
                "networks are the safer choice where they are known"
            )
        if not self.header or not self.header.isascii() or "_" in self.header:
            raise ConfigurationError(
                "ip_header: expected a header's name such as 'X-Forwarded-For', "
                f"got {self.header!r}"
            )

    def origin(self, peer: str | None, header: HeaderLines, *, thorough: bool = False) -> Origin:
        """Find out who asked.

        Args:
            peer: The address at the other end of the socket; empty on a unix socket.
            header: Gives all lines of a header, in their order.
            thorough: Name the entries that were not read, too.
        """
        address = parse_node(peer or "")
        if not self._trusts_peer(peer, address):
            hop = Hop("peer", peer or "", _verdict(address))
            return Origin(_sendable(address), None, None, (hop,))
        hops = [Hop("peer", peer or "", "trusted proxy")]
        entries = self._entries(header)
        last = self._follow(entries, hops, edge_crossed=_among(address, self._edges))
        crossed, is_client = len(hops) - 1, hops[-1].verdict == "client"
        if thorough:
            hops.extend(Hop(self.header, entry.text, "not read") for entry in entries)
        scheme, host = self._addressed(last, crossed, header)
        client_ip = str(last.address) if last and is_client else None
        return Origin(client_ip, scheme, host, tuple(hops))

    def _trusts_peer(self, peer: str | None, address: Address | None) -> bool:
        if self.hops:
            return True
        if not peer:
            return any(text.lower() == UNIX for text in self.proxies)
        return _among(address, self._trusted) or _among(address, self._edges)

    def _entries(self, header: HeaderLines) -> Iterator[_Entry]:
        lines = header(self.header)
        name = self.header.lower()
        if name == "forwarded":
            for element in elements_from_right(lines):
                node = element.get("for", "")
                yield _Entry(node, parse_node(node), element)
        elif name == "x-forwarded-for" and not (self.one_line and len(lines) > 1):
            for text in list_from_right(lines):
                yield _Entry(text, parse_node(text))
        elif lines:
            text = join_lines(lines)
            yield _Entry(text, parse_node(text))

    def _follow(
        self, entries: Iterator[_Entry], hops: list[Hop], *, edge_crossed: bool
    ) -> _Entry | None:
        """Cross the trusted proxies, and return the entry of the first hop beyond them."""
        is_list = self.header.lower() in _LISTS
        proxies_left = self.hops - 1
        for entry in entries:
            at_edge = _among(entry.address, self._edges)
            if is_list and (
                proxies_left > 0
                or _among(entry.address, self._trusted)
                or (at_edge and not edge_crossed)
            ):
                proxies_left -= 1
                edge_crossed = edge_crossed or at_edge
                hops.append(Hop(self.header, entry.text, "trusted proxy"))
                continue
            verdict = "the CDN itself" if at_edge else _verdict(entry.address)
            hops.append(Hop(self.header, entry.text, verdict))
            return entry
        return None

    def _addressed(
        self, last: _Entry | None, crossed: int, header: HeaderLines
    ) -> tuple[str | None, str | None]:
        if self.header.lower() == "forwarded":
            parameters = last.parameters if last else {}
            return _scheme(parameters.get("proto")), parameters.get("host")
        scheme = _told(header, self.proto_header, crossed)
        return _scheme(scheme), _told(header, self.host_header, crossed)


_LISTS = frozenset({"x-forwarded-for", "forwarded"})
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def explain(trust: ProxyTrust, peer: str | None, headers: Iterable[tuple[str, str]]) -> Origin:
    """Follow a request's way for a person to see: every hop, and what became of it.

    Args:
        trust: Who is believed.
        peer: The address at the other end of the socket.
        headers: The request's headers, in any case, repeated ones in their order.
    """
    lines = [(name.lower(), value) for name, value in headers]
    return trust.origin(
        peer,
        lambda wanted: [value for name, value in lines if name == wanted.lower()],
        thorough=True,
    )


def _among(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


def _verdict(address: Address | None) -> Verdict:
    if address is None:
        return "not an address"
    return "client" if is_public(address) else "not public"


def _sendable(address: Address | None) -> str | None:
    return str(address) if address is not None and is_public(address) else None


def _scheme(told: str | None) -> str | None:
    return _SCHEMES.get(told.lower()) if told else None


def _told(header: HeaderLines, name: str | None, crossed: int) -> str | None:
    """Read what the outermost trusted proxy wrote: one value, or as many as there are hops."""
    if name is None:
        return None
    values = list(list_from_right(header(name)))
    return values[min(max(crossed, 1), len(values)) - 1] if values else None
