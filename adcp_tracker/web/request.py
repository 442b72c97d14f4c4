"""Request protocol; WSGI and ASGI readers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from adcp_tracker._logging import logger
from adcp_tracker._signals import reraise_interruption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
