"""The seller's answers of the corpus, and what a destination makes of each.

Each answer is given to one request of a fresh destination through its ``transport``, so that
no network is between them; what was sent and what became of it is compared.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from adcp_tracker import Agent, Batch, Interchange

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1778051289.0
KINDS = ("interchange", "agent")
_CODES = [
    "RATE_LIMITED",
    "RATE_LIMIT_EXCEEDED",
    "TOO_MANY_REQUESTS",
    "SERVICE_UNAVAILABLE",
    "INTERNAL_ERROR",
    "INTERNAL_SERVER_ERROR",
    "TIMEOUT",
    "CONFLICT",
    "IDEMPOTENCY_IN_FLIGHT",
    "IDEMPOTENCY_CONFLICT",
    "IDEMPOTENCY_EXPIRED",
    "BATCH_TOO_LARGE",
    "PAYLOAD_TOO_LARGE",
    "REQUEST_TOO_LARGE",
    "VALIDATION_ERROR",
    "INVALID_REQUEST",
    "BAD_REQUEST",
    "INVALID_EVENT",
    "INVALID_EVENT_TYPE",
    "INVALID_EVENT_TIME",
    "MISSING_USER_MATCH",
    "INVALID_USER_MATCH",
    "INVALID_CURRENCY",
    "INVALID_VALUE",
    "EVENT_TOO_OLD",
    "FIELD_NOT_PERMITTED",
    "POLICY_VIOLATION",
    "UNSUPPORTED_FEATURE",
    "VERSION_UNSUPPORTED",
    "REFERENCE_NOT_FOUND",
    "EVENT_SOURCE_NOT_FOUND",
    "ADVERTISER_NOT_FOUND",
    "NOT_FOUND",
    "UNAUTHORIZED",
    "UNAUTHENTICATED",
    "INVALID_TOKEN",
    "FORBIDDEN",
    "ACCESS_DENIED",
    "PERMISSION_DENIED",
    "SCOPE_INSUFFICIENT",
    "READ_ONLY_SCOPE",
    "BRAND_REQUIRED",
    "METHOD_NOT_FOUND",
    "TOOL_NOT_FOUND",
    "AUTH_REQUIRED",
    "AUTHENTICATION_FAILED",
    "AUTHORIZATION_FAILED",
    "ACCOUNT_SUSPENDED",
    "AGENT_BLOCKED",
    "PIXEL_NOT_FOUND",
    "FROM_THE_FUTURE",
    "rate_limited",
]
_RECOVERIES = (None, "transient", "correctable", "terminal", "escalate")
_STATUSES = [
    *(200, 202, 204, 301, 302, 307, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410),
    *(411, 413, 414, 415, 418, 421, 422, 423, 425, 426, 429, 431, 451, 500, 501, 502, 503),
    *(504, 520, 529, 599),
]
EVENTS = [
    b'{"event_id":"%s","event_type":"lead","event_time":"2026-05-06T07:08:09Z",'
    b'"user_match":{"click_id":"c"}}' % name
    for name in (b"a", b"b", b"\xc3\xa4", b"d")
]


@attrs.frozen
class Answer:
    """One answer of a seller.

    Attributes:
        name: Names it.
        kind: Which destination gets it.
        status: Its HTTP status.
        body: Its body; the number of the call is put in the place of ``"@"``.
        headers: Its headers.
        test_event_code: What the batch is marked with.
        options: Settings of the destination.
        error: The name of an error of the transport that comes instead.
    """

    name: str
    kind: str
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = attrs.field(factory=dict)
    test_event_code: str | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    error: str = ""

    def __str__(self) -> str:
        more = f" {self.test_event_code} {self.options}" if self.test_event_code else ""
        told = f"{self.status} {self.headers} {self.body[:300]!r}{more}{self.options or ''}"
        return f"{self.kind}: {self.error or told}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _failed(kind: str, error: dict[str, Any], beside: dict[str, Any]) -> bytes:
    if kind == "interchange":
        return _json({"data": None, "error": error, **beside})
    content = {"adcp_error": error, **beside}
    return _rpc({"isError": True, "structuredContent": content})


def _rpc(result: object) -> bytes:
    return _json({"jsonrpc": "2.0", "id": "@", "result": result})


def _taken(kind: str, content: dict[str, Any], **beside: object) -> bytes:
    if kind == "interchange":
        return _json({"data": content, "error": None, **beside})
    return _rpc({"structuredContent": content, **beside})


def _status_of(code: str) -> int:
    if "LIMIT" in code:
        return 429
    if code.endswith("NOT_FOUND"):
        return 404
    return 401 if code.startswith(("AUTH", "UNAUTH")) else 400


def _coded() -> Iterator[tuple[str, dict[str, Any], int, dict[str, Any]]]:
    """Yield errors of the protocol: a name, the error, a status, and what stands beside it."""
    for number, code in enumerate(_CODES):
        for place, recovery in enumerate(_RECOVERIES):
            if place and (number + place) % 3:
                continue  # each code without a recovery, and with some of them
            more = {} if recovery is None else {"recovery": recovery}
            error = {"code": code, "message": "No.", **more}
            yield f"{code}-{recovery}", error, _status_of(code), {}
    for code in ("VALIDATION_ERROR", "INVALID_EVENT_TIME", "POLICY_VIOLATION", "UNKNOWN_CODE"):
        for name, more in _PLACES.items():
            yield f"{code}-{name}", {"code": code, "message": "No.", **more}, 400, {}
    waits: list[object] = [5, "7", 0, -1, 1e9, "soon", None, [], True, 2.5]
    for wait in waits:
        limited = {"code": "RATE_LIMITED", "message": "No.", "retry_after": wait}
        yield f"wait-{wait}", limited, 429, {}
    for code in ("SERVICE_UNAVAILABLE", "AUTH_REQUIRED", "VALIDATION_ERROR"):
        yield f"replayed-{code}", {"code": code, "message": "No."}, 503, {"replayed": True}


_PLACES: dict[str, dict[str, Any]] = {
    "pointer": {"issues": [{"pointer": "/events/2/event_time", "keyword": "format"}]},
    "dotted": {"issues": [{"path": "events[2].event_time", "keyword": "format"}]},
    "parts": {"issues": [{"path": ["events", 1, "event_id"], "message": "bad"}]},
    "details": {"details": {"issues": [{"pointer": "/events/0/event_time"}]}},
    "two": {"issues": [{"pointer": "/events/0"}, {"pointer": "/events/3/user_match"}]},
    "field": {"field": "events[2].event_time"},
    "far": {"issues": [{"pointer": "/events/99/event_time"}]},
    "request": {"issues": [{"pointer": "/event_source_id", "keyword": "required"}]},
    "size": {"issues": [{"pointer": "/events", "keyword": "maxItems"}]},
    "payload": {"issues": [{"pointer": "/", "keyword": "payload_size"}]},
    "missing": {"issues": [{"pointer": "", "keyword": "required"}]},
    "odd": {"issues": [5, None, {"pointer": 5}, {"path": {}}], "details": "x"},
    "response": {"details": {"side": "response"}},
    "versions": {"details": {"supported_versions": ["3.0", 5, "9"]}},
}
_SUCCESSES: dict[str, dict[str, Any]] = {
    "all": {"events_received": 4, "events_processed": 4},
    "fewer": {"events_received": 4, "events_processed": 2},
    "received-fewer": {"events_received": 3, "events_processed": 3},
    "more": {"events_received": 5, "events_processed": 5},
    "none": {"events_received": 4, "events_processed": 0},
    "empty": {},
    "types": {"events_received": "four", "events_processed": []},
    "negative": {"events_received": -1, "events_processed": 4},
    "huge": {"events_received": 10**30, "events_processed": 1.5},
    "partial": {
        "events_received": 4,
        "events_processed": 3,
        "partial_failures": [{"event_id": "b", "code": "INVALID_EVENT_TIME", "message": "Old."}],
    },
    "partial-two": {
        "events_received": 4,
        "events_processed": 2,
        "partial_failures": [
            {"event_id": "ä", "code": "POLICY_VIOLATION", "message": "No\x1b[31m."},
            {"event_id": "d", "code": "", "message": 5},
        ],
    },
    "partial-unknown": {
        "events_received": 4,
        "events_processed": 3,
        "partial_failures": [{"event_id": "zzz", "code": "X"}, {"code": "Y"}, 5, None],
    },
    "partial-index": {
        "events_received": 4,
        "events_processed": 3,
        "partial_failures": [{"index": 1, "code": "X", "message": "m"}],
    },
    "partial-errors": {
        "events_received": 4,
        "events_processed": 3,
        "errors": [{"code": "X", "field": "events[1].event_time", "message": "m"}],
    },
    "partial-all": {
        "events_received": 4,
        "events_processed": 0,
        "partial_failures": [
            {"event_id": name, "code": "INVALID_CURRENCY", "message": "m"} for name in "abäd"
        ],
    },
    "partial-text": {"events_received": 4, "partial_failures": "some"},
    "warnings": {
        "events_received": 4,
        "events_processed": 4,
        "warnings": ["Send phone numbers.", 5, "a\x00b", "x" * 500],
        "match_quality": 0.75,
    },
    "quality": {"events_received": 4, "events_processed": 4, "match_quality": 7},
    "advice": {
        "events_received": 4,
        "events_processed": 4,
        "errors": [{"code": "X", "severity": "warning", "message": "Mind."}],
    },
    "replayed": {"events_received": 4, "events_processed": 4, "replayed": True},
    "failed": {"status": "failed"},
    "rejected": {"status": "rejected", "events_received": 4, "events_processed": 4},
    "canceled": {"status": "canceled"},
    "input": {"status": "input-required"},
    "auth": {"status": "auth-required"},
    "working": {"status": "working", "task_id": "t-1"},
    "completed": {"status": "completed", "events_received": 4, "events_processed": 4},
    "bare-error": {"code": "INVALID_REQUEST", "message": "No."},
    "error-text": {"error": "invalid_token", "error_description": "Expired."},
    "errors": {"errors": [{"code": "INVALID_EVENT_TIME", "message": "m"}]},
    "errors-text": {"errors": ["It broke."]},
}
_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "application/json"),
    "page": (b"<html>Welcome</html>", "text/html"),
    "words": (b"It went well, I think.", "text/plain"),
    "cut": (b'{"events_rece', "application/json"),
    "list": (b"[1,2]", "application/json"),
    "null": (b"null", "application/json"),
    "number": (b"5", "application/json"),
    "deep": (b"[" * 5000, "application/json"),
    "utf-16": ("{}".encode("utf-16"), "application/json"),
    "surrogate": (b'{"error":{"code":"\\ud800"}}', "application/json"),
}
_HEADERS: dict[str, dict[str, str]] = {
    "seconds": {"Retry-After": "7"},
    "date": {"Retry-After": "Wed, 06 May 2026 07:10:00 GMT"},
    "past": {"Retry-After": "Wed, 06 May 2020 07:10:00 GMT"},
    "words": {"Retry-After": "soon"},
    "long": {"Retry-After": "99999999"},
    "zero": {"Retry-After": "0"},
    "reset": {"X-RateLimit-Reset": "9", "X-RateLimit-Remaining": "0"},
    "draft": {"RateLimit-Remaining": "0", "RateLimit-Reset": "11"},
}
_RPC_ERRORS = [-32700, -32600, -32601, -32602, -32603, -32000, -32001, 5]
_ERRORS = ["ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError"]
_ERRORS += ["RemoteProtocolError", "PoolTimeout", "ProxyError", "DecodingError", "TooManyRedirects"]


def answers() -> list[Answer]:
    """Return all answers."""
    found: list[Answer] = []
    for kind in KINDS:
        found += _of_kind(kind)
    for code in _RPC_ERRORS:
        body = _json({"jsonrpc": "2.0", "id": "@", "error": {"code": code, "message": "No."}})
        found.append(Answer(f"agent-rpc{code}", "agent", 200, body, _JSON))
    for name, result in _TOOL_RESULTS.items():
        found.append(Answer(f"agent-tool-{name}", "agent", 200, _rpc(result), _JSON))
    streamed = b"event: message\ndata: " + _taken("agent", _SUCCESSES["partial"]) + b"\n\n"
    stream = {"Content-Type": "text/event-stream"}
    found.append(Answer("agent-stream", "agent", 200, streamed, stream))
    found.append(Answer("agent-stream-empty", "agent", 200, b"", stream))
    for line in ("3.0", "3.1", "3.2"):
        told = _taken("agent", _SUCCESSES["all"])
        options = {"adcp_version": line}
        found.append(Answer(f"agent-line-{line}", "agent", 200, told, _JSON, options=options))
    told = _taken("interchange", _SUCCESSES["all"])
    gzip = {"compression": "gzip"}
    found.append(Answer("interchange-gzip", "interchange", 200, told, _JSON, options=gzip))
    found.append(Answer("interchange-no-gzip", "interchange", 415, b"", _JSON, options=gzip))
    return found


_JSON = {"Content-Type": "application/json"}
_TOOL_RESULTS: dict[str, Any] = {
    "words": {"isError": True, "content": [{"type": "text", "text": "db is locked"}]},
    "json-text": {
        "isError": True,
        "content": [{"type": "text", "text": '{"adcp_error":{"code":"RATE_LIMITED"}}'}],
    },
    "taken-text": {
        "content": [{"type": "text", "text": '{"events_received":4,"events_processed":4}'}]
    },
    "nothing": {},
    "null": None,
    "content": {"content": "x"},
}


def _of_kind(kind: str) -> Iterator[Answer]:
    for name, error, status, beside in _coded():
        http_status = status if kind == "interchange" else 200
        yield Answer(f"{kind}-{name}", kind, http_status, _failed(kind, error, beside), _JSON)
    for name, content in _SUCCESSES.items():
        yield Answer(f"{kind}-taken-{name}", kind, 200, _taken(kind, content), _JSON)
    yield Answer(
        f"{kind}-test", kind, 200, _taken(kind, _SUCCESSES["all"]), _JSON, test_event_code="T-ä"
    )
    for status in _STATUSES:
        yield Answer(f"{kind}-status-{status}", kind, status)
    for name, (body, content_type) in _BODIES.items():
        headers = {"Content-Type": content_type}
        for status in (200, 500):
            yield Answer(f"{kind}-{status}-{name}", kind, status, body, headers)
    for name, headers in _HEADERS.items():
        for status in (200, 429, 503):
            body = _taken(kind, _SUCCESSES["all"]) if status == 200 else b""
            yield Answer(f"{kind}-{status}-header-{name}", kind, status, body, {**_JSON, **headers})
    for broken in _ERRORS:
        yield Answer(f"{kind}-{broken}", kind, error=broken)


@attrs.define
class Wire:
    """Answers requests, and keeps them."""

    answer: Answer
    sent: list[dict[str, Any]] = attrs.field(factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        message: dict[str, Any] = {}
        if request.headers.get("content-encoding") != "gzip" and request.content:
            message = json.loads(request.content)
        self.sent.append(_sent(request))
        method = message.get("method", "tools/call")
        if method != "tools/call":
            opened = {"tools": [{"name": "log_event"}]}
            told = {"jsonrpc": "2.0", "id": message.get("id"), "result": opened}
            return httpx.Response(200, json=told)
        if self.answer.error:
            raise getattr(httpx, self.answer.error)("no", request=request)
        number = _json(message.get("id"))
        body = self.answer.body.replace(b'"@"', number)
        return httpx.Response(self.answer.status, content=body, headers=self.answer.headers)


def _sent(request: httpx.Request) -> dict[str, Any]:
    """Return a request as far as it must stay the same."""
    names = ("idempotency-key", "content-type", "content-encoding", "authorization", "accept")
    headers = {name: request.headers[name] for name in names if name in request.headers}
    told: dict[str, Any] = {"method": request.method, "url": str(request.url), "headers": headers}
    if headers.get("content-encoding") == "gzip":
        import gzip  # noqa: PLC0415 - rarely needed

        return {**told, "body": gzip.decompress(request.content).decode()}
    body = request.content
    if b'"clientInfo"' in body:  # says the library's version
        message = json.loads(body)
        message["params"].pop("clientInfo")
        body = _json(message)
    return {**told, "body": body.decode()}


def outcome_of(answer: Answer) -> dict[str, Any]:
    """Send one batch to a fresh destination, and return what was sent and came of it."""
    wire = Wire(answer)
    common: dict[str, Any] = {
        "event_source_id": "website_pixel",
        "transport": httpx.MockTransport(wire.handle),
        "now": lambda: NOW,
        **answer.options,
    }
    if answer.kind == "agent":
        destination: Agent | Interchange = Agent(
            url="https://seller.example/mcp", token="t-1", **common
        )
    else:
        destination = Interchange(
            advertiser_id="12345",
            api_key="k-1",
            base_url="https://interchange.example/api",
            **common,
        )
    batch = Batch(EVENTS, bytes(range(32)), answer.test_event_code)
    try:
        outcome = destination.send(batch)
    finally:
        destination.close()
    sent = wire.sent
    if answer.kind == "agent" and answer.name != "agent-taken-all":
        sent = sent[-1:]  # how a session is opened is compared once
    return {"outcome": _plain(outcome), "requests": sent}


_WORDS = frozenset({"message", "remedy", "warnings"})


_SINCE: dict[str, object] = {"nameless_failures": 0, "is_confirmed": True}
"""Fields that came after the recording, and what they are where nothing has changed."""


def _plain(outcome: Any) -> dict[str, Any]:  # noqa: ANN401 - one of several classes
    """Return an outcome without the words that are for a person, and without what is empty."""
    plain: dict[str, Any] = {"kind": type(outcome).__name__}
    for name, value in attrs.asdict(outcome, recurse=False).items():
        if name == "failures":
            shown = [
                {"code": each.code, "event_id": each.event_id, "index": each.index}
                for each in value
            ]
            if shown:
                plain[name] = shown
        elif name in _SINCE and value == _SINCE[name]:
            continue
        elif name not in _WORDS and value is not None and value is not False and value != "":
            plain[name] = value
    return plain
