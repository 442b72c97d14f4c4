"""What holds under every server: all is delivered, killing loses nothing, nothing waits in vain."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.integrations.servers import (
    Shopper,
    buy_all,
    killing,
    serve,
    shop_environment,
    shoppers,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integrations.servers import Server
    from tests.support.seller import SellerProcess

ORDERS = 500
_MORE = 250


def check_all_delivered(server: Server, seller: SellerProcess) -> set[int]:
    """Buy 500 orders, and see each at the seller once, told as its shopper sent it.

    Returns:
        The process ids of the workers that served them.
    """
    bought = shoppers(0, ORDERS)
    workers = buy_all(server.url, bought)
    seller.wait_for(ORDERS, timeout=20)
    assert sorted(map(told, seller.events)) == sorted(each.seen for each in bought)
    assert seller.counts["duplicates"] == 0
    return workers


def check_killing_loses_none(server: Server, seller: SellerProcess) -> None:
    """Kill workers in the middle of 250 more orders, and see every one at the seller.

    Who was not answered buys again, so an order may arrive twice, under its one id.
    """
    bought = shoppers(ORDERS, ORDERS + _MORE)
    killed = killing((60, signal.SIGTERM), (140, signal.SIGKILL))
    buy_all(server.url, bought, killed)
    seller.wait_for(ORDERS + _MORE, timeout=20)
    found = {told(event) for event in seller.events}
    assert {each.seen for each in bought} <= found


def check_a_page_view_delivers(
    command: Callable[[int], list[str]], folder: Path, seller: SellerProcess
) -> None:
    """Kill a shop that could not deliver, start another, and look at a page that tracks nothing."""
    bought = Shopper(1)
    seller.fail(status=503)
    with serve(command, _environment(folder, seller, "600"), folder) as server:
        (worker,) = buy_all(server.url, [bought])
        server.kill(worker)
    seller.reset()
    with serve(command, _environment(folder, seller, "0.1"), folder) as server:
        # It looks at pages until it is answered, which is all that is asked of the shop.
        seller.wait_for(1, timeout=20)
        server.stop()
    assert list(map(told, seller.events)) == [bought.seen]


def check_a_survivor_delivers(
    command: Callable[[int], list[str]], folder: Path, seller: SellerProcess
) -> None:
    """Kill the process that uploads, beside one of which only a page was ever looked at."""
    bought = Shopper(1)
    seller.fail(status=503)
    with serve(command, _environment(folder, seller, "600"), folder) as leader:
        (worker,) = buy_all(leader.url, [bought])
        with serve(command, _environment(folder, seller, "0.1"), folder) as survivor:
            seller.reset()
            leader.kill(worker)
            seller.wait_for(1, timeout=60)  # the wait after a 503 grows while both start
            survivor.stop()
    assert list(map(told, seller.events)) == [bought.seen]


def _environment(folder: Path, seller: SellerProcess, interval: str) -> dict[str, str]:
    return shop_environment(folder / "queue", seller, ADCP_FLUSH_INTERVAL=interval)
