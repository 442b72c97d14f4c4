"""What one session holds: writes by the transaction they were tracked in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[], None]

Transaction = TypeVar("Transaction")

_moments = itertools.count()


@attrs.define(eq=False)
class PendingWrites(Generic[Transaction]):
    """A session's held writes, from its first use until its outermost transaction ends.

    Attributes:
        used_at: Orders sessions by when each was last used.
        has_written: Whether anything may have been written to the database.
    """

    used_at: int = 0
    has_written: bool = False
    _scopes: list[object] = attrs.field(factory=list)
    _held: dict[Transaction, list[Write]] = attrs.field(factory=dict)
    _outcomes: dict[Transaction, bool] = attrs.field(factory=dict)

    def use(self, scope: object) -> None:
        """Note that the session is used in a request, task or thread."""
        self.used_at = next(_moments)
        if not self.is_used_in(scope):
            self._scopes.append(scope)

    def is_used_in(self, scope: object) -> bool:
        """Say whether the session was used there."""
        return any(scope is each for each in self._scopes)

    def add(self, transaction: Transaction, write: Write) -> None:
        """Keep `write` until `transaction` ends."""
        self._held.setdefault(transaction, []).append(write)

    def decide(self, transaction: Transaction, *, committed: bool) -> None:
        """Note how `transaction` is about to end."""
        self._outcomes[transaction] = committed

    def end_nested(self, transaction: Transaction, outer: Transaction) -> None:
        """Hand on what a savepoint held, if it was released; else drop it."""
        writes = self._held.pop(transaction, [])
        if writes and self._outcomes.get(transaction, False):
            self._held.setdefault(outer, []).extend(writes)

    def end(self, transaction: Transaction) -> list[Write]:
        """Return the writes to be made now that the outermost transaction has ended.

        One that just ended, neither committed nor rolled back, takes what was written
        with it; where nothing was, no event depended on it.
        """
        committed = self._outcomes.get(transaction, not self.has_written)
        return self._held.pop(transaction, []) if committed else []
