"""Which events belong to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict
from urllib.parse import parse_qsl, quote, urlsplit

import attrs
import orjson

from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.model import CLICK_IDS, UniversalId
from adcp_tracker.events.parsing import clean_id
from adcp_tracker.journal.records import DROPPED, ERASED, UNDECRYPTED, CorruptSpan, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Uid = str | UniversalId | Mapping[str, object]
    """A universal id: a plain text matches any type."""

    from adcp_tracker.delivery.relay import Relay
    from adcp_tracker.delivery.uploader import Uploader
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.storage import Segments


_NOTHING: frozenset[str] = frozenset()
_CLICK_PARAMETERS = frozenset(name.lower() for name in CLICK_IDS)
_SHORTEST_DISTINCTIVE = 8
"""Shorter texts occur in files by chance."""


class PersonFields(TypedDict, total=False):
    """What identifies a person, as keyword arguments; one or several of each but the region.

    Attributes:
        email: E-mail addresses, raw or hashed.
        phone: Phone numbers, raw or hashed.
        uid: Universal ids: a value of any type, or a :class:`.UniversalId`.
        click_id: Click ids that brought the person.
        order_id: The person's orders.
        event_id: The person's events.
        default_region: The region of phone numbers without a country code; left out, the
            tracker's.
    """

    email: str | Iterable[str] | None
    phone: str | Iterable[str] | None
    uid: Uid | Iterable[Uid] | None
    click_id: str | Iterable[str] | None
    order_id: str | Iterable[str] | None
    event_id: str | Iterable[str] | None
    default_region: str | None


@attrs.frozen(repr=False)
class Person:
    """The identifiers of the person whose events are searched for.

    Attributes:
        emails: Hashes of e-mail addresses.
        phones: Hashes of phone numbers.
        raw: Addresses and numbers as the caller wrote them, in case an event has them raw.
        uids: Universal ids as type and value; a type of ``None`` matches any.
        click_ids: Click ids.
        order_ids: Orders.
        event_ids: Events.
    """

    emails: frozenset[str] = _NOTHING
    phones: frozenset[str] = _NOTHING
    raw: frozenset[str] = _NOTHING
    uids: frozenset[tuple[str | None, str]] = frozenset()
    click_ids: frozenset[str] = _NOTHING
    order_ids: frozenset[str] = _NOTHING
    event_ids: frozenset[str] = _NOTHING

    @property
    def contacts(self) -> frozenset[str]:
        """What identifies the person in any field of an event."""
        return self.emails | self.phones | self.raw

    def owns(self, event: object) -> bool:
        """Return whether a decoded event is the person's. Takes any JSON value."""
        match = _part(event, "user_match")
        clicks = {*_text(match, "click_id"), *_clicks_in_url(event)}
        uids = set(_uids(match.get("uids")))
        return bool(
            self.click_ids & clicks
            or self.order_ids & orders_of(event)
            or self.event_ids & _text(event, "event_id")
            or self.uids & uids
            or self.uids & {(None, value) for _, value in uids}
            or not self.contacts.isdisjoint(text.strip().casefold() for text in _texts(event))
        )

    def search_terms(self) -> frozenset[str]:
        """Return texts; the JSON of every event of the person contains at least one."""
        ids = self.click_ids | self.order_ids | self.event_ids | {value for _, value in self.uids}
        found = {orjson.dumps(text).decode()[1:-1].casefold() for text in self.contacts | ids}
        return frozenset(found | {quote(each, safe="").casefold() for each in self.click_ids})

    def identifying_texts(self) -> frozenset[str]:
        """Return texts that identify the person in any file."""
        texts = self.contacts | self.click_ids | {value for _, value in self.uids}
        return frozenset(text.casefold() for text in texts if len(text) >= _SHORTEST_DISTINCTIVE)


class PersonMatcher:
    """Finds a person's events by their JSON, decoding few of the others.

    Args:
        person: Whose events.
    """

    def __init__(self, person: Person) -> None:
        self._person = person
        self._terms = person.search_terms()
        self._texts = person.identifying_texts()

    def owns(self, event: bytes) -> bool:
        """Return whether an event is the person's."""
        text = event.decode(errors="replace").casefold()
        if not any(term in text for term in self._terms):
            return False
        decoded = _decoded(event)
        if decoded is None:
            return any(each in text for each in self._texts)
        return self._person.owns(decoded)


def person(  # noqa: PLR0913 - what identifies a person, each by its name
    *,
    email: str | Iterable[str] | None = None,
    phone: str | Iterable[str] | None = None,
    uid: Uid | Iterable[Uid] | None = None,
    click_id: str | Iterable[str] | None = None,
    order_id: str | Iterable[str] | None = None,
    event_id: str | Iterable[str] | None = None,
    default_region: str | None = None,
) -> Person:
    """Make a person of what a site knows about them; empty texts count as nothing.

    Raises:
        InvalidEventError: If an e-mail address or phone number is invalid.
        TypeError: If nothing is given.
    """
    addresses, numbers = _as_texts(email), _as_texts(phone)
    found = Person(
        emails=frozenset(hash_email(each, path="email") for each in addresses),
        phones=frozenset(hash_phone(each, default_region, path="phone") for each in numbers),
        raw=frozenset(each.strip().casefold() for each in (*addresses, *numbers)),
        uids=frozenset(map(_uid, _as_uids(uid))),
        click_ids=frozenset(_as_ids(click_id)),
        order_ids=frozenset(_as_ids(order_id)),
        event_ids=frozenset(_as_ids(event_id)),
    )
    if found == Person():
        raise TypeError(
            "expected at least one of email, phone, uid, click_id, order_id and event_id, "
            "got nothing; an empty text counts as nothing"
        )
    return found


def orders_of(event: object) -> frozenset[str]:
    """Return the order an event names: by its data, or by the id of a purchase or refund."""
    named = _text(_part(event, "custom_data"), "order_id")
    kind, ids = _text(event, "event_type"), _text(event, "event_id")
    if "purchase" in kind:
        return named | ids
    if "refund" in kind:
        return named | {each.rpartition(":refund")[0] for each in ids if ":refund" in each}
    return named


def _as_texts(given: str | Iterable[str] | None) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given or ())
    return [str(text) for text in texts if text]


def _as_ids(given: str | Iterable[str] | None) -> Iterator[str]:
    """Yield ids as they are given, and as events have them."""
    for text in _as_texts(given):
        yield from filter(None, (text, clean_id(text)))


def _as_uids(given: Uid | Iterable[Uid] | None) -> list[Uid]:
    if given is None or given == "":
        return []
    if isinstance(given, (str, UniversalId)) or hasattr(given, "keys"):
        return [given]  # type: ignore[list-item]  # it has keys, so it is one
    return list(given)


def _uid(given: Uid) -> tuple[str | None, str]:
    if isinstance(given, str):
        return None, given
    if isinstance(given, UniversalId):
        return given.type.value, given.value
    kind = given.get("type")
    return None if kind is None else str(getattr(kind, "value", kind)), str(given["value"])


def _uids(given: object) -> Iterator[tuple[str | None, str]]:
    for each in given if isinstance(given, list) else ():
        for kind in _text(each, "type"):
            for value in _text(each, "value"):
                yield kind, value


def _part(whole: object, name: str) -> dict[str, object]:
    part = whole.get(name) if isinstance(whole, dict) else None
    return part if isinstance(part, dict) else {}


def _text(whole: object, name: str) -> frozenset[str]:
    text = whole.get(name) if isinstance(whole, dict) else None
    return frozenset((text,)) if isinstance(text, str) and text else _NOTHING


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _clicks_in_url(event: object) -> Iterator[str]:
    for url in _text(event, "event_source_url"):
        try:
            query = urlsplit(url).query
        except ValueError:
            return
        for name, value in parse_qsl(query):
            if name.lower() in _CLICK_PARAMETERS:
                yield value


_PIECE_BYTES = 4 * 1024 * 1024


class Match(NamedTuple):
    """One event of the person in a segment.

    Attributes:
        segment: The segment's name.
        record: Its record.
        event: Its JSON.
    """

    segment: str
    record: Record
    event: bytes


@attrs.define(repr=False)
class SearchResult:
    """Everything that was found of one person.

    Attributes:
        person: The person, with the orders that were found on the way.
        events: Their events in segments.
        letters: Their events among the dead letters.
        damages: What could not be read, and so not be searched, by segment.
        undecrypted: How many events and dead letters were encrypted with a missing key.
    """

    person: Person
    events: list[Match] = attrs.field(factory=list)
    letters: list[DeadLetter] = attrs.field(factory=list)
    damages: dict[str, list[CorruptSpan]] = attrs.field(factory=dict)
    undecrypted: int = 0

    def orders(self) -> frozenset[str]:
        """Return the orders that the found events name."""
        events = [*(match.event for match in self.events), *(each.event for each in self.letters)]
        return frozenset(order for event in events for order in orders_of(_decoded(event)))


def search(uploader: Uploader | Relay, person: Person, *, follow: bool) -> SearchResult:
    """Search segments and dead letters.

    Args:
        uploader: The queue; only its leader may search it.
        person: Whose events.
        follow: Also find the other events of the orders that were found.
    """
    result = _search_once(uploader, person)
    orders = result.orders() if follow else _NOTHING
    if orders <= person.order_ids:
        return result
    return _search_once(uploader, attrs.evolve(person, order_ids=person.order_ids | orders))


def _search_once(uploader: Uploader | Relay, person: Person) -> SearchResult:
    owns = PersonMatcher(person).owns
    result = SearchResult(person, undecrypted=uploader.dead_letters.undecrypted())
    for name, size in uploader.segments.sizes().items():
        for records, damages in read_pieces(uploader.segments, name, size):
            if damages:
                result.damages.setdefault(name, []).extend(damages)
            for record in records:
                if record.kind in UNDECRYPTED:
                    result.undecrypted += 1
                elif record.kind not in (DROPPED, ERASED):
                    event = record.unpack()[1]
                    if owns(event):
                        result.events.append(Match(name, record, event))
    result.letters.extend(letter for letter in uploader.dead_letters if owns(letter.event))
    return result


def _decoded(event: bytes) -> object:
    try:
        return orjson.loads(event)
    except orjson.JSONDecodeError:  # a kind of record that this version doesn't know
        return None


def read_pieces(
    segments: Segments, name: str, size: int
) -> Iterator[tuple[list[Record], list[CorruptSpan]]]:
    """Read a segment, a few megabytes at a time.

    Bytes after the last line feed are still being written, or were never finished.
    """
    start = 0
    while start < size:
        data = segments.read(name, start, min(size - start, _PIECE_BYTES))
        end = data.rfind(b"\n") + 1
        if end:
            yield segments.parse(data[:end], start)
        elif len(data) == _PIECE_BYTES or (data and segments.is_closed(name)):
            end = len(data)
            yield [], [CorruptSpan(start, data)]
        else:
            return
        start += end
