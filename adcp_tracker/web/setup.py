"""Make a tracker and a capture from the options of a web integration.

The options are those of :class:`~adcp_tracker.web.options.Options`. Missing ones are read from
the ``ADCP_*`` environment variables.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.settings import VARIABLES, Settings, destinations_from_env, settings_from_env
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import Capture
from adcp_tracker.web.consent import CallableConsent, consent_reader
from adcp_tracker.web.options import CAPTURE_OPTIONS, take_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    OnCommit = Callable[[Callable[[], None]], bool]

TRACKER_OPTIONS = frozenset({"destinations", *(field.name for field in attrs.fields(Settings))})
"""The names of the tracker's options."""

_SURELY_A_TYPO = 0.7


@attrs.frozen
class Integration:
    """The two objects that a web integration needs.

    Attributes:
        tracker: Records the events.
        capture: Computes the contexts of requests.
    """

    tracker: Tracker
    capture: Capture


def configure(  # noqa: PLR0913 - what an integration knows, each by its name
    options: Mapping[str, object],
    *,
    tracker: Tracker | None = None,
    debug: bool = False,
    on_commit: OnCommit | None = None,
    request: Callable[[object], object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Integration:
    """Make a tracker and a capture from options.

    Args:
        options: A flat mapping. An option takes precedence over its environment variable.
        tracker: An existing tracker; then no option of the tracker is allowed.
        debug: Whether the framework is in debug mode: the default of ``strict``.
        on_commit: How the framework defers writes until a commit, unless the site brings its own.
        request: Makes the framework's own request, which a consent function gets, from the
            integration's ``framework_request``.
        environ: The environment variables; left out, the process's.

    Raises:
        ConfigurationError: If an option is unknown, missing or invalid.
    """
    _check_names(options, CAPTURE_OPTIONS if tracker else CAPTURE_OPTIONS | TRACKER_OPTIONS)
    settings, others = take_settings(_with_framework_request(options, request))
    capture = Capture(settings)
    if tracker is None:
        tracker = _tracker({"on_commit": on_commit, **others}, environ, debug=debug)
    return Integration(tracker, capture)


def _with_framework_request(
    options: Mapping[str, object], request: Callable[[object], object] | None
) -> Mapping[str, object]:
    """Have a consent function called with the framework's request."""
    consent = options.get("consent")
    reader = None if consent is None else consent_reader(consent)
    if request is None or not isinstance(reader, CallableConsent):
        return options
    function = reader.function
    return {**options, "consent": lambda given: function(request(given))}


def _tracker(
    options: dict[str, object], environ: Mapping[str, str] | None, *, debug: bool
) -> Tracker:
    settings = {"strict": debug, **settings_from_env(environ, CAPTURE_OPTIONS), **options}
    if not settings.keys() & {"directory", "queue", "transactional_outbox"}:
        raise ConfigurationError(
            "directory: expected a directory for events, got nothing. "
            "Set the option, or ADCP_DIRECTORY; or set queue, or ADCP_QUEUE"
        )
    destinations = settings.pop("destinations", None)
    found = destinations_from_env(environ) if destinations is None else destinations
    return Tracker(found, **settings)  # type: ignore[arg-type]  # it checks them all


def _check_names(options: Mapping[str, object], known: frozenset[str]) -> None:
    for name in options:
        if name in known:
            continue
        if name in TRACKER_OPTIONS:
            raise ConfigurationError(
                f"{name} can't be combined with tracker=. Set it on the tracker"
            )
        close = difflib.get_close_matches(str(name), sorted(known), 1, _SURELY_A_TYPO)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(sorted(known))}"
        if (variable := f"ADCP_{name}".upper()) in {each.name for each in VARIABLES}:
            hint = f"Set {variable}, or give it to one of destinations=[…]"
        raise ConfigurationError(f"Unknown option {name!r}. {hint}")
