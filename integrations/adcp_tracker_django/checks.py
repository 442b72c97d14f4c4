"""System checks that find errors before the first event is lost to them.

======================  ====================================================================
``adcp_tracker.E001``   ``ADCP_TRACKER`` is invalid.
``adcp_tracker.W001``   The middleware is missing, so events carry no context.
``adcp_tracker.W002``   The middleware is below the cache, which would share its cookies.
``adcp_tracker.W003``   Events are marked as tests though ``DEBUG`` is off.
``adcp_tracker.W004``   There is a proxy, and it isn't trusted about the shopper's address.
``adcp_tracker.W005``   The directory can't be used.
``adcp_tracker.I001``   There is no destination, so events wait on disk.
======================  ====================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from adcp_tracker.exceptions import ConfigurationError, UnusableDirectoryError
from adcp_tracker_django.config import SETTING, make_integration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.web.setup import Integration

TAG = "adcp_tracker"
MIDDLEWARE = "adcp_tracker_django.middleware.AdcpTrackerMiddleware"
_CACHE = "django.middleware.cache.UpdateCacheMiddleware"


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_site, TAG)


def check_site(app_configs: object = None, **_: object) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    """Check the site's settings. Writes nothing, except in a directory that exists."""
    found = list(_check_middleware())
    try:
        setup = make_integration(handle_sigterm=False)
    except UnusableDirectoryError as error:
        return [_directory_warning(error), *found]
    except ConfigurationError as error:
        return [checks.Error(str(error), id=f"{TAG}.E001"), *found]
    return [*found, *_check_integration(setup)]


def _check_integration(setup: Integration) -> Iterator[checks.CheckMessage]:
    tracker, trust = setup.tracker.settings, setup.capture.settings
    if tracker.test_event_code is not None and not settings.DEBUG:
        yield checks.Warning(
            f"{SETTING}: every event is marked as a test, so none counts as a conversion.",
            hint="Remove TEST_EVENT_CODE, or ADCP_TEST_EVENT_CODE, in production.",
            id=f"{TAG}.W003",
        )
    trusts = trust.trusted_proxies or trust.trusted_hops or trust.platform
    if settings.SECURE_PROXY_SSL_HEADER and not trusts:
        yield checks.Warning(
            f"{SETTING}: SECURE_PROXY_SSL_HEADER says that there is a proxy, but it isn't trusted "
            "about the shopper's address, so events have no address.",
            hint="Set TRUSTED_PROXIES to the proxy's networks, or TRUSTED_HOPS, or PLATFORM.",
            id=f"{TAG}.W004",
        )
    if not setup.tracker.destinations:
        yield checks.Info(
            f"{SETTING}: there is no destination, so events stay on disk until there is one.",
            hint="Set ADVERTISER_ID, API_KEY and EVENT_SOURCE_ID, or DESTINATIONS.",
            id=f"{TAG}.I001",
        )


def _directory_warning(error: UnusableDirectoryError) -> checks.CheckMessage:
    # Not an error: the user that runs a check need not be the one that serves the site.
    return checks.Warning(
        str(error),
        hint="Ignore this where another user than the web server's runs the check.",
        id=f"{TAG}.W005",
    )


def _check_middleware() -> Iterator[checks.CheckMessage]:
    chain = [_imported(path) for path in settings.MIDDLEWARE]
    ours = _imported(MIDDLEWARE)
    place = next((index for index, each in enumerate(chain) if _is_subclass(each, ours)), None)
    if place is None:
        yield checks.Warning(
            f"MIDDLEWARE: without {MIDDLEWARE}, events have no address, browser, page or click id.",
            hint="Put it first.",
            id=f"{TAG}.W001",
        )
    elif any(_is_subclass(each, _imported(_CACHE)) for each in chain[:place]):
        yield checks.Warning(
            f"MIDDLEWARE: {_CACHE} is above {MIDDLEWARE}, so one shopper's click id would be "
            "cached and sent to others.",
            hint=f"Put {MIDDLEWARE} first.",
            id=f"{TAG}.W002",
        )


def _imported(path: str) -> object:
    try:
        found: object = import_string(path)
    except ImportError:  # Django reports it itself
        return None
    return found


def _is_subclass(found: object, kind: object) -> bool:
    return isinstance(found, type) and isinstance(kind, type) and issubclass(found, kind)
