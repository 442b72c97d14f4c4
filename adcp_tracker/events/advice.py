"""Advice at run time: what is probably wrong with the events, seen in a sample of them.

The uploader looks at a few events of each batch. Only counts are kept, and of addresses and
browsers a keyed hash of the most frequent ones, in memory alone.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker._logging import ThrottledLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adcp_tracker._clock import Clock

_SAMPLE: Final = 20
_LEAST: Final = 10
_HALVED_AT: Final = 1000
_INTERVAL_SECONDS: Final = 3600.0
_OLD_SECONDS: Final = 7 * 86_400.0
_FEW: Final = 0.1
_HALF: Final = 0.5
_KEY: Final = os.urandom(16)


class _Frequent:
    """Find a value that half of all have, in the memory of a few (Misra and Gries)."""

    def __init__(self) -> None:
        self.total = 0
        self._counts: dict[bytes, int] = {}

    def add(self, value: str) -> None:
        self.total += 1
        hashed = blake2b(value.encode("utf-8", "replace"), digest_size=8, key=_KEY).digest()
        if hashed in self._counts or len(self._counts) < _SAMPLE:
            self._counts[hashed] = self._counts.get(hashed, 0) + 1
            return
        self._counts = {name: count - 1 for name, count in self._counts.items() if count > 1}

    def halve(self) -> None:
        self.total //= 2
        self._counts = {name: count // 2 for name, count in self._counts.items() if count > 1}

    @property
    def most(self) -> int:
        """About how many have the most frequent value, at most this many."""
        missed = self.total // (_SAMPLE + 1)
        return max(self._counts.values(), default=-missed) + missed


@attrs.define
class _Share:
    """How many of the events that a question is about have the problem."""

    of: int = 0
    found: int = 0

    def add(self, *, found: bool) -> None:
        self.of += 1
        self.found += found

    def halve(self) -> None:
        self.of //= 2
        self.found //= 2

    def reaches(self, share: float) -> bool:
        return self.of >= _LEAST and self.found >= share * self.of

    def __str__(self) -> str:
        return f"{self.found / self.of:.0%}"


class Advisor:
    """Looks at one destination's events, and says what is probably wrong with them.

    Args:
        destination: The destination's name, for the log.
        clock: Where the time is read.
    """

    def __init__(self, destination: str, clock: Clock) -> None:
        self._destination = destination
        self._clock = clock
        self._log = ThrottledLogger(clock, _INTERVAL_SECONDS)
        self._unidentified, self._worthless, self._old, self._tests = (_Share() for _ in range(4))
        self._addresses, self._browsers = _Frequent(), _Frequent()

    def observe(self, events: Sequence[bytes], *, is_test: bool) -> list[str]:
        """Look at a few events of a batch; return all advice, and log it once an hour."""
        now = self._clock.now()
        for event in events[:: max(len(events) // _SAMPLE, 1)]:
            found = orjson.loads(event)
            if found:  # else it was erased meanwhile
                self._tests.add(found=is_test)
                self._count(found, now)
        if self._tests.of >= _HALVED_AT:
            self._halve()
        problems = [(name, text) for name, is_found, text in self._questions() if is_found()]
        for name, text in problems:
            message, _, remedy = text().partition(". ")
            self._log.warning(
                "events.advice",
                destination=self._destination,
                reason=name,
                problem=f"{message}.",
                remedy=remedy,
            )
        return [text() for _, text in problems]

    def _count(self, event: Mapping[str, object], now: float) -> None:
        match = _mapping(event.get("user_match"))
        data = _mapping(event.get("custom_data"))
        network = {"client_ip", "client_user_agent"}
        self._unidentified.add(found=not match.keys() - network and not network <= match.keys())
        if event.get("event_type") == "purchase":
            self._worthless.add(found=not {"value", "currency"} <= data.keys())
        age = now - _timestamp(event.get("event_time"), now)
        self._old.add(found=age > _OLD_SECONDS)
        for name, frequent in (
            ("client_ip", self._addresses),
            ("client_user_agent", self._browsers),
        ):
            value = match.get(name)
            if isinstance(value, str):
                frequent.add(value)

    def _halve(self) -> None:
        for share in (self._unidentified, self._worthless, self._old, self._tests):
            share.halve()
        self._addresses.halve()
        self._browsers.halve()

    def _questions(self) -> Sequence[tuple[str, Callable[[], bool], Callable[[], str]]]:
        return (
            (
                "no_identifier",
                lambda: self._unidentified.reaches(_FEW),
                lambda: (
                    f"{self._unidentified} of the events have nothing to match them by. Give the "
                    "shopper's e-mail address, phone number, click id, or address and browser."
                ),
            ),
            (
                "no_value",
                lambda: self._worthless.reaches(_FEW),
                lambda: (
                    f"{self._worthless} of the purchases have no value or currency. See "
                    "adcp-tracker explain for what is read of an order."
                ),
            ),
            (
                "too_old",
                lambda: self._old.reaches(_FEW),
                lambda: (
                    f"{self._old} of the events are more than 7 days old, which is too late for "
                    "many attribution windows. Track them sooner, and check created_at."
                ),
            ),
            (
                "test_code",
                lambda: self._tests.reaches(_HALF),
                lambda: (
                    f"{self._tests} of the events are marked as tests, so none of them counts. "
                    "Remove test_event_code where events are live."
                ),
            ),
            (
                "one_address",
                lambda: _is_one(self._addresses),
                lambda: (
                    "Half of the events have one IP address. It is probably your proxy's: set "
                    "trusted_proxies, and check with adcp-tracker check --ip."
                ),
            ),
            (
                "one_browser",
                lambda: _is_one(self._browsers),
                lambda: (
                    "Half of the events have one browser. It is probably your own HTTP client's: "
                    "pass the shopper's with the order."
                ),
            ),
        )


def _is_one(frequent: _Frequent) -> bool:
    return frequent.total >= 2 * _LEAST and frequent.most >= _HALF * frequent.total


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _timestamp(text: object, otherwise: float) -> float:
    try:
        time = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return otherwise
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
