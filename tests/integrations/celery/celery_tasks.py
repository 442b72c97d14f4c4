"""Celery tasks that track purchases; broker and pool come from the environment."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from adcp_tracker import Tracker

_BROKER = os.environ["SHOP_BROKER"]

app = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": _BROKER,
        "data_folder_out": _BROKER,
        "control_folder": f"{_BROKER}-control",
        "polling_interval": 0.05,
    },
    worker_max_tasks_per_child=int(os.environ.get("SHOP_TASKS_PER_CHILD", "0")) or None,
    worker_hijack_root_logger=False,
    task_acks_late=True,
)
tracker = Tracker.from_env()


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def paid(order: dict[str, Any]) -> None:
    """Track the purchase of a paid order."""
    tracker.track_purchase(order)
