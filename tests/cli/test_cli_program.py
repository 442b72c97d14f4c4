"""The program as a whole: its help, its ends, and machines that lack a part of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

import adcp_tracker
from adcp_tracker import __version__
from tests.cli.program import COMMAND, clean_environment, run, start

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_SECONDS = 30
LOOK = ("check", "--ip", "--peer", "8.8.8.8")


def run_without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program where a module is not installed."""
    script = (
        f"import sys; sys.modules[{module!r}] = None; from adcp_tracker.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )


def run_in_terminal(*arguments: str, **environment: str) -> str:
    """Run the program in a terminal, and return all that it shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=clean_environment() | {"TERM": "xterm-256color"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # how Linux says that nobody holds the other end any more
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    return shown.decode()


def test_it_tells_its_commands_and_its_version() -> None:
    """Every command is in the help."""
    helped = run("--help")
    assert helped.code == 0
    for command in ("demo", "sandbox", "status", "flush", "worker", "dead", "check", "retire"):
        assert f"\n  {command} " in helped.out
    assert run("--version").out == f"adcp-tracker {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["flush", "--timeout", "inf"], ["demo", "--orders", "0"], ["dead", "show"]],
    ids=" ".join,
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    """It ends with 2, and nothing on the standard output."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error" in ended.err


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_what_is_missing_is_said_with_the_line_that_installs_it(module: str) -> None:
    """Without the extra the program can still say what it needs."""
    ended = run_without(module, "demo")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{module} must be installed;" in ended.stderr
    assert "pip install 'adcp-tracker[cli]'" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_a_missing_seller_is_said_with_the_line_that_installs_it(command: str) -> None:
    """The local seller has an extra of its own."""
    ended = run_without("starlette", command)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "pip install 'adcp-tracker[sandbox]'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    """An interrupted run leaves no traceback, and its own exit code."""
    demo = start("demo", "--orders", "1000000", "--directory", str(tmp_path / "queue"))
    try:
        while not list(tmp_path.glob("queue/segments/*.log")):
            assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=_LONGEST_SECONDS)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert "delivered" not in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_reader_may_leave(tmp_path: Path) -> None:
    """Piped into ``head``, it ends without complaint."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nowhere:
        ended = subprocess.run(
            [*COMMAND, *LOOK],
            env=clean_environment(),
            cwd=tmp_path,
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_a_terminal_gets_colour_unless_it_wants_none() -> None:
    """A terminal gets a drawn table; NO_COLOR takes the colours from it."""
    coloured = run_in_terminal(*LOOK)
    assert "\x1b[32mThe client is 8.8.8.8." in coloured
    assert "─" in coloured
    plain = run_in_terminal(*LOOK, NO_COLOR="1")
    assert "The client is 8.8.8.8." in plain
    assert "\x1b[3" not in plain


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_local_seller_serves_until_it_is_stopped(
    number: signal.Signals, tmp_path: Path
) -> None:
    """It says where it listens, as a script can read it, and ends well."""
    sandbox = start("sandbox", "--port", "0", "--directory", tmp_path / "later", "--json")
    try:
        assert sandbox.stdout is not None
        told = json.loads(sandbox.stdout.readline())
        assert httpx.get(f"{told['page']}/_sandbox/counts").json()["received"] == 0
        letters = httpx.get(f"{told['page']}/_sandbox/panel/dead-letters").text
        assert "later: expected a queue of events, got no such directory" in letters
        sandbox.send_signal(number)
        _, err = sandbox.communicate(timeout=_LONGEST_SECONDS)
    finally:
        sandbox.kill()
    assert (sandbox.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config", "{"], "--config: expected a JSON object"),
        (["--config", '{"nonsense": 1}'], "nonsense"),
        (["--host", "192.0.2.1"], "host: expected a loopback address"),
    ],
    ids=["no JSON", "unknown setting", "no loopback"],
)
def test_a_wrong_setting_of_the_local_seller_is_refused(arguments: list[str], says: str) -> None:
    """It does not start with something else than was asked for."""
    ended = run("sandbox", "--port", "0", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_the_version_is_printed_without_the_extra(module: str) -> None:
    """A bug report needs the version, whatever is installed."""
    ended = run_without(module, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"adcp-tracker {adcp_tracker.__version__}\n")


def test_shell_completion_can_be_shown() -> None:
    """The completion script of a shell can be printed, and installed from there."""
    ended = run("--help")
    assert "--install-completion" in ended.out
    shown = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.code == 0
    assert "adcp-tracker" in shown.out
