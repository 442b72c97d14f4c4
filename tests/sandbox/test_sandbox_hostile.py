"""What nobody in his right mind sends to the local seller: it refuses that, and never fails."""

from __future__ import annotations

import gzip
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import attrs
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import InjectedFault, Sandbox, SandboxConfig
from tests.faults.share import share
from tests.support.seller import ADVERTISER, PLAIN, SOURCE, TOKEN, run_seller
from tests.support.wire import AUTHORIZED, McpClient, make_event, request, send

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LOOKS = ("events", "bad", "requests", "counts", "faults", "config")
ENDLESS = "9" * 5_000
KEY = "key-0123456789abcdef"
REST = f"/advertisers/{ADVERTISER}"
PATHS = (
    "/",
    "/mcp",
    *(f"/_sandbox/{name}" for name in (*LOOKS, "reset")),
    *(f"{REST}/{name}" for name in ("log-event", "event-sources", "events/summary")),
    f"{REST}/event-sources/sync",
)
SUMMARY = f"{REST}/events/summary?eventType=conversion"
LOG_EVENT = {"event_source_id": SOURCE, "events": [make_event(ext={"a": 1})]}
SYNC = {
    "account": {"account_id": ADVERTISER},
    "event_sources": [{"event_source_id": "app", "surface": {"category": "app", "ext": {}}}],
}
TOOL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "log_event",
        "arguments": LOG_EVENT
        | {"idempotency_key": KEY, "adcp_version": "3.1", "context": {"a": 1}},
    },
}
WISHES = ({"status": 503, "times": 2}, {"max_events": 3, "rate_limit": 2})


DEEPEST = "deeper than this test itself can go"


def nested(levels: int) -> Any:  # noqa: ANN401 - JSON
    """Return lists in lists."""
    inner: list[object] = []
    for _ in range(levels - 1):
        inner = [inner]
    return inner


_NASTY = (
    DEEPEST,
    ENDLESS,
    f"{ENDLESS}.1",
    f"3.{ENDLESS}",
    "\ud800",
    "\x00",
    "NaN",
    "-inf",
    "1e999",
    "true",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:60-23:59",
    "9999-12-31T23:59:59-23:59",
)
_text = st.text(st.characters(), max_size=8) | st.sampled_from(_NASTY)
_scalar = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 2**53, 2**63, -(2**63) - 1, 2**64, 10**400, 1e308, -1e308])
    | st.floats()
    | st.integers(-999, 9999)
    | _text
)
_value = st.recursive(
    _scalar | st.sampled_from([98, 99, 100, 101, 254, 255, 500]).map(nested),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a sound document with something else in one place."""
    steps = [*document] if isinstance(document, dict) else [*range(len(document))]
    step = draw(st.sampled_from(steps))
    deeper = document[step]
    deep = isinstance(deeper, (dict, list)) and deeper and draw(st.integers(0, 4))
    value = draw(spoiled(deeper) if deep else _value)
    if isinstance(document, dict):
        return document | {step: value}
    return [*document[:step], value, *document[step + 1 :]]


_document = st.sampled_from([LOG_EVENT, SYNC, TOOL, *WISHES]).flatmap(spoiled)


def encoded(document: object) -> bytes:
    """Return JSON that not every reader would take."""
    text = json.dumps(document)
    return text.replace(json.dumps(DEEPEST), "[" * 1_024 + "]" * 1_024).encode()


_encoded = (_document | _value).map(encoded)
_repeated = _encoded.map(lambda body: body.replace(b'"a": 1', b'"a": 1, "a": NaN, "a": {}'))
_body = _encoded | _repeated | st.binary(max_size=50) | _encoded.map(gzip.compress)
_query = st.sampled_from(["", "?"]) | st.builds(
    lambda name, value: f"?{name}={value}",
    st.sampled_from(["limit", "take", "skip", "eventType=conversion&startHour"]),
    _text.map(lambda text: quote(text, errors="replace")) | st.sampled_from(["%", "%ff", "%zz"]),
)
_path = st.builds(str.__add__, st.sampled_from(PATHS), _query) | st.builds(
    lambda parts: "/" + "/".join(parts),
    st.lists(st.sampled_from(["_sandbox", "mcp", "advertisers", "%ff", "%00", "..", "*", ""])),
)
_NAMES = (
    "Accept Authorization Content-Encoding Content-Type Cookie Expect Mcp-Protocol-Version "
    "Mcp-Session-Id Origin Sec-Fetch-Site Upgrade X-More"
)
_header = st.tuples(
    st.sampled_from(_NAMES.split()),
    st.sampled_from([b"application/json", b"gzip", b"cross-site", b"100-continue", b"websocket"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=8).map(
        lambda text: text.encode("latin-1")
    ),
)
_method = st.sampled_from(
    ["GET", "POST", "POST", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "get"]
)


@attrs.frozen
class Message:
    """A request, byte for byte."""

    method: str
    path: str
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""
    host: bytes = b"127.0.0.1"
    chunked: bool = False

    def to_bytes(self) -> bytes:
        """Return what goes over the wire."""
        usual = {
            "Authorization": f"Bearer {TOKEN}".encode(),
            "Accept": b"application/json, text/event-stream",
            "Content-Type": b"application/json",
        }
        headers = [*(usual | dict(self.headers)).items(), ("Host", self.host)]
        body = self.body
        if self.chunked:
            headers.append(("Transfer-Encoding", b"chunked"))
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        else:
            headers.append(("Content-Length", str(len(body)).encode()))
        lines = [f"{self.method} {self.path} HTTP/1.1".encode("latin-1"), b"Connection: close"]
        lines += [name.encode() + b": " + value for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


_message = st.builds(
    Message,
    _method,
    _path,
    st.lists(_header, max_size=3).map(tuple),
    _body,
    st.sampled_from([b"127.0.0.1", b"[::1", b"[::1]x", b"localhost:\xbd", b"127.0.0.1:port"]),
    st.booleans(),
)


def status_of(seller: Sandbox, message: Message) -> int:
    """Send the message, and return the last status that comes back."""
    place = urlsplit(seller.origin)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(message.to_bytes())
        with connection.makefile("rb") as answer:
            line: bytes = answer.readline()
            while line.startswith(b"HTTP/1.1 1"):
                while answer.readline() not in {b"\r\n", b""}:
                    pass
                line = answer.readline()
    return int(line.split()[1])


def expect_it_sound(seller: Sandbox) -> None:
    """Look at everything, and use everything, once nothing is to fail any more."""
    seller.clear_faults()
    client = McpClient(seller.mcp_url)
    with httpx.Client(base_url=seller.origin, headers=AUTHORIZED, verify=PLAIN) as web:
        for _ in range(2):
            answers = [web.get("/"), *(web.get(f"/_sandbox/{name}") for name in LOOKS)]
            answers.append(web.get(f"{REST}/event-sources"))
            hours = "&startHour=2026-01-01&endHour=2100-01-01"
            answers.append(web.get(f"{SUMMARY}{hours}"))
            answers.append(web.post(f"{REST}/event-sources/sync", json=SYNC))
            answers.append(web.post(f"{REST}/log-event", json=LOG_EVENT))
            gzipped = {"Content-Encoding": "gzip"}
            packed = gzip.compress(json.dumps(LOG_EVENT).encode())
            answers.append(web.post(f"{REST}/log-event", content=packed, headers=gzipped))
            for name in ("log_event", "sync_event_sources", "get_adcp_capabilities"):
                use = {"name": name, "arguments": TOOL["params"]["arguments"]}  # type: ignore[index]
                answers.append(client.post("tools/call", use))
            answers.append(web.post("/_sandbox/reset"))
            assert [answer for answer in answers if answer.is_server_error] == []


@pytest.mark.slow
@share
@given(_message)
@example(Message("GET", f"/_sandbox/events?limit={ENDLESS}"))
@example(Message("GET", f"{REST}/event-sources?take={ENDLESS}"))
@example(Message("POST", "/mcp", body=encoded(TOOL | {"id": nested(300)})))
@example(Message("POST", f"{REST}/log-event", body=encoded(LOG_EVENT | {"events": nested(300)})))
def test_no_request_makes_the_seller_fail(message: Message) -> None:
    """Neither by itself nor by what is left of it; a fault that was asked for is another thing."""
    with run_seller(sessions=False) as seller:
        assert status_of(seller, message) < 500
        expect_it_sound(seller)


def _settings_of(kind: type[attrs.AttrsInstance]) -> SearchStrategy[dict[str, object]]:
    names = st.sampled_from([field.name for field in attrs.fields(kind)])
    return st.dictionaries(names, _value, min_size=1, max_size=3)


@pytest.mark.slow
@share
@given(_settings_of(SandboxConfig))
@example({"versions": []})
@example({"keep_events": -1})
@example({"max_bytes": 2**63})
@example({"idempotency_ttl_s": "inf"})
@example({"rate_limit": 1, "rate_window_s": "nan"})
@example({"summary_delay_s": "nan"})
@example({"seed": 1e300})
def test_no_setting_makes_the_seller_fail(settings: dict[str, object]) -> None:
    """Settings that cannot be gone by are refused, and all others can be."""
    with run_seller(sessions=False) as seller:
        body = encoded(settings)
        assert status_of(seller, Message("POST", "/_sandbox/config", body=body)) in {200, 400}
        expect_it_sound(seller)


@share
@given(_settings_of(InjectedFault))
@example({"times": 1e300})
@example({"lose": 2**63})
def test_no_fault_makes_the_control_fail(settings: dict[str, object]) -> None:
    """Faults that cannot be shown are refused, and all others are shown."""
    with run_seller() as seller:
        body = encoded(settings)
        assert status_of(seller, Message("POST", "/_sandbox/faults", body=body)) in {200, 400}
        assert request("GET", f"{seller.origin}/_sandbox/faults").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"status": 199},
        {"status": 1000},
        {"latency_ms": float("nan")},
        {"headers": {"X-A": "b\r\nX-C: d"}},
        {"headers": {"X A": "b"}},
        {"headers": {"X-A": "\u20ac"}},
        {"headers": {"X-A": " b"}},
        {"retry_after": "1\n"},
        {"location": "/\u20ac"},
        {"content_type": "text/plain\r\n"},
    ],
    ids=str,
)
def test_a_fault_that_http_cannot_carry_is_refused(settings: dict[str, Any]) -> None:
    """Otherwise the seller would fail in another way than it was asked to."""
    with pytest.raises(ConfigurationError, match=f"^{next(iter(settings))}: "):
        InjectedFault(**settings)


@pytest.mark.parametrize("limit", [ENDLESS, "-1", "1.0", "\u0663", ""], ids=range(5))
def test_a_limit_that_is_no_number_is_refused(seller: Sandbox, limit: str) -> None:
    """However many digits it has."""
    for name in ("events", "bad", "requests"):
        url = f"{seller.origin}/_sandbox/{name}"
        answer = request("GET", url, params={"limit": limit})
        assert answer.status_code == 400
        expected = "limit: expected a whole number of up to 18 digits."
        assert answer.json() == {"error": expected}


@pytest.mark.parametrize("name", ["take", "skip"])
def test_a_page_of_sources_has_a_number(seller: Sandbox, name: str) -> None:
    """One that nobody can read is a wrong request."""
    url = f"{seller.origin}{REST}/event-sources"
    answer = request("GET", url, params={name: ENDLESS}, headers=AUTHORIZED)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"{name} must be a whole number of up to 18 digits."


@pytest.mark.parametrize("version", [f"{ENDLESS}.1", f"3.{ENDLESS}"], ids=range(2))
def test_a_version_of_endless_digits_is_not_spoken(seller: Sandbox, version: str) -> None:
    """As any other that the seller does not know."""
    client = McpClient(seller.mcp_url)
    client.initialize()
    result = client.use("get_adcp_capabilities", adcp_version=version)
    assert result["structuredContent"]["adcp_error"]["code"] == "VERSION_UNSUPPORTED"


@pytest.mark.parametrize("levels", [101, 255, 500])
def test_json_that_is_nested_too_deep_is_refused(seller: Sandbox, levels: int) -> None:
    """It is refused before anything recurses into it."""
    assert send(seller, make_event(ext={"a": nested(levels)})).status_code == 400
    message = TOOL | {"id": nested(levels)}
    headers = McpClient("").headers
    assert request("POST", seller.mcp_url, json=message, headers=headers).status_code == 400
    url = f"{seller.origin}/_sandbox/faults"
    answer = request("POST", url, json={"details": nested(levels)})
    assert answer.status_code == 400
    assert "nested over 100 levels deep" in answer.json()["error"]


def test_what_is_not_nested_too_deep_is_taken_and_shown(seller: Sandbox) -> None:
    """A hundred levels are many, counted from the request's own."""
    event = make_event(ext={"a": nested(96)})
    assert send(seller, event).status_code == 200
    assert send(seller, make_event(ext={"a": nested(97)})).status_code == 400
    assert [kept["event"] for kept in request("GET", _events(seller)).json()] == [event]
    assert request("GET", seller.origin).status_code == 200


def _events(seller: Sandbox) -> str:
    return f"{seller.origin}/_sandbox/events"
