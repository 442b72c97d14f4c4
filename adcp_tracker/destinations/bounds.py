"""Read no more of a seller's answer than a megabyte, be it packed or not.

httpx unpacks each piece that comes whole, through as many layers as the answer names, so that
a thousand bytes can stand for a gigabyte; and it reads by itself whatever a signing hook is
to see. So the bound lies below both, in the stream they read.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import attrs
import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_LIMIT = 1_000_000
"""The most bytes of an answer that are read, on the wire and unpacked."""

_GZIP = 16 + zlib.MAX_WBITS
# Whatever else an answer calls its coding, as some do with "utf-8", packs nothing.
_PACKINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"})


class AnswerTooLarge(httpx.RequestError):
    """An answer goes on beyond what is read of one."""


def bound(response: httpx.Response) -> None:
    """Have `response` read within bounds, by whomever; for httpx's hook for responses.

    Whoever reads it gets what is unpacked, up to the limit, and then an
    :class:`AnswerTooLarge`; or an :class:`httpx.DecodingError` where it is packed in another
    way than by gzip alone, which nobody asked for.
    """
    named = response.headers.get_list("content-encoding", split_commas=True)
    packings = [coding for coding in map(str.lower, named) if coding in _PACKINGS]
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _Bounded(response.stream, _unpacking(packings))
        response.headers.pop("content-encoding", None)


@attrs.define(eq=False)
class _Bounded(httpx.SyncByteStream):
    """A stream that ends soon after its limit, whatever it is made of."""

    stream: httpx.SyncByteStream
    unpack: Callable[[bytes, int], bytes]

    def __iter__(self) -> Iterator[bytes]:
        came = given = 0
        for piece in self.stream:
            unpacked = self.unpack(piece, ANSWER_LIMIT + 1 - given)
            yield unpacked[: ANSWER_LIMIT - given]
            came += len(piece)
            given += len(unpacked)
            if max(came, given) > ANSWER_LIMIT:
                raise AnswerTooLarge(f"expected {ANSWER_LIMIT} bytes or fewer, got more")

    def close(self) -> None:
        self.stream.close()


def _unpacking(packings: list[str]) -> Callable[[bytes, int], bytes]:
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
