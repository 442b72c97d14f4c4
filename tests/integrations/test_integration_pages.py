"""The pages about frameworks take a newcomer from nothing to a delivered purchase."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integrations.servers import free_port
from tests.support import pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

pytestmark = pytest.mark.slow

FOLDER = pages.ROOT / "docs" / "integrations"
PORT = re.compile(r"\b800\d\b")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty directory, in which no server is left running."""
    yield tmp_path
    for file in tmp_path.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.mark.parametrize(
    ("name", "delivered"),
    [
        ("flask", ["F-1001"]),
        ("fastapi", ["S-1001"]),
        ("asgi", ["L-1001", "L-1002"]),
        ("wsgi", ["W-1001"]),
        ("consent", ["view_content"]),
        ("custom", []),
    ],
)
def test_a_page_does_what_it_says(
    name: str, delivered: list[str], seller: Sandbox, folder: Path
) -> None:
    """Its blocks, run from top to bottom, work as shown, and the seller has the purchase."""
    page = folder / f"{name}.md"
    text = (FOLDER / page.name).read_text(encoding="utf-8")
    ports = {port: str(free_port()) for port in sorted(set(PORT.findall(text)))}
    page.write_text(PORT.sub(lambda found: ports[found[0]], text))
    done = subprocess.run(
        [sys.executable, pages.__file__, str(page)],
        cwd=folder,
        env=pages.environment(seller.origin, folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # An order's event is known by its id; a page's has one of its own each time.
    told = [
        event["event_id"] if event["event_type"] == "purchase" else event["event_type"]
        for event in seller.events
    ]
    assert told == delivered


@pytest.mark.parametrize("name", ["flask", "fastapi", "asgi", "wsgi", "consent", "custom"])
def test_every_block_says_what_it_is(name: str) -> None:
    """No block escapes being run by having no language, or one that nobody knows."""
    languages = {block.language for block in pages.blocks(FOLDER / f"{name}.md")}
    assert languages <= pages.RUN | pages.SHOWN
