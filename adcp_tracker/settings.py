"""Settings, declared once; read from arguments or ADCP_* variables."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import attrs

from adcp_tracker._formatting import as_tuple, format_quantity, format_setting
from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.events.model import MAX_CODE, EventType
from adcp_tracker.events.rules import errors_of, identifier, is_currency
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import EventSource
    from adcp_tracker.hooks import DeliveredNotice, PausedNotice, RejectedNotice
    from adcp_tracker.outbox.schema import TransactionalOutbox

    Check = Callable[[str, object], None]

_Made = TypeVar("_Made")

Durability = Literal["process", "power"]
OnDenied = Literal["drop", "strip"]
WhenFull = Literal["drop_new", "raise"]
Uploader = Literal["thread", "external"]
OutsideTransaction = Literal["journal", "commit", "refuse"]

_PREFIX = "ADCP_"
_GIB = 1024 * 1024 * 1024
_MOST_QUEUES = 10_000
_SURELY_A_TYPO = 0.85
_SHARED = frozenset({"event_source_id", "allow_http"})
"""Settings that destinations share, so that one alone doesn't describe a destination."""
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MISTAKEN_REGIONS = {"UK": "GB", "EN": "GB", "EL": "GR", "USA": "US"}


def directory_path(given: object) -> str:
    """Return the path of a queue's directory, with a leading ``~`` expanded.

    Raises:
        ConfigurationError: If it isn't a path, or the home directory is unknown.
    """
    if not given or not isinstance(given, (str, os.PathLike)):
        got = "an empty string" if given == "" else type(given).__name__
    elif (path := os.path.expanduser(str(given))).startswith("~"):  # noqa: PTH111 - stays text
        got = "one in a home directory that isn't known"
    else:
        return path
    raise ConfigurationError(f"directory: expected a path, such as '/var/lib/shop/adcp', got {got}")


def _directory(given: object) -> str | None:
    return None if given is None else directory_path(given)


def _queues(given: object) -> tuple[int, ...]:
    """Return the numbers in a text such as ``0-3`` or ``0,2``, or in a number or a list."""
    try:
        if isinstance(given, str):
            ranges = [[int(end) for end in part.split("-")] for part in given.split(",")]
            numbers = [number for each in ranges for number in range(each[0], each[-1] + 1)]
        else:
            listed = given if isinstance(given, Iterable) else (given,)
            numbers = [int(str(number)) for number in listed]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or min(numbers) < 0 or len(numbers) > _MOST_QUEUES:
        raise ConfigurationError(
            f"queues: expected numbers of queues, such as '0-3', got {format_setting(str(given))}"
        )
    return tuple(sorted(set(numbers)))


def _currency(given: str | None) -> str | None:
    if given is None:
        return None
    code = str(given).strip().upper()
    if is_currency(code) is None:
        raise ConfigurationError(
            f"default_currency: expected three letters, such as EUR, got {format_setting(given)}"
        )
    return code


def _zone_name(given: str | None) -> str | None:
    if given is None:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - for those who set it

    try:
        return ZoneInfo(given).key
    except (ValueError, TypeError, KeyError, OSError):
        raise ConfigurationError(
            "naive_times: expected a time zone that this machine knows, such as Europe/Berlin, "
            f"got {format_setting(given)}; if none is known, install tzdata"
        ) from None


def _number(text: str, kind: type[float] = float, expected: str = "a number") -> float:
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"expected {expected}, got {format_quantity(text)}") from None


def _size(text: str) -> float | None:
    return None if text.lower() == "none" else _number(text, int, "a number of bytes")


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        got = format_setting(text, _TRUE | _FALSE)
        raise ConfigurationError(f"expected true or false, got {got}")
    return word in _TRUE


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _event_types(given: Iterable[EventType | str] | str) -> tuple[str, ...]:
    """Return names of event types.

    Raises:
        ConfigurationError: If one isn't a type of the protocol.
    """
    known = [each.value for each in EventType]
    names = tuple(str(getattr(each, "value", each)) for each in as_tuple(given))
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"transactional_events: expected types of events such as 'purchase', got "
                f"{format_setting(name, known)}"
            )
    return names


def _setting(
    meaning: str,
    *,
    default: object = None,
    parse: Callable[[str], object] | None = str,
    words: str = "",
    check: Check | None = None,
    **others: Any,  # noqa: ANN401 - as attrs.field
) -> Any:  # noqa: ANN401 - as attrs.field
    """Declare a setting.

    Args:
        meaning: What it sets, in one sentence.
        default: The default.
        parse: Parses the text of its environment variable; ``None`` if it has no variable.
        words: The default in words; left out, the default itself.
        check: Raises ConfigurationError for an invalid value, given its name and the value.
        others: More arguments of ``attrs.field``.
    """
    if check is not None:
        others["validator"] = lambda _, field, value: check(field.name, value)
    known = {"meaning": meaning, "parse": parse, "default": words}
    return attrs.field(default=default, metadata=known, **others)


def _optional(check: Check) -> Check:
    """Return a check that accepts ``None`` too."""
    return lambda name, value: None if value is None else check(name, value)


def _one_of(*choices: str) -> Check:
    def check(name: str, value: object) -> None:
        if value not in choices:
            expected = " or ".join(repr(choice) for choice in choices)
            got = format_setting(value, choices)
            raise ConfigurationError(f"{name}: expected {expected}, got {got}")

    return check


def _at_least(least: float, unit: str) -> Check:
    def check(name: str, value: object) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not value >= least:  # type: ignore[operator]  # NaN is not, either
            raise ConfigurationError(
                f"{name}: expected a number of {unit}, {least:g} or more, got "
                f"{format_quantity(value)}"
            )

    return check


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: expected True or False, got {format_setting(value)}")


def _check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise ConfigurationError(f"{name}: expected a function, got {type(value).__name__}")


def _check_region(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: expected a string or None, got {type(value).__name__}")
    # Imported only here, since it takes longer than the rest of the library.
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415

    code = value.upper()
    if code not in SUPPORTED_REGIONS:
        meant = _MISTAKEN_REGIONS.get(code)
        maybe = f"maybe {meant!r}" if meant else "use the two letters of ISO 3166"
        raise ConfigurationError(
            f"{name}: expected a region such as 'GB', got {format_setting(value)}; {maybe}"
        )


def _check_code(name: str, value: object) -> None:
    for fault in errors_of(identifier(MAX_CODE), value, name):
        raise ConfigurationError(f"{fault}; leave it out where events are live")


_switch = partial(_setting, parse=_flag, check=_check_flag)
_callback = partial(_setting, parse=None, check=_optional(_check_callable))


@attrs.frozen(kw_only=True)
class Settings:
    """How a tracker works. :class:`~adcp_tracker.Tracker` takes each by its name.

    This is the one place where a setting is declared. Its argument, its environment variable,
    the option of the web integrations and its row in the documentation are made of it.

    Raises:
        ConfigurationError: If a value is invalid.
    """

    directory: str | None = _setting(
        "The directory where events wait, on a local disk. A leading `~` is your home directory.",
        words="required without `queue`",
        converter=_directory,
    )
    queue: str | None = _setting(
        "The URL of a PostgreSQL, MariaDB or MySQL database where events wait, such as "
        "`postgresql://user@host/database` or `mysql://user@host/database`. With a directory "
        "as well, events are written there first and shipped to the database.",
        repr=False,
    )
    queues: tuple[int, ...] = _setting(
        "Which queues of the database events are spread over, such as `0-3`. Several are "
        "delivered by `adcp-tracker worker` alone.",
        default=(0,),
        parse=_queues,
        converter=_queues,
    )
    durability: Durability = _setting(
        "`process`: events survive a crash of the process. `power`: they survive a power cut "
        "too, which costs an fsync per call.",
        default="process",
        check=_one_of("process", "power"),
    )
    flush_interval: float = _setting(
        "The maximum number of seconds between an event and its upload.",
        default=1.0,
        parse=_number,
        check=_at_least(0.01, "seconds"),
    )
    max_bytes: int | None = _setting(
        "The maximum size of the directory in bytes; `none` for no limit.",
        default=2 * _GIB,
        parse=_size,
        check=_optional(_at_least(1, "bytes")),
    )
    max_destination_bytes: int | None = _setting(
        "How many bytes may wait for one destination; beyond it, its oldest events are dropped "
        "and counted. By default half of `max_bytes` if there are several destinations.",
        parse=_size,
        check=_optional(_at_least(1, "bytes")),
    )
    when_full: WhenFull = _setting(
        "What to do if the directory is full: `drop_new` drops and counts new events, "
        "`raise` raises QueueFullError.",
        default="drop_new",
        check=_one_of("drop_new", "raise"),
    )
    uploader: Uploader = _setting(
        "`thread`: one process uploads in a background thread. `external`: only "
        "`adcp-tracker worker` uploads.",
        default="thread",
        check=_one_of("thread", "external"),
    )
    strict: bool = _switch(
        "Raise InvalidEventError for an invalid event instead of logging it.",
        default=False,
    )
    default_region: str | None = _setting(
        "The region of phone numbers without a country code, such as `GB`.",
        words="none: such numbers are rejected",
        check=_optional(_check_region),
    )
    default_currency: str | None = _setting(
        "The currency of orders that have none, as in `EUR`.",
        words="none: their value has no currency",
        converter=_currency,
    )
    naive_times: str | None = _setting(
        "The time zone of orders' times without a UTC offset, as in `Europe/Berlin`.",
        words="none: such times are left out",
        converter=_zone_name,
    )
    test_event_code: str | None = _setting(
        "Marks every event as a test, so that none counts as a conversion.",
        words="none: events are live",
        check=_optional(_check_code),
    )
    shutdown_timeout: float = _setting(
        "The maximum number of seconds to deliver in when the process ends; the rest stays "
        "on disk.",
        default=2.0,
        parse=_number,
        check=_at_least(0, "seconds"),
    )
    handle_sigterm: bool = _switch(
        "Flush on SIGTERM, before the application's own handler runs.",
        default=True,
    )
    on_denied: OnDenied = _setting(
        "Without the shopper's consent, `drop` the event or `strip` the shopper's identifiers.",
        default="drop",
        check=_one_of("drop", "strip"),
    )
    context_keys: tuple[str | bytes, ...] = _setting(
        "Keys that sign shoppers' contexts, separated by commas. The first one signs; all "
        "can verify.",
        default=(),
        parse=_words,
        words="a key kept in the directory",
        converter=as_tuple,
        repr=False,
    )
    encryption_keys: tuple[str | bytes, ...] = _setting(
        "Keys that encrypt events on disk, separated by commas. The first one encrypts; all "
        "can decrypt.",
        default=(),
        parse=_words,
        words="nothing is encrypted",
        converter=as_tuple,
        repr=False,
    )
    event_sources: tuple[EventSource, ...] = _setting(
        "What the destinations' event sources accept; left out, what the last sync or list "
        "learned.",
        default=(),
        parse=None,
        converter=as_tuple,
    )
    transactional_events: tuple[str, ...] = _setting(
        "With a `transactional_outbox`, the types of events that are inserted in the "
        "application's transaction, separated by commas. Others wait for its commit.",
        default=(
            "purchase",
            "refund",
            "lead",
            "subscribe",
            "start_trial",
            "complete_registration",
        ),
        parse=_words,
        converter=_event_types,
    )
    outside_transaction: OutsideTransaction | None = _setting(
        "What to do with such an event outside of a transaction: `journal` writes it to the "
        "directory or the `queue`, `commit` inserts it in a transaction of its own, "
        "`refuse` drops and counts it, or raises OutsideTransactionError if `strict`.",
        words="none: `journal` with a directory or a `queue`, else `commit`",
        check=_optional(_one_of("journal", "commit", "refuse")),
    )
    savepoint: bool = _switch(
        "Insert events in a savepoint, so that an insert that fails doesn't break the "
        "application's transaction.",
        default=True,
    )
    transactional_outbox: TransactionalOutbox | None = _setting(
        "Inserts events through the connection of the application's own transaction: "
        '`adcp_tracker_sqlalchemy.SessionOutbox`, or in Django `QUEUE = "transaction"`.',
        parse=None,
        repr=False,
    )
    on_drop: Callable[[str], None] | None = _callback(
        "Called with the reason of each event that is dropped, for a metric of yours; what "
        "it raises is logged.",
    )
    on_commit: Callable[[Callable[[], None]], bool] | None = _callback(
        "Called with each write; returns whether it will make it later, as when a database "
        "transaction has to be committed first. The web integrations bring theirs.",
    )
    on_delivered: Callable[[DeliveredNotice], object] | None = _callback(
        "Called with a DeliveredNotice after each request whose events a seller has.",
    )
    on_rejected: Callable[[RejectedNotice], object] | None = _callback(
        "Called with a RejectedNotice when events became dead letters.",
    )
    on_paused: Callable[[PausedNotice], object] | None = _callback(
        "Called with a PausedNotice when a destination was paused, because its configuration "
        "is wrong.",
    )

    @property
    def location(self) -> str:
        """What messages call the place where events wait; never a password."""
        if self.directory is None and self.queue is None:
            return "the application's database"
        return self.directory or "the queue in the database"

    @property
    def has_store(self) -> bool:
        """Whether events wait where this process can read them, and not only write them."""
        return self.directory is not None or self.queue is not None

    def __attrs_post_init__(self) -> None:
        if not self.has_store and self.transactional_outbox is None:
            raise ConfigurationError(
                "directory: expected a directory where events wait, or the URL of a queue, got "
                "neither; pass directory='/var/lib/shop/adcp', or queue='postgresql://…'"
            )
        if not self.has_store and self.outside_transaction == "journal":
            raise ConfigurationError(
                "outside_transaction: expected a directory for 'journal', got none; set "
                "directory=, or use 'commit' or 'refuse'"
            )
        if len(self.queues) > 1 and self.uploader == "thread" and self.directory is None:
            raise ConfigurationError(
                "queues: expected one queue for a tracker that uploads; pass "
                "uploader='external', and run adcp-tracker worker"
            )


class TrackerSettings(TypedDict, total=False):
    """The types of all :class:`Settings` but ``directory``, for editors and type checkers."""

    queue: str | None
    queues: str | int | Sequence[int]
    durability: Durability
    flush_interval: float
    max_bytes: int | None
    max_destination_bytes: int | None
    when_full: WhenFull
    uploader: Uploader
    strict: bool
    default_region: str | None
    default_currency: str | None
    naive_times: str | None
    test_event_code: str | None
    shutdown_timeout: float
    handle_sigterm: bool
    on_denied: OnDenied
    context_keys: str | bytes | Sequence[str | bytes]
    encryption_keys: str | bytes | Sequence[str | bytes]
    event_sources: Iterable[EventSource]
    transactional_events: Iterable[EventType | str]
    outside_transaction: OutsideTransaction | None
    savepoint: bool
    transactional_outbox: TransactionalOutbox | None
    on_drop: Callable[[str], None] | None
    on_commit: Callable[[Callable[[], None]], bool] | None
    on_delivered: Callable[[DeliveredNotice], object] | None
    on_rejected: Callable[[RejectedNotice], object] | None
    on_paused: Callable[[PausedNotice], object] | None


@attrs.frozen
class EnvVar:
    """An environment variable.

    Attributes:
        name: The variable.
        setting: What it sets, as named in code.
        meaning: What it sets, in one sentence.
        parse: Parses its text.
        default: The default, in words.
    """

    name: str
    setting: str
    meaning: str
    parse: Callable[[str], object] = str
    default: str = ""


def _env_vars() -> Iterator[EnvVar]:
    for field in attrs.fields(Settings):
        about = field.metadata
        if about["parse"] is not None:
            yield EnvVar(
                _PREFIX + field.name.upper(),
                field.name,
                about["meaning"],
                about["parse"],
                about["default"] or _in_words(field.default),
            )


def _in_words(default: object) -> str:
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default).lower()


TRACKER_VARIABLES = tuple(_env_vars())

_ALLOW_HTTP = EnvVar(
    "ADCP_ALLOW_HTTP",
    "allow_http",
    "`true` to allow unencrypted http to other machines on a network you trust, for every "
    "destination.",
    _flag,
    "false",
)

INTERCHANGE_VARIABLES = (
    EnvVar("ADCP_ADVERTISER_ID", "advertiser_id", "The advertiser's id at the Interchange."),
    EnvVar("ADCP_API_KEY", "api_key", "The advertiser's API key."),
    EnvVar("ADCP_EVENT_SOURCE_ID", "event_source_id", "The event source, for every destination."),
    EnvVar(
        "ADCP_BASE_URL",
        "base_url",
        "The Interchange's base URL.",
        str,
        "https://api.interchange.io/api/v2/buyer",
    ),
    EnvVar("ADCP_COMPRESSION", "compression", "`gzip` to compress requests.", str, "none"),
    _ALLOW_HTTP,
)

AGENT_VARIABLES = (
    EnvVar("ADCP_AGENT_URL", "url", "The MCP URL of an AdCP agent."),
    EnvVar("ADCP_AGENT_TOKEN", "token", "Its bearer token."),
    EnvVar("ADCP_AGENT_VERSION", "adcp_version", "The AdCP version it speaks.", str, "3.1"),
    EnvVar(
        "ADCP_AGENT_PROTOCOL",
        "protocol",
        "`mcp` or `a2a`.",
        str,
        "MCP, or A2A if the agent offers only that",
    ),
    _ALLOW_HTTP,
)

OAUTH_VARIABLES = (
    EnvVar("ADCP_OAUTH_TOKEN_URL", "token_url", "Where tokens are issued."),
    EnvVar("ADCP_OAUTH_CLIENT_ID", "client_id", "The client's id."),
    EnvVar("ADCP_OAUTH_CLIENT_SECRET", "client_secret", "The client's secret."),
    EnvVar("ADCP_OAUTH_SCOPE", "scope", "The scopes to ask for, separated by spaces."),
    EnvVar("ADCP_OAUTH_AUDIENCE", "audience", "The API that the token is for."),
)
"""OAuth client credentials, for each destination without an API key or a token of its own."""

VARIABLES = tuple(
    dict.fromkeys(TRACKER_VARIABLES + INTERCHANGE_VARIABLES + AGENT_VARIABLES + OAUTH_VARIABLES)
)


def settings_from_env(
    environ: Mapping[str, str] | None = None, code_only: Collection[str] = ()
) -> dict[str, object]:
    """Read a tracker's settings from ``ADCP_*`` variables.

    Args:
        environ: The variables; left out, those of the process.
        code_only: Options that can be set only in code; a variable named like one is rejected.

    Raises:
        ConfigurationError: If a variable is misspelt or its value is invalid.
    """
    environ = os.environ if environ is None else environ
    _check_spelling(environ, code_only)
    return _read(TRACKER_VARIABLES, environ)


def destinations_from_env(environ: Mapping[str, str] | None = None) -> list[Destination]:
    """Make the destinations that ``ADCP_*`` variables describe: zero, one or two.

    Raises:
        ConfigurationError: If a destination is only partly described.
    """
    environ = os.environ if environ is None else environ
    destinations: list[Destination] = []
    interchange = _read(INTERCHANGE_VARIABLES, environ)
    if interchange.keys() - _SHARED:
        needed = ("ADCP_ADVERTISER_ID", "ADCP_API_KEY", "ADCP_EVENT_SOURCE_ID")
        interchange |= _credentials(environ, "ADCP_API_KEY", needed, "the Interchange")
        destinations.append(_build(Interchange, INTERCHANGE_VARIABLES, interchange))
    agent = _read(AGENT_VARIABLES, environ)
    if agent.keys() - _SHARED:
        needed = ("ADCP_AGENT_URL", "ADCP_AGENT_TOKEN", "ADCP_EVENT_SOURCE_ID")
        agent |= _credentials(environ, "ADCP_AGENT_TOKEN", needed, "an agent")
        if "auth" in agent:
            agent["key_secret"] = environ["ADCP_OAUTH_CLIENT_SECRET"]
        agent["event_source_id"] = environ["ADCP_EVENT_SOURCE_ID"]
        destinations.append(_build(Agent, AGENT_VARIABLES, agent))
    return destinations


def _credentials(
    environ: Mapping[str, str], key: str, needed: tuple[str, ...], what: str
) -> dict[str, object]:
    """Return the OAuth credentials of a destination that has no key; check what it needs.

    Raises:
        ConfigurationError: If a variable is missing.
    """
    oauth = _read((*OAUTH_VARIABLES, _ALLOW_HTTP), environ)
    if environ.get(key) or not oauth.keys() - _SHARED:
        _check_present(needed, environ, what)
        return {}
    _check_present(tuple(name for name in needed if name != key), environ, what)
    names = tuple(variable.name for variable in OAUTH_VARIABLES[:3])
    _check_present(names, environ, "OAuth client credentials")
    from adcp_tracker.destinations.auth import ClientCredentials  # noqa: PLC0415 - as needed

    return {"auth": _build(ClientCredentials, OAUTH_VARIABLES, oauth)}


def _build(
    kind: Callable[..., _Made],
    variables: tuple[EnvVar, ...],
    arguments: Mapping[str, object],
) -> _Made:
    """Make an object; if an argument is invalid, name the variable that sets it."""
    try:
        return kind(**arguments)
    except ConfigurationError as error:
        message = str(error)
        at_fault = message.partition(":")[0]
        for variable in variables:
            if variable.setting == at_fault:
                message += f"; {at_fault} is set by {variable.name}"
            elif f"{variable.setting}=" in message:  # the remedy
                message += f", {variable.setting} by {variable.name}"
        raise ConfigurationError(message) from None


def validate_destinations(destinations: object) -> tuple[Destination, ...]:
    """Return a tracker's destinations, after checking that their names are distinct.

    Raises:
        ConfigurationError: If it isn't a list of destinations, or two have the same name.
    """
    found = _listed(destinations)
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"destinations: expected distinct names, got {name!r} twice; give one a name="
            )
    return found


def _listed(destinations: object) -> tuple[Destination, ...]:
    expected = "destinations: expected a list of destinations such as Interchange(…)"
    if hasattr(destinations, "send"):
        raise ConfigurationError(f"{expected}, got a single one; put it in a list")
    if isinstance(destinations, (str, bytes)) or not isinstance(destinations, Iterable):
        raise ConfigurationError(f"{expected}, got {type(destinations).__name__}")
    found = tuple(destinations)
    for index, each in enumerate(found):
        if isinstance(each, type) or not hasattr(each, "send"):
            raise ConfigurationError(f"{expected}, got {type(each).__name__} at [{index}]")
    return found


def _read(variables: tuple[EnvVar, ...], environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for variable in variables:
        text = environ.get(variable.name, "")
        if text:
            try:
                values[variable.setting] = variable.parse(text)
            except ConfigurationError as error:
                raise ConfigurationError(f"{variable.name}: {error}") from None
    return values


def _check_present(names: tuple[str, ...], environ: Mapping[str, str], what: str) -> None:
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise ConfigurationError(f"{what}: expected {' and '.join(missing)} to be set as well")


def _check_spelling(environ: Mapping[str, str], code_only: Collection[str]) -> None:
    known = {variable.name for variable in VARIABLES}
    options = {_PREFIX + option.upper(): option for option in code_only}
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            _check_unknown(name, known, options)


def _check_unknown(name: str, known: Collection[str], options: Mapping[str, str]) -> None:
    """Reject a variable that is surely a typo of one of `known`, or named like an option."""
    close = difflib.get_close_matches(name, [*known, *options], 1, _SURELY_A_TYPO)
    if not close:
        return
    if close[0] in known:
        raise ConfigurationError(f"Unknown variable {name}. Did you mean {close[0]}?")
    raise ConfigurationError(
        f"{name} isn't an environment variable of adcp_tracker. Set {options[close[0]]} in code, "
        f"or rename your variable."
    )
