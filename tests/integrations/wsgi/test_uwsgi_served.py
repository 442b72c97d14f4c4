"""A plain WSGI application under uWSGI, with threads enabled and without."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._process import threads_enabled
from tests.integrations.losing_none import ORDERS, check_all_delivered, check_killing_loses_none
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

SHOP = "tests.integrations.wsgi.wsgi_shop:app"
UWSGI = shutil.which("uwsgi", path=str(SCRIPTS))

pytestmark = pytest.mark.skipif(UWSGI is None, reason="needs the extra uwsgi, which is compiled")


def uwsgi(port: int, *options: str) -> list[str]:
    """Return uWSGI's command line."""
    shop = ["--module", SHOP, "--need-app", "--master", "--processes", "2"]
    where = ["--virtualenv", sys.prefix, "--http-socket", f"127.0.0.1:{port}"]
    ends = ["--die-on-term", "--no-orphans"]
    return [str(UWSGI), *shop, *where, *ends, "--disable-logging", *options]


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["forked", "lazy"])
def test_with_threads(options: list[str], tmp_path: Path, seller_process: SellerProcess) -> None:
    """500 orders make 500 events with their shopper, and killed workers lose none."""
    environment = shop_environment(tmp_path / "queue", seller_process)

    def command(port: int) -> list[str]:
        return uwsgi(port, "--enable-threads", *options)

    with serve(command, environment, tmp_path) as server:
        workers = check_all_delivered(server, seller_process)
        assert 1 <= len(workers) <= 2  # which of them serves is the kernel's choice
        check_killing_loses_none(server, seller_process)
        if options:
            await_loaded(server.log, killed=2)
        server.stop()
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["--gevent-early-monkey-patch"],
        # Patches when the application has been imported, and a tracker made.
        ["--gevent-monkey-patch"],
        ["--gevent-monkey-patch", "--lazy-apps"],
    ],
    ids=["early", "late", "late-lazy"],
)
def test_with_gevent(options: list[str], tmp_path: Path, seller_process: SellerProcess) -> None:
    """500 orders make 500 events with their shopper, whenever uWSGI patches."""
    environment = shop_environment(tmp_path / "queue", seller_process, PYTHONWARNINGS="default")

    def command(port: int) -> list[str]:
        return uwsgi(port, "--enable-threads", "--gevent", "20", *options)

    with serve(command, environment, tmp_path) as server:
        check_all_delivered(server, seller_process)
        server.stop()
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("options", [[], ["--lazy-apps"]], ids=["forked", "lazy"])
def test_without_threads(options: list[str], tmp_path: Path, seller_process: SellerProcess) -> None:
    """Events wait on disk while no thread can run, and a worker beside uWSGI delivers them.

    Killed workers lose none of them.
    """
    environment = shop_environment(tmp_path / "queue", seller_process)
    bought = shoppers(0, ORDERS)
    with serve(lambda port: uwsgi(port, *options), environment, tmp_path) as server:
        if "threads support is disabled" not in server.log.read_text():
            pytest.skip("this uWSGI always enables threads")
        buy_all(server.url, bought, killing((200, signal.SIGTERM), (350, signal.SIGKILL)))
        assert seller_process.counts["good"] == 0
        deliver(environment)
        seen = sorted(map(told, seller_process.events))
        assert seen == sorted(each.seen for each in bought)
        assert "flusher.no_threads" in server.log.read_text()


def await_loaded(log: Path, killed: int) -> None:
    """Wait for workers in place of `killed` ones: uWSGI hangs if it is stopped meanwhile."""
    deadline = time.monotonic() + 20
    text = ""
    while text.count("respawned uwsgi w") < killed or (
        text.count("wsgi app 0 ") < text.count("spawned uwsgi w")
    ):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
        text = log.read_text().lower()


def deliver(environment: dict[str, str]) -> None:
    """Deliver what waits from a process beside the server, as a worker does."""
    program = (
        "from adcp_tracker import Tracker\n"
        "with Tracker.from_env() as tracker:\n"
        "    raise SystemExit(tracker.flush(20).pending)"
    )
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_everywhere_else_threads_run() -> None:
    """Only uWSGI keeps them from it."""
    assert threads_enabled()
