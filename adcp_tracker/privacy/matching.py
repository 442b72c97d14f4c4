"""Which events belong to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

import attrs
import orjson

from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.model import CLICK_IDS, UniversalId
from adcp_tracker.journal.records import DROPPED, ERASED, UNDECRYPTED, CorruptSpan, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Uid = str | UniversalId | Mapping[str, object]
    """A universal id: of any type if it is only a text, else of its own."""
    from pathlib import Path

    from adcp_tracker.delivery.uploader import Uploader
    from adcp_tracker.journal.reader import SegmentStore
    from adcp_tracker.outbox.dead_letters import DeadLetter


_NOTHING: frozenset[str] = frozenset()
_CLICK_PARAMETERS = frozenset(name.lower() for name in CLICK_IDS)
_LEAST_DISTINCTIVE = 8
"""Shorter texts are found in files by chance."""


@attrs.frozen(repr=False)
class Identifiers:
    """What persons and events are known by.

    Attributes:
        emails: Hashes of e-mail addresses.
        phones: Hashes of phone numbers.
        raw: Addresses and numbers as they were written, in case the site sent some along.
        uids: Universal ids as type and value; a type of ``None`` is any.
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

    def __or__(self, other: Identifiers) -> Identifiers:
        names = [field.name for field in attrs.fields(Identifiers)]
        return Identifiers(*(getattr(self, name) | getattr(other, name) for name in names))

    @property
    def anywhere(self) -> frozenset[str]:
        """What names the person wherever in an event it stands."""
        return self.emails | self.phones | self.raw

    def texts(self) -> Iterator[str]:
        """Yield all of it as text."""
        yield from self.anywhere
        yield from (value for _, value in self.uids)
        yield from self.click_ids | self.order_ids | self.event_ids


@attrs.frozen(repr=False)
class EventIdentifiers:
    """What one event tells.

    Attributes:
        ids: Whom and what it names.
        texts: Every text in it, folded to one case.
        landed_with: Click ids in the address of its page.
    """

    ids: Identifiers
    texts: frozenset[str] = _NOTHING
    landed_with: frozenset[str] = _NOTHING

    @classmethod
    def of(cls, event: object) -> EventIdentifiers:
        """Read an event's JSON, also of one that was refused for what it holds."""
        match, data = _part(event, "user_match"), _part(event, "custom_data")
        ids = Identifiers(
            emails=_text(match, "hashed_email"),
            phones=_text(match, "hashed_phone"),
            uids=frozenset(_uids(match.get("uids"))),
            click_ids=_text(match, "click_id"),
            order_ids=_text(data, "order_id") | _order_of(event),
            event_ids=_text(event, "event_id"),
        )
        url = "".join(_text(event, "event_source_url"))
        folded = frozenset(text.strip().casefold() for text in _texts(event))
        return cls(ids, folded, frozenset(_clicks(url)))

    def share(self, known: Identifiers) -> bool:
        """Say whether the event bears any of `known`."""
        own = self.ids
        return bool(
            own.emails & known.emails
            or own.phones & known.phones
            or own.click_ids & known.click_ids
            or own.order_ids & known.order_ids
            or own.event_ids & known.event_ids
            or self.landed_with & known.click_ids
            or (known.uids and own.uids & known.uids)
            or any((None, value) in known.uids for _, value in own.uids)
            or self.texts & known.anywhere
        )


@attrs.frozen(repr=False)
class Person:
    """Somebody whose events are looked for.

    Attributes:
        given: What they are known by.
        followed: What their events share with others of theirs.
        emails: Hashes of addresses that are known to be theirs.
    """

    given: Identifiers
    followed: Identifiers = Identifiers()
    emails: frozenset[str] = _NOTHING

    def owns(self, identifiers: EventIdentifiers) -> bool:
        """Say whether an event is theirs."""
        if identifiers.share(self.given):
            return True
        return identifiers.share(self.followed) and not self._is_anothers(identifiers.ids)

    def following(self, events: Iterable[EventIdentifiers]) -> Person:
        """Return the same person, known by what their `events` share with others too."""
        found = Identifiers()
        for identifiers in events:
            found |= identifiers.ids
        followed = attrs.evolve(
            found, emails=_NOTHING, event_ids=_NOTHING, uids=frozenset(filter(_is_one, found.uids))
        )
        return Person(self.given, self.followed | followed, self.emails | found.emails)

    def search_terms(self) -> frozenset[str]:
        """Return texts of which at least one stands in the JSON of every event of theirs."""
        found: set[str] = set()
        for text in {*self.given.texts(), *self.followed.texts()}:
            found.add(orjson.dumps(text).decode()[1:-1].casefold())
        for click_id in self.given.click_ids | self.followed.click_ids:
            found.add(quote(click_id, safe="").casefold())
        return frozenset(found)

    def identifying_texts(self) -> frozenset[str]:
        """Return texts that give the person away in any file."""
        uids = {value for _, value in self.given.uids | self.followed.uids}
        telling = self.given.anywhere | self.followed.anywhere | uids
        telling |= self.given.click_ids | self.followed.click_ids
        return frozenset(text.casefold() for text in telling if len(text) >= _LEAST_DISTINCTIVE)

    def _is_anothers(self, own: Identifiers) -> bool:
        if own.emails:
            return not own.emails <= self.emails
        return not own.phones <= self.given.phones | self.followed.phones


class PersonMatcher:
    """Tells a person's events by their JSON, without decoding most of the others.

    Args:
        person: Whose.
    """

    def __init__(self, person: Person) -> None:
        self._person = person
        self._terms = person.search_terms()

    def identify(self, event: bytes) -> EventIdentifiers | None:
        """Return what an event tells if it is the person's, else ``None``."""
        text = event.decode(errors="replace").casefold()
        if not any(needle in text for needle in self._terms):
            return None
        try:
            identifiers = EventIdentifiers.of(orjson.loads(event))
        except orjson.JSONDecodeError:  # of a kind that this version does not know
            return self._identify_text(text)
        return identifiers if self._person.owns(identifiers) else None

    def owns(self, event: bytes) -> bool:
        """Say whether an event is the person's."""
        return self.identify(event) is not None

    def _identify_text(self, text: str) -> EventIdentifiers | None:
        return (
            EventIdentifiers(Identifiers())
            if any(trait in text for trait in self._person.identifying_texts())
            else None
        )


def person(  # noqa: PLR0913 - what a person is known by, each by its name
    *,
    email: str | Iterable[str] | None = None,
    phone: str | Iterable[str] | None = None,
    uid: Uid | Iterable[Uid] | None = None,
    click_id: str | Iterable[str] | None = None,
    order_id: str | Iterable[str] | None = None,
    event_id: str | Iterable[str] | None = None,
    default_region: str | None = None,
) -> Person:
    """Make a person of what a site knows of them; empty texts count as nothing.

    Raises:
        InvalidEventError: If an e-mail address or phone number is none.
        TypeError: If nothing is given.
    """
    addresses, numbers = _several(email), _several(phone)
    emails = frozenset(hash_email(each, path="email") for each in addresses)
    given = Identifiers(
        emails=emails,
        phones=frozenset(hash_phone(each, default_region, path="phone") for each in numbers),
        raw=frozenset(each.strip().casefold() for each in (*addresses, *numbers)),
        uids=frozenset(map(_uid, _several_uids(uid))),
        click_ids=frozenset(_several(click_id)),
        order_ids=frozenset(_several(order_id)),
        event_ids=frozenset(_several(event_id)),
    )
    if not any(given.texts()):
        raise TypeError(
            "expected at least one of email, phone, uid, click_id, order_id and event_id, "
            "got nothing; an empty text counts as nothing"
        )
    return Person(given, emails=emails)


def _several(given: str | Iterable[str] | None) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given or ())
    return [str(text) for text in texts if text]


def _several_uids(given: Uid | Iterable[Uid] | None) -> list[Uid]:
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


def _is_one(uid: tuple[str | None, str]) -> bool:
    """Say whether an id is a device's own: all that opt out share one of zeros."""
    return bool(uid[1].strip("0-"))


def _part(whole: object, name: str) -> dict[str, object]:
    part = whole.get(name) if isinstance(whole, dict) else None
    return part if isinstance(part, dict) else {}


def _text(whole: object, name: str) -> frozenset[str]:
    text = whole.get(name) if isinstance(whole, dict) else None
    return frozenset((text,)) if isinstance(text, str) and text else _NOTHING


def _order_of(event: object) -> frozenset[str]:
    """Return the order that an event's id tells of, see :mod:`adcp_tracker.events.builder`."""
    kind, ids = _text(event, "event_type"), _text(event, "event_id")
    if "purchase" in kind:
        return ids
    if "refund" in kind:
        return frozenset(each.rpartition(":refund")[0] for each in ids if ":refund" in each)
    return _NOTHING


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _clicks(url: str) -> Iterator[str]:
    try:
        query = urlsplit(url).query
    except ValueError:
        return
    for name, value in parse_qsl(query):
        if name.lower() in _CLICK_PARAMETERS:
            yield value


_PIECE_BYTES = 4 * 1024 * 1024


class Match(NamedTuple):
    """One event of the person's in a segment.

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
    """Everything of one person's.

    Attributes:
        person: The person, with all that was learned on the way.
        events: Their events in segments.
        letters: Their events among the dead letters.
        damages: What could not be read, and so not be searched, by segment.
        undecrypted: How many events and dead letters were sealed with a key that is not given.
    """

    person: Person
    events: list[Match]
    letters: list[DeadLetter]
    damages: dict[str, list[CorruptSpan]]
    undecrypted: int = 0


def search(leadership: Uploader, person: Person, *, follow: bool) -> SearchResult:
    """Look through segments and dead letters.

    Args:
        leadership: The queue, which only its leader may look through.
        person: Whose events.
        follow: Look for what shares an order, a click or an id with them as well.
    """
    while True:
        result, identifiers = _pass(leadership, person)
        further = person.following(identifiers) if follow else person
        if further == person:
            return result
        person = further


def _pass(leadership: Uploader, person: Person) -> tuple[SearchResult, list[EventIdentifiers]]:
    matcher = PersonMatcher(person)
    known: list[EventIdentifiers] = []
    result = SearchResult(person, [], [], {}, leadership.dead_letters.undecrypted())
    for name, size in leadership.segments.sizes().items():
        for records, damages in read_pieces(leadership.segments, name, size):
            if damages:
                result.damages.setdefault(name, []).extend(damages)
            for record in records:
                if record.kind in UNDECRYPTED:
                    result.undecrypted += 1
                elif record.kind not in (DROPPED, ERASED):
                    event = record.unpack()[1]
                    identifiers = matcher.identify(event)
                    if identifiers is not None:
                        known.append(identifiers)
                        result.events.append(Match(name, record, event))
    for letter in leadership.dead_letters:
        identifiers = matcher.identify(letter.event)
        if identifiers is not None:
            known.append(identifiers)
            result.letters.append(letter)
    return result, known


def read_pieces(
    segments: SegmentStore, name: str, size: int
) -> Iterator[tuple[list[Record], list[CorruptSpan]]]:
    """Read a segment, a few megabytes at a time.

    What follows its last line feed is being written, or was never finished.
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


def mentions(path: Path, identifying_texts: frozenset[str]) -> bool:
    """Say whether a file still holds anything that gives the person away."""
    try:
        text = path.read_bytes().decode(errors="replace").casefold()
    except FileNotFoundError:  # gone in the meantime, as a segment that was delivered
        return False
    return any(trait in text for trait in identifying_texts)


def leftover_files(root: Path, identifying_texts: frozenset[str]) -> tuple[str, ...]:
    """Return the files below `root` that still hold anything of the person."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return tuple(
        sorted(str(path.relative_to(root)) for path in files if mentions(path, identifying_texts))
    )
