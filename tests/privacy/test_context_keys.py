"""The key that a queue directory keeps: one for all its processes, private, whole or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.exceptions import ConfigurationError, UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import ContextFiles

_ROOT = Path(__file__).parents[2]
_WAIT_S = 30.0

ASKS = """
import sys
from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import ContextFiles
print("ready", flush=True)
sys.stdin.readline()
print(ContextFiles(QueueDirectory(sys.argv[1]), SystemClock()).key().hex())
"""


def key_of(directory: QueueDirectory) -> bytes:
    """Return the key of a queue directory."""
    return ContextFiles(directory, SystemClock()).key()


@pytest.fixture
def directory(tmp_path: Path) -> QueueDirectory:
    """Return a queue directory that is not there yet."""
    return QueueDirectory(tmp_path / "queue")


@pytest.mark.slow
def test_processes_that_ask_at_once_get_the_same_key(directory: QueueDirectory) -> None:
    """Whoever comes first makes it, and nothing else is left behind."""
    command = [sys.executable, "-c", ASKS, str(directory.path)]
    processes = [
        subprocess.Popen(
            command, cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    keys = {process.communicate("\n", _WAIT_S)[0].strip() for process in processes}
    assert keys == {key_of(directory).hex()}
    assert [path.name for path in directory.path.glob("*context*")] == ["context.key"]


def test_a_key_is_its_owners_alone(directory: QueueDirectory) -> None:
    """Its file is private from the start, and one that is not is refused."""
    key_of(directory)
    assert directory.context_key.stat().st_mode & 0o777 == 0o600
    directory.context_key.chmod(0o644)
    with pytest.raises(UnsafeDirectoryError, match="chmod"):
        key_of(directory)


@pytest.mark.parametrize("content", [b"", b"abc", b"zz" * 32, b"\xff" * 64, b"00" * 31])
def test_a_damaged_key_is_reported_with_the_remedy(
    directory: QueueDirectory, content: bytes
) -> None:
    """A short key is never used; the message does not repeat what is there."""
    key_of(directory)
    directory.context_key.write_bytes(content)
    with pytest.raises(ConfigurationError, match="remove the file") as raised:
        key_of(directory)
    assert not content or content.decode("latin-1") not in str(raised.value)
    directory.context_key.unlink()
    assert len(key_of(directory)) == 32
