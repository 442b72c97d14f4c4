"""Every example in the README and in the documentation does what it says."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support import pages

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox

pytestmark = pytest.mark.slow

_ELSEWHERE = "integrations/"
"""Pages about frameworks are run by the frameworks' own tests, under their own servers."""

_WITH_A_DATABASE = "docs/howto/transactional.md"
"""It is run where the tests of databases are."""


def _pages() -> list[str]:
    found = [pages.ROOT / "README.md", *(pages.ROOT / "docs").rglob("*.md")]
    names = [str(page.relative_to(pages.ROOT)) for page in sorted(found)]
    return [name for name in names if _ELSEWHERE not in name]


def _has_examples(name: str) -> bool:
    found = pages.blocks(pages.ROOT / name)
    return name != _WITH_A_DATABASE and any(block.language in pages.RUN for block in found)


def _run(page: Path, seller: Sandbox, directory: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, pages.__file__, str(page)],
            cwd=directory,
            env=pages.environment(seller.origin, directory),
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    finally:
        _stop_servers(directory)


def _stop_servers(directory: Path) -> None:
    """End the servers of a page that stopped before it came to end them."""
    for file in directory.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            if Path(f"/proc/{pid}/cwd").readlink() == directory:
                os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("name", [name for name in _pages() if _has_examples(name)])
def test_a_page_does_what_it_says(name: str, seller: Sandbox, tmp_path: Path) -> None:
    """Run from top to bottom against the local seller, a page's examples all work as shown."""
    done = _run(pages.ROOT / name, seller, tmp_path)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", _pages())
def test_every_block_says_what_it_is(name: str) -> None:
    """No block escapes being run by having no language, or one that nobody knows."""
    known = pages.RUN | pages.SHOWN
    odd = [
        block
        for block in pages.blocks(pages.ROOT / name)
        if block.language not in known and not block.language.startswith("{")
    ]

    assert not odd


@pytest.mark.parametrize(
    "text",
    [
        "```python\nraise ValueError\n```\n",
        "```python\nx = 1\n```\n\n```python\n>>> x\n2\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
    ],
)
def test_a_wrong_example_is_found(text: str, seller: Sandbox, tmp_path: Path) -> None:
    """An example that raises, fails or prints something else is not passed over."""
    page = tmp_path / "page.md"
    page.write_text(text)

    assert _run(page, seller, tmp_path).returncode != 0


@pytest.mark.parametrize("name", _pages())
def test_what_is_only_shown_can_be_read(name: str) -> None:
    """A file in a format that a parser knows is one that it reads."""
    parsers = {
        "ini": configparser.ConfigParser(interpolation=None, strict=False).read_string,
        "json": json.loads,
        "yaml": yaml.safe_load,
    }
    for block in pages.blocks(pages.ROOT / name):
        if block.language in parsers:
            parsers[block.language](block.text)


def test_the_architecture_names_modules_that_exist() -> None:
    """The page and its picture name the library's modules as they are called today."""
    package = pages.ROOT / "adcp_tracker"
    page = (pages.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = (pages.ROOT / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z0-9_]+)?\.py)`", page))
    for line in re.findall(r'class="m"[^>]*>([^<]*)<', picture):
        folder = ""
        for path in re.findall(r"[a-z0-9_/]+\.py", line):
            folder = path.rpartition("/")[0] or folder
            named.add(path if "/" in path or not folder else f"{folder}/{path}")

    assert len(named) > 30
    missing = {path for path in named if not (package / path).is_file()}
    assert missing <= {"tests/test_architecture.py", "tests/test_walk.py"}


def test_the_readme_has_its_two_commands() -> None:
    """Each stands alone on its line, in a block, as whoever copies it needs it."""
    shell = [
        line
        for block in pages.blocks(pages.ROOT / "README.md")
        if block.language == "bash"
        for line in block.text.splitlines()
    ]

    assert shell == [
        'python3 -m venv .venv && .venv/bin/pip install -e ".[dev]" && .venv/bin/adcp-tracker demo',
        ".venv/bin/python -m pytest",
    ]


def test_bash_blocks_are_only_the_readmes() -> None:
    """What is not run here is run by whoever checks a change: the two commands, no more."""
    found = {
        name
        for name in _pages()
        for block in pages.blocks(pages.ROOT / name)
        if block.language == "bash"
    }

    assert found <= {"README.md"}
