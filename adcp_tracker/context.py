"""What a web request tells about the shopper, carried to wherever the event is built."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen(repr=False)
class RequestContext:
    """The shopper's side of an event, as seen by the server that got the request.

    Attributes:
        client_ip: The shopper's public address, at most 45 characters.
        client_user_agent: The browser's name for itself, at most 512 characters.
        event_source_url: The page's absolute URL, stripped of whatever could be private.
        click_id: The advertiser's click id that brought the shopper.
        click_id_type: Which kind of click id, such as ``gclid``.
    """

    client_ip: str | None = None
    client_user_agent: str | None = None
    event_source_url: str | None = None
    click_id: str | None = None
    click_id_type: str | None = None

    def __repr__(self) -> str:
        present = [field.name for field in attrs.fields(type(self)) if getattr(self, field.name)]
        return f"RequestContext({', '.join(present)})"


_current: ContextVar[RequestContext | None] = ContextVar("adcp_tracker_context", default=None)

current_context = _current.get
"""Return the context of the request being handled, or ``None`` outside of one."""


@contextmanager
def bind_context(context: RequestContext | None) -> Iterator[None]:
    """Let every event tracked inside the block carry `context`."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
