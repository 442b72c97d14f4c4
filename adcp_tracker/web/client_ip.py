"""Client IP behind trusted proxies."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    HeaderLines = Callable[[str], Sequence[str]]

Address = IPv4Address | IPv6Address

MAX_CHARACTERS = 16_384
"""Characters of a header that are read, from its end; servers rarely accept more than 8,192."""

_LONGEST_NODE = 128
_MOST_HOPS = 64
_V4_WITH_PORT = re.compile(r"([0-9.]+):(?:[0-9]{1,5}|_[\w.-]+)", re.ASCII)
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(?:[0-9]{1,5}|_[\w.-]+))?", re.ASCII)
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_FIRST_OCTETS = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)})
"""First octets of the IPv4 networks that aren't public; looking at the rest is slow."""


def parse_node(text: str) -> Address | None:
    """Parse an address with or without port, brackets, quotes and zone.

    Returns:
        The address, a v4-mapped one as IPv4. ``None`` for anything else, such as
        ``unknown``, ``_hidden``, a host name or an empty string.
    """
    return _parsed(text) if len(text) <= _LONGEST_NODE else None


@lru_cache(maxsize=256)
def _parsed(text: str) -> Address | None:
    node = text.strip()
    if len(node) > 1 and node[0] == node[-1] == '"':
        node = node[1:-1].strip()
    if match := _BRACKETED.fullmatch(node) or _V4_WITH_PORT.fullmatch(node):
        node = match[1]
    bare, zone, _ = node.partition("%")
    try:
        address = IPv6Address(bare) if zone else ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_public(address: Address) -> bool:
    """Return whether `address` can be a shopper's on the internet.

    Private, shared, link-local, documentation, multicast and reserved ones cannot.
    """
    if isinstance(address, IPv4Address) and int(address) >> 24 not in _SPECIAL_FIRST_OCTETS:
        return True
    if not address.is_global or address.is_multicast:
        return False
    return isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST


def join_lines(lines: Sequence[str]) -> str:
    """Join the lines of a header by RFC 9110 §5.3, keeping its right end if it is too long."""
    return ", ".join(lines)[-MAX_CHARACTERS:]


def list_from_right(lines: Sequence[str]) -> Iterator[str]:
    """Yield the entries of a plain list header such as ``X-Forwarded-For``, last one first."""
    for entry in reversed(join_lines(lines).split(",")):
        if stripped := entry.strip():
            yield stripped


def forwarded_elements_from_right(lines: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the elements of ``Forwarded``, last one first.

    Returns:
        The parameters by lower-case name; empty for an element that isn't valid.
    """
    for element in _split_from_right(join_lines(lines), ","):
        if stripped := element.strip():
            yield _parameters(stripped)


def _split_from_right(text: str, separator: str) -> Iterator[str]:
    """Split from the right, at each `separator` that is outside of quotes."""
    quoted = False
    end = len(text)
    for index in range(end - 1, -1, -1):
        character = text[index]
        if character == '"' and not (quoted and _is_escaped(text, index)):
            quoted = not quoted
        elif character == separator and not quoted:
            yield text[index + 1 : end]
            end = index
    yield text[:end]


def _is_escaped(text: str, index: int) -> bool:
    before = text[max(0, index - 64) : index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _parameters(element: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(element):
        match = _PAIR.match(element, position)
        if match is None or match[1].lower() in found:
            return {}
        found[match[1].lower()] = _value(match)
        position = match.end() + 1
        if element[match.end() : position] not in {"", ";"}:
            return {}
    return found


def _value(match: re.Match[str]) -> str:
    quoted = match[2]
    return match[3] if quoted is None else _ESCAPED.sub(r"\1", quoted)


Network = IPv4Network | IPv6Network

Verdict = Literal[
    "trusted proxy", "client", "not public", "not an address", "the CDN itself", "not read"
]
"""What was decided about a hop; ``not read`` for everything left of the client."""

UNIX = "unix"
"""In a list of trusted proxies: a peer without an address, such as on a unix socket."""


@attrs.frozen
class Hop:
    """One address on a request's path.

    Attributes:
        source: ``peer``, or the name of the header.
        text: The text found there.
        verdict: What was decided about it.
    """

    source: str
    text: str
    verdict: Verdict


@attrs.frozen
class ClientInfo:
    """Where a request came from, and how it was addressed.

    Attributes:
        client_ip: The shopper's public address, if a trusted source names one.
        scheme: ``http`` or ``https`` as a trusted proxy reports it; else ``None``.
        host: The host as a trusted proxy reports it, not yet validated; else ``None``.
        hops: The addresses on the way, nearest first. Only :func:`explain` fills them in.
    """

    client_ip: str | None
    scheme: str | None = None
    host: str | None = None
    hops: tuple[Hop, ...] = ()


@attrs.frozen
class _Peer:
    """What is known about a peer: it is a trusted proxy, or the client itself."""

    verdict: Verdict
    is_edge: bool
    client: ClientInfo | None


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
            f"got {text!r}. If the addresses change, set trusted_hops instead"
        ) from None
    if network.prefixlen == 0:
        raise ConfigurationError(
            f"{where}: expected the networks of your own proxies, got {text!r}, which matches "
            "every address. If you don't know their addresses, set trusted_hops instead"
        )
    return network


@attrs.frozen
class ProxyTrust:
    """Which proxies are trusted, and which of their headers. By default, none.

    Attributes:
        proxies: Their networks in CIDR notation, single addresses, or ``"unix"``.
        hops: How many proxies a request passes, if their addresses aren't known. Nothing else
            may be able to connect to the server then.
        header: The header that holds the client's address: ``X-Forwarded-For``, ``Forwarded``,
            or one with a single address, such as ``CF-Connecting-IP``.
        proto_header: The header that holds the scheme; ``None`` trusts no header.
            Not used with ``Forwarded``, which has a scheme of its own.
        host_header: The header that holds the host; likewise.
        edges: Networks of a CDN in front of the site. Only one address of them is skipped:
            programs of the CDN's other customers have addresses there too, and they are not
            shoppers.
        one_line: Find no client if the header came in several lines, because it isn't known
            which of them the platform wrote.
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
    _kind: str = attrs.field(init=False, repr=False, eq=False)
    _check_peer: Callable[[str], _Peer] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_trusted", _networks(self.proxies))
        object.__setattr__(self, "_edges", tuple(_network("edges", text) for text in self.edges))
        # A site has few proxies, and each request comes from one of them.
        object.__setattr__(self, "_check_peer", lru_cache(maxsize=256)(self._judge_peer))
        if type(self.hops) is not int or self.hops < 0:
            raise ConfigurationError(f"trusted_hops: expected an integer ≥ 0, got {self.hops!r}")
        if self.hops and self.proxies:
            raise ConfigurationError(
                "trusted_hops and trusted_proxies: expected one of them, got both. "
                "If you know the networks, trusted_proxies is safer"
            )
        object.__setattr__(self, "_kind", str(self.header).lower())
        if not self.header or not self.header.isascii() or "_" in self.header:
            raise ConfigurationError(
                "ip_header: expected a header's name such as 'X-Forwarded-For', "
                f"got {self.header!r}"
            )

    def resolve(
        self, peer: str | None, header: HeaderLines, hops: list[Hop] | None = None
    ) -> ClientInfo:
        """Find the client of a request.

        Args:
            peer: The address at the other end of the socket; empty on a unix socket.
            header: Returns all lines of a header, in their order.
            hops: Filled with every address on the way, also those left of the client.
        """
        judged = self._check_peer(peer or "")
        if hops is not None:
            hops.append(Hop("peer", peer or "", judged.verdict))
        if judged.client is not None:
            return judged.client
        entries = self._entries(header)
        last, crossed = self._skip_trusted(entries, hops, edge_crossed=judged.is_edge)
        if hops is not None:
            hops.extend(Hop(self.header, entry.text, "not read") for entry in entries)
        scheme, host = self._scheme_and_host(last, crossed, header)
        is_client = last is not None and self._verdict(last) == "client"
        return ClientInfo(str(last.address) if last and is_client else None, scheme, host)

    def _judge_peer(self, peer: str) -> _Peer:
        address = parse_node(peer)
        is_edge = _in_any(address, self._edges)
        if self.hops:
            is_trusted = True
        elif not peer:
            is_trusted = any(text.lower() == UNIX for text in self.proxies)
        else:
            is_trusted = is_edge or _in_any(address, self._trusted)
        if is_trusted:
            return _Peer("trusted proxy", is_edge, None)
        verdict = _verdict(address)
        return _Peer(verdict, is_edge, ClientInfo(str(address) if verdict == "client" else None))

    def _entries(self, header: HeaderLines) -> Iterator[_Entry]:
        lines = header(self.header)
        if self._kind == "forwarded":
            for element in forwarded_elements_from_right(lines):
                node = element.get("for", "")
                yield _Entry(node, parse_node(node), element)
        elif self._kind == "x-forwarded-for" and not (self.one_line and len(lines) > 1):
            for text in list_from_right(lines):
                yield _Entry(text, parse_node(text))
        elif lines:
            text = join_lines(lines)
            yield _Entry(text, parse_node(text))

    def _skip_trusted(
        self, entries: Iterator[_Entry], hops: list[Hop] | None, *, edge_crossed: bool
    ) -> tuple[_Entry | None, int]:
        """Return the first entry that isn't a trusted proxy, and how many entries were read."""
        is_list = self._kind in _LISTS
        crossed = 0
        for entry in entries:
            crossed += 1
            is_edge = _in_any(entry.address, self._edges)
            is_proxy = (
                is_list
                and crossed <= _MOST_HOPS
                and (
                    crossed < self.hops
                    or _in_any(entry.address, self._trusted)
                    or (is_edge and not edge_crossed)
                )
            )
            if hops is not None:
                verdict = "trusted proxy" if is_proxy else self._verdict(entry)
                hops.append(Hop(self.header, entry.text, verdict))
            if not is_proxy:
                return entry, crossed
            edge_crossed = edge_crossed or is_edge
        return None, crossed

    def _verdict(self, entry: _Entry) -> Verdict:
        return "the CDN itself" if _in_any(entry.address, self._edges) else _verdict(entry.address)

    def _scheme_and_host(
        self, last: _Entry | None, crossed: int, header: HeaderLines
    ) -> tuple[str | None, str | None]:
        if self._kind == "forwarded":
            parameters = last.parameters if last else {}
            return _scheme(parameters.get("proto")), parameters.get("host")
        scheme = _header_value(header, self.proto_header, crossed)
        return _scheme(scheme), _header_value(header, self.host_header, crossed)


_LISTS = frozenset({"x-forwarded-for", "forwarded"})
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def explain(trust: ProxyTrust, peer: str | None, headers: Iterable[tuple[str, str]]) -> ClientInfo:
    """Find the client of a request, and list every hop with its verdict.

    Args:
        trust: Which proxies are trusted.
        peer: The address at the other end of the socket.
        headers: The request's headers, in any case, repeated ones in their order.
    """
    lines = [(name.lower(), value) for name, value in headers]
    hops: list[Hop] = []
    client = trust.resolve(
        peer, lambda wanted: [value for name, value in lines if name == wanted.lower()], hops
    )
    return attrs.evolve(client, hops=tuple(hops))


def _in_any(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


def _verdict(address: Address | None) -> Verdict:
    if address is None:
        return "not an address"
    return "client" if is_public(address) else "not public"


def _scheme(told: str | None) -> str | None:
    return _SCHEMES.get(told.lower()) if told else None


def _header_value(header: HeaderLines, name: str | None, crossed: int) -> str | None:
    """Return what the outermost trusted proxy wrote: there is one value, or one per hop."""
    if name is None:
        return None
    values = list(list_from_right(header(name)))
    return values[min(max(crossed, 1), len(values)) - 1] if values else None


CLOUDFLARE_NETWORKS_DATE = "2023-09-28"
"""The date of Cloudflare's lists at https://www.cloudflare.com/ips/."""

CLOUDFLARE_NETWORKS = (
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
)


def cloudflare(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust Cloudflare's edge, and the site's own proxies behind it.

    The edge overwrites ``CF-Connecting-IP``, which is enough if the edge is the peer. Behind
    another proxy that header could be forged, so each hop of ``X-Forwarded-For`` is checked,
    to which the edge appends. Only one address of the edge is skipped: programs of
    Cloudflare's other customers send from 2a06:98c0:3600::103, and can write anything to its
    left.

    Source: https://developers.cloudflare.com/fundamentals/reference/http-headers/

    Args:
        own: Networks of proxies between Cloudflare and the application.
    """
    return ProxyTrust(
        proxies=own,
        edges=CLOUDFLARE_NETWORKS,
        header="X-Forwarded-For" if own else "CF-Connecting-IP",
        host_header=None,
    )


def aws_alb(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust an AWS Application Load Balancer in its default mode, ``append``.

    Don't use this in the mode ``preserve``, in which the client writes the whole header. In the
    mode ``remove`` there is no header. The port that ``xff_client_port`` adds is ignored.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html

    Args:
        own: The balancer's subnets. Without them the nearest proxy is trusted whatever its
            address, so the security group must only admit the balancer.
    """
    return ProxyTrust(proxies=own, hops=0 if own else 1, host_header=None, one_line=True)


def heroku(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust Heroku's router: only it can reach a dyno, and it appends to ``X-Forwarded-For``.

    Router 2.0 appends to the end of the list. The legacy router, which the Common Runtime
    dropped in 2025, appended to the first of several lines, so the client wrote the last one.

    Sources: https://devcenter.heroku.com/articles/http-routing and
    https://github.com/heroku/roadmap/issues/238
    """
    _reject_own_proxies("heroku", own)
    return ProxyTrust(hops=1, host_header=None, one_line=True)


def fly(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust Fly's proxy: only it can reach a service, and it sets ``Fly-Client-IP``.

    Its ``X-Forwarded-For`` ends with an address of the application itself.

    Source: https://fly.io/docs/networking/request-headers/
    """
    _reject_own_proxies("fly", own)
    return ProxyTrust(hops=1, header="Fly-Client-IP", host_header=None)


def _reject_own_proxies(platform: str, own: Sequence[str]) -> None:
    if own:
        raise ConfigurationError(
            f"trusted_proxies: expected none with platform={platform!r}, got {len(own)}. "
            "For a chain of proxies, set trusted_hops and ip_header instead of platform"
        )


PLATFORMS: dict[str, Callable[[Sequence[str]], ProxyTrust]] = {
    "aws_alb": aws_alb,
    "cloudflare": cloudflare,
    "fly": fly,
    "heroku": heroku,
}
"""The presets by their names."""
