"""A queue directory as a process of an older version left it: ``python -m tests.compat.old_queue``.

Run by that command in a checkout of the older version, see :mod:`tests.compat.record`; it
writes one archive with two directories, a plain and an encrypted one, and what is to become
of their events.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from adcp_tracker import Agent, Consent, Interchange, RequestContext, Tracker
from tests.compat import surface
from tests.compat.disk import dead_letters
from tests.compat.local_seller import LocalSeller, local_seller

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).with_name("old_queue.tar.xz")
EXPECTED = "expected.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "encrypted": {"encryption_keys": "Y29tcGF0LWtleS1vZi10aGlydHktdHdvLWJ5dGVzISE="},
}
SHOPPER = RequestContext(
    client_ip="93.184.216.34",
    client_user_agent="Mozilla/5.0 (X11; Linux x86_64)",
    event_source_url="https://shop.example/checkout",
    click_id="EAIaIQobChMI",
    click_id_type="gclid",
    consent=Consent.GRANTED,
)
REMEMBERED = "R-1"
_CONTEXT_KEY = "compat-context-key-of-some-bytes"
_YEAR_2100 = 4102444800.0
_PATIENCE_S = 15.0


def destinations(origin: str) -> list[Agent | Interchange]:
    """Return the destinations of the queue, at a seller that stands at `origin`."""
    return [
        Interchange(
            advertiser_id="12345",
            event_source_id="website_pixel",
            api_key="k-1",
            base_url=f"{origin}/api",
            name="exchange",
        ),
        Agent(url=f"{origin}/mcp", event_source_id="website_pixel", token="t-1", name="agent"),
    ]


def open_tracker(
    directory: Path, variant: str, origin: str | None = None, now: float | None = None
) -> Tracker:
    """Open the queue, to deliver to a seller at `origin` or only to write."""
    return surface.make_tracker(
        [] if origin is None else destinations(origin),
        now=now,
        directory=directory,
        flush_interval=0.02,
        shutdown_timeout=0.5,
        handle_sigterm=False,
        context_keys=_CONTEXT_KEY,
        uploader="external" if origin is None else "thread",
        **VARIANTS[variant],
    )


def _leave(directory: Path, variant: str, seller: LocalSeller) -> dict[str, Any]:
    """Leave something of everything in a directory, and return what is to become of it."""
    seller.refuses = frozenset({"refused-1"})
    with open_tracker(directory, variant, seller.origin) as tracker:
        for name in ("done-1", "refused-1", "done-2"):
            tracker.track("lead", event_id=name, email="alice@example.com")
        tracker.track("purchase", event_id="invalid-1", email="nope")
        _wait(lambda: tracker.stats().total().delivered == 4, "delivered")
    done = len(seller.requests)
    seller.is_busy = True
    with open_tracker(directory, variant) as writer:
        for number in range(5):
            writer.track("lead", event_id=f"frozen-{number}", email="bob@example.com")
    with open_tracker(directory, variant, seller.origin) as tracker:
        tracker.start()
        books = tracker.stats().destinations
        assert set(books) == {"exchange", "agent"}
        _wait(lambda: len({each.kind for each in seller.requests[done:]}) == 2, "tried")
        _wait(lambda: all(each.retrying for each in tracker.stats().destinations.values()), "kept")
    frozen = {each.kind: each for each in seller.requests[done:]}
    with open_tracker(directory, variant) as writer:
        for number in range(4):
            order = {"id": f"waiting-{number}", "total": "5.00", "currency": "EUR"}
            writer.track_purchase(order, context=SHOPPER)
        writer.track("lead", event_id="test-1", click_id="c", test_event_code="TEST-1")
        denied = RequestContext(consent=Consent.DENIED)
        writer.track("lead", event_id="denied-1", click_id="c", context=denied)
    with open_tracker(directory, variant, now=_YEAR_2100) as writer:
        surface.remember(writer, REMEMBERED, SHOPPER)
    waiting = [*(f"frozen-{n}" for n in range(5)), *(f"waiting-{n}" for n in range(4)), "test-1"]
    return {
        "waiting": waiting,
        "done": ["done-1", "done-2"],
        "frozen": {kind: attrs.asdict(each) for kind, each in frozen.items()},
        "dead": sorted(
            [each["destination"], each["code"], json.loads(each["event"])["event_id"]]
            for each in (dead_letters(directory) if variant == "plain" else [])
        ),
    }


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.01)


def leave_all() -> int:
    """Write the archive, and return its size."""
    expected = {}
    with tempfile.TemporaryDirectory() as name, tarfile.open(FILE, "w:xz") as archive:
        for variant in VARIANTS:
            directory = Path(name) / variant
            with local_seller() as seller:
                expected[variant] = _leave(directory, variant, seller)
            for path in sorted(directory.rglob("*")):
                if path.is_file():
                    _add(archive, f"{variant}/{path.relative_to(directory)}", path.read_bytes())
        _add(archive, EXPECTED, json.dumps(expected, indent=1).encode())
    return FILE.stat().st_size


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def unpack(folder: Path, variant: str) -> tuple[Path, dict[str, Any]]:
    """Put one of the archive's directories into `folder`, and return what it is to become."""
    with tarfile.open(FILE) as archive:
        for entry in archive.getmembers():
            file = archive.extractfile(entry)
            if file is None or not entry.name.startswith(f"{variant}/"):
                continue
            path = folder / entry.name
            _make_private(folder, path.parent)
            path.touch(mode=0o600)
            path.write_bytes(file.read())
        expected = archive.extractfile(EXPECTED)
        assert expected is not None
        return folder / variant, json.load(expected)[variant]


def _make_private(root: Path, folder: Path) -> None:
    if folder != root and not folder.exists():
        _make_private(root, folder.parent)
        os.mkdir(folder, 0o700)  # noqa: PTH102 - its rights at once


if __name__ == "__main__":
    sys.stdout.write(f"{leave_all()} bytes in {FILE}\n")
