"""EventSource, Account, the files that describe them, and what sellers report of them."""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import attrs

from adcp_tracker._formatting import describe, format_choice, format_code, format_key, is_name
from adcp_tracker.destinations.responses import CODE_LENGTH, get_value, sanitize
from adcp_tracker.destinations.validation import validate_text
from adcp_tracker.events.model import ActionSource, EventType, SurfaceCategory
from adcp_tracker.events.rules import COMMON_CURRENCIES, is_currency
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping

    from adcp_tracker.destinations.base import CheckResult


_LABEL: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_is_domain: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*").fullmatch
_LONGEST: Final = 255


@attrs.frozen(kw_only=True)
class Account:
    """An account at a seller's agent: its id, or a brand and its operator.

    The protocol accepts one or the other, never both.

    Attributes:
        account_id: The id that the seller gave.
        brand: The brand's domain, such as ``shop.example``.
        operator: The domain of the brand's operator; often the brand's own.
        brand_id: The brand within a house's portfolio.
        sandbox: Whether it is the sandbox account of brand and operator.
        operator_unit: The id of the operator's business unit, seat or platform account.
        currency: The account's currency, if the seller's accounts have one.
        timezone: The account's time zone, if the seller's accounts have one.

    ``brand`` and ``operator`` are deprecated since AdCP 3.3 and gone in 4.0, so prefer
    ``account_id``. What follows them describes only such an account.

    Raises:
        ConfigurationError: If it is neither or both, or a part of it is invalid.
    """

    account_id: str | None = None
    brand: str | None = None
    operator: str | None = None
    brand_id: str | None = None
    sandbox: bool | None = None
    operator_unit: str | None = None
    currency: str | None = None
    timezone: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.account_id is not None:
            given = [name for name in _OF_BRAND if getattr(self, name) is not None]
            if given:
                raise ConfigurationError(
                    "account: expected either account_id or brand with operator, "
                    f"got account_id and {given[0]}"
                )
            validate_text(self.account_id, "account.account_id", _LONGEST)
            return
        for name, domain in (("brand", self.brand), ("operator", self.operator)):
            if not isinstance(domain, str) or not _is_domain(domain):
                raise ConfigurationError(
                    f"account.{name}: expected a domain such as shop.example, "
                    f"got {describe(domain)}. Or pass account_id alone."
                )
        self._check_details()

    def _check_details(self) -> None:
        details = (
            ("brand_id", _is_brand_id, "lower-case letters, digits and underscores"),
            ("currency", is_currency, "three capital letters"),
        )
        for name, fits, expected in details:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and fits(value)):
                got = describe(value)
                raise ConfigurationError(f"account.{name}: expected {expected}, got {got}")
        sandbox: object = self.sandbox
        if sandbox is not None and not isinstance(sandbox, bool):
            got = describe(sandbox)
            raise ConfigurationError(f"account.sandbox: expected true or false, got {got}")
        for name in ("operator_unit", "timezone"):
            if getattr(self, name) is not None:
                validate_text(getattr(self, name), f"account.{name}", _LONGEST)

    def as_json(self) -> dict[str, object]:
        """Return the account as JSON."""
        if self.account_id is not None:
            return {"account_id": self.account_id}
        brand = {"domain": self.brand, "brand_id": self.brand_id}
        unit = None if self.operator_unit is None else {"id": self.operator_unit}
        account = {
            "brand": {name: value for name, value in brand.items() if value is not None},
            "operator": self.operator,
            "operator_unit": unit,
            "currency": self.currency,
            "timezone": self.timezone,
            "sandbox": self.sandbox,
        }
        return {name: value for name, value in account.items() if value is not None}


_OF_BRAND: Final = (
    *("brand", "operator", "brand_id", "sandbox", "operator_unit", "currency", "timezone"),
)
_is_brand_id: Final = re.compile("[a-z0-9_]{1,255}").fullmatch


def account_from_table(table: Mapping[str, object]) -> Account:
    """Return the account of a file's ``account`` table.

    Raises:
        ConfigurationError: If it is invalid.
    """
    known = {field.name for field in attrs.fields(Account)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigurationError(
            f"account: expected {', '.join(sorted(known))}, got {format_key(unknown[0])}"
        )
    return Account(**table)  # type: ignore[arg-type]  # it checks


_EVENT_TYPES: Final = frozenset(word.value for word in EventType)
_ACTION_SOURCES: Final = frozenset(word.value for word in ActionSource)
_CATEGORIES: Final = frozenset(word.value for word in SurfaceCategory)
_is_domain_of_source: Final = re.compile(
    r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
).fullmatch


def _words(values: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(values, str):
        return (values,)
    return tuple(getattr(value, "value", value) for value in values or ())


def _word(value: str | None) -> str | None:
    return getattr(value, "value", value)


@attrs.frozen(kw_only=True)
class EventSource:
    """An event source to register with sellers.

    Attributes:
        event_source_id: Its id, 1–255 characters.
        name: Its name for people; defaults to the id.
        event_types: The event types it accepts; empty for all.
        allowed_domains: The domains that may send events for it; empty for any.
        action_source: Where its events happen (AdCP 3.1).
        surface: The place in detail, with its ``category`` (AdCP 3.1).
        value_currencies: The currencies it accepts; empty for any (AdCP 3.2).
        integration_platform: The platform that sends its events; the Interchange only.
        mapping: How its events map to the Interchange's; the Interchange only.
        test_event_code: Registers it for events with this test code; the Interchange only.

    Raises:
        ConfigurationError: If it breaks a rule of the protocol.
    """

    event_source_id: str
    name: str = attrs.field()
    event_types: tuple[str, ...] = attrs.field(default=(), converter=_words)
    allowed_domains: tuple[str, ...] = attrs.field(default=(), converter=_words)
    action_source: str | None = attrs.field(default=None, converter=_word)
    surface: Mapping[str, object] | None = attrs.field(default=None, hash=False)
    value_currencies: tuple[str, ...] = attrs.field(default=(), converter=_words)
    integration_platform: str | None = None
    mapping: Mapping[str, object] | None = attrs.field(default=None, hash=False)
    test_event_code: str | None = None

    @name.default
    def _default_name(self) -> str:
        return self.event_source_id

    def __attrs_post_init__(self) -> None:
        _check_text(self.event_source_id, "event_source_id")
        where = f"event source {self.event_source_id!r}"
        _check_text(self.name, f"{where}: name")
        _check_words(self.event_types, f"{where}: event_types", _EVENT_TYPES)
        domain, currency = "a domain such as shop.example", "three capital letters"
        _check_all(self.allowed_domains, f"{where}: allowed_domains", _is_domain_of_source, domain)
        if self.action_source is not None:
            _check_words((self.action_source,), f"{where}: action_source", _ACTION_SOURCES)
        if self.surface is not None:
            _check_words((self.surface.get("category"),), f"{where}: surface", _CATEGORIES)
        _check_all(self.value_currencies, f"{where}: value_currencies", is_currency, currency)
        for name in ("integration_platform", "test_event_code"):
            if getattr(self, name) is not None:
                _check_text(getattr(self, name), f"{where}: {name}")

    def for_interchange(self) -> dict[str, object]:
        """Return the event source as the Interchange's JSON, which has more fields."""
        wire = self.as_json()
        for name in ("integration_platform", "mapping", "test_event_code"):
            if getattr(self, name) is not None:
                wire[name] = getattr(self, name)
        return wire

    def as_json(self) -> dict[str, object]:
        """Return the event source as JSON, without unset fields."""
        wire: dict[str, object] = {"event_source_id": self.event_source_id, "name": self.name}
        for name in ("event_types", "allowed_domains", "value_currencies"):
            if getattr(self, name):
                wire[name] = list(getattr(self, name))
        if self.action_source is not None:
            wire["action_source"] = self.action_source
        if self.surface is not None:
            wire["surface"] = dict(self.surface)
        return wire


def source_from_table(table: Mapping[str, object], where: str) -> EventSource:
    """Return the event source of a table in a file.

    Args:
        table: The decoded table.
        where: Its place in the file, for errors.

    Raises:
        ConfigurationError: If a key is unknown or missing, or a value is invalid.
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
    for name in ("surface", "mapping"):
        inner = table.get(name)
        if inner is not None and not isinstance(inner, dict):
            raise ConfigurationError(f"{where}.{name}: expected a table, got {describe(inner)}")
    try:
        return EventSource(**table)  # type: ignore[arg-type]  # it checks
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def unique_sources(sources: Iterable[EventSource]) -> tuple[EventSource, ...]:
    """Return `sources` if their ids are unique.

    Raises:
        ConfigurationError: If two have the same id.
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
    validate_text(value, where, _LONGEST)


def _check_all(
    values: Iterable[object], where: str, fits: Callable[[str], object], expected: str
) -> None:
    for index, value in enumerate(values):
        if not isinstance(value, str) or not fits(value):
            got = format_code(value, COMMON_CURRENCIES)
            raise ConfigurationError(f"{where}[{index}]: expected {expected}, got {got}")


def _check_words(values: Iterable[object], where: str, words: Collection[str]) -> None:
    for value in values:
        if not isinstance(value, str) or value not in words:
            close = difflib.get_close_matches(str(value), words, 1)
            expected = f"one of {', '.join(sorted(words))}"
            hint = f"; maybe {close[0]}" if close else ""
            got = format_choice(value, words)
            raise ConfigurationError(f"{where}: expected {expected}, got {got}{hint}")


_KEYS = ("account", "event_sources")
_LARGEST = 1_000_000


@attrs.frozen
class SourcesFile:
    """The contents of a file.

    Attributes:
        sources: The event sources, in order.
        account: Their account, if given.
    """

    sources: tuple[EventSource, ...]
    account: Account | None = None


def read_sources(path: str | os.PathLike[str]) -> SourcesFile:
    """Read event sources from a ``.toml`` or ``.json`` file.

    Raises:
        ConfigurationError: If the file is invalid.
        OSError: If it can't be read.
    """
    file = Path(path)
    document = _parsed(file)
    if isinstance(document, list):
        document = {"event_sources": document}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{file}: expected event_sources, got {type(document).__name__}")
    unknown = sorted(set(document) - set(_KEYS))
    if unknown:
        raise ConfigurationError(
            f"{file}: expected {' and '.join(_KEYS)}, got {format_key(unknown[0])}"
        )
    tables, account = document.get("event_sources"), document.get("account")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{file}: event_sources: expected a list of tables")
    if account is not None and not isinstance(account, dict):
        raise ConfigurationError(f"{file}: account: expected a table, got {describe(account)}")
    try:
        sources = [
            source_from_table(table, f"event_sources[{i}]") for i, table in enumerate(tables)
        ]
        return SourcesFile(
            unique_sources(sources), None if account is None else account_from_table(account)
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def _parsed(file: Path) -> object:
    if file.suffix not in {".toml", ".json"}:
        raise ConfigurationError(f"{file}: expected a name that ends in .toml or .json")
    data = file.read_bytes()
    if len(data) > _LARGEST:
        raise ConfigurationError(f"{file}: expected at most {_LARGEST:,} bytes, got {len(data):,}")
    try:
        text = data.decode()
        return json.loads(text) if file.suffix == ".json" else parse_toml(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file}: expected {file.suffix[1:].upper()}, {error}") from None


def parse_toml(text: str) -> Any:  # noqa: ANN401 - as json.loads
    """Return what a TOML document holds.

    Raises:
        ConfigurationError: If no parser is installed.
        ValueError: If it isn't TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - not in every Python
    else:
        try:
            import tomli as tomllib  # noqa: PLC0415 - its stand-in
        except ImportError:
            message = "TOML needs Python 3.11 or the package tomli. Install it, or use JSON."
            raise ConfigurationError(message) from None
    return tomllib.loads(text)


_MOST_LINES: Final = 60
_MOST_WORDS: Final = 200
_MOST_SOURCES: Final = 1000
_LINE_LENGTH: Final = 1000
_FAILED: Final = frozenset({"failed", "unconfirmed"})


@attrs.frozen
class Setup:
    """How a seller wants an event source to be set up. Untrusted text, never executed.

    Attributes:
        instructions: Instructions, line by line.
        snippet: A tag to install, line by line; empty if events come from a server.
        snippet_type: The kind of tag.
    """

    instructions: tuple[str, ...] = ()
    snippet: tuple[str, ...] = ()
    snippet_type: str = ""


@attrs.frozen
class Health:
    """A seller's view of the health of an event source.

    Attributes:
        status: One word, such as ``good``.
        match_rate: The share of events it could match, 0–1; ``None`` if it doesn't say.
        events_received_24h: Events of the last 24 hours; ``None`` if it doesn't say.
        issues: What it says is wrong.
    """

    status: str = ""
    match_rate: float | None = None
    events_received_24h: int | None = None
    issues: tuple[str, ...] = ()


@attrs.frozen
class SourceReport:
    """What one seller reports about one event source.

    Attributes:
        event_source_id: The event source.
        name: Its name.
        action: What the seller did: ``created``, ``updated``, ``unchanged``, ``deleted`` or
            ``failed``; ``unconfirmed`` if it doesn't say; empty if it was only listed.
        managed_by: Who manages it, ``buyer`` or ``seller``.
        event_types: The types it accepts; ``None`` if the seller doesn't say.
        value_currencies: The currencies it accepts; ``None`` if the seller doesn't say.
        setup: How to set it up.
        health: Its health.
        errors: Why it failed.
        action_source: Where its events happen; empty if the seller doesn't say.
    """

    event_source_id: str
    name: str = ""
    action: str = ""
    managed_by: str = ""
    event_types: tuple[str, ...] | None = None
    value_currencies: tuple[str, ...] | None = None
    setup: Setup | None = None
    health: Health | None = None
    errors: tuple[str, ...] = ()
    action_source: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether the seller didn't register it, as far as it says."""
        return self.action in _FAILED


@attrs.frozen
class SourcesReport:
    """What one destination's seller reports about its event sources.

    Attributes:
        destination: The destination's name.
        sources: The event sources.
        problem: Why there is no response, if so.
    """

    destination: str
    sources: tuple[SourceReport, ...] = ()
    problem: CheckResult | None = None

    @property
    def is_ok(self) -> bool:
        """Whether there is a response, and nothing failed."""
        return self.problem is None and not any(each.has_failed for each in self.sources)


def parse_reports(answer: Mapping[str, object]) -> tuple[SourceReport, ...]:
    """Parse a response about event sources, ignoring values of a wrong type.

    Accepts ``event_source_id`` and ``eventSourceId``.
    """
    listed = get_value(answer, "event_sources")
    items = listed[:_MOST_SOURCES] if isinstance(listed, list) else []
    reports = (_report(item) for item in items if isinstance(item, dict))
    return tuple(report for report in reports if report.event_source_id)


def is_count(value: object) -> TypeGuard[int]:
    """Return whether `value` is an integer of 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _report(item: Mapping[str, object]) -> SourceReport:
    setup, health = get_value(item, "setup"), get_value(item, "health")
    return SourceReport(
        event_source_id=sanitize(get_value(item, "event_source_id"), _LONGEST),
        name=sanitize(get_value(item, "name"), _LONGEST),
        action=sanitize(get_value(item, "action"), CODE_LENGTH),
        managed_by=sanitize(get_value(item, "managed_by"), CODE_LENGTH),
        event_types=_optional_words(get_value(item, "event_types")),
        value_currencies=_optional_words(get_value(item, "value_currencies")),
        action_source=sanitize(get_value(item, "action_source"), CODE_LENGTH),
        setup=_setup(setup) if isinstance(setup, dict) else None,
        health=_health(health) if isinstance(health, dict) else None,
        errors=_messages(get_value(item, "errors"), get_value(item, "error")),
    )


def _setup(setup: Mapping[str, object]) -> Setup:
    return Setup(
        _lines(get_value(setup, "instructions")),
        _lines(get_value(setup, "snippet")),
        sanitize(get_value(setup, "snippet_type"), CODE_LENGTH),
    )


def _health(health: Mapping[str, object]) -> Health:
    rate, events = get_value(health, "match_rate"), get_value(health, "events_received_24h")
    return Health(
        status=sanitize(get_value(health, "status"), CODE_LENGTH),
        match_rate=float(rate) if _is_number(rate) and 0 <= rate <= 1 else None,
        events_received_24h=events if is_count(events) else None,
        issues=_messages(get_value(health, "issues"), sanitize(get_value(health, "last_error"))),
    )


def _messages(listed: object, last: object) -> tuple[str, ...]:
    """Return the messages of a list and of one more value, as far as there are any."""
    values = [*listed[:_MOST_LINES], last] if isinstance(listed, list) else [last]
    return tuple(filter(None, map(_message, values)))


def _message(value: object) -> str:
    if not isinstance(value, dict):
        return sanitize(value)
    parts = (sanitize(value.get("code"), CODE_LENGTH), sanitize(value.get("message")))
    return ": ".join(part for part in parts if part)


def _lines(value: object) -> tuple[str, ...]:
    lines = value.splitlines()[:_MOST_LINES] if isinstance(value, str) else []
    return tuple(sanitize(line, _LINE_LENGTH) for line in lines)


def _optional_words(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(filter(None, (sanitize(word, CODE_LENGTH) for word in value[:_MOST_WORDS])))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
