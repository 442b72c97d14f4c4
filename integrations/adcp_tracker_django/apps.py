"""The app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import setting_changed


class AdcpTrackerConfig(AppConfig):
    """Registers the system checks. Starts no thread."""

    name = "adcp_tracker_django"
    label = "adcp_tracker"
    verbose_name = "AdCP tracker"

    def ready(self) -> None:
        """Register the checks and the signal handler."""
        from adcp_tracker_django import checks, config  # noqa: PLC0415 - settings are ready now

        checks.register()
        setting_changed.connect(config.on_setting_changed, dispatch_uid="adcp_tracker.config")
