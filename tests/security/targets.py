"""What is fed to the readers of bytes that others wrote: one function each, which must not raise.

Hypothesis feeds those that no other test feeds; atheris, where it is installed, any of them::

    python -m tests.security.fuzz records
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from adcp_tracker.destinations.answers import from_http
from adcp_tracker.destinations.replies import Reply
from adcp_tracker.destinations.sse import EventStream
from adcp_tracker.queue.outbox import DamagedOutboxError
from adcp_tracker.queue.records import scan
from adcp_tracker.queue.state import State
from adcp_tracker.web.clickids import ClickNames, read_cookie
from adcp_tracker.web.contexttoken import ContextTokens
from adcp_tracker.web.forwarded import elements_from_right, parse_node
from adcp_tracker.web.tcf import read_tc_string
from tests.support.destinations import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKENS = ContextTokens("a key that is long enough for anybody")
_NAMES = ClickNames()


def feed_records(data: bytes) -> None:
    """Read a segment; every byte is a record's, damage, or an unfinished tail."""
    records, damages = scan(data)
    read = sum(record.stop - record.start for record in records)
    lost = sum(len(damage.data) for damage in damages)
    assert read + lost <= len(data)


def feed_state(data: bytes) -> None:
    """Read rows of the outbox: they are a state, or damage."""
    outbox = MemoryOutbox()
    outbox.values = {"destination:a": data, "delivery:a:0": data, "other": data}
    with contextlib.suppress(DamagedOutboxError):
        State(outbox, ["a"]).commit()


def feed_forwarded(data: bytes) -> None:
    """Read a proxy's header."""
    text = data.decode("latin-1")
    for element in elements_from_right([text]):
        parse_node(element.get("for", ""))
    parse_node(text)


def feed_consent(data: bytes) -> None:
    """Read a consent string."""
    read_tc_string(data.decode("latin-1"))


def feed_answer(data: bytes) -> None:
    """Read a seller's answer, with every kind of status."""
    for status in (200, 400, 429, 500):
        from_http(Reply(status, {"content-type": "application/json"}, data), 3)
    stream = EventStream(lambda _: True)
    stream.feed(data)
    stream.finish()


def feed_cookie(data: bytes) -> None:
    """Read a browser's cookies."""
    text = data.decode("latin-1")
    found = _NAMES.in_cookie(read_cookie([text, f"adcp_click={text}"], "adcp_click") or "")
    assert found is None or found.id.isprintable()
    _NAMES.in_query(text)


def feed_token(data: bytes) -> None:
    """Read the token of a context: none is right that was not signed."""
    assert _TOKENS.read(data.decode("latin-1")).context is None


TARGETS: dict[str, Callable[[bytes], None]] = {
    "records": feed_records,
    "state": feed_state,
    "forwarded": feed_forwarded,
    "consent": feed_consent,
    "answer": feed_answer,
    "cookie": feed_cookie,
    "token": feed_token,
}
