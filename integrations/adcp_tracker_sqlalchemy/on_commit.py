"""Write events when the transaction of a SQLAlchemy session is committed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from adcp_tracker._logging import logger
from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker_sqlalchemy._pending import PendingWrites
from adcp_tracker_sqlalchemy._scope import current_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import ORMExecuteState, SessionTransaction

    Write = Callable[[], None]
    Target: TypeAlias = "Session | sessionmaker[Session] | type[Session]"

Sessions: TypeAlias = (
    "Session | sessionmaker[Session] | scoped_session[Session] | AsyncSession | "
    "async_sessionmaker[AsyncSession] | async_scoped_session[AsyncSession]"
)
"""A session, or what an application makes its sessions with."""

_PENDING = "adcp_tracker"


def on_session_commit(sessions: Sessions, *, enabled: bool = True) -> SessionCommitHook | None:
    """Return a value for the tracker's ``on_commit`` option.

    An event tracked while a session of this request, task or thread has a transaction is kept
    in memory. A commit writes it to disk; a rollback drops it, also a rollback to a savepoint.
    If a transaction ends without either and has written nothing, its events are written, too.

    Args:
        sessions: The application's ``sessionmaker``, ``scoped_session``, the async version of
            either, or a single session. Call this before sessions are made.
        enabled: ``False`` turns it off: events don't wait for transactions.

    Raises:
        ConfigurationError: If `sessions` is anything else.
    """
    return SessionCommitHook(sessions) if enabled else None


class SessionCommitHook:
    """Defers writes until the transactions of some sessions end.

    Args:
        sessions: What makes the sessions, or one of them.

    Attributes:
        target: What SQLAlchemy takes to listen to these sessions.

    Raises:
        ConfigurationError: If `sessions` is anything else.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._open: WeakSet[Session] = WeakSet()
        self._lock = threading.Lock()
        self.target = target = _listener_target(sessions)
        for name, listener in (
            ("after_transaction_create", self._on_use),
            ("after_begin", self._on_use),
            ("transient_to_pending", self._on_write),
            ("before_flush", self._on_write),
            ("do_orm_execute", self._on_execute),
            ("after_commit", self._on_commit),
            ("after_rollback", self._on_rollback),
            ("after_transaction_end", self._on_end),
        ):
            event.listen(target, name, listener)

    def __call__(self, write: Write) -> bool:
        """Defer `write` if a session here has a transaction; return whether it was deferred."""
        session = self._session_in_scope()
        if session is None:
            return False
        pending: PendingWrites[SessionTransaction] = session.info[_PENDING]
        transaction = _innermost(session)
        if transaction is None:
            return False
        pending.add(transaction, write)
        return True

    def pending(self, session: Session) -> PendingWrites[SessionTransaction] | None:
        """Return the deferred writes of a session; ``None`` if it has no transaction."""
        found: PendingWrites[SessionTransaction] | None = session.info.get(_PENDING)
        return found

    def _session_in_scope(self) -> Session | None:
        """Return the session last used by this request, task or thread, if it has a transaction."""
        scope = current_scope()
        with self._lock:
            found = [each for each in self._open if each.info[_PENDING].is_used_in(scope)]
        working = [each for each in found if each.in_transaction()]
        return max(working, key=lambda each: each.info[_PENDING].used_at, default=None)

    def _on_use(self, session: Session, *_: object) -> None:
        pending = session.info.get(_PENDING)
        if pending is None:
            pending = session.info[_PENDING] = PendingWrites()
        pending.use(current_scope())
        with self._lock:
            self._open.add(session)

    def _on_write(self, session: Session, *_: object) -> None:
        self._on_use(session)
        session.info[_PENDING].has_written = True

    def _on_execute(self, state: ORMExecuteState) -> None:
        self._on_use(state.session)
        if not state.is_select:
            state.session.info[_PENDING].has_written = True

    def _on_commit(self, session: Session) -> None:
        self._note_outcome(session, committed=True)

    def _on_rollback(self, session: Session) -> None:
        self._note_outcome(session, committed=False)

    def _note_outcome(self, session: Session, *, committed: bool) -> None:
        pending = session.info.get(_PENDING)
        transaction = _innermost(session)
        if pending is not None and transaction is not None:
            pending.decide(transaction, committed=committed)

    def _on_end(self, session: Session, transaction: SessionTransaction) -> None:
        pending = session.info.get(_PENDING)
        if pending is None:
            return
        if transaction.parent is not None:
            pending.end_nested(transaction, _enclosing(transaction.parent))
            return
        with self._lock:
            self._open.discard(session)
        session.info.pop(_PENDING)
        for write in pending.end(transaction):
            _write_safely(write)


def _write_safely(write: Write) -> None:
    """Call a write. An error must not look as if the committed transaction had failed."""
    try:
        write()
    except (AdcpTrackerError, OSError) as error:
        logger.error("event.not_written", error=str(error))


def _innermost(session: Session) -> SessionTransaction | None:
    """Return the savepoint that a session is in; without one, its transaction."""
    return session.get_nested_transaction() or session.get_transaction()


def _enclosing(transaction: SessionTransaction) -> SessionTransaction:
    """Return the savepoint or transaction around `transaction`."""
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction


def _listener_target(sessions: object) -> Target:
    """Return where to listen for the events of these sessions."""
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
    """Give the async sessions of `maker` their own session class to listen to."""
    given = maker.kw.get("sync_session_class") or maker.class_.sync_session_class
    if isinstance(given, sessionmaker):
        return given
    own = type(given.__name__, (given,), {})
    maker.configure(sync_session_class=own)
    return own
