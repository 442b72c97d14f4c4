"""TC strings: every field where the specification puts it, and garbage is no string."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.web.consent import TcString, read_tc_string

PURPOSES = st.frozensets(st.integers(1, 24))


class Writer:
    """Writes TC strings field by field, as a banner would."""

    def __init__(self) -> None:
        self.bits = ""

    def number(self, value: int, width: int) -> None:
        """Append one big-endian field."""
        self.bits += format(value, f"0{width}b")

    def text(self) -> str:
        """Return the segment."""
        padded = self.bits + "0" * (-len(self.bits) % 8)
        data = int(padded, 2).to_bytes(len(padded) // 8, "big")
        return urlsafe_b64encode(data).decode().rstrip("=")


def head(purposes: frozenset[int], version: int = 2) -> Writer:
    """Write everything up to the vendors."""
    writer = Writer()
    fields = [(version, 6), (17_000_000_000, 36), (17_000_000_001, 36), (31, 12), (640, 12)]
    fields += [(1, 6), (260, 12), (48, 12), (4, 6), (1, 1), (0, 1), (0b101, 12)]
    for value, width in fields:
        writer.number(value, width)
    for purpose in range(1, 25):
        writer.number(purpose in purposes, 1)
    for value, width in [(0xAAAAAA, 24), (1, 1), (0b000011_000100, 12)]:
        writer.number(value, width)
    return writer


def listed(purposes: frozenset[int], vendors: frozenset[int], version: int = 2) -> str:
    """Write a string with one bit a vendor."""
    writer = head(purposes, version)
    highest = max(vendors, default=0)
    writer.number(highest, 16)
    writer.number(0, 1)
    for vendor in range(1, highest + 1):
        writer.number(vendor in vendors, 1)
    return writer.text()


def ranged(purposes: frozenset[int], ranges: list[tuple[int, int]]) -> str:
    """Write a string with ranges of vendors."""
    writer = head(purposes)
    writer.number(max((last for _, last in ranges), default=0), 16)
    writer.number(1, 1)
    writer.number(len(ranges), 12)
    for first, last in ranges:
        writer.number(first != last, 1)
        writer.number(first, 16)
        if first != last:
            writer.number(last, 16)
    return writer.text()


def read(text: str) -> TcString:
    """Read a string that is one."""
    found = read_tc_string(text)
    assert found is not None
    return found


@pytest.mark.slow
@given(PURPOSES, st.frozensets(st.integers(1, 300)))
def test_purposes_and_listed_vendors_are_read(
    purposes: frozenset[int], vendors: frozenset[int]
) -> None:
    """Exactly the bits that are set count as consent."""
    found = read(listed(purposes, vendors))
    assert found.purposes == purposes
    assert {vendor for vendor in range(302) if found.allows_vendor(vendor)} == vendors


@given(PURPOSES, st.lists(st.tuples(st.integers(1, 500), st.integers(0, 50)), max_size=20))
def test_ranges_of_vendors_are_read(purposes: frozenset[int], spans: list[tuple[int, int]]) -> None:
    """A range counts with both its ends."""
    ranges = [(first, first + more) for first, more in spans]
    found = read(ranged(purposes, ranges))
    assert found.purposes == purposes
    expected = {vendor for first, last in ranges for vendor in range(first, last + 1)}
    assert {vendor for vendor in range(560) if found.allows_vendor(vendor)} == expected


def test_a_published_string_is_read() -> None:
    """The string in the specification's own description, with its further segments."""
    text = "COw4XqLOw4XqLAAAAAENAXCAAAAAAAAAAAAAAAAAAAAA.IFukWSQh.YAAAAAAAAAA"
    assert read(text) == TcString(purposes=frozenset(), vendors=())


def test_only_the_core_segment_counts() -> None:
    """Segments behind it disclose vendors and say nothing of consent."""
    text = listed(frozenset({1, 7}), frozenset({755}))
    assert read(f"{text}.IFukWSQh.YAAA") == read(text)
    assert read(f" {text} ").allows(7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "C",
        "true",
        "1",
        "{}",
        "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA",
        "C" * 20_000,
        "\u00e9",
    ],
)
def test_what_is_no_string_of_version_2_is_none(text: str) -> None:
    """Other cookies, cut strings and version 1 answer nothing."""
    assert read_tc_string(text) is None


def test_another_version_is_none() -> None:
    """A future version may lay out its bits anew."""
    assert read_tc_string(listed(frozenset({1}), frozenset(), version=3)) is None


def test_foreign_characters_are_not_skipped() -> None:
    """Leaving one out would shift every bit behind it."""
    text = listed(frozenset({1}), frozenset({2}))
    assert read_tc_string(text[:10] + "!" + text[10:]) is None


@given(st.integers(0, 60))
def test_a_cut_string_never_says_more_than_the_whole(cut: int) -> None:
    """A truncated cookie is either unreadable or lacks padding only."""
    text = listed(frozenset({1, 3, 7}), frozenset({1, 40, 80}))
    found = read_tc_string(text[:cut])
    assert found is None or found == read(text)


@given(
    st.text()
    | st.text(alphabet="ABCDEFCO_-09.", min_size=30)
    | st.binary(min_size=20).map(lambda data: "C" + urlsafe_b64encode(data).decode().rstrip("="))
)
def test_reading_never_raises(text: str) -> None:
    """A cookie may hold anything."""
    found = read_tc_string(text)
    assert found is None or found.purposes <= set(range(1, 25))
