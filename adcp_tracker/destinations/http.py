"""HttpClient: total deadline, bounded responses, no redirects."""

from __future__ import annotations

# Python's look-up of names and httpx load these two when first used, in the leading thread.
import encodings.idna  # noqa: F401 - see above
import os
import socket
import ssl
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs
import httpcore  # noqa: F401 - see above
import httpx

from adcp_tracker.destinations.base import Paused, Retry, Timeouts
from adcp_tracker.destinations.payload import Body
from adcp_tracker.destinations.redaction import redaction_of
from adcp_tracker.destinations.responses import OVERSIZE, UNDECODABLE, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


RESPONSE_LIMIT = 1_000_000
"""The most bytes of an answer that are read, on the wire and unpacked."""

_GZIP = 16 + zlib.MAX_WBITS
# Whatever else an answer calls its coding, as some do with "utf-8", packs nothing.
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"})


class ResponseTooLarge(httpx.RequestError):
    """An answer goes on beyond what is read of one."""


def limit_response(response: httpx.Response) -> None:
    """Have `response` read within bounds, by whomever; for httpx's hook for responses.

    Whoever reads it gets what is unpacked, up to the limit, and then an
    :class:`ResponseTooLarge`; or an :class:`httpx.DecodingError` where it is packed in another
    way than by gzip alone, which nobody asked for.
    """
    named = response.headers.get_list("content-encoding", split_commas=True)
    packings = [coding for coding in map(str.lower, named) if coding in _ENCODINGS]
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _LimitedStream(response.stream, _decompressor(packings))
        response.headers.pop("content-encoding", None)


@attrs.define(eq=False)
class _LimitedStream(httpx.SyncByteStream):
    """A stream that ends soon after its limit, whatever it is made of."""

    stream: httpx.SyncByteStream
    unpack: Callable[[bytes, int], bytes]

    def __iter__(self) -> Iterator[bytes]:
        came = given = 0
        for piece in self.stream:
            unpacked = self.unpack(piece, RESPONSE_LIMIT + 1 - given)
            yield unpacked[: RESPONSE_LIMIT - given]
            came += len(piece)
            given += len(unpacked)
            if max(came, given) > RESPONSE_LIMIT:
                raise ResponseTooLarge(f"expected {RESPONSE_LIMIT} bytes or fewer, got more")

    def close(self) -> None:
        self.stream.close()


def _decompressor(packings: list[str]) -> Callable[[bytes, int], bytes]:
    """Return what makes of a piece at most so many bytes of the answer."""
    if not packings:
        return lambda piece, most: piece[:most]
    packed = zlib.decompressobj(_GZIP)

    def unpack(piece: bytes, most: int) -> bytes:
        if packings != ["gzip"]:
            raise httpx.DecodingError("expected an answer as it is or packed by gzip, got another")
        try:
            return packed.decompress(piece, most)
        except zlib.error:
            raise httpx.DecodingError("expected an answer packed by gzip, got none") from None

    return unpack


DEADLINE = "deadline"

# The first row that fits an exception or one of its causes decides, so the particular
# stands before the general.
_EXCEPTIONS: tuple[tuple[type[BaseException], str, str], ...] = (
    (socket.gaierror, "dns", "The seller's host name cannot be resolved."),
    (ssl.SSLError, "tls", "The encrypted connection could not be set up or broke."),
    (httpx.ConnectTimeout, "connect_timeout", "The seller could not be reached in time."),
    (httpx.ReadTimeout, "read_timeout", "The seller did not answer in time."),
    (httpx.WriteTimeout, "write_timeout", "The seller did not take the request in time."),
    (httpx.PoolTimeout, "pool_timeout", "No connection to the seller came free in time."),
    (ConnectionRefusedError, "refused", "Nobody listens at the seller's address."),
    (httpx.ProxyError, "proxy", "The proxy from the environment refused the connection."),
    (httpx.ConnectError, "connect", "The seller could not be reached."),
    (httpx.RemoteProtocolError, "disconnected", "The seller broke off without an answer."),
    (httpx.NetworkError, "reset", "The connection to the seller broke."),
    (httpx.DecodingError, UNDECODABLE, "The answer's compression is broken or not known."),
    (ResponseTooLarge, OVERSIZE, "The seller's answer is larger than what is read of one."),
)

_UNTRUSTED = Paused(
    code="tls_untrusted",
    message="The seller's certificate is not to be trusted, so nothing was sent.",
    remedy=(
        "Check the address and this machine's time. For a private authority name its "
        "certificates in SSL_CERT_FILE. If neither explains it, somebody may be listening in."
    ),
)


def outcome_from_exception(error: Exception, *, expired: bool) -> Retry | Paused:
    """Return what a delivery does about a call that raised.

    A certificate that cannot be trusted pauses: trying again would not help, and whoever
    answers must not get the credential. Everything else may pass by itself.

    Args:
        error: What the call raised.
        expired: Whether the call was cut off because its time was up.
    """
    if expired:
        return Retry(DEADLINE, "The call took longer than it may in total.")
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return _UNTRUSTED
    for kind, code, message in _EXCEPTIONS:
        if any(isinstance(cause, kind) for cause in causes):
            return Retry(code, message)
    return Retry("call_failed", f"The call could not be made: {type(error).__name__}.")


def failure_code(error: Exception, *, expired: bool) -> str:
    """Return in one word why an answer broke off."""
    return outcome_from_exception(error, expired=expired).code


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


_SMALL_BYTES = 256 * 1024


@attrs.define(eq=False, repr=False)
class HttpClient:
    """Calls one seller, one call at a time, over one kept-alive connection per process.

    Attributes:
        timeouts: How long a call may take.
        transport: What carries the calls instead of the network; for tests.
        auth: Signs each request; for sellers that want more than a bearer token.
        now: The clock that dates in answers are read against.
    """

    timeouts: Timeouts = attrs.field(factory=Timeouts)
    transport: httpx.BaseTransport | None = None
    auth: httpx.Auth | None = None
    now: Callable[[], float] = time.time
    _client: httpx.Client | None = attrs.field(default=None, init=False)
    _is_secure: bool = attrs.field(default=False, init=False)
    _pid: int = attrs.field(default=0, init=False)
    _socket: socket.socket | None = attrs.field(default=None, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Body | None = None,
        stop_when: Callable[[bytes], bool] | None = None,
    ) -> Response | Retry | Paused:
        """Make one call and return the answer, or what it means that there is none.

        Args:
            method: The HTTP method.
            url: The absolute address.
            headers: What to send besides httpx's own headers.
            body: The body, if any.
            stop_when: Gets each piece of the answer and says when the rest is of no use.
        """
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
            except Exception as error:  # noqa: BLE001 - no seller and no hook may break a delivery
                return outcome_from_exception(error, expired=deadline.expired)

    def prepare(self, url: str) -> None:
        """Load what a call to `url` needs, without making one.

        httpx imports and sets up much of itself when first used.
        """
        if self._pid != os.getpid():
            self.after_fork()
        with self._lock:
            self._open(url)

    def close(self) -> None:
        """Close the connection; a later call opens a new one.

        A call under way keeps its connection, since whoever closes must not wait for a seller.
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
        """Let go of a connection that belongs to the parent of a fork.

        Only this process's copy of the descriptor is closed: the seller sees nothing, and
        the parent goes on using its own.
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
            self._client.close()  # one for plain http checks no certificates
            self._client = None
        if self._client is None:
            self._pid, self._is_secure = os.getpid(), is_secure
            self._client = httpx.Client(
                auth=self.auth,
                transport=self.transport,
                timeout=self._timeout(),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                follow_redirects=False,
                event_hooks={"response": [limit_response]},
                trust_env=is_secure,
                # Whoever speaks plain http needs no certificates, which take long to load.
                verify=is_secure,
            )
        return self._client

    def _timeout(self) -> httpx.Timeout:
        times = self.timeouts
        return httpx.Timeout(
            connect=times.connect, read=times.read, write=times.write, pool=times.connect
        )

    def _exchange(
        self,
        client: httpx.Client,
        request: httpx.Request,
        deadline: _Deadline,
        stop_when: Callable[[bytes], bool] | None,
    ) -> Response:
        response = client.send(request, stream=True)
        try:
            body, truncated = _read(response, deadline, stop_when)
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        hidden = redaction_of(response.request.headers)
        return Response(response.status_code, headers, body, truncated, self.now(), hidden)

    def _trace(self, deadline: _Deadline, _event: str, info: Mapping[str, object]) -> None:
        """Remember the socket of the one connection, so that a deadline can cut it.

        One that passed while there was no connection cuts it now.
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
        # A process that is ending starts no more threads; the timeouts must do then.
        with suppress(RuntimeError):
            timer.start()
        try:
            yield deadline
        finally:
            timer.cancel()
            deadline.finish()

    def _abort_connection(self) -> None:
        if self._socket is not None:
            # The plain socket's own way: a TLS socket's would first forget its encryption,
            # while another thread may still be writing.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@attrs.define(eq=False)
class _Deadline:
    """Cuts a call off once, unless the call was quicker."""

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
    """A large body, for as long as its call lasts.

    What httpx makes of a request holds itself in a circle, and would keep the body until the
    garbage collector comes by.
    """

    body: Body | None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body or ())


@contextmanager
def _as_content(body: bytes | Body | None) -> Iterator[bytes | _StreamedBody | None]:
    """Give httpx what it is to send; what is large is never put together in memory."""
    if not isinstance(body, Body):
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
    """Return the header that httpx would not know the value of."""
    if isinstance(content, _StreamedBody) and content.body is not None:
        return {"Content-Length": str(content.body.size)}
    return {}


def _read(
    response: httpx.Response, deadline: _Deadline, stop_when: Callable[[bytes], bool] | None
) -> tuple[bytes, str]:
    """Return the body, and why it is not whole if it is not."""
    body = bytearray()
    try:
        for piece in response.iter_bytes():
            body += piece
            if deadline.expired:
                break
            if stop_when is not None and stop_when(piece):
                return bytes(body), ""
    except httpx.HTTPError as error:
        return bytes(body), failure_code(error, expired=deadline.expired)
    return bytes(body), "deadline" if deadline.expired else ""
