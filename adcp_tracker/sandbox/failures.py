"""Error responses and broken connections."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import TYPE_CHECKING, Literal

import attrs
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from adcp_tracker.sandbox.schema import Issue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from adcp_tracker.sandbox.config import InjectedFault, SandboxConfig


_MOST_LISTED = 100
"""The maximum number of locations listed in one error."""


@attrs.define(slots=False, eq=False, auto_exc=True)
class ApiError(Exception):
    """The seller rejects a whole request.

    Attributes:
        status: The HTTP status.
        code: The protocol's error code.
        message: The reason, for people.
        recovery: AdCP's ``recovery``.
        issues: What is invalid, with JSON pointers.
        retry_after_s: The minimum number of seconds before a retry.
        details: Further details for programs.
        headers: Further HTTP headers.
    """

    status: int
    code: str
    message: str
    recovery: str | None = "correctable"
    issues: tuple[Issue, ...] = ()
    retry_after_s: float | None = None
    details: Mapping[str, object] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def body(self, config: SandboxConfig) -> dict[str, object]:
        """Return the error object, with locations as configured."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        details = dict(self.details)
        if self.issues and config.names_field:
            error["field"] = format_pointer(self.issues[0].pointer, config.notation)
        if self.issues and config.issues_in != "nowhere":
            home = error if config.issues_in == "top" else details
            home["issues"] = [
                attrs.asdict(issue) | {"pointer": format_pointer(issue.pointer, config.notation)}
                for issue in self.issues[:_MOST_LISTED]
            ]
        if details:
            error["details"] = details
        return error

    def adcp_body(self, config: SandboxConfig) -> dict[str, object]:
        """Return the error object of an AdCP agent, with ``recovery``."""
        error = self.body(config)
        if self.recovery is not None:
            error["recovery"] = self.recovery
        if self.retry_after_s is not None:
            error["retry_after"] = self.retry_after_s
        return error


def format_pointer(pointer: str, notation: Literal["pointer", "dotted"]) -> str:
    """Return a JSON pointer, or the dotted notation some sellers use."""
    if notation == "pointer":
        return pointer
    steps = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    dotted = "".join(f"[{step}]" if re.fullmatch(r"\d+", step) else f".{step}" for step in steps)
    return dotted.removeprefix(".")


TRANSPORT = "adcp_tracker.sandbox.transport"
"""The key of the connection's transport in the ASGI scope's state."""

_LINGER_NOT = struct.pack("ii", 1, 0)
_CHUNK = 65_536
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    425: "TOO_EARLY",
    429: "RATE_LIMIT_EXCEEDED",
    503: "SERVICE_UNAVAILABLE",
}
_HTML = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_BODIES = {
    "not_json": "Something went wrong.",
    "cut_json": '{"data": {"events_received": 1, "events_proc',
    "empty": "",
    "wrong_types": '{"data": {"events_received": "three", "events_processed": [], '
    '"partial_failures": {"a": 1}, "warnings": 7, "match_quality": "high"}, "error": false}',
    "null": "null",
    "list": "[1, 2, 3]",
}


_AFTER_HALF = {"truncate": "close", "truncate_reset": "reset"}
"""How a connection is broken after half of a response."""


async def apply_fault(
    fault: InjectedFault | None,
    produce: Callable[[], Response],
    refuse: Callable[[ApiError], Response],
    crash: Callable[[], None],
) -> Response:
    """Respond normally, or as `fault` asks.

    Args:
        fault: The fault, if any.
        produce: Handles the request and returns the normal response.
        refuse: Converts an error to a response.
        crash: Stops the seller at once.

    Returns:
        The response, which may break the connection.
    """
    if fault is None:
        return produce()
    await asyncio.sleep(fault.latency_ms / 1000)
    usual = _normal_response(produce, refuse) if fault.after or not fault.replaces else None
    answer = _faulty_response(fault, usual, refuse)
    answer.headers.update(fault.headers)
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = fault.retry_after
    if fault.crash:
        answer.background = BackgroundTask(crash)
    return answer


def _normal_response(
    produce: Callable[[], Response], refuse: Callable[[ApiError], Response]
) -> Response:
    try:
        return produce()
    except ApiError as refusal:
        return refuse(refusal)


def _faulty_response(
    fault: InjectedFault, usual: Response | None, refuse: Callable[[ApiError], Response]
) -> Response:
    if fault.connection in _AFTER_HALF:
        whole = usual if usual is not None else refuse(to_api_error(fault))
        return BrokenConnection(_AFTER_HALF[fault.connection], whole)
    if fault.connection is not None:
        return BrokenConnection(fault.connection)
    if fault.location is not None:
        return Response(status_code=fault.status or 307, headers={"Location": fault.location})
    if fault.body is not None or fault.text is not None:
        return _malformed_response(fault)
    return refuse(to_api_error(fault)) if fault.is_error or usual is None else usual


def to_api_error(fault: InjectedFault) -> ApiError:
    """Return the error described by `fault`."""
    status = 400 if fault.status is None else fault.status
    named = [Issue(fault.field, "is invalid, as requested", "fault")] if fault.field else []
    listed = [
        Issue(entry.get("pointer", ""), entry.get("message", ""), entry.get("keyword", "fault"))
        for entry in fault.issues
    ]
    return ApiError(
        status,
        fault.code or _CODES.get(status, "INTERNAL_ERROR"),
        fault.message,
        recovery=fault.recovery,
        issues=tuple(listed or named),
        retry_after_s=fault.retry_after_s,
        details=fault.details,
    )


def _malformed_response(fault: InjectedFault) -> Response:
    status = 200 if fault.status is None else fault.status
    if fault.body == "huge":
        return StreamingResponse(_filler(fault.size_bytes), status, media_type="application/json")
    if fault.body == "html":
        return Response(_HTML.format(status), status, media_type="text/html")
    text = fault.text if fault.body is None else _BODIES[fault.body]
    return Response(text, status, media_type=fault.content_type)


async def _filler(size: int) -> AsyncIterator[bytes]:
    head, tail = b'{"data": {"filler": "', b'"}}'
    yield head
    left = size - len(head) - len(tail)
    while left > 0:
        yield b"x" * min(left, _CHUNK)
        left -= _CHUNK
    yield tail


class BrokenConnection(Response):
    """Break the connection: instead of responding, or after half of a response.

    ``reset`` sends a TCP reset, ``close`` closes the stream, ``stall`` sends nothing until
    the client gives up.
    """

    def __init__(self, how: str, whole: Response | None = None) -> None:
        super().__init__(status_code=0 if whole is None else whole.status_code)
        self.how = how
        self.whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the response, break the connection, and wait for the disconnect."""

        async def send_half(message: Message) -> None:
            if message["type"] == "http.response.body":
                body = message["body"]
                message = {**message, "body": body[: len(body) // 2], "more_body": True}
            await send(message)

        if self.whole is not None:
            await self.whole(scope, receive, send_half)
        if self.how == "reset":
            reset_transport(find_transport(scope))
        elif self.how == "close":
            find_transport(scope).close()
        while (await receive())["type"] != "http.disconnect":
            pass
        if self.background is not None:
            await self.background()


def find_transport(scope: Scope) -> asyncio.Transport:
    """Return the transport of a request's connection.

    Raises:
        RuntimeError: If the app doesn't run under the sandbox's own server.
    """
    try:
        transport: asyncio.Transport = scope["state"][TRANSPORT]
    except KeyError:
        raise RuntimeError(
            "Connection faults need the sandbox's own server: use Sandbox or run()."
        ) from None
    return transport


def reset_transport(transport: asyncio.BaseTransport) -> None:
    """Close with SO_LINGER 0, which makes the kernel send a reset."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    if isinstance(transport, asyncio.Transport):
        transport.abort()
