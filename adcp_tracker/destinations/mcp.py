"""Speak MCP over streamable HTTP, with bodies that are already bytes.

A session is opened on the first request of a process: ``initialize``, then
``notifications/initialized``. A seller that restarted has forgotten it and says so by 404, or
by 400 without an error of the protocol; then a new one is opened and the same bytes are sent.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import attrs
import orjson

import adcp_tracker
from adcp_tracker.destinations.base import Paused, Rejected, Retry, TooLarge
from adcp_tracker.destinations.joined import Body
from adcp_tracker.destinations.manners import user_agent
from adcp_tracker.destinations.mcp_answers import from_mcp, is_protocol_error
from adcp_tracker.destinations.replies import Reply
from adcp_tracker.destinations.sse import EventStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adcp_tracker.destinations.base import Outcome
    from adcp_tracker.destinations.calls import Caller

PROTOCOL = "2025-06-18"

_REMEDY = "Check url: what answers there opens no MCP session over streamable HTTP."
_SESSION = re.compile(r"[\x21-\x7e]{1,1024}")
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,32}")
_FORGOTTEN = 404
_BAD_REQUEST = 400


@attrs.frozen
class Heard:
    """An HTTP answer and the JSON-RPC message in it, if there is one."""

    reply: Reply
    message: object

    @property
    def result(self) -> dict[str, object] | None:
        """Return the result, if the message is an answer that has one."""
        result = self.message.get("result") if isinstance(self.message, dict) else None
        return result if isinstance(result, dict) and self.reply.is_success else None


@attrs.define(eq=False, repr=False)
class McpSession:
    """One process's session with one server.

    Attributes:
        url: The server's address.
        caller: Makes the HTTP calls.
        credential: The value of ``Authorization``; ``None`` where something else signs.
        openings: How many sessions were opened so far.
    """

    url: str
    caller: Caller
    credential: str | None
    openings: int = attrs.field(default=0, init=False)
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _open: bool = attrs.field(default=False, init=False)
    _session: str | None = attrs.field(default=None, init=False)
    _protocol: str | None = attrs.field(default=None, init=False)

    def request(self, method: str, params: bytes | Body) -> Heard | Retry | Paused:
        """Send one request, in a session, and return its answer.

        Args:
            method: The JSON-RPC method.
            params: Its parameters, as JSON; sent as they are.
        """
        was_open = self._open
        refused = self._ensure_open()
        if refused is not None:
            return refused
        heard = self._exchange(method, params)
        if was_open and isinstance(heard, Heard) and self._is_forgotten(heard):
            self.forget()
            return self._ensure_open() or self._exchange(method, params)
        return heard

    def forget(self) -> None:
        """Forget the session; the next request opens a new one."""
        self._open, self._session, self._protocol = False, None, None

    def _is_forgotten(self, heard: Heard) -> bool:
        status = heard.reply.status
        if status == _BAD_REQUEST:
            return self._session is not None and not is_protocol_error(heard.message)
        return status == _FORGOTTEN

    def _ensure_open(self) -> Retry | Paused | None:
        if self._open:
            return None
        info = {"name": "adcp_tracker", "version": adcp_tracker.__version__}
        params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": info}
        heard = self._exchange("initialize", orjson.dumps(params))
        if not isinstance(heard, Heard):
            return heard
        if heard.result is None:
            return before_events(from_mcp(heard.message, heard.reply, 1))
        self._session = _matching(heard.reply.headers.get("mcp-session-id"), _SESSION)
        self._protocol = _matching(heard.result.get("protocolVersion"), _VERSION) or PROTOCOL
        note = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        said = self._post(note, lambda _: True)
        if not isinstance(said, Reply):
            return said
        self._open = True
        self.openings += 1
        return None

    def _exchange(self, method: str, params: bytes | Body) -> Heard | Retry | Paused:
        number = next(self._ids)
        stream = EventStream(lambda message: _answers(message, number))
        head = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":' % (number, method.encode())
        inner = Body(params, (), b"") if isinstance(params, bytes) else params
        reply = self._post(
            attrs.evolve(inner, head=head + inner.head, tail=inner.tail + b"}"), stream.feed
        )
        if not isinstance(reply, Reply):
            return reply
        if reply.media_type == "text/event-stream":
            return Heard(reply, reply.redaction.of(stream.finish()))
        return Heard(reply, _pick(reply.json(), number, is_strict=reply.is_success))

    def _post(
        self, body: bytes | Body, enough: Callable[[bytes], bool] | None
    ) -> Reply | Retry | Paused:
        return self.caller.call("POST", self.url, self._headers(), body, enough)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": user_agent(),
        }
        if self.credential is not None:
            headers["Authorization"] = self.credential
        if self._session is not None:
            headers["Mcp-Session-Id"] = self._session
        if self._protocol is not None:
            headers["MCP-Protocol-Version"] = self._protocol
        return headers


def before_events(outcome: Outcome) -> Retry | Paused:
    """Return `outcome` for a request that carried no events.

    No event can be to blame for it, and none may be counted against it.
    """
    if isinstance(outcome, Retry):
        return attrs.evolve(outcome, budgeted=False, fresh_key=False)
    if isinstance(outcome, Paused):
        return outcome
    if isinstance(outcome, (Rejected, TooLarge)):
        return Paused(outcome.code, outcome.message, _REMEDY)
    return Retry("unreadable_answer", "The seller's answer is none to this request.")


def _answers(message: object, number: int) -> bool:
    if not isinstance(message, dict) or not ("result" in message or "error" in message):
        return False
    said = message.get("id")
    return bool(said == number or said == str(number))


def _pick(payload: object, number: int, *, is_strict: bool) -> object:
    """Return the message that answers, out of one or of a list of them.

    An HTTP error's message often has no id, since the server did not get as far as to read it.
    """
    messages = payload if isinstance(payload, list) else [payload]
    answers = (message for message in messages if _answers(message, number))
    found: object = next(answers, None)
    if found is None and not is_strict and isinstance(payload, dict) and "error" in payload:
        return payload
    return found


def _matching(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
