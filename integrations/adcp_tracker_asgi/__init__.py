"""Add the shopper's request to the events of any ASGI application.

::

    app = AdcpTrackerMiddleware(app, directory="/var/lib/shop/adcp", …)
"""

from adcp_tracker_asgi.lifespan import closing_lifespan
from adcp_tracker_asgi.middleware import (
    TRACKER_KEY,
    AdcpTrackerMiddleware,
    get_tracker,
    health_app,
)

__all__ = ["TRACKER_KEY", "AdcpTrackerMiddleware", "closing_lifespan", "get_tracker", "health_app"]
