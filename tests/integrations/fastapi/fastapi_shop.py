"""A shop on FastAPI, as the servers under test load it; its options come from ``ADCP_*``."""

from __future__ import annotations

import os

from fastapi import FastAPI

from adcp_tracker_fastapi import AdcpTracker, TrackerDep

app = FastAPI()
AdcpTracker(app, trusted_proxies=["127.0.0.0/8"])


@app.get("/health")
async def health() -> str:
    """Say that requests are served."""
    return "well"


@app.post("/buy/{order_id}")
def buy(order_id: str, tracker: TrackerDep) -> int:
    """Sell one thing, in a thread of the pool, and say which process did."""
    tracker.track_purchase({"id": order_id, "total": "12.50", "currency": "EUR"})
    return os.getpid()
