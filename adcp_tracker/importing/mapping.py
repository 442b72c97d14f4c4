"""Make events of rows: which column is which field, and what its text means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from itertools import chain, filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import attrs

from adcp_tracker._formatting import describe, format_choice, format_setting
from adcp_tracker.context import Consent, RequestContext
from adcp_tracker.event_sources.model import parse_toml
from adcp_tracker.events.builder import build_event, derive_event_id
from adcp_tracker.events.model import CLICK_IDS, ActionSource, EventType, UidType
from adcp_tracker.events.parsing import is_absent, parse_amount, parse_time
from adcp_tracker.exceptions import ConfigurationError, FieldError, InvalidEventError
from adcp_tracker.importing.files import FORMATS, Row, value_at
from adcp_tracker.orders.events import purchase_event, refund_event
from adcp_tracker.orders.names import CONVERSION_NAMES, canonical
from adcp_tracker.orders.reader import MAX_LINES, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from adcp_tracker.events.event import Event
    from adcp_tracker.importing.files import Source

DATES: Final = ("mdy", "dmy")
"""How a date with slashes is read: the month first or the day first."""

_CUSTOM: Final = "custom_data."
_GROUP: Final = "group"
_CLICK_IDS: Final = {name.lower(): name for name in CLICK_IDS}
_UIDS: Final = {kind.value for kind in UidType} - {"hashed_email", "other"}
FIELDS: Final = (*dict.fromkeys([*CONVERSION_NAMES, _GROUP, *_CLICK_IDS, *sorted(_UIDS)]),)
"""What a column can be; besides, ``custom_data.NAME`` is a custom key."""

_ITEM: Final = ("item_id", "item_quantity", "item_price", "item_name", "item_brand")
_SHOPPER: Final = (
    *("email", "phone", "client_ip", "client_user_agent"),
    *("event_source_url", "click_id", "click_id_type"),
)
_DENIED: Final = frozenset({"denied", "no", "false", "0", "n"})
_GRANTED: Final = frozenset({"granted", "yes", "true", "1", "y", "unspecified", "unknown"})
_UTC: Final = timezone.utc
_DAY_MINUTES: Final = 24 * 60
_PATHS: Final = {
    "$.custom_data.value": "total",
    "$.custom_data.currency": "currency",
    "$.custom_data.order_id": "order_id",
    "$.event_id": "order_id",
    "$.action_source": "action_source",
    "$.custom_event_name": "custom_event_name",
}
"""Which field of a file each field of an event comes from."""

_MATCH: Final = b'"user_match":{'
_without_copy_number: Final = partial(re.compile(r" \(\d+\)$").sub, "")


@attrs.frozen
class Preset:
    """How the files of one system are read.

    Attributes:
        about: What kind of file.
        columns: The names that each field may have there; the first one with a value counts.
        where: The values that a column must have; other rows are skipped.
        event_type: The type of its events.
        action_source: Where they happened.
        dates: How its dates with slashes are read.
        has_ids: Whether each of its rows has an id; those of advertisers' templates needn't.
    """

    about: str
    columns: Mapping[str, tuple[str, ...]]
    where: Mapping[tuple[str, ...], tuple[str, ...]] = attrs.field(factory=dict)
    event_type: str = "purchase"
    action_source: str | None = None
    dates: str | None = None
    has_ids: bool = True


PRESETS: Final[Mapping[str, Preset]] = {
    "shopify": Preset(
        "Shopify: Orders > Export, as CSV",
        {
            "group": ("name",),
            "order_id": ("id", "name"),
            "created_at": ("created_at", "paid_at"),
            "total": ("total",),
            "currency": ("currency",),
            "refund_amount": ("refunded_amount",),
            "email": ("email",),
            "phone": ("phone", "billing_phone", "shipping_phone"),
            "country": ("billing_country", "shipping_country"),
            "item_id": ("lineitem_sku", "lineitem_name"),
            "item_quantity": ("lineitem_quantity",),
            "item_price": ("lineitem_price",),
            "item_name": ("lineitem_name",),
            "item_brand": ("vendor",),
        },
        {("financial_status",): ("paid", "partially_paid", "partially_refunded", "refunded")},
    ),
    "woocommerce": Preset(
        "WooCommerce: the order export suites, as CSV",
        {
            "order_id": ("order_id", "id", "order_number"),
            "created_at": ("order_date", "date_created", "date", "paid_date"),
            "total": ("order_total", "total"),
            "currency": ("order_currency", "currency"),
            "email": ("billing_email", "customer_email", "email"),
            "phone": ("billing_phone", "shipping_phone", "phone"),
            "country": ("billing_country", "shipping_country"),
            "client_ip": ("customer_ip_address",),
            "client_user_agent": ("customer_user_agent",),
        },
        {("status", "order_status"): ("processing", "completed", "wc-processing", "wc-completed")},
        dates="mdy",
    ),
    "hubspot": Preset(
        "HubSpot: deals, exported from their list",
        {
            "order_id": ("record_id", "deal_id"),
            "created_at": ("close_date",),
            "total": ("amount",),
            "currency": ("currency", "deal_currency"),
            "email": ("email", "contact_email", "associated_contact_email"),
            "phone": ("phone_number", "mobile_phone_number", "phone"),
            "gclid": ("google_ad_click_id",),
            "fbclid": ("facebook_click_id",),
        },
        {("deal_stage",): ("closed won", "closedwon")},
        event_type="close_convert_lead",
        action_source="system_generated",
    ),
    "salesforce": Preset(
        "Salesforce: opportunities, from a report or the data export",
        {
            "order_id": ("opportunity_id", "id"),
            "created_at": ("close_date",),
            "total": ("amount",),
            "currency": ("amount_currency", "opportunity_currency", "currency_iso_code"),
            "email": ("email", "contact_email"),
            "phone": ("phone", "contact_phone", "mobile", "mobile_phone"),
        },
        {("stage", "stage_name"): ("closed won",)},
        event_type="close_convert_lead",
        action_source="system_generated",
    ),
    "google-offline": Preset(
        "Google Ads: the templates of offline conversions and enhanced conversions for leads",
        {
            "order_id": ("order_id", "transaction_id"),
            "created_at": ("conversion_time", "conversion_date_time"),
            "total": ("conversion_value",),
            "currency": ("conversion_currency", "currency_code"),
            "email": ("email",),
            "phone": ("phone_number", "phone"),
            "gclid": ("google_click_id", "gclid"),
            "gbraid": ("gbraid",),
            "wbraid": ("wbraid",),
            "consent": ("ad_user_data",),
        },
        action_source="system_generated",
        dates="mdy",
        has_ids=False,
    ),
    "meta-offline": Preset(
        "Meta: the template of offline events",
        {
            "event_id": ("event_id",),
            "order_id": ("order_id",),
            "event_type": ("event_name",),
            "created_at": ("event_time",),
            "total": ("value",),
            "currency": ("currency",),
            "email": ("email", "em"),
            "phone": ("phone", "ph", "phone_number"),
            "country": ("country",),
            "maid": ("madid",),
        },
        action_source="in_store",
        has_ids=False,
    ),
}
"""The presets by name."""

_PLAIN: Final = Preset("Any file", {}, action_source="in_store")


def _is_choice(choices: Iterable[str]) -> Any:  # noqa: ANN401 - attrs's own type
    known = tuple(choices)

    def validate(_: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None and value not in known:
            raise ConfigurationError(
                f"{field.name}: expected one of {', '.join(known)}, got "
                f"{format_choice(value, known)}"
            )

    return validate


def _check_fields(_: object, field: attrs.Attribute[Any], given: Mapping[str, object]) -> None:
    for name in given:
        if name not in FIELDS and not name.startswith(_CUSTOM):
            meant = get_close_matches(name, FIELDS, 1)
            hint = f"Did you mean {meant[0]!r}?" if meant else f"Known are {', '.join(FIELDS)}."
            raise ConfigurationError(f"{field.name}: {name!r} isn't a field. {hint}")


def _check_zone(_: object, field: attrs.Attribute[Any], given: str | None) -> None:
    if given is not None and zone_of(given) is None:
        raise ConfigurationError(
            f"{field.name}: expected a time zone such as Europe/Berlin or +01:00, got "
            f"{format_setting(given)}; if this machine knows none, install tzdata"
        )


def _lists(given: Mapping[str, str | Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    return {key: (each,) if isinstance(each, str) else tuple(each) for key, each in given.items()}


@attrs.frozen(kw_only=True)
class ImportOptions:
    """How the rows of a file become events. A TOML file can have each under its name.

    Attributes:
        preset: Which system wrote the file, one of :data:`PRESETS`.
        columns: The column, or the columns in the order of preference, of each field.
        constants: Values of fields that are the same for every row.
        where: The values that a column must have; other rows are skipped.
        event_types: What the values of the column ``event_type`` stand for.
        event_type: The type of events without one. [purchase]
        action_source: Where they happened. [in_store, or as the preset says]
        currency: The currency of rows without one.
        timezone: The time zone of times without a UTC offset.
        region: The region of phone numbers without a country code, such as ``GB``.
        dates: ``mdy`` or ``dmy``: how dates with slashes are read.
        decimal_comma: Whether amounts are written as ``1.234,50``.
        delimiter: What separates the cells of a CSV file.
        encoding: How the file is encoded.
        format: ``csv``, ``ndjson`` or ``parquet``.

    Raises:
        ConfigurationError: If a value is invalid.
    """

    preset: str | None = attrs.field(default=None, validator=_is_choice(PRESETS))
    columns: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict, converter=_lists, validator=_check_fields
    )
    constants: Mapping[str, object] = attrs.field(factory=dict, validator=_check_fields)
    where: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, converter=_lists)
    event_types: Mapping[str, str] = attrs.field(factory=dict)
    event_type: str | None = attrs.field(
        default=None, validator=_is_choice(kind.value for kind in EventType)
    )
    action_source: str | None = attrs.field(
        default=None, validator=_is_choice(source.value for source in ActionSource)
    )
    currency: str | None = None
    timezone: str | None = attrs.field(default=None, validator=_check_zone)
    region: str | None = None
    dates: str | None = attrs.field(default=None, validator=_is_choice(DATES))
    decimal_comma: bool = False
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = attrs.field(default=None, validator=_is_choice(FORMATS))

    def __attrs_post_init__(self) -> None:
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ConfigurationError("delimiter: expected one character, such as ';'.")

    @classmethod
    def from_toml(cls, path: str | Path, **others: Any) -> ImportOptions:  # noqa: ANN401 - options
        """Read options from a TOML file; `others` count for more.

        Raises:
            ConfigurationError: If it isn't TOML, or has an unknown or invalid option.
        """
        try:
            given: dict[str, Any] = parse_toml(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:  # also of bytes that are no text
            raise ConfigurationError(f"{path}: expected TOML: {error}") from None
        names = [field.name for field in attrs.fields(cls)]
        for name in given:
            if name not in names:
                raise ConfigurationError(
                    f"{path}: {format_choice(name, names)} isn't an option. "
                    f"Known are {', '.join(names)}."
                )
        for name, value in others.items():
            both = isinstance(value, Mapping) and isinstance(given.get(name), Mapping)
            given[name] = {**given[name], **value} if both else value
        try:
            return cls(**given)
        except (TypeError, AttributeError):
            raise ConfigurationError(f"{path}: an option has a value of the wrong type.") from None


def zone_of(name: str) -> tzinfo | None:
    """Return a time zone by its name or its UTC offset; ``None`` if there is none."""
    if name == "Z":
        return _UTC
    offset = re.fullmatch(r"([+-])(\d\d)(?::?(\d\d))?", name, re.ASCII)
    if offset:
        sign = -1 if offset[1] == "-" else 1
        minutes = sign * (int(offset[2]) * 60 + int(offset[3] or 0))
        return timezone(timedelta(minutes=minutes)) if abs(minutes) < _DAY_MINUTES else None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - for those who have times without an offset

    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        return None


@attrs.frozen
class Plan:
    """Which column of a file is read as which field.

    Attributes:
        fields: The columns of each field; the first one with a value counts.
        guessed: The fields whose column was guessed from its name.
        where: The values, in small letters, that a column must have.
        event_type: The type of events without one.
        action_source: Where they happened.
        zone: The time zone of times without an offset.
        dates: How dates with slashes are read.
        has_ids: Whether a row without an id is rejected, if there is a column for it.
        options: The options it was made of.
        unused: Columns that aren't read.
    """

    fields: Mapping[str, tuple[str, ...]]
    guessed: frozenset[str]
    where: Mapping[str, frozenset[str]]
    event_type: str
    action_source: str | None
    zone: tzinfo | None
    dates: str | None
    has_ids: bool
    options: ImportOptions
    unused: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """What its events will lack, in words."""
        known = {*self.fields, *self.options.constants}
        found = []
        if self.event_type in {"purchase", "refund"} and not known & {"total", "items"}:
            found.append("No column has the value, so sellers can't optimize for it.")
        if not known & {"email", "phone", "click_id", *_CLICK_IDS, *_UIDS}:
            found.append("No column identifies the person, so no seller can match the events.")
        if not known & {"order_id", "event_id"}:
            found.append(
                "No column has an id, so each row's id is a digest of its values: rows that are "
                "alike count once."
            )
        preset = PRESETS.get(self.options.preset or "", _PLAIN)
        if preset.where and not self.where:
            names = " or ".join(name for each in preset.where for name in each)
            found.append(f"No column {names} says which rows are conversions: all are taken.")
        return found


def make_plan(options: ImportOptions, source: Source) -> Plan:
    """Choose the columns of a file.

    Raises:
        ConfigurationError: If a column isn't there, or none has the time.
    """
    preset = PRESETS.get(options.preset or "", _PLAIN)
    by_name = _columns_by_name(source)
    given = {name: _given(each, source, name) for name, each in options.columns.items()}
    guesses = preset is _PLAIN and not given
    fields = _guessed(by_name, source) if guesses else _preset_fields(preset, by_name) | given
    where = _where(options, preset, by_name, source)
    used = {*chain.from_iterable(fields.values()), *where}
    fields = {name: each for name, each in fields.items() if name not in options.constants}
    if "created_at" not in {*fields, *options.constants}:
        _reject_timeless(options, source)
    zone = options.timezone or source.timezone
    return Plan(
        fields,
        frozenset(fields if guesses else ()),
        where,
        options.event_type or preset.event_type,
        options.action_source or preset.action_source,
        None if zone is None else zone_of(zone),
        options.dates or preset.dates,
        preset.has_ids,
        options,
        tuple(filterfalse(used.__contains__, source.columns)),
    )


def _columns_by_name(source: Source) -> dict[str, list[str]]:
    """Return the columns by their usual name; copies are those of the name they copy."""
    found: dict[str, list[str]] = {}
    for column in source.columns:
        found.setdefault(canonical(_without_copy_number(column)), []).append(column)
    return found


def _reject_timeless(options: ImportOptions, source: Source) -> NoReturn:
    wanted = "" if options.preset is None else f", as files of {options.preset} have"
    raise ConfigurationError(
        f"created_at: expected a column with the time of each conversion{wanted}, got none "
        f"among {', '.join(source.columns)}. Name it with --map created_at=COLUMN."
    )


def _given(columns: tuple[str, ...], source: Source, field: str) -> tuple[str, ...]:
    """Return columns as the file spells them, copies of the same name included."""
    found: list[str] = []
    for wanted in columns:
        same = [each for each in source.columns if each.casefold() == _folded(wanted)]
        copies = [each for each in source.columns if _without_copy_number(each) in same]
        if not copies and source.format != "csv":
            copies = [wanted]  # a key that the first lines don't have
        if not copies:
            raise ConfigurationError(
                f"{field}: expected a column {wanted!r}, got {', '.join(source.columns)}"
            )
        found += copies
    return tuple(dict.fromkeys(found))


def _preset_fields(preset: Preset, by_name: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    fields = {}
    for field, names in preset.columns.items():
        columns = tuple(column for name in names for column in by_name.get(name, ()))
        if columns:
            fields[field] = columns
    return fields


def _guessed(by_name: Mapping[str, list[str]], source: Source) -> dict[str, tuple[str, ...]]:
    """Choose each field's column by the names that are usual for it."""
    fields: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    own = {name: (name,) for name in [*_CLICK_IDS, *_UIDS] if name not in CONVERSION_NAMES}
    for field, names in {**CONVERSION_NAMES, **own}.items():
        if field == "items" and source.format == "csv":
            continue  # a cell holds no list, but perhaps their number
        for name in names:
            if name in by_name and name not in taken:
                fields[field] = tuple(by_name[name])
                taken.add(name)
                break
    return fields


def _folded(text: object) -> str:
    return str(text).strip().casefold()


def _where(
    options: ImportOptions,
    preset: Preset,
    by_name: Mapping[str, list[str]],
    source: Source,
) -> dict[str, frozenset[str]]:
    """Return the values, in small letters, that a column must have; options replace a preset's."""
    if options.where:
        return {
            _given((column,), source, "where")[0]: frozenset(map(_folded, allowed))
            for column, allowed in options.where.items()
        }
    wanted = {}
    for names, values in preset.where.items():
        column = next((by_name[name][0] for name in names if name in by_name), None)
        if column is not None:
            wanted[column] = frozenset(values)
    return wanted


def reasons(error: InvalidEventError, plan: Plan) -> str:
    """Return why a row is invalid, each reason by the column that it is about."""
    found: dict[str, None] = {}
    for each in error.errors:
        field = _PATHS.get(each.path, each.path)
        column, *_ = plan.fields.get(field, (field,))
        found[f"{column}: expected {each.expected}, got {each.got}"] = None
    return "; ".join(found)


class Skipped(Exception):  # noqa: N818 - no error
    """A row isn't to be imported; the message says why."""


class RejectedRow(Exception):  # noqa: N818 - of the row, not of the program
    """A row can't become an event that sellers accept; the message says why."""


class Defaults(NamedTuple):
    """What a tracker's settings say of rows that don't say it themselves."""

    currency: str | None = None
    zone: tzinfo | None = None
    region: str | None = None


class Built(NamedTuple):
    """An event of a row.

    Attributes:
        event: The event.
        context: What the person consented to, if the row says so.
        is_identified: Whether a seller can match the person.
    """

    event: Event
    context: RequestContext | None
    is_identified: bool


def grouped(rows: Iterable[Row], plan: Plan) -> Iterator[list[Row]]:
    """Yield the rows of one conversion at a time: an order may have a row for each item.

    Rows that follow each other with the same order belong together, if items have columns.
    """
    columns = plan.fields.get(_GROUP) or plan.fields.get("order_id", ())
    if not columns or not any(field in plan.fields for field in _ITEM):
        for row in rows:
            yield [row]
        return
    group: list[Row] = []
    current: object = None
    for row in rows:
        key = None if row.problem else first_value(row.values, columns)
        if group and (key is None or key != current or len(group) > MAX_LINES):
            yield group
            group = []
        group.append(row)
        current = key
    if group:
        yield group


def first_value(values: dict[str, Any], columns: Sequence[str]) -> object:
    """Return the first value of some columns that isn't blank."""
    for column in columns:
        value = value_at(values, column)
        if not is_absent(value):
            return value.strip() if isinstance(value, str) else value
    return None


def _values(row: Row, fields: Sequence[tuple[str, Sequence[str]]]) -> dict[str, object]:
    """Return what a row has of some fields."""
    found = ((name, first_value(row.values, columns)) for name, columns in fields)
    return {name: value for name, value in found if value is not None}


class RowReader:
    """Makes an event of the rows of a conversion.

    Args:
        plan: Which column is which field.
        defaults: What a row lacks.

    Attributes:
        plan: As given.
    """

    def __init__(self, plan: Plan, defaults: Defaults) -> None:
        options = plan.options
        self.plan = plan
        self._fields = [(name, each) for name, each in plan.fields.items() if name not in _ITEM]
        self._items = [
            (name.removeprefix("item_"), plan.fields[name]) for name in _ITEM if name in plan.fields
        ]
        self._constants = options.constants
        self._types = {_folded(key): each for key, each in options.event_types.items()}
        self._currency = options.currency or defaults.currency
        self._zone = plan.zone or defaults.zone
        self._region = options.region or defaults.region

    def read(self, rows: Sequence[Row], now: datetime) -> Built:
        """Return the event of some rows.

        Raises:
            Skipped: If they aren't to be imported.
            RejectedRow: If they can't be read.
            InvalidEventError: If no event can be made of them.
        """
        first = rows[0]
        if first.problem:
            raise RejectedRow(first.problem)
        if len(rows) > MAX_LINES:
            raise RejectedRow(f"Expected an order of at most {MAX_LINES:,} rows, got more.")
        self._check_wanted(first)
        found = _values(first, self._fields)
        values = {**found, **self._constants}
        kind = self._event_type(values)
        options = self._options(values, kind, found)
        options["now"] = now
        if kind == "refund":
            event = self._refund(values, rows, options)
        elif kind == "purchase":
            event = purchase_event(self._order(values, rows), **options)
        else:
            event = build_event(kind, **self._details(values), **options)
        return Built(event, _context(values), _MATCH in event.json)

    def _check_wanted(self, row: Row) -> None:
        for column, allowed in self.plan.where.items():
            value = value_at(row.values, column)
            if _folded("" if value is None else value) not in allowed:
                raise Skipped(f"{column} has none of the wanted values")

    def _event_type(self, values: Mapping[str, Any]) -> str:
        given = values.get("event_type")
        if given is None:
            return self.plan.event_type
        text = str(given).strip()
        kind = self._types.get(_folded(text)) or canonical(text)
        try:
            return EventType(kind).value
        except ValueError:
            expected = "a type of the protocol, or one under event_types in the mapping"
            _fail("event_type", expected, format_choice(text, [each.value for each in EventType]))

    def _options(
        self, values: Mapping[str, Any], kind: str, found: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what every event has, whatever its type."""
        options: dict[str, Any] = {
            "strict": False,
            "default_region": values.get("country") or self._region,
            "event_time": self._time(_with_clock(values)),
        }
        source = values.get("action_source") or self.plan.action_source
        if source is not None:
            options["action_source"] = canonical(str(source))
        event_id = self._event_id(values, kind, found)
        if event_id is not None:
            options["event_id"] = event_id
        uids = [{"type": name, "value": str(values[name])} for name in _UIDS & values.keys()]
        if uids:
            options["uids"] = uids
        return options

    def _event_id(
        self, values: Mapping[str, Any], kind: str, found: Mapping[str, Any]
    ) -> str | None:
        """Return an event's id; ``None`` if it follows from the order.

        Where no column has ids, it is a digest of what was read of the row.
        """
        if "event_id" in values:
            return str(values["event_id"])
        if "order_id" in values:
            key = _id_text(values["order_id"])
            if kind in {"purchase", "refund"}:
                return None
            return key if kind == "lead" else derive_event_id(kind, key)
        if "order_id" in self.plan.fields and self.plan.has_ids:
            _fail("order_id", "an id, as other rows have", "a blank cell")
        parts = (f"{name}={value}" for name, value in sorted(found.items()))
        return derive_event_id(kind, "row", *parts)

    def _time(self, value: object) -> datetime:
        if value is None:
            _fail("created_at", "the time of the conversion", "a blank cell")
        time = parse_local_time(value, self.plan.dates)
        if time is None:
            slashes = isinstance(value, str) and "/" in value and self.plan.dates is None
            hint = "; say with --dates mdy or dmy how it is written" if slashes else ""
            _fail("created_at", f"a time such as 2026-11-27T16:30:00+01:00{hint}", describe(value))
        if time.tzinfo is None:
            if self._zone is None:
                _fail("created_at", "a time with its UTC offset, or --timezone", "a time without")
            time = time.replace(tzinfo=self._zone)
        try:
            return time.astimezone(_UTC)
        except OverflowError:
            _fail("created_at", "a time of this century", "one that UTC doesn't have")

    def _amount(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = parse_local_amount(value, decimal_comma=self.plan.options.decimal_comma)
        return parse_amount(text)

    def _data(self, values: Mapping[str, Any]) -> dict[str, Any]:
        names = (name for name in values if name.startswith(_CUSTOM))
        return {name.removeprefix(_CUSTOM): values[name] for name in names}

    def _order(self, values: Mapping[str, Any], rows: Sequence[Row]) -> Order:
        return Order(
            order_id=_id_text(values.get("order_id")),
            total=self._amount(values.get("total")),  # type: ignore[arg-type]  # validated later
            currency=values.get("currency", self._currency),
            items=self._lines(values, rows),  # type: ignore[arg-type]  # likewise
            custom=self._data(values),
            country=values.get("country"),
            **_shopper(values),
        )

    def _lines(self, values: Mapping[str, Any], rows: Sequence[Row]) -> object:
        """Return an order's items: a list in one row, or a row each."""
        items = values.get("items")
        if items is not None:
            return _parsed_items(items) if isinstance(items, str) else items
        lines = (self._line(row) for row in rows) if self._items else ()
        return tuple(line for line in lines if "id" in line)

    def _line(self, row: Row) -> dict[str, object]:
        line = _values(row, self._items)
        if "price" in line:
            line["price"] = self._amount(line["price"])
        return line

    def _refund(
        self, values: Mapping[str, Any], rows: Sequence[Row], options: dict[str, Any]
    ) -> Event:
        """Make a refund. The column of the refunded amount is the total's if there is no other."""
        order = self._order(values, rows)
        if "refund_amount" not in self.plan.fields:
            return refund_event(order, refund_id=_id_text(values.get("refund_id")), **options)
        amount = self._amount(values.get("refund_amount"))
        if amount is None or (isinstance(amount, (int, float, Decimal)) and not amount):
            raise Skipped("nothing was refunded")
        return refund_event(
            attrs.evolve(order, items=()),
            refund_id=_id_text(values.get("refund_id")),
            amount=amount,  # type: ignore[arg-type]  # validated later
            **options,
        )

    def _details(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an event that isn't about an order."""
        data = self._data(values)
        total = self._amount(values.get("total"))
        if total is not None:
            data |= {"value": total, "currency": values.get("currency", self._currency)}
        details = {
            "custom_event_name": values.get("custom_event_name"),
            "custom_data": data or None,
            **_shopper(values),
        }
        return {name: value for name, value in details.items() if value is not None}


def _fail(path: str, expected: str, got: str) -> NoReturn:
    raise InvalidEventError([FieldError(path, expected, got)])


def _id_text(value: object) -> Any:  # noqa: ANN401 - validated later
    """Return a number that stands for an id or a phone number as text."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shopper(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that identify the person."""
    found = {name: values.get(name) for name in _SHOPPER}
    found["phone"] = _id_text(found["phone"])
    if found["click_id"] is None:
        kinds = ((values[name], kind) for name, kind in _CLICK_IDS.items() if name in values)
        found["click_id"], found["click_id_type"] = next(kinds, (None, None))
    return found


def _context(values: Mapping[str, Any]) -> RequestContext | None:
    """Return what a person consented to."""
    given = values.get("consent")
    if given is None or _folded(given) in _GRANTED:
        return None
    if _folded(given) in _DENIED:
        return RequestContext(consent=Consent.DENIED)
    _fail("consent", "granted or denied", describe(given))


def _with_clock(values: Mapping[str, Any]) -> object:
    """Return the time of a row, whose day and time of day can be in two columns."""
    day, clock = values.get("created_at"), values.get("time_of_day")
    is_day = (isinstance(day, str) and ":" not in day) or type(day) is date
    return f"{day} {clock}" if is_day and clock is not None else day


def _parsed_items(text: str) -> object:
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        _fail("items", "a JSON list of items", describe(text))


_match_local_time: Final = re.compile(
    r"(\d{1,4})([/.-])(\d{1,2})\2(\d{2,4})(?:(?:[ T]+|, ?)(\d{1,2}):(\d\d)(?::(\d\d))?(?:\.\d+)?"
    r"(?: ?([AaPp])\.?[Mm]\.?)?)?",
    re.ASCII,
).fullmatch
_match_named_month: Final = re.compile(
    r"([A-Za-z]{3})[a-z]*\.? (\d{1,2}),? (\d{4})(?:,? (\d{1,2}):(\d\d)(?::(\d\d))?"
    r"(?: ?([AaPp])\.?[Mm]\.?)?)?",
    re.ASCII,
).fullmatch
_match_zone: Final = re.compile(
    r"(.*?\d(?: ?[AaPp][Mm])?) ?([+-]\d\d:?\d\d|[+-]\d\d|Z|UTC|GMT|[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)",
    re.ASCII,
).fullmatch
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)
_LONGEST_TIME: Final = 64
_NOON: Final = 12


def parse_local_time(value: object, dates: str | None = None) -> datetime | None:
    """Read a time as systems export them; ``None`` if it can't be told for sure.

    Takes what :func:`.parse_time` takes, and dates alone, which are their midnight, dates with
    slashes by `dates`, dates with dots, the day first, and names of months in English.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the caller's zone
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        value = int(value) if len(value) <= len(str(2**53)) else value
    time = parse_time(value)
    if isinstance(time, datetime):
        return time
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        return None
    text, zone = _split_zone(value.strip())
    try:
        time = _from_parts(text, dates)
    except ValueError:
        return None
    return time if time is None or zone is None else time.replace(tzinfo=zone)


def _split_zone(text: str) -> tuple[str, tzinfo | None]:
    """Return a time without the zone at its end, and the zone."""
    found = None if re.fullmatch(r"\d{1,4}-\d{1,2}-\d{1,4}", text) else _match_zone(text)
    zone = None if found is None else zone_of(found[2])
    return (text, None) if found is None or zone is None else (found[1], zone)


def _from_parts(text: str, dates: str | None) -> datetime | None:
    """Read a date with or without a time of day.

    Raises:
        ValueError: If there is no such day or time.
    """
    if named := _match_named_month(text):
        month, day, year, *clock = named.groups()
        if month.lower() not in _MONTHS:
            return None
        return _local(int(year), _MONTHS.index(month.lower()) + 1, int(day), clock)
    found = _match_local_time(text)
    if found is None:
        return None
    first, mark, second, third, *clock = found.groups()
    if len(first) == 4:  # noqa: PLR2004 - a year
        return _local(int(first), int(second), int(third), clock)
    order = "dmy" if mark == "." else dates
    if order is None or len(third) != 4:  # noqa: PLR2004 - a year
        return None
    month, day = (second, first) if order == "dmy" else (first, second)
    return _local(int(third), int(month), int(day), clock)


def _local(year: int, month: int, day: int, clock: Sequence[str | None]) -> datetime:
    hour, minute, second, half = clock
    hours = int(hour or 0)
    if half:
        if not 1 <= hours <= _NOON:
            raise ValueError
        hours = hours % _NOON + (_NOON if half in "pP" else 0)
    return datetime(year, month, day, hours, int(minute or 0), int(second or 0))  # noqa: DTZ001 - the caller's zone


_has_groups: Final = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(\.\d+)?", re.ASCII).fullmatch
_has_comma_groups: Final = re.compile(r"[+-]?\d{1,3}(?:[.' ]\d{3})+(,\d+)?", re.ASCII).fullmatch
_is_comma_number: Final = re.compile(r"[+-]?\d+(?:,\d+)?", re.ASCII).fullmatch
_spaces: Final = dict.fromkeys(map(ord, "\xa0\u202f\u2009"), " ")


def parse_local_amount(text: str, *, decimal_comma: bool = False) -> str:
    """Write an amount with a decimal point and without groups. Return other texts unchanged.

    ``1,234.50`` is taken as it is meant; ``1,234`` could be either, and is left alone.
    """
    plain = text.translate(_spaces).strip()
    if decimal_comma:
        if _has_comma_groups(plain):
            plain = re.sub(r"[.' ]", "", plain)
        return plain.replace(",", ".") if _is_comma_number(plain) else text
    found = _has_groups(plain)
    sure = found is not None and (found[1] or plain.count(",") > 1)
    return plain.replace(",", "") if sure else plain
