"""The MCP side: JSON-RPC over streamable HTTP."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import attrs
from starlette.responses import Response
from starlette.routing import Route

from adcp_tracker.sandbox.gate import check_token, decode, note, read_body, take_turn
from adcp_tracker.sandbox.mishaps import NoAnswer, befall
from adcp_tracker.sandbox.phrasing import Phrasing
from adcp_tracker.sandbox.refusal import RefusalError
from adcp_tracker.sandbox.tools import TOOLS, Use, described, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from adcp_tracker.sandbox.config import ErrorPlace
    from adcp_tracker.sandbox.faults import Fault
    from adcp_tracker.sandbox.seller import Seller

_PROTOCOLS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_INVALID_REQUEST = -32600
_METHOD_NOT_FOUND = -32601
_INVALID_PARAMS = -32602
_NO_SESSION = -32001
_JSON = "application/json"
_EVENTS = "text/event-stream"
_SESSION = "mcp-session-id"


def mcp_routes(seller: Seller) -> list[Route]:
    """Return the routes of the MCP side."""

    async def post(request: Request) -> Response:
        return await _Post(seller, request).answer()

    async def delete(request: Request) -> Response:
        seller.sessions.discard(request.headers.get(_SESSION, ""))
        return Response(status_code=204)

    return [
        Route("/mcp", post, methods=["POST"]),
        Route("/mcp", delete, methods=["DELETE"]),
    ]


@attrs.define
class _Post:
    """One POST, from its bytes to its answer."""

    seller: Seller
    request: Request
    size: int = 0
    call: str = "?"
    key: str | None = None
    phrasing: Phrasing = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.phrasing = Phrasing(self.seller.config, None)

    async def answer(self) -> Response:
        limits: Mapping[str, str] = {}
        try:
            limits = take_turn(self.seller)
            response = await self._handle(await self._read())
        except RefusalError as refusal:
            response = self.phrasing.over_http(refusal)
        response.headers.update(limits)
        status = 0 if isinstance(response, NoAnswer) else response.status_code
        note(self.request, self.seller, call=self.call, size=self.size, status=status, key=self.key)
        return response

    async def _read(self) -> object:
        config = self.seller.config
        body = await read_body(self.request, config)
        self.size = len(body)
        check_token(self.request, config)
        accepted = self.request.headers.get("accept", "")
        if _JSON not in accepted or _EVENTS not in accepted:
            message = f"The client must accept {_JSON} and {_EVENTS}."
            raise RefusalError(406, "NOT_ACCEPTABLE", message)
        if not self.request.headers.get("content-type", "").startswith(_JSON):
            raise RefusalError(415, "UNSUPPORTED_MEDIA_TYPE", f"The body must be {_JSON}.")
        return decode(body, self.request, config)

    async def _handle(self, message: object) -> Response:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return self.phrasing.broken(_INVALID_REQUEST, "not a JSON-RPC 2.0 message", 400)
        method, params = message.get("method"), message.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            return self.phrasing.broken(_INVALID_REQUEST, "not a request", 400)
        self.phrasing = Phrasing(self.seller.config, message.get("id"))
        tool = params.get("name")
        self.call = tool if method == "tools/call" and isinstance(tool, str) else method
        fault = self.seller.faults.take(self.call)
        if fault is not None and fault.forget_session:
            self.seller.sessions.clear()
        return self._wrong_session(method) or await self._dispatch(message, params, fault)

    def _wrong_session(self, method: str) -> Response | None:
        if method == "initialize" or not self.seller.config.sessions:
            return None
        session = self.request.headers.get(_SESSION)
        if session is None:
            return self.phrasing.broken(_INVALID_REQUEST, "Missing session ID", 400)
        if session not in self.seller.sessions:
            return self.phrasing.broken(_NO_SESSION, "Session not found", 404)
        version = self.request.headers.get("mcp-protocol-version", _PROTOCOLS[0])
        if version not in _PROTOCOLS:
            return self.phrasing.broken(_INVALID_REQUEST, "Unsupported protocol version", 400)
        return None

    async def _dispatch(
        self, message: Mapping[str, object], params: Mapping[str, object], fault: Fault | None
    ) -> Response:
        method = str(message["method"])
        if method == "tools/call" and "id" in message:
            return await self._use_tool(params, fault)
        return await befall(
            fault,
            lambda: self._plain(method, params, is_note="id" not in message),
            lambda refusal: self.phrasing.refuse(refusal, self._place(fault)),
            self.seller.die,
        )

    def _plain(self, method: str, params: Mapping[str, object], *, is_note: bool) -> Response:
        if is_note:
            return Response(status_code=202)
        if method == "initialize":
            return self._initialize(params)
        if method == "ping":
            return self.phrasing.result({})
        if method == "tools/list":
            return self.phrasing.result({"tools": described()})
        return self.phrasing.broken(_METHOD_NOT_FOUND, "Method not found")

    def _initialize(self, params: Mapping[str, object]) -> Response:
        asked = params.get("protocolVersion")
        response = self.phrasing.result(
            {
                "protocolVersion": asked if asked in _PROTOCOLS else _PROTOCOLS[0],
                "capabilities": {"tools": {"listChanged": False}},
                "serverInfo": {"name": "adcp-tracker-sandbox", "version": "1"},
            }
        )
        if self.seller.config.sessions:
            session = secrets.token_hex(16)
            self.seller.sessions.add(session)
            response.headers[_SESSION] = session
        return response

    async def _use_tool(self, params: Mapping[str, object], fault: Fault | None) -> Response:
        arguments = params.get("arguments", {})
        if self.call not in TOOLS or not isinstance(arguments, dict):
            return self.phrasing.broken(_INVALID_PARAMS, f"Unknown tool: {self.call}")
        self.key = key_of(arguments)
        try:
            kept = self._kept(arguments)
        except RefusalError as refusal:
            return self.phrasing.refuse(refusal, self.seller.config.error_place)
        if kept is not None:
            return kept
        return await self._use_once(Use(self.seller, arguments, fault.lose if fault else 0), fault)

    def _kept(self, arguments: Mapping[str, object]) -> Response | None:
        if self.key is None:
            return None
        ttl_s = self.seller.config.idempotency_ttl_s
        kept = self.seller.replays.begin(self.key, arguments, ttl_s)
        if isinstance(kept, RefusalError):
            return self.phrasing.refuse(kept, self.seller.config.error_place)
        return self.phrasing.success({**kept, "replayed": True}) if kept is not None else None

    async def _use_once(self, use: Use, fault: Fault | None) -> Response:
        def produce() -> Response:
            try:
                answer = TOOLS[self.call](use)
            except RefusalError as refusal:
                if self.seller.config.replay_errors:
                    self._keep(refusal)
                return self.phrasing.refuse(refusal, self.seller.config.error_place)
            self._keep(answer)
            return self.phrasing.success(answer)

        def refuse(refusal: RefusalError) -> Response:
            if fault is not None and fault.remember:
                self._keep(refusal)
            return self.phrasing.refuse(refusal, self._place(fault))

        try:
            return await befall(fault, produce, refuse, self.seller.die)
        finally:
            if self.key is not None:
                self.seller.replays.abandon_unanswered(self.key)

    def _keep(self, answer: dict[str, object] | RefusalError) -> None:
        if self.key is not None:
            self.seller.replays.finish(self.key, answer)

    def _place(self, fault: Fault | None) -> ErrorPlace:
        if fault is None or (fault.place is None and fault.status is None):
            return self.seller.config.error_place
        return fault.place or "http"
