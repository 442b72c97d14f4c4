"""How many files of the package one opens to follow an event."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import adcp_tracker
from adcp_tracker import Interchange, Tracker
from adcp_tracker.sandbox import Sandbox
from tests.support.destinations import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PACKAGE = Path(adcp_tracker.__file__).parent
SELLER = PACKAGE / "sandbox"
ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"

MOST_FROM_CALL_TO_DISK = 9
MOST_FROM_DISK_TO_ANSWER = 19


def _order(number: int) -> dict[str, object]:
    return {
        "id": f"A-{number}",
        "total": "59.90",
        "currency": "EUR",
        "email": "alice@example.com",
        "items": [{"sku": "MUG-01", "quantity": 2, "price": "29.95"}],
    }


class _Walk(threading.local):
    """Notes the files of the package whose functions are called while it is on.

    What the flusher does from time to time, whether or not there are events, is left out.
    """

    def __init__(self, files: set[str]) -> None:
        self._files = files
        self._chore: FrameType | None = None

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._chore is not None:
            if event == "return" and frame is self._chore:
                self._chore = None
        elif event == "call":
            if frame.f_code.co_name == "_run_maintenance":
                self._chore = frame
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE) and not path.is_relative_to(SELLER):
                self._files.add(path.relative_to(PACKAGE).as_posix())


@contextmanager
def _walk(install: Callable[[_Walk | None], None]) -> Iterator[set[str]]:
    """Yield the files that are entered; they are those since it was cleared last."""
    files: set[str] = set()
    install(_Walk(files))
    try:
        yield files
    finally:
        install(None)


def _is_described(file: str) -> bool:
    return f"`{file}`" in ARCHITECTURE.read_text()


def test_a_purchase_passes_few_files_on_its_way_to_the_disk(tmp_path: Path) -> None:
    """A warm purchase of a mapping passes nine files, which the documentation names."""
    destination = Interchange(advertiser_id="1", event_source_id="web", api_key="secret-key")
    tracker = Tracker([destination], directory=tmp_path / "queue", uploader="external")
    for number in range(50):
        tracker.track_purchase(_order(number))

    walks = []
    for number in range(50, 55):  # an earlier test's tracker may be collected during one
        with _walk(sys.setprofile) as entered:
            tracker.track_purchase(_order(number))
        walks.append(entered)
    tracker.close()
    files = min(walks, key=len)

    assert len(files) <= MOST_FROM_CALL_TO_DISK, sorted(files)
    assert not [file for file in files if not _is_described(file)]


def test_an_event_passes_few_files_on_its_way_to_the_seller(tmp_path: Path) -> None:
    """From the disk to the seller's answer are nineteen files, which the documentation names."""
    with Sandbox() as seller, _walk(threading.setprofile) as files:
        destination = Interchange(
            advertiser_id="12345",
            event_source_id="website_pixel",
            api_key="sandbox-token",
            base_url=seller.url,
        )
        tracker = Tracker([destination], directory=tmp_path / "queue")
        for number in range(50):
            tracker.track_purchase(_order(number))
        wait_until(lambda: tracker.stats().total().delivered == 50)

        files.clear()
        tracker.track_purchase(_order(50))
        wait_until(lambda: tracker.stats().total().delivered == 51)
        passed = frozenset(files)
        tracker.close()

    assert len(passed) <= MOST_FROM_DISK_TO_ANSWER, sorted(passed)
    assert not [file for file in passed if not _is_described(file)]
