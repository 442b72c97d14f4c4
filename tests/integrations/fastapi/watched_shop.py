"""A shop whose purchases are tracked on the event loop, between two marks in the system's log."""

from __future__ import annotations

import os

from fastapi import FastAPI

from adcp_tracker_fastapi import AdcpTracker, TrackerDep

BEGUN = "/mark-of-a-begun-purchase"
ENDED = "/mark-of-an-ended-purchase"


def application() -> FastAPI:
    """Return the shop; its options come from ``ADCP_*``."""
    app = FastAPI()
    AdcpTracker(app, trusted_proxies=["127.0.0.0/8"])

    @app.get("/health")
    async def health() -> str:
        return "well"

    @app.post("/buy/{order_id}")
    async def buy(order_id: str, tracker: TrackerDep) -> int:
        """Sell one thing on the event loop, and say which process did.

        Looking for a file that is not there is a system call that whoever traces can find.
        """
        order = {"id": order_id, "total": "12.50", "currency": "EUR", "email": "a@mail.example"}
        os.access(BEGUN, os.F_OK)
        tracker.track_purchase(order)
        os.access(ENDED, os.F_OK)
        return os.getpid()

    return app
