"""Reading addresses and proxy headers, right end first, whatever stands on the left."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.web.client_ip import (
    MAX_CHARACTERS,
    forwarded_elements_from_right,
    is_public,
    list_from_right,
    parse_node,
)

CLOSED_TEXT = st.text().filter(lambda text: not {'"', "\\"} & set(text))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("  8.8.8.8\t", "8.8.8.8"),
        ("8.8.8.8:443", "8.8.8.8"),
        ("8.8.8.8:_port", "8.8.8.8"),
        ('"8.8.8.8:443"', "8.8.8.8"),
        ("2001:4860::8888", "2001:4860::8888"),
        ("2001:4860:0:0::8888", "2001:4860::8888"),
        ("[2001:4860::8888]", "2001:4860::8888"),
        ("[2001:4860::8888]:443", "2001:4860::8888"),
        ('"[2001:4860::8888]:_x.y-z"', "2001:4860::8888"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("[::ffff:808:808]:80", "8.8.8.8"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
    ],
)
def test_a_node_is_read_in_every_notation(text: str, address: str) -> None:
    """Port, brackets, quotes, zone and v4 mapping do not change which address it is."""
    assert parse_node(text) == ip_address(address)


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", '"', '""', "unknown", "_hidden", "localhost", "<script>", "8.8.8", "8.8.8.8.8"],
        *["8.8.8.08", "256.1.1.1", "8.8.8.8:", "8.8.8.8:port", "8.8.8.8:123456", "8.8.8.8%eth0"],
        *["[8.8.8.8", "2001:4860::8888]", "[]", "[2001:4860::8888]443", ":::1", "8.8.8.8/32"],
        *[
            "8.8.8.8, 1.1.1.1",
            "8.8.8.8\n1.1.1.1",
            "٨.٨.٨.٨",
            "1:2:3:4:5:6:7:8:9",
            "134744072",
            "8.8.8.8" + " " * 200,
        ],
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    """Obfuscated nodes, names, half addresses and numbers are nobody's address."""
    assert parse_node(text) is None


@given(st.text() | st.from_regex(r'\A["\[]?[0-9a-fA-F:.%_ ]{0,60}[\]"]?\Z'))
def test_parse_node_never_raises(text: str) -> None:
    """Any text at all is an address or is not."""
    parsed = parse_node(text)
    assert parsed is None or ip_address(str(parsed)) == parsed


@given(st.ip_addresses())
def test_parse_node_reads_what_addresses_print(address: object) -> None:
    """An address survives being written down, bare and with brackets and port."""
    expected = getattr(address, "ipv4_mapped", None) or address
    assert parse_node(str(address)) == expected
    assert parse_node(f'"[{address}]:65535"') == expected


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "2a00:1450::1"])
def test_internet_addresses_are_public(text: str) -> None:
    """A shopper's own address may be sent."""
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *["10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1"],
        *["0.1.2.3", "255.255.255.255", "240.0.0.1", "224.0.0.1", "192.0.2.1", "198.51.100.7"],
        *["203.0.113.9", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1"],
        *["2001:db8::1", "64:ff9b::808:808", "::8.8.8.8", "fec0::1", "5f00::1"],
    ],
)
def test_private_and_reserved_addresses_are_not_public(text: str) -> None:
    """What cannot be a shopper's on the internet is not sent as one."""
    assert not is_public(ip_address(text))


def test_lists_are_joined_and_read_from_the_right() -> None:
    """Several lines of a header are one list, and the nearest proxy's entry comes first."""
    assert list(list_from_right(["a, b", "", "c,,d "])) == ["d", "c", "b", "a"]
    assert list(list_from_right([])) == []


def test_an_endless_header_is_read_from_its_end_only() -> None:
    """A huge header costs a bounded amount of work, and the trusted end of it is kept."""
    entries = list(list_from_right(["1.1.1.1," * 100_000 + "8.8.8.8"]))
    assert entries[0] == "8.8.8.8"
    assert len(entries) < MAX_CHARACTERS


def test_forwarded_elements_have_lower_case_names_and_unquoted_values() -> None:
    """Names know no case, and quotes and escapes are notation, not value."""
    header = r'For="[2001:4860::1]:47";proto=HTTPS;HOST="a\"b,c;d" , for=192.0.2.1 ;by=_x'
    assert list(forwarded_elements_from_right([header])) == [
        {"for": "192.0.2.1", "by": "_x"},
        {"for": "[2001:4860::1]:47", "proto": "HTTPS", "host": 'a"b,c;d'},
    ]


@pytest.mark.parametrize(
    "element",
    ["for", "for=a;for=b", "for=a b", 'for="a"b', 'for="a', "=a", "for==a;;", "for=a;proto", "é=1"],
)
def test_a_malformed_element_comes_out_empty(element: str) -> None:
    """No guess is made about an element that breaks the grammar."""
    assert list(forwarded_elements_from_right([element])) == [{}]


def test_a_trailing_semicolon_is_tolerated() -> None:
    """Some proxies end each element with one."""
    assert list(forwarded_elements_from_right(["for=8.8.8.8;"])) == [{"for": "8.8.8.8"}]


@given(st.lists(st.text()))
def test_elements_never_raise(lines: list[str]) -> None:
    """Any lines at all can be read."""
    for element in forwarded_elements_from_right(lines):
        assert all(name == name.lower() for name in element)


@given(st.text(alphabet='"\\,;= for1', max_size=60) | st.text())
def test_nothing_on_the_left_changes_the_rightmost_element(forged: str) -> None:
    """A client's open quotes and backslashes cannot swallow what a proxy appended."""
    header = forged + r', for="[2001:4860::8888]:1";host="a,\"b\\"'
    assert next(forwarded_elements_from_right([header])) == {
        "for": "[2001:4860::8888]:1",
        "host": r'a,"b' + "\\",
    }


@given(CLOSED_TEXT)
def test_quoted_values_come_back_whole(value: str) -> None:
    """Commas and semicolons within quotes divide nothing."""
    wanted = value.replace("\n", " ")
    assert list(forwarded_elements_from_right([f'for=1.1.1.1, host="{wanted}"'])) == [
        {"host": wanted},
        {"for": "1.1.1.1"},
    ]
