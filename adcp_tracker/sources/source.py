"""What an event source is registered with."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.destinations.addresses import checked_text
from adcp_tracker.events.limits import COMMON_CURRENCIES
from adcp_tracker.events.vocabulary import ActionSource, EventType, SurfaceCategory
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.showing import describe, is_name, show_code, show_word

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_LONGEST: Final = 255
_EVENT_TYPES: Final = frozenset(word.value for word in EventType)
_ACTION_SOURCES: Final = frozenset(word.value for word in ActionSource)
_CATEGORIES: Final = frozenset(word.value for word in SurfaceCategory)
_is_currency: Final = re.compile("[A-Z]{3}").fullmatch
_is_domain: Final = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?").fullmatch


def _words(values: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(values, str):
        return (values,)
    return tuple(getattr(value, "value", value) for value in values or ())


def _word(value: str | None) -> str | None:
    return getattr(value, "value", value)


@attrs.frozen(kw_only=True)
class EventSource:
    """An event source as it is to be registered with sellers.

    Attributes:
        event_source_id: What events name it by, 1–255 characters.
        name: What people call it; left out, its id.
        event_types: The types of events it takes; empty for all.
        allowed_domains: The domains that may send events for it; empty for any.
        action_source: Where its events happen (line 3.1).
        surface: The place in detail, with its ``category`` (line 3.1).
        value_currencies: The currencies its values may have; empty for any (line 3.2).

    Raises:
        ConfigurationError: If it breaks a rule of the protocol; says which, and where.
    """

    event_source_id: str
    name: str = attrs.field()
    event_types: tuple[str, ...] = attrs.field(default=(), converter=_words)
    allowed_domains: tuple[str, ...] = attrs.field(default=(), converter=_words)
    action_source: str | None = attrs.field(default=None, converter=_word)
    surface: Mapping[str, object] | None = attrs.field(default=None, hash=False)
    value_currencies: tuple[str, ...] = attrs.field(default=(), converter=_words)

    @name.default
    def _default_name(self) -> str:
        return self.event_source_id

    def __attrs_post_init__(self) -> None:
        _check_text(self.event_source_id, "event_source_id")
        where = f"event source {self.event_source_id!r}"
        _check_text(self.name, f"{where}: name")
        _check_words(self.event_types, f"{where}: event_types", _EVENT_TYPES)
        domain, currency = "a domain such as shop.example", "three capital letters"
        _check_all(self.allowed_domains, f"{where}: allowed_domains", _is_domain, domain)
        if self.action_source is not None:
            _check_words((self.action_source,), f"{where}: action_source", _ACTION_SOURCES)
        if self.surface is not None:
            _check_words((self.surface.get("category"),), f"{where}: surface", _CATEGORIES)
        _check_all(self.value_currencies, f"{where}: value_currencies", _is_currency, currency)

    def as_json(self) -> dict[str, object]:
        """Return it as the protocol writes it, without what is not set."""
        wire: dict[str, object] = {"event_source_id": self.event_source_id, "name": self.name}
        for name in ("event_types", "allowed_domains", "value_currencies"):
            if getattr(self, name):
                wire[name] = list(getattr(self, name))
        if self.action_source is not None:
            wire["action_source"] = self.action_source
        if self.surface is not None:
            wire["surface"] = dict(self.surface)
        return wire


def source_of(table: Mapping[str, object], where: str) -> EventSource:
    """Return the event source that a table of a file describes.

    Args:
        table: The decoded table.
        where: Where it stands, for errors.

    Raises:
        ConfigurationError: If a key is unknown or missing, or a value cannot be right.
    """
    known = [field.name for field in attrs.fields(EventSource)]
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"maybe {close[0]}" if close else f"one of {', '.join(known)}"
            what = f"{where}.{key}" if is_name(key) else where
            raise ConfigurationError(f"{what}: expected a known setting, {hint}")
    if "event_source_id" not in table:
        raise ConfigurationError(f"{where}.event_source_id: expected an id, got nothing")
    for name in ("event_types", "allowed_domains", "value_currencies"):
        if name in table and not isinstance(table[name], list):
            got = describe(table[name])
            raise ConfigurationError(f"{where}.{name}: expected a list, got {got}")
    surface = table.get("surface")
    if surface is not None and not isinstance(surface, dict):
        raise ConfigurationError(f"{where}.surface: expected a table, got {describe(surface)}")
    try:
        return EventSource(**table)  # type: ignore[arg-type]  # it checks
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def distinct(sources: Iterable[EventSource]) -> tuple[EventSource, ...]:
    """Return `sources`, of which no two may have the same id.

    Raises:
        ConfigurationError: If two have.
    """
    found = tuple(sources)
    ids = [source.event_source_id for source in found]
    twice = next((each for each in ids if ids.count(each) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"event sources: expected distinct ids, got {twice!r} twice")
    return found


def _check_text(value: object, where: str) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{where}: expected text, got {describe(value)}")
    checked_text(value, where, _LONGEST)


def _check_all(
    values: Iterable[object], where: str, fits: Callable[[str], object], expected: str
) -> None:
    for index, value in enumerate(values):
        if not isinstance(value, str) or not fits(value):
            got = show_code(value, COMMON_CURRENCIES)
            raise ConfigurationError(f"{where}[{index}]: expected {expected}, got {got}")


def _check_words(values: Iterable[object], where: str, words: Collection[str]) -> None:
    for value in values:
        if not isinstance(value, str) or value not in words:
            close = difflib.get_close_matches(str(value), words, 1)
            expected = f"one of {', '.join(sorted(words))}"
            hint = f"; maybe {close[0]}" if close else ""
            got = show_word(value, words)
            raise ConfigurationError(f"{where}: expected {expected}, got {got}{hint}")
