"""The agent endpoints: tools over MCP (streamable HTTP), and skills over A2A 1.0 and 0.3."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, ClassVar, Final

import attrs
import orjson
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adcp_tracker.sandbox.failures import ApiError, apply_fault
from adcp_tracker.sandbox.middleware import (
    apply_rate_limit,
    check_token,
    decode,
    log_request,
    read_body,
)
from adcp_tracker.sandbox.schema import (
    ACTION_SOURCES,
    EVENT_TYPES,
    EVENT_TYPES_3_0,
    IDEMPOTENCY_KEY,
    UID_TYPES,
    UID_TYPES_3_0,
    Issue,
)
from adcp_tracker.sandbox.seller import LogRequest, sync_sources, validation_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from adcp_tracker.sandbox.config import AdcpVersion, ErrorPlace, InjectedFault, SandboxConfig
    from adcp_tracker.sandbox.seller import Seller


_TOOL_ERROR = -32000


@attrs.frozen
class McpResponses:
    """Builds the responses to one JSON-RPC message.

    Attributes:
        config: The seller's settings.
        message_id: The id of the message.
    """

    config: SandboxConfig
    message_id: object

    def result(self, result: dict[str, object]) -> Response:
        """Return a result."""
        return self._send({"result": result})

    def protocol_error(self, code: int, message: str, status: int = 200) -> Response:
        """Return a JSON-RPC error."""
        body = self._message({"error": {"code": code, "message": message}})
        return Response(body, status, media_type="application/json")

    def success(self, answer: dict[str, object]) -> Response:
        """Return the result of a tool."""
        return self.result(_tool_result(answer, orjson.dumps(answer).decode(), is_error=False))

    def refuse(self, refusal: ApiError, place: ErrorPlace) -> Response:
        """Return an AdCP error, in one of the places where sellers put it."""
        if place == "http":
            return self.over_http(refusal)
        error = refusal.adcp_body(self.config)
        if place == "jsonrpc":
            data = {"adcp_error": error}
            return self._send(
                {"error": {"code": _TOOL_ERROR, "message": refusal.message, "data": data}}
            )
        words = refusal.message
        if place == "text":
            words = orjson.dumps({"adcp_error": error}).decode()
        if place in {"text", "plain"}:
            return self.result(_tool_result(None, words, is_error=True))
        if place == "errors":
            return self.result(_tool_result({"errors": [error]}, words, is_error=False))
        failed: dict[str, object] = {"status": "failed", "adcp_error": error}
        return self.result(_tool_result(failed, words, is_error=True))

    def over_http(self, refusal: ApiError) -> Response:
        """Return an error as an HTTP status with a minimal body."""
        response = self.protocol_error(_TOOL_ERROR, refusal.message, refusal.status)
        response.headers.update(refusal.headers)
        return response

    def _message(self, content: dict[str, object]) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": self.message_id, **content})

    def _send(self, content: dict[str, object]) -> Response:
        message = self._message(content)
        if not self.config.sse:
            return Response(message, media_type="application/json")
        notice = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info",'
        notice += b'"data":"working"}}'
        # Clients must skip comments and other messages.
        stream = b": hold on\r\n\r\nevent: message\r\ndata: %b\r\n\r\nevent: message\r\nid: 1\r\n"
        body = stream % notice + b"data: %b\r\n\r\n" % message
        return Response(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _tool_result(
    structured: dict[str, object] | None, words: str, *, is_error: bool
) -> dict[str, object]:
    result: dict[str, object] = {"content": [{"type": "text", "text": words}], "isError": is_error}
    if structured is not None:
        result["structuredContent"] = structured
    return result


_MAJOR = 3
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:-[A-Za-z0-9.-]+)?")


@attrs.frozen
class ToolCall:
    """A call of a tool.

    Attributes:
        seller: The seller.
        arguments: The tool's arguments.
        lose: How many events to lose silently.
    """

    seller: Seller
    arguments: Mapping[str, object]
    lose: int = 0


def log_event(call: ToolCall) -> dict[str, object]:
    """Accept events, by the rules of the requested protocol version."""
    version = negotiate(call.arguments, call.seller.config)
    answer = call.seller.log_events(LogRequest(call.arguments, version, None, call.lose))
    return _with_envelope(answer, call, version)


def sync_event_sources(call: ToolCall) -> dict[str, object]:
    """Register event sources, or list them if the arguments name none."""
    version = negotiate(call.arguments, call.seller.config)
    if find_idempotency_key(call.arguments) is None:
        raise validation_error([Issue("/idempotency_key", "is required", "required")])
    account = _account_key(call.arguments.get("account"))
    return _with_envelope(sync_sources(call.seller, call.arguments, account, "MCP"), call, version)


def get_adcp_capabilities(call: ToolCall) -> dict[str, object]:
    """Return the capabilities of this seller."""
    config = call.seller.config
    old = config.versions[-1] == "3.0"
    tracking = {
        "supported_event_types": sorted(EVENT_TYPES_3_0 if old else EVENT_TYPES),
        "supported_uid_types": sorted(UID_TYPES_3_0 if old else UID_TYPES),
        "supported_hashed_identifiers": ["hashed_email", "hashed_phone"],
        "supported_action_sources": sorted(ACTION_SOURCES),
    }
    adcp = {
        "major_versions": [_MAJOR],
        "supported_versions": list(config.versions),
        "idempotency": {"supported": True, "replay_ttl_seconds": int(config.idempotency_ttl_s)},
    }
    answer: dict[str, object] = {
        "adcp": adcp,
        "supported_protocols": ["media_buy"],
        "media_buy": {"conversion_tracking": tracking},
    }
    return _with_envelope(answer, call, negotiate(call.arguments, config))


TOOLS: dict[str, Callable[[ToolCall], dict[str, object]]] = {
    "log_event": log_event,
    "sync_event_sources": sync_event_sources,
    "get_adcp_capabilities": get_adcp_capabilities,
}
"""The tools by name."""


def describe_tools() -> list[dict[str, object]]:
    """Return the result of ``tools/list``."""
    required = {
        "log_event": ["idempotency_key", "event_source_id", "events"],
        "sync_event_sources": ["idempotency_key", "account"],
        "get_adcp_capabilities": [],
    }
    return [
        {
            "name": name,
            "description": (tool.__doc__ or "").strip(),
            "inputSchema": {"type": "object", "required": required[name]},
        }
        for name, tool in TOOLS.items()
    ]


def negotiate(arguments: Mapping[str, object], config: SandboxConfig) -> AdcpVersion:
    """Return the protocol version to use; the oldest if none is requested.

    Raises:
        ApiError: If the seller doesn't support the requested version.
    """
    major, version = arguments.get("adcp_major_version"), arguments.get("adcp_version")
    if isinstance(major, int) and major != _MAJOR:
        raise _unsupported(config)
    release = _RELEASE.fullmatch(version) if isinstance(version, str) else None
    if release is None:
        return config.versions[0]
    try:
        wanted = (int(release[1]), int(release[2]))
    except ValueError:  # more digits than int() accepts
        raise _unsupported(config) from None
    spoken = [each for each in config.versions if tuple(map(int, each.split("."))) <= wanted]
    if wanted[0] != _MAJOR or not spoken:
        raise _unsupported(config)
    return spoken[-1]


def find_idempotency_key(arguments: Mapping[str, object]) -> str | None:
    """Return the idempotency key if it is valid."""
    key = arguments.get("idempotency_key")
    return key if isinstance(key, str) and not IDEMPOTENCY_KEY(key) else None


def _unsupported(config: SandboxConfig) -> ApiError:
    return ApiError(
        400,
        "VERSION_UNSUPPORTED",
        "The seller doesn't support this version.",
        details={"supported_versions": list(config.versions)},
    )


def _account_key(account: object) -> str:
    if isinstance(account, dict):
        account_id, operator = account.get("account_id"), account.get("operator")
        brand = account.get("brand")
        domain = brand.get("domain") if isinstance(brand, dict) else None
        if isinstance(account_id, str) and account.keys() == {"account_id"}:
            return account_id
        if isinstance(domain, str) and isinstance(operator, str) and account_id is None:
            return f"{domain}/{operator}"
    message = "must be an account_id, or a brand with a domain and an operator"
    raise validation_error([Issue("/account", message, "oneOf")])


def _with_envelope(answer: dict[str, object], call: ToolCall, version: str) -> dict[str, object]:
    envelope: dict[str, object] = {"adcp_version": version, "adcp_major_version": _MAJOR}
    if call.seller.config.status is not None:
        envelope["status"] = call.seller.config.status
    if "context" in call.arguments:
        envelope["context"] = call.arguments["context"]
    return envelope | answer


_STATELESS = "2026-07-28"
_META = "io.modelcontextprotocol/"
_VERSION_REFUSED = -32022
_HEADER_MISMATCH = -32001
_PROTOCOLS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_INVALID_REQUEST = -32600
_METHOD_NOT_FOUND = -32601
_INVALID_PARAMS = -32602
_NO_SESSION = -32001
_JSON = "application/json"
_EVENTS = "text/event-stream"
_SESSION = "mcp-session-id"


def mcp_routes(seller: Seller) -> list[Route]:
    """Return the routes of the MCP endpoint."""

    async def post(request: Request) -> Response:
        return await McpPost(seller, request).answer()

    async def delete(request: Request) -> Response:
        seller.sessions.discard(request.headers.get(_SESSION, ""))
        return Response(status_code=204)

    return [
        Route("/mcp", post, methods=["POST"]),
        Route("/mcp", delete, methods=["DELETE"]),
    ]


@attrs.define
class McpPost:
    """Handles one POST request."""

    protocol: ClassVar[str] = "MCP"

    seller: Seller
    request: Request
    body: bytes = b""
    call: str = "?"
    key: str | None = None
    responses: McpResponses = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.responses = McpResponses(self.seller.config, None)

    async def answer(self) -> Response:
        """Return the response, after logging the request."""
        limits: Mapping[str, str] = {}
        self.seller.timeline.open_request()
        try:
            limits = apply_rate_limit(self.seller)
            response = await self._handle(await self._read())
        except ApiError as refusal:
            response = self.responses.over_http(refusal)
        response.headers.update(limits)
        log_request(
            self.request,
            self.seller,
            response,
            call=self.call,
            body=self.body,
            via=self.protocol,
            key=self.key,
        )
        return response

    async def _read(self) -> object:
        config = self.seller.config
        body = await read_body(self.request, config)
        self.body = body
        check_token(self.request, config)
        self._check_accepted()
        if not self.request.headers.get("content-type", "").startswith(_JSON):
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", f"The body must be {_JSON}.")
        return decode(body, self.request, config)

    def _check_accepted(self) -> None:
        accepted = self.request.headers.get("accept", "")
        if _JSON not in accepted or _EVENTS not in accepted:
            message = f"The client must accept {_JSON} and {_EVENTS}."
            raise ApiError(406, "NOT_ACCEPTABLE", message)

    async def _handle(self, message: object) -> Response:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return self.responses.protocol_error(
                _INVALID_REQUEST, "not a JSON-RPC 2.0 message", 400
            )
        method, params = message.get("method"), message.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            return self.responses.protocol_error(_INVALID_REQUEST, "not a request", 400)
        self.responses = McpResponses(self.seller.config, message.get("id"))
        tool = params.get("name")
        self.call = tool if method == "tools/call" and isinstance(tool, str) else method
        fault = self.seller.faults.take(self.call)
        if fault is not None and fault.forget_session:
            self.seller.sessions.clear()
        refused = self._check_stateless(method, params) or self._check_session(method)
        return refused or await self._dispatch(message, params, fault)

    @property
    def _is_stateless(self) -> bool:
        is_asked = self.request.headers.get("mcp-protocol-version") == _STATELESS
        return is_asked and self.seller.config.stateless is not False

    def _check_stateless(self, method: str, params: Mapping[str, object]) -> Response | None:
        """Check what revision 2026-07-28 demands, if it is spoken or nothing else is."""
        if not self._is_stateless:
            refusal = "Unsupported protocol version"
            is_new = self.seller.config.stateless
            return self.responses.protocol_error(_VERSION_REFUSED, refusal, 400) if is_new else None
        headers, meta = self.request.headers, params.get("_meta")
        told = meta.get(f"{_META}protocolVersion") if isinstance(meta, dict) else None
        name = params.get("name") if method == "tools/call" else None
        named = (headers.get("mcp-method"), headers.get("mcp-name"), told)
        if named == (method, name, _STATELESS):
            return None
        message = "The headers and _meta don't say what the message does"
        return self.responses.protocol_error(_HEADER_MISMATCH, message, 400)

    def _check_session(self, method: str) -> Response | None:
        if method == "initialize" or self._is_stateless or not self.seller.config.sessions:
            return None
        session = self.request.headers.get(_SESSION)
        if session is None:
            return self.responses.protocol_error(_INVALID_REQUEST, "Missing session ID", 400)
        if session not in self.seller.sessions:
            return self.responses.protocol_error(_NO_SESSION, "Session not found", 404)
        version = self.request.headers.get("mcp-protocol-version", _PROTOCOLS[0])
        if version not in _PROTOCOLS:
            return self.responses.protocol_error(
                _INVALID_REQUEST, "Unsupported protocol version", 400
            )
        return None

    async def _dispatch(
        self,
        message: Mapping[str, object],
        params: Mapping[str, object],
        fault: InjectedFault | None,
    ) -> Response:
        method = str(message["method"])
        if method == "tools/call" and "id" in message:
            return await self._call_tool(params, fault)
        return await apply_fault(
            fault,
            lambda: self._answer_method(method, params, is_note="id" not in message),
            lambda refusal: self.responses.refuse(refusal, self._place(fault)),
            self.seller.crash,
        )

    def _answer_method(
        self, method: str, params: Mapping[str, object], *, is_note: bool
    ) -> Response:
        if is_note:
            return Response(status_code=202)
        if method == "initialize":
            return self._initialize(params)
        if method == "server/discover" and self._is_stateless:
            versions = [_STATELESS] if self.seller.config.stateless else [_STATELESS, *_PROTOCOLS]
            return self.responses.result({"supportedVersions": versions})
        if method == "ping":
            return self.responses.result({})
        if method == "tools/list":
            return self.responses.result({"tools": describe_tools()})
        return self.responses.protocol_error(_METHOD_NOT_FOUND, "Method not found")

    def _initialize(self, params: Mapping[str, object]) -> Response:
        wanted = params.get("protocolVersion")
        response = self.responses.result(
            {
                "protocolVersion": wanted if wanted in _PROTOCOLS else _PROTOCOLS[0],
                "capabilities": {"tools": {"listChanged": False}},
                "serverInfo": {"name": "adcp-tracker-sandbox", "version": "1"},
            }
        )
        if self.seller.config.sessions:
            session = secrets.token_hex(16)
            self.seller.sessions.add(session)
            response.headers[_SESSION] = session
        return response

    async def _call_tool(
        self, params: Mapping[str, object], fault: InjectedFault | None
    ) -> Response:
        arguments = params.get("arguments", {})
        if self.call not in TOOLS or not isinstance(arguments, dict):
            return self.responses.protocol_error(_INVALID_PARAMS, f"Unknown tool: {self.call}")
        self.key = find_idempotency_key(arguments)
        try:
            kept = self._stored_response(arguments)
        except ApiError as refusal:
            return self.responses.refuse(refusal, self.seller.config.error_place)
        if kept is not None:
            return kept
        return await self._call_once(
            ToolCall(self.seller, arguments, fault.lose if fault else 0), fault
        )

    def _stored_response(self, arguments: Mapping[str, object]) -> Response | None:
        if self.key is None:
            return None
        ttl_s = self.seller.config.idempotency_ttl_s
        kept = self.seller.idempotency.begin(self.key, arguments, ttl_s)
        if isinstance(kept, ApiError):
            return self.responses.refuse(kept, self.seller.config.error_place)
        return self.responses.success({**kept, "replayed": True}) if kept is not None else None

    async def _call_once(self, call: ToolCall, fault: InjectedFault | None) -> Response:
        def produce() -> Response:
            try:
                answer = TOOLS[self.call](call)
            except ApiError as refusal:
                if self.seller.config.replay_errors:
                    self._keep(refusal)
                return self.responses.refuse(refusal, self.seller.config.error_place)
            self._keep(answer)
            return self.responses.success(answer)

        def refuse(refusal: ApiError) -> Response:
            if fault is not None and fault.remember:
                self._keep(refusal)
            return self.responses.refuse(refusal, self._place(fault))

        try:
            return await apply_fault(fault, produce, refuse, self.seller.crash)
        finally:
            if self.key is not None:
                self.seller.idempotency.release(self.key)

    def _keep(self, answer: dict[str, object] | ApiError) -> None:
        if self.key is not None:
            self.seller.idempotency.finish(self.key, answer)

    def _place(self, fault: InjectedFault | None) -> ErrorPlace:
        if fault is None or (fault.place is None and fault.status is None):
            return self.seller.config.error_place
        return fault.place or "http"


_EXTENSION: Final = "https://adcontextprotocol.org/extensions/adcp/v3"
_METHODS: Final = {"SendMessage": "1.0", "message/send": "0.3"}


@attrs.frozen
class A2aResponses(McpResponses):
    """Builds the responses to one message: a task with one artifact.

    Attributes:
        version: The version of A2A that the message was sent in.
    """

    version: str = "1.0"

    def success(self, answer: dict[str, object]) -> Response:
        """Return the result of a skill."""
        return self._task("completed", answer)

    def refuse(self, refusal: ApiError, place: ErrorPlace) -> Response:
        """Return an AdCP error, as an HTTP status or in a failed task."""
        if place == "http":
            return self.over_http(refusal)
        return self._task("failed", {"adcp_error": refusal.adcp_body(self.config)})

    def _task(self, state: str, data: dict[str, object]) -> Response:
        is_new = self.version == "1.0"
        part: dict[str, object] = {"data": data} if is_new else {"kind": "data", "data": data}
        task: dict[str, object] = {
            "id": "1",
            "contextId": "1",
            "status": {"state": f"TASK_STATE_{state.upper()}" if is_new else state},
            "artifacts": [{"artifactId": "1", "parts": [part]}],
        }
        if not is_new:
            task["kind"] = "task"
        return self.result({"task": task} if is_new else task)


@attrs.define
class _A2aPost(McpPost):
    """Handles one message."""

    protocol = "A2A"

    async def _handle(self, message: object) -> Response:
        request = message if isinstance(message, dict) else {}
        config, number = self.seller.config, request.get("id")
        version = _METHODS.get(str(request.get("method")))
        self.responses = A2aResponses(config, number, version or "1.0")
        if version is None:
            return self.responses.protocol_error(_METHOD_NOT_FOUND, "Method not found")
        data = _data(request.get("params"))
        self.call = str(data.get("skill"))
        arguments = data.get("input", data.get("parameters"))
        fault = self.seller.faults.take(self.call)
        return await self._call_tool({"arguments": arguments}, fault)

    def _check_accepted(self) -> None:
        """Accept any: responses are JSON."""


def _data(params: object) -> dict[str, object]:
    """Return the first data part of a message; empty if there is none."""
    message = params.get("message") if isinstance(params, dict) else None
    parts = message.get("parts") if isinstance(message, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("data"), dict):
            return dict(part["data"])
    return {}


def a2a_routes(seller: Seller) -> list[Route]:
    """Return the routes of the A2A endpoint and its card."""

    async def post(request: Request) -> Response:
        return await _A2aPost(seller, request).answer()

    async def card(request: Request) -> Response:
        url = str(request.base_url.replace(path="/a2a"))
        return JSONResponse(_card(url))

    return [
        Route("/a2a", post, methods=["POST"]),
        Route("/a2a/.well-known/agent-card.json", card),
    ]


def _card(url: str) -> dict[str, object]:
    skills = [{"id": name, "name": name, "description": name, "tags": ["adcp"]} for name in TOOLS]
    interfaces = [
        {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": version}
        for version in ("1.0", "0.3")
    ]
    return {
        "name": "adcp-tracker sandbox",
        "description": "A local seller for tests.",
        "version": "1",
        "url": url,
        "preferredTransport": "JSONRPC",
        "protocolVersion": "0.3.0",
        "supportedInterfaces": interfaces,
        "capabilities": {"extensions": [{"uri": _EXTENSION}]},
        "defaultInputModes": ["application/json"],
        "defaultOutputModes": ["application/json"],
        "skills": skills,
    }
