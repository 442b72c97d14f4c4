"""Let the events of any WSGI application carry the shopper's request.

::

    application = AdcpTrackerMiddleware(application, directory="/var/lib/shop/adcp", …)
"""

from adcp_tracker_wsgi.middleware import TRACKER_KEY, AdcpTrackerMiddleware, get_tracker

__all__ = ["TRACKER_KEY", "AdcpTrackerMiddleware", "get_tracker"]
