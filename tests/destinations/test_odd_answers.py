"""Answers in odd encodings, compressions, headers and streams are read as far as can be."""

from __future__ import annotations

import gzip
import json
import zlib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.destinations.a2a import A2aClient, AgentCard
from adcp_tracker.destinations.base import Delivered, Paused, RequestBody, Retry, Timeouts
from adcp_tracker.destinations.http import HttpClient
from adcp_tracker.destinations.mcp import McpSession
from adcp_tracker.destinations.responses import Response, outcome_from_http
from tests.destinations.rawseller import answering, http, raw_seller

if TYPE_CHECKING:
    import socket

    from adcp_tracker.destinations.base import Outcome
    from tests.destinations.rawseller import RawRequest, RawSeller

TIMES = Timeouts(connect=5.0, read=5.0, write=5.0, total=30.0)
REPORT = {"events_received": 4, "events_processed": 4}
BODY = json.dumps(REPORT).encode()
BOM = b"\xef\xbb\xbf"
LATIN = json.dumps({**REPORT, "message": "für"}, ensure_ascii=False).encode("latin-1")


def raw_deflate(body: bytes) -> bytes:
    """Return a deflate stream without its zlib header, as some servers send it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def packed(coding: str, body: bytes) -> bytes:
    """Return an answer that says that it is compressed so."""
    return http(200, body, f"Content-Encoding: {coding}\r\n")


def with_head(head: str, body: bytes = BODY) -> bytes:
    """Return an answer with this status line and these headers."""
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def outcome_of(answer: bytes) -> Outcome:
    """Return what becomes of four events if a REST seller answers so."""
    with closing(HttpClient(TIMES)) as client, raw_seller(answering(answer)) as seller:
        response = client.request("POST", seller.origin, {}, b"{}")
    return outcome_from_http(response, 4) if isinstance(response, Response) else response


READABLE = {
    "a byte-order mark": http(200, BOM + BODY),
    "two of them": http(200, BOM + BOM + b"\r\n" + BODY + b"\r\n"),
    "UTF-16": http(200, json.dumps(REPORT).encode("utf-16")),
    "UTF-16 without a mark": http(200, json.dumps(REPORT).encode("utf-16-be")),
    "UTF-32": http(200, json.dumps(REPORT).encode("utf-32")),
    "Latin-1": http(200, LATIN, content_type="application/json; charset=iso-8859-1"),
    "Latin-1 that doesn't say so": http(200, LATIN),
    "an unknown charset": http(200, BODY, content_type="application/json; charset=x-klingon"),
    "blank lines before it": http(200, b"\r\n\r\n \t\x0b" + BODY),
    "null bytes behind it": http(200, BODY + b"\0\0"),
    "a comment behind it": http(200, BODY + b"\n<!-- 12 ms -->"),
    "another object behind it": http(200, BODY + b'\n{"ms":12}'),
    "progress before it": http(200, b'{"progress":1}\n' + BODY, content_type="text/plain"),
    "a script's notice before it": http(200, b"Notice: {x} undefined\n" + BODY),
    "a script's warning as a page": http(200, b"<b>Warning</b>\n" + BODY, content_type="text/html"),
    "a guard before it": http(200, b")]}',\n" + BODY),
    "a callback around it": http(200, b"cb(" + BODY + b");", content_type="text/javascript"),
    "a line break within a string": http(200, BODY[:-1] + b',"message":"a\nb"}'),
    "NaN": http(200, BODY[:-1] + b',"match_quality":NaN}'),
    "half an emoji": http(200, BODY[:-1] + b',"message":"\\ud83c"}'),
    "no type": http(200, BODY, content_type=""),
    "two types": http(200, BODY, "content-type: text/html\r\n"),
    "gzip without a header": http(200, gzip.compress(BODY)),
    "gzip that was unpacked": packed("gzip", BODY),
    "gzip named twice": http(200, gzip.compress(BODY), "Content-Encoding: gzip\r\n" * 2),
    "gzip as deflate": packed("deflate", gzip.compress(BODY)),
    "gzip in capitals": packed("GZip", gzip.compress(BOM + BODY)),
    "deflate": packed("deflate", zlib.compress(BODY)),
    "deflate without its header": packed("deflate", raw_deflate(BODY)),
    "deflate as gzip": packed("gzip", zlib.compress(BODY)),
    "brotli that was unpacked": packed("br", BODY),
    "headers in odd case": with_head("HTTP/1.1 200 OK\r\nCONTENT-type: Application/JSON"),
    "a length twice": http(200, BODY, f"content-length: {len(BODY)}\r\n"),
    "no reason": with_head("HTTP/1.1 200"),
    "hints first": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + http(200, BODY),
    "chunks in odd case": b"HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\n\r\n"
    + b"%X;ext=1\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(BODY), BODY),
}


@pytest.mark.parametrize("answer", READABLE.values(), ids=READABLE.keys())
def test_an_odd_answer_is_read(answer: bytes) -> None:
    """The seller says what it processed, so nothing is sent again."""
    outcome = outcome_of(answer)
    assert isinstance(outcome, Delivered), outcome
    assert (outcome.received, outcome.processed, outcome.is_confirmed) == (4, 4, True)


def test_an_answer_that_is_shorter_than_it_said_is_read_if_it_is_whole() -> None:
    """An object that closes has nothing to come."""

    def hang_up(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
        connection.sendall(http(200, BODY, length=len(BODY) + 9))
        connection.close()

    with closing(HttpClient(TIMES)) as client, raw_seller(hang_up) as seller:
        response = client.request("POST", seller.origin, {}, b"{}")
    assert isinstance(response, Response)
    assert response.truncated
    assert isinstance(outcome_from_http(response, 4), Delivered)


@pytest.mark.parametrize(
    "answer",
    [
        http(200, BODY[:-3]),
        http(200, b"{'events_received': 4}"),
        http(200, b'{"a":' * 100_000),
        http(200, b"{" * 100_000),
        packed("gzip", b"no gzip"),
        packed("gzip, gzip", gzip.compress(gzip.compress(BODY))),
        packed("br", b"\x0b\x00\x80{}\x03"),
        packed("deflate", b"\xff\xff\xff"),
    ],
    ids=["cut", "python", "deep", "braces", "no gzip", "twice", "brotli", "no deflate"],
)
def test_an_answer_that_cannot_be_read_is_a_success_whose_tries_are_counted(answer: bytes) -> None:
    """Its events are unconfirmed after three of them."""
    outcome = outcome_of(answer)
    assert isinstance(outcome, Retry)
    assert outcome.is_success


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("status", [200, 401])
def test_an_error_in_an_odd_encoding_is_one(encoding: str, status: int) -> None:
    """A key that isn't valid must not count as a delivery that can't be read."""
    error = json.dumps({"errors": [{"code": "AUTH_INVALID", "message": "No."}]})
    outcome = outcome_of(http(status, error.encode(encoding)))
    assert isinstance(outcome, Paused)
    assert outcome.code == "AUTH_INVALID"


@pytest.mark.parametrize(
    "envelope",
    [
        {"code": "SUCCESS", "msg": "ok"},
        {"code": "0"},
        {"error": {"code": 0, "message": "ok"}},
        {"error": "none"},
    ],
    ids=str,
)
def test_a_code_for_success_around_the_report_is_no_error(envelope: dict[str, object]) -> None:
    """Taken for one, events that were processed would become dead letters."""
    outcome = outcome_of(http(200, json.dumps({**envelope, "data": REPORT}).encode()))
    assert isinstance(outcome, Delivered), outcome
    assert outcome.processed == 4


def test_an_error_may_stand_alone_where_a_list_belongs() -> None:
    """It is no success, whatever counts stand beside it."""
    body = {**REPORT, "errors": {"code": "AUTH_INVALID", "message": "No."}}
    outcome = outcome_of(http(200, json.dumps(body).encode()))
    assert isinstance(outcome, Paused)


def test_a_page_with_json_in_it_is_no_answer() -> None:
    """Pages of sign-ins and maintenance have some for their scripts."""
    page = b'<html><script>var state = {"code": "X", "error": "no"}</script></html>'
    outcome = outcome_of(http(200, page, content_type="text/html"))
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.is_success) == ("not_json", False)


@pytest.mark.parametrize(
    "head", ["HTTP/1.1 200 OK\r\nno colon", "HTTP/2 200 OK", "HTTP/1.1 200 OK\r\nX : y"]
)
def test_an_answer_that_breaks_http_is_named_so(head: str) -> None:
    """The operator need not look for a broken network."""
    outcome = outcome_of(with_head(head))
    assert isinstance(outcome, Retry)
    assert outcome.code == "malformed_answer"


def agents_outcome(content_type: str, text: str) -> Outcome:
    """Return what becomes of four events if an agent over MCP answers so."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        message = json.loads(request.body)
        if message["method"] == "tools/call":
            said = text.replace("%ID", str(message["id"]))
            connection.sendall(http(200, said.encode(), content_type=content_type))
        else:
            opened = {"jsonrpc": "2.0", "id": message.get("id"), "result": {}}
            connection.sendall(http(200, json.dumps(opened).encode()))

    with closing(HttpClient(TIMES)) as client, raw_seller(script) as seller:
        session = McpSession(seller.origin, client, None)
        answer = session.call("log_event", RequestBody(b"{", (), b"}"))
    return answer if isinstance(answer, (Retry, Paused)) else session.outcome(answer, 4)


STREAM, JSON = "text/event-stream", "application/json"
MESSAGE = json.dumps({"jsonrpc": "2.0", "id": "ID", "result": {"structuredContent": REPORT}})
MESSAGE = MESSAGE.replace('"ID"', "%ID")
NOTE = '{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'
SPLIT = MESSAGE.replace(", ", ",\ndata:")

AGENTS = {
    "a byte-order mark": (STREAM, f"\ufeffdata: {MESSAGE}\n\n"),
    "CR LF": (STREAM, f"event: message\r\nid: 1\r\ndata: {MESSAGE}\r\n\r\n"),
    "CR": (STREAM, f"event: message\rdata: {MESSAGE}\r\r"),
    "comments and notes": (STREAM, f": hi\n\n:\ndata: {NOTE}\n\nretry: 5\n:x\ndata:{MESSAGE}\n\n"),
    "several data lines": (STREAM, f"data: {SPLIT}\n\n"),
    "no blank line at the end": (STREAM, f"data: {MESSAGE}"),
    "type and charset": ("Text/Event-Stream;charset=UTF-8", f"data: {MESSAGE}\n\n"),
    "two types": (f"{STREAM}, {JSON}", f"data: {MESSAGE}\n\n"),
    "a stream as JSON": (JSON, f"event: message\ndata: {MESSAGE}\n\n"),
    "a stream without a type": ("", f": hi\n\ndata: {MESSAGE}\n\n"),
    "JSON as a stream": (STREAM, MESSAGE),
    "JSON with a mark": (JSON, f"\ufeff{MESSAGE}"),
    "JSON in a list": (JSON, f"[{NOTE},{MESSAGE}]"),
    "an id as text": (JSON, MESSAGE.replace("%ID", '"%ID"')),
}


@pytest.mark.parametrize(("content_type", "text"), AGENTS.values(), ids=AGENTS.keys())
def test_an_agents_odd_answer_is_read(content_type: str, text: str) -> None:
    """What the body is decides, whatever type it is said to have."""
    outcome = agents_outcome(content_type, text)
    assert isinstance(outcome, Delivered), outcome
    assert (outcome.received, outcome.processed) == (4, 4)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_a2a_agents_odd_answer_is_read(encoding: str) -> None:
    """It is read by the same rules."""
    parts = [{"data": REPORT}]
    task = {"task": {"status": {"state": "TASK_STATE_COMPLETED"}, "artifacts": [{"parts": parts}]}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": task}).encode(encoding)
    with closing(HttpClient(TIMES)) as client, raw_seller(answering(http(200, body))) as seller:
        agent = A2aClient(seller.origin, client, None, AgentCard(seller.origin))
        answer = agent.call("log_event", RequestBody(b"{", (), b"}"))
    assert not isinstance(answer, (Retry, Paused))
    outcome = agent.outcome(answer, 4)
    assert isinstance(outcome, Delivered)
    assert outcome.processed == 4
