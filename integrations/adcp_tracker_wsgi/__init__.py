"""Add the shopper's request to the events of any WSGI application.

::

    application = AdcpTrackerMiddleware(application, directory="/var/lib/shop/adcp", …)
"""

from adcp_tracker_wsgi.middleware import (
    TRACKER_KEY,
    AdcpTrackerMiddleware,
    get_tracker,
    health_app,
)

__all__ = ["TRACKER_KEY", "AdcpTrackerMiddleware", "get_tracker", "health_app"]
