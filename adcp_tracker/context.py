"""What a web request says about the shopper, carried to where the event is built."""

from __future__ import annotations

import enum
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

Automated = Literal["crawler", "link_preview", "prefetch"]
"""Why no person looked at the page: a bot requested it, or the browser prefetched it."""


class Consent(enum.Enum):
    """Whether the shopper consents to being measured.

    ``UNKNOWN`` means that the site configured no consent reader, so nobody was asked: it
    counts as permission. A configured reader returns one of the other two.
    """

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


_ANSWERS = {None: Consent.UNKNOWN, True: Consent.GRANTED, False: Consent.DENIED}


def checked_consent(answer: object) -> Consent:
    """Return an answer as a :class:`Consent`.

    Raises:
        ConfigurationError: If it isn't ``True``, ``False``, ``None`` or a Consent.
    """
    if isinstance(answer, Consent):
        return answer
    if answer is None or isinstance(answer, bool):
        return _ANSWERS[answer]
    raise ConfigurationError(
        f"consent: expected True, False, None or a Consent, got {type(answer).__name__}; "
        "other values aren't interpreted, because the string 'no' is truthy"
    )


def _as_consent(given: object) -> Consent:
    """Convert an answer. One that isn't understood counts as denied, and never raises."""
    try:
        return checked_consent(given)
    except ConfigurationError as error:
        logger.error("consent.failed", error=str(error), taken_for=Consent.DENIED.value)
        return Consent.DENIED


class Context(Protocol):
    """What an event takes from a request.

    :class:`RequestContext` holds the values; a middleware binds a lazy one, which computes
    nothing until the first event needs it.
    """

    @property
    def client_ip(self) -> str | None:
        """The shopper's public address, at most 45 characters."""

    @property
    def client_user_agent(self) -> str | None:
        """The browser's user agent, at most 512 characters."""

    @property
    def event_source_url(self) -> str | None:
        """The page's absolute URL, without anything that could be private."""

    @property
    def click_id(self) -> str | None:
        """The advertiser's click id that brought the shopper."""

    @property
    def click_id_type(self) -> str | None:
        """Which kind of click id, such as ``gclid``."""

    @property
    def consent(self) -> Consent:
        """Whether the shopper consents to being measured."""

    @property
    def automated(self) -> Automated | None:
        """Why no person looked at the page; ``None`` if one probably did."""


@attrs.frozen(repr=False)
class RequestContext:
    """The shopper's side of an event, as seen by the server that got the request.

    Attributes:
        client_ip: The shopper's public address, at most 45 characters.
        client_user_agent: The browser's user agent, at most 512 characters.
        event_source_url: The page's absolute URL, without anything that could be private.
        click_id: The advertiser's click id that brought the shopper.
        click_id_type: Which kind of click id, such as ``gclid``.
        consent: Whether the shopper consents to being measured. ``True``, ``False`` and ``None``
            are converted; anything else counts as denied, and is logged.
        automated: Why no person looked at the page; ``None`` if one probably did.
    """

    client_ip: str | None = None
    client_user_agent: str | None = None
    event_source_url: str | None = None
    click_id: str | None = None
    click_id_type: str | None = None
    consent: Consent = Consent.UNKNOWN
    automated: Automated | None = None

    def __attrs_post_init__(self) -> None:
        # Not by a converter, with which pyright takes the class for no Context.
        if type(self.consent) is not Consent:
            object.__setattr__(self, "consent", _as_consent(self.consent))

    def __repr__(self) -> str:
        present = [field.name for field in attrs.fields(type(self)) if getattr(self, field.name)]
        return f"RequestContext({', '.join(present)})"


def _part(name: str) -> Any:  # noqa: ANN401 - the field's own type
    return property(lambda self: getattr(self.resolve(), name))


class DeferredContext:
    """A context that is computed when an event first needs any part of a RequestContext."""

    __slots__ = ()

    client_ip: str | None = _part("client_ip")
    client_user_agent: str | None = _part("client_user_agent")
    event_source_url: str | None = _part("event_source_url")
    click_id: str | None = _part("click_id")
    click_id_type: str | None = _part("click_id_type")
    consent: Consent = _part("consent")
    automated: Automated | None = _part("automated")

    def resolve(self) -> RequestContext:
        """Return the whole context; always the same one."""
        raise NotImplementedError


def read_context(given: Context) -> RequestContext:
    """Return the whole of a context.

    Raises:
        ConfigurationError: If it isn't one.
    """
    if isinstance(given, DeferredContext):
        return given.resolve()
    if isinstance(given, RequestContext):
        return given
    try:
        return RequestContext(*[getattr(given, each.name) for each in attrs.fields(RequestContext)])
    except Exception as error:  # noqa: BLE001 - of a class of the shop's own
        reraise_interruption(error)
        raise ConfigurationError(
            f"context: expected a RequestContext, a token of one or None, got {describe(given)}. "
            "Leave it out, and the middleware's is taken"
        ) from None


def without_identifiers(context: Context) -> RequestContext:
    """Return the parts of `context` that describe the page and not the shopper.

    For events that are sent although consent was denied. The query is removed too, since it
    may contain a click id.
    """
    url = context.event_source_url
    return RequestContext(
        event_source_url=url and url.partition("?")[0],
        consent=context.consent,
        automated=context.automated,
    )


_current: ContextVar[Context | None] = ContextVar("adcp_tracker_context", default=None)

current_context = _current.get
"""Return the context of the request being handled, or ``None`` outside of one."""

set_context = _current.set
"""Make a context the current one, and return the token for :func:`reset_context`.

For a middleware whose request begins in one function and ends in another.
"""

reset_context = _current.reset
"""Undo a :func:`set_context`, in the same thread or task."""


@contextmanager
def bind_context(context: Context | None) -> Iterator[None]:
    """Attach `context` to every event tracked inside the block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
