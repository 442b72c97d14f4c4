"""The deferred writes of a session, by transaction."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[], None]

Transaction = TypeVar("Transaction")
Kept = TypeVar("Kept")

_moments = itertools.count()


@attrs.define(eq=False)
class PendingWrites(Generic[Transaction]):
    """A session's deferred writes, from its first use until its outermost transaction ends.

    Attributes:
        used_at: A number that orders sessions by their last use.
        has_written: Whether the session may have written to the database.
    """

    used_at: int = 0
    has_written: bool = False
    _scopes: list[object] = attrs.field(factory=list)
    _held: dict[Transaction, list[Write]] = attrs.field(factory=dict)
    _outcomes: dict[Transaction, bool] = attrs.field(factory=dict)
    _committing: Transaction | None = None

    def use(self, scope: object) -> None:
        """Note that the session is used in a request, task or thread."""
        self.used_at = next(_moments)
        if not self.is_used_in(scope):
            self._scopes.append(scope)

    def is_used_in(self, scope: object) -> bool:
        """Return whether the session was used in a request, task or thread."""
        return any(scope is each for each in self._scopes)

    def add(self, transaction: Transaction, write: Write) -> None:
        """Defer `write` until `transaction` ends."""
        self._held.setdefault(transaction, []).append(write)

    def holds(self, kind: type[Write]) -> bool:
        """Return whether a deferred write is of a kind."""
        return any(isinstance(each, kind) for writes in self._held.values() for each in writes)

    def take(self, kind: type[Kept]) -> list[Kept]:
        """Remove the deferred writes of a kind, and return them in their order."""
        taken: list[Kept] = []
        for transaction, writes in self._held.items():
            taken += [each for each in writes if isinstance(each, kind)]
            self._held[transaction] = [each for each in writes if not isinstance(each, kind)]
        return taken

    def is_final_commit(self, savepoint: Transaction | None) -> bool:
        """Return whether the session's outermost transaction is about to be committed.

        SQLAlchemy tells of each commit before it makes it, also of savepoints. If it tells twice
        in the same savepoint, the first one was of the whole transaction, which was committed
        while the savepoint was open.
        """
        is_second = savepoint is not None and savepoint is self._committing
        self._committing = savepoint
        return savepoint is None or is_second

    def decide(self, transaction: Transaction, *, committed: bool) -> None:
        """Note how `transaction` will end."""
        self._outcomes[transaction] = committed

    def end_nested(self, transaction: Transaction, outer: Transaction) -> None:
        """Move the writes of a released savepoint to `outer`; drop those of a rolled-back one."""
        writes = self._held.pop(transaction, [])
        if writes and self._outcomes.get(transaction, False):
            self._held.setdefault(outer, []).extend(writes)

    def end(self, transaction: Transaction) -> list[Write]:
        """Return the writes to call now that the outermost transaction has ended.

        A transaction that ended without a commit or rollback loses what it wrote. If it wrote
        nothing, its events don't depend on it.
        """
        committed = self._outcomes.get(transaction, not self.has_written)
        return self._held.pop(transaction, []) if committed else []
