"""Hold events while a session has a transaction, until it is known how that ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from adcp_tracker._logging import logger
from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker_sqlalchemy._pending import Ledger
from adcp_tracker_sqlalchemy._scope import current_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import ORMExecuteState, SessionTransaction

    Write = Callable[[], None]
    Target: TypeAlias = "Session | sessionmaker[Session] | type[Session]"

Sessions: TypeAlias = (
    "Session | sessionmaker[Session] | scoped_session[Session] | AsyncSession | "
    "async_sessionmaker[AsyncSession] | async_scoped_session[AsyncSession]"
)
"""One session, or whatever an application makes its sessions with."""

_LEDGER = "adcp_tracker"


def hold_for_session(sessions: Sessions, *, enabled: bool = True) -> SessionHold | None:
    """Return the ``hold`` of a tracker whose events are about what sessions write.

    An event that is tracked while a session of this request, task or thread has a
    transaction is kept in memory. A commit writes it to disk; a rollback drops it, that
    of its savepoint too. A transaction that ends without either, having written nothing,
    was only read in: its events are written as well.

    Args:
        sessions: The application's ``sessionmaker``, ``scoped_session`` or their async
            twins, or a single session. Call this before sessions are made.
        enabled: Whether to hold anything; without, events do not wait for transactions.

    Raises:
        ConfigurationError: If `sessions` is none of these.
    """
    return SessionHold(sessions) if enabled else None


class SessionHold:
    """Holds writes for the transactions of some sessions.

    Args:
        sessions: What makes the sessions, or one of them.

    Raises:
        ConfigurationError: If `sessions` is nothing that does.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._open: WeakSet[Session] = WeakSet()
        self._lock = threading.Lock()
        target = _target(sessions)
        for name, listener in (
            ("after_transaction_create", self._used),
            ("after_begin", self._used),
            ("transient_to_pending", self._writing),
            ("before_flush", self._writing),
            ("do_orm_execute", self._executing),
            ("after_commit", self._committed),
            ("after_rollback", self._rolled_back),
            ("after_transaction_end", self._ended),
        ):
            event.listen(target, name, listener)

    def __call__(self, write: Write) -> bool:
        """Take `write` if a session here has a transaction; say whether it was taken."""
        session = self._session_here()
        if session is None:
            return False
        ledger: Ledger[SessionTransaction] = session.info[_LEDGER]
        transaction = _innermost(session)
        if transaction is None:
            return False
        ledger.hold(transaction, write)
        return True

    def _session_here(self) -> Session | None:
        """Return the session last used by this request, task or thread, if it is at work."""
        place = current_place()
        with self._lock:
            found = [each for each in self._open if each.info[_LEDGER].is_used_in(place)]
        working = [each for each in found if each.in_transaction()]
        return max(working, key=lambda each: each.info[_LEDGER].used_at, default=None)

    def _used(self, session: Session, *_: object) -> None:
        ledger = session.info.get(_LEDGER)
        if ledger is None:
            ledger = session.info[_LEDGER] = Ledger()
        ledger.use(current_place())
        with self._lock:
            self._open.add(session)

    def _writing(self, session: Session, *_: object) -> None:
        self._used(session)
        session.info[_LEDGER].has_written = True

    def _executing(self, state: ORMExecuteState) -> None:
        self._used(state.session)
        if not state.is_select:
            state.session.info[_LEDGER].has_written = True

    def _committed(self, session: Session) -> None:
        self._decided(session, committed=True)

    def _rolled_back(self, session: Session) -> None:
        self._decided(session, committed=False)

    def _decided(self, session: Session, *, committed: bool) -> None:
        ledger = session.info.get(_LEDGER)
        transaction = _innermost(session)
        if ledger is not None and transaction is not None:
            ledger.decide(transaction, committed=committed)

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        ledger = session.info.get(_LEDGER)
        if ledger is None:
            return
        if transaction.parent is not None:
            ledger.end_nested(transaction, _outer(transaction.parent))
            return
        with self._lock:
            self._open.discard(session)
        session.info.pop(_LEDGER)
        for write in ledger.end(transaction):
            _make(write)


def _make(write: Write) -> None:
    """Make a write. What is committed must not look as if it had failed."""
    try:
        write()
    except (AdcpTrackerError, OSError) as error:
        logger.error("event.not_written", error=str(error))


def _innermost(session: Session) -> SessionTransaction | None:
    """Return the savepoint that a session is in, or else its transaction."""
    return session.get_nested_transaction() or session.get_transaction()


def _outer(transaction: SessionTransaction) -> SessionTransaction:
    """Return the savepoint or transaction that `transaction` is part of."""
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction


def _target(sessions: object) -> Target:
    """Return what the events of these sessions are listened for at."""
    if isinstance(sessions, AsyncSession):
        sessions = sessions.sync_session
    if isinstance(sessions, (scoped_session, async_scoped_session)):
        sessions = sessions.session_factory
    if isinstance(sessions, async_sessionmaker):
        return _sync_class(sessions)
    if isinstance(sessions, (Session, sessionmaker)):
        return sessions
    raise ConfigurationError(
        "sessions: expected a session, sessionmaker, scoped_session or an async one of them, "
        f"got {type(sessions).__name__}"
    )


def _sync_class(maker: async_sessionmaker[AsyncSession]) -> Target:
    """Give the async sessions of `maker` a class of sessions of their own to listen at."""
    given = maker.kw.get("sync_session_class") or maker.class_.sync_session_class
    if isinstance(given, sessionmaker):
        return given
    own = type(given.__name__, (given,), {})
    maker.configure(sync_session_class=own)
    return own
