"""The two claims that hold under every server: all is delivered, and killing loses nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.integrations.servers import buy_all, killing, shoppers, told

if TYPE_CHECKING:
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
