"""The examples of the pages on privacy and webhooks run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from adcp_tracker.tracker import Tracker

_DOCS = Path(__file__).parents[2] / "docs"
_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_page(name: str) -> tuple[dict[str, object], Tracker]:
    """Run a page's examples one after the other, as a reader would; return what they named."""
    names: dict[str, object] = {}
    text = (_DOCS / name).read_text()
    for example in _EXAMPLE.finditer(text):
        line = text.count("\n", 0, example.start()) + 1
        code = compile("\n" * line + example[1], str(_DOCS / name), "exec")
        exec(code, names)  # noqa: S102 - our own documentation
    tracker: Tracker = names["tracker"]  # type: ignore[assignment]  # as both pages call it
    return names, tracker


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where events wait."""
    monkeypatch.setenv("ADCP_DIRECTORY", str(tmp_path / "queue"))


def test_the_page_on_privacy(capsys: pytest.CaptureFixture[str]) -> None:
    """Its reader erases and lists, and is told what is left to do."""
    _, tracker = run_page("privacy.md")
    printed = capsys.readouterr().out
    assert "0 events erased" in printed
    assert "expire_cookie" in printed
    assert '"event_id": "L-17"' in printed
    tracker.close()


def test_the_page_on_webhooks() -> None:
    """Its purchases find their shoppers; the examples themselves assert it."""
    _, tracker = run_page("webhooks.md")
    events = tracker.privacy.export(order_id=["A-1001", "A-1002", "A-1003"])
    shoppers = [
        each["event"]["user_match"]["client_ip"]  # type: ignore[index]  # an event's JSON
        for each in events
        if each["kind"] == "event"
    ]
    assert shoppers == ["203.0.113.7"] * 6
    tracker.close()
