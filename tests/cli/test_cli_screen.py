"""What is printed, and what is not."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_BUSY, EXIT_IO, EXIT_USAGE, describe_error
from adcp_tracker.exceptions import (
    AdcpTrackerError,
    ConfigurationError,
    OutboxError,
    QueueFullError,
    UnsafeDirectoryError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@given(st.text())
def test_no_character_steers_a_terminal(text: str) -> None:
    """Whatever a cell holds, only visible characters and spaces are shown of it."""
    categories = {
        unicodedata.category(each) for each in _common.printable(_common.Styled(text, "red"))
    }
    assert not categories & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text())
def test_json_is_one_line_of_ascii(text: str) -> None:
    """A script reads back what was there; a terminal is not steered by it."""
    printed = printed_by(lambda: _common.print_json({"text": text}))
    assert printed.isascii()
    assert printed.endswith("\n")
    assert printed[:-1].isprintable()
    assert json.loads(printed) == {"text": text}


def printed_by(call: Callable[[], None]) -> str:
    """Return what a call writes to the standard output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        call()
    return out.getvalue()


def test_plain_tables_stand_in_columns() -> None:
    """Numbers on the right, words on the left, nothing behind the last."""
    rows = [("a", 1000, _common.Styled("well", "green")), ("long name", 5, "x\ny")]
    assert printed_by(lambda: _common.print_table(("name", "n", "state"), rows)) == (
        "name           n  state\na          1,000  well\nlong name      5  x y\n"
    )


def test_a_command_at_the_end_of_a_text_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be pasted, however narrow the screen is."""
    monkeypatch.setenv("COLUMNS", "30")
    text = "To drop it and what waits for it, run: adcp-tracker retire interchange:1/s"
    assert printed_by(lambda: _common.print_text(text, indent=2)) == (
        "  To drop it and what waits\n  for it, run:\n  adcp-tracker retire interchange:1/s\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigurationError("a: expected b, got c"), EXIT_USAGE, "a: expected b, got c"),
        (UnsafeDirectoryError("run: chmod"), EXIT_USAGE, "run: chmod"),
        (TimeoutError("try again"), EXIT_BUSY, "try again"),
        (OutboxError("locked"), EXIT_IO, "locked; no event is lost"),
        (OSError(errno.ENOSPC, "No space", "/q"), EXIT_IO, "/q: No space; free some space"),
        (OSError(errno.EIO, "Input/output error"), EXIT_IO, "Input/output error; fix this"),
        (QueueFullError("full"), EXIT_IO, "full; free some space"),
        (OSError("odd"), EXIT_IO, "odd"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_has_its_exit_code_and_remedy(
    error: AdcpTrackerError | OSError, code: int, says: str
) -> None:
    """A script goes by the code, and a person by the line."""
    found, message = describe_error(error)
    assert found == code
    assert message.startswith(says)


class Terminal(io.StringIO):
    """A standard output that a person reads."""

    def isatty(self) -> bool:
        """Return ``True``."""
        return True


def read_slowly(*, hidden: bool) -> list[int]:
    """Read items with a progress bar."""
    return list(_common.track_progress(range(3), "importing", 3, hidden=hidden))


@pytest.mark.parametrize(
    ("screen", "hidden", "is_shown"),
    [(Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)],
    ids=["terminal", "json on a terminal", "pipe"],
)
def test_a_progress_bar_is_for_a_person_only(
    *, screen: io.StringIO, hidden: bool, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script gets nothing but what it asked for; the items are the same."""
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.redirect_stdout(screen):
        assert read_slowly(hidden=hidden) == [0, 1, 2]
    assert ("importing" in screen.getvalue()) is is_shown
    assert ("3/3" in screen.getvalue()) is is_shown
