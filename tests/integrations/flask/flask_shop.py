"""A shop on Flask, as the servers under test load it; its options come from ``ADCP_*``."""

from __future__ import annotations

import os

from flask import Flask

from adcp_tracker_flask import AdcpTracker, get_tracker

app = Flask(__name__)
AdcpTracker(app, trusted_proxies=["127.0.0.0/8"])


@app.get("/health")
def health() -> str:
    """Say that requests are served."""
    return "well"


@app.post("/buy/<order_id>")
def buy(order_id: str) -> str:
    """Sell one thing, and say which process did."""
    get_tracker().track_purchase({"id": order_id, "total": "12.50", "currency": "EUR"})
    return str(os.getpid())
