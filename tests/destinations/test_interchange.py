"""The Interchange destination against a seller over real HTTP."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from adcp_tracker import __version__
from adcp_tracker.destinations.base import (
    Batch,
    Delivered,
    Destination,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import SandboxConfig
from tests.destinations.rawseller import answering, http, raw_seller
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.sandbox import Sandbox

TAKEN = b'{"data":{"events_received":1,"events_processed":1},"error":null}'


def event(number: int, **fields: object) -> bytes:
    """Return a valid event's final bytes."""
    whole: dict[str, object] = {
        "event_id": f"order-{number}",
        "event_type": "purchase",
        "event_time": "2026-01-02T03:04:05Z",
        "user_match": {"uids": [{"type": "other", "value": f"crm-{number}"}]},
        "custom_data": {"value": 12.5, "currency": "EUR"},
        **fields,
    }
    return json.dumps(whole).encode()


def batch(count: int = 3, test_event_code: str | None = None) -> Batch:
    """Return a frozen batch."""
    return Batch([event(number) for number in range(count)], b"identity", test_event_code)


def interchange(url: str, **settings: Any) -> Interchange:  # noqa: ANN401 - settings differ
    """Return a destination that the seller knows."""
    known: dict[str, Any] = {
        "advertiser_id": ADVERTISER,
        "event_source_id": SOURCE,
        "api_key": TOKEN,
        "base_url": url,
    }
    return Interchange(**(known | settings))


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """One seller for all tests of this module."""
    with run_seller() as seller:
        yield seller


@pytest.fixture
def seller(running: Sandbox) -> Sandbox:
    """The seller as if it were fresh."""
    running.reset()
    running.configure(**attrs.asdict(SandboxConfig(), recurse=False))
    return running


@pytest.fixture
def shop(seller: Sandbox) -> Iterator[Interchange]:
    """A destination before a fresh seller."""
    destination = interchange(seller.url)
    yield destination
    destination.close()


def test_it_is_a_destination() -> None:
    """It fits the protocol that deliveries go by."""
    shop = interchange("https://api.example")
    assert isinstance(shop, Destination)
    assert shop.name == f"interchange:{ADVERTISER}/{SOURCE}"


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_batch_is_delivered(shop: Interchange, seller: Sandbox, *, wrapped: bool) -> None:
    """A strict seller takes the request as it is built."""
    seller.configure(wrapped=wrapped)
    outcome = shop.send(batch())
    assert isinstance(outcome, Delivered)
    assert (outcome.received, outcome.processed, outcome.failures) == (3, 3, ())
    assert [event["event_id"] for event in seller.events] == ["order-0", "order-1", "order-2"]


def test_a_test_code_marks_the_whole_request(shop: Interchange, seller: Sandbox) -> None:
    """Test events arrive as tests, and live ones do not."""
    assert isinstance(shop.send(batch(2, 'TEST"1')), Delivered)
    assert isinstance(shop.send(batch(1)), Delivered)
    assert len(seller.test_events) == 2
    assert len(seller.events) == 1


def test_the_frozen_bytes_are_sent_untouched() -> None:
    """Spaces, escapes and numbers that a decoder would alter stay as they are."""
    odd = b'{ "event_id":"\\u0041",  "custom_data":{"value":1.10000000000000000001} }'
    with raw_seller(answering(http(200, TAKEN))) as seller:
        destination = interchange(seller.origin)
        destination.send(Batch([odd, odd], b"i", "T"))
        destination.close()
    expected = b'{"event_source_id":"%s","events":[%s,%s],"test_event_code":"T"}'
    assert seller.requests[0].body == expected % (SOURCE.encode(), odd, odd)


def test_a_request_says_who_sends_it() -> None:
    """Path, credential and name are as documented; ids are escaped in the path."""
    with raw_seller(answering(http(200, TAKEN))) as seller:
        destination = interchange(seller.origin + "/v2/", advertiser_id="a/b?c")
        destination.send(batch(1))
        destination.close()
    request = seller.requests[0]
    assert request.line == "POST /v2/advertisers/a%2Fb%3Fc/log-event HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"adcp_tracker/{__version__}"


def test_partial_failures_come_with_code_and_remedy(seller: Sandbox) -> None:
    """The named event fails, the others are delivered."""
    seller.configure(refuse_events={"order-1": "INVALID_EVENT_TYPE"})
    destination = interchange(seller.url)
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, Delivered)
    [failure] = outcome.failures
    assert (failure.event_id, failure.code) == ("order-1", "INVALID_EVENT_TYPE")
    assert "event type" in failure.remedy


@pytest.mark.parametrize("notation", ["pointer", "dotted"])
@pytest.mark.parametrize("home", ["details", "top", "nowhere"])
def test_an_invalid_event_is_named(seller: Sandbox, notation: str, home: str) -> None:
    """A strict seller names the one event that spoils the request."""
    seller.configure(notation=notation, issues_in=home)
    destination = interchange(seller.url)
    events = [event(0), event(1, event_time="yesterday"), event(2)]
    outcome = destination.send(Batch(events, b"i"))
    destination.close()
    assert isinstance(outcome, Rejected)
    assert [failure.index for failure in outcome.failures] == [1]
    assert seller.events == []


def test_an_invalid_event_that_is_not_named_is_to_be_searched(
    shop: Interchange, seller: Sandbox
) -> None:
    """Without a name the outcome has no failures, which asks for bisection."""
    seller.configure(issues_in="nowhere", names_field=False)
    outcome = shop.send(Batch([event(0, event_time="yesterday")], b"i"))
    assert isinstance(outcome, Rejected)
    assert outcome.failures == ()


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"api_key": "wrong"}, "UNAUTHORIZED"),
        ({"advertiser_id": "nobody"}, "ADVERTISER_NOT_FOUND"),
        ({"event_source_id": "unknown"}, "EVENT_SOURCE_NOT_FOUND"),
    ],
)
def test_a_wrong_configuration_pauses(seller: Sandbox, settings: Any, code: str) -> None:  # noqa: ANN401
    """Nothing is lost, and the remedy says what to change."""
    destination = interchange(seller.url, **settings)
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, Paused)
    assert outcome.remedy
    assert code.partition("_")[0] in outcome.code


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Rejected, "BAD_REQUEST"),
        (401, Paused, "UNAUTHORIZED"),
        (403, Paused, "FORBIDDEN"),
        (404, Paused, "NOT_FOUND"),
        (408, Retry, "REQUEST_TIMEOUT"),
        (413, TooLarge, "PAYLOAD_TOO_LARGE"),
        (425, Retry, "TOO_EARLY"),
        (429, Retry, "RATE_LIMIT_EXCEEDED"),
        (500, Retry, "INTERNAL_ERROR"),
        (503, Retry, "SERVICE_UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("html", [False, True])
def test_each_status_has_its_outcome(
    seller: Sandbox, status: int, kind: type, code: str, *, html: bool
) -> None:
    """Whether the body is the seller's JSON or a proxy's page, the status is understood."""
    shop = interchange(seller.url)
    seller.fail(status=status, body="html" if html else None)
    outcome, later = shop.send(batch()), shop.send(batch())
    shop.close()
    assert isinstance(outcome, kind)
    assert isinstance(later, Delivered)
    assert not isinstance(outcome, Delivered)
    assert outcome.code == (f"http_{status}" if html else code)
    assert not (isinstance(outcome, Retry) and outcome.budgeted)


@pytest.mark.parametrize(
    ("asked", "wait"), [("7", 7), ("Thu, 01 Jan 1970 00:01:00 GMT", 60), ("86400", 3600)]
)
def test_a_rate_limit_says_how_long_to_wait(seller: Sandbox, asked: str, wait: float) -> None:
    """Seconds and dates are honoured, by an injected clock."""
    seller.fail(status=429, retry_after=asked)
    destination = interchange(seller.url, now=lambda: 0.0)
    outcome = destination.send(batch())
    destination.close()
    assert isinstance(outcome, Retry)
    assert (outcome.rate_limited, outcome.retry_after) == (True, wait)


def test_an_exhausted_allowance_is_known_before_the_429(seller: Sandbox) -> None:
    """The last request within the limit says to wait for the reset."""
    seller.configure(rate_limit=2, rate_window_s=60.0)
    destination = interchange(seller.url)
    first, second, third = (destination.send(batch(1)) for _ in range(3))
    destination.close()
    assert isinstance(first, Delivered)
    assert first.wait is None
    assert isinstance(second, Delivered)
    assert second.wait is not None
    assert isinstance(third, Retry)
    assert third.rate_limited


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("not_json", "unreadable_answer"),
        ("cut_json", "unreadable_answer"),
        ("empty", "unreadable_answer"),
        ("wrong_types", "unreadable_answer"),
        ("null", "unreadable_answer"),
        ("list", "unreadable_answer"),
        ("huge", "answer_too_large"),
        ("html", "not_json"),
    ],
)
def test_a_garbled_success_is_tried_again(
    shop: Interchange, seller: Sandbox, body: str, code: str
) -> None:
    """The seller took the events, the second try counts as a duplicate there, nothing doubles."""
    seller.fail(body=body, after=True)
    outcome = shop.send(batch())
    assert isinstance(outcome, Retry)
    assert outcome.code == code
    assert isinstance(shop.send(batch()), Delivered)
    assert len(seller.events) == 3


@pytest.mark.parametrize("connection", ["reset", "close", "truncate", "truncate_reset"])
@pytest.mark.parametrize("after", [False, True])
def test_a_broken_connection_is_tried_again(
    shop: Interchange, seller: Sandbox, connection: str, *, after: bool
) -> None:
    """Wherever the connection breaks, the outcome is a plain retry and the next try succeeds."""
    seller.fail(connection=connection, after=after)
    outcome = shop.send(batch())
    assert isinstance(outcome, Retry)
    assert outcome.code in {"reset", "disconnected"}
    assert not outcome.budgeted
    assert isinstance(shop.send(batch()), Delivered)


def test_a_redirect_is_not_followed(shop: Interchange, seller: Sandbox) -> None:
    """The credential does not travel to wherever an answer points."""
    seller.fail(status=307, location=seller.url)
    outcome = shop.send(batch())
    assert isinstance(outcome, Paused)
    assert outcome.code == "http_307"
    assert len(seller.requests) == 1


def test_events_lost_without_a_list_are_counted(shop: Interchange, seller: Sandbox) -> None:
    """Received and processed differ, and nothing is sent again."""
    seller.fail(lose=1)
    outcome = shop.send(batch())
    assert isinstance(outcome, Delivered)
    assert (outcome.received, outcome.processed, outcome.failures) == (3, 2, ())


def test_compression_is_used_where_it_is_taken(seller: Sandbox) -> None:
    """The seller unpacks what came and takes it."""
    destination = interchange(seller.url, compression="gzip")
    assert isinstance(destination.send(batch()), Delivered)
    destination.close()
    assert len(seller.events) == 3
    assert len(seller.requests) == 1


def test_compressed_bytes_are_gzip() -> None:
    """Any gzip reader restores the frozen bytes."""
    with raw_seller(answering(http(200, TAKEN))) as seller:
        destination = interchange(seller.origin, compression="gzip")
        destination.send(batch(1))
        destination.close()
    request = seller.requests[0]
    assert request.headers["content-encoding"] == "gzip"
    assert event(0) in gzip.decompress(request.body)


def test_refused_compression_is_given_up_and_the_batch_sent_at_once(seller: Sandbox) -> None:
    """After one 415 the same batch goes plain, and so does every later one."""
    seller.configure(gzip=False)
    destination = interchange(seller.url, compression="gzip")
    assert isinstance(destination.send(batch()), Delivered)
    assert isinstance(destination.send(batch()), Delivered)
    destination.close()
    assert [request.status for request in seller.requests] == [415, 200, 200]


def test_a_415_without_compression_pauses(shop: Interchange, seller: Sandbox) -> None:
    """Then the address is wrong, and nothing is lost."""
    seller.fail(status=415, times=None)
    assert isinstance(shop.send(batch()), Paused)


@pytest.mark.parametrize("source", ["offline", "chat", "email", "telepathy"])
def test_action_sources_it_does_not_know_are_refused(source: str) -> None:
    """One such event would have the seller refuse the whole request."""
    failure = interchange("https://api.example").check({"event_id": "e", "action_source": source})
    assert failure is not None
    assert (failure.event_id, failure.code) == ("e", "UNSUPPORTED_ACTION_SOURCE")
    assert "website" in failure.remedy


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, False),
        ({"action_source": "in_store"}, False),
        ({"event_type": "custom"}, True),
        ({"event_type": "custom", "custom_event_name": "x"}, False),
        ({"event_type": "purchase"}, False),
    ],
)
def test_everything_else_is_taken(fields: dict[str, object], *, refused: bool) -> None:
    """Only what the Interchange is known to refuse is refused here."""
    assert (interchange("https://api.example").check(fields) is not None) is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_url": "http://api.example/v2"}, "allow_http=True"),
        ({"base_url": "http://127.0.0.1.example"}, "allow_http=True"),
        ({"base_url": "ftp://api.example"}, "http(s)"),
        ({"base_url": "/v2"}, "http(s)"),
        ({"base_url": ""}, "http(s)"),
        ({"base_url": "https://user:s3cr3t@api.example"}, "without user"),
        ({"base_url": "https://api.example?"}, "without user"),
        ({"base_url": "https://exa\x00mple"}, "absolute URL"),
        ({"advertiser_id": ""}, "advertiser_id"),
        ({"advertiser_id": ".."}, "advertiser_id"),
        ({"event_source_id": "x" * 256}, "event_source_id"),
        ({"event_source_id": "a\nb"}, "event_source_id"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "s3cr3t key"}, "api_key"),
        ({"api_key": "s3cr3t\r\nX: y"}, "api_key"),
        ({"api_key": "s3cr3té"}, "api_key"),
        ({"compression": "zstd"}, "compression"),
        ({"name": ""}, "name"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused(settings: Any, words: str) -> None:  # noqa: ANN401
    """The message says which setting and what is expected, and shows no secret."""
    with pytest.raises(ConfigurationError) as caught:
        interchange("https://api.example", **settings)
    assert words in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:1/x",
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]:8000",
        "https://api.example",
    ],
)
def test_plain_http_is_for_loopback(base_url: str) -> None:
    """Loopback never leaves the machine, so it needs no encryption."""
    assert interchange(base_url).base_url == base_url


def test_plain_http_elsewhere_is_a_decision() -> None:
    """Who trusts a network may say so."""
    url = "http://collector.internal/v2"
    assert interchange(url, allow_http=True).base_url == url


def test_the_credential_is_never_shown() -> None:
    """Neither ``repr`` nor ``str`` holds it."""
    destination = interchange("https://api.example", api_key="s3cr3t-value")
    assert "s3cr3t" not in f"{destination!r} {destination} {destination.name}"


def test_a_seller_that_was_away_gets_its_batch_later(seller: Sandbox) -> None:
    """The outcome says in one word what is the matter; the next try finds the seller back."""
    destination = interchange(seller.url)
    assert isinstance(destination.send(batch()), Delivered)
    seller.stop()
    assert isinstance(destination.send(batch()), Retry)
    refused = destination.send(batch())
    assert isinstance(refused, Retry)
    assert refused.code == "refused"
    seller.start()
    assert isinstance(destination.send(batch()), Delivered)
    destination.close()


def test_a_probe_tells_a_good_configuration() -> None:
    """A list that holds the event source is a good sign."""
    listed = json.dumps({"data": {"event_sources": [{"event_source_id": SOURCE}]}}).encode()
    with raw_seller(answering(http(200, listed))) as seller:
        destination = interchange(seller.origin)
        [finding] = destination.probe()
        destination.close()
    assert finding.level == "ok"
    assert seller.requests[0].line.startswith(f"GET /advertisers/{ADVERTISER}/event-sources?")


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (http(200, b'{"data":[]}'), "warning"),
        (http(200, b'{"data":{"event_sources":[{"name":"website_pixel"}]}}'), "warning"),
        (http(401), "error"),
        (http(403), "error"),
        (http(404), "error"),
        (http(503), "warning"),
    ],
)
def test_a_probe_tells_what_is_wrong(answer: bytes, level: str) -> None:
    """What is certain is a fault with a remedy, the rest is advice."""
    with raw_seller(answering(answer)) as seller:
        destination = interchange(seller.origin)
        [finding] = destination.probe()
        destination.close()
    assert finding.level == level
    assert finding.remedy


def test_a_probe_without_a_seller_is_a_fault() -> None:
    """An unreachable seller is told, not raised."""
    with raw_seller(answering(b"")) as seller:
        origin = seller.origin
    destination = interchange(origin)
    [finding] = destination.probe()
    destination.close()
    assert finding.level == "error"


@pytest.mark.parametrize(
    "body",
    [
        {"success": False},
        {"ok": False, "data": None},
        {"error": True},
        {"status": 0, "code": 500, "data": None, "error": None},
        {"result": {"success": False}},
        {"statusCode": 503, "message": "later"},
    ],
)
def test_a_success_that_says_it_is_none_is_not_believed(body: dict[str, Any]) -> None:
    """Its events are never counted as accepted; the tries are counted and end in dead letters."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    seller = Interchange(
        advertiser_id="1", event_source_id="s", api_key="k" * 20, transport=transport
    )
    outcome = seller.send(Batch([b'{"event_id":"A"}'], b"i"))
    assert isinstance(outcome, Retry)
    assert (outcome.is_success, outcome.budgeted) == (False, True)
