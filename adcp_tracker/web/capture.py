"""Turn a request into a context, and set the click cookie. Shared by all web integrations.

An integration does only this::

    context = LazyContext(capture, WsgiRequest, environ)  # reads nothing yet
    needs_cookie = capture.cookie_check.needs_cookie_environ(environ)  # mostly False
    token = set_context(context)
    ...  # the application
    if needs_cookie and (cookie := capture.response_cookie(context)):
        ...  # add a Set-Cookie header
    reset_context(token)

Nothing else of the request is read until an event needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker._platform import SystemClock, reraise_interruption
from adcp_tracker.context import (
    Consent,
    DeferredContext,
    RequestContext,
    checked_consent,
    current_context,
)
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.click_ids import (
    Click,
    ClickCookie,
    ClickNames,
    CookieCheck,
    click_from_platform,
    cookie_value,
    read_cookie,
)
from adcp_tracker.web.client_ip import ClientInfo
from adcp_tracker.web.consent import (
    HEADER_READERS,
    consent_reader,
    opts_out_globally,
)
from adcp_tracker.web.options import CaptureSettings
from adcp_tracker.web.request import (
    ALLOWED_QUERY,
    PREFETCH_HEADERS,
    HeaderNames,
    QueryFilter,
    is_allowed_host,
    is_prefetch,
    match_user_agent,
    page_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.context import Automated
    from adcp_tracker.web.request import Request

Part = TypeVar("Part")

_RARE_HEADERS = HeaderNames("Sec-GPC", *PREFETCH_HEADERS)
_MAX_READ_USER_AGENT = 2048
MAX_QUERY = 16_384
"""Characters of a query that are read; few servers take more than half of that."""

MAX_USER_AGENT = 512
"""The longest user agent that sellers accept; a longer one is truncated."""


class LazyContext(DeferredContext):
    """The context of a request, computed when an event first needs any of it.

    It has the attributes of :class:`~adcp_tracker.context.RequestContext`.

    Args:
        capture: Computes the context.
        read: Wraps `request` when it is first needed, such as
            :class:`~adcp_tracker.web.request.WsgiRequest`.
        request: The request as the integration gets it, such as a WSGI environ.
    """

    __slots__ = ("_capture", "_read", "_request", "_resolved")

    def __init__(self, capture: Capture, read: Callable[[Any], Request], request: object) -> None:
        self._capture = capture
        self._read = read
        self._request = request
        self._resolved: RequestContext | None = None

    @property
    def request(self) -> Request:
        """The wrapped request."""
        return self._read(self._request)

    @property
    def raw_request(self) -> object:
        """The request as the integration got it, or its snapshot after the request has ended."""
        return self._request

    def detach(self, snapshot: Callable[[Any], object]) -> None:
        """Keep only the parts of an ended request that a later event needs.

        Tasks that outlive their request keep this context alive, as do timers that a server
        sets during the request. They must not keep the application's own objects alive. With
        a consent function of your own, the whole request stays, since it may need anything.

        Args:
            snapshot: Copies what a context is read from out of the request.
        """
        if not self._capture.reads_requests:
            self._request = snapshot(self._request)

    def resolve(self) -> RequestContext:
        """Return the whole context; computed on the first call, then always the same."""
        resolved = self._resolved
        if resolved is None:
            resolved = self._resolved = self._capture.resolve(self._read(self._request))
        return resolved

    def __repr__(self) -> str:
        return "LazyContext(not asked yet)" if self._resolved is None else repr(self._resolved)


def current_raw_request() -> Mapping[str, Any] | None:
    """Return the WSGI environ or ASGI scope of the current context, if it comes from one."""
    context = current_context()
    raw = context.raw_request if isinstance(context, LazyContext) else None
    return raw if isinstance(raw, Mapping) else None


class Capture:
    """Computes the contexts of an application's requests, by its settings.

    Attributes:
        settings: The settings.
        cookie_check: Decides at the start of a request whether its response may need a cookie.
        reads_requests: Whether the consent reader may read more than headers.
    """

    def __init__(self, settings: CaptureSettings | None = None) -> None:
        """Check and prepare the settings.

        Raises:
            ConfigurationError: If a setting is invalid.
        """
        self.settings = settings or CaptureSettings()
        self._trust = self.settings.proxy_trust()
        self._detects_automation = self.settings.detect_automation
        self._reads_platform_cookies = self.settings.platform_click_cookies
        self._clicks = ClickNames(self.settings.click_ids)
        self._query = QueryFilter((*ALLOWED_QUERY, *self._clicks.names, *self.settings.query_allow))
        self._cookie = _click_cookie(self.settings)
        self.cookie_check = CookieCheck(self._clicks, self.settings.click_cookie)
        given = self.settings.consent
        self._consent = None if given is None else consent_reader(given)
        self.reads_requests = given is not None and not isinstance(self._consent, HEADER_READERS)
        self._unanswered = Consent(self.settings.consent_unanswered)
        self._log = ThrottledLogger(SystemClock())

    def begin(self, request: Request) -> LazyContext:
        """Return the context to bind while a request is handled, without reading anything yet."""
        return LazyContext(self, _unchanged, request)

    def resolve(self, request: Request) -> RequestContext:
        """Compute the whole context of a request.

        Never raises: a part that can't be read is left out, and the log says which.
        """
        try:
            return self._resolve(request)
        except Exception as error:  # noqa: BLE001 - a purchase is worth more than its context
            reraise_interruption(error)
            self._warn("context.incomplete", error)
            return self._resolve_by_parts(request)

    def _resolve(self, request: Request) -> RequestContext:
        client = self._trust.resolve(request.peer, request.header)
        url, query = self._page(request, client)
        user_agent, automated = _browser(_user_agent(request))
        has_rare_header = request.has_any(_RARE_HEADERS)
        if not self._detects_automation:
            automated = None
        elif has_rare_header and is_prefetch(request):
            automated = "prefetch"
        click = self._clicks.in_query(query) if query else None
        if click is None:
            click = self._click_from_cookie(request)
        return RequestContext(
            client.client_ip,
            user_agent,
            url,
            click.id if click else None,
            click.type if click else None,
            self._consent_of(request, asks_gpc=has_rare_header),
            automated,
        )

    def _resolve_by_parts(self, request: Request) -> RequestContext:
        nobody = ClientInfo(None)
        client = self._try(lambda: self._trust.resolve(request.peer, request.header), nobody)
        nowhere: tuple[str | None, str] = (None, "")
        url, query = self._try(lambda: self._page(request, client), nowhere)
        agent = self._try(lambda: _browser(_user_agent(request))[0], None)
        click = self._try(lambda: self._clicks.in_query(query), None) or self._try(
            lambda: self._click_from_cookie(request), None
        )
        return RequestContext(
            client.client_ip,
            agent,
            url,
            click.id if click else None,
            click.type if click else None,
            self._try(lambda: self.consent(request), Consent.DENIED),
        )

    def _try(self, part: Callable[[], Part], otherwise: Part) -> Part:
        try:
            return part()
        except Exception as error:  # noqa: BLE001 - likewise
            reraise_interruption(error)
            self._warn("context.part_failed", error)
            return otherwise

    def _warn(self, entry: str, error: Exception, **fields: object) -> None:
        """Log an error, with its message only if it is ours: others may contain personal data."""
        told = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
        self._log.warning(entry, error=told, **fields)

    def consent(self, request: Request) -> Consent:
        """Return the shopper's consent: ``UNKNOWN`` only if the site has no consent reader."""
        return self._consent_of(request, asks_gpc=True)

    def _consent_of(self, request: Request, *, asks_gpc: bool) -> Consent:
        if asks_gpc and self.settings.honour_gpc and opts_out_globally(request):
            return Consent.DENIED
        if self._consent is None:
            return Consent.UNKNOWN
        try:
            answer = checked_consent(self._consent.read(request))
        except Exception as error:  # noqa: BLE001 - the site's own code must not break a checkout
            reraise_interruption(error)
            self._warn("consent.failed", error, taken_for=Consent.DENIED.value)
            return Consent.DENIED
        return self._unanswered if answer is Consent.UNKNOWN else answer

    def response_cookie(self, context: LazyContext) -> str | None:
        """Return the ``Set-Cookie`` value that the response needs, or ``None``.

        It is needed if the shopper landed with a new click id and didn't deny consent. If the
        shopper denied it and still has the cookie, the value expires it. Never raises.
        """
        cookie = self._cookie
        if cookie is None:
            return None
        return self._try(lambda: self._response_cookie(cookie, context.request), None)

    def _response_cookie(self, cookie: ClickCookie, request: Request) -> str | None:
        query, name = request.query[:MAX_QUERY], cookie.name
        lines = [line for line in request.header("Cookie") if name in line]
        lands = query and self._clicks.occurs_in(query)
        if not lands and not lines:
            return None
        kept = read_cookie(lines, name)
        landed = self._clicks.in_query(query) if lands else None
        return self._due_cookie(cookie, request, landed, kept)

    def expire_cookie(self, context: LazyContext) -> str | None:
        """Return the ``Set-Cookie`` value that expires the click id's cookie.

        Use it when a person asks you to erase their data. ``None`` if the cookie is turned off.
        """
        if self._cookie is None:
            return None
        return self._cookie.expire(https=self._is_https(context.request))

    def _due_cookie(
        self, cookie: ClickCookie, request: Request, landed: Click | None, kept: str | None
    ) -> str | None:
        if self.consent(request) is Consent.DENIED:
            return cookie.expire(https=self._is_https(request)) if kept else None
        if landed is None or cookie_value(landed) == kept:
            return None
        return cookie.set(landed, https=self._is_https(request))

    def _is_https(self, request: Request) -> bool:
        told = self._trust.resolve(request.peer, request.header).scheme
        return (told or request.scheme) == "https"

    def _click_from_cookie(self, request: Request) -> Click | None:
        lines = request.header("Cookie")
        if not lines:
            return None
        if self._cookie is not None and (value := read_cookie(lines, self._cookie.name)):
            click = self._clicks.in_cookie(value)
            if click is not None:
                return click
        return click_from_platform(lines) if self._reads_platform_cookies else None

    def _page(self, request: Request, client: ClientInfo) -> tuple[str | None, str]:
        """Return the page's URL, and its raw query if any of it matters."""
        scheme, path, query = client.scheme or request.scheme, request.path, request.query
        if len(query) > MAX_QUERY:
            query = query[:MAX_QUERY].rpartition("&")[0]
        is_called_by_script = "empty" in request.header("Sec-Fetch-Dest")
        for host in (client.host, request.host):
            if not host or (host is client.host and not request.accepts_host(host)):
                continue
            if not is_allowed_host(host, self.settings.allowed_hosts):
                continue
            page = _calling_page(request, host) if is_called_by_script else None
            if page is not None:
                path, query = page.path, page.query[:MAX_QUERY]
            if query and not self._query.may_keep_any(query):
                query = ""
            if url := page_url(scheme, host, path, query, self._query):
                return url, query
        return None, query


def _unchanged(request: Request) -> Request:
    return request


def _click_cookie(settings: CaptureSettings) -> ClickCookie | None:
    if settings.click_cookie is None:
        return None
    return ClickCookie(
        name=settings.click_cookie,
        max_age_days=settings.click_cookie_days,
        domain=settings.click_cookie_domain,
        secure=settings.click_cookie_secure,
    )


def _calling_page(request: Request, host: str) -> SplitResult | None:
    """Return the page whose script made this request, if it is on the same host.

    The shopper sees that page, not the endpoint that its script calls.
    """
    for referrer in request.header("Referer")[:1]:
        try:
            page = urlsplit(referrer)
        except ValueError:
            return None
        if page.netloc.lower() == host.lower():
            return page
    return None


def _user_agent(request: Request) -> str:
    return " ".join(request.header("User-Agent"))[:_MAX_READ_USER_AGENT]


@lru_cache(maxsize=512)  # a few browsers make most of the requests
def _browser(text: str) -> tuple[str | None, Automated | None]:
    """Return the user agent to send, and the kind of robot it identifies, if any."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    user_agent = text.strip()[:MAX_USER_AGENT].rstrip()
    return user_agent or None, match_user_agent(user_agent)
