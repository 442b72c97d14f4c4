"""Validate and escape page URLs, so that every seller accepts them.

Sellers follow RFC 3986. Browsers and frameworks don't: they leave brackets, stray percent
signs and non-ASCII letters unescaped. Those are escaped here if the meaning stays the same;
an ambiguous URL is rejected.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote

_MAX_ESCAPED: Final = 8192
"""Characters of a URL that is escaped; each one takes a microsecond."""

_MAX_PORT: Final = 65_535
_WEB: Final = frozenset({"http", "https", "ws", "wss", "ftp"})
_PLAIN: Final = r"A-Za-z0-9._~!$&'()*+,;=:@\-"
_ESCAPE: Final = "%[0-9A-Fa-f]{2}"


def _escaped(plain: str) -> str:
    """Return a pattern of plain characters and escapes that matches in linear time."""
    return f"[{plain}]*(?:{_ESCAPE}[{plain}]*)*"


_split: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):"
    r"(?://(?:(?P<user>[^/?#@]*)@)?(?P<host>\[[0-9A-Fa-f:.]*\]|[^/?#@:\[\]]*)(?::(?P<port>[0-9]{0,9}))?"
    r"(?=[/?#]|\Z))?"
    r"(?P<rest>.*)",
    re.DOTALL,
).fullmatch
_is_user: Final = re.compile(_escaped(_PLAIN.replace("@", ""))).fullmatch
_is_opaque_host: Final = re.compile(_escaped(_PLAIN.replace("@", "").replace(":", ""))).fullmatch
_is_web_host: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*)").fullmatch
_is_number: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*").fullmatch
_REST: Final = (
    rf"{_escaped(_PLAIN + '/')}(?:\?{_escaped(_PLAIN + '/?')})?(?:#{_escaped(_PLAIN + '/?')})?"
)
_is_rest: Final = re.compile(_REST).fullmatch
_is_common_url: Final = re.compile(
    r"https?://(?!-|[^/]*xn--)(?:[a-z0-9_-]+\.)*[a-z][a-z0-9-]*(?::[0-9]{1,4})?(?=[/?#]|\Z)" + _REST
).fullmatch
_find_ambiguous: Final = re.compile(r'[\x00-\x20"<>\\\x7f-\x9f]').search
_cut_user: Final = partial(re.compile(r"\A([^:/?]*://)[^/?@]*@").sub, r"\1")
_find_unescaped: Final = re.compile(rf"(?:%(?![0-9A-Fa-f]{{2}})|[^{_PLAIN}/?%])+")


def is_uri(text: str) -> bool:
    """Return whether `text` is an absolute RFC 3986 URI with a valid host."""
    if _is_common_url(text):
        return True
    found = _split(text)
    if found is None or not _is_rest(found["rest"]):
        return False
    if found["host"] is None:
        # Without an authority, two slashes would start one.
        return bool(found["rest"]) and not found["rest"].startswith("//")
    is_bare = found["user"] is None and found["port"] is None
    return (
        (bool(found["host"]) or is_bare)
        and _is_user(found["user"] or "") is not None
        and int(found["port"] or 0) <= _MAX_PORT
        and _is_host(found["host"], is_web=found["scheme"].lower() in _WEB)
    )


@lru_cache(maxsize=1024)
def normalize_url(text: str) -> str | None:
    """Return `text` as an absolute URI that sellers accept.

    After the host, escape what browsers and frameworks leave unescaped: brackets, braces,
    bars, carets, stray percent signs and non-ASCII letters, in UTF-8.

    Returns:
        The URI, which is `text` itself if it is valid. ``None`` if it can't be made valid:
        a relative URL, or one with a space, a quote, a backslash or a control character.
    """
    if is_uri(text):
        return text
    found = _split(text)
    if found is None or len(text) > _MAX_ESCAPED or _find_ambiguous(text) or not text.isprintable():
        return None
    rest = found["rest"]
    page, mark, fragment = rest.partition("#")
    uri = text[: len(text) - len(rest)] + _escape(page) + mark + _escape(fragment)
    return uri if is_uri(uri) else None


def strip_page_url(given: str) -> str:
    """Remove user info and fragment from a page URL.

    Sellers need neither, and both may hold personal data.

    Returns:
        The URI; `given` itself if there is nothing to remove or it isn't a valid URI.
    """
    if not ("#" in given or "@" in given):
        return given
    uri = normalize_url(given)
    return given if uri is None else _cut_user(uri.partition("#")[0])


def _escape(text: str) -> str:
    return _find_unescaped.sub(lambda found: quote(found[0], safe=""), text)


def _is_host(host: str, *, is_web: bool) -> bool:
    """Return whether a host is valid. If it ends in a number, it must be an IPv4 address."""
    if host.startswith("["):
        return _is_address(IPv6Address, host[1:-1])
    if not is_web:
        return _is_opaque_host(host) is not None
    labels = host.lower().removesuffix(".").split(".")
    if not _is_web_host(host) or not all(map(_is_label, labels)):
        return False
    return not _is_number(labels[-1]) or _is_address(IPv4Address, host)


def _is_label(label: str) -> bool:
    """Return whether a label is decodable, if it is marked as encoded."""
    if not label.startswith("xn--"):
        return True
    try:
        return bool(label.encode().decode("idna"))
    except UnicodeError:
        return False


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True
