"""A minimal MCP client over streamable HTTP, for bodies that are already bytes.

The first request of a process opens a session: ``initialize``, then
``notifications/initialized``. A server that lost it answers 404, or 400 without an AdCP error;
then the client opens a new session and sends the same bytes again.

Revision 2026-07-28 has no sessions: each request stands alone. A server that only knows one of
the two refuses the other; the client then tries that and goes on with what worked.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker._version import __version__
from adcp_tracker.destinations.base import (
    Paused,
    Rejected,
    RequestBody,
    Retry,
    TooLarge,
    request_headers,
)
from adcp_tracker.destinations.error_codes import RPC_CODES, UNKNOWN
from adcp_tracker.destinations.responses import (
    Response,
    SellerError,
    apply_rule,
    decode,
    decode_text,
    find_error,
    has_report,
    outcome_from_error,
    outcome_from_http,
    outcome_from_task,
    read_error,
    sanitize,
    unwrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from adcp_tracker.destinations.base import Outcome
    from adcp_tracker.destinations.http import HttpClient


_EMPTY_ERROR = SellerError()

_MOST_TEXTS = 10
_ASK = "Ask the seller for a tool log_event that needs no further input."


def outcome_from_mcp(message: object, response: Response, count: int) -> Outcome:
    """Return the outcome of a ``tools/call``.

    Args:
        message: The JSON-RPC message; ``None`` if the response has none.
        response: The HTTP response.
        count: How many events were sent.
    """
    if not isinstance(message, dict) and not response.is_success:
        return outcome_from_http(response, count)
    body = message if isinstance(message, dict) else {}
    error, result = body.get("error"), body.get("result")
    content = result.get("structuredContent") if isinstance(result, dict) else None
    if isinstance(error, dict) and adcp_error(content) is None:
        return outcome_from_rpc_error(error, response, count)
    if isinstance(result, dict):
        return _result(result, response, count)
    if response.is_success and not error:
        return outcome_from_task(None, response, count)
    return outcome_from_error(_EMPTY_ERROR, response, count)


def has_adcp_error(message: object) -> bool:
    """Return whether a JSON-RPC error has an AdCP error in it."""
    error = message.get("error") if isinstance(message, dict) else None
    return isinstance(error, dict) and adcp_error(error.get("data")) is not None


def structured(result: Mapping[str, object]) -> dict[str, object] | None:
    """Return a tool's result as an object, from ``structuredContent`` or its text."""
    content = result.get("structuredContent")
    # Frameworks put what isn't declared as an object under the key "result".
    if isinstance(content, dict) and set(content) == {"result"}:
        content = next((body for body in unwrapped(content) if body is not content), None)
    return content if isinstance(content, dict) else _text_object(result)


def _result(result: Mapping[str, object], response: Response, count: int) -> Outcome:
    content, text = result.get("structuredContent"), _text_object(result)
    found = adcp_error(content) or adcp_error(text) or find_error(content) or find_error(text)
    if found is not None:
        replayed = any(isinstance(b, dict) and b.get("replayed") is True for b in (content, text))
        return outcome_from_error(read_error(found, replayed=replayed), response, count)
    if result.get("isError") is True:
        words = sanitize(" ".join(_texts(result))) or "The tool failed without saying why."
        return Retry("tool_error", words, budgeted=True)
    if result.get("resultType") == "input_required":
        return Paused("MCP_INPUT_REQUIRED", "The tool asks for more input.", _ASK)
    if not response.is_success:
        return outcome_from_error(_EMPTY_ERROR, response, count)
    bodies = (structured(result), text)
    report = next(filter(has_report, bodies), bodies[0])
    return outcome_from_task(report, response, count)


def outcome_from_rpc_error(error: Mapping[str, object], response: Response, count: int) -> Outcome:
    """Return the outcome of a JSON-RPC error in the response to `count` events."""
    data = error.get("data")
    found = adcp_error(data)
    if found is None and isinstance(data, dict) and isinstance(data.get("code"), str):
        found = data
    if found is not None:
        return outcome_from_error(read_error(found), response, count)
    if not response.is_success:
        return outcome_from_error(
            SellerError(message=sanitize(error.get("message"))), response, count
        )
    number = error.get("code")
    rule = RPC_CODES.get(number, UNKNOWN) if isinstance(number, int) else UNKNOWN
    issues = read_error(data).issues if isinstance(data, dict) else ()
    said = SellerError(
        f"rpc_{sanitize(str(number), 20)}", sanitize(error.get("message")), issues=issues
    )
    return apply_rule(rule, said, response, count)


def adcp_error(body: object) -> Mapping[str, object] | None:
    """Return the error of AdCP in a result, if it has one."""
    found = body.get("adcp_error") if isinstance(body, dict) else None
    return found if isinstance(found, dict) and found else None


def _text_object(result: Mapping[str, object]) -> dict[str, object] | None:
    for text in _texts(result):
        payload = decode_text(text)
        if isinstance(payload, dict):
            return payload
    return None


def _texts(result: Mapping[str, object]) -> list[str]:
    content = result.get("content")
    items = content[:_MOST_TEXTS] if isinstance(content, list) else []
    texts = (item.get("text") for item in items if isinstance(item, dict))
    return [text for text in texts if isinstance(text, str)]


_BOM = b"\xef\xbb\xbf"


@attrs.define(eq=False)
class EventStream:
    """Parses server-sent events chunk by chunk until the wanted message has arrived.

    Lines may end in LF, CR LF or CR, and a chunk may end anywhere. Comments, names, ids and
    other messages are skipped.

    Attributes:
        wanted: Returns whether a message is the wanted one.
        on_request: Gets each request that the server makes in between.
        message: The wanted message, once it has arrived.
    """

    wanted: Callable[[object], bool]
    on_request: Callable[[dict[str, object]], None] = lambda _: None
    message: object = None
    _rest: bytearray = attrs.field(factory=bytearray, init=False)
    _data: list[bytes] = attrs.field(factory=list, init=False)

    def feed(self, piece: bytes) -> bool:
        """Add a chunk; return whether the message has arrived."""
        self._rest += piece
        if self.message is None and (b"\n" in piece or b"\r" in piece):
            lines = self._rest.splitlines(keepends=True)
            # A CR at the very end may be half of a CR LF.
            whole = lines[-1].endswith(b"\n")
            self._rest = bytearray() if whole else lines.pop()
            self._take(lines)
        return self.message is not None

    def finish(self) -> object:
        """Return the message, even if the last event's blank line is missing."""
        if self.message is None:
            self._take([*self._rest.splitlines(keepends=True), bytearray()])
        return self.message

    def _take(self, lines: list[bytearray]) -> None:
        for line in lines:
            text = bytes(line).removeprefix(_BOM).rstrip(b"\r\n")
            if not text:
                self._dispatch()
            elif text == b"data" or text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))

    def _dispatch(self) -> None:
        message = decode(b"\n".join(self._data)) if self._data else None
        self._data.clear()
        if self.message is None and message is not None and self.wanted(message):
            self.message = message
        elif isinstance(message, dict) and "method" in message and "id" in message:
            self.on_request(message)


PROTOCOL = "2025-06-18"
STATELESS_PROTOCOL = "2026-07-28"

_VERSION_REFUSED = -32022
_NO_SUCH_METHOD = -32601
_MOST_REPLIES = 100
_MOST_PAGES = 20
_META = "io.modelcontextprotocol/"
_REFUSED_STATUSES = frozenset({401, 403, 407, 429})
_REMEDY = "Check url. The server there doesn't speak MCP over streamable HTTP."
_SESSION = re.compile(r"[\x21-\x7e]{1,1024}")
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,32}")
_NOT_FOUND = 404
_BAD_REQUEST = 400
_SERVER_ERROR = 500
_INVALID_PARAMS = -32602


@attrs.frozen
class Answer:
    """An HTTP response and the JSON-RPC message in it, if there is one."""

    response: Response
    message: object

    @property
    def result(self) -> dict[str, object] | None:
        """Return the result, if the message has one."""
        result = self.message.get("result") if isinstance(self.message, dict) else None
        return result if isinstance(result, dict) and self.response.is_success else None

    @property
    def rpc_error(self) -> Mapping[str, object]:
        """Return the JSON-RPC error; an empty one if there is none."""
        error = self.message.get("error") if isinstance(self.message, dict) else None
        return error if isinstance(error, dict) else {}

    @property
    def rpc_code(self) -> object:
        """Return the code of the JSON-RPC error, if there is one."""
        return self.rpc_error.get("code")


@attrs.define(eq=False, repr=False)
class McpSession:
    """One process's session with one server.

    Attributes:
        url: The server's address.
        http: Makes the HTTP requests.
        credential: The ``Authorization`` header; ``None`` if something else authenticates.
        session_count: How many sessions have been opened.
    """

    url: str
    http: HttpClient
    credential: str | None
    session_count: int = attrs.field(default=0, init=False)
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _open: bool = attrs.field(default=False, init=False)
    _session: str | None = attrs.field(default=None, init=False)
    _protocol: str | None = attrs.field(default=None, init=False)
    _is_stateless: bool = attrs.field(default=False, init=False)
    _replies: int = attrs.field(default=0, init=False)

    def request(
        self, method: str, params: bytes | RequestBody, name: str = ""
    ) -> Answer | Retry | Paused:
        """Send one request in a session, and return the response.

        Args:
            method: The JSON-RPC method.
            params: Its parameters as JSON; sent unchanged.
            name: The tool's name, for ``tools/call``.
        """
        was_open = self._open
        refused = self._ensure_open()
        if refused is not None:
            return refused
        answer = self._exchange(method, params, name)
        if was_open and isinstance(answer, Answer) and self._is_session_lost(answer):
            self.reset()
            return self._ensure_open() or self._exchange(method, params, name)
        return answer

    def call(self, tool: str, arguments: RequestBody) -> Answer | Retry | Paused:
        """Call a tool; the arguments' bytes stay as they are."""
        head = b'{"name":"%b","arguments":' % tool.encode()
        params = attrs.evolve(arguments, head=head + arguments.head, tail=arguments.tail + b"}")
        return self.request("tools/call", params, tool)

    def tools(self) -> frozenset[str] | Retry | Paused | None:
        """Return the names of the server's tools; ``None`` if it doesn't list them."""
        names: set[str] = set()
        params: dict[str, object] = {}
        for _ in range(_MOST_PAGES):
            answer = self.request("tools/list", orjson.dumps(params))
            if not isinstance(answer, Answer):
                return answer
            listed = answer.result.get("tools") if answer.result is not None else None
            if answer.result is None or not isinstance(listed, list):
                return None
            found = (tool.get("name") for tool in listed if isinstance(tool, dict))
            names.update(name for name in found if isinstance(name, str))
            cursor = answer.result.get("nextCursor")
            if not isinstance(cursor, str):
                return frozenset(names)
            params = {"cursor": cursor}
        return None

    @staticmethod
    def outcome(answer: Answer, count: int) -> Outcome:
        """Return the outcome of a call that sent `count` events."""
        return outcome_from_mcp(answer.message, answer.response, count)

    @staticmethod
    def payload(answer: Answer) -> dict[str, object] | None:
        """Return a tool's result, or ``None`` if it failed."""
        result = answer.result or {}
        payload = structured(result)
        is_fine = result.get("isError") is not True and find_error(payload) is None
        return payload if is_fine else None

    def reset(self) -> None:
        """Drop the session; the next request opens a new one."""
        self._open, self._session, self._protocol = False, None, None

    def _is_session_lost(self, answer: Answer) -> bool:
        status = answer.response.status
        if self._is_stateless:
            return _is_version_problem(answer) and answer.rpc_code != _INVALID_PARAMS
        if answer.rpc_code == _VERSION_REFUSED:
            return True
        if status == _BAD_REQUEST:
            is_told = self._session is not None or bool(answer.rpc_error)
            return is_told and not has_adcp_error(answer.message)
        return status == _NOT_FOUND

    def _ensure_open(self) -> Retry | Paused | None:
        """Open a session, or find out that the server speaks the revision without sessions."""
        if self._open:
            return None
        attempts = [self._open_session, self._open_stateless]
        first, second = reversed(attempts) if self._is_stateless else attempts
        answer = first()
        if isinstance(answer, Answer) and _is_version_problem(answer):
            answer = self._try_other(answer, second)
        if answer is None:
            self._open = True
            self.session_count += 1
            return None
        self.reset()
        self._is_stateless = False
        return answer if not isinstance(answer, Answer) else _opening_outcome(answer)

    def _try_other(
        self, refused: Answer, other: Callable[[], Answer | Retry | Paused | None]
    ) -> Answer | Retry | Paused | None:
        if not self._is_stateless and STATELESS_PROTOCOL in _supported_revisions(refused):
            self._protocol, self._is_stateless = STATELESS_PROTOCOL, True
            return None
        answer = other()
        is_told = isinstance(answer, Answer) and answer.rpc_code == _VERSION_REFUSED
        return answer if answer is None or is_told else refused

    def _open_session(self) -> Answer | Retry | Paused | None:
        self.reset()
        self._is_stateless = False
        info = {"name": "adcp_tracker", "version": __version__}
        params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": info}
        answer = self._exchange("initialize", orjson.dumps(params))
        if not isinstance(answer, Answer) or answer.result is None:
            return answer
        self._session = _matching(answer.response.headers.get("mcp-session-id"), _SESSION)
        self._protocol = _matching(answer.result.get("protocolVersion"), _VERSION) or PROTOCOL
        note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        said = self._post(note, lambda _: True, {})
        return None if isinstance(said, Response) else said

    def _open_stateless(self) -> Answer | Retry | Paused | None:
        self.reset()
        self._protocol, self._is_stateless = STATELESS_PROTOCOL, True
        answer = self._exchange("server/discover", b"{}")
        if not isinstance(answer, Answer):
            return answer
        return None if STATELESS_PROTOCOL in _supported_revisions(answer) else answer

    def _exchange(
        self, method: str, params: bytes | RequestBody, name: str = ""
    ) -> Answer | Retry | Paused:
        number = next(self._ids)
        self._replies = 0
        stream = EventStream(lambda message: _answers(message, number), self._reply)
        head = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":' % (number, method.encode())
        inner = RequestBody(params, (), b"") if isinstance(params, bytes) else params
        first = inner.head
        named: dict[str, str] = {}
        if self._is_stateless:
            first = b'{"_meta":' + _meta() + (b"}" if first == b"{}" else b"," + first[1:])
            named = {"Mcp-Method": method, **({"Mcp-Name": name} if name else {})}
        body = attrs.evolve(inner, head=head + first, tail=inner.tail + b"}")
        response = self._post(body, stream.feed, named)
        if not isinstance(response, Response):
            return response
        # What the body is decides, whatever type it is said to have.
        message = response.redaction.of(stream.finish())
        if message is None and not response.body.lstrip().startswith(b"data:"):
            message = pick_answer(response.json(), number, is_strict=response.is_success)
        return Answer(response, message)

    def _reply(self, message: dict[str, object]) -> None:
        """Answer a request that the server makes while it works, over another connection.

        A server may wait for the answer to its ``ping``; anything else isn't offered.
        """
        self._replies += 1
        number = message.get("id")
        if self._replies > _MOST_REPLIES or not isinstance(number, (int, str)):
            return
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": number}
        if message.get("method") == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": _NO_SUCH_METHOD, "message": "Method not found"}
        aside = attrs.evolve(self.http)
        aside.request("POST", self.url, self._headers(), orjson.dumps(answer), lambda _: True)
        aside.close()

    def _post(
        self,
        body: bytes | RequestBody,
        stop_when: Callable[[bytes], bool] | None,
        named: Mapping[str, str],
    ) -> Response | Retry | Paused:
        return self.http.request("POST", self.url, {**self._headers(), **named}, body, stop_when)

    def _headers(self) -> dict[str, str]:
        headers = request_headers(self.credential, "application/json, text/event-stream")
        if self._session is not None:
            headers["Mcp-Session-Id"] = self._session
        if self._protocol is not None:
            headers["MCP-Protocol-Version"] = self._protocol
        return headers


def _meta() -> bytes:
    return orjson.dumps(
        {
            f"{_META}protocolVersion": STATELESS_PROTOCOL,
            f"{_META}clientCapabilities": {},
            f"{_META}clientInfo": {"name": "adcp_tracker", "version": __version__},
        }
    )


def _is_version_problem(answer: Answer) -> bool:
    """Return whether the server may speak another revision than the request's."""
    status, error = answer.response.status, answer.rpc_error
    if status in _REFUSED_STATUSES or status >= _SERVER_ERROR or has_adcp_error(answer.message):
        return False
    return bool(error) or status == _BAD_REQUEST


def _supported_revisions(answer: Answer) -> list[str]:
    """Return the revisions that a server lists, in its discovery or in a refusal."""
    data = answer.rpc_error.get("data")
    places = (answer.result, data if isinstance(data, dict) else None)
    listed = [
        place.get(name) for place in places if place for name in ("supportedVersions", "supported")
    ]
    words = next((each for each in listed if isinstance(each, list)), [])
    return [text for text in (sanitize(word, 20) for word in words[:20]) if text]


def _opening_outcome(answer: Answer) -> Retry | Paused:
    revisions = _supported_revisions(answer)
    if answer.rpc_code == _VERSION_REFUSED or revisions:
        spoken = ", ".join(revisions) or "another revision"
        return Paused(
            "MCP_VERSION_UNSUPPORTED",
            f"The agent speaks MCP {spoken}.",
            f"This version of adcp-tracker speaks MCP {PROTOCOL} and older, and "
            f"{STATELESS_PROTOCOL}. Upgrade it, or ask the seller for one of these.",
        )
    return without_batch(outcome_from_mcp(answer.message, answer.response, 1))


def without_batch(outcome: Outcome) -> Retry | Paused:
    """Return `outcome` for a request without events.

    No event can have caused it, so it doesn't count against any.
    """
    if isinstance(outcome, Retry):
        return attrs.evolve(outcome, budgeted=False, fresh_key=False)
    if isinstance(outcome, Paused):
        return outcome
    if isinstance(outcome, (Rejected, TooLarge)):
        return Paused(outcome.code, outcome.message, _REMEDY)
    return Retry("unreadable_answer", "The seller's response doesn't match the request.")


def _answers(message: object, number: int) -> bool:
    if not isinstance(message, dict) or not ("result" in message or "error" in message):
        return False
    said = message.get("id")
    return bool(said == number or said == str(number))


def pick_answer(payload: object, number: int, *, is_strict: bool) -> object:
    """Return the response message, out of one message or a list.

    An HTTP error's message often has no id, because the server didn't get as far as reading it.
    """
    messages = payload if isinstance(payload, list) else [payload]
    answers = (message for message in messages if _answers(message, number))
    found: object = next(answers, None)
    if found is None and not is_strict and isinstance(payload, dict) and "error" in payload:
        return payload
    return found


def _matching(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
