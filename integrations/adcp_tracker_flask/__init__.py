"""Track conversions in a Flask application.

::

    AdcpTracker(app, directory="/var/lib/shop/adcp", destinations=[Interchange(…)])

    @app.post("/checkout")
    def checkout():
        get_tracker().track_purchase(order)
"""

from adcp_tracker_flask.extension import AdcpTracker, get_tracker, health

__all__ = ["AdcpTracker", "get_tracker", "health"]
