"""The middleware, from a request to its context and back to its one cookie."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings

from adcp_tracker import ConfigurationError, Consent, current_context
from adcp_tracker_django.middleware import AdcpTrackerMiddleware
from adcp_tracker_django.request import DjangoRequest
from tests.integrations.django.serving import carried

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox
    from tests.integrations.django.conftest import Configure

pytestmark = pytest.mark.usefixtures("site")

SHOPPER = {
    "User-Agent": "Mozilla/5.0",
    "X-Forwarded-For": "9.9.9.9, 8.8.8.8",
    "X-Forwarded-Proto": "https",
}
COOKIE = {
    "max-age": 7776000,
    "path": "/",
    "httponly": True,
    "samesite": "Lax",
    "secure": True,
}


class Anybody:
    """A shopper with a browser, in front of either kind of site."""

    def __init__(self, kind: str) -> None:
        self.client = Client() if kind == "sync" else AsyncClient()

    def get(self, path: str, **more: str) -> Any:  # noqa: ANN401 - Django has no types
        """Ask for a page, through a proxy that tells who they are."""
        answer = self.client.get(path, headers={**SHOPPER, **more})
        if not asyncio.iscoroutine(answer):
            return answer

        async def wait() -> object:
            return await answer

        return asyncio.run(wait())


@pytest.fixture(params=["sync", "async"])
def anybody(request: pytest.FixtureRequest) -> Anybody:
    """A shopper, first of a synchronous site and then of an asynchronous one."""
    return Anybody(request.param)


def test_an_event_carries_its_request(anybody: Anybody, seller: Sandbox) -> None:
    """Address, browser, page and click come from the request, and are gone after it."""
    answer = anybody.get("/buy/1?gclid=abc&token=s#part")
    assert answer.status_code == 200
    seller.wait_for(1)
    event = seller.events[0]
    assert carried(event) == ("8.8.8.8", "Mozilla/5.0", "https://testserver/buy/1?gclid=abc")
    assert event["user_match"]["click_id"] == "abc"
    assert current_context() is None


def test_a_landing_is_given_a_cookie_and_the_purchase_its_click(
    anybody: Anybody, seller: Sandbox
) -> None:
    """The click id survives until the purchase, in a cookie that scripts cannot read."""
    landing = anybody.get("/?gclid=abc")
    morsel = landing.cookies["adcp_click"]
    assert morsel.value == "1.gclid.abc"
    assert {name: morsel[name] for name in COOKIE} == {**COOKIE, "max-age": "7776000"}
    later = anybody.get("/buy/2")
    assert not later.cookies
    seller.wait_for(1)
    match = seller.events[0]["user_match"]
    assert (match["click_id_type"], match["click_id"]) == ("gclid", "abc")


def test_a_page_without_click_gets_no_header_from_us(anybody: Anybody) -> None:
    """No cookie is set, and no page varies by one: the session and the user stay untouched."""
    answer = anybody.get("/")
    assert not answer.cookies
    assert not answer.has_header("Vary")
    assert anybody.get("/buy/3?gclid=abc").has_header("Vary") is False
    # The same site does vary where a view asks who the user is.
    assert anybody.get("/account").headers["Vary"] == "Cookie"


def test_a_shopper_who_opts_out_gets_no_cookie_and_no_event(
    anybody: Anybody, seller: Sandbox
) -> None:
    """Consent is a gate before both."""
    assert not anybody.get("/buy/4?gclid=abc", **{"Sec-GPC": "1"}).cookies
    anybody.get("/buy/5")
    seller.wait_for(1)
    assert [event["event_id"] for event in seller.events] == ["A-5"]


def test_consent_is_asked_with_djangos_own_request(configure: Configure, seller: Sandbox) -> None:
    """A site's function knows the request it is given."""
    asked: list[object] = []

    def consents(request: Any) -> bool:  # noqa: ANN401 - Django has no types
        asked.append(type(request).__name__)
        return bool(request.COOKIES.get("marketing") == "yes")

    with configure(CONSENT=consents):
        client = Client()
        client.get("/buy/6", headers=SHOPPER)
        client.cookies["marketing"] = "yes"
        client.get("/buy/7", headers=SHOPPER)
        seller.wait_for(1)
    assert [event["event_id"] for event in seller.events] == ["A-7"]
    assert asked == ["WSGIRequest", "WSGIRequest"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_context_may_be_read_when_django_has_ended_the_request(kind: str) -> None:
    """A task that outlives its request knows the shopper, and keeps nothing else of it alive."""
    taken: list[Any] = []

    def view(request: Any) -> HttpResponse:  # noqa: ANN401 - Django has no types
        taken.append(current_context())
        request.user = "somebody"
        return HttpResponse()

    async def async_view(request: object) -> HttpResponse:
        return view(request)

    middleware = AdcpTrackerMiddleware(view if kind == "sync" else async_view)
    factory = RequestFactory() if kind == "sync" else AsyncRequestFactory()
    request = factory.get("/buy/8?gclid=abc", headers=SHOPPER)
    answer: Any = middleware(request)
    if kind == "async":
        asyncio.run(answer)
    gone = weakref.ref(request)
    request.close()
    del request
    gc.collect()  # Django's requests and their handlers are circles
    assert (gone() is None) == (kind == "async")
    context = taken.pop()
    assert (context.client_ip, context.client_user_agent) == ("8.8.8.8", "Mozilla/5.0")
    assert context.event_source_url == "https://testserver/buy/8?gclid=abc"
    del context
    gc.collect()
    assert gone() is None


def test_a_late_event_asks_a_sites_own_consent_function_with_the_whole_request(
    configure: Configure,
) -> None:
    """It may ask for what only a middleware put there."""
    taken: list[Any] = []

    async def view(request: Any) -> HttpResponse:  # noqa: ANN401 - Django has no types
        request.answered = True
        taken.append(current_context())
        return HttpResponse()

    with configure(CONSENT=lambda request: request.answered):
        answer: Any = AdcpTrackerMiddleware(view)(AsyncRequestFactory().get("/"))
        asyncio.run(answer)
        assert taken[0].consent is Consent.GRANTED


def test_an_error_in_a_view_leaves_no_context_behind() -> None:
    """The next request in this thread starts from nothing."""

    def fail(_: object) -> None:
        assert current_context() is not None
        raise LookupError("a view's own")

    with pytest.raises(LookupError):
        AdcpTrackerMiddleware(fail)(RequestFactory().get("/"))
    assert current_context() is None


def test_wrong_settings_stop_the_start_and_no_checkout(configure: Configure) -> None:
    """What cannot be right is said when the middleware is loaded."""
    with configure(UPLOADER="nobody"), pytest.raises(ConfigurationError, match="uploader"):
        AdcpTrackerMiddleware(lambda _: None)


def test_the_url_is_what_the_site_serves() -> None:
    """The scheme, the host and the path are those that Django settled."""
    factory = RequestFactory()
    facts = DjangoRequest(factory.get("/caf%C3%A9/%C3%83%C2%A9", HTTP_HOST="shop.example"))
    assert (facts.scheme, facts.host, facts.path) == ("http", "shop.example", "/café/Ã©")
    assert DjangoRequest(factory.get("/", HTTP_HOST="evil.example")).host == ""
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_SCHEME", "https")):
        assert DjangoRequest(factory.get("/", HTTP_X_SCHEME="https")).scheme == "https"


def test_a_strangers_host_gives_an_event_no_page(seller: Sandbox) -> None:
    """A host that the site does not serve is no part of an event."""

    def view(_: object) -> object:
        context = current_context()
        assert context is not None
        return context.event_source_url, context.client_ip

    middleware = AdcpTrackerMiddleware(view)
    request = RequestFactory().get("/", HTTP_HOST="evil.example", REMOTE_ADDR="8.8.4.4")
    with pytest.raises(AttributeError):  # what the view returns is no response to set a cookie on
        assert middleware(RequestFactory().get("/?gclid=a")) is None
    assert middleware(request) == (None, "8.8.4.4")
    assert not seller.events


@pytest.mark.parametrize(
    ("forwarded", "host"),
    [("evil.example", "testserver"), ("www.shop.example", "www.shop.example")],
)
def test_a_forged_host_is_not_the_pages(
    anybody: Anybody, seller: Sandbox, forwarded: str, host: str
) -> None:
    """Proxies may pass on a header that a client sent: ``ALLOWED_HOSTS`` counts for it too."""
    with override_settings(ALLOWED_HOSTS=["testserver", "www.shop.example"]):
        anybody.get("/buy/7", **{"X-Forwarded-Host": forwarded})
    seller.wait_for(1)
    assert seller.events[0]["event_source_url"] == f"https://{host}/buy/7"
