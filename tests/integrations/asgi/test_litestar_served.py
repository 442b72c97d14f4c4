"""A Litestar application under uvicorn with two workers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.integrations.losing_none import ORDERS, check_all_delivered
from tests.integrations.servers import (
    SCRIPTS,
    buy_all,
    killing,
    serve,
    shop_environment,
    shoppers,
    told,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seller import SellerProcess

pytest.importorskip("litestar")

SHOP = "tests.integrations.asgi.litestar_shop:app"


def command(port: int) -> list[str]:
    """Return uvicorn's command line."""
    own = ["--workers", "2", "--no-proxy-headers", "--port", str(port)]
    return [str(SCRIPTS / "uvicorn"), SHOP, *own]


def test_under_uvicorn(tmp_path: Path, seller_process: SellerProcess) -> None:
    """500 orders make 500 events with their shopper, at once or after the answer."""
    environment = shop_environment(tmp_path / "queue", seller_process)
    with serve(command, environment, tmp_path) as server:
        check_all_delivered(server, seller_process)
        server.stop()
    assert "Traceback" not in server.log.read_text()


def test_killed_workers_lose_none(tmp_path: Path, seller_process: SellerProcess) -> None:
    """What was tracked before the answer is there, whatever became of the worker since."""
    environment = shop_environment(tmp_path / "queue", seller_process)
    bought = [each for each in shoppers(0, ORDERS) if not each.number % 2]

    with serve(command, environment, tmp_path) as server:
        buy_all(server.url, bought, killing((60, signal.SIGTERM), (140, signal.SIGKILL)))
        seller_process.wait_for(len(bought), timeout=20)
        server.stop()
    assert {each.seen for each in bought} <= set(map(told, seller_process.events))
