"""Conversion tracking for Django: one app, one middleware, one setting.

::

    INSTALLED_APPS = [..., "adcp_tracker_django"]
    MIDDLEWARE = ["adcp_tracker_django.middleware.AdcpTrackerMiddleware", ...]
    ADCP_TRACKER = {"DIRECTORY": "/var/lib/shop/adcp", ...}

and then, in any view::

    from adcp_tracker_django import get_tracker

    get_tracker().track_purchase(order)
"""

from adcp_tracker_django.config import get_tracker

__all__ = ["get_tracker"]
