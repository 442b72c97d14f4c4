"""The tracker of the application that is being served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.setup import Integration

if TYPE_CHECKING:
    from adcp_tracker.tracker import Tracker

EXTENSION = "adcp_tracker"
"""What the extension is called in ``app.extensions``."""


def get_tracker() -> Tracker:
    """Return the current application's tracker.

    Raises:
        ConfigurationError: If it has none.
        RuntimeError: If there is no current application.
    """
    setup = current_app.extensions.get(EXTENSION)
    if not isinstance(setup, Integration):
        raise ConfigurationError(
            f"app.extensions[{EXTENSION!r}]: expected a tracker, got none; "
            "call AdcpTracker(app, …), or init_app(app) in the application factory"
        )
    return setup.tracker
