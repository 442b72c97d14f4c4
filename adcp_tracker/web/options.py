"""The options of a web integration: names, types and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import attrs

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.settings import TrackerSettings
from adcp_tracker.web.client_ip import PLATFORMS, ProxyTrust

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination


_LISTS = ("trusted_proxies", "allowed_hosts", "query_allow", "click_ids")
_SWITCHES = ("platform_click_cookies", "honour_gpc", "detect_automation")
_TEXTS = ("ip_header", "consent_unanswered")
_OPTIONAL_TEXTS = (
    "platform",
    "proto_header",
    "host_header",
    "click_cookie",
    "click_cookie_domain",
)


@attrs.frozen(kw_only=True)
class CaptureSettings:
    """Settings for capturing the context of requests.

    Attributes:
        platform: The platform in front of the site: ``cloudflare``, ``aws_alb``, ``heroku`` or
            ``fly``. It sets ``trusted_hops`` and the headers.
        trusted_proxies: Networks of your own proxies, or ``unix``.
        trusted_hops: How many proxies there are, if you don't know their networks. Nothing
            else may be able to connect then.
        ip_header: The header that holds the client's address.
        proto_header: The header that holds the scheme; ``None`` trusts no header.
        host_header: The header that holds the host; ``None`` trusts no header.
        allowed_hosts: The site's hosts; ``.shop.example`` means that domain and all below it.
            A page's URL never names another. Empty allows all; Django's ``ALLOWED_HOSTS`` is
            checked in any case.
        query_allow: Query parameters to keep in the page's URL besides click ids and
            ``utm_*``; a star at the end means any ending.
        click_ids: Query parameters that hold a click id, besides the known ones.
        click_cookie: The cookie that stores the click id; ``None`` sets no cookie.
        click_cookie_days: How long browsers keep it.
        click_cookie_domain: The domain whose subdomains share it.
        click_cookie_secure: Whether it is for https only; ``None`` follows the request.
        platform_click_cookies: Also read the click id from the cookies that ad platforms'
            own scripts set, such as ``_gcl_aw`` and ``_fbc``.
        consent: A function of the framework's request, or a reader from
            :mod:`adcp_tracker.web.consent`. ``None`` means that you don't ask for consent.
        consent_unanswered: What no answer means if ``consent`` is set: ``denied``, or
            ``granted`` where the law requires shoppers to opt out.
        honour_gpc: Treat ``Sec-GPC: 1`` as a denial, whatever else was answered.
        detect_automation: Mark crawlers, link previews and prefetches.
    """

    platform: str | None = None
    trusted_proxies: Sequence[str] = ()
    trusted_hops: int = 0
    ip_header: str = "X-Forwarded-For"
    proto_header: str | None = "X-Forwarded-Proto"
    host_header: str | None = "X-Forwarded-Host"
    allowed_hosts: Sequence[str] = ()
    query_allow: Sequence[str] = ()
    click_ids: Sequence[str] = ()
    click_cookie: str | None = "adcp_click"
    click_cookie_days: int = 90
    click_cookie_domain: str | None = None
    click_cookie_secure: bool | None = None
    platform_click_cookies: bool = True
    consent: object = None
    consent_unanswered: str = "denied"
    honour_gpc: bool = True
    detect_automation: bool = True

    def __attrs_post_init__(self) -> None:
        for name in _LISTS:
            self._expect(name, "a list of strings", _is_list_of_text)
        for name in _SWITCHES:
            self._expect(name, "True or False", lambda value: isinstance(value, bool))
        for name in _TEXTS:
            self._expect(name, "a string", lambda value: isinstance(value, str))
        for name in _OPTIONAL_TEXTS:
            self._expect(name, "a string or None", _is_text_or_none)
        self._expect("click_cookie_secure", "True, False or None", _is_switch_or_none)
        answers = "'denied' or 'granted'"
        self._expect("consent_unanswered", answers, lambda v: v in {"denied", "granted"})

    def proxy_trust(self) -> ProxyTrust:
        """Return which proxies are trusted.

        Raises:
            ConfigurationError: If these settings are invalid or contradict each other.
        """
        if self.platform is None:
            return ProxyTrust(
                proxies=self.trusted_proxies,
                hops=self.trusted_hops,
                header=self.ip_header,
                proto_header=self.proto_header,
                host_header=self.host_header,
            )
        if self.platform not in PLATFORMS:
            raise ConfigurationError(
                f"platform: expected one of {', '.join(PLATFORMS)}, got {self.platform!r}"
            )
        if self.trusted_hops:
            raise ConfigurationError(
                f"trusted_hops: can't be combined with platform={self.platform!r}, which sets it; "
                f"got {self.trusted_hops!r}"
            )
        return PLATFORMS[self.platform](tuple(self.trusted_proxies))

    def _expect(self, name: str, what: str, holds: Callable[[object], bool]) -> None:
        value = getattr(self, name)
        if not holds(value):
            raise ConfigurationError(f"{name}: expected {what}, got {value!r}")


def _is_switch_or_none(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(item, str) for item in value
    )


CAPTURE_OPTIONS = frozenset(field.name for field in attrs.fields(CaptureSettings))
"""The names of these settings."""


def take_settings(options: Mapping[str, object]) -> tuple[CaptureSettings, dict[str, object]]:
    """Split an integration's options into capture settings and the others.

    Raises:
        ConfigurationError: If a capture setting is invalid.
    """
    taken = {name: value for name, value in options.items() if name in CAPTURE_OPTIONS}
    others = {name: value for name, value in options.items() if name not in CAPTURE_OPTIONS}
    return CaptureSettings(**taken), others  # type: ignore[arg-type]  # checked on construction


class TrackerOptions(TrackerSettings, total=False):
    """What :class:`~adcp_tracker.Tracker` takes."""

    destinations: Sequence[Destination]
    directory: str | os.PathLike[str]


class CaptureOptions(TypedDict, total=False):
    """What :class:`~adcp_tracker.web.options.CaptureSettings` takes."""

    platform: str | None
    trusted_proxies: Sequence[str]
    trusted_hops: int
    ip_header: str
    proto_header: str | None
    host_header: str | None
    allowed_hosts: Sequence[str]
    query_allow: Sequence[str]
    click_ids: Sequence[str]
    click_cookie: str | None
    click_cookie_days: int
    click_cookie_domain: str | None
    click_cookie_secure: bool | None
    platform_click_cookies: bool
    consent: object
    consent_unanswered: str
    honour_gpc: bool
    detect_automation: bool


class Options(TrackerOptions, CaptureOptions, total=False):
    """All options of an integration in one flat mapping."""
