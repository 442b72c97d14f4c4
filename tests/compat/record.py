"""Record the corpus anew: ``python -m tests.compat.record``.

It records the library that it imports. To record an older version, copy this folder into a
checkout of that version and run it there::

    git worktree add /tmp/old de0da3b
    cp -r tests/compat /tmp/old/tests/
    cd /tmp/old && python -m tests.compat.record && python -m tests.compat.old_queue
    cp /tmp/old/tests/compat/*.xz tests/compat/
"""

from __future__ import annotations

import sys

from tests.compat import corpus


def main() -> int:
    """Record, and say what was recorded."""
    count = corpus.record()
    sys.stdout.write(f"{count} items, {corpus.FILE.stat().st_size} bytes in {corpus.FILE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
