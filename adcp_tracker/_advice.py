"""What is probably wrong with events, and how well a seller can match them.

The uploader, ``adcp-tracker coach`` and the local seller's page look at a sample of events. Only
counts are kept, and of addresses and browsers a keyed hash of the most frequent ones, in memory
alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from datetime import datetime, timezone
from hashlib import blake2b
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker.events.model import IGNORED_FOR_BOTS
from adcp_tracker.events.parsing import CENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from adcp_tracker._platform import Clock

_LOOKED_AT: Final = 50
_VALUES_KEPT: Final = 20
_LEAST: Final = 10
_HALVED_AT: Final = 1000
_INTERVAL_SECONDS: Final = 3600.0
_OLD_SECONDS: Final = 7 * 86_400.0
_FEW: Final = 0.1
_HALF: Final = 0.5
_NEARLY_ALL: Final = 0.95
_LARGE_AMOUNT: Final = 1000
_KEY: Final = os.urandom(16)
_RANDOM_ID: Final = re.compile(r"[0-9a-f]{32}")
_REPEATABLE: Final = frozenset({*(each.value for each in IGNORED_FOR_BOTS), "purchase", "refund"})
"""Types of events that have their order's id, or that may well happen again and again."""


@attrs.frozen
class Identifier:
    """An identifier of the shopper that an event can have.

    Attributes:
        label: Its name for a person.
        worth: What it is good for.
        remedy: The line of code or the setting that adds it.
        enough: The share of events that usually can have it.
    """

    label: str
    worth: str
    remedy: str
    enough: float


_MIDDLEWARE: Final = "Install the middleware of your framework, such as AdcpTracker(app)"

IDENTIFIERS: Final[dict[str, Identifier]] = {
    "hashed_email": Identifier(
        "E-mail address, hashed",
        "Matches on every device. Ask for it at checkout.",
        "tracker.track_purchase(order, email=customer.email)",
        0.7,
    ),
    "hashed_phone": Identifier(
        "Phone number, hashed",
        "Matches on every device, also without e-mail.",
        'tracker.track_purchase(order, phone=customer.phone, default_region="DE")',
        0.3,
    ),
    "uids": Identifier(
        "User ids",
        "Match exactly, where you and the seller share an id.",
        'tracker.track_purchase(order, uids=[{"type": "uid2", "value": uid}])',
        0.0,
    ),
    "click_id": Identifier(
        "Click id",
        "Ties the event to the ad click that led to it.",
        f"{_MIDDLEWARE}, also on landing pages. For a purchase without a request: "
        "tracker.contexts.remember(order.id) in the checkout.",
        0.05,
    ),
    "client_ip": Identifier(
        "IP address",
        "Helps to match together with the browser.",
        f"{_MIDDLEWARE}, and set trusted_proxies to your proxies' networks; check with "
        "adcp-tracker check --ip.",
        0.8,
    ),
    "client_user_agent": Identifier(
        "Browser",
        "Helps to match together with the IP address.",
        f"{_MIDDLEWARE}. For a purchase without a request: "
        "tracker.contexts.remember(order.id) in the checkout.",
        0.8,
    ),
}
"""The identifiers of the protocol, by their field in ``user_match``."""

_NETWORK: Final = frozenset({"client_ip", "client_user_agent"})


@attrs.frozen
class Suspicion:
    """Something that is probably wrong with the events.

    Attributes:
        code: In one word.
        problem: What is wrong, in a sentence.
        remedy: The line of code or the setting to change.
    """

    code: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class _Frequent:
    """Find a value that half of all have, in the memory of a few (Misra and Gries)."""

    def __init__(self) -> None:
        self.total = 0
        self._counts: dict[bytes, int] = {}

    def add(self, value: str) -> None:
        self.total += 1
        hashed = blake2b(value.encode("utf-8", "replace"), digest_size=8, key=_KEY).digest()
        if hashed in self._counts or len(self._counts) < _VALUES_KEPT:
            self._counts[hashed] = self._counts.get(hashed, 0) + 1
            return
        self._counts = {name: count - 1 for name, count in self._counts.items() if count > 1}

    def halve(self) -> None:
        self.total //= 2
        self._counts = {name: count // 2 for name, count in self._counts.items() if count > 1}

    @property
    def most(self) -> int:
        """About how many have the most frequent value, at most this many."""
        missed = self.total // (_VALUES_KEPT + 1)
        return max(self._counts.values(), default=-missed) + missed


class EventSample:
    """Counts over a sample of events: their identifiers, and what looks wrong.

    With 1,000 events all counts are halved, so that they follow the latest events.

    Args:
        counts: The counts of an earlier sample to go on from.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = Counter(counts)
        self._frequent = {"address": _Frequent(), "browser": _Frequent()}

    def add(
        self,
        event: Mapping[str, object],
        now: float,
        *,
        is_test: bool,
        currencies: Collection[str] = (),
    ) -> None:
        """Count one event.

        Args:
            event: The decoded event.
            now: When it was tracked or sent, in seconds since the epoch.
            is_test: Whether it has a test code.
            currencies: The currencies that its event source accepts; empty for any.
        """
        match, data = _mapping(event.get("user_match")), _mapping(event.get("custom_data"))
        self._counts.update(["events", *(name for name in IDENTIFIERS if name in match)])
        self._counts.update(_signs(event, match, data, now))
        self._counts["test"] += is_test
        currency = data.get("currency")
        if currencies and isinstance(currency, str):
            self._counts["with_currency"] += 1
            self._counts["other_currency"] += currency not in currencies
        for kind, name in (("address", "client_ip"), ("browser", "client_user_agent")):
            value = match.get(name)
            if isinstance(value, str):
                self._frequent[kind].add(value)
        if self._counts["events"] >= _HALVED_AT:
            self._halve()

    def _halve(self) -> None:
        self._counts = Counter({name: count // 2 for name, count in self._counts.items()})
        for frequent in self._frequent.values():
            frequent.halve()

    def counts(self) -> dict[str, int]:
        """Return all counts. They hold nothing of any event."""
        seen = {f"{kind}_seen": each.total for kind, each in self._frequent.items()}
        most = {f"one_{kind}": max(each.most, 0) for kind, each in self._frequent.items()}
        return {name: count for name, count in {**self._counts, **seen, **most}.items() if count}


def _signs(
    event: Mapping[str, object], match: Mapping[str, object], data: Mapping[str, object], now: float
) -> Iterator[str]:
    """Yield the names of the counts that an event adds to."""
    if not match.keys() - _NETWORK and not match.keys() >= _NETWORK:
        yield "unidentified"
    if event.get("event_type") == "purchase":
        yield "purchases"
        if not data.keys() >= {"value", "currency"}:
            yield "worthless"
    if now - _timestamp(event.get("event_time"), now) > _OLD_SECONDS:
        yield "old"
    if _is_private(match.get("client_ip")):
        yield "private_address"
    yield from _signs_of_id(event)
    value, currency = data.get("value"), data.get("currency")
    has_cents = isinstance(currency, str) and currency in CENTS
    if has_cents and isinstance(value, (int, float)) and value:
        yield "amounts"
        if value % 1 == 0:
            yield "whole_amounts"
            if value >= _LARGE_AMOUNT:
                yield "large_amounts"


def _signs_of_id(event: Mapping[str, object]) -> Iterator[str]:
    if str(event.get("event_type")) not in _REPEATABLE:
        yield "conversions"
        if _RANDOM_ID.fullmatch(str(event.get("event_id"))):
            yield "random_ids"


def _is_private(address: object) -> bool:
    try:
        return isinstance(address, str) and not ip_address(address).is_global
    except ValueError:
        return False


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _timestamp(text: object, otherwise: float) -> float:
    try:
        time = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return otherwise
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def identifier_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the share of events with each identifier, 0–1; empty without events."""
    events = counts.get("events", 0)
    return {name: counts.get(name, 0) / events for name in IDENTIFIERS} if events else {}


def missing_identifiers(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the identifiers that too few events have, with the share of those that do."""
    if counts.get("events", 0) < _LEAST:
        return {}
    shares = identifier_shares(counts).items()
    return {name: share for name, share in shares if share < (IDENTIFIERS[name].enough or 1e-9)}


@attrs.frozen
class _Question:
    """Asks whether a share of the events is too large.

    Attributes:
        code: The suspicion's code.
        found: The count of events with the problem.
        of: The count of events that could have it.
        share: The share from which it is suspicious.
        problem: What to say; ``{}`` is the share.
        remedy: The line of code or the setting to change.
        least: How many events are needed to tell.
    """

    code: str
    found: str
    of: str
    share: float
    problem: str
    remedy: str
    least: int = _LEAST

    def answer(self, counts: Mapping[str, int]) -> Suspicion | None:
        of, found = counts.get(self.of, 0), counts.get(self.found, 0)
        if of < self.least or not found or found < self.share * of:
            return None
        return Suspicion(self.code, self.problem.format(f"{found / of:.0%}"), self.remedy)


_QUESTIONS: Final = (
    _Question(
        "no_identifier",
        "unidentified",
        "events",
        _FEW,
        "{} of the events have nothing to match them by.",
        "Give the shopper's e-mail address, phone number, click id, or address and browser.",
    ),
    _Question(
        "no_value",
        "worthless",
        "purchases",
        _FEW,
        "{} of the purchases have no value or currency.",
        "See adcp-tracker explain for what is read of an order.",
    ),
    _Question(
        "too_old",
        "old",
        "events",
        _FEW,
        "{} of the events are more than 7 days old, which is too late for many attribution "
        "windows.",
        "Track them sooner, and check created_at.",
    ),
    _Question(
        "random_id",
        "random_ids",
        "conversions",
        _FEW,
        "{} of the leads and other conversions have a random id, so a repeated call counts twice.",
        "Pass key= or event_id=.",
    ),
    _Question(
        "test_code",
        "test",
        "events",
        _HALF,
        "{} of the events are marked as tests, so none of them counts.",
        "Remove test_event_code where events are live.",
    ),
    _Question(
        "private_address",
        "private_address",
        "client_ip",
        _FEW,
        "{} of the IP addresses are private, so they are no shopper's.",
        "They are your proxy's or your own network's: set trusted_proxies, and check with "
        "adcp-tracker check --ip.",
    ),
    _Question(
        "one_address",
        "one_address",
        "address_seen",
        _HALF,
        "At least half of the events have the same IP address.",
        "It is probably your proxy's: set trusted_proxies, and check with adcp-tracker check --ip.",
        2 * _LEAST,
    ),
    _Question(
        "one_browser",
        "one_browser",
        "browser_seen",
        _HALF,
        "At least half of the events have the same browser.",
        "It is probably your own HTTP client's: pass the shopper's with the order.",
        2 * _LEAST,
    ),
    _Question(
        "other_currency",
        "other_currency",
        "with_currency",
        0.0,
        "{} of the values are in a currency that the event source doesn't accept.",
        "Add it to the value_currencies of the EventSource, and run adcp-tracker sources sync.",
        1,
    ),
)


def _find_cents(counts: Mapping[str, int]) -> Suspicion | None:
    """Suspect cents if nearly all amounts are whole, and at least half are large."""
    amounts, whole = counts.get("amounts", 0), counts.get("whole_amounts", 0)
    large = counts.get("large_amounts", 0)
    if amounts < _LEAST or whole < _NEARLY_ALL * amounts or large < _HALF * amounts:
        return None
    return Suspicion(
        "cents",
        f"{whole / amounts:.0%} of the amounts are whole numbers, mostly of 1,000 or more, as "
        "if they were in cents.",
        "Pass amounts in the currency's main unit: "
        "total=from_minor(order.amount, order.currency), from adcp_tracker.orders.",
    )


def find_suspicions(counts: Mapping[str, int]) -> list[Suspicion]:
    """Return what is probably wrong with the events of a sample.

    Args:
        counts: The counts of an :class:`EventSample`.
    """
    answers = [*(each.answer(counts) for each in _QUESTIONS), _find_cents(counts)]
    return [each for each in answers if each is not None]


class Advisor:
    """Looks at one destination's events, and says what is probably wrong with them.

    Args:
        destination: The destination's name, for the log.
        clock: Where the time is read.
        counts: The counts of an earlier sample to go on from.
    """

    def __init__(
        self, destination: str, clock: Clock, counts: Mapping[str, int] | None = None
    ) -> None:
        self._destination = destination
        self._clock = clock
        self._log = ThrottledLogger(clock, _INTERVAL_SECONDS)
        self.sample = EventSample(counts)

    def observe(self, events: Sequence[bytes], *, is_test: bool) -> list[str]:
        """Look at a few events of a batch; return all advice, and log it once an hour."""
        now = self._clock.now()
        for event in events[:: max(len(events) // _LOOKED_AT, 1)]:
            found = orjson.loads(event)
            if found:  # else it was erased meanwhile
                self.sample.add(found, now, is_test=is_test)
        suspicions = find_suspicions(self.sample.counts())
        for each in suspicions:
            self._log.warning(
                "events.advice",
                destination=self._destination,
                reason=each.code,
                problem=each.problem,
                remedy=each.remedy,
            )
        return [str(each) for each in suspicions]
