"""What is read of an answer, in bytes of memory, whatever the answer is made of."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.base import Retry, Timeouts
from adcp_tracker.destinations.http import RESPONSE_LIMIT, HttpClient, limit_response
from adcp_tracker.destinations.responses import Response
from tests.destinations.rawseller import answering, http, raw_seller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from adcp_tracker.destinations.base import Paused

TIMES = Timeouts(connect=5.0, read=5.0, write=5.0, total=30.0)
MOST_MEMORY = 8 * RESPONSE_LIMIT
MEBIBYTE = 1024 * 1024
CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'


def packed(mebibytes: int, layers: int = 1) -> bytes:
    """Return so many spaces, packed so many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(b" " * MEBIBYTE) for _ in range(mebibytes)]
    whole = b"".join([*pieces, packer.flush()])
    for _ in range(layers - 1):
        whole = gzip.compress(whole)
    return whole


def empty_blocks(size: int) -> bytes:
    """Return a gzip of `size` bytes that unpacks to nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    return head + b"\x00\x00\x00\xff\xff" * (size // 5)


def call(answer: bytes, auth: httpx.Auth | None = None) -> Response | Retry | Paused:
    """Make one call to a seller that answers so."""
    with closing(HttpClient(TIMES, auth=auth)) as client, raw_seller(answering(answer)) as seller:
        return client.request("POST", seller.origin, {}, b"{}")


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """Measure the memory that was in use at once, at most, from the first call to the next."""
    call(http(200, b"{}"))  # loads what any call needs
    tracemalloc.start()

    def since() -> int:
        grown = tracemalloc.get_traced_memory()[1]
        tracemalloc.clear_traces()
        return grown

    yield since
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("codings", "body", "cut"),
    [
        ("gzip", partial(packed, 200), "answer_too_large"),
        ("gzip", partial(empty_blocks, 2 * RESPONSE_LIMIT), "answer_too_large"),
        ("gzip, gzip", partial(packed, 300, layers=2), "answer_undecodable"),
        ("gzip, identity, GZIP", partial(packed, 300, layers=2), "answer_undecodable"),
        ("deflate", lambda: zlib.compress(b" " * 50 * MEBIBYTE), "answer_too_large"),
        ("br", lambda: b"\x0b\x00\x80{}\x03", "answer_undecodable"),
    ],
    ids=["bomb", "blocks", "twice", "twice-amid", "deflate", "br"],
)
def test_no_packing_makes_an_answer_larger_than_the_limit(
    memory: Callable[[], int], codings: str, body: Callable[[], bytes], cut: str
) -> None:
    """A kilobyte that stands for a gigabyte costs no more than any other answer."""
    answer = http(200, body(), f"Content-Encoding: {codings}\r\n")
    memory()
    reply = call(answer)
    assert memory() < MOST_MEMORY
    assert isinstance(reply, Response)
    assert reply.truncated == cut
    assert len(reply.body) <= RESPONSE_LIMIT


@pytest.mark.parametrize("coding", ["identity", "utf-8", "none", ""])
def test_an_answer_whose_coding_packs_nothing_is_read_as_it_is(coding: str) -> None:
    """Some sellers put there what belongs elsewhere."""
    reply = call(http(200, b'{"a":1}', f"Content-Encoding: {coding}\r\n"))
    assert isinstance(reply, Response)
    assert reply.json() == {"a": 1}


@pytest.mark.parametrize("kind", ["flood", "bomb"])
def test_an_answer_that_a_signing_hook_reads_is_bounded_too(
    memory: Callable[[], int], kind: str
) -> None:
    """A challenge is read whole by httpx itself, before it is answered."""
    if kind == "flood":
        answer = http(401, b"x" * 50 * MEBIBYTE, CHALLENGE)
    else:
        answer = http(401, packed(200), f"{CHALLENGE}Content-Encoding: gzip\r\n")
    memory()
    outcome = call(answer, httpx.DigestAuth("shop", "s3cr3t"))
    assert memory() < MOST_MEMORY
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.budgeted) == ("answer_too_large", False)


def test_a_challenge_within_bounds_is_answered() -> None:
    """The limit on responses is in no signing hook's way."""
    answers = (
        http(401, gzip.compress(b"who?"), f"{CHALLENGE}Content-Encoding: gzip\r\n"),
        http(200, b"{}"),
    )
    client = HttpClient(TIMES, auth=_Reading("shop", "s3cr3t"))
    with closing(client), raw_seller(answering(*answers)) as seller:
        reply = client.request("POST", seller.origin, {}, b"{}")
    assert isinstance(reply, Response)
    assert reply.status == 200
    assert seller.requests[1].headers["authorization"].startswith("Digest ")


class _Reading(httpx.DigestAuth):
    """A hook that wants to see the challenge's words."""

    requires_response_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        flow = super().auth_flow(request)
        response = yield next(flow)
        assert response.text == "who?"
        yield flow.send(response)


class _Pieces(httpx.SyncByteStream):
    """A stream of given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces


# An answer that begins as gzip does is unpacked, whatever its headers say.
_bodies = st.binary(max_size=2000).filter(lambda body: not body.startswith(b"\x1f\x8b"))


@given(body=_bodies, cuts=st.lists(st.integers(0, 2000), max_size=8))
@pytest.mark.parametrize("is_packed", [False, True])
def test_an_answer_is_the_same_however_it_is_cut(
    body: bytes, cuts: list[int], *, is_packed: bool
) -> None:
    """Pieces may end anywhere, packed or not."""
    sent = gzip.compress(body) if is_packed else body
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:stop] for start, stop in itertools.pairwise(edges)]
    coding = {"Content-Encoding": "gzip"} if is_packed else {}
    response = httpx.Response(200, headers=coding, stream=_Pieces(pieces))
    limit_response(response)
    assert response.read() == body
