"""Page URLs for sellers: absolute, bounded, and without private parts.

URLs contain tokens, addresses and searches. Only query parameters on an allow-list are kept;
user info and fragment never are. E-mail addresses and phone numbers are removed everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from adcp_tracker.events.urls import is_uri
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_LENGTH = 2048
"""The longest URL. Longer ones break in browsers and proxies, and are rarely pages."""

ALLOWED_QUERY = ("utm_*",)
"""Query parameters to keep besides click ids; a star at the end means any ending."""

_PORT = re.compile(r":[0-9]*$")
_HOST = re.compile(
    r"(?P<name>[a-z0-9_](?:[a-z0-9_.-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_LONGEST_HOST = 260
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_PATTERN = re.compile(r"[A-Za-z0-9_.~\[\]-]+\*?")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CUT_ESCAPE = re.compile(r"%[0-9A-Fa-f]?\Z")
_SAFE_IN_PATH = "/:@!$&'()*+,;=~%"
_SAFE_IN_QUERY = "/?:@!$'()*+,;~%"
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
_MASK = "-"
_HARMLESS = re.compile(r"[A-Za-z_~-]*")
_DEEPEST_ENCODING = 10
_MIN_DIGITS, _MAX_DIGITS = 9, 15
_INTERNATIONAL_PHONE = re.compile(
    r"(?:\+|(?<![0-9])00|tel:)[ (]{0,2}[0-9](?:[ ().\-/]{0,2}[0-9]){6,}"
)
_PHONE = re.compile(
    r"\(?0[0-9 ().\-/]{8,24}|\([0-9]{2,5}\)[0-9 .\-/]{6,24}|[0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}"
)
"""A national number: it starts with 0, has its area in parentheses, or is grouped as in the US."""


class QueryFilter:
    """An allow-list of query parameters."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Compile names, and beginnings of names followed by a star.

        Raises:
            ConfigurationError: If one is neither.
        """
        patterns = tuple(allowed)
        for pattern in patterns:
            if not _PATTERN.fullmatch(pattern):
                raise ConfigurationError(
                    "query_allow: expected a parameter's name such as 'sku', or the beginning "
                    f"of names such as 'utm_*', got {pattern!r}"
                )
        lower = [pattern.lower() for pattern in patterns]
        self._exact = frozenset(name for name in lower if not name.endswith("*"))
        self._beginnings = tuple(name[:-1] for name in lower if name.endswith("*"))
        beginnings = "|".join(map(re.escape, sorted((*self._exact, *self._beginnings))))
        self._find_allowed = re.compile(f"&(?:{beginnings})").search

    def allows(self, name: str) -> bool:
        """Return whether a parameter is kept."""
        lower = name.lower()
        return lower in self._exact or lower.startswith(self._beginnings)

    def may_keep_any(self, query: str) -> bool:
        """Return quickly whether any of `query` can be allowed; ``False`` is certain."""
        if "%" in query or ";" in query:
            return True
        return self._find_allowed("&" + query.lower()) is not None

    def reduce(self, query: str, room: int) -> str:
        """Return the allowed part of `query`, of at most `room` characters."""
        kept: list[str] = []
        # Some servers still split at semicolons, too.
        for pair in query.replace(";", "&").split("&"):
            name, separator, value = pair.partition("=")
            if (
                len(pair) >= room
                or not self.allows(unquote(name))
                or _is_private(name)
                or _is_private(value)
            ):
                continue
            clean = _escaped(name, _SAFE_IN_QUERY) + separator + _escaped(value, _SAFE_IN_QUERY)
            if len(clean) < room:
                kept.append(clean)
                room -= len(clean) + 1
        return "&".join(kept)


def is_allowed_host(host: str, allowed: Sequence[str]) -> bool:
    """Return whether a host is one of those that a site allows, whatever its port.

    Args:
        host: The host, with or without port.
        allowed: The hosts; ``.shop.example`` means that domain and all below it. If there are
            none, every host is allowed.
    """
    if not allowed:
        return True
    name = _PORT.sub("", host.lower()).rstrip(".")
    return any(
        name == each or (each.startswith(".") and (name.endswith(each) or name == each[1:]))
        for each in map(str.lower, allowed)
    )


def page_url(scheme: str, host: str, path: str, query: str, allow: QueryFilter) -> str | None:
    """Build the page's URL.

    Args:
        scheme: ``http`` or ``https``.
        host: The host the shopper asked for, with or without port.
        path: The path, decoded or percent-encoded.
        query: The query, percent-encoded, without question mark.
        allow: The query parameters to keep.

    Returns:
        An absolute URL of at most 2,048 characters; ``None`` if scheme or host can't be a
        website's.
    """
    if len(host) > _LONGEST_HOST:
        return None
    url = _without_query(scheme, host, path[:MAX_LENGTH])
    if url is None or not query:
        return url
    reduced = allow.reduce(query, MAX_LENGTH - len(url))
    return f"{url}?{reduced}" if reduced else url


@lru_cache(maxsize=256)  # most events happen on a few pages
def _without_query(scheme: str, host: str, path: str) -> str | None:
    origin = _origin(scheme, host)
    return None if origin is None else origin + _path(path, MAX_LENGTH - len(origin))


@lru_cache(maxsize=256)  # a site has few hosts, whatever clients send
def _origin(scheme: str, host: str) -> str | None:
    match = _HOST.fullmatch(host.lower()) if host.isascii() else None
    if match is None or scheme not in _DEFAULT_PORTS:
        return None
    port = match["port"]
    shown = f":{port}" if port and port != _DEFAULT_PORTS[scheme] else ""
    origin = f"{scheme}://{match['name']}{shown}"
    return origin if is_uri(origin) else None


def _path(path: str, room: int) -> str:
    segments = path.lstrip("/").split("/")
    masked = "/".join(_MASK if _is_private(segment) else segment for segment in segments)
    return _CUT_ESCAPE.sub("", ("/" + _escaped(masked, _SAFE_IN_PATH))[:room])


def _is_private(text: str) -> bool:
    """Return whether a piece of a URL contains an e-mail address or a phone number."""
    if _HARMLESS.fullmatch(text):
        return False
    plain = _decoded(text)
    if plain is None:
        return True
    at = plain.find("@", 1)
    if (at > 0 and "." in plain[at:]) or _INTERNATIONAL_PHONE.search(plain):
        return True
    return (
        bool(_PHONE.fullmatch(plain)) and _MIN_DIGITS <= sum(map(str.isdigit, plain)) <= _MAX_DIGITS
    )


def _decoded(text: str) -> str | None:
    """Undo percent-encoding, also repeated, and full-width forms; ``None`` if it is too deep."""
    for _ in range(_DEEPEST_ENCODING):
        if "%" not in text:
            break
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    else:
        return None
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _escaped(text: str, safe: str) -> str:
    """Percent-encode everything that is invalid in a URL, control characters included."""
    if _PLAIN.fullmatch(text):
        return text
    return _STRAY_PERCENT.sub("%25", quote(text, safe=safe, errors="replace"))
