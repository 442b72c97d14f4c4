"""The directory store keeps the contract; a leader that lost its lead writes and sends nothing."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.delivery.flusher import Flusher
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.uploader import UploaderConfig
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.encryption import Encryption
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import DirectoryStore, FileLeaderLock
from tests.store.contract import NOW_MS, StoreContract, body
from tests.support.destinations import MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from adcp_tracker._platform import Clock


class TestDirectoryStore(StoreContract):
    """A directory, plain and encrypted."""

    @pytest.fixture(params=["plain", "encrypted"])
    def encryption(self, request: pytest.FixtureRequest) -> Encryption | None:
        """Return the encryption of both views."""
        return Encryption(b"k" * 32) if request.param == "encrypted" else None

    @pytest.fixture
    def store(self, tmp_path: Path, encryption: Encryption | None) -> DirectoryStore:
        """Return one process's view."""
        return DirectoryStore(QueueDirectory(tmp_path / "queue"), encryption)

    @pytest.fixture
    def other(self, tmp_path: Path, encryption: Encryption | None) -> DirectoryStore:
        """Return another's."""
        return DirectoryStore(QueueDirectory(tmp_path / "queue"), encryption)


class _Lease(FileLeaderLock):
    """A lock that can be lost, as a lease is."""

    is_lost = False

    def renew(self) -> bool:
        """Return whether it was not lost yet."""
        return not self.is_lost and super().renew()


class _SharedStore(DirectoryStore):
    """A directory in the role of a store that several machines share."""

    is_shared = True
    lease: _Lease

    def leader_lock(self, clock: Clock) -> _Lease:
        """Return a lease."""
        self.lease = _Lease(self.directory, clock)
        return self.lease


class _FailingOutbox(MemoryOutbox):
    """An outbox that refuses every write while it is told to."""

    fails = False

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Write, or refuse."""
        if self.fails:
            raise OutboxError(f"no connection: {errno.ECONNRESET}")
        super().apply(puts, removes)


@pytest.fixture
def outbox() -> _FailingOutbox:
    """Return the state of the shared store."""
    return _FailingOutbox()


@pytest.fixture
def shared(tmp_path: Path, outbox: _FailingOutbox) -> _SharedStore:
    """Return a store that several machines share."""
    return _SharedStore(QueueDirectory(tmp_path / "queue"), None, lambda _: outbox)


@pytest.fixture
def seller() -> ScriptedDestination:
    """Return where events go."""
    return ScriptedDestination()


@pytest.fixture
def flusher(shared: _SharedStore, seller: ScriptedDestination) -> Iterator[Flusher]:
    """Return a flusher that works on the shared store."""
    config = UploaderConfig(shared, (seller,), RetryPolicy(lambda: 0.5), SystemClock(), 0.01)
    one = Flusher(config, lambda: None)
    yield one
    one.stop(20.0)


def _append(store: DirectoryStore, number: int) -> None:
    store.prepare()
    journal = store.journal_writer()
    journal.append(body(number), NOW_MS)
    journal.roll()


def test_a_shared_store_sends_nothing_that_was_not_committed(
    shared: _SharedStore, flusher: Flusher, seller: ScriptedDestination, outbox: _FailingOutbox
) -> None:
    """Another leader would send the same events in other batches."""
    outbox.fails = True
    _append(shared, 1)
    assert not flusher.flush(0.3)
    assert seller.ids == []
    outbox.fails = False
    wait_until(lambda: seller.ids == ["A-1"])


def test_a_leader_that_lost_its_lead_stops_at_once_and_writes_nothing(
    shared: _SharedStore, flusher: Flusher, seller: ScriptedDestination, outbox: _FailingOutbox
) -> None:
    """It takes part again once it can lead again."""
    flusher.start()
    wait_until(lambda: flusher.is_leading and bool(shared.read_stats()))
    shared.lease.is_lost = True
    wait_until(lambda: not flusher.is_leading)
    before, published = outbox.load(), shared.read_stats()
    _append(shared, 1)
    assert not flusher.flush(0.3)
    assert (seller.ids, outbox.load(), shared.read_stats()) == ([], before, published)
    shared.lease.is_lost = False
    wait_until(lambda: seller.ids == ["A-1"])
