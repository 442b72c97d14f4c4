"""What is fed to the readers of bytes that others wrote: one function each, which must not raise.

Hypothesis feeds those that no other test feeds; atheris, where it is installed, any of them::

    python -m tests.security.fuzz records

Each begins with a sound input, so that what is fed is nearly right.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from adcp_tracker.context import RequestContext
from adcp_tracker.destinations.capabilities import read_capabilities
from adcp_tracker.destinations.mcp import EventStream, has_adcp_error, outcome_from_mcp
from adcp_tracker.destinations.responses import (
    LONGEST,
    SHORTEST,
    Response,
    decode,
    outcome_from_http,
    requested_delay,
)
from adcp_tracker.journal.encryption import ENCRYPTED, Encryption
from adcp_tracker.journal.records import EVENT, HEADER_BYTES, encode_record, parse
from adcp_tracker.outbox.state import Span, State
from adcp_tracker.outbox.storage import DamagedOutboxError
from adcp_tracker.privacy.context_store import TokenSigner
from adcp_tracker.web.click_ids import ClickNames, read_cookie
from adcp_tracker.web.client_ip import (
    ProxyTrust,
    explain,
    forwarded_elements_from_right,
    parse_node,
)
from adcp_tracker.web.consent import read_tc_string
from adcp_tracker.web.request import MAX_LENGTH, QueryFilter, page_url
from tests.support.destinations import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS = TokenSigner("a key that is long enough for anybody")
_TOKEN = TOKENS.issue(RequestContext(client_ip="8.8.4.4", click_id="abc", click_id_type="gclid"))
ENCRYPTION = Encryption(b"k" * 32)
_NAMES = ClickNames()
_NOW_MS = 1_767_225_600_123
_PROXIES = [
    ProxyTrust(proxies=["10.0.0.0/8"], header=header)
    for header in ("X-Forwarded-For", "Forwarded", "CF-Connecting-IP")
]
_PAGES = QueryFilter(["utm_*", "sku"])
BODY = b'{"event_id":"A"}'


def feed_records(data: bytes) -> None:
    """Read a segment; every byte is a record's, damage, or an unfinished tail."""
    records, damages = parse(data)
    read = sum(record.stop - record.start for record in records)
    lost = sum(len(damage.data) for damage in damages)
    assert read + lost <= len(data)


def feed_framed(data: bytes) -> None:
    """Read a sound record amid bytes: it is read back whatever stands around it."""
    cut = data.find(b"|")
    before, body = data[: cut + 1], data[cut + 1 :].replace(b"\n", b" ")
    record = encode_record(body, _NOW_MS, EVENT)
    records, _ = parse(before + b"\n" + record + data)
    assert any(each.body == body for each in records)
    torn, _ = parse(record[: len(before)])
    assert all(len(each.body) <= len(record) - HEADER_BYTES for each in torn)


def feed_sealed(data: bytes) -> None:
    """Read a sealed segment and a file of sealed letters; nothing but what was sealed opens."""
    for scanned in (ENCRYPTION.parse, ENCRYPTION.parse_dead_letters):
        records, _ = scanned(data)
        assert all(each.body == BODY for each in records if each.kind == EVENT)


def feed_state(data: bytes) -> None:
    """Read rows of the outbox, a destination's and a delivery's: they are a state, or damage."""
    destination, _, delivery = data.partition(b"\n")
    outbox = MemoryOutbox()
    outbox.values = {"destination:a": destination, "delivery:a:0": delivery, "other": data}
    with contextlib.suppress(DamagedOutboxError):
        State(outbox, ["a"]).commit()


def feed_forwarded(data: bytes) -> None:
    """Read a proxy's header."""
    text = data.decode("latin-1")
    for element in forwarded_elements_from_right([text]):
        parse_node(element.get("for", ""))
    parse_node(text)


def feed_consent(data: bytes) -> None:
    """Read a consent string."""
    read_tc_string(data.decode("latin-1"))


def feed_answer(data: bytes) -> None:
    """Read a seller's answer, with every kind of status."""
    for status in (200, 400, 429, 500):
        outcome_from_http(Response(status, {"content-type": "application/json"}, data), 3)
    stream = EventStream(lambda _: True)
    stream.feed(data)
    stream.finish()


def feed_mcp(data: bytes) -> None:
    """Read a message of an agent, as the answer to a call."""
    message = decode(data)
    for status in (200, 400, 500):
        outcome_from_mcp(message, Response(status, {"content-type": "application/json"}, data), 3)
    has_adcp_error(message)
    read_capabilities(message).rejection({"event_type": "lead", "user_match": message})


def feed_wait(data: bytes) -> None:
    """Read how long a seller asks to be left alone: an hour at most."""
    text = data.decode("latin-1")
    names = ("retry-after", "ratelimit", "ratelimit-remaining", "ratelimit-reset")
    headers = dict(zip(names, text.split("|"), strict=False))
    for retry_after in (decode(data), text):
        wait = requested_delay(headers, retry_after, _NOW_MS / 1000)
        assert wait is None or SHORTEST <= wait <= LONGEST


def feed_proxy(data: bytes) -> None:
    """Read the headers of proxies that are believed: an address comes of it, or none."""
    text = data.decode("latin-1")
    for trust in _PROXIES:
        names = (trust.header, "X-Forwarded-Proto", "X-Forwarded-Host")
        headers = [*zip(names, text.split("|"), strict=False), (trust.header, text)]
        found = explain(trust, "10.0.0.1", headers)
        assert found.client_ip is None or found.client_ip.isprintable()


def feed_page(data: bytes) -> None:
    """Read the address of a page: what leaves is short, printable and without an e-mail."""
    host, _, rest = data.decode("utf-8", "replace").partition("|")
    path, _, query = rest.partition("?")
    for url in (
        page_url("https", host, path, query, _PAGES),
        page_url("https", "shop.example", path, f"utm_source={query}", _PAGES),
    ):
        assert url is None or (url.isprintable() and url.isascii() and len(url) <= MAX_LENGTH)


def feed_cookie(data: bytes) -> None:
    """Read a browser's cookies."""
    text = data.decode("latin-1")
    found = _NAMES.in_cookie(read_cookie([text, f"adcp_click={text}"], "adcp_click") or "")
    assert found is None or found.id.isprintable()
    _NAMES.in_query(text)


def feed_token(data: bytes) -> None:
    """Read the token of a context: none is right but the one that was signed."""
    text = data.decode("latin-1")
    assert TOKENS.read(text).context is None or text.strip() == _TOKEN


TARGETS: dict[str, Callable[[bytes], None]] = {
    "records": feed_records,
    "framed": feed_framed,
    "sealed": feed_sealed,
    "state": feed_state,
    "forwarded": feed_forwarded,
    "consent": feed_consent,
    "answer": feed_answer,
    "mcp": feed_mcp,
    "wait": feed_wait,
    "proxy": feed_proxy,
    "page": feed_page,
    "cookie": feed_cookie,
    "token": feed_token,
}


def _state() -> bytes:
    outbox = MemoryOutbox()
    state = State(outbox, ["a"])
    state.destinations["a"].cursors["1.log"] = 40
    state.freeze("a", [Span("1.log", 0, 40)], 1, "TEST-1")
    state.commit()
    return outbox.values["destination:a"] + b"\n" + outbox.values["delivery:a:0"]


_SEALED_RECORD = encode_record(
    ENCRYPTION.encrypt(BODY, _NOW_MS, ENCRYPTED[EVENT]), _NOW_MS, ENCRYPTED[EVENT]
)
SEEDS: dict[str, bytes] = {
    "records": encode_record(BODY, _NOW_MS, EVENT) * 2,
    "framed": encode_record(BODY, _NOW_MS, EVENT)[:HEADER_BYTES] + b"|" + BODY,
    "sealed": _SEALED_RECORD * 2,
    "state": _state(),
    "mcp": b'{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"adcp_error":{"code":"A"}}}}',
    "wait": b'120|"default";r=0;t=30|0|1767225600',
    "proxy": b'for="[2001:db8::1]:80";proto=https, for=1.2.3.4|https|shop.example:443',
    "page": b"shop.example|/thanks/a@b.example?utm_source=x&sku=1&token=2",
    "forwarded": b'for="[2001:db8::1]:80";proto=https, for=1.2.3.4',
    "consent": b"CP1R2oAP1R2oBAfKABEEAwEgBYKAAKqqqoYgAgQAoABgALAB8AQA",
    "answer": b'{"data":{"events_received":3,"partial_failures":[{"event_id":"A"}]}}',
    "cookie": b"a=b; adcp_click=1.gclid.abc; c=d",
    "token": _TOKEN.encode(),
}
"""A sound input for each target."""
