"""How the MCP side says things: as JSON or as events, and its errors in six places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from adcp_tracker.sandbox.config import ErrorPlace, SandboxConfig
    from adcp_tracker.sandbox.refusal import RefusalError

_TOOL_ERROR = -32000


@attrs.frozen
class Phrasing:
    """Words answers to one JSON-RPC message.

    Attributes:
        config: Whether answers come as JSON or as events.
        message_id: The id of the message that is answered.
    """

    config: SandboxConfig
    message_id: object

    def result(self, result: dict[str, object]) -> Response:
        """Answer with a result."""
        return self._send({"result": result})

    def broken(self, code: int, message: str, status: int = 200) -> Response:
        """Answer with an error of JSON-RPC itself."""
        body = self._message({"error": {"code": code, "message": message}})
        return Response(body, status, media_type="application/json")

    def success(self, answer: dict[str, object]) -> Response:
        """Answer with what a tool returned."""
        return self.result(_tool_result(answer, orjson.dumps(answer).decode(), is_error=False))

    def refuse(self, refusal: RefusalError, place: ErrorPlace) -> Response:
        """Answer with an error of the protocol in one of the places where sellers put it."""
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

    def over_http(self, refusal: RefusalError) -> Response:
        """Answer with an HTTP status, and a body that says no more than that."""
        error = {"code": _TOOL_ERROR, "message": refusal.message}
        response = Response(
            self._message({"error": error}), refusal.status, media_type="application/json"
        )
        response.headers.update(refusal.headers)
        return response

    def _message(self, content: dict[str, object]) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": self.message_id, **content})

    def _send(self, content: dict[str, object]) -> Response:
        message = self._message(content)
        if not self.config.sse:
            return Response(message, media_type="application/json")
        note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info",'
        note += b'"data":"working"}}'
        # Clients have to bear comments and messages that are not the answer.
        stream = b": hold on\r\n\r\nevent: message\r\ndata: %b\r\n\r\nevent: message\r\nid: 1\r\n"
        body = stream % note + b"data: %b\r\n\r\n" % message
        return Response(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _tool_result(
    structured: dict[str, object] | None, words: str, *, is_error: bool
) -> dict[str, object]:
    result: dict[str, object] = {"content": [{"type": "text", "text": words}], "isError": is_error}
    if structured is not None:
        result["structuredContent"] = structured
    return result
