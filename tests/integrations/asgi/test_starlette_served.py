"""A Starlette application, without FastAPI, under uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integrations.losing_none import ORDERS, check_all_delivered
from tests.integrations.servers import SCRIPTS, buy_all, serve, shop_environment, shoppers, told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seller import SellerProcess

SHOP = "tests.integrations.asgi.starlette_shop:app"


def command(port: int) -> list[str]:
    """Return uvicorn's command line."""
    return [str(SCRIPTS / "uvicorn"), SHOP, "--no-proxy-headers", "--port", str(port)]


def test_a_starlette_app(tmp_path: Path, seller_process: SellerProcess) -> None:
    """Events carry their shopper from the loop, threads and background tasks alike."""
    environment = shop_environment(tmp_path / "queue", seller_process)
    with serve(command, environment, tmp_path) as server:
        check_all_delivered(server, seller_process)
        server.stop()
    assert "Traceback" not in server.log.read_text()


def test_what_waits_is_delivered_on_shutdown(tmp_path: Path, seller_process: SellerProcess) -> None:
    """The lifespan flushes, though uvicorn ends its process by a signal after it."""
    environment = shop_environment(tmp_path / "queue", seller_process, ADCP_FLUSH_INTERVAL="600")
    bought = shoppers(ORDERS, ORDERS + 8)
    with serve(command, environment, tmp_path) as server:
        buy_all(server.url, bought)
        assert seller_process.counts["good"] == 0
        server.stop()
        assert sorted(map(told, seller_process.events)) == sorted(each.seen for each in bought)
