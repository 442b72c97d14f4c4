"""Damage to files of records, such as disks, short writes and outsiders do."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Make `whole` with a stretch of it lost, zeroed or overwritten.

    Often it begins or ends where a record does, so that what is left is glued together.
    """
    ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    places = st.sampled_from([0, *ends, *(place + 1 for place in ends)]) | st.integers(
        0, len(whole)
    )
    start, stop = sorted((draw(places), draw(places)))
    put = draw(st.sampled_from([b"", bytes(stop - start)]) | st.binary(max_size=9))
    return whole[:start] + put + whole[stop:]
