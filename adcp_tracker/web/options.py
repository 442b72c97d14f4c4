"""The names and types of all options that a web adapter takes, for editors and checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from adcp_tracker.config import Durability, OnDenied, Uploader, WhenFull
    from adcp_tracker.destinations.base import Destination


class TrackerOptions(TypedDict, total=False):
    """What :class:`~adcp_tracker.Tracker` takes of a site."""

    destinations: Sequence[Destination]
    directory: str | os.PathLike[str]
    durability: Durability
    flush_interval: float
    max_bytes: int | None
    when_full: WhenFull
    uploader: Uploader
    strict: bool
    default_region: str | None
    test_event_code: str | None
    shutdown_timeout: float
    handle_sigterm: bool
    on_denied: OnDenied
    context_keys: str | bytes | Sequence[str | bytes]
    encryption_keys: str | bytes | Sequence[str | bytes]
    on_drop: Callable[[str], None] | None
    hold: Callable[[Callable[[], None]], bool] | None


class CaptureOptions(TypedDict, total=False):
    """What :class:`~adcp_tracker.web.capturesettings.CaptureSettings` takes."""

    platform: str | None
    trusted_proxies: Sequence[str]
    trusted_hops: int
    ip_header: str
    proto_header: str | None
    host_header: str | None
    query_allow: Sequence[str]
    click_ids: Sequence[str]
    click_cookie: str | None
    click_cookie_days: int
    click_cookie_domain: str | None
    click_cookie_secure: bool | None
    consent: object
    consent_unanswered: str
    honour_gpc: bool
    detect_automation: bool


class Options(TrackerOptions, CaptureOptions, total=False):
    """All of them in one flat mapping."""
