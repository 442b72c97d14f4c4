"""What an event asks of the operating system on an event loop's thread: one append."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.integrations.fastapi.watched_shop import BEGUN, ENDED
from tests.integrations.servers import SCRIPTS, buy_all, serve, shop_environment, shoppers
from tests.support.crashing import syscalls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seller import SellerProcess

SHOP = "tests.integrations.fastapi.watched_shop:application"
ORDERS = 40
OPENING = {
    *("mkdir", "openat", "newfstatat", "fstat", "stat", "flock", "rename", "close", "write"),
    *("getdents64", "getpid", "geteuid", "getrandom", "fcntl", "dup", "dup2", "dup3"),
}
"""What opening a file may ask for; none of it waits for a disk, a lock or a network."""

_CALL = re.compile(r"(\d+) +(\w+)\((.*)")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not syscalls.is_possible(), reason="needs strace, and the right to trace"),
]


def calls_of_purchases(log: Path) -> list[list[tuple[str, str]]]:
    """Return of each purchase, in their order, the calls that its own thread made meanwhile."""
    purchases: list[list[tuple[str, str]]] = []
    thread = ""
    for line in log.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        if BEGUN in line:
            thread = match[1]
            purchases.append([])
        elif ENDED in line:
            thread = ""
        elif match[1] == thread and not _is_memory(match[2], match[3]):
            purchases[-1].append((match[2], match[3]))
    return purchases


def _is_memory(name: str, told: str) -> bool:
    """Say whether a call is the interpreter's, for memory that is no file's."""
    return name in {"brk", "munmap", "madvise"} or (name == "mmap" and "MAP_ANONYMOUS" in told)


def purchases_under_uvicorn(
    folder: Path, seller: SellerProcess, **options: str
) -> list[list[tuple[str, str]]]:
    """Sell 40 things, one by one, and return what the event loop's thread did for each."""
    log = folder / "calls.log"
    environment = shop_environment(folder / "queue", seller, **options)
    # The tracer is the child here, so that signals reach the server itself.
    tracer = [str(shutil.which("strace")), "-D", "-f", "-y", "-qq", "-o", str(log)]

    def command(port: int) -> list[str]:
        uvicorn = [
            str(SCRIPTS / "uvicorn"),
            SHOP,
            "--factory",
            "--no-proxy-headers",
            "--port",
            str(port),
        ]
        return [*tracer, *uvicorn]

    with serve(command, environment, folder) as server:
        for shopper in shoppers(0, ORDERS):
            buy_all(server.url, [shopper])
        if options.get("ADCP_UPLOADER") != "external":
            seller.wait_for(ORDERS, timeout=20)
        server.stop()
    purchases = calls_of_purchases(log)
    assert len(purchases) == ORDERS
    return purchases


def names(calls: list[tuple[str, str]]) -> list[str]:
    """Return what was called."""
    return [name for name, _ in calls]


def test_an_event_is_one_append(tmp_path: Path, seller_process: SellerProcess) -> None:
    """Nothing is opened, synced, connected, looked up or waited for.

    A process's first one opens its file, as does one whenever a file has become long, which
    is at 16 KiB here; that waits for no disk, as the folder is there.
    """
    purchases = purchases_under_uvicorn(
        tmp_path, seller_process, ADCP_UPLOADER="external", ADCP_MAX_BYTES=str(256 * 1024)
    )
    opening = [calls for calls in purchases if names(calls) != ["write"]]
    assert opening[0] is purchases[0]
    assert len(opening) == 2
    for calls in opening:
        assert "write" in names(calls)
        assert set(names(calls)) <= OPENING
    for calls in purchases:
        assert any(name == "write" and "/segments/" in told for name, told in calls)


def test_beside_the_uploader_an_event_is_one_append(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """The thread that delivers has the database and the network, and the loop neither.

    The two share the interpreter's own lock, which is a futex; no other is taken.
    """
    _, *others = purchases_under_uvicorn(tmp_path, seller_process)
    for calls in others:
        assert [name for name in names(calls) if name != "futex"] == ["write"]


def test_with_durability_power_an_event_waits_for_the_disk_and_nothing_else(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """That is what it is for: one sync on the loop's thread, so it belongs into another one."""
    _, *others = purchases_under_uvicorn(
        tmp_path, seller_process, ADCP_UPLOADER="external", ADCP_DURABILITY="power"
    )
    for calls in others:
        assert names(calls) == ["write", "fdatasync"]
