"""The Interchange side of the local seller."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import Sandbox, SandboxConfig
from adcp_tracker.sandbox.failures import ApiError, format_pointer
from adcp_tracker.sandbox.schema import check_event
from adcp_tracker.sandbox.seller import LogRequest, Seller
from tests.support.seller import ADVERTISER, SOURCE, run_seller
from tests.support.wire import AUTHORIZED, HASH, log_event_url, make_event, request, send

if TYPE_CHECKING:
    import httpx

NOON = 1_767_355_200.0  # 2026-01-02T12:00:00Z


@attrs.define
class SetClock:
    """A clock that stands where it is put."""

    time: float = NOON

    def __call__(self) -> float:
        """Tell the time."""
        return self.time


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the error of a wrapped answer."""
    body = answer.json()
    assert body["data"] is None
    error: dict[str, Any] = body["error"]
    return error


def data_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the data of a wrapped answer that is a success."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["error"] is None
    data: dict[str, Any] = body["data"]
    return data


def test_good_events_are_taken(seller: Sandbox) -> None:
    """A good request gets a wrapped answer that counts its events."""
    answer = send(seller, make_event("a"), make_event("b"))
    assert answer.json() == {
        "data": {"events_received": 2, "events_processed": 2, "match_quality": 1.0},
        "error": None,
    }
    assert seller.events == [make_event("a"), make_event("b")]
    assert seller.counts["good"] == 2


def test_the_path_may_have_a_base_or_none(seller: Sandbox) -> None:
    """The call is found under the Interchange's base path and bare."""
    url = f"{seller.origin}/advertisers/{ADVERTISER}/log-event"
    body = {"event_source_id": SOURCE, "events": [make_event()]}
    assert request("POST", url, json=body, headers=AUTHORIZED).status_code == 200
    assert request("GET", url).status_code == 405


def test_bare_answers_on_request() -> None:
    """Without the wrapping an answer is the data, or an error alone."""
    with run_seller(wrapped=False) as seller:
        assert send(seller, make_event()).json()["events_received"] == 1
        assert send(seller).json()["error"]["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer other"},
        {"Authorization": "Basic sandbox-token"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer ÿ"},
    ],
)
def test_unknown_tokens_are_refused(seller: Sandbox, headers: dict[str, str]) -> None:
    """A request needs one of the seller's tokens."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = request("POST", log_event_url(seller), json={}, headers=raw)
    assert (answer.status_code, error_of(answer)["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_tokens_can_be_changed_or_dropped(seller: Sandbox) -> None:
    """New tokens count at once, and none at all lets everybody in."""
    seller.configure(tokens=("other",))
    assert send(seller, make_event()).status_code == 401
    seller.configure(tokens=())
    assert send(seller, make_event()).status_code == 200


def test_unknown_references_are_named(seller: Sandbox) -> None:
    """An unknown advertiser and an unknown source have a code each."""
    body = {"event_source_id": SOURCE, "events": [make_event()]}
    answer = request("POST", log_event_url(seller, "777"), json=body, headers=AUTHORIZED)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "ADVERTISER_NOT_FOUND")
    answer = send(seller, make_event(), event_source_id="other")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "EVENT_SOURCE_NOT_FOUND")
    seller.configure(advertisers={ADVERTISER: ("other",)})
    assert send(seller, make_event(), event_source_id="other").status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"NaN", b'{"a": Infinity}'])
def test_what_is_not_json_is_refused(seller: Sandbox, content: bytes) -> None:
    """A body that is not JSON is a 400 in JSON."""
    answer = request("POST", log_event_url(seller), content=content, headers=AUTHORIZED)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("body", [None, [], "events", 3])
def test_what_is_no_object_is_refused(seller: Sandbox, body: object) -> None:
    """A body has to be an object."""
    answer = request("POST", log_event_url(seller), content=json.dumps(body), headers=AUTHORIZED)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "BAD_REQUEST")


def test_large_bodies_are_refused() -> None:
    """A body over the limit is a 413, whether it tells its size or not."""
    with run_seller(max_bytes=1000) as seller:
        answer = send(seller, make_event("x" * 256), make_event("y" * 256), make_event("z" * 256))
        assert (answer.status_code, error_of(answer)["code"]) == (413, "PAYLOAD_TOO_LARGE")
        parts = iter([b"x" * 600, b"x" * 600])
        answer = request("POST", log_event_url(seller), content=parts, headers=AUTHORIZED)
        assert answer.status_code == 413
        assert send(seller, make_event("x")).status_code == 200


def pack(*events: object) -> bytes:
    """Return a request of `events` as gzip."""
    return gzip.compress(json.dumps({"event_source_id": SOURCE, "events": events}).encode())


def post_packed(seller: Sandbox, content: bytes, packing: str = "gzip") -> httpx.Response:
    """Send a packed body."""
    headers = AUTHORIZED | {"Content-Encoding": packing}
    return request("POST", log_event_url(seller), content=content, headers=headers)


def test_gzip_is_unpacked(seller: Sandbox) -> None:
    """A packed body counts like a plain one; what is not whole gzip is refused."""
    packed = pack(make_event("a"))
    assert post_packed(seller, packed).status_code == 200
    assert seller.events == [make_event("a")]
    assert error_of(post_packed(seller, packed[:-4]))["code"] == "BAD_REQUEST"
    assert error_of(post_packed(seller, b"no gzip"))["code"] == "BAD_REQUEST"
    assert post_packed(seller, packed, "br").status_code == 415


def test_gzip_bombs_are_refused() -> None:
    """What unpacks to over the limit is a 413, however small it came."""
    with run_seller(max_bytes=100_000) as seller:
        assert post_packed(seller, gzip.compress(b" " * 50_000_000)).status_code == 413


def test_gzip_can_be_refused() -> None:
    """A seller that takes no gzip says so with a 415."""
    with run_seller(gzip=False) as seller:
        answer = post_packed(seller, pack(make_event()))
        assert (answer.status_code, error_of(answer)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        assert send(seller, make_event()).status_code == 200


def test_one_wrong_event_fails_the_request(seller: Sandbox) -> None:
    """Nothing of a request with a wrong event is taken, and the place is named."""
    answer = send(seller, make_event("a"), make_event("b", event_time="now"))
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["code"], error["field"]) == ("VALIDATION_ERROR", "/events/1/event_time")
    issues = error["details"]["issues"]
    assert [(issue["pointer"], issue["keyword"]) for issue in issues] == [
        ("/events/1/event_time", "format")
    ]
    assert "recovery" not in error
    assert seller.events == []
    assert [kept.decoded() for kept in seller.bad] == [make_event("b", event_time="now")]


def test_places_are_named_as_other_sellers_do() -> None:
    """The notation and the home of issues can be changed, and naming be left out."""
    events = (make_event(), make_event(custom_data={"contents": [{"id": 1}]}))
    with run_seller(notation="dotted", issues_in="top") as seller:
        error = error_of(send(seller, *events))
        assert error["field"] == "events[1].custom_data.contents[0].id"
        assert error["issues"][0]["pointer"] == error["field"]
        assert "details" not in error
        seller.configure(issues_in="nowhere")
        assert error_of(send(seller, *events)).keys() == {"code", "message", "field"}
        seller.configure(names_field=False)
        assert error_of(send(seller, *events)).keys() == {"code", "message"}


def test_dotted_names_undo_the_escapes_of_pointers() -> None:
    """Keys with slashes and tildes read as they are in the dotted notation."""
    assert format_pointer("/events/3/custom_data/a~1b~0", "dotted") == "events[3].custom_data.a/b~"
    assert format_pointer("", "dotted") == ""


def test_long_lists_of_issues_are_cut() -> None:
    """A request of nothing but faults gets an answer of bounded size."""
    with run_seller() as seller:
        answer = send(seller, *[{}] * 2000)
        assert len(error_of(answer)["details"]["issues"]) == 100


def test_lenient_sellers_name_partial_failures() -> None:
    """Without strictness a wrong event is a partial failure, and the others are taken."""
    wrong = [
        make_event("t", event_type="buy"),
        make_event("d", event_time="now"),
        make_event("m", user_match={}),
        make_event("c", custom_data={"currency": "eur"}),
    ]
    with run_seller(strict=False) as seller:
        data = data_of(send(seller, make_event("a"), *wrong))
        assert (data["events_received"], data["events_processed"]) == (5, 1)
        codes = {failure["event_id"]: failure["code"] for failure in data["partial_failures"]}
        assert codes == {
            "t": "INVALID_EVENT_TYPE",
            "d": "INVALID_EVENT_TIME",
            "m": "MISSING_USER_MATCH",
            "c": "INVALID_EVENT",
        }
        assert [event["event_id"] for event in seller.events] == ["a"]
        assert seller.counts["bad"] == 4


def test_partial_failures_on_request() -> None:
    """Ids, missing identifiers, age and a source's types can be refused event by event."""
    clock = SetClock()
    config = SandboxConfig(
        refuse_events={"x": "FRAUD_SUSPECTED"}, require_match=True, max_age_days=7
    )
    nameless = make_event("n")
    del nameless["user_match"]
    with Sandbox(config, now=clock) as seller:
        data = data_of(
            send(
                seller,
                make_event("x"),
                nameless,
                make_event("old", event_time="2025-12-26T11:59:59Z"),
                make_event("young", event_time="2025-12-26T13:00:01+01:00"),
            )
        )
        assert data["events_processed"] == 1
        assert [(each["event_id"], each["code"]) for each in data["partial_failures"]] == [
            ("x", "FRAUD_SUSPECTED"),
            ("n", "MISSING_USER_MATCH"),
            ("old", "INVALID_EVENT_TIME"),
        ]


def test_the_same_event_counts_once(seller: Sandbox) -> None:
    """An event is known by its id, type and source; a duplicate counts as processed."""
    for _ in range(2):
        assert data_of(send(seller, make_event("a")))["events_processed"] == 1
    refund = make_event("a", event_type="refund")
    assert data_of(send(seller, refund, refund))["events_processed"] == 2
    assert [event["event_type"] for event in seller.events] == ["purchase", "refund"]
    assert (seller.counts["good"], seller.counts["duplicates"]) == (2, 2)
    assert seller.times_received("a") == 4
    assert seller.times_received("b") == 0


def test_test_events_stay_apart(seller: Sandbox) -> None:
    """Events under a test code count for nothing, not even as duplicates."""
    send(seller, make_event("a"), test_event_code="T1")
    send(seller, make_event("a"))
    assert seller.test_events == seller.events == [make_event("a")]
    assert [kept.test_event_code for kept in seller.received] == ["T1", None]
    counts = seller.counts
    assert (counts["good"], counts["test"], counts["duplicates"]) == (1, 1, 0)


def test_advice_and_match_quality() -> None:
    """Poor events are taken with a warning and a lower quality."""
    nameless = make_event("n", event_time="2099-01-01T00:00:00Z")
    del nameless["user_match"], nameless["custom_data"]
    addressed = make_event("a", user_match={"client_ip": "192.0.2.1", "client_user_agent": "x"})
    with Sandbox(now=SetClock()) as seller:
        data = data_of(send(seller, make_event("m"), addressed, nameless, nameless))
    assert data["match_quality"] == 0.375
    assert [warning[:12] for warning in data["warnings"]] == [
        "2 purchases ",
        "2 events wit",
        "2 events are",
    ]


def test_tomorrow_is_no_future() -> None:
    """An event whose clock is a little ahead gets no warning."""
    with Sandbox(now=SetClock()) as seller:
        ahead = make_event(event_time="2026-01-03T11:59:00Z")
        assert "warnings" not in data_of(send(seller, ahead))


def test_requests_are_limited_per_window() -> None:
    """Every answer says what is left; one too many is a 429 until the window ends."""
    clock = SetClock(0.0)
    config = SandboxConfig(rate_limit=2, rate_window_s=60)
    with Sandbox(config, monotonic=clock) as seller:
        left = [send(seller, make_event()).headers["ratelimit-remaining"] for _ in range(2)]
        assert left == ["1", "0"]
        clock.time = 50.5
        answer = send(seller, make_event())
        assert (answer.status_code, error_of(answer)["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert answer.headers["retry-after"] == answer.headers["ratelimit-reset"] == "10"
        assert answer.headers["ratelimit-limit"] == "2"
        clock.time = 60.0
        assert send(seller, make_event()).status_code == 200
        seller.configure(rate_limit=None)
        assert "ratelimit-limit" not in send(seller, make_event()).headers


def test_requests_over_the_node_limit_are_refused() -> None:
    """A seller that counts JSON values refuses too many of them."""
    with run_seller(max_nodes=20) as seller:
        assert send(seller, make_event()).status_code == 200
        error = error_of(send(seller, make_event(), make_event()))
        assert error["details"]["issues"][0]["keyword"] == "payload_size"


def test_too_many_events_are_refused() -> None:
    """More events than the seller takes at once break its ``maxItems``."""
    with run_seller(max_events=2) as seller:
        assert send(seller, make_event(), make_event()).status_code == 200
        error = error_of(send(seller, *[make_event()] * 3))
        assert error["details"]["issues"][0]["keyword"] == "maxItems"


def test_requests_are_noted_without_secrets(seller: Sandbox) -> None:
    """What is kept of a request tells its size and headers, and never its token."""
    send(seller, make_event())
    (seen,) = seller.requests
    assert (seen.method, seen.call, seen.status) == ("POST", "log_event", 200)
    assert seen.path == f"/api/v2/buyer/advertisers/{ADVERTISER}/log-event"
    assert seen.size == int(seen.headers["content-length"])
    assert "sandbox-token" not in repr(seen)


def test_memory_is_bounded() -> None:
    """Only so many events are kept, with or without their bodies; all are counted."""
    with run_seller(keep_events=3, remember_ids=4, ids_only=True) as seller:
        send(seller, *(make_event(str(number)) for number in range(6)))
        assert [kept.event_id for kept in seller.received] == ["3", "4", "5"]
        assert seller.received[0].body == b""
        assert seller.events[0] == {"event_id": "3", "event_type": "purchase"}
        send(seller, make_event("5"), make_event("0"))
        assert (seller.counts["good"], seller.counts["duplicates"]) == (7, 1)


def test_waiting_for_events(seller: Sandbox) -> None:
    """Waiting ends when the events are there, and says what came when they are not."""
    send(seller, make_event("a"), make_event("b"))
    send(seller, make_event("c"), test_event_code="T")
    seller.wait_for(3, timeout=5)
    with pytest.raises(TimeoutError, match=r"expected 4 events within 0\.01 s, got 3"):
        seller.wait_for(4, timeout=0.01)


def test_reset_clears_all_but_the_settings(seller: Sandbox) -> None:
    """After a reset nothing came and nothing fails, but the settings stand."""
    seller.configure(max_events=7)
    send(seller, make_event("a"))
    seller.fail(status=500, times=None)
    seller.reset()
    assert (seller.events, seller.requests, seller.bad) == ([], [], [])
    assert data_of(send(seller, make_event("a")))["events_processed"] == 1
    assert seller.counts["duplicates"] == 0
    assert seller.config.max_events == 7


def test_unknown_settings_are_refused(seller: Sandbox) -> None:
    """A misspelt setting is an error, not a setting without effect."""
    with pytest.raises(TypeError):
        seller.configure(max_event=7)
    with pytest.raises(TypeError):
        seller.fail(statsu=500)
    with pytest.raises(ConfigurationError):
        seller.fail(share=1.5)
    with pytest.raises(ConfigurationError):
        seller.fail(times=0)
    with pytest.raises(ConfigurationError):
        seller.fail(latency_ms=-1)


@pytest.mark.slow
def test_a_hundred_thousand_events() -> None:
    """Batches of ten thousand are judged and counted, each event once."""
    seller = Seller(SandboxConfig(ids_only=True))
    event = make_event(user_match={"hashed_email": HASH, "hashed_phone": HASH})
    for batch in range(10):
        events = [event | {"event_id": f"{batch}-{number}"} for number in range(10_000)]
        body = {"event_source_id": SOURCE, "events": events}
        seller.log_events(LogRequest(body, "interchange", ADVERTISER))
    assert seller.store.counts()["good"] == 100_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*make_event(), "events", "a"]), inner, max_size=4)
        ),
        max_leaves=20,
    ),
    st.booleans(),
)
def test_any_json_is_answered_or_refused(event: object, strict: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
    """Whatever an event is, the counts agree: received is good, test, duplicate or bad."""
    seller = Seller(SandboxConfig(strict=strict, max_age_days=30))
    body = {"event_source_id": SOURCE, "events": [make_event("a"), event, make_event("a")]}
    delivery = LogRequest(body, "interchange", ADVERTISER)
    if strict and check_event(event, "interchange"):
        with pytest.raises(ApiError, match="is invalid"):
            seller.log_events(delivery)
    else:
        assert seller.log_events(delivery)["events_received"] == 3
    counts = seller.store.counts()
    assert counts["received"] == counts["good"] + counts["duplicates"] + counts["bad"]


@given(st.datetimes(), st.integers(-1439, 1439))
def test_events_of_any_time_are_checked(moment: object, minutes: int) -> None:
    """The first and the last years of the calendar have an age, too."""
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    time = f"{moment}".replace(" ", "T") + offset
    seller = Seller(SandboxConfig(max_age_days=7))
    body = {"event_source_id": SOURCE, "events": [make_event(event_time=time)]}
    assert seller.log_events(LogRequest(body, "interchange"))["events_received"] == 1
