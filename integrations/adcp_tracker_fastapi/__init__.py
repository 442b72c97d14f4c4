"""Track conversions in a FastAPI or Starlette application.

::

    AdcpTracker(app, directory="/var/lib/shop/adcp", destinations=[Interchange(…)])

    @app.post("/checkout")
    def checkout(order: Order, tracker: TrackerDep):
        tracker.track_purchase(order)
"""

from adcp_tracker_asgi import AdcpTrackerMiddleware, closing_lifespan
from adcp_tracker_fastapi.extension import (
    AdcpTracker,
    TrackerDep,
    get_tracker,
    health_router,
)

__all__ = [
    "AdcpTracker",
    "AdcpTrackerMiddleware",
    "TrackerDep",
    "closing_lifespan",
    "get_tracker",
    "health_router",
]
