"""An HTTP client with a total deadline, bounded responses and no redirects."""

from __future__ import annotations

# Name resolution and httpx import these two on first use; import them before any fork.
import encodings.idna  # noqa: F401 - see above
import logging
import os
import socket
import ssl
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING

import attrs
import httpcore  # noqa: F401 - see above
import httpx

from adcp_tracker.destinations.base import Paused, RequestBody, Retry, Timeouts, redaction_of
from adcp_tracker.destinations.responses import OVERSIZE, UNDECODABLE, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


RESPONSE_LIMIT = 1_000_000
"""The most bytes of a response that are read, compressed or decompressed."""

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b\x08"
_BEGINS_TEXT = frozenset(b' \t\r\n{["<\xef')
# Other values, such as "utf-8", are mistakes and don't compress anything.
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"})


class ResponseTooLarge(httpx.RequestError):
    """A response is longer than the limit."""


def limit_response(response: httpx.Response) -> None:
    """Limit what can be read of `response`; an event hook for httpx.

    Reading yields decompressed bytes up to the limit, and then raises
    :class:`ResponseTooLarge`; or :class:`httpx.DecodingError` if the response is compressed
    with anything but gzip or deflate, which the request didn't ask for.
    """
    named = response.headers.get_list("content-encoding", split_commas=True)
    codings = [coding for coding in map(str.lower, named) if coding in _ENCODINGS]
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _LimitedStream(response.stream, _decompressor(codings))
        response.headers.pop("content-encoding", None)


@attrs.define(eq=False)
class _LimitedStream(httpx.SyncByteStream):
    """A stream that ends soon after the limit."""

    stream: httpx.SyncByteStream
    unpack: Callable[[bytes, int], bytes]

    def __iter__(self) -> Iterator[bytes]:
        received = yielded = 0
        for piece in self.stream:
            unpacked = self.unpack(piece, RESPONSE_LIMIT + 1 - yielded)
            yield unpacked[: RESPONSE_LIMIT - yielded]
            received += len(piece)
            yielded += len(unpacked)
            if max(received, yielded) > RESPONSE_LIMIT:
                raise ResponseTooLarge(f"expected at most {RESPONSE_LIMIT} bytes, got more")

    def close(self) -> None:
        self.stream.close()


def _decompressor(codings: list[str]) -> Callable[[bytes, int], bytes]:
    """Return a function that decompresses a chunk up to a number of bytes.

    The first bytes tell how a body is compressed, whatever the headers say: proxies compress
    without a header, and leave the header of what they decompressed.
    """
    packed: zlib._Decompress | None = None
    is_first = True

    def unpack(piece: bytes, most: int) -> bytes:
        nonlocal packed, is_first
        begins, is_first = is_first and bool(piece), is_first and not piece
        if begins:
            packed = _inflater(piece, codings)
        if packed is None:
            return piece[:most]
        try:
            unpacked = packed.decompress(piece, most)
        except zlib.error:
            raise httpx.DecodingError(
                "expected a response compressed with gzip or deflate, got other data"
            ) from None
        if begins and codings[1:] and unpacked.startswith(_GZIP_MAGIC):
            raise httpx.DecodingError("expected a response compressed once, got it twice")
        return unpacked

    return unpack


def _inflater(first: bytes, codings: list[str]) -> zlib._Decompress | None:
    """Return what decompresses a body that begins with `first`; ``None`` if nothing has to."""
    if first.startswith(_GZIP_MAGIC) or (codings and first[:1] == _GZIP_MAGIC[:1]):
        return zlib.decompressobj(_GZIP)
    if not codings or first[0] in _BEGINS_TEXT:
        return None
    if first[0] & 0xF == zlib.DEFLATED:
        return zlib.decompressobj()
    if codings[-1] != "deflate":
        raise httpx.DecodingError(
            "expected a response without compression, or with gzip or deflate, got another"
        )
    return zlib.decompressobj(-zlib.MAX_WBITS)  # as some servers understand "deflate"


class AuthenticationFailed(Exception):  # noqa: N818 - never raised at users
    """There is no credential for a request, so it wasn't sent.

    Attributes:
        outcome: What the delivery does about it.
    """

    def __init__(self, outcome: Retry | Paused) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


DEADLINE = "deadline"

# The first row that matches an exception or one of its causes decides, so specific
# exceptions come first.
_EXCEPTIONS: tuple[tuple[type[BaseException], str, str], ...] = (
    (socket.gaierror, "dns", "The seller's host name can't be resolved."),
    (ssl.SSLError, "tls", "The encrypted connection failed."),
    (httpx.ConnectTimeout, "connect_timeout", "The seller couldn't be reached in time."),
    (httpx.ReadTimeout, "read_timeout", "The seller didn't respond in time."),
    (httpx.WriteTimeout, "write_timeout", "The seller didn't read the request in time."),
    (httpx.PoolTimeout, "pool_timeout", "No connection to the seller became free in time."),
    (ConnectionRefusedError, "refused", "The seller's address refuses connections."),
    (httpx.ProxyError, "proxy", "The proxy from the environment refused the connection."),
    (httpx.ConnectError, "connect", "The seller couldn't be reached."),
    (
        httpx.RemoteProtocolError,
        "disconnected",
        "The seller closed the connection.",
    ),
    (httpx.NetworkError, "reset", "The connection to the seller broke."),
    (httpx.DecodingError, UNDECODABLE, "The response's compression is unknown or broken."),
    (ResponseTooLarge, OVERSIZE, "The seller's response is larger than 1 MB."),
)

_UNTRUSTED = Paused(
    code="tls_untrusted",
    message="The seller's certificate isn't trusted, so nothing was sent.",
    remedy=(
        "Check the address and this machine's clock. For a private certificate authority, set "
        "SSL_CERT_FILE. Otherwise somebody may be intercepting the connection."
    ),
)


def outcome_from_exception(error: Exception, *, expired: bool) -> Retry | Paused:
    """Return the outcome of a request that raised.

    An untrusted certificate pauses: retrying wouldn't help, and the server must not get the
    credential. Everything else may be temporary.

    Args:
        error: The exception.
        expired: Whether the request was cut off at its deadline.
    """
    if expired:
        return Retry(DEADLINE, "The call took longer than the total timeout.")
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, AuthenticationFailed):
            return cause.outcome
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return _UNTRUSTED
    if any(map(_is_malformed, causes)):
        return Retry("malformed_answer", "The seller's response isn't valid HTTP.")
    for kind, code, message in _EXCEPTIONS:
        if any(isinstance(cause, kind) for cause in causes):
            return Retry(code, message)
    return Retry("call_failed", f"The call failed: {type(error).__name__}.")


def _is_malformed(error: BaseException) -> bool:
    """Return whether a response is invalid HTTP, rather than cut off."""
    is_cut = str(error).startswith(("Server disconnected", "peer closed"))
    return isinstance(error, httpx.RemoteProtocolError) and not is_cut


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


_SMALL_BYTES = 256 * 1024
_REDIRECTS = frozenset({301, 302, 307, 308})


@attrs.define(eq=False, repr=False)
class HttpClient:
    """Calls one seller, one request at a time, over one connection per process.

    Attributes:
        timeouts: How long a call may take.
        transport: Replaces the network, in tests.
        auth: Authenticates or signs each request.
        now: The clock that dates in responses are compared with.
    """

    timeouts: Timeouts = attrs.field(factory=Timeouts)
    transport: httpx.BaseTransport | None = None
    auth: httpx.Auth | None = None
    now: Callable[[], float] = time.time
    _client: httpx.Client | None = attrs.field(default=None, init=False)
    _is_secure: bool = attrs.field(default=False, init=False)
    _moved: dict[str, str] = attrs.field(factory=dict, init=False)
    _pid: int = attrs.field(default=0, init=False)
    _socket: socket.socket | None = attrs.field(default=None, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | RequestBody | None = None,
        stop_when: Callable[[bytes], bool] | None = None,
    ) -> Response | Retry | Paused:
        """Send one request; return the response, or the outcome if there is none.

        Args:
            method: The HTTP method.
            url: The absolute URL.
            headers: Headers besides httpx's own.
            body: The body, if any.
            stop_when: Called with each chunk of the response; returns whether to stop.
        """
        to = self._moved.get(url, url)
        response = self._send(method, to, headers, body, stop_when)
        moved = slash_redirect(to, response) if isinstance(response, Response) else None
        if moved is None:
            return response
        self._moved[url] = moved
        return self._send(method, moved, headers, body, stop_when)

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | RequestBody | None,
        stop_when: Callable[[bytes], bool] | None,
    ) -> Response | Retry | Paused:
        if self._pid != os.getpid():
            self.after_fork()
        with self._lock, self._deadline() as deadline, _as_content(body) as content:
            try:
                client = self._open(url)
                request = client.build_request(
                    method,
                    url,
                    headers={**headers, **_content_headers(content)},
                    content=content,
                    extensions={"trace": partial(self._trace, deadline)},
                )
                return self._exchange(client, request, deadline, stop_when)
            except Exception as error:  # noqa: BLE001 - no seller or hook may break a delivery
                return outcome_from_exception(error, expired=deadline.expired)

    def prepare(self, url: str) -> None:
        """Import and set up what a request to `url` needs, without making one."""
        if self._pid != os.getpid():
            self.after_fork()
        with self._lock:
            self._open(url)

    def close(self) -> None:
        """Close the connection; a later request opens a new one.

        A request in progress keeps its connection, so that closing never waits for a seller.
        """
        if self._pid != os.getpid():
            self.after_fork()
        if not self._lock.acquire(blocking=False):
            return
        try:
            client, self._client, self._socket = self._client, None, None
            if client is not None:
                client.close()
        finally:
            self._lock.release()

    def after_fork(self) -> None:
        """Drop a connection that belongs to the parent of a fork.

        Closes only this process's copy of the descriptor, so that the seller notices nothing
        and the parent can go on using its own.
        """
        inherited = self._socket if self._client is not None else None
        self._lock = threading.Lock()
        self._client, self._socket, self._pid = None, None, os.getpid()
        if inherited is not None:
            descriptor = inherited.detach()
            with suppress(OSError):
                os.close(descriptor)

    def _open(self, url: str) -> httpx.Client:
        is_secure = url.startswith("https:")
        if self._client is not None and self._is_secure is not is_secure:
            self._client.close()  # one for plain http doesn't verify certificates
            self._client = None
        if self._client is None:
            self._pid, self._is_secure = os.getpid(), is_secure
            times = self.timeouts  # waiting for the pool counts as connecting
            self._client = httpx.Client(
                auth=self.auth,
                transport=self.transport,
                timeout=httpx.Timeout(times.connect, read=times.read, write=times.write),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                follow_redirects=False,
                event_hooks={"response": [limit_response]},
                trust_env=is_secure,
                # Plain http needs no certificates, which are slow to load.
                verify=is_secure,
            )
        return self._client

    def _exchange(
        self,
        client: httpx.Client,
        request: httpx.Request,
        deadline: _Deadline,
        stop_when: Callable[[bytes], bool] | None,
    ) -> Response:
        with quiet_httpx():
            response = client.send(request, stream=True)
        try:
            body, truncated = _read(response, deadline, stop_when)
        finally:
            response.close()
        headers = _merged(response.headers.multi_items())
        hidden = redaction_of(response.request.headers, dict(response.request.url.params).values())
        return Response(response.status_code, headers, body, truncated, self.now(), hidden)

    def _trace(self, deadline: _Deadline, _event: str, info: Mapping[str, object]) -> None:
        """Remember the connection's socket, so that a deadline can shut it down.

        If the deadline passed before there was a connection, shut it down now.
        """
        describe = getattr(info.get("return_value"), "get_extra_info", None)
        found = describe("socket") if callable(describe) else None
        if isinstance(found, socket.socket):
            self._socket = found
            if deadline.expired:
                self._abort_connection()

    @contextmanager
    def _deadline(self) -> Iterator[_Deadline]:
        deadline = _Deadline(self._abort_connection)
        timer = threading.Timer(self.timeouts.total, deadline.expire)
        timer.daemon = True
        # A process that is exiting can't start threads; then only the timeouts apply.
        with suppress(RuntimeError):
            timer.start()
        try:
            yield deadline
        finally:
            timer.cancel()
            deadline.finish()

    def _abort_connection(self) -> None:
        if self._socket is not None:
            # Not the TLS socket's own method: it would first drop its encryption while another
            # thread may still be writing.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@attrs.define(eq=False)
class _Deadline:
    """Cuts a request off at its deadline, unless it has finished."""

    abort: Callable[[], None]
    expired: bool = False
    finished: bool = False
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def expire(self) -> None:
        with self.lock:
            if not self.finished:
                self.expired = True
                self.abort()

    def finish(self) -> None:
        with self.lock:
            self.finished = True


@attrs.define(eq=False)
class _StreamedBody:
    """A large body that is released as soon as its request ends.

    httpx's requests are reference cycles, which would keep the body in memory until the next
    garbage collection.
    """

    body: RequestBody | None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body or ())


@contextmanager
def _as_content(body: bytes | RequestBody | None) -> Iterator[bytes | _StreamedBody | None]:
    """Yield the content for httpx; large bodies are streamed."""
    if not isinstance(body, RequestBody):
        yield body
    elif body.size <= _SMALL_BYTES:
        yield b"".join(body)
    else:
        loan = _StreamedBody(body)
        try:
            yield loan
        finally:
            loan.body = None


def _content_headers(content: bytes | _StreamedBody | None) -> dict[str, str]:
    """Return ``Content-Length``, which httpx doesn't know for streams."""
    if isinstance(content, _StreamedBody) and content.body is not None:
        return {"Content-Length": str(content.body.size)}
    return {}


def _read(
    response: httpx.Response, deadline: _Deadline, stop_when: Callable[[bytes], bool] | None
) -> tuple[bytes, str]:
    """Return the body, and why it is incomplete if it is."""
    body = bytearray()
    try:
        for piece in response.iter_bytes():
            body += piece
            if deadline.expired:
                break
            if stop_when is not None and stop_when(piece):
                return bytes(body), ""
    except httpx.HTTPError as error:
        return bytes(body), outcome_from_exception(error, expired=deadline.expired).code
    return bytes(body), DEADLINE if deadline.expired else ""


def _merged(items: list[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; proxies add the same one again."""
    merged: dict[str, list[str]] = {}
    for name, value in items:
        values = merged.setdefault(name.lower(), [])
        if value not in values:
            values.append(value)
    return {name: ", ".join(values) for name, values in merged.items()}


def slash_redirect(url: str, response: Response) -> str | None:
    """Return where a redirect leads that only adds or removes the slash at the end.

    Servers mount applications so. Anything else isn't followed: the origin and the query
    stay, so credentials and events go nowhere else.
    """
    if response.status not in _REDIRECTS or "location" not in response.headers:
        return None
    try:
        before = httpx.URL(url)
        after = before.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return None
    path = before.path.removesuffix("/") if before.path.endswith("/") else f"{before.path}/"
    wanted = before.copy_with(path=path)
    found = after if after.query else after.copy_with(query=before.query or None)
    return str(wanted) if found == wanted else None


_own_request: ContextVar[bool] = ContextVar("adcp_tracker_own_request", default=False)


def _is_hosts(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not _own_request.get()


@contextmanager
def quiet_httpx() -> Iterator[None]:
    """Keep httpx from logging the library's own requests at INFO in the host's log.

    The host's requests and httpx's warnings are logged as before.
    """
    log = logging.getLogger("httpx")
    if _is_hosts not in log.filters:
        log.addFilter(_is_hosts)
    token = _own_request.set(True)
    try:
        yield
    finally:
        _own_request.reset(token)
