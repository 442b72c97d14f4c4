"""Pages of the documentation, run from top to bottom.

A page is one story: its blocks share one process, one directory and one namespace.

============  =========================================================================
``python``    Is executed. With ``>>>``, its output has to be the one shown. Beginning
              with a comment that is a file's name, as ``# shop.py``, it becomes that file.
``console``   Lines after ``$`` are run by bash; their output has to be the one shown.
``text`` …    What is only looked at: :data:`SHOWN`.
============  =========================================================================

In what is shown, ``...`` stands for anything. Run as ``python pages.py PAGE`` in an empty
directory; it stops at the first block that does not do as the page says.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RUN = frozenset({"python", "console"})
SHOWN = frozenset({"text", "ini", "toml", "json", "bash", "docker", "html", "nginx", "sql", "yaml"})

_FENCE = re.compile(r"^( *)(`{3,})([^\s`]*)")  # what colons fence, as tabs, is part of the page
_FILE = re.compile(r"# ([a-z_./]+\.py)\n")
_LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        language: What stands behind its fence.
        line: Where its text begins in the page, from 1.
        text: What is in it.
    """

    language: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    found: list[Block] = []
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, lines = (fence[2], fence[3], number + 1), []
        elif opened is not None and line.strip() == opened[0]:
            found.append(Block(opened[1], opened[2], "".join(f"{each}\n" for each in lines)))
            opened = None
        elif opened is not None:
            lines.append(line)
    return found


def run(page: Path) -> None:
    """Run a page here; raise at the first block that does not do as the page says."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "console":
            _run_console(page, block)
        elif block.language == "python" and (named := _FILE.match(block.text)):
            file = Path(named[1])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "python" and block.text.startswith(">>>"):
            _run_session(page, block, namespace)
        elif block.language == "python":
            # Empty lines before it, so that a traceback names the line of the page.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, page, "exec"), namespace)  # noqa: S102 - our own documentation


def _run_session(page: Path, block: Block, namespace: dict[str, object]) -> None:
    session = doctest.DocTestParser().get_doctest(
        block.text, namespace, page.name, str(page), block.line - 1
    )
    runner = doctest.DocTestRunner(optionflags=_LENIENT)
    runner.run(session, clear_globs=False)
    if runner.failures:
        raise AssertionError(f"{page}:{block.line}: expected what the page shows")
    namespace.update(session.globs)


def _run_console(page: Path, block: Block) -> None:
    for command, shown in _commands(block.text):
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        right = doctest.OutputChecker().check_output(shown, done.stdout, _LENIENT)
        if done.returncode or not right:
            raise AssertionError(
                f"{page}:{block.line}: $ {command}\n"
                f"expected:\n{shown}\ngot, with exit code {done.returncode}:\n{done.stdout}"
            )


def _commands(text: str) -> list[tuple[str, str]]:
    """Divide a console block into commands and what is shown of each; nothing means anything."""
    parts = re.split(r"(?m)^\$ ", text)
    if parts[0].strip():
        raise AssertionError(f"expected a console block to begin with $, got {parts[0]!r}")
    pairs = [part.partition("\n") for part in parts[1:]]
    return [(command, shown or "...\n") for command, _, shown in pairs]


def environment(origin: str, directory: Path) -> dict[str, str]:
    """Return what a page is run with: the variables ``adcp-tracker sandbox`` prints, and a place.

    Args:
        origin: Where the local seller stands.
        directory: Where the page is run; its queue lies in there.
    """
    tools = Path(sys.executable).parent
    return {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(directory),
        "COLUMNS": "200",
        "ADCP_DIRECTORY": str(directory / "queue"),
        "ADCP_EVENT_SOURCE_ID": "website_pixel",
        "ADCP_ADVERTISER_ID": "12345",
        "ADCP_API_KEY": "sandbox-token",
        "ADCP_BASE_URL": f"{origin}/api/v2/buyer",
        "ADCP_AGENT_URL": f"{origin}/mcp",
        "ADCP_AGENT_TOKEN": "sandbox-token",
        # More than a reader needs, for machines that are busy with other tests.
        "ADCP_SHUTDOWN_TIMEOUT": "20",
    }


if __name__ == "__main__":
    sys.path[0] = ""  # where the page is run: it imports the modules that it writes
    run(Path(sys.argv[1]))
