"""What a web request tells about the shopper, carried to wherever the event is built."""

from __future__ import annotations

import enum
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

Automated = Literal["crawler", "link_preview", "prefetch"]
"""Why no person looked at the page: a robot asked, or the browser asked on suspicion."""


class Consent(enum.Enum):
    """The shopper's word on being measured.

    ``UNKNOWN`` means that nobody was asked, since the site configured no consent reader:
    it is permission by configuration. A configured reader answers one of the other two.
    """

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Context(Protocol):
    """What an event takes from a request.

    :class:`RequestContext` holds it all; a middleware binds something lazier,
    which computes nothing until the first event asks.
    """

    @property
    def client_ip(self) -> str | None:
        """The shopper's public address, at most 45 characters."""

    @property
    def client_user_agent(self) -> str | None:
        """The browser's name for itself, at most 512 characters."""

    @property
    def event_source_url(self) -> str | None:
        """The page's absolute URL, stripped of whatever could be private."""

    @property
    def click_id(self) -> str | None:
        """The advertiser's click id that brought the shopper."""

    @property
    def click_id_type(self) -> str | None:
        """Which kind of click id, such as ``gclid``."""

    @property
    def consent(self) -> Consent:
        """The shopper's word on being measured."""

    @property
    def automated(self) -> Automated | None:
        """Why no person looked at the page; ``None`` if one seems to."""


@attrs.frozen(repr=False)
class RequestContext:
    """The shopper's side of an event, as seen by the server that got the request.

    Attributes:
        client_ip: The shopper's public address, at most 45 characters.
        client_user_agent: The browser's name for itself, at most 512 characters.
        event_source_url: The page's absolute URL, stripped of whatever could be private.
        click_id: The advertiser's click id that brought the shopper.
        click_id_type: Which kind of click id, such as ``gclid``.
        consent: The shopper's word on being measured.
        automated: Why no person looked at the page; ``None`` if one seems to.
    """

    client_ip: str | None = None
    client_user_agent: str | None = None
    event_source_url: str | None = None
    click_id: str | None = None
    click_id_type: str | None = None
    consent: Consent = Consent.UNKNOWN
    automated: Automated | None = None

    def __repr__(self) -> str:
        present = [field.name for field in attrs.fields(type(self)) if getattr(self, field.name)]
        return f"RequestContext({', '.join(present)})"


def without_identifiers(context: Context) -> RequestContext:
    """Keep of `context` what describes the page and not the shopper.

    For events that are sent although consent was denied: the query goes too,
    since it may hold a click id.
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
"""Make a context the current one, and return the token that :func:`reset_context` takes.

For a middleware whose request begins in one function and ends in another.
"""

reset_context = _current.reset
"""Undo one :func:`set_context`, in the thread or task that did it."""


@contextmanager
def bind_context(context: Context | None) -> Iterator[None]:
    """Let every event tracked inside the block carry `context`."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
