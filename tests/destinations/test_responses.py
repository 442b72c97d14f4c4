"""From a seller's answer to an outcome, without a network."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcp_tracker.destinations.base import Delivered, Paused, Rejected, Retry, TooLarge
from adcp_tracker.destinations.responses import Response, outcome_from_http, outcome_from_task

OUTCOMES = (Delivered, Retry, TooLarge, Rejected, Paused)
COUNT = 5
TAKEN = {"events_received": COUNT, "events_processed": COUNT}


def said(body: Any, status: int = 200, **headers: str) -> Response:  # noqa: ANN401 - any JSON
    """Return an answer of JSON."""
    named = {"content-type": "application/json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, orjson.dumps(body), now=1_700_000_000.0)


@pytest.mark.parametrize("body", [TAKEN, {"data": TAKEN, "error": None}, {**TAKEN, "errors": []}])
def test_success_is_read_wrapped_and_bare(body: dict[str, Any]) -> None:
    """Both forms of a success count the same."""
    assert outcome_from_http(said(body), COUNT) == Delivered(received=COUNT, processed=COUNT)


def test_a_whole_success_keeps_everything_it_says() -> None:
    """Warnings, match quality and replay arrive, without control characters."""
    body = {**TAKEN, "warnings": ["take\x1b care", 5], "match_quality": 0.25, "replayed": True}
    outcome = outcome_from_http(said(body), COUNT)
    assert outcome == Delivered(
        received=COUNT,
        processed=COUNT,
        warnings=("take care",),
        match_quality=0.25,
        replayed=True,
    )


def test_partial_failures_name_events_with_code_message_and_remedy() -> None:
    """Each named event becomes a failure that says what to do."""
    listed = [
        {"event_id": "a", "code": "INVALID_EVENT_TIME", "message": "too\nold"},
        {"event_id": "b", "code": "E_4711", "message": "no"},
    ]
    body = {"events_received": 5, "events_processed": 3, "partial_failures": listed}
    outcome = outcome_from_http(said(body), COUNT)
    assert isinstance(outcome, Delivered)
    assert [(f.event_id, f.code, f.message) for f in outcome.failures] == [
        ("a", "INVALID_EVENT_TIME", "too old"),
        ("b", "E_4711", "no"),
    ]
    assert "window" in outcome.failures[0].remedy
    assert outcome.failures[1].remedy


def test_an_event_listed_twice_fails_once() -> None:
    """The first reason given stands."""
    listed = [{"event_id": "a", "code": code, "message": ""} for code in ("ONE", "TWO")]
    outcome = outcome_from_http(said({**TAKEN, "partial_failures": listed}), COUNT)
    assert isinstance(outcome, Delivered)
    assert [failure.code for failure in outcome.failures] == ["ONE"]


def test_failures_without_a_name_become_a_warning() -> None:
    """What cannot be matched to an event is at least said."""
    listed: list[object] = [{"code": "X"}, 7, {"event_id": "evil\x00"}]
    outcome = outcome_from_http(said({**TAKEN, "partial_failures": listed}), COUNT)
    assert isinstance(outcome, Delivered)
    assert outcome.failures == ()
    assert "3 failures" in outcome.warnings[0]


def test_fewer_processed_than_received_is_delivered_with_both_counts() -> None:
    """Without a list the dropped events cannot be known, so nothing is sent again."""
    outcome = outcome_from_http(said({"events_received": 5, "events_processed": 3}), COUNT)
    assert outcome == Delivered(received=5, processed=3)


def test_a_count_that_differs_from_what_was_sent_is_a_warning() -> None:
    """The counts keep the seller's word beside our own."""
    outcome = outcome_from_http(said({"events_received": 4, "events_processed": 4}), COUNT)
    assert isinstance(outcome, Delivered)
    assert outcome.warnings == ("The seller received 4 events, but 5 were sent.",)


def test_a_success_that_uses_up_the_limit_says_how_long_to_wait() -> None:
    """The next request is not sent into a 429."""
    reply = said(TAKEN, ratelimit_remaining="0", ratelimit_reset="17")
    outcome = outcome_from_http(reply, COUNT)
    assert isinstance(outcome, Delivered)
    assert outcome.wait == 17


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "taken",
        {},
        {"data": None, "error": None},
        {"data": [], "error": None},
        {"events_received": "five", "events_processed": "5.5"},
        {"events_received": "9" * 400, "events_processed": 1e300},
        {"events_received": True, "events_processed": None},
        {"events_received": -1, "events_processed": -1},
        {**TAKEN, "partial_failures": 3},
    ],
)
def test_a_success_of_wrong_types_is_an_unreadable_success(body: Any) -> None:  # noqa: ANN401
    """Dedup makes the retry safe, and a few such successes end it."""
    outcome = outcome_from_http(said(body), COUNT)
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.is_success) == ("unreadable_answer", True)
    assert not outcome.budgeted


@pytest.mark.parametrize(
    ("reply", "code", "is_success"),
    [
        (
            Response(200, {"content-type": "application/json"}, b'{"events_rec'),
            "unreadable_answer",
            True,
        ),
        (Response(200, {}, b""), "unreadable_answer", True),
        (Response(200, {"content-type": "text/plain"}, b"OK"), "unreadable_answer", True),
        (Response(200, {"content-type": "text/html; charset=x"}, b"<html>"), "not_json", False),
        (Response(200, {}, b"{}", truncated="answer_too_large"), "answer_too_large", True),
        (Response(200, {}, b"{}", truncated="reset"), "reset", True),
        (Response(200, {}, b"{}", truncated="deadline"), "deadline", True),
    ],
)
def test_an_unreadable_success_is_tried_again(
    reply: Response, code: str, *, is_success: bool
) -> None:
    """Any success counts as the seller's, unless it is a web page of somebody in between."""
    outcome = outcome_from_http(reply, COUNT)
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.is_success) == (code, is_success)


@pytest.mark.parametrize(
    ("place", "index"),
    [
        ("/events/3/event_time", 3),
        ("events[3].event_time", 3),
        ("$.events[3]", 3),
        ("/body/events/3/x", 3),
        ("events.3.user_match", 3),
        ("/events/3/custom_data/events/1", 3),
        ("/events/5/event_time", None),
        ("/events/99999999999/x", None),
        ("/events", None),
        ("/my_events/3", None),
        ("event_time", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("home", ["issues", "details", "field"])
def test_events_are_named_in_both_notations_and_every_home(
    place: str, index: int | None, home: str
) -> None:
    """The event is found wherever and however it is named; a place outside is no name."""
    error: dict[str, Any] = {"code": "VALIDATION_ERROR", "message": "wrong"}
    issue = {"pointer": place, "message": "bad", "keyword": "format"}
    homes: dict[str, dict[str, Any]] = {
        "issues": {"issues": [issue]},
        "details": {"details": {"issues": [issue]}},
        "field": {"field": place},
    }
    error |= homes[home]
    outcome = outcome_from_http(said({"data": None, "error": error}, 400), COUNT)
    assert isinstance(outcome, Rejected)
    assert [failure.index for failure in outcome.failures] == ([] if index is None else [index])


def test_all_named_events_are_named_once_in_order() -> None:
    """Several issues of one event make one failure, with the first one's words."""
    issues = [
        {"pointer": "/events/4/a", "message": "four"},
        {"path": ["events", 1, "b"], "message": "one"},
        {"pointer": "/events/4/c", "message": "again"},
    ]
    error = {"code": "INVALID_REQUEST", "message": "m", "issues": issues, "field": "events[4].a"}
    outcome = outcome_from_http(said({"error": error}, 422), COUNT)
    assert isinstance(outcome, Rejected)
    assert [(f.index, f.message) for f in outcome.failures] == [
        (1, "/events/1/b: one"),
        (4, "/events/4/a: four"),
    ]
    assert all(failure.remedy for failure in outcome.failures)


@pytest.mark.parametrize(
    "issue",
    [
        {"pointer": "/", "keyword": "payload_size"},
        {"pointer": "/events", "keyword": "maxItems"},
        {"pointer": "events", "keyword": "maxItems"},
        {"pointer": "", "keyword": "payload_size"},
    ],
)
def test_a_limit_of_the_whole_request_halves_it(issue: dict[str, str]) -> None:
    """Validators tell size by keyword, under a code that means something else."""
    error = {"code": "VALIDATION_ERROR", "recovery": "correctable", "issues": [issue]}
    assert isinstance(outcome_from_http(said({"error": error}, 400), COUNT), TooLarge)


def test_a_limit_inside_an_event_is_that_events_fault() -> None:
    """Too many contents in one event do not halve the request."""
    issue = {"pointer": "/events/2/custom_data/contents", "keyword": "maxItems"}
    outcome = outcome_from_http(
        said({"error": {"code": "VALIDATION_ERROR", "issues": [issue]}}, 400), COUNT
    )
    assert isinstance(outcome, Rejected)
    assert [failure.index for failure in outcome.failures] == [2]


def test_a_413_of_html_halves() -> None:
    """A proxy's own page is no seller's answer, but its status is."""
    reply = Response(413, {"content-type": "text/html"}, b"<html>413</html>")
    assert isinstance(outcome_from_http(reply, COUNT), TooLarge)


@pytest.mark.parametrize(
    ("field", "issues"),
    [
        ("event_source_id", []),
        ("$.adcp_version", []),
        ("", [{"pointer": "/test_event_code"}]),
        ("", [{"pointer": "", "keyword": "required", "message": "'account' is required"}]),
    ],
)
def test_a_fault_of_the_request_itself_pauses(field: str, issues: list[dict[str, str]]) -> None:
    """Bisection would send every event to the dead letters for a wrong setting."""
    error = {"code": "VALIDATION_ERROR", "message": "m", "field": field, "issues": issues}
    outcome = outcome_from_http(said({"error": error}, 400), COUNT)
    assert isinstance(outcome, Paused)
    assert "fields of the request" in outcome.remedy


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_pauses(status: int) -> None:
    """Credential and events go where the configuration says and nowhere else."""
    outcome = outcome_from_http(Response(status, {"location": "https://evil.example"}, b""), COUNT)
    assert isinstance(outcome, Paused)
    assert "evil" not in outcome.message + outcome.remedy


def test_a_version_nobody_speaks_pauses_with_those_spoken() -> None:
    """The message tells what to set instead."""
    error = {
        "code": "VERSION_UNSUPPORTED",
        "details": {"supported_versions": ["3.0", "3.2\x07", 7]},
    }
    outcome = outcome_from_http(said({"error": error}, 400), COUNT)
    assert isinstance(outcome, Paused)
    assert outcome.message.endswith("The seller supports: 3.0, 3.2.")


def test_words_never_decide() -> None:
    """A message that speaks of limits and tokens changes nothing."""
    error = {
        "code": "VALIDATION_ERROR",
        "message": "rate limit: 401 unauthorized, payload too large",
    }
    assert isinstance(outcome_from_http(said({"error": error}, 400), COUNT), Rejected)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "RATE_LIMITED", "retry_after": 9}},
        {"data": None, "error": {"code": "RATE_LIMITED", "retry_after": 9}},
        {"code": "RATE_LIMITED", "retry_after": 9},
        {"errors": [{"code": "RATE_LIMITED", "retry_after": 9}]},
        {"data": {"errors": [{"code": "RATE_LIMITED", "retry_after": 9}]}},
        {"adcp_error": {"code": "RATE_LIMITED", "retry_after": 9}},
        {**TAKEN, "errors": [{"code": "RATE_LIMITED", "retry_after": 9}]},
    ],
)
@pytest.mark.parametrize("status", [200, 429])
def test_errors_are_found_wrapped_and_bare(body: dict[str, Any], status: int) -> None:
    """An error under a 200 is an error, too."""
    outcome = outcome_from_http(said(body, status), COUNT)
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.rate_limited, outcome.retry_after) == ("RATE_LIMITED", True, 9)
    assert not outcome.budgeted


def test_errors_that_are_only_warnings_are_no_errors() -> None:
    """The protocol puts advice of severity ``warning`` into the same list."""
    body = {**TAKEN, "errors": [{"code": "SOON", "severity": "warning"}]}
    assert isinstance(outcome_from_http(said(body), COUNT), Delivered)


def test_an_unknown_code_is_transient_on_a_budget() -> None:
    """A later protocol's code does no harm."""
    outcome = outcome_from_http(said({"error": {"code": "FROM_THE_FUTURE"}}), COUNT)
    assert outcome == Retry(
        "FROM_THE_FUTURE", "The seller responded with HTTP 200.", budgeted=True, retry_after=None
    )


@pytest.mark.parametrize("recovery", ["terminal", "sideways", 7, ["x"]])
def test_a_terminal_or_unknown_recovery_pauses_unless_events_are_named(recovery: object) -> None:
    """Nothing is lost, and the person is asked; a named event is that event's end."""
    error: dict[str, object] = {"code": "MYSTERY", "recovery": recovery}
    assert isinstance(outcome_from_http(said({"error": error}), COUNT), Paused)
    named = outcome_from_http(said({"error": {**error, "field": "events[1].x"}}), COUNT)
    assert isinstance(named, Rejected)
    assert [failure.index for failure in named.failures] == [1]


def test_a_seller_whose_own_answer_breaks_its_rules_is_no_fault_of_the_events() -> None:
    """The pointer is into the seller's answer, so nothing is searched in the request."""
    error = {
        "code": "VALIDATION_ERROR",
        "recovery": "correctable",
        "details": {"side": "response", "issues": [{"pointer": "/events/0"}]},
    }
    outcome = outcome_from_task({"adcp_error": error}, said({}), COUNT)
    assert isinstance(outcome, Retry)
    assert outcome.budgeted


def test_what_is_kept_of_an_error_is_clean_and_bounded() -> None:
    """Neither escapes nor floods get into the counts."""
    error = {"code": "X\x1b" * 500, "message": "\x00\n" + "y" * 10_000}
    outcome = outcome_from_http(said({"error": error}, 503), COUNT)
    assert isinstance(outcome, Retry)
    assert len(outcome.code) <= 64
    assert len(outcome.message) <= 500
    assert outcome.code.isprintable()
    assert outcome.message.isprintable()


@pytest.mark.parametrize(
    ("code", "fresh", "budgeted"),
    [
        ("IDEMPOTENCY_IN_FLIGHT", False, False),
        ("IDEMPOTENCY_CONFLICT", True, True),
        ("IDEMPOTENCY_EXPIRED", True, True),
        ("CONFLICT", False, False),
        ("SERVICE_UNAVAILABLE", False, False),
    ],
)
def test_keys_are_kept_or_renewed(code: str, *, fresh: bool, budgeted: bool) -> None:
    """In flight waits under the same key, conflict and expiry take a fresh one."""
    outcome = outcome_from_task(
        {"errors": [{"code": code, "recovery": "transient"}]}, said({}), COUNT
    )
    assert isinstance(outcome, Retry)
    assert (outcome.fresh_key, outcome.budgeted) == (fresh, budgeted)


@pytest.mark.parametrize("code", ["SERVICE_UNAVAILABLE", "AUTH_REQUIRED", "MYSTERY"])
def test_a_replayed_error_is_escaped_by_a_fresh_key(code: str) -> None:
    """The old key would get the old answer even after all is mended."""
    outcome = outcome_from_task({"errors": [{"code": code}], "replayed": True}, said({}), COUNT)
    assert isinstance(outcome, Retry)
    assert outcome.fresh_key


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ({"status": "completed", **TAKEN}, Delivered),
        (TAKEN, Delivered),
        ({"status": "submitted", "task_id": "t"}, Delivered),
        ({"status": "working"}, Delivered),
        ({"status": "failed"}, Retry),
        ({"status": "rejected"}, Retry),
        ({"status": "canceled"}, Retry),
        ({"status": "auth-required"}, Paused),
        ({"status": "input-required"}, Paused),
        ({"status": 7, **TAKEN}, Delivered),
        ({"status": "completed"}, Retry),
        (None, Retry),
    ],
)
def test_a_tasks_status_counts_where_there_is_no_error(task: object, kind: type) -> None:
    """A missing status is a completed one; a failed task is no success."""
    assert isinstance(outcome_from_task(task, said({}), COUNT), kind)


json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text()
    | st.sampled_from(["VALIDATION_ERROR", "/events/2/event_id", "events[30].user_match"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "error",
                    "errors",
                    "adcp_error",
                    "code",
                    "message",
                    "recovery",
                    "issues",
                    "details",
                    "pointer",
                    "path",
                    "field",
                    "keyword",
                    "retry_after",
                    "status",
                    "events_received",
                    "events_processed",
                    "partial_failures",
                    "event_id",
                    "warnings",
                    "match_quality",
                    "replayed",
                    "supported_versions",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


def pointing_at(number: int) -> dict[str, object]:
    """Return an error for one event of a request."""
    issue = {"pointer": f"/events/{number}/event_id", "message": "No."}
    return {"error": {"code": "VALIDATION_ERROR", "message": "No.", "issues": [issue]}}


@given(json, st.integers(100, 999), st.integers(1, 20))
@example(pointing_at(1), 400, 2)
@example(pointing_at(2), 400, 2)
@example(pointing_at(-1), 400, 2)
def test_any_json_becomes_an_outcome(body: object, status: int, count: int) -> None:
    """No answer raises, and no event is named that was not sent."""
    plain, task = (
        outcome_from_http(said(body, status), count),
        outcome_from_task(body, said({}, status), count),
    )
    assert not isinstance(plain, Delivered) or 200 <= status < 300
    for outcome in (plain, task):
        assert isinstance(outcome, OUTCOMES)
        if isinstance(outcome, Rejected):
            indices = [failure.index for failure in outcome.failures]
            assert all(index is not None and 0 <= index < count for index in indices)


@given(st.binary(), st.integers(100, 999), st.dictionaries(st.text(), st.text()))
@example(b"[" * 100_000, 200, {})
@example(b'{"data":' * 1000 + b"1" + b"}" * 1000, 200, {})
@example(b'{"a":1' + b"0" * 5000 + b"}", 500, {})
def test_any_bytes_become_an_outcome(body: bytes, status: int, headers: dict[str, str]) -> None:
    """Not even bytes that are no JSON, too deep or too long for it, raise."""
    assert isinstance(outcome_from_http(Response(status, headers, body), COUNT), OUTCOMES)
