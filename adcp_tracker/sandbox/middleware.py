"""What every request passes: rate limit, token, size, decoding and the request log."""

from __future__ import annotations

import hmac
import zlib
from typing import TYPE_CHECKING

import orjson

from adcp_tracker.sandbox.failures import ApiError, BrokenConnection
from adcp_tracker.sandbox.store import SeenRequest
from adcp_tracker.sandbox.timeline import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.seller import Seller


_MOST_NESTED = 100
_MOST_DIGITS = 18


def read_json(text: bytes) -> object:
    """Decode JSON of limited depth.

    Raises:
        ValueError: If it is not JSON, or nested too deep.
    """
    content: object = orjson.loads(text)
    level = [content]
    for _ in range(_MOST_NESTED + 1):
        level = [value for value in level if isinstance(value, (dict, list))]
        if not level:
            return content
        level = [inner for outer in level for inner in _inside(outer)]
    raise ValueError(f"nested over {_MOST_NESTED} levels deep")


def _inside(outer: object) -> Iterable[object]:
    return outer.values() if isinstance(outer, dict) else outer  # type: ignore[return-value]


def read_whole_number(text: str) -> int | None:
    """Return a number of up to 18 decimal digits, or ``None``."""
    is_one = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if is_one else None


_SECRET_HEADERS = frozenset({"authorization", "cookie"})
_UNPACK_GZIP = 16 + zlib.MAX_WBITS
_PREFIX = 8


def apply_rate_limit(seller: Seller) -> dict[str, str]:
    """Count a request against the rate limit.

    Returns:
        The ``RateLimit-*`` headers for its response.

    Raises:
        ApiError: If there were too many requests.
    """
    config = seller.config
    if config.rate_limit is None:
        return {}
    allowed, headers = seller.limiter.take(config.rate_limit, config.rate_window_s)
    if not allowed:
        raise ApiError(
            429,
            "RATE_LIMIT_EXCEEDED",
            "Too many requests.",
            recovery="transient",
            retry_after_s=float(headers["Retry-After"]),
            headers=headers,
        )
    return headers


def check_token(request: Request, config: SandboxConfig) -> None:
    """Check the bearer token of a request.

    Raises:
        ApiError: If the token is missing or unknown.
    """
    if not config.tokens:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip().encode("utf-8", "surrogateescape")
    known = [hmac.compare_digest(given, known.encode()) for known in config.tokens]
    if scheme.lower() != "bearer" or not any(known):
        raise ApiError(
            401,
            "UNAUTHORIZED",
            "The bearer token is missing or unknown.",
            recovery="terminal",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def read_body(request: Request, config: SandboxConfig) -> bytes:
    """Read the body without decompressing it, up to the seller's limit.

    Raises:
        ApiError: If it is too large, or its Content-Encoding is not supported.
    """
    packing = request.headers.get("content-encoding", "identity").lower()
    if packing != "identity" and not (packing == "gzip" and config.gzip):
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "This Content-Encoding is not supported.")
    declared = read_whole_number(request.headers.get("content-length", "0"))
    if declared is not None and declared > config.max_bytes:
        raise _too_large(config)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > config.max_bytes:
            raise _too_large(config)
    return bytes(body)


def decode(body: bytes, request: Request, config: SandboxConfig) -> object:
    """Decompress the body and parse it as JSON.

    Raises:
        ApiError: If it is too large, not JSON, or nested too deep.
    """
    if request.headers.get("content-encoding", "identity").lower() == "gzip":
        body = _unpack(body, config)
    try:
        return read_json(body)
    except ValueError as error:
        message = "The body is not JSON, or nested too deep."
        raise ApiError(400, "BAD_REQUEST", message) from error


def _unpack(body: bytes, config: SandboxConfig) -> bytes:
    unpacker = zlib.decompressobj(_UNPACK_GZIP)
    try:
        unpacked = unpacker.decompress(body, config.max_bytes + 1)
    except zlib.error as error:
        raise ApiError(400, "BAD_REQUEST", "The body is not gzip.") from error
    if len(unpacked) > config.max_bytes:
        raise _too_large(config)
    if not unpacker.eof:
        raise ApiError(400, "BAD_REQUEST", "The gzip body is truncated.")
    return unpacked


def _too_large(config: SandboxConfig) -> ApiError:
    message = f"The body is over {config.max_bytes} bytes."
    return ApiError(413, "PAYLOAD_TOO_LARGE", message, details={"max_bytes": config.max_bytes})


def log_request(  # noqa: PLR0913 - keyword arguments
    request: Request,
    seller: Seller,
    response: Response,
    *,
    call: str,
    body: bytes,
    via: str,
    key: object = None,
) -> None:
    """Add `request` to the request log and the timeline, without credentials."""
    status = 0 if isinstance(response, BrokenConnection) else response.status_code
    headers = {
        name: value for name, value in request.headers.items() if name not in _SECRET_HEADERS
    }
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    prefix = key[:_PREFIX] if isinstance(key, str) else ""
    seen = SeenRequest(request.method, path, call, headers, len(body), seller.now(), prefix, status)
    seller.store.add_request(seen)
    answer: bytes = getattr(response, "body", b"")  # streams have none
    exchange = Exchange(request.method, path, headers, body, status, bytes(answer))
    seller.timeline.close_request(exchange, is_log_event=call == "log_event", via=via)
