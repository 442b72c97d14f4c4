"""Turn what an MCP tool answers into an outcome.

Sellers put the protocol's error in five places; they are asked in this order:
``structuredContent.adcp_error``, the JSON-RPC error's ``data``, JSON inside the text of
``content``, ``structuredContent.errors``, the HTTP status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.destinations.answers import apply, from_http, from_task, refused
from adcp_tracker.destinations.base import Retry
from adcp_tracker.destinations.replies import decode
from adcp_tracker.destinations.seller_errors import SellerError, find_error, read_error
from adcp_tracker.destinations.table import RPC_CODES, UNKNOWN
from adcp_tracker.destinations.words import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.destinations.base import Outcome
    from adcp_tracker.destinations.replies import Reply

_NO_WORDS = SellerError()

_MOST_TEXTS = 10


def from_mcp(message: object, reply: Reply, count: int) -> Outcome:
    """Return what the answer to a ``tools/call`` means for the events it carried.

    Args:
        message: The JSON-RPC message, or ``None`` where the reply holds none.
        reply: The HTTP answer that carried it.
        count: How many events the call carried.
    """
    if not isinstance(message, dict):
        return from_task(None, reply, count) if reply.is_success else from_http(reply, count)
    error, result = message.get("error"), message.get("result")
    content = result.get("structuredContent") if isinstance(result, dict) else None
    if isinstance(error, dict) and _adcp_error(content) is None:
        return _rpc_error(error, reply, count)
    if isinstance(result, dict):
        return _result(result, reply, count)
    return from_task(None, reply, count) if reply.is_success else refused(_NO_WORDS, reply, count)


def is_protocol_error(message: object) -> bool:
    """Return whether a JSON-RPC error carries an error of the advertising protocol."""
    error = message.get("error") if isinstance(message, dict) else None
    return isinstance(error, dict) and _adcp_error(error.get("data")) is not None


def structured(result: Mapping[str, object]) -> dict[str, object] | None:
    """Return a tool's result as an object, from ``structuredContent`` or from its text."""
    content = result.get("structuredContent")
    return content if isinstance(content, dict) else _text_object(result)


def _result(result: Mapping[str, object], reply: Reply, count: int) -> Outcome:
    content, text = result.get("structuredContent"), _text_object(result)
    found = _adcp_error(content) or _adcp_error(text) or find_error(content) or find_error(text)
    if found is not None:
        replayed = any(isinstance(b, dict) and b.get("replayed") is True for b in (content, text))
        return refused(read_error(found, replayed=replayed), reply, count)
    if result.get("isError") is True:
        return Retry("tool_error", _words(result), budgeted=True)
    if not reply.is_success:
        return refused(_NO_WORDS, reply, count)
    return from_task(structured(result), reply, count)


def _rpc_error(error: Mapping[str, object], reply: Reply, count: int) -> Outcome:
    data = error.get("data")
    found = _adcp_error(data)
    if found is None and isinstance(data, dict) and isinstance(data.get("code"), str):
        found = data
    if found is not None:
        return refused(read_error(found), reply, count)
    if not reply.is_success:
        return refused(SellerError(message=clean(error.get("message"))), reply, count)
    number = error.get("code")
    row = RPC_CODES.get(number, UNKNOWN) if isinstance(number, int) else UNKNOWN
    issues = read_error(data).issues if isinstance(data, dict) else ()
    said = SellerError(f"rpc_{clean(str(number), 20)}", clean(error.get("message")), issues=issues)
    return apply(row, said, reply, count)


def _adcp_error(body: object) -> Mapping[str, object] | None:
    found = body.get("adcp_error") if isinstance(body, dict) else None
    return found if isinstance(found, dict) and found else None


def _text_object(result: Mapping[str, object]) -> dict[str, object] | None:
    for text in _texts(result):
        payload = decode(text)
        if isinstance(payload, dict):
            return payload
    return None


def _texts(result: Mapping[str, object]) -> list[str]:
    content = result.get("content")
    items = content[:_MOST_TEXTS] if isinstance(content, list) else []
    texts = (item.get("text") for item in items if isinstance(item, dict))
    return [text for text in texts if isinstance(text, str)]


def _words(result: Mapping[str, object]) -> str:
    return clean(" ".join(_texts(result))) or "The tool failed and did not say why."
