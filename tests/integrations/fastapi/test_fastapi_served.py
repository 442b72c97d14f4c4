"""FastAPI under uvicorn, Hypercorn and Granian, each with two workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integrations.losing_none import (
    check_a_page_view_delivers,
    check_a_survivor_delivers,
    check_all_delivered,
    check_killing_loses_none,
)
from tests.integrations.servers import SCRIPTS, serve, shop_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.seller import SellerProcess

SHOP = "tests.integrations.fastapi.fastapi_shop:app"


def test_under_uvicorn(tmp_path: Path, seller_process: SellerProcess) -> None:
    """500 orders make 500 events with their shopper, and killed workers lose none."""
    environment = shop_environment(tmp_path / "queue", seller_process)

    def command(port: int) -> list[str]:
        # The site's proxies are told to the tracker, and uvicorn leaves addresses alone.
        own = ["--workers", "2", "--no-proxy-headers", "--port", str(port)]
        return [str(SCRIPTS / "uvicorn"), SHOP, *own]

    with serve(command, environment, tmp_path) as server:
        workers = check_all_delivered(server, seller_process)
        assert 1 <= len(workers) <= 2  # which of them serves is the kernel's choice
        check_killing_loses_none(server, seller_process)
        server.stop()
    assert "Traceback" not in server.log.read_text()


def hypercorn(port: int) -> list[str]:
    """Return Hypercorn's command line."""
    return [str(SCRIPTS / "hypercorn"), "--workers", "2", "--bind", f"127.0.0.1:{port}", SHOP]


def granian(port: int) -> list[str]:
    """Return Granian's command line."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return [str(SCRIPTS / "granian"), "--interface", "asgi", "--workers", "2", *where, SHOP]


@pytest.mark.parametrize("command", [hypercorn, granian])
def test_under_other_servers(
    command: Callable[[int], list[str]], tmp_path: Path, seller_process: SellerProcess
) -> None:
    """500 orders make 500 events with their shopper."""
    environment = shop_environment(tmp_path / "queue", seller_process, PYTHONWARNINGS="default")
    with serve(command, environment, tmp_path) as server:
        check_all_delivered(server, seller_process)
        server.stop()
    assert "Traceback" not in server.log.read_text()


def one_process(port: int) -> list[str]:
    """Return the command line of uvicorn in one process, without lifespans.

    What the lifespan does is tested by itself; this leaves it to the first request.
    """
    own = ["--lifespan", "off", "--no-proxy-headers", "--port", str(port)]
    return [str(SCRIPTS / "uvicorn"), SHOP, *own]


def test_what_a_killed_process_left_is_delivered_at_the_next_ones_first_page(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """Nobody needs to buy anything for it."""
    check_a_page_view_delivers(one_process, tmp_path, seller_process)


def test_a_process_that_never_tracked_takes_over(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """One that has served a page is as good a successor as any."""
    check_a_survivor_delivers(one_process, tmp_path, seller_process)
