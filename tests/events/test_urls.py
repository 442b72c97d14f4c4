"""Pages' addresses: what is one, what is made one, and what is refused."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.parsing import is_uri, normalize_url, strip_page_url
from tests.support.events import browsers_urls

GOOD = [
    "https://shop.example",
    "https://shop.example/",
    "HTTP://Shop.Example:8080/a/b;c=1?d=%5B0%5D&e=f/g?h#i/j?k",
    "https://user:secret@shop.example./",
    "https://xn--bcher-kva.example/",
    "https://shop_1.example/@me/'quoted'/(a,b)!*$",
    "http://192.0.2.1/",
    "http://[2001:db8::1]:8080/",
    "http://[::ffff:192.0.2.1]/",
    "app+x://open/42",
    "app://open",
    "com.shop.app:/orders/1",
    "urn:isbn:0451450523",
]
MENDED = {
    "https://shop.example/search?filter[size]=m": "https://shop.example/search?filter%5Bsize%5D=m",
    "https://shop.example/100%": "https://shop.example/100%25",
    "https://shop.example/100%?a=%4": "https://shop.example/100%25?a=%254",
    "https://shop.example/{id}|^`": "https://shop.example/%7Bid%7D%7C%5E%60",
    "https://shop.example/café?q=漢#é": "https://shop.example/caf%C3%A9?q=%E6%BC%A2#%C3%A9",
    "https://shop.example/#a#b": "https://shop.example/#a%23b",
    "http://[::1]/a[0]": "http://[::1]/a%5B0%5D",
}
REFUSED = [
    "",
    "/thanks",
    "//shop.example/",
    "shop.example/thanks",
    "https:",
    "https://",
    "https:///thanks",
    "1http://shop.example/",
    "https://shop.example/a b",
    "https://shop.example/\r\nX: y",
    "https://shop.example/\x00",
    "https://shop.example/\u2028",
    "https://shop.example/\ud800",
    'https://shop.example/"',
    "https://shop.example/<script>",
    "https://shop.example\\@evil.example/",
    "https://bücher.example/",
    "https://shop.example:65536/",
    "https://shop.example:8o/",
    "https://[::1/",
    "https://[1.2.3.4]/",
    "https://[v1.a]/",
    "https://256.1.1.1/",
    "https://1.2.3/",
    "https://08/",
    "https://xn--/",
    "https://shop%20.example/",
    "app://user@/",
    "app://:80/",
    "https://-shop.example/",
    "https://a@b@shop.example/",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_uri_is_taken_as_it_is(text: str) -> None:
    """Every form of an absolute URI, and not only a website's."""
    assert is_uri(text)
    assert normalize_url(text) == text


@pytest.mark.parametrize("text", MENDED)
def test_what_browsers_and_frameworks_leave_is_escaped(text: str) -> None:
    """Behind the host, and in a way that means the same."""
    assert not is_uri(text)
    assert normalize_url(text) == MENDED[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_means_nothing_or_several_things_is_refused(text: str) -> None:
    """Nobody guesses what a relative, broken or hostile address was meant to be."""
    assert not is_uri(text)
    assert normalize_url(text) is None


@given(browsers_urls)
def test_escaping_keeps_the_meaning(text: str) -> None:
    """Unescaped, it is the same text again, and once escaped it stays as it is."""
    uri = normalize_url(text)
    assert uri is not None
    assert uri.isascii()
    assert unquote(uri) == unquote(text)
    assert normalize_url(uri) == uri


@given(st.text(max_size=60) | st.text("htps:/@[]%#?.x1", max_size=60))
def test_any_text_is_checked(text: str) -> None:
    """Whatever it is, it becomes a URI or nothing."""
    uri = normalize_url(text)
    assert uri is None or is_uri(uri)


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ("https://user:secret@shop.example/a?b=c#d", "https://shop.example/a?b=c"),
        ("https://user@[2001:db8::1]:8080", "https://[2001:db8::1]:8080"),
        ("https://@shop.example/#", "https://shop.example/"),
        ("https://shop.example/#/reset?token=secret", "https://shop.example/"),
        ("https://shop.example/@me/a@b?c=d@e#f@g", "https://shop.example/@me/a@b?c=d@e"),
        ("https://shop.example/caf\u00e9?a[b]=c#d", "https://shop.example/caf%C3%A9?a%5Bb%5D=c"),
        ("https://shop.example?next=//user@host", "https://shop.example?next=//user@host"),
        ("app+x://user@open/42", "app+x://open/42"),
        ("app:a://b@c", "app:a://b@c"),
    ],
)
def test_a_pages_address_loses_user_info_and_fragment(given: str, page: str) -> None:
    """And nothing else, whatever stands in path and query."""
    assert strip_page_url(given) == page


@pytest.mark.parametrize(
    "given",
    [
        "",
        "/thanks#top",
        "https://a@b@shop.example/",
        "https://shop.example\\@evil.example/",
    ],
)
def test_what_can_be_no_address_is_not_cut(given: str) -> None:
    """It is judged as it was given: cut, it could become somebody else's."""
    assert strip_page_url(given) is given


@given(browsers_urls)
def test_a_cut_address_still_is_one(text: str) -> None:
    """Cut once, it stays as it is."""
    page = strip_page_url(text)
    assert page is not None
    assert is_uri(page)
    assert "#" not in page
    assert strip_page_url(page) == page


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("https://" + "a" * 100_000 + "\n", None),
        ("https://a/" + "%4" * 50_000 + " ", None),
        ("a:" * 50_000, "a:" * 50_000),
    ],
    ids=["host", "escapes", "colons"],
)
def test_no_pattern_walks_back_and_forth_over_long_text(text: str, uri: str | None) -> None:
    """Whoever wrote the address, judging it ends: walked twice a letter, it would take hours."""
    assert normalize_url(text) == uri


@pytest.mark.parametrize("port", ["1" * 5000, "0" * 5000 + "80", "9" * 10, "65536"])
def test_a_port_that_is_none_is_refused_however_long(port: str) -> None:
    """Python turns no number of thousands of digits into an integer; nobody has such a port."""
    assert not is_uri(f"https://shop.example:{port}/")
    assert normalize_url(f"https://shop.example:{port}/") is None
