"""From one flat mapping of options to a tracker and a capture, alike in every web framework.

The options are those of :class:`~adcp_tracker.web.options.Options`, each by its own name.
What is left out is read from the ``ADCP_*`` environment variables.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.settings import Settings, destinations_from_env, settings_from_env
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import Capture
from adcp_tracker.web.consent import CallableConsent, consent_reader
from adcp_tracker.web.options import CAPTURE_OPTIONS, take_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    OnCommit = Callable[[Callable[[], None]], bool]

TRACKER_OPTIONS = frozenset({"destinations", *(field.name for field in attrs.fields(Settings))})
"""The names of all options that are about the tracker."""

_SURELY_A_TYPO = 0.7


@attrs.frozen
class Integration:
    """What an adapter works with.

    Attributes:
        tracker: Takes the events.
        capture: Captures the requests they happen in.
    """

    tracker: Tracker
    capture: Capture


def configure(  # noqa: PLR0913 - what an adapter knows, each by its name
    options: Mapping[str, object],
    *,
    tracker: Tracker | None = None,
    debug: bool = False,
    on_commit: OnCommit | None = None,
    request: Callable[[object], object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Integration:
    """Make what an adapter works with of a site's options.

    Args:
        options: By their names, flat. An option wins over its environment variable.
        tracker: A tracker that is there already; then no option may be about one.
        debug: Whether the framework is in its debug mode: the default of ``strict``.
        on_commit: How the framework defers writes until a commit, unless the site brings its own.
        request: Makes the framework's own request, for a consent function, of the
            ``request`` that the adapter's facts hold.
        environ: Where variables are read instead of the process's environment.

    Raises:
        ConfigurationError: If an option is unknown, missing or cannot be right.
    """
    _check_names(options, CAPTURE_OPTIONS if tracker else CAPTURE_OPTIONS | TRACKER_OPTIONS)
    settings, others = take_settings(_asking(options, request))
    capture = Capture(settings)
    if tracker is None:
        tracker = _tracker({"on_commit": on_commit, **others}, environ, debug=debug)
    return Integration(tracker, capture)


def as_uploader(tracker: Tracker) -> Tracker:
    """Return a tracker over the same queue that uploads, whatever its ``uploader`` says.

    For commands that deliver what a site left to an external worker.
    """
    settings = attrs.evolve(tracker.settings, uploader="thread", handle_sigterm=False)
    return Tracker(tracker.destinations, **attrs.asdict(settings, recurse=False))


def _asking(
    options: Mapping[str, object], request: Callable[[object], object] | None
) -> Mapping[str, object]:
    """Let a site's consent function be asked with the request it knows."""
    consent = options.get("consent")
    if request is None or consent is None:
        return options
    reader = consent_reader(consent)
    if not isinstance(reader, CallableConsent):
        return options
    function = reader.function
    return {**options, "consent": lambda given: function(request(given))}


def _tracker(
    options: dict[str, object], environ: Mapping[str, str] | None, *, debug: bool
) -> Tracker:
    settings = {"strict": debug, **settings_from_env(environ, CAPTURE_OPTIONS), **options}
    if "directory" not in settings:
        raise ConfigurationError(
            "directory: expected a directory in which events wait, got nothing; "
            "set the option, or ADCP_DIRECTORY"
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
                f"{name}: expected with the tracker that was handed in, got it beside one"
            )
        close = difflib.get_close_matches(str(name), sorted(known), 1, _SURELY_A_TYPO)
        advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
        raise ConfigurationError(f"{name}: expected a known option, got this one; {advice}")
