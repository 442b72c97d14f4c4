"""Make this process's tracker and capture from ``settings.ADCP_TRACKER``.

The setting is read when it is first needed, and again when a test overrides it.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.core import mail
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.settings import AGENT_VARIABLES, INTERCHANGE_VARIABLES
from adcp_tracker.web.options import CAPTURE_OPTIONS
from adcp_tracker.web.setup import TRACKER_OPTIONS, Integration, configure
from adcp_tracker_django.on_commit import run_on_commit
from adcp_tracker_django.outbox import DjangoOutbox, database_url, has_worker_driver

if TYPE_CHECKING:
    from adcp_tracker import Tracker
    from adcp_tracker.web.capture import Capture

SETTING: Final = "ADCP_TRACKER"
COMMIT_AWARE: Final = "commit_aware"
USING: Final = "using"
IN_TRANSACTION: Final = "transaction"

_PREFIX: Final = "ADCP_"
_CONTEXT_KEYS: Final = "ADCP_CONTEXT_KEYS"
_DESTINATION_VARIABLES: Final = {
    variable.name.removeprefix(_PREFIX).lower(): variable.name
    for variable in (*INTERCHANGE_VARIABLES, *AGENT_VARIABLES)
}
_HOOKS: Final = ("on_commit", "on_delivered", "on_drop", "on_paused", "on_rejected")
_IMPORTED: Final = ("consent", "destinations", *_HOOKS)

_integration: Integration | None = None
_lock = threading.Lock()


def get_tracker() -> Tracker:
    """Return this process's tracker; the first call makes it.

    It is the same one in every thread and task until the process ends.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` is invalid.
    """
    return (_integration or _get_or_make()).tracker


def get_capture() -> Capture:
    """Return what computes the contexts of this site's requests.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` is invalid.
    """
    return (_integration or _get_or_make()).capture


def make_integration(**changes: object) -> Integration:
    """Make another tracker and capture from the site's settings.

    Args:
        **changes: Options that replace those of the site.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` is invalid.
    """
    try:
        options = {**read_options(getattr(settings, SETTING, {})), **changes}
        _check_names(options)
        commit_aware = _pop_commit_aware(options)
        _choose_outbox(options, commit_aware=commit_aware)
        return configure(
            _import_paths(options),
            debug=settings.DEBUG,
            on_commit=run_on_commit if commit_aware else None,
            environ=_environ(options),
        )
    except ConfigurationError as error:
        raise type(error)(f"{SETTING}: {error}") from None


def read_options(given: object) -> dict[str, object]:
    """Return the site's options by their lower-case names.

    Raises:
        ConfigurationError: If the setting isn't a mapping, or has an option twice.
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
    """Drop the tracker and the capture, so that the settings are read again."""
    global _integration
    with _lock:
        old, _integration = _integration, None
    if old is not None:
        old.tracker.stop(timeout=0)


def on_setting_changed(*, setting: str, **_: object) -> None:
    """Reset when a test overrides a setting that matters here."""
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
    """Check the names of all keys, including those that describe a destination."""
    known = {COMMIT_AWARE, USING, *CAPTURE_OPTIONS, *TRACKER_OPTIONS, *_DESTINATION_VARIABLES}
    for name in options.keys() - known:
        close = difflib.get_close_matches(name, sorted(known), 1)
        hint = f"Did you mean {close[0].upper()!r}?" if close else "See the table of settings"
        raise ConfigurationError(f"Unknown key {name.upper()!r}. {hint}")


def _pop_commit_aware(options: dict[str, object]) -> bool:
    value = options.pop(COMMIT_AWARE, True)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{COMMIT_AWARE}: expected True or False, got {value!r}")
    return value


def _choose_outbox(options: dict[str, object], *, commit_aware: bool) -> None:
    """Have events inserted in transactions if the queue is ``"transaction"``.

    Without a directory, the queue is read and written outside of transactions over connections
    of the library's own. Not in tests: those would see nothing of a test's transaction, and
    Django couldn't drop the test database while they are open.
    """
    using = options.pop(USING, None)
    if options.get("queue") != IN_TRANSACTION:
        if using is not None:
            raise ConfigurationError(f"{USING}: expected with QUEUE = {IN_TRANSACTION!r}")
        return
    alias = "default" if using is None else str(using)
    options["transactional_outbox"] = DjangoOutbox(alias, commit_aware=commit_aware)
    del options["queue"]
    elsewhere = options.get("directory") or os.environ.get("ADCP_DIRECTORY")
    if not elsewhere and not _runs_tests() and has_worker_driver(alias):
        options["queue"] = database_url(alias)


def _runs_tests() -> bool:
    return hasattr(mail, "outbox")  # as Django's documentation tells test runs from others


def _environ(options: dict[str, object]) -> dict[str, str]:
    """Turn the options that describe a destination into environment variables."""
    environ = {_CONTEXT_KEYS: ",".join(_context_keys()), **os.environ}
    if "transactional_outbox" in options and _runs_tests():
        environ.pop("ADCP_QUEUE", None)  # it isn't the test's database
    flat = [name for name in _DESTINATION_VARIABLES if name in options]
    if flat and "destinations" in options:
        raise ConfigurationError(
            f"destinations can't be combined with {flat[0]}, which describes a destination too"
        )
    for name in flat:
        value = options.pop(name)
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{name}: expected a string, got {type(value).__name__}")
        environ[_DESTINATION_VARIABLES[name]] = value or ""
    return environ


def _context_keys() -> list[str]:
    """Derive keys from SECRET_KEY, so that all machines of the site can read its tokens."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [
        salted_hmac(SETTING, _CONTEXT_KEYS, secret=secret, algorithm="sha256").hexdigest()
        for secret in secrets
    ]


def _import_paths(options: dict[str, object]) -> dict[str, object]:
    """Import what is given as a dotted path, since settings can't import the site's own code."""
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
            f"{name}: expected a dotted path that can be imported, got {path!r}: {error}"
        ) from None
    return found
