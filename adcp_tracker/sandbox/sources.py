"""Event sources: which the seller knows, and how they are registered."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@attrs.frozen
class Source:
    """One event source of one account.

    Attributes:
        account: Whose it is.
        event_source_id: Its id.
        name: What people call it.
        event_types: The types it takes; empty for all.
        value_currencies: The currencies its values may have; empty for all.
        settings: Whatever else was registered with it.
        managed_by: Who may change it.
    """

    account: str
    event_source_id: str
    name: str | None = None
    event_types: tuple[str, ...] = ()
    value_currencies: tuple[str, ...] = ()
    settings: Mapping[str, object] = attrs.field(factory=dict)
    managed_by: str = "buyer"


class SourceBook:
    """The event sources of every account."""

    def __init__(self, advertisers: Mapping[str, Iterable[str]], now: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._accounts: dict[str, dict[str, Source]] = {}
        self._hourly: Counter[tuple[str, str, int]] = Counter()
        self.add(advertisers)

    def add(self, advertisers: Mapping[str, Iterable[str]]) -> None:
        """Know these event sources too."""
        with self._lock:
            for account, source_ids in advertisers.items():
                known = self._accounts.setdefault(account, {})
                for source_id in source_ids:
                    known.setdefault(source_id, Source(account, source_id, source_id))

    def knows(self, account: str) -> bool:
        """Say whether `account` is an advertiser of this seller."""
        with self._lock:
            return account in self._accounts

    def find(self, account: str | None, source_id: str) -> Source | None:
        """Return the event source, in `account` or, without one, in any."""
        with self._lock:
            if account is not None:
                return self._accounts.get(account, {}).get(source_id)
            found = (known.get(source_id) for known in self._accounts.values())
            return next((source for source in found if source is not None), None)

    def count(self, source: Source, events: int) -> None:
        """Note how many events came from `source` just now."""
        with self._lock:
            hour = int(self._now() // 3600)
            self._hourly[source.account, source.event_source_id, hour] += events
