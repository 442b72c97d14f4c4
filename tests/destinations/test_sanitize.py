"""A seller's words made safe to keep."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.responses import is_sanitized, sanitize


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("plain", "plain"),
        ("a\r\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("gnirts\u202e", "gnirts"),
        ("line\u2028next\u2029last", "line next last"),
        ("  spaced   out  ", "spaced out"),
        ("", ""),
        (None, ""),
        (7, ""),
        (["x"], ""),
    ],
)
def test_only_what_is_visible_is_kept(said: object, kept: str) -> None:
    """Whatever could steer a terminal or forge a log line becomes a space."""
    assert sanitize(said) == kept


def test_long_words_are_cut_with_a_mark() -> None:
    """A seller cannot fill the counts with one message."""
    assert sanitize("x" * 10_000, 10) == "x" * 9 + "…"


@given(st.text(), st.integers(1, 50))
def test_cleaned_text_is_one_bounded_visible_line(said: str, limit: int) -> None:
    """No input gets a control character or more than the limit through."""
    kept = sanitize(said, limit)
    assert len(kept) <= limit
    assert not any(unicodedata.category(character)[0] == "C" for character in kept)
    assert is_sanitized(kept, limit)


@pytest.mark.parametrize(
    ("text", "fits"), [("order-1", True), ("a  b", True), ("a\nb", False), ("x" * 11, False)]
)
def test_a_name_is_kept_as_it_is_or_not_at_all(text: str, *, fits: bool) -> None:
    """An event id must match to the letter, so it is never altered."""
    assert is_sanitized(text, 10) is fits
