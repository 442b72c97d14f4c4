"""The page of the documentation: its blocks, run in a row as a newcomer runs them."""

from __future__ import annotations

import doctest
import os
import re
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from django.core.management import get_commands
from typer.main import get_group

from adcp_tracker.cli.app import app
from adcp_tracker.settings import AGENT_VARIABLES, INTERCHANGE_VARIABLES, Settings
from adcp_tracker.web.options import CAPTURE_OPTIONS
from adcp_tracker_django import checks
from tests.support import pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

pytest.importorskip("gunicorn")

pytestmark = pytest.mark.slow

PAGE = pages.ROOT / "docs" / "integrations" / "django.md"
TEXT = PAGE.read_text(encoding="utf-8")
ITS_PORT = "8000"
FILE = re.compile(r"# ([a-z/]+\.py)\n")
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def free_port() -> str:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """An empty directory, in which no server is left running."""
    folder = tmp_path / "project"
    folder.mkdir()
    yield folder
    if (left := folder / "gunicorn.pid").exists():
        with suppress(ProcessLookupError):
            os.kill(int(left.read_text()), signal.SIGKILL)


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run one command as the reader's shell does, and return what it prints."""
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"
    return done.stdout


def commands(block: pages.Block) -> Iterator[tuple[str, str]]:
    """Divide a console block into commands, and what is shown of each."""
    for part in block.text.removeprefix("$ ").split("\n$ "):
        command, _, shown = part.partition("\n")
        yield command, shown


def test_a_newcomer_who_follows_the_page_sees_a_purchase_arrive(
    project: Path, seller: Sandbox
) -> None:
    """Every file and every command of the page, in its order, does what it shows."""
    environment = pages.environment(seller.origin, project)
    del environment["ADCP_DIRECTORY"]  # the page sets it
    port = free_port()
    for block in pages.blocks(PAGE):
        if block.language == "python":
            named = FILE.match(block.text)
            assert named, f"{PAGE}:{block.line}: expected the name of a file"
            with (project / named[1]).open("a") as file:
                file.write(f"\n{block.text}")
        elif block.language == "console":
            for command, shown in commands(block):
                printed = run(command.replace(ITS_PORT, port), project, environment)
                right = doctest.OutputChecker().check_output(shown or "...\n", printed, LENIENT)
                assert right, f"{PAGE}:{block.line}: $ {command}\n{shown}\ngot:\n{printed}"
    assert {event["event_id"] for event in seller.events} == {"D-1001"}
    url = f"http://127.0.0.1:{port}/orders/D-1001/pay"
    assert {event["event_source_url"] for event in seller.events} == {url}


def test_every_block_is_run_or_only_shown() -> None:
    """None escapes for a language that nobody knows."""
    assert {block.language for block in pages.blocks(PAGE)} == {"python", "console", "text"}


def test_the_page_names_every_setting_check_and_command() -> None:
    """What can be set is what the page says can be set."""
    fields = {field.name for field in attrs.fields(Settings)} | CAPTURE_OPTIONS
    flat = {
        variable.name.removeprefix("ADCP_")
        for variable in (*INTERCHANGE_VARIABLES, *AGENT_VARIABLES)
    }
    others = {"DESTINATIONS", "COMMIT_AWARE", "USING"}
    table = TEXT[TEXT.index("| keys |") : TEXT.index("can be dotted paths")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = re.findall(r"`([A-Z_]+)`", " ".join(rows))
    assert sorted(named) == sorted({name.upper() for name in fields} | flat | others)
    assert set(re.findall(r"adcp_tracker\.[EWI]\d+", TEXT)) == set(
        re.findall(r"adcp_tracker\.[EWI]\d+", checks.__doc__ or "")
    )
    ours = {name for name, owner in get_commands().items() if owner == "adcp_tracker_django"}
    assert set(re.findall(r"manage\.py (adcp\w*)", TEXT)) == ours
    assert set(re.findall(r"manage\.py adcp (\w+)", TEXT)) <= set(get_group(app).commands)
