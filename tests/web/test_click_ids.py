"""Click ids: found in a landing's query, kept in a cookie, and validated on both ways in."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.model import CLICK_IDS
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.click_ids import (
    Click,
    ClickCookie,
    ClickNames,
    click_from_platform,
    cookie_value,
    read_cookie,
)

NAMES = ClickNames()
IDS = st.from_regex(r"\A[A-Za-z0-9_.~:=+/-]{1,512}\Z")
CLICKS = st.builds(Click, type=st.sampled_from(CLICK_IDS), id=IDS)


@pytest.mark.parametrize("name", CLICK_IDS)
def test_every_known_parameter_is_a_type(name: str) -> None:
    """A click id's type is its parameter's name, as the table spells it."""
    assert NAMES.in_query(f"utm_source=x&{name}=Ab-1_2.3") == Click(name, "Ab-1_2.3")
    assert NAMES.in_query(f"{name.upper()}=x") == Click(name, "x")


def test_ids_are_taken_as_sellers_make_them() -> None:
    """Ids come as the sellers make them: percent-encoded, padded, with dots and dashes."""
    assert NAMES.in_query("fbclid=IwZXh0bgNhZW0_aem-x") == Click("fbclid", "IwZXh0bgNhZW0_aem-x")
    assert NAMES.in_query("epik=dj0yJnU9a%3D%3D") == Click("epik", "dj0yJnU9a==")
    assert NAMES.in_query("gclid=a+b/c") == Click("gclid", "a+b/c")


@pytest.mark.parametrize(
    "query",
    [
        *["", "gclid", "gclid=", "xgclid=1", "gclid_x=1", "a=gclid=1", "gclid=a%0d%0ab", "gclid=%"],
        *[
            "gclid=a%20b",
            "gclid=a;b",
            "gclid=a,b",
            'gclid="a"',
            "gclid=é",
            "gclid=%00",
            "gclid=a\n",
        ],
        *["gclid=" + "a" * 513, "gclid=" + "%61" * 513, "m\u017fclkid=1", "gclid=<script>"],
    ],
)
def test_what_is_no_click_id_is_none(query: str) -> None:
    """Control characters, cookie delimiters, over-long values and look-alikes are refused."""
    assert NAMES.in_query(query) is None


def test_the_longest_id_is_taken() -> None:
    """512 characters fit."""
    assert NAMES.in_query("gclid=" + "%61" * 512) == Click("gclid", "a" * 512)


def test_the_last_valid_click_in_a_query_wins() -> None:
    """Who passes a link on appends, so the last id is the last click."""
    assert NAMES.in_query("gclid=1&fbclid=2") == Click("fbclid", "2")
    assert NAMES.in_query("fbclid=2&gclid=1") == Click("gclid", "1")
    assert NAMES.in_query("gclid=1&gclid=2") == Click("gclid", "2")
    assert NAMES.in_query("gclid=1&fbclid=%0d") == Click("gclid", "1")


def test_companions_yield_to_a_gclid() -> None:
    """Google sends several ids for one click, of which the gclid says most."""
    assert NAMES.in_query("gclid=1&gbraid=2&dclid=3") == Click("gclid", "1")
    assert NAMES.in_query("gbraid=2") == Click("gbraid", "2")
    assert NAMES.in_query("fbclid=1&wbraid=2") == Click("wbraid", "2")


def test_a_site_can_add_names() -> None:
    """A seller's own parameter joins the table."""
    names = ClickNames(["irclickid"])
    assert names.in_query("irclickid=7") == Click("irclickid", "7")
    assert names.in_cookie("1.irclickid.7") == Click("irclickid", "7")
    assert NAMES.in_cookie("1.irclickid.7") is None


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a" * 65, "a=b", "clé"])
def test_a_name_that_fits_no_cookie_is_refused(name: str) -> None:
    """The name goes into a query and a cookie, so it has to fit both."""
    with pytest.raises(ConfigurationError, match="click_ids"):
        ClickNames([name])


def test_occurs_in_agrees_with_in_query() -> None:
    """The quick look before the real one misses nothing and guesses only on the value."""
    assert NAMES.occurs_in("a=1&ttclid=x")
    assert NAMES.occurs_in("gclid=%0d")
    assert not NAMES.occurs_in("q=gclid")


@pytest.mark.slow
@given(CLICKS)
def test_a_click_survives_its_cookie(click: Click) -> None:
    """What a browser gives back is what it was given, through a strict cookie parser too."""
    header = ClickCookie().set(click, https=True)
    assert SimpleCookie(header)["adcp_click"].value == cookie_value(click)
    pair = header.partition(";")[0]
    value = read_cookie([f"a=b; {pair}; c=d"], "adcp_click")
    assert value is not None
    assert NAMES.in_cookie(value) == click


@pytest.mark.parametrize(
    "value",
    [
        *["", "1", "1.gclid", "1.gclid.", "2.gclid.x", "1.GCLID.x", "1.other.x", ".gclid.x"],
        *["1.gclid.a b", "1.gclid.a\r\nSet-Cookie: x", "1.gclid." + "a" * 513, '"1.gclid.x"'],
    ],
)
def test_a_cookie_of_another_make_is_ignored(value: str) -> None:
    """The cookie comes back from the client, so it is parsed strictly."""
    assert NAMES.in_cookie(value) is None


@given(st.text() | st.text(alphabet="gclid=&%0123.\r\n\u017f\u212a"))
def test_neither_way_in_ever_raises(text: str) -> None:
    """Any query and any cookie can be looked at, and only a safe id comes out."""
    for found in (NAMES.in_query(text), NAMES.in_cookie(text), NAMES.in_query(f"gclid={text}")):
        assert found is None or cookie_value(found).isascii()
        assert found is None or not {"\r", "\n", ";", " "} & set(found.id)


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (["x=1"], "1"),
        (["a=2; x=1;b=3"], "1"),
        (["a=2", " x = 1 "], "1"),
        (["x=1; x=2"], "1"),
        (["x=a=b"], "a=b"),
        (["xx=1; x"], None),
        (["ax=1"], None),
        ([], None),
    ],
)
def test_read_cookie_finds_one_pair(lines: list[str], value: str | None) -> None:
    """Neighbours with similar names do not confuse it, nor several header lines."""
    assert read_cookie(lines, "x") == value


def test_the_cookie_is_first_party_and_out_of_reach_for_scripts() -> None:
    """It is for the server alone, for 90 days, and for https where the site has it."""
    click = Click("gclid", "abc")
    plain = "adcp_click=1.gclid.abc; Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax"
    assert ClickCookie().set(click, https=False) == plain
    assert ClickCookie().set(click, https=True) == f"{plain}; Secure"
    assert ClickCookie(secure=True).set(click, https=False) == f"{plain}; Secure"
    assert ClickCookie(secure=False).set(click, https=True) == plain


def test_the_cookie_can_be_renamed_shared_and_expired() -> None:
    """Name, lifetime and domain are the site's choice, for setting and expiring alike."""
    cookie = ClickCookie(name="ad", max_age_days=1, domain="shop.example")
    shared = "Path=/; Domain=shop.example; HttpOnly; SameSite=Lax"
    assert cookie.set(Click("gclid", "a"), https=False) == f"ad=1.gclid.a; Max-Age=86400; {shared}"
    assert cookie.expire(https=False) == f"ad=; Max-Age=0; {shared}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "click_cookie:"),
        ({"name": "a;b"}, "click_cookie:"),
        ({"name": "a\r\n"}, "click_cookie:"),
        ({"max_age_days": 0}, "click_cookie_days"),
        ({"max_age_days": 401}, "click_cookie_days"),
        ({"max_age_days": 1.5}, "click_cookie_days"),
        ({"domain": "shop.example; Secure"}, "click_cookie_domain"),
        ({"domain": ""}, "click_cookie_domain"),
    ],
)
def test_a_wrong_cookie_setting_says_which(options: dict[str, object], message: str) -> None:
    """Nothing that could break a header gets as far as one."""
    with pytest.raises(ConfigurationError, match=message):
        ClickCookie(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_repr_hides_the_id() -> None:
    """A click id points at a person."""
    assert "secret" not in repr(Click("gclid", "secret"))


@pytest.mark.parametrize(
    ("line", "click"),
    [
        ("_gcl_aw=GCL.1719411304.Cj0KCQjw-x_y", Click("gclid", "Cj0KCQjw-x_y")),
        ("a=b; _fbc=fb.1.1657051589577.IwAR1a-b_c.AQECAQMB", Click("fbclid", "IwAR1a-b_c")),
        ("_fbc=fb.1.1657051589577.IwAR1a-b_c", Click("fbclid", "IwAR1a-b_c")),
        ("_gcl_dc=GCL.1719411304.CPx_y", Click("dclid", "CPx_y")),
        ("_uetmsclkid=_uet0f1e2d3c", Click("msclkid", "0f1e2d3c")),
        ("x=y;_epik=dj0yJnU9", Click("epik", "dj0yJnU9")),
        ("li_fat_id=0a1b-2c", Click("li_fat_id", "0a1b-2c")),
        ("ttclid=E.C.P.CtQB", Click("ttclid", "E.C.P.CtQB")),
        # The latest click counts; one without a time comes last.
        ("_fbc=fb.1.1657051589577.old; _gcl_aw=GCL.1719411304.new", Click("gclid", "new")),
        ("_fbc=fb.1.1757051589577.new; _gcl_aw=GCL.1719411304.old", Click("fbclid", "new")),
        ("ttclid=undated; _gcl_aw=GCL.1719411304.dated", Click("gclid", "dated")),
        *[
            (line, None)
            for line in (
                "_gcl_aw=",
                "_gcl_aw=Cj0KCQjw",
                "_gcl_aw=GCL.x.Cj0KCQjw",
                "_gcl_aw=GCL.1719411304.a b",
                "x_gcl_aw=GCL.1719411304.a",
                "_fbc=fb.1.1657051589577.",
                "_fbc=fb.1.1657051589577.a.b.c",
                "_gcl_aw=GCL.1719411304." + "a" * 513,
            )
        ],
    ],
)
def test_ad_platforms_cookies_know_the_click(line: str, click: Click | None) -> None:
    """A landing that came from a cache is known only to the ad platform's own script."""
    assert click_from_platform([line]) == click


@given(st.lists(st.text()))
def test_any_cookie_header_can_be_searched_for_a_platforms_click(lines: list[str]) -> None:
    """What a browser sends never raises, and what is found is a click id."""
    found = click_from_platform(lines)
    assert found is None or NAMES.in_query(f"{found.type}={found.id}") == found
