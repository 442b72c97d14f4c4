"""What the site has set, made into the one tracker and the one capture of this process.

``settings.ADCP_TRACKER`` is read when it is first needed and again when a test overrides it.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.settings import AGENT_VARIABLES, INTERCHANGE_VARIABLES
from adcp_tracker.web.options import CAPTURE_OPTIONS
from adcp_tracker.web.setup import TRACKER_OPTIONS, Integration, configure
from adcp_tracker_django.on_commit import run_on_commit

if TYPE_CHECKING:
    from adcp_tracker import Tracker
    from adcp_tracker.web.capture import Capture

SETTING: Final = "ADCP_TRACKER"
COMMIT_AWARE: Final = "commit_aware"

_PREFIX: Final = "ADCP_"
_CONTEXT_KEYS: Final = "ADCP_CONTEXT_KEYS"
_DESTINATION_VARIABLES: Final = {
    variable.name.removeprefix(_PREFIX).lower(): variable.name
    for variable in (*INTERCHANGE_VARIABLES, *AGENT_VARIABLES)
}
_IMPORTED: Final = ("consent", "destinations", "on_commit", "on_drop")

_integration: Integration | None = None
_lock = threading.Lock()


def get_tracker() -> Tracker:
    """Return this process's tracker, made when it is first asked for.

    It is the same one until the process ends, in every thread and task; after a fork, the
    child's is a tracker of its own.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` cannot be right.
    """
    return (_integration or _get_or_make()).tracker


def get_capture() -> Capture:
    """Return what captures this site's requests.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` cannot be right.
    """
    return (_integration or _get_or_make()).capture


def make_integration(**changes: object) -> Integration:
    """Make a tracker and a capture of the site's settings, beside those of the process.

    Args:
        **changes: Options that count instead of the site's.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` cannot be right.
    """
    try:
        options = {**read_options(getattr(settings, SETTING, {})), **changes}
        _check_names(options)
        commit_aware = _pop_commit_aware(options)
        return configure(
            _import_paths(options),
            debug=settings.DEBUG,
            on_commit=run_on_commit if commit_aware else None,
            environ=_environ(options),
        )
    except ConfigurationError as error:
        raise type(error)(f"{SETTING}: {error}") from None


def read_options(given: object) -> dict[str, object]:
    """Return the site's options by their lower-case names, as the core knows them.

    Raises:
        ConfigurationError: If it is no mapping, or has an option twice.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"expected a dictionary of options, got {type(given).__name__}")
    options: dict[str, object] = {}
    for key, value in given.items():
        name = str(key).lower()
        if name in options:
            raise ConfigurationError(f"{key}: expected it once, got it in two spellings")
        options[name] = value
    return options


def reset() -> None:
    """Let go of the tracker and the capture, so that the settings are read anew."""
    global _integration
    with _lock:
        old, _integration = _integration, None
    if old is not None:
        old.tracker.stop(timeout=0)


def on_setting_changed(*, setting: str, **_: object) -> None:
    """Follow a test that overrides settings."""
    if setting in {SETTING, "DEBUG", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        reset()


def _get_or_make() -> Integration:
    global _integration  # noqa: PLW0603 - there is one per process
    with _lock:
        if _integration is None:
            _integration = make_integration()
        return _integration


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a thread that is not here may have held it
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _check_names(options: Mapping[str, object]) -> None:
    """Look for a typing error among all keys, those that describe a destination as well."""
    known = {COMMIT_AWARE, *CAPTURE_OPTIONS, *TRACKER_OPTIONS, *_DESTINATION_VARIABLES}
    for name in options.keys() - known:
        close = difflib.get_close_matches(name, sorted(known), 1)
        advice = f"did you mean {close[0].upper()!r}?" if close else "see the table of settings"
        raise ConfigurationError(f"{name.upper()}: expected a known key, got this one; {advice}")


def _pop_commit_aware(options: dict[str, object]) -> bool:
    value = options.pop(COMMIT_AWARE, True)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{COMMIT_AWARE}: expected True or False, got {value!r}")
    return value


def _environ(options: dict[str, object]) -> dict[str, str]:
    """Take the options that describe a destination, each as the variable of its name."""
    environ = {_CONTEXT_KEYS: ",".join(_context_keys()), **os.environ}
    flat = [name for name in _DESTINATION_VARIABLES if name in options]
    if flat and "destinations" in options:
        raise ConfigurationError(
            f"destinations: expected it alone, got it beside {flat[0]}, which describes one too"
        )
    for name in flat:
        value = options.pop(name)
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name}: expected a string, got {type(value).__name__}")
        environ[_DESTINATION_VARIABLES[name]] = value or ""
    return environ


def _context_keys() -> list[str]:
    """Make keys of the site's own, so that every machine that shares those reads its tokens."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [
        salted_hmac(SETTING, _CONTEXT_KEYS, secret=secret, algorithm="sha256").hexdigest()
        for secret in secrets
    ]


def _import_paths(options: dict[str, object]) -> dict[str, object]:
    """Import what is given by its dotted path, since settings cannot import a site's own code."""
    for name in _IMPORTED:
        value = options.get(name)
        if isinstance(value, str):
            options[name] = _imported(name, value)
    if callable(make := options.get("destinations")):
        options["destinations"] = make()
    return options


def _imported(name: str, path: str) -> object:
    try:
        found: object = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"{name}: expected the dotted path of something importable, got {path!r}: {error}"
        ) from None
    return found
