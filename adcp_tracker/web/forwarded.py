"""The notations in which proxies write down who asked: addresses, lists and RFC 7239.

Whatever stands on the left of such a header may come from the client, so lists are read
from the right, one entry at a time: nothing on the left, an open quote for instance,
can change how an entry to its right is read. Nothing here raises.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Address = IPv4Address | IPv6Address

MAX_CHARACTERS = 16_384
"""How much of a header is read, from its end; servers take rarely more than 8,192."""

_LONGEST_NODE = 128
_V4_WITH_PORT = re.compile(r"([0-9.]+):(?:[0-9]{1,5}|_[\w.-]+)", re.ASCII)
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(?:[0-9]{1,5}|_[\w.-]+))?", re.ASCII)
_PAIR = re.compile(r'\s*([!#$%&\'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def parse_node(text: str) -> Address | None:
    """Read an address with or without port, brackets, quotes and zone.

    Returns:
        The address, a v4-mapped one as IPv4; ``None`` for anything else, such as
        ``unknown``, ``_hidden``, a host name or nothing.
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
    """Say whether `address` can be a shopper's on the internet.

    Private, shared, link-local, documentation, multicast and reserved ones cannot.
    """
    if not address.is_global or address.is_multicast:
        return False
    return isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST


def join_lines(lines: Sequence[str]) -> str:
    """Join the lines of one header as RFC 9110 §5.3 has it, bounded from the right."""
    return ", ".join(lines)[-MAX_CHARACTERS:]


def list_from_right(lines: Sequence[str]) -> Iterator[str]:
    """Yield the entries of a plain list header such as ``X-Forwarded-For``, last one first."""
    for entry in reversed(join_lines(lines).split(",")):
        if stripped := entry.strip():
            yield stripped


def elements_from_right(lines: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the elements of ``Forwarded``, last one first.

    Returns:
        Parameters by lower-case name; an element that breaks the grammar comes out empty.
    """
    for element in _split_from_right(join_lines(lines), ","):
        if stripped := element.strip():
            yield _parameters(stripped)


def _split_from_right(text: str, separator: str) -> Iterator[str]:
    """Split at each `separator` that is outside of quotes, as seen from the right."""
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
