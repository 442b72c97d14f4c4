"""A shop on Django under gunicorn and uvicorn: every order arrives, with who and where."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integrations.django.serving import (
    GUNICORN,
    UVICORN,
    Shopper,
    carried,
    environment,
    manage,
    serve,
    shop_at,
)
from tests.support.seller import run_seller_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.seller import SellerProcess

pytest.importorskip("gunicorn")

ORDERS = 500
ORDERS_IN_TROUBLE = 200
SERVERS = {
    "sync": ((*GUNICORN, "--workers", "2"), "buy"),
    "threads": ((*GUNICORN, "--workers", "2", "--threads", "4"), "buy"),
    "preload": ((*GUNICORN, "--workers", "2", "--preload"), "buy"),
    "uvicorn": ((*UVICORN, "--workers", "2"), "async/buy"),
    "uvicorn, synchronous view": (UVICORN, "buy"),
}


@pytest.fixture(scope="module")
def standing_seller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SellerProcess]:
    """A seller for the whole module, as it takes a while to start."""
    with run_seller_process(tmp_path_factory.mktemp("seller")) as seller:
        yield seller


@pytest.fixture
def env(tmp_path: Path, standing_seller: SellerProcess) -> dict[str, str]:
    """The environment of a shop of its own, whose seller remembers nobody."""
    standing_seller.reset()
    return environment(tmp_path, standing_seller)


def delivered(seller: SellerProcess) -> dict[str, tuple[str, str, str]]:
    """Return what each event at the seller carries, by its id."""
    events = seller.events
    carried_by_id = {event["event_id"]: carried(event) for event in events}
    assert len(carried_by_id) == len(events)
    return carried_by_id


@pytest.mark.parametrize(
    "name", ["sync", "threads", "preload", "uvicorn", "uvicorn, synchronous view"]
)
def test_every_order_is_delivered_with_who_and_where(
    name: str, env: dict[str, str], standing_seller: SellerProcess
) -> None:
    """Of 500 orders, 500 events reach the seller, each with its own address, browser and page."""
    command, where = SERVERS[name]
    shoppers = [Shopper(number, where) for number in range(ORDERS)]
    with serve(env, *command) as server:
        answered = shop_at(server, shoppers)
        standing_seller.wait_for(ORDERS, timeout=20)
    assert delivered(standing_seller) == {
        event_id: shopper.expected() for event_id, shopper in answered.items()
    }
    assert len(answered) == ORDERS


@pytest.mark.parametrize("name", ["sync", "threads", "preload", "uvicorn"])
def test_no_order_is_lost_when_workers_end_in_mid_load(
    name: str, env: dict[str, str], standing_seller: SellerProcess
) -> None:
    """One is told to end, another killed: every order that was confirmed arrives, and once."""
    command, where = SERVERS[name]
    shoppers = [Shopper(number, where) for number in range(ORDERS_IN_TROUBLE)]
    ways = [signal.SIGTERM, signal.SIGKILL]

    def end(bought: dict[str, int]) -> None:
        os.kill(bought["pid"], ways.pop(0))

    with serve(env, *command) as server:
        answered = shop_at(server, shoppers, midway=end)
        standing_seller.wait_for(len(answered), timeout=20)
    assert not ways
    assert len(answered) > ORDERS_IN_TROUBLE * 0.8
    flushed = manage(env, "adcp", "flush", "--json")
    assert flushed.returncode == 0, flushed.stderr
    arrived = delivered(standing_seller)
    assert {key: arrived.get(key) for key in answered} == {
        event_id: shopper.expected() for event_id, shopper in answered.items()
    }
    # Whoever was on the line when it broke may have bought or not, but nobody else came.
    assert set(arrived) <= {f"A-{shopper.number}" for shopper in shoppers}


@pytest.mark.parametrize(
    ("command", "where"), [("threads", "checkout"), ("uvicorn", "async/checkout")]
)
def test_an_order_kept_in_a_transaction_is_delivered_once_committed(
    command: str, where: str, env: dict[str, str], standing_seller: SellerProcess
) -> None:
    """Orders that the shop keeps in its database arrive as well, from its threads too."""
    assert manage(env, "migrate", "--run-syncdb").returncode == 0
    shoppers = [Shopper(number, where) for number in range(50)]
    with serve(env, *SERVERS[command][0]) as server:
        answered = shop_at(server, shoppers)
        standing_seller.wait_for(len(shoppers), timeout=20)
    assert delivered(standing_seller) == {
        event_id: shopper.expected() for event_id, shopper in answered.items()
    }
    assert len(answered) == len(shoppers)


def test_what_a_dead_server_left_is_delivered_by_the_next_ones_first_request(
    env: dict[str, str], standing_seller: SellerProcess
) -> None:
    """Events need not wait for another event: a page that tracks nothing is enough."""
    standing_seller.fail(status=503)
    with serve(env, *UVICORN) as server:
        assert len(shop_at(server, [Shopper(1)])) == 1
        server.process.kill()
        server.process.wait()
    standing_seller.reset()
    with serve({**env, "ADCP_FLUSH_INTERVAL": "0.1"}, *UVICORN) as server:
        assert httpx.get(f"{server.url}/", headers={"Host": "shop.example"}).text == "page"
        standing_seller.wait_for(1, timeout=20)
    assert standing_seller.event_ids == ["A-1"]


def test_an_event_adds_nothing_to_the_event_loop_but_its_append(
    env: dict[str, str], standing_seller: SellerProcess
) -> None:
    """An asynchronous view's event opens, connects, locks and sleeps for nothing."""
    with serve(env, *UVICORN) as server:
        answer = httpx.get(f"{server.url}/async/overheard/1", headers={"Host": "shop.example"})
        assert answer.json() == {"overheard": []}
        standing_seller.wait_for(2, timeout=20)
