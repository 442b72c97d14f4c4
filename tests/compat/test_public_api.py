"""The public face changes only on purpose."""

from __future__ import annotations

import difflib

from tests.compat import public_api


def test_the_public_face_is_what_was_written_down() -> None:
    """Names, signatures, help and JSON are those of ``public_api.txt``."""
    written = public_api.FILE.read_text().splitlines()
    found = public_api.describe().splitlines()
    lines = list(difflib.unified_diff(written, found, "public_api.txt", "now", lineterm="", n=1))
    shown = "\n".join(lines)
    assert not lines, f"if that is meant, run python -m tests.compat.public_api\n{shown}"
