"""One HTTP call that cannot hang, flood or leak, against sockets that try."""

from __future__ import annotations

import gc
import gzip
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from adcp_tracker.destinations.base import Paused, Retry, Timeouts
from adcp_tracker.destinations.http import RESPONSE_LIMIT, HttpClient
from adcp_tracker.destinations.responses import Response
from tests.destinations.rawseller import PEM, answering, http, raw_seller, reset, tls_context

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.destinations.rawseller import RawRequest, RawSeller, Script

PATIENT = Timeouts(connect=20.0, read=20.0, write=20.0, total=60.0)
HURRIED = Timeouts(connect=1.0, read=1.0, write=1.0, total=60.0)
LONG = 60.0


@pytest.fixture
def client() -> Iterator[HttpClient]:
    """A client that gets each answer that comes, however busy the machine is."""
    with closing(HttpClient(PATIENT)) as client:
        yield client


@pytest.fixture
def hurried() -> Iterator[HttpClient]:
    """A client that waits a second for anything."""
    with closing(HttpClient(HURRIED)) as client:
        yield client


def post(client: HttpClient, origin: str) -> Response | Retry | Paused:
    """Make one call."""
    return client.request("POST", f"{origin}/x", {"Authorization": "Bearer t"}, b"{}")


def code_of(outcome: Response | Retry | Paused) -> str:
    """Return in one word what came of a call."""
    return f"{outcome.status}{outcome.truncated}" if isinstance(outcome, Response) else outcome.code


def test_an_answer_comes_back_whole(client: HttpClient) -> None:
    """Status, lower-case headers and body arrive as they were sent."""
    with raw_seller(answering(http(418, b"tea", "X-Pot: Yes\r\n"))) as seller:
        reply = post(client, seller.origin)
    assert isinstance(reply, Response)
    assert (reply.status, reply.headers["x-pot"], reply.body, reply.truncated) == (
        418,
        "Yes",
        b"tea",
        "",
    )


def test_one_connection_serves_many_calls(client: HttpClient) -> None:
    """Connections are kept alive between batches."""
    with raw_seller(answering(http(200, b"{}"))) as seller:
        assert {code_of(post(client, seller.origin)) for _ in range(5)} == {"200"}
        assert seller.connections == 1


def test_a_closed_client_opens_again(client: HttpClient) -> None:
    """Closing is for now, not for ever."""
    with raw_seller(answering(http(200, b"{}"))) as seller:
        post(client, seller.origin)
        client.close()
        client.close()
        assert code_of(post(client, seller.origin)) == "200"
        assert seller.connections == 2


def say_nothing(seller: RawSeller, _: socket.socket, __: RawRequest) -> None:
    """Read the request and stay silent."""
    seller.stopping.wait(LONG)


def break_off(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """End the connection in good order."""
    connection.shutdown(socket.SHUT_RDWR)


def send_reset(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Break the connection by a reset."""
    reset(connection)


def speak_nonsense(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Answer in no protocol at all."""
    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def flood_headers(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Send headers without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Flood: " + b"x" * 60_000 + b"\r\n")


def flood_body(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Send a body without end."""
    connection.sendall(http(200, length=10**10))
    while True:
        connection.sendall(b"x" * 65_536)


def send_half(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Promise more than comes."""
    connection.sendall(http(200, b'{"events', length=100))
    connection.shutdown(socket.SHUT_RDWR)


def stall_in_body(seller: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Stop in the middle of the answer."""
    connection.sendall(http(200, b'{"events', length=100))
    seller.stopping.wait(LONG)


def drip_headers(seller: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Send a header's byte now and then, so that no single read takes too long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not seller.stopping.wait(0.05):
        connection.sendall(b"x")


def drip_body(seller: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Send a body's byte now and then."""
    connection.sendall(http(200, length=10**6))
    while not seller.stopping.wait(0.05):
        connection.sendall(b" ")


def drip_without_length(seller: RawSeller, connection: socket.socket, __: RawRequest) -> None:
    """Send a body that only the end of the connection ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not seller.stopping.wait(0.05):
        connection.sendall(b" ")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (break_off, "disconnected"),
        (send_reset, "reset"),
        (speak_nonsense, "malformed_answer"),
        (flood_headers, "malformed_answer"),
        (flood_body, "200answer_too_large"),
        (send_half, "200disconnected"),
    ],
)
def test_each_way_to_fail_has_its_word(client: HttpClient, script: Script, code: str) -> None:
    """A call ends soon and says in one word how."""
    with raw_seller(script) as seller:
        assert code_of(post(client, seller.origin)) == code


@pytest.mark.parametrize(
    ("script", "code"), [(say_nothing, "read_timeout"), (stall_in_body, "200read_timeout")]
)
def test_silence_ends_by_the_read_timeout(hurried: HttpClient, script: Script, code: str) -> None:
    """Before an answer and in the middle of it."""
    with raw_seller(script) as seller:
        assert code_of(post(hurried, seller.origin)) == code


@pytest.mark.slow
@pytest.mark.parametrize("script", [drip_headers, drip_body, drip_without_length])
def test_a_seller_that_drips_is_cut_off(script: Script) -> None:
    """Each byte begins the read timeout anew, so only the deadline ends such an answer."""
    client = HttpClient(Timeouts(connect=1.0, read=5.0, write=5.0, total=0.4))
    with closing(client), raw_seller(script) as seller:
        started = time.monotonic()
        assert code_of(post(client, seller.origin)).endswith("deadline")
        assert time.monotonic() - started < 10


@pytest.mark.slow
def test_a_deadline_that_passed_before_the_connection_stood_cuts_it_then() -> None:
    """While a seller does not accept there is nothing to cut, and later it must not drip on."""
    client = HttpClient(Timeouts(connect=10.0, read=5.0, write=5.0, total=0.3))
    ended = threading.Event()
    with closing(client), socket.socket() as listener, ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())

        def accept_late() -> None:
            ended.wait(0.6)
            with suppress(OSError):
                while not ended.is_set():
                    threading.Thread(target=drip, args=listener.accept()[:1], daemon=True).start()

        def drip(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        threading.Thread(target=accept_late, daemon=True).start()
        stopper = threading.Timer(15.0, ended.set)
        stopper.start()
        code = code_of(post(client, f"http://127.0.0.1:{listener.getsockname()[1]}"))
        is_cut_in_time = not ended.is_set()
        stopper.cancel()
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
    assert (code, is_cut_in_time) == ("deadline", True)


@pytest.mark.slow
def test_a_connection_that_was_cut_is_not_used_again() -> None:
    """After a deadline the next call starts afresh and succeeds."""
    once = threading.Event()

    def script(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        if once.is_set():
            connection.sendall(http(200, b"{}"))
        else:
            once.set()
            drip_headers(seller, connection, request)

    with closing(HttpClient(Timeouts(total=1.0))) as client, raw_seller(script) as seller:
        assert code_of(post(client, seller.origin)) == "deadline"
        client.timeouts = PATIENT
        assert code_of(post(client, seller.origin)) == "200"


def test_a_deadline_of_an_earlier_call_spares_the_later_ones() -> None:
    """A quick call's deadline does not strike a later call on the same connection."""
    client, slow = HttpClient(Timeouts(total=0.2)), 0
    with closing(client), raw_seller(answering(http(200, b"{}"))) as seller:
        until = time.monotonic() + 0.5
        while (begun := time.monotonic()) < until:
            code = code_of(post(client, seller.origin))
            if time.monotonic() - begun >= 0.2:  # on a busy machine: its own deadline, then
                slow += 1
            else:
                assert code == "200"
        # A call whose deadline passes before it is sent loses the connection that it would have
        # used, and the one that it opens instead.
        assert seller.connections <= 1 + 2 * slow


def test_no_more_than_the_limit_is_kept(client: HttpClient) -> None:
    """A flood costs a megabyte of memory and no more."""
    with raw_seller(flood_body) as seller:
        reply = post(client, seller.origin)
    assert isinstance(reply, Response)
    assert len(reply.body) == RESPONSE_LIMIT


def test_a_compressed_answer_is_read_and_bounded_unpacked(client: HttpClient) -> None:
    """A seller that ignores ``identity`` is understood; a bomb does not explode."""
    small, bomb = gzip.compress(b'{"a":1}'), gzip.compress(b" " * 50_000_000)
    packed = "Content-Encoding: gzip\r\n"
    answers = (http(200, small, packed), http(200, bomb, packed), http(200, b"no gzip", packed))
    with raw_seller(answering(*answers)) as seller:
        first, second, third = (post(client, seller.origin) for _ in range(3))
    assert isinstance(first, Response)
    assert first.json() == {"a": 1}
    assert code_of(second) == "200answer_too_large"
    assert code_of(third) == "200answer_undecodable"


def test_an_early_refusal_is_read_although_the_request_is_not(client: HttpClient) -> None:
    """A 413 sent while the body is still coming is an answer, not a broken connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(http(413, b"", "Connection: close\r\n"))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):
                pass

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    reply = client.request("POST", origin, {}, b"x" * 5_000_000)
    thread.join(5)
    listener.close()
    assert code_of(reply) == "413"


def test_nobody_at_the_address_is_told_apart(client: HttpClient) -> None:
    """A refused connection and an unknown name have their own words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert code_of(post(client, f"http://127.0.0.1:{port}")) == "refused"
    assert code_of(post(client, "http://no-such-seller.invalid")) == "dns"


def test_a_peer_that_does_not_accept_times_out(hurried: HttpClient) -> None:
    """A connection that is never accepted into a full backlog ends in time."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        code = code_of(post(hurried, f"http://127.0.0.1:{listener.getsockname()[1]}"))
        for filler in fillers:
            filler.close()
    assert code in {"connect_timeout", "read_timeout"}


def test_a_certificate_that_nobody_vouches_for_pauses(client: HttpClient) -> None:
    """Nothing is sent to whoever cannot prove to be the seller, and the remedy is named."""
    with raw_seller(answering(http(200, b"{}")), tls_context()) as seller:
        outcome = post(client, seller.origin)
    assert isinstance(outcome, Paused)
    assert outcome.code == "tls_untrusted"
    assert "SSL_CERT_FILE" in outcome.remedy
    assert seller.requests == []


def test_a_plain_call_makes_no_later_one_less_careful(client: HttpClient) -> None:
    """Whoever was called over plain http first is asked for a certificate over https."""
    with raw_seller(answering(http(200, b"{}"))) as plain:
        assert code_of(post(client, plain.origin)) == "200"
    with raw_seller(answering(http(200, b"{}")), tls_context()) as seller:
        assert code_of(post(client, seller.origin)) == "tls_untrusted"
    assert seller.requests == []


def test_a_private_authority_is_taken_from_the_environment(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the remedy advises works, and the connection is kept alive as well."""
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    with raw_seller(answering(http(200, b"{}")), tls_context()) as seller:
        assert [code_of(post(client, seller.origin)) for _ in range(2)] == ["200", "200"]
        assert seller.connections == 1


def test_a_deadline_cuts_an_encrypted_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encryption does not save a seller that drips."""
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))

    def script(seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        (drip_body if seller.requests[1:] else answering(http(200)))(seller, connection, request)

    with closing(HttpClient(PATIENT)) as client, raw_seller(script, tls_context()) as seller:
        assert code_of(post(client, seller.origin)) == "200"  # encrypted before time matters
        client.timeouts = Timeouts(total=1.5)
        assert code_of(post(client, seller.origin)).endswith("deadline")
        assert seller.connections == 1


def test_a_peer_without_encryption_is_tried_again(hurried: HttpClient) -> None:
    """Plain words where TLS was expected break the handshake, which may pass."""
    with raw_seller(speak_nonsense) as seller:
        origin = seller.origin.replace("http:", "https:")
        assert code_of(post(hurried, origin)) in {"tls", "connect", "connect_timeout"}


def test_plain_http_goes_through_no_proxy(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy from the environment would see the credential."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with raw_seller(answering(http(200, b"{}"))) as seller:
        assert code_of(post(client, seller.origin)) == "200"


def test_https_goes_through_the_proxy_of_the_environment(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shops behind a proxy reach sellers; the proxy sees no more than the host's name."""
    with raw_seller(answering(http(502))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
        code = code_of(post(client, "https://seller.example"))
    assert code == "proxy"
    assert proxy.requests[0].line == "CONNECT seller.example:443 HTTP/1.1"
    assert "authorization" not in proxy.requests[0].headers


class _BrokenAuth(httpx.Auth):
    """A signing hook with a bug."""

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Fail with a secret in the message."""
        raise RuntimeError(f"cannot sign with s3cr3t: {request.method}")


def test_a_hook_that_fails_is_no_exception_and_shows_no_secret() -> None:
    """A delivery outlives a signing hook with a bug."""
    with closing(HttpClient(PATIENT, auth=_BrokenAuth())) as client:
        outcome = post(client, "http://127.0.0.1:9")
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.budgeted) == ("call_failed", False)
    assert "s3cr3t" not in outcome.message


def test_a_transport_can_be_given() -> None:
    """Calls go through whatever carries them, without a socket."""
    carried = httpx.MockTransport(lambda request: httpx.Response(200, content=request.content))
    with closing(HttpClient(PATIENT, transport=carried)) as client:
        reply = post(client, "http://anywhere.example")
    assert isinstance(reply, Response)
    assert reply.body == b"{}"


def test_reading_stops_when_enough_is_read(client: HttpClient) -> None:
    """A stream that stays open does not hold the call."""
    with raw_seller(drip_body) as seller:
        reply = client.request(
            "POST", seller.origin, {}, b"", stop_when=lambda piece: b" " in piece
        )
    assert code_of(reply) == "200"


def test_a_fork_leaves_the_connection_to_the_parent(client: HttpClient) -> None:
    """The child opens its own connection, and the parent's stays usable after the child's end."""
    with raw_seller(answering(http(200, b"{}"))) as seller:
        assert code_of(post(client, seller.origin)) == "200"
        child = fork()
        if child == 0:
            os._exit(0 if code_of(post(client, seller.origin)) == "200" else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert code_of(post(client, seller.origin)) == "200"
        assert seller.connections == 2


def fork() -> int:
    """Fork, although threads run: newer Pythons warn of just what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def open_descriptors() -> int:
    """Count this process's open descriptors."""
    return sum(1 for number in range(1024) if is_open(number))


def is_open(descriptor: int) -> bool:
    """Return whether a descriptor is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_after_a_fork_closes_only_this_processs_descriptor(client: HttpClient) -> None:
    """The seller sees no end of the connection when a child lets go of it."""
    with raw_seller(answering(http(200, b"{}"))) as seller:
        assert code_of(post(client, seller.origin)) == "200"
        child = fork()
        if child == 0:
            gc.disable()  # it would close what earlier tests left behind
            before = open_descriptors()
            client.after_fork()
            after = open_descriptors()
            os._exit(0 if after == before - 1 else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert code_of(post(client, seller.origin)) == "200"
        assert seller.connections == 1


LAST_WORDS = """
import atexit, sys
from adcp_tracker.destinations.http import HttpClient
client = HttpClient()
atexit.register(lambda: print(client.request("POST", sys.argv[1], {}, b"{}").status))
"""


@pytest.mark.slow
def test_a_process_that_ends_can_still_call() -> None:
    """Newer Pythons start no thread at exit, so the call then goes without a deadline."""
    with raw_seller(answering(http(200, b"{}"))) as seller:
        command = [sys.executable, "-c", LAST_WORDS, seller.origin]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("200", "")


def test_closing_does_not_wait_for_a_call_under_way() -> None:
    """Who shuts down must not wait for a slow seller."""
    with closing(HttpClient(Timeouts(read=30.0, total=30.0))) as client:
        with raw_seller(say_nothing) as seller:
            thread = threading.Thread(target=post, args=(client, seller.origin), daemon=True)
            thread.start()
            while not seller.requests:
                time.sleep(0.001)
            started = time.monotonic()
            client.close()
            assert time.monotonic() - started < 10
        thread.join(10)
        assert not thread.is_alive()
