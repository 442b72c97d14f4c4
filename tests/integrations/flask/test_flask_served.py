"""Flask under gunicorn, with every kind of worker it is usually run with."""

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

SHOP = "tests.integrations.flask.flask_shop:app"


def gunicorn(*options: str) -> list[str]:
    """Return gunicorn's command line, but for the port."""
    common = ["--workers", "2", "--graceful-timeout", "5", "--no-control-socket", SHOP]
    return [str(SCRIPTS / "gunicorn"), *common, *options]


@pytest.mark.parametrize(
    "options",
    [
        ["--worker-class", "sync"],
        ["--worker-class", "sync", "--preload"],
        ["--worker-class", "gthread", "--threads", "4"],
        ["--worker-class", "gthread", "--threads", "4", "--preload"],
        ["--worker-class", "gevent"],
        # gevent patches only in the worker, after everything was imported and a tracker made.
        ["--worker-class", "gevent", "--preload"],
    ],
    ids=["sync", "sync-preload", "threads", "threads-preload", "gevent", "gevent-preload"],
)
def test_under_gunicorn(options: list[str], tmp_path: Path, seller_process: SellerProcess) -> None:
    """500 orders make 500 events with their shopper, and killed workers lose none."""
    environment = shop_environment(tmp_path / "queue", seller_process)

    def command(port: int) -> list[str]:
        return [*gunicorn(*options), "--bind", f"127.0.0.1:{port}"]

    with serve(command, environment, tmp_path) as server:
        workers = check_all_delivered(server, seller_process)
        assert 1 <= len(workers) <= 2  # which of them serves is the kernel's choice
        check_killing_loses_none(server, seller_process)
        server.stop()
    assert "Traceback" not in server.log.read_text()


def one_worker(port: int) -> list[str]:
    """Return the command line of gunicorn with a single worker."""
    return [*gunicorn("--workers", "1"), "--bind", f"127.0.0.1:{port}"]


def one_preloaded(port: int) -> list[str]:
    """Return the same, with the application loaded before the worker is forked."""
    return [*one_worker(port), "--preload"]


@pytest.mark.parametrize("command", [one_worker, one_preloaded])
def test_what_a_killed_process_left_is_delivered_at_the_next_ones_first_page(
    command: Callable[[int], list[str]], tmp_path: Path, seller_process: SellerProcess
) -> None:
    """Nobody needs to buy anything for it."""
    check_a_page_view_delivers(command, tmp_path, seller_process)


def test_a_process_that_never_tracked_takes_over(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """One that has served a page is as good a successor as any."""
    check_a_survivor_delivers(one_worker, tmp_path, seller_process)
