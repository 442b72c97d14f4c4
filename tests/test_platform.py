"""Where the library can't work, its import says so, and what to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WINDOWS = """
import sys
sys.platform = "win32"
import adcp_tracker
"""
_SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
program = '''
import sys
sys.path[:] = {path!r}
try:
    import adcp_tracker
except ImportError as error:
    print(error, file=sys.stderr, flush=True)
'''.format(path=__import__("sys").path)
interpreters.run_string(interpreters.create(), program)
"""


@pytest.mark.parametrize(
    ("program", "remedy"),
    [(_WINDOWS, "in WSL"), (_SUBINTERPRETER, "WSGIApplicationGroup %{GLOBAL}")],
    ids=["windows", "subinterpreter"],
)
def test_an_import_that_cannot_work_names_the_remedy(program: str, remedy: str) -> None:
    """The first line that a newcomer runs tells it, before anything else fails."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "adcp_tracker doesn't run " in done.stderr
    assert remedy in done.stderr
    assert "fcntl" not in done.stderr
