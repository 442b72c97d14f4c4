"""What the page of guarantees names as proof is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
_TESTS = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))
_FILES = sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE)))


def test_the_page_names_its_proofs() -> None:
    """Else what follows would have nothing to look at."""
    assert len(_TESTS) > 10
    assert len(_FILES) > 5


@pytest.mark.parametrize("name", _TESTS)
def test_each_test_it_names_exists(name: str) -> None:
    """A promise whose test was renamed or removed is noticed."""
    define = f"def {name}("
    assert any(define in path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", _FILES)
def test_each_file_it_names_exists(name: str) -> None:
    """Likewise for files."""
    assert (ROOT / name).exists()
