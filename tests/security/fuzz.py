"""Fuzz one reader with atheris, guided by what its input makes it run.

Run as ``python -m tests.security.fuzz TARGET [option of libFuzzer …]``; needs atheris, which
is not installed with the tests.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Fuzz until something raises, or somebody stops it."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["adcp_tracker"]):
        targets = import_module("tests.security.targets").TARGETS
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in targets:
        sys.exit(f"expected one of {', '.join(targets)}, got {name!r}")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
