"""Settings, declared once; read from arguments or ADCP_* variables."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker._formatting import as_tuple, format_quantity, format_setting
from adcp_tracker.events.model import MAX_CODE
from adcp_tracker.events.validation import FieldErrors
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.events.policy import OnDenied


Durability = Literal["process", "power"]
WhenFull = Literal["drop_new", "raise"]
Uploader = Literal["thread", "external"]

_PREFIX = "ADCP_"
_GIB = 1024 * 1024 * 1024
_SURELY_A_TYPO = 0.85
_IN_CODE_ALONE = "allow_http"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MISTAKEN_REGIONS = {"UK": "GB", "EN": "GB", "EL": "GR", "USA": "US"}


def _path(given: object) -> str:
    if not given or not isinstance(given, (str, os.PathLike)):
        got = "an empty string" if given == "" else type(given).__name__
        raise ConfigurationError(
            f"directory: expected a path, such as '/var/lib/shop/adcp', got {got}; "
            "events need a place to wait in"
        )
    return str(given)


@attrs.frozen
class Settings:
    """How a tracker works. :class:`~adcp_tracker.Tracker` takes each by its name.

    Raises:
        ConfigurationError: If a value cannot be right.
    """

    directory: str = attrs.field(converter=_path)
    durability: Durability = "process"
    flush_interval: float = 1.0
    max_bytes: int | None = 2 * _GIB
    when_full: WhenFull = "drop_new"
    uploader: Uploader = "thread"
    strict: bool = False
    default_region: str | None = None
    test_event_code: str | None = None
    shutdown_timeout: float = 2.0
    handle_sigterm: bool = True
    on_denied: OnDenied = "drop"
    context_keys: tuple[str | bytes, ...] = attrs.field(default=(), converter=as_tuple, repr=False)
    encryption_keys: tuple[str | bytes, ...] = attrs.field(
        default=(), converter=as_tuple, repr=False
    )

    def __attrs_post_init__(self) -> None:
        _check_choice("durability", self.durability, ("process", "power"))
        _check_choice("when_full", self.when_full, ("drop_new", "raise"))
        _check_choice("uploader", self.uploader, ("thread", "external"))
        _check_choice("on_denied", self.on_denied, ("drop", "strip"))
        _check_minimum("flush_interval", self.flush_interval, 0.01, "seconds")
        _check_minimum("shutdown_timeout", self.shutdown_timeout, 0.0, "seconds")
        if self.max_bytes is not None:
            _check_minimum("max_bytes", self.max_bytes, 1, "bytes")
        for name in ("strict", "handle_sigterm"):
            _check_flag(name, getattr(self, name))
        _check_text("default_region", self.default_region)
        _check_code("test_event_code", self.test_event_code)
        if self.default_region is not None:
            _check_region(self.default_region)


@attrs.frozen
class Variable:
    """One environment variable.

    Attributes:
        name: The variable.
        setting: What it sets, as named in code.
        meaning: In one sentence.
        read: Makes a value of its text.
        default: What counts without it, as a person reads it.
    """

    name: str
    setting: str
    meaning: str
    read: Callable[[str], object] = str
    default: str = ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"expected a number, got {format_quantity(text)}") from None


def _size(text: str) -> int | None:
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(
            f"expected a number of bytes, got {format_quantity(text)}"
        ) from None


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        got = format_setting(text, _TRUE | _FALSE)
        raise ConfigurationError(f"expected true or false, got {got}")
    return word in _TRUE


def _secrets(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


TRACKER_VARIABLES = (
    Variable("ADCP_DIRECTORY", "directory", "Where events wait; on a local disk.", str, "required"),
    Variable(
        "ADCP_DURABILITY",
        "durability",
        "`process`: survives the process; `power`: survives a power cut too, at a sync a call.",
        str,
        "process",
    ),
    Variable(
        "ADCP_FLUSH_INTERVAL",
        "flush_interval",
        "The most seconds between an event and its upload.",
        _number,
        "1",
    ),
    Variable(
        "ADCP_MAX_BYTES",
        "max_bytes",
        "How much the directory may hold, in bytes; `none` for no bound.",
        _size,
        "2147483648",
    ),
    Variable(
        "ADCP_WHEN_FULL",
        "when_full",
        "`drop_new` counts and drops new events then; `raise` raises QueueFullError.",
        str,
        "drop_new",
    ),
    Variable(
        "ADCP_UPLOADER",
        "uploader",
        "`thread`: one process uploads in a thread; `external`: only `adcp-tracker worker` does.",
        str,
        "thread",
    ),
    Variable(
        "ADCP_STRICT", "strict", "Raise InvalidEventError instead of logging.", _flag, "false"
    ),
    Variable(
        "ADCP_DEFAULT_REGION",
        "default_region",
        "Where phone numbers without a plus are, as in `GB`.",
        str,
        "none: such numbers are refused",
    ),
    Variable(
        "ADCP_TEST_EVENT_CODE",
        "test_event_code",
        "Marks every event as a test; none of them counts as a conversion.",
        str,
        "none: events are live",
    ),
    Variable(
        "ADCP_SHUTDOWN_TIMEOUT",
        "shutdown_timeout",
        "The most seconds to deliver in when the process ends; the rest is safe on disk.",
        _number,
        "2",
    ),
    Variable(
        "ADCP_HANDLE_SIGTERM",
        "handle_sigterm",
        "Flush on SIGTERM, before the host's own handler.",
        _flag,
        "true",
    ),
    Variable(
        "ADCP_ON_DENIED",
        "on_denied",
        "Without consent, `drop` the event or `strip` the shopper's identifiers from it.",
        str,
        "drop",
    ),
    Variable(
        "ADCP_CONTEXT_KEYS",
        "context_keys",
        "What signs shoppers' contexts, the first for new ones; divided by commas.",
        _secrets,
        "a key kept in the directory",
    ),
    Variable(
        "ADCP_ENCRYPTION_KEYS",
        "encryption_keys",
        "What seals events on disk, the first new ones; all read; divided by commas.",
        _secrets,
        "nothing is sealed",
    ),
)

INTERCHANGE_VARIABLES = (
    Variable("ADCP_ADVERTISER_ID", "advertiser_id", "The advertiser at the Interchange."),
    Variable("ADCP_API_KEY", "api_key", "Its credential."),
    Variable("ADCP_EVENT_SOURCE_ID", "event_source_id", "The event source, for every destination."),
    Variable(
        "ADCP_BASE_URL",
        "base_url",
        "Where the Interchange stands.",
        str,
        "https://api.interchange.io/api/v2/buyer",
    ),
    Variable("ADCP_COMPRESSION", "compression", "`gzip` to compress requests.", str, "none"),
)

AGENT_VARIABLES = (
    Variable("ADCP_AGENT_URL", "url", "The MCP address of an AdCP agent."),
    Variable("ADCP_AGENT_TOKEN", "token", "Its bearer token."),
    Variable("ADCP_AGENT_VERSION", "adcp_version", "The protocol line it speaks.", str, "3.1"),
)

VARIABLES = TRACKER_VARIABLES + INTERCHANGE_VARIABLES + AGENT_VARIABLES


def settings_from_env(environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """Read a tracker's settings from ``ADCP_*`` variables.

    Raises:
        ConfigurationError: If a variable is misspelt or its value cannot be read.
    """
    environ = os.environ if environ is None else environ
    _check_spelling(environ)
    return _read(TRACKER_VARIABLES, environ)


def destinations_from_env(environ: Mapping[str, str] | None = None) -> list[Destination]:
    """Make the destinations that ``ADCP_*`` variables describe: none, one or two.

    Raises:
        ConfigurationError: If one is described in part.
    """
    environ = os.environ if environ is None else environ
    source = environ.get("ADCP_EVENT_SOURCE_ID")
    destinations: list[Destination] = []
    interchange = _read(INTERCHANGE_VARIABLES, environ)
    if interchange.keys() - {"event_source_id"}:
        from adcp_tracker.destinations.interchange import Interchange  # noqa: PLC0415 - as needed

        needed = ("ADCP_ADVERTISER_ID", "ADCP_API_KEY", "ADCP_EVENT_SOURCE_ID")
        _check_present(needed, environ, "the Interchange")
        destinations.append(_build(Interchange, INTERCHANGE_VARIABLES, interchange))
    agent = _read(AGENT_VARIABLES, environ)
    if agent:
        from adcp_tracker.destinations.agent import Agent  # noqa: PLC0415 - as needed

        needed = ("ADCP_AGENT_URL", "ADCP_AGENT_TOKEN", "ADCP_EVENT_SOURCE_ID")
        _check_present(needed, environ, "an agent")
        agent["event_source_id"] = source
        destinations.append(_build(Agent, AGENT_VARIABLES, agent))
    return destinations


def _build(
    kind: Callable[..., Destination],
    variables: tuple[Variable, ...],
    arguments: Mapping[str, object],
) -> Destination:
    """Make a destination of what `variables` set, and name the variable that is wrong."""
    try:
        return kind(**arguments)
    except ConfigurationError as error:
        message = str(error)
        at_fault = message.partition(":")[0]
        for variable in variables:
            if variable.setting == at_fault:
                message += f"; {at_fault} is set by {variable.name}"
        if _IN_CODE_ALONE in message:
            message += f", and no variable sets {_IN_CODE_ALONE}: make the destination in code"
        raise ConfigurationError(message) from None


def validate_destinations(destinations: object) -> tuple[Destination, ...]:
    """Return a tracker's destinations, each of which has a name of its own.

    Raises:
        ConfigurationError: If it is no list of destinations, or two have the same name.
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
        raise ConfigurationError(f"{expected}, got one by itself; put it in brackets")
    if isinstance(destinations, (str, bytes)) or not isinstance(destinations, Iterable):
        raise ConfigurationError(f"{expected}, got {type(destinations).__name__}")
    found = tuple(destinations)
    for index, each in enumerate(found):
        if isinstance(each, type) or not hasattr(each, "send"):
            raise ConfigurationError(f"{expected}, got {type(each).__name__} at [{index}]")
    return found


def _read(variables: tuple[Variable, ...], environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for variable in variables:
        text = environ.get(variable.name, "")
        if text:
            try:
                values[variable.setting] = variable.read(text)
            except ConfigurationError as error:
                raise ConfigurationError(f"{variable.name}: {error}") from None
    return values


def _check_present(names: tuple[str, ...], environ: Mapping[str, str], what: str) -> None:
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise ConfigurationError(f"{what}: expected {' and '.join(missing)} to be set as well")


def _check_spelling(environ: Mapping[str, str]) -> None:
    known = {variable.name for variable in VARIABLES}
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            _check_unknown(name, known)


def _check_unknown(name: str, known: Collection[str]) -> None:
    """Refuse a variable that is surely meant for one of `known`, or for an option of code's."""
    from adcp_tracker.web.options import CAPTURE_OPTIONS  # noqa: PLC0415 - as needed

    options = {_PREFIX + option.upper(): option for option in CAPTURE_OPTIONS}
    close = difflib.get_close_matches(name, [*known, *options], 1, _SURELY_A_TYPO)
    if not close:
        return
    if close[0] in known:
        raise ConfigurationError(f"{name}: expected a known variable, maybe {close[0]}")
    raise ConfigurationError(
        f"{name}: expected no such variable, got one; {options[close[0]]} is an option of the "
        "web integration, which takes it in code, so give it there and name the variable otherwise"
    )


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        expected = " or ".join(repr(choice) for choice in choices)
        got = format_setting(value, choices)
        raise ConfigurationError(f"{name}: expected {expected}, got {got}")


def _check_minimum(name: str, value: object, least: float, unit: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not value >= least:  # type: ignore[operator]  # NaN is not, either
        raise ConfigurationError(
            f"{name}: expected a number of {unit}, {least:g} or more, got {format_quantity(value)}"
        )


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: expected True or False, got {format_setting(value)}")


def _check_region(given: str) -> None:
    # Only here, as it takes longer to import than all of this library.
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415

    code = given.upper()
    if code in SUPPORTED_REGIONS:
        return
    meant = _MISTAKEN_REGIONS.get(code)
    maybe = f"maybe {meant!r}" if meant else "use the two letters of ISO 3166"
    raise ConfigurationError(
        f"default_region: expected a region such as 'GB', got {format_setting(given)}; {maybe}"
    )


def _check_text(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name}: expected a string or None, got {type(value).__name__}")


def _check_code(name: str, value: object) -> None:
    look = FieldErrors()
    if value is not None:
        look.identifier(name, value, MAX_CODE)
    for fault in look.errors:
        raise ConfigurationError(f"{fault}; leave it out where events are live")
