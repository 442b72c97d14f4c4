"""From an MCP tool's answer to an outcome, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.base import Delivered, Paused, Rejected, Retry, TooLarge
from adcp_tracker.destinations.error_codes import CODES, Action
from adcp_tracker.destinations.mcp import outcome_from_mcp
from adcp_tracker.destinations.responses import Response

OK = Response(200, {"content-type": "application/json"}, b"")
TAKEN = {"events_received": 2, "events_processed": 2}
KINDS = {
    Action.RETRY: Retry,
    Action.SLOW_DOWN: Retry,
    Action.BUDGET: Retry,
    Action.FRESH_KEY: Retry,
    Action.SPLIT: TooLarge,
    Action.REJECT: Rejected,
    Action.REJECT_NAMED: Paused,
    Action.PAUSE: Paused,
}


def result(structured: object = None, text: str = "", **more: object) -> dict[str, Any]:
    """Return a JSON-RPC answer with a tool's result."""
    body: dict[str, object] = {"content": [{"type": "text", "text": text}], **more}
    if structured is not None:
        body["structuredContent"] = structured
    return {"jsonrpc": "2.0", "id": 1, "result": body}


def in_place(place: str, error: dict[str, object]) -> tuple[object, Response]:
    """Return an answer that holds `error` in one of the five places."""
    status = Response(429, {}, b"")
    answers: dict[str, tuple[object, Response]] = {
        "adcp_error": (result({"adcp_error": error}, isError=True), OK),
        "jsonrpc": ({"id": 1, "error": {"code": -32000, "data": {"adcp_error": error}}}, OK),
        "jsonrpc_bare": ({"id": 1, "error": {"code": -32000, "data": error}}, OK),
        "text": (result(text=json.dumps({"adcp_error": error}), isError=True), OK),
        "text_errors": (result(text=json.dumps({"errors": [error]}), isError=True), OK),
        "text_bare": (result(text=json.dumps(error), isError=True), OK),
        "errors": (result({"errors": [error]}, isError=True), OK),
        "errors_of_a_success": (result({**TAKEN, "errors": [error]}, isError=False), OK),
        "http": (None, status),
        "http_with_rpc": ({"id": 1, "error": {"code": -32000, "message": "m"}}, status),
    }
    return answers[place]


PLACES = ["adcp_error", "jsonrpc", "jsonrpc_bare", "text", "text_errors", "text_bare", "errors"]
PLACES += ["errors_of_a_success"]


@pytest.mark.parametrize("place", [*PLACES, "http", "http_with_rpc"])
def test_an_error_is_found_in_each_place(place: str) -> None:
    """Wherever the seller puts it, the same error has the same outcome."""
    message, reply = in_place(place, {"code": "RATE_LIMITED", "retry_after": 7})
    outcome = outcome_from_mcp(message, reply, 2)
    assert isinstance(outcome, Retry)
    assert outcome.rate_limited
    assert outcome.retry_after == (None if place.startswith("http") else 7)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_of_the_table_has_its_outcome(place: str, code: str) -> None:
    """One row, one outcome, in every place."""
    message, reply = in_place(place, {"code": code, "message": "m"})
    outcome = outcome_from_mcp(message, reply, 2)
    assert isinstance(outcome, KINDS[CODES[code].action])
    assert not isinstance(outcome, Delivered)
    assert outcome.code == code


def test_the_places_are_asked_in_their_order() -> None:
    """Where several errors stand in one answer, the earliest place decides."""
    structured: dict[str, object] = {
        "adcp_error": {"code": "FIRST"},
        "errors": [{"code": "FOURTH"}],
    }
    text = json.dumps({"adcp_error": {"code": "THIRD"}})
    message = result(structured, text, isError=True)
    message["error"] = {"code": -32000, "data": {"adcp_error": {"code": "SECOND"}}}
    reply = Response(429, {}, b"")
    assert code_of(message, reply) == "FIRST"
    del structured["adcp_error"]
    assert code_of(message, reply) == "SECOND"
    del message["error"]
    assert code_of(message, reply) == "THIRD"
    message["result"]["content"] = []
    assert code_of(message, reply) == "FOURTH"
    del structured["errors"], message["result"]["isError"]
    assert code_of(message, reply) == "http_429"


def code_of(message: object, reply: Response) -> str:
    """Return the code that decided."""
    outcome = outcome_from_mcp(message, reply, 2)
    assert not isinstance(outcome, Delivered)
    return outcome.code


@pytest.mark.parametrize(
    "message",
    [
        result(TAKEN),
        result({"status": "completed", **TAKEN}, isError=False),
        result(text=json.dumps(TAKEN)),
        {"id": 1, "result": {"structuredContent": TAKEN}},
    ],
)
def test_success_is_read_from_structure_or_text(message: object) -> None:
    """Older servers know no structured content."""
    assert outcome_from_mcp(message, OK, 2) == Delivered(received=2, processed=2)


def test_a_replayed_answer_is_marked() -> None:
    """An answer of an earlier try is not counted twice."""
    outcome = outcome_from_mcp(result({**TAKEN, "replayed": True}), OK, 2)
    assert isinstance(outcome, Delivered)
    assert outcome.replayed


@pytest.mark.parametrize("place", ["adcp_error", "text", "errors"])
@pytest.mark.parametrize("code", ["SERVICE_UNAVAILABLE", "AUTH_REQUIRED"])
def test_a_replayed_error_asks_for_a_fresh_key(place: str, code: str) -> None:
    """The same key would bring the same old answer."""
    message, reply = in_place(place, {"code": code})
    assert isinstance(message, dict)
    inner = message["result"]
    if "structuredContent" in inner:
        inner["structuredContent"]["replayed"] = True
    else:
        inner["content"][0]["text"] = json.dumps({"adcp_error": {"code": code}, "replayed": True})
    outcome = outcome_from_mcp(message, reply, 2)
    assert isinstance(outcome, Retry)
    assert outcome.fresh_key


def test_an_error_of_nothing_but_words_is_tried_again_on_a_budget() -> None:
    """Words never decide, and without a code nothing else can."""
    outcome = outcome_from_mcp(result(text="401 Unauthorized\x1b[0m", isError=True), OK, 2)
    assert outcome == Retry("tool_error", "401 Unauthorized [0m", budgeted=True)


@pytest.mark.parametrize(
    ("number", "kind"), [(-32601, Paused), (-32602, Rejected), (-32603, Retry), (-32000, Retry)]
)
def test_errors_of_json_rpc_itself_have_rows(number: int, kind: type) -> None:
    """The numbers that JSON-RPC defines are understood."""
    message = {"id": 1, "error": {"code": number, "message": "m"}}
    outcome = outcome_from_mcp(message, OK, 2)
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert outcome.code == f"rpc_{number}"


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1},
        {"id": 1, "result": []},
        {"id": 1, "result": {}},
        {"id": 1, "result": {"structuredContent": "x", "content": 5}},
        {"id": 1, "result": {"content": [7, {"text": 8}, {"text": "[1]"}]}},
        {"id": 1, "error": "x"},
        {"id": 1, "error": {"code": "x", "data": [1]}},
        [],
        None,
    ],
)
def test_answers_of_wrong_types_are_tried_again(message: object) -> None:
    """What cannot be read decides nothing."""
    outcome = outcome_from_mcp(message, OK, 2)
    assert isinstance(outcome, Retry)
    assert outcome.budgeted or outcome.is_success


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "result",
                    "error",
                    "data",
                    "structuredContent",
                    "content",
                    "text",
                    "isError",
                    "adcp_error",
                    "errors",
                    "code",
                    "recovery",
                    "status",
                    "issues",
                    "pointer",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(json_values, st.integers(100, 999))
def test_any_message_becomes_an_outcome(message: object, status: int) -> None:
    """No answer raises."""
    outcome = outcome_from_mcp(message, Response(status, {}, b""), 3)
    assert isinstance(outcome, (Delivered, Retry, TooLarge, Rejected, Paused))
