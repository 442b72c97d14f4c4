"""The page's URL: absolute, bounded, and without what could be private."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.request import MAX_LENGTH, QueryFilter, page_url

ALLOW = QueryFilter(["utm_*", "gclid", "Sku"])


def url(path: str = "/", query: str = "", host: str = "shop.example", scheme: str = "https") -> str:
    """Build the URL of a page that has one."""
    built = page_url(scheme, host, path, query, ALLOW)
    assert built is not None
    return built


def test_the_query_is_reduced_to_the_allow_list() -> None:
    """Campaign and click stay, in their order; tokens and searches go."""
    query = "token=s3cret&utm_source=mail&q=illness&gclid=a-b&UTM_Medium=x&sku=7&flag"
    assert url("/a", query) == (
        "https://shop.example/a?utm_source=mail&gclid=a-b&UTM_Medium=x&sku=7"
    )
    assert url("/a", "token=s3cret") == "https://shop.example/a"


@given(
    st.from_regex(r"([?&;%=]|utm_x|UTM_|gclid|gClId|sku|\u212a|%67|[a-z]){0,12}", fullmatch=True)
)
def test_a_query_that_may_keep_nothing_keeps_nothing(query: str) -> None:
    """The quick look at a query never skips a parameter that is allowed."""
    if not ALLOW.may_keep_any(query):
        assert ALLOW.reduce(query, MAX_LENGTH) == ""


def test_a_semicolon_divides_parameters_too() -> None:
    """Some servers read it so, and what stands behind one is a parameter of its own."""
    assert url("/", "utm_source=a;token=s3cret;gclid=c&utm_term=b;c") == (
        "https://shop.example/?utm_source=a&gclid=c&utm_term=b"
    )


@pytest.mark.parametrize(
    "host",
    ["shop.example:99999", "256.1.1.1", "1.2.3", "[::1.2.3]", "[1::2::3]", "xn--", "-shop.example"],
)
def test_a_host_that_no_browser_visits_makes_no_url(host: str) -> None:
    """Clients may claim any host, and none of them may have sellers refuse a conversion."""
    assert page_url("https", host, "/", "", ALLOW) is None


def test_a_disguised_name_is_checked_by_what_it_means() -> None:
    """Percent-encoding a name neither hides it nor smuggles it in."""
    assert url("/", "%67clid=1") == "https://shop.example/?%67clid=1"
    assert url("/", "utm_source%26token=1") == "https://shop.example/?utm_source%26token=1"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("", "/"),
        ("/a/b", "/a/b"),
        ("a", "/a"),
        ("//evil.example/x", "/evil.example/x"),
        ("/caf\u00e9", "/caf%C3%A9"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/100%", "/100%25"),
        ("/a b\r\n\t\x00", "/a%20b%0D%0A%09%00"),
        ("/a?b#c", "/a%3Fb%23c"),
        ("/\ud800", "/%3F"),
        ("/@handle/x.html", "/@handle/x.html"),
        ("/u/alice@mail.example/reset", "/u/-/reset"),
        ("/u/alice%40mail.example", "/u/-"),
        ("/u/alice%2540mail.example", "/u/-"),
    ],
)
def test_the_path_is_encoded_and_free_of_addresses(path: str, shown: str) -> None:
    """Whatever a URL cannot hold is percent-encoded once, and e-mail addresses are taken out."""
    assert url(path) == f"https://shop.example{shown}"


def test_a_parameter_that_holds_an_address_is_left_out() -> None:
    """Mailing tools put addresses into campaign parameters."""
    assert url("/", "utm_content=a%40b.example&utm_source=x&utm_term=c@d.example") == (
        "https://shop.example/?utm_source=x"
    )


def test_values_are_encoded_too() -> None:
    """Line breaks, quotes and other scripts cannot get through the query."""
    assert url("/", "utm_source=a\r\nb<\u00fc>%zz%41") == (
        "https://shop.example/?utm_source=a%0D%0Ab%3C%C3%BC%3E%25zz%41"
    )


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("https", "Shop.Example", "https://shop.example"),
        ("https", "shop.example:443", "https://shop.example"),
        ("http", "shop.example:80", "http://shop.example"),
        ("http", "shop.example:443", "http://shop.example:443"),
        ("https", "[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http", "127.0.0.1:8000", "http://127.0.0.1:8000"),
    ],
)
def test_the_origin_is_normalised(scheme: str, host: str, origin: str) -> None:
    """Lower case, and no port that goes without saying."""
    assert url(scheme=scheme, host=host) == f"{origin}/"


@pytest.mark.parametrize(
    ("scheme", "host"),
    [
        ("https", ""),
        ("https", "alice:pw@shop.example"),
        ("https", "shop.example/evil"),
        ("https", "shop.example\r\n"),
        ("https", "shop example"),
        ("https", "shop.example:port"),
        ("https", "b\u00fccher.example"),
        ("https", "\u212aelvin.example"),
        ("https", "a" * 300),
        ("javascript", "shop.example"),
        ("", "shop.example"),
    ],
)
def test_no_website_has_no_url(scheme: str, host: str) -> None:
    """User info, control characters and other schemes are not repaired but refused."""
    assert page_url(scheme, host, "/", "", ALLOW) is None


def test_length_is_bounded_parameter_by_parameter() -> None:
    """What does not fit is left out whole, and what comes after it may still fit."""
    long = "utm_content=" + "x" * MAX_LENGTH
    assert url("/", f"utm_source=a&{long}&gclid=b") == "https://shop.example/?utm_source=a&gclid=b"
    assert len(url("/", "&".join(f"utm_{n}=value" for n in range(1000)))) <= MAX_LENGTH


def test_a_path_is_never_cut_inside_an_escape() -> None:
    """The longest path still is a URL."""
    for pad in range(3):
        built = url("/" + "a" * pad + "\u00e9" * MAX_LENGTH)
        assert MAX_LENGTH - 3 < len(built) <= MAX_LENGTH
        assert built[-3] == "%"


@pytest.mark.parametrize("pattern", ["", "*a", "a*b", "a b", "a&b", "a=b"])
def test_an_allow_list_that_cannot_work_is_refused(pattern: str) -> None:
    """A star stands at the end or not at all."""
    with pytest.raises(ConfigurationError, match="query_allow"):
        QueryFilter([pattern])


def test_a_lone_star_needs_a_beginning() -> None:
    """Letting everything through would be no allow-list."""
    with pytest.raises(ConfigurationError, match="query_allow"):
        QueryFilter(["*"])


@given(
    st.sampled_from(["http", "https"]),
    st.text() | st.sampled_from(["shop.example", "[::1]:80"]),
    st.text(),
    st.text() | st.text(alphabet="gclidutm_%&=#?@.\r\n "),
)
def test_any_request_has_a_sound_url_or_none(scheme: str, host: str, path: str, query: str) -> None:
    """Nothing raises, and what comes out is printable ASCII with nothing that was forbidden."""
    built = page_url(scheme, host, path, query, ALLOW)
    if built is None:
        return
    assert len(built) <= MAX_LENGTH
    assert built.isascii()
    assert built.isprintable()
    assert " " not in built
    parts = urlsplit(built)
    assert parts.scheme == scheme
    assert parts.hostname
    assert parts.username is None
    assert "#" not in built


@given(st.integers(0, 40))
def test_an_address_is_found_however_often_it_is_encoded(times: int) -> None:
    """Redirects encode a URL again and again; the address in it stays private."""
    encoded = "alice@mail.example"
    for _ in range(times):
        encoded = quote(encoded, safe="")
    built = url(f"/u/{encoded}/reset", f"utm_term={encoded}")
    assert built == "https://shop.example/u/-/reset" or len(encoded) > MAX_LENGTH - 100


@pytest.mark.parametrize(
    "number",
    [
        "+491711234567",
        "+49 171 123-4567",
        "%2B491711234567",
        "%252B491711234567",
        "call+491711234567",
        "00491711234567",
        "0171-1234567",
        "0171%201234567",
        "(206) 555-1234",
        "206-555-1234",
        "206.555.1234",
        "tel:2065551234",
        "\uff0b491711234567",
    ],
)
def test_a_phone_number_is_masked(number: str) -> None:
    """A number that can only be a telephone's leaves neither in the path nor in the query."""
    assert url(f"/sms/{number}/sent", f"utm_content={number}") == "https://shop.example/sms/-/sent"


@pytest.mark.parametrize(
    "piece", ["A-1001", "1234567890", "9780306406157", "2026-11-30", "v1.2.3", "mugs-0-3-l", "007"]
)
def test_other_numbers_stay(piece: str) -> None:
    """Orders, articles, dates and sizes are no telephones."""
    assert url(f"/{piece}", f"sku={piece}") == f"https://shop.example/{piece}?sku={piece}"
