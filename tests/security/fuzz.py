"""Fuzz one reader with atheris, guided by what its input makes it run.

Run as ``python -m tests.security.fuzz TARGET [option of libFuzzer …]``; needs atheris, which
is not installed with the tests.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Fuzz until something raises, or somebody stops it."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["adcp_tracker"]):
        known = import_module("tests.security.targets")
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in known.TARGETS:
        sys.exit(f"expected one of {', '.join(known.TARGETS)}, got {name!r}")
    with tempfile.TemporaryDirectory() as corpus:
        Path(corpus, "sound").write_bytes(known.SEEDS[name])
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], known.TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
