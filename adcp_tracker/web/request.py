"""Request protocol; WSGI and ASGI readers; the URL of the page."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote

from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.events.parsing import is_uri
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from adcp_tracker.context import Automated
    from adcp_tracker.tracker import Tracker


class Request(ABC):
    """What a web framework knows about the request it handles.

    Attributes:
        framework_request: The framework's own request, for a site's own consent function.
    """

    __slots__ = ()

    framework_request: object

    @property
    @abstractmethod
    def peer(self) -> str:
        """The peer's address; empty if it has none, such as on a unix socket."""

    @property
    @abstractmethod
    def scheme(self) -> str:
        """``http`` or ``https``, as the server sees it."""

    @property
    @abstractmethod
    def host(self) -> str:
        """The requested host, with the port if one was given."""

    @property
    @abstractmethod
    def path(self) -> str:
        """The whole path, decoded or percent-encoded."""

    @property
    @abstractmethod
    def query(self) -> str:
        """The query, percent-encoded, without question mark."""

    @abstractmethod
    def header(self, name: str) -> Sequence[str]:
        """Return every line of the header `name`, in order; nothing if it is absent."""

    def accepts_host(self, host: str) -> bool:  # noqa: ARG002 - for adapters that know better
        """Return whether a host that a proxy reports may be the page's."""
        return True

    def has_any(self, names: HeaderNames) -> bool:
        """Return whether the request has any of these headers. Override it to be quick."""
        return any(self.header(name) for name in names.names)


class HeaderNames:
    """Names of headers, also spelt as a WSGI environ and an ASGI scope spell them."""

    __slots__ = ("environ_keys", "names", "scope_keys")

    def __init__(self, *names: str) -> None:
        self.names = names
        self.environ_keys = frozenset(map(_environ_key, names))
        self.scope_keys = frozenset(map(_scope_key, names))


# Each request is asked for the same few headers.
@lru_cache(maxsize=256)
def _environ_key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


@lru_cache(maxsize=256)
def _scope_key(name: str) -> bytes:
    return name.lower().encode("latin-1")


class WsgiRequest(Request):
    """Reads a WSGI environ (PEP 3333), or Django's ``request.META``."""

    __slots__ = ("_environ", "framework_request")

    def __init__(self, environ: Mapping[str, object], framework_request: object = None) -> None:
        """Read from `environ`, which also stands in for a missing `framework_request`."""
        self._environ = environ
        self.framework_request = environ if framework_request is None else framework_request

    @property
    def peer(self) -> str:
        """The peer's address; empty if it has none, such as on a unix socket."""
        return str(self._environ.get("REMOTE_ADDR") or "")

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the server sees it."""
        return str(self._environ.get("wsgi.url_scheme", ""))

    @property
    def host(self) -> str:
        """The ``Host`` header; without one, the server's name."""
        host = self._text("HTTP_HOST")
        return host or f"{self._text('SERVER_NAME')}:{self._text('SERVER_PORT')}"

    @property
    def path(self) -> str:
        """The whole path, decoded."""
        environ = self._environ
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if path.isascii():
            return path
        try:
            return path.encode("latin-1").decode()
        except UnicodeError:
            return path

    @property
    def query(self) -> str:
        """The query, percent-encoded, without question mark."""
        return str(self._environ.get("QUERY_STRING", ""))

    def header(self, name: str) -> Sequence[str]:
        """Return the header `name`, whose lines the server has joined; nothing if it is absent."""
        value = self._environ.get(_environ_key(name))
        return () if value is None else (value if type(value) is str else str(value),)

    def has_any(self, names: HeaderNames) -> bool:
        """Return whether the request has any of these headers."""
        return not self._environ.keys().isdisjoint(names.environ_keys)

    def _text(self, key: str) -> str:
        value = self._environ.get(key)
        if type(value) is str:
            return value
        return "" if value is None else str(value)


class AsgiRequest(Request):
    """Reads an ASGI HTTP scope."""

    __slots__ = ("_headers", "_path", "_scope", "framework_request")

    def __init__(self, scope: Mapping[str, object], framework_request: object = None) -> None:
        """Read from `scope`, which also stands in for a missing `framework_request`."""
        self._scope = scope
        self._headers: dict[bytes, bytes] | None = None
        # Copied now: Litestar shortens it in place for applications mounted below a path.
        self._path = scope.get("path", "")
        self.framework_request = scope if framework_request is None else framework_request

    @property
    def peer(self) -> str:
        """The peer's address; empty if it has none, such as on a unix socket."""
        client = self._scope.get("client")
        return str(client[0] or "") if isinstance(client, (tuple, list)) and client else ""

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the server sees it."""
        return str(self._scope.get("scheme", "http"))

    @property
    def host(self) -> str:
        """The ``Host`` header; without one, the server's address."""
        if lines := self.header("host"):
            return lines[0]
        server = self._scope.get("server")
        return ":".join(map(str, server)) if isinstance(server, (tuple, list)) else ""

    @property
    def path(self) -> str:
        """The whole path, decoded."""
        return str(self._path)

    @property
    def query(self) -> str:
        """The query, percent-encoded, without question mark."""
        query = self._scope.get("query_string", b"")
        return query.decode("latin-1") if isinstance(query, bytes) else ""

    def header(self, name: str) -> Sequence[str]:
        """Return every line of the header `name`, in order; nothing if it is absent."""
        wanted = _scope_key(name)
        by_name = self._headers or self._by_name()
        last = by_name.get(wanted)
        if last is None:
            return ()
        lines: Sequence[tuple[bytes, bytes]] = self._scope["headers"]  # type: ignore[assignment]  # as the ASGI specification has it
        if len(lines) == len(by_name):  # no name comes twice
            return [last.decode("latin-1")]
        return [value.decode("latin-1") for key, value in lines if key == wanted]

    def has_any(self, names: HeaderNames) -> bool:
        """Return whether the request has any of these headers."""
        return not self._by_name().keys().isdisjoint(names.scope_keys)

    def _by_name(self) -> dict[bytes, bytes]:
        """Return the last line of each header: it tells quickly which ones are absent."""
        headers = self._headers
        if headers is None:
            headers = self._headers = dict(self._scope.get("headers", ()))  # type: ignore[call-overload]  # as the ASGI specification has it
        return headers


def scope_snapshot(scope: Mapping[str, object]) -> dict[str, object]:
    """Return a copy of an ASGI scope with only what :class:`AsgiRequest` reads.

    Frameworks store the state, session and user of a request in its scope.
    """
    get = scope.get
    return {
        "type": "http",
        "client": get("client"),
        "headers": scope.get("headers", ()),
        "path": get("path", ""),
        "query_string": get("query_string", b""),
        "scheme": get("scheme", "http"),
        "server": get("server"),
    }


def start_safely(tracker: Tracker) -> None:
    """Start delivering what earlier processes left on disk. Never raises; logs errors.

    Integrations call it once per process, at the first request.

    Args:
        tracker: The tracker whose thread to start.
    """
    try:
        tracker.start()
    except Exception as error:  # noqa: BLE001 - a page must be served all the same
        reraise_interruption(error)
        logger.warning("flusher.not_started", error=type(error).__name__)


LINK_PREVIEWS = (
    "facebookexternalhit",
    "facebot",
    "twitterbot",
    "slackbot",
    "slack-imgproxy",
    "linkedinbot",
    "telegrambot",
    "discordbot",
    r"whatsapp/\d",
    "skypeuripreview",
    "pinterestbot",
    "redditbot",
    "snap url preview",
    "vkshare",
    "embedly",
    "iframely",
    "bitlybot",
    r"mastodon/\d",
    "google-pagerenderer",
)
"""Parts of the user agents of services that fetch a page to show a preview card."""

CRAWLERS = (
    r"(?<!cu)bot\b",
    "crawler",
    "spider",
    "slurp",
    "mediapartners-google",
    "google-inspectiontool",
    "googleother",
    "facebookcatalog",
    "meta-externalagent",
    "ia_archiver",
    "bytespider",
    "scrapy/",
    "headlesschrome",
    "phantomjs",
    "chrome-lighthouse",
    "pingdom",
    "uptimerobot",
    "statuscake",
    "site24x7",
    "datadog/synthetics",
    "gtmetrix",
)
"""Parts of the user agents of robots and monitors. CUBOT is a brand of phones."""

_AGENTS = re.compile(
    f"(?P<link_preview>{'|'.join(LINK_PREVIEWS)})|(?P<crawler>{'|'.join(CRAWLERS)})",
    re.IGNORECASE | re.ASCII,
)
PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_PREFETCH = re.compile(r"\s*(?:prefetch|prerender|preview)\b", re.IGNORECASE)


def match_user_agent(user_agent: str) -> Automated | None:
    """Return what kind of robot calls itself `user_agent`; ``None`` for a browser."""
    match = _AGENTS.search(user_agent)
    return cast("Automated", match.lastgroup) if match else None


def is_prefetch(request: Request) -> bool:
    """Return whether a browser fetched or rendered this page ahead of time.

    The browser says so in a header, whose name has changed over the years. The shopper may
    never see the page.
    """
    return any(_PREFETCH.match(line) for name in PREFETCH_HEADERS for line in request.header(name))


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
