"""Answers kept for their idempotency keys, so that a retry gets the same one."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.sandbox.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEPT_KEYS = 10_000
_NOT_COMPARED = frozenset({"context", "idempotency_key"})

Answer = dict[str, object] | RefusalError
"""What is kept: an answer's body, or the refusal that a stubborn seller repeats."""


@attrs.define
class _Entry:
    digest: bytes
    started_at: float
    answer: Answer | None = None


class Replays:
    """Remembers which key stood for which request, and what it was answered."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def begin(self, key: str, request: Mapping[str, object], ttl_s: float) -> Answer | None:
        """Open `key` for `request`, unless it was answered before.

        Returns:
            The answer kept for it, or ``None`` if it is to be handled now.

        Raises:
            RefusalError: If the key stood for another request, is being handled, or is
                too old to know.
        """
        digest = _digest(request)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._open(key, _Entry(digest, self._now()))
                return None
            if self._now() - entry.started_at > ttl_s:
                raise _refusal("IDEMPOTENCY_EXPIRED", "The answer to this key is gone.")
            if entry.digest != digest:
                raise _refusal("IDEMPOTENCY_CONFLICT", "The key stood for another request.")
            if entry.answer is None:
                raise _in_flight()
            return entry.answer

    def _open(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        if len(self._entries) > _KEPT_KEYS:
            self._entries.popitem(last=False)

    def finish(self, key: str, answer: Answer) -> None:
        """Keep `answer` for `key`."""
        with self._lock:
            if key in self._entries:
                self._entries[key].answer = answer

    def abandon_unanswered(self, key: str) -> None:
        """Forget `key` if its request came to nothing, so that it may be tried again."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.answer is None:
                del self._entries[key]

    def clear(self) -> None:
        """Forget every key."""
        with self._lock:
            self._entries.clear()


def _digest(request: Mapping[str, object]) -> bytes:
    compared = {name: value for name, value in request.items() if name not in _NOT_COMPARED}
    return hashlib.sha256(orjson.dumps(compared, option=orjson.OPT_SORT_KEYS)).digest()


def _refusal(code: str, message: str) -> RefusalError:
    return RefusalError(409, code, message)


def _in_flight() -> RefusalError:
    message = "The first request with this key is being handled."
    return RefusalError(
        409, "IDEMPOTENCY_IN_FLIGHT", message, recovery="transient", retry_after_s=1
    )
