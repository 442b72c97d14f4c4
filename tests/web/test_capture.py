"""From a request to its context and back to one cookie, as every adapter has it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.context import Consent, Context, RequestContext, bind_context, current_context
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.privacy.context_store import TokenSigner
from adcp_tracker.web.capture import Capture, LazyContext
from adcp_tracker.web.consent import ConsentCookie
from adcp_tracker.web.options import CaptureSettings
from adcp_tracker.web.request import AsgiRequest, Request, WsgiRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

CHROME = "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.0.0"
ASKED = CaptureSettings(consent=ConsentCookie("marketing"))


def environ(query: str = "", **more: str) -> dict[str, object]:
    """Make a shopper's request, as a WSGI server hands it on."""
    return {
        "REMOTE_ADDR": "8.8.8.8",
        "wsgi.url_scheme": "https",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/thanks",
        "QUERY_STRING": query,
        "HTTP_HOST": "shop.example",
        "HTTP_USER_AGENT": CHROME,
        **{name: value for name, value in more.items() if value},
    }


def begin(settings: CaptureSettings | None = None, /, query: str = "", **more: str) -> LazyContext:
    """Begin one request."""
    return Capture(settings).begin(WsgiRequest(environ(query, **more)))


def cookie(settings: CaptureSettings | None = None, /, query: str = "", **more: str) -> str | None:
    """Return the cookie that one request's response carries."""
    capture = Capture(settings)
    return capture.response_cookie(capture.begin(WsgiRequest(environ(query, **more))))


def test_a_request_becomes_a_context() -> None:
    """Address, browser, page and click are the shopper's, without any setting."""
    context = begin(query="token=s&gclid=abc&utm_source=x")
    assert context.resolve() == RequestContext(
        client_ip="8.8.8.8",
        client_user_agent=CHROME,
        event_source_url="https://shop.example/thanks?gclid=abc&utm_source=x",
        click_id="abc",
        click_id_type="gclid",
        consent=Consent.UNKNOWN,
        automated=None,
    )


def test_the_lazy_context_offers_all_of_it() -> None:
    """Whoever takes a context need not know that it is lazy."""
    lazy: Context = begin(query="gclid=abc", HTTP_SEC_PURPOSE="prefetch", HTTP_SEC_GPC="1")
    assert (lazy.client_ip, lazy.client_user_agent) == ("8.8.8.8", CHROME)
    assert lazy.event_source_url == "https://shop.example/thanks?gclid=abc"
    assert (lazy.click_id, lazy.click_id_type) == ("abc", "gclid")
    assert lazy.consent is Consent.DENIED
    assert lazy.automated == "prefetch"


class WatchedRequest(AsgiRequest):
    """Facts that note which headers are asked for."""

    __slots__ = ("asked",)

    def __init__(self, scope: dict[str, object]) -> None:
        super().__init__(scope)
        self.asked: list[str] = []

    def header(self, name: str) -> Sequence[str]:
        """Note the name, and look."""
        self.asked.append(name)
        return super().header(name)


def test_a_request_without_event_is_hardly_looked_at() -> None:
    """A page view that tracks nothing costs one look for the cookie."""
    capture = Capture(ASKED)
    request = WatchedRequest({"headers": [(b"user-agent", b"x")], "query_string": b"page=2"})
    context = capture.begin(request)
    assert request.asked == []
    assert capture.response_cookie(context) is None
    assert request.asked == ["Cookie"]
    assert "not asked yet" in repr(context)


def test_a_context_is_computed_once() -> None:
    """Several events in one request see the same context, also if the request changes."""
    raw = environ("gclid=abc")
    context = Capture().begin(WsgiRequest(raw))
    first = context.resolve()
    raw["REMOTE_ADDR"] = "9.9.9.9"
    assert context.resolve() is first
    assert "8.8.8.8" not in repr(context)


def test_a_lazy_context_is_bound_like_any_other() -> None:
    """It resolves where the event is tracked, and a token can be made of it."""
    tokens = TokenSigner("0123456789abcdef")
    with bind_context(begin(query="gclid=abc")):
        bound = current_context()
        assert bound is not None
        assert tokens.read(tokens.issue(bound)).context == begin(query="gclid=abc").resolve()


def test_proxies_decide_about_address_scheme_and_host() -> None:
    """All three are the outer ones behind a trusted proxy, and else the server's own view."""
    headers = {
        "HTTP_X_FORWARDED_FOR": "9.9.9.9",
        "HTTP_X_FORWARDED_PROTO": "http",
        "HTTP_X_FORWARDED_HOST": "www.shop.example",
    }
    trusted = begin(CaptureSettings(trusted_proxies=["8.8.8.0/24"]), **headers)
    assert trusted.client_ip == "9.9.9.9"
    assert trusted.event_source_url == "http://www.shop.example/thanks"
    stranger = begin(**headers)
    assert stranger.client_ip == "8.8.8.8"
    assert stranger.event_source_url == "https://shop.example/thanks"


def test_a_broken_forwarded_host_gives_way_to_the_own_one() -> None:
    """A URL is not given up for one bad header."""
    settings = CaptureSettings(trusted_hops=1)
    context = begin(settings, HTTP_X_FORWARDED_HOST="a b", HTTP_X_FORWARDED_FOR="9.9.9.9")
    assert context.event_source_url == "https://shop.example/thanks"
    assert begin(HTTP_HOST="a b").event_source_url is None


def test_a_script_calls_on_behalf_of_its_page() -> None:
    """For a fetch the shopper's page is the one whose script made it."""
    fetch = {"HTTP_SEC_FETCH_DEST": "empty"}
    page = "https://shop.example/cart?gclid=abc&token=s#x"
    context = begin(HTTP_REFERER=page, **fetch)
    assert context.event_source_url == "https://shop.example/cart?gclid=abc"
    assert context.click_id == "abc"
    assert begin(HTTP_REFERER=page).event_source_url == "https://shop.example/thanks"
    for other in ("https://evil.example/", "https://a@shop.example/", "https://[", "", "x"):
        context = begin(HTTP_REFERER=other, **fetch)
        assert context.event_source_url == "https://shop.example/thanks"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Mozilla\r\nX: y\x00\u0085\u2028", "Mozilla  X: y"),
        ("x" * 600, "x" * 512),
        ("x" * 511 + "  y", "x" * 511),
        ("   ", None),
        ("\ud800", None),
    ],
)
def test_a_user_agent_is_cut_and_cleaned(sent: str, kept: str | None) -> None:
    """Sellers take 512 characters, and no control characters among them."""
    assert begin(HTTP_USER_AGENT=sent).client_user_agent == kept


def test_a_click_comes_from_the_query_or_else_from_the_cookie() -> None:
    """The click of this very landing is the last one."""
    kept = "x=1; adcp_click=1.fbclid.old"
    assert begin(query="gclid=new", HTTP_COOKIE=kept).click_id == "new"
    later = begin(HTTP_COOKIE=kept)
    assert (later.click_id, later.click_id_type) == ("old", "fbclid")
    assert begin(HTTP_COOKIE="adcp_click=1.fbclid.a%0d").click_id is None
    assert begin(CaptureSettings(click_cookie=None), HTTP_COOKIE=kept).click_id is None


def test_a_landing_sets_the_cookie_once() -> None:
    """It is written with a new click, and not again until there is another one."""
    expected = "adcp_click=1.gclid.abc; Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert cookie(query="gclid=abc") == expected
    assert cookie(query="gclid=abc", HTTP_COOKIE="adcp_click=1.gclid.abc") is None
    assert cookie(query="gclid=abc", HTTP_COOKIE="adcp_click=1.gclid.old") == expected
    assert cookie(HTTP_COOKIE="adcp_click=1.gclid.abc") is None


def test_no_cookie_without_a_click() -> None:
    """Ordinary responses stay as they are."""
    assert cookie() is None
    assert cookie(query="page=2&q=gclid") is None
    assert cookie(query="gclid=%0d%0aSet-Cookie:x") is None
    assert cookie(CaptureSettings(click_cookie=None), query="gclid=abc") is None


def test_the_cookie_follows_the_scheme_that_the_shopper_used() -> None:
    """Secure on https, also where a trusted proxy ends TLS."""
    plain = {"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"}
    behind = CaptureSettings(trusted_hops=1)
    assert "Secure" not in str(cookie(query="gclid=abc", **plain))
    assert "Secure" in str(cookie(behind, query="gclid=abc", **plain))


def test_consent_decides_about_the_cookie() -> None:
    """Where the site asks, there is no cookie before a yes, and none after a no."""
    assert cookie(ASKED, query="gclid=abc") is None
    assert cookie(ASKED, query="gclid=abc", HTTP_COOKIE="marketing=no") is None
    assert "1.gclid.abc" in str(cookie(ASKED, query="gclid=abc", HTTP_COOKIE="marketing=yes"))
    withdrawn = cookie(ASKED, HTTP_COOKIE="marketing=no; adcp_click=1.gclid.abc")
    assert withdrawn is not None
    assert withdrawn.startswith("adcp_click=; Max-Age=0; Path=/;")


def test_global_privacy_control_denies() -> None:
    """A browser that opts out everywhere is heard, unless the site has settled it otherwise."""
    yes = {"HTTP_COOKIE": "marketing=yes", "HTTP_SEC_GPC": "1"}
    assert begin(ASKED, **yes).consent is Consent.DENIED
    assert cookie(query="gclid=abc", HTTP_SEC_GPC="1") is None
    deaf = CaptureSettings(consent=ConsentCookie("marketing"), honour_gpc=False)
    assert begin(deaf, **yes).consent is Consent.GRANTED


def test_silence_means_what_the_site_says() -> None:
    """Denied by default, where the site asks at all; unknown only where it does not."""
    opt_out = CaptureSettings(consent=ConsentCookie("marketing"), consent_unanswered="granted")
    assert begin().consent is Consent.UNKNOWN
    assert begin(ASKED).consent is Consent.DENIED
    assert begin(opt_out).consent is Consent.GRANTED
    assert begin(opt_out, HTTP_COOKIE="marketing=no").consent is Consent.DENIED


def test_a_failing_consent_function_denies_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The site's own mistake neither breaks its checkout nor grants anything."""

    def ask(_: object) -> bool:
        raise KeyError("alice@mail.example")  # what a site's code might raise

    with caplog.at_level(logging.WARNING, "adcp_tracker"):
        capture = Capture(CaptureSettings(consent=ask, consent_unanswered="granted"))
        for _ in range(3):
            assert capture.begin(WsgiRequest(environ())).consent is Consent.DENIED
        assert begin(CaptureSettings(consent=lambda _: "no")).consent is Consent.DENIED
    assert "KeyError" in caplog.text
    assert "expected True, False, None" in caplog.text
    assert "alice" not in caplog.text
    assert len(caplog.records) == 2


def test_a_consent_function_gets_the_frameworks_request() -> None:
    """It is asked with what the adapter handed in."""
    seen: list[object] = []
    request = object()

    def ask(given_: object) -> bool:
        seen.append(given_)
        return True

    context = Capture(CaptureSettings(consent=ask)).begin(WsgiRequest(environ(), request))
    assert seen == []
    assert context.consent is Consent.GRANTED
    assert seen == [request]


def test_automation_can_be_left_alone() -> None:
    """A site may count robots if it wants to."""
    assert begin(HTTP_USER_AGENT="Googlebot/2.1").automated == "crawler"
    settings = CaptureSettings(detect_automation=False)
    assert begin(settings, HTTP_USER_AGENT="Googlebot/2.1").automated is None


def test_a_site_can_make_a_browser_forget() -> None:
    """Erasing a person includes the cookie."""
    capture = Capture()
    forget = capture.expire_cookie(capture.begin(WsgiRequest(environ())))
    assert forget == "adcp_click=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"
    without = Capture(CaptureSettings(click_cookie=None))
    assert without.expire_cookie(without.begin(WsgiRequest(environ()))) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CaptureSettings(consent="yes"), "consent"),
        (CaptureSettings(click_cookie="a b"), "click_cookie"),
        (CaptureSettings(click_ids=["a b"]), "click_ids"),
        (CaptureSettings(query_allow=["*"]), "query_allow"),
        (CaptureSettings(trusted_proxies=["x"]), "trusted_proxies"),
        (CaptureSettings(platform="x"), "platform"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(settings: CaptureSettings, message: str) -> None:
    """A site learns of it when it starts, and not when a shopper comes."""
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        Capture(settings)


def test_own_names_reach_query_and_url() -> None:
    """What a site adds is captured and stays in the URL."""
    settings = CaptureSettings(click_ids=["irclickid"], query_allow=["sku"])
    context = begin(settings, query="irclickid=7&sku=1&x=2")
    assert (context.click_id_type, context.click_id) == ("irclickid", "7")
    assert context.event_source_url == "https://shop.example/thanks?irclickid=7&sku=1"


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *[b"host", b"user-agent", b"cookie", b"x-forwarded-for", b"forwarded", b"referer"],
            *[b"sec-fetch-dest", b"sec-gpc", b"sec-purpose", b"x-forwarded-host"],
        ]
    ),
    st.binary() | st.sampled_from([b"empty", b"1", b"shop.example", b"https://shop.example/?a#"]),
)
CAPTURES = st.sampled_from(
    [
        Capture(CaptureSettings(trusted_hops=1)),
        Capture(CaptureSettings(trusted_hops=2, ip_header="Forwarded")),
        Capture(ASKED),
    ]
)


@given(CAPTURES, HEADERS, st.text(), st.binary(), st.text())
def test_no_request_breaks_the_capture(
    capture: Capture, headers: dict[bytes, bytes], path: str, query: bytes, peer: str
) -> None:
    """Whatever a client sends, the host's response is neither broken nor split."""
    scope: dict[str, object] = {
        "client": [peer, 1],
        "scheme": "https",
        "path": path,
        "query_string": b"gclid=" + query,
        "headers": list(headers.items()),
    }
    context = capture.begin(AsgiRequest(scope))
    resolved = context.resolve()
    assert resolved.client_user_agent is None or resolved.client_user_agent.isprintable()
    set_cookie = capture.response_cookie(context)
    assert set_cookie is None or (set_cookie.isascii() and set_cookie.isprintable())


def test_a_platforms_cookie_is_the_last_resort() -> None:
    """The query wins, then the site's own cookie; a site can turn the platforms' cookies off."""
    cookie = "_gcl_aw=GCL.1719411304.platform"
    assert begin(HTTP_COOKIE=cookie).click_id == "platform"
    assert begin(query="gclid=query", HTTP_COOKIE=cookie).click_id == "query"
    assert begin(HTTP_COOKIE=f"{cookie}; adcp_click=1.gclid.own").click_id == "own"
    settings = CaptureSettings(platform_click_cookies=False)
    assert begin(settings, HTTP_COOKIE=cookie).click_id is None
    assert begin(CaptureSettings(click_cookie=None), HTTP_COOKIE=cookie).click_id == "platform"


class Broken(WsgiRequest):
    """A request of which one part raises when it is read."""

    __slots__ = ("_part",)

    def __init__(self, part: str) -> None:
        super().__init__(environ("gclid=abc"))
        self._part = part

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "_part"):
            raise RuntimeError("of the framework")
        return super().__getattribute__(name)


@pytest.mark.parametrize("part", ["peer", "scheme", "host", "path", "query", "header", "has_any"])
def test_a_part_that_cannot_be_read_costs_only_itself(
    part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A purchase is worth more than its context, and each part of it more than the others."""
    context = Capture().begin(Broken(part)).resolve()
    assert (context.client_ip is None) == (part in {"peer", "header"})
    assert (context.client_user_agent is None) == (part == "header")
    of_page = {"peer", "scheme", "host", "path", "query", "header"} - {"peer"}
    assert (context.event_source_url is None) == (part in of_page)
    cookie = Capture().response_cookie(LazyContext(Capture(), Broken, part))
    assert (cookie is None) == (part in {"peer", "scheme", "query", "header"})
    assert "RuntimeError" in caplog.text
    assert "of the framework" not in caplog.text


class ForgottenEnum:
    """A consent reader that answers with a plain truth value."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def read(self, request: Request) -> object:
        """Return whatever the site wrote."""
        del request
        return self.answer


@pytest.mark.parametrize(
    ("answer", "consent"),
    [
        (True, Consent.GRANTED),
        (False, Consent.DENIED),
        (None, Consent.DENIED),
        ("no", Consent.DENIED),
        (0, Consent.DENIED),
    ],
)
def test_a_readers_answer_is_checked(answer: object, consent: Consent) -> None:
    """An answer that isn't one of the four never counts as permission."""
    assert begin(CaptureSettings(consent=ForgottenEnum(answer))).consent is consent


@pytest.mark.parametrize(
    ("forwarded", "own", "page"),
    [
        ("www.shop.example", "10.0.0.1", "https://www.shop.example/thanks"),
        ("SHOP.example:8443", "10.0.0.1", "https://shop.example:8443/thanks"),
        ("evil.example", "shop.example", "https://shop.example/thanks"),
        ("shop.example.evil.example", "shop.example", "https://shop.example/thanks"),
        ("evilshop.example", "evil.example", None),
    ],
)
def test_a_page_is_on_one_of_the_allowed_hosts(forwarded: str, own: str, page: str | None) -> None:
    """Neither a forged forwarded host nor a forged Host header becomes the page's address."""
    settings = CaptureSettings(trusted_proxies=["10.0.0.0/8"], allowed_hosts=[".shop.example"])
    headers = {"HTTP_X_FORWARDED_HOST": forwarded, "HTTP_X_FORWARDED_PROTO": "https"}
    context = begin(settings, REMOTE_ADDR="10.0.0.2", HTTP_HOST=own, **headers)
    assert context.event_source_url == page
