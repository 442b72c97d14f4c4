"""What every request passes: allowed hosts and origins, limits, tokens, and the request log."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from typing import TYPE_CHECKING

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

from adcp_tracker.destinations.validation import is_loopback
from adcp_tracker.sandbox.failures import ApiError
from adcp_tracker.sandbox.store import SeenRequest
from adcp_tracker.sandbox.timeline import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

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
    status = response.status_code
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


_CROSS_ORIGIN_MESSAGE = (
    "Requests from other web pages are not allowed. From a program, send neither Origin nor "
    "Sec-Fetch-Site."
)
_ASK_FOR_LINK = (
    "Open the link that adcp-tracker sandbox printed, which ends with ?token=…; from a program, "
    "send the token as a bearer token."
)
_COOKIE = "adcp_sandbox"
_CROSS_SITES = frozenset({"cross-site", "same-site"})


class Guard:
    """Answers in place of the app where `check` returns a response."""

    def __init__(self, app: ASGIApp, check: Callable[[Request], Response | None]) -> None:
        self.app = app
        self.check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or call the app."""
        answer = self.check(Request(scope)) if scope["type"] == "http" else None
        await (self.app if answer is None else answer)(scope, receive, send)


def refuse_other_hosts(request: Request) -> Response | None:
    """Reject requests whose ``Host`` is not this machine.

    Prevents DNS rebinding: a web page can point its own name to 127.0.0.1 and read the
    responses, but its requests still carry that name.
    """
    if is_loopback(_requested_host(request.scope).lower()):
        return None
    return PlainTextResponse("This seller only answers requests to localhost.", 421)


def refuse_other_origins(request: Request) -> Response | None:
    """Reject requests of other origins, except reads of the page.

    Prevents CSRF: browsers send simple POST requests for any page. They name its origin in
    headers that pages can't forge and that programs don't send.
    """
    if _is_read_only(request.scope) or not _is_cross_origin(request.scope):
        return None
    return PlainTextResponse(_CROSS_ORIGIN_MESSAGE, 403)


def require_page_token(token: str) -> Callable[[Request], Response | None]:
    """Require a token for the page and for ``/_sandbox``, on networks that others can reach.

    The link that the command prints has it in the query; a cookie keeps it from there on.
    Programs send it as a bearer token. The seller's own calls check theirs themselves.
    """
    kept = hashlib.sha256(token.encode()).hexdigest()

    def is_token(given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())

    def check(request: Request) -> Response | None:
        path = request.scope["path"]
        if path != "/" and not path.startswith("/_sandbox/"):
            return None
        given = request.query_params.get("token")
        if given is not None and is_token(given):
            redirect = RedirectResponse("/", 303)
            redirect.set_cookie(_COOKIE, kept, httponly=True, samesite="strict")
            return redirect
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        cookie = request.cookies.get(_COOKIE, "").encode()
        is_known = scheme.lower() == "bearer" and is_token(bearer.strip())
        if is_known or hmac.compare_digest(cookie, kept.encode()):
            return None
        return PlainTextResponse(_ASK_FOR_LINK, 401)

    return check


def _is_read_only(scope: Scope) -> bool:
    # Other GET requests are counted and may use up an injected fault.
    path: str = scope["path"]
    return scope["method"] in {"GET", "HEAD"} and (path == "/" or path.startswith("/_sandbox/"))


def _is_cross_origin(scope: Scope) -> bool:
    own = {f"{scope['scheme']}://{host}".lower() for host in _header_values(scope, b"host")}
    origins = {origin.lower() for origin in _header_values(scope, b"origin")}
    sites = {site.lower() for site in _header_values(scope, b"sec-fetch-site")}
    return not origins <= own or not sites.isdisjoint(_CROSS_SITES)


def _header_values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def _requested_host(scope: Scope) -> str:
    named = _header_values(scope, b"host")
    host = named[0] if len(named) == 1 else ""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
