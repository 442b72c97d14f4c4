"""The MCP side of the local seller."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adcp_tracker.sandbox import Sandbox, SandboxConfig
from adcp_tracker.sandbox.store import IdempotencyStore
from tests.support.seller import SOURCE, run_seller
from tests.support.wire import AUTHORIZED, McpClient, events_of, make_event, request

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "key-0123456789abcdef"
ACCOUNT = {"account_id": "12345"}


@pytest.fixture
def client(seller: Sandbox) -> McpClient:
    """A client with a session."""
    client = McpClient(seller.mcp_url)
    client.initialize()
    return client


def arguments(*events: object, key: str = KEY, **more: object) -> dict[str, Any]:
    """Return the arguments of ``log_event``."""
    return {
        "adcp_version": "3.1",
        "adcp_major_version": 3,
        "idempotency_key": key,
        "event_source_id": SOURCE,
        "events": list(events or [make_event()]),
        **more,
    }


def adcp_error(result: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a result that failed in the usual place."""
    assert result["isError"] is True
    error: dict[str, Any] = result["structuredContent"]["adcp_error"]
    return error


def test_a_conversation(seller: Sandbox) -> None:
    """A client introduces itself, sees the tools, sends an event and says goodbye."""
    client = McpClient(seller.mcp_url)
    hello = client.initialize()
    assert hello["protocolVersion"] == "2025-06-18"
    assert "tools" in hello["capabilities"]
    tools = client.ask("tools/list")["result"]["tools"]
    assert {tool["name"] for tool in tools} == {
        "log_event",
        "sync_event_sources",
        "get_adcp_capabilities",
    }
    assert all(tool["inputSchema"]["type"] == "object" for tool in tools)
    assert client.ask("ping")["result"] == {}
    result = client.use("log_event", **arguments())
    answer = {
        "adcp_version": "3.1",
        "adcp_major_version": 3,
        "status": "completed",
        "events_received": 1,
        "events_processed": 1,
        "match_quality": 1.0,
    }
    assert result["isError"] is False
    assert result["structuredContent"] == answer
    assert json.loads(result["content"][0]["text"]) == answer
    assert seller.events == [make_event()]
    assert request("DELETE", client.url, headers=client.headers).status_code == 204
    assert client.post("ping").status_code == 404


def test_an_unknown_version_gets_the_newest(client: McpClient) -> None:
    """A client of a version nobody knows is offered the newest one."""
    answer = client.ask("initialize", {"protocolVersion": "1999-01-01"})
    assert answer["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize(
    "accept", ["application/json", "text/event-stream", "*/*", "text/html", ""]
)
def test_both_kinds_of_answers_must_be_accepted(client: McpClient, accept: str) -> None:
    """A client that does not accept JSON and events gets a 406."""
    client.headers["Accept"] = accept
    assert client.post("ping").status_code == 406


def test_tokens_are_checked(client: McpClient) -> None:
    """Without its token even a known session is a 401."""
    del client.headers["Authorization"]
    response = client.post("ping")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_bodies_are_checked(client: McpClient, seller: Sandbox) -> None:
    """A body has to be JSON of the right type and within the limit."""

    def status(content: str, kind: str = "application/json") -> int:
        headers = client.headers | {"Content-Type": kind}
        return request("POST", client.url, content=content, headers=headers).status_code

    ping = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    assert status(ping) == 200
    assert status(ping, "text/plain") == 415
    assert status("{") == 400
    assert status("[]") == 400
    assert status(f"[{ping}]") == 400
    assert status('{"id": 1, "method": "ping"}') == 400
    assert status('{"jsonrpc": "2.0", "id": 1}') == 400
    assert status('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}') == 400
    seller.configure(max_bytes=10)
    assert status(ping) == 413
    assert request("GET", client.url, headers=client.headers).status_code == 405


def test_unknown_methods_and_tools_are_errors(client: McpClient) -> None:
    """JSON-RPC has codes for what does not exist."""
    assert client.ask("resources/list")["error"]["code"] == -32601
    assert client.ask("tools/call", {"name": "buy"})["error"]["code"] == -32602
    assert client.ask("tools/call", {})["error"]["code"] == -32602
    wrong = {"name": "log_event", "arguments": []}
    assert client.ask("tools/call", wrong)["error"]["code"] == -32602


def test_sessions_are_needed_and_get_lost(client: McpClient, seller: Sandbox) -> None:
    """No session is a 400; one from before a restart is not found, and a new one works."""
    session = client.headers.pop("Mcp-Session-Id")
    assert client.post("ping").status_code == 400
    client.headers["Mcp-Session-Id"] = session
    assert client.post("ping").status_code == 200
    seller.stop()
    seller.start()
    response = client.post("tools/call", {"name": "log_event", "arguments": arguments()})
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "Session not found"
    client.initialize()
    assert not client.use("log_event", **arguments())["isError"]


def test_sessions_get_lost_on_request(client: McpClient, seller: Sandbox) -> None:
    """A fault forgets every session in the middle of a conversation."""
    seller.fail(forget_session=True)
    response = client.post("tools/call", {"name": "log_event", "arguments": arguments()})
    assert response.status_code == 404
    assert seller.events == []
    client.initialize()
    assert not client.use("log_event", **arguments())["isError"]


def test_unknown_protocol_versions_are_refused(client: McpClient) -> None:
    """The header of a version that was never offered is a 400."""
    client.headers["Mcp-Protocol-Version"] = "2025-06-18"
    assert client.post("ping").status_code == 200
    client.headers["Mcp-Protocol-Version"] = "1999-01-01"
    assert client.post("ping").status_code == 400


def test_sellers_without_sessions() -> None:
    """A seller need not have sessions, and then gives none."""
    with run_seller(sessions=False) as seller:
        client = McpClient(seller.mcp_url)
        client.initialize()
        assert "Mcp-Session-Id" not in client.headers
        assert not client.use("log_event", **arguments())["isError"]


def test_answers_as_server_sent_events() -> None:
    """Answers may come as events, after a comment and a message that is no answer."""
    with run_seller(sse=True) as seller:
        client = McpClient(seller.mcp_url)
        client.initialize()
        response = client.post("tools/call", {"name": "log_event", "arguments": arguments()})
        assert response.headers["content-type"].startswith("text/event-stream")
        first, last = events_of(response)
        assert "id" not in first
        assert last["result"]["structuredContent"]["events_processed"] == 1
        assert response.text.startswith(":")


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({}, "3.0"),
        ({"adcp_major_version": 3}, "3.0"),
        ({"adcp_version": "3.0"}, "3.0"),
        ({"adcp_version": "3.1"}, "3.1"),
        ({"adcp_version": "3.1-beta.2"}, "3.1"),
        ({"adcp_version": "3.2", "adcp_major_version": 3}, "3.2"),
        ({"adcp_version": "3.9"}, "3.2"),
    ],
)
def test_versions_are_settled(client: McpClient, versions: dict[str, Any], expected: str) -> None:
    """No version means the oldest line; a newer one than spoken gets the newest spoken."""
    use = {"idempotency_key": KEY, "event_source_id": SOURCE, "events": [make_event()]}
    result = client.use("log_event", **use, **versions)
    assert result["structuredContent"]["adcp_version"] == expected


def test_the_line_decides_what_is_valid(client: McpClient) -> None:
    """An event type of line 3.1 is refused without a version, as official sellers do."""
    event = make_event(event_type="follow")
    use = {"event_source_id": SOURCE, "events": [event]}
    error = adcp_error(client.use("log_event", idempotency_key=KEY, **use))
    assert (error["code"], error["field"]) == ("VALIDATION_ERROR", "/events/0/event_type")
    assert error["recovery"] == "correctable"
    again = client.use("log_event", idempotency_key=KEY + "2", adcp_version="3.1", **use)
    assert not again["isError"]


@pytest.mark.parametrize(
    "versions",
    [{"adcp_major_version": 4}, {"adcp_version": "4.0"}, {"adcp_version": "2.5"}],
)
def test_other_majors_are_unsupported(client: McpClient, versions: dict[str, Any]) -> None:
    """A version of another major is refused, with those that are spoken."""
    use = arguments()
    del use["adcp_version"], use["adcp_major_version"]
    error = adcp_error(client.use("log_event", **use, **versions))
    assert error["code"] == "VERSION_UNSUPPORTED"
    assert error["details"]["supported_versions"] == ["3.0", "3.1", "3.2"]


def test_old_sellers_speak_old_lines() -> None:
    """A seller of line 3.1 only does not know 3.0, and takes 3.2 down to 3.1."""
    with run_seller(versions=("3.1",)) as seller:
        client = McpClient(seller.mcp_url)
        client.initialize()
        error = adcp_error(client.use("log_event", **arguments(adcp_version="3.0")))
        assert error["code"] == "VERSION_UNSUPPORTED"
        result = client.use("log_event", **arguments(adcp_version="3.2"))
        assert result["structuredContent"]["adcp_version"] == "3.1"


def test_patch_numbers_are_no_versions(client: McpClient) -> None:
    """A version with a patch number breaks the rules."""
    error = adcp_error(client.use("log_event", **arguments(adcp_version="3.1.2")))
    assert error["field"] == "/adcp_version"


def test_context_and_status(client: McpClient, seller: Sandbox) -> None:
    """A context comes back as it is; the status may be left out."""
    seller.configure(status=None)
    answer = client.use("log_event", **arguments(context={"trace": [1]}))["structuredContent"]
    assert answer["context"] == {"trace": [1]}
    assert "status" not in answer


def test_unknown_sources(client: McpClient) -> None:
    """An unknown event source has AdCP's own code, and is nothing to retry."""
    error = adcp_error(client.use("log_event", **arguments(event_source_id="other")))
    assert (error["code"], error["recovery"]) == ("REFERENCE_NOT_FOUND", "terminal")


def test_the_same_key_gets_the_same_answer(client: McpClient, seller: Sandbox) -> None:
    """A replay is marked and counts nothing twice; context makes no difference."""
    first = client.use("log_event", **arguments())["structuredContent"]
    again = client.use("log_event", **arguments(context={"try": 2}))["structuredContent"]
    assert again == first | {"replayed": True}
    assert (seller.counts["good"], seller.counts["duplicates"]) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"events": [make_event("b"), make_event("a")]},
        {"ext": {"a": 1}},
        {"adcp_version": "3.2"},
        {"test_event_code": "T"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_same_key_with_another_request(client: McpClient, change: dict[str, Any]) -> None:
    """Whatever differs, the order of events, extensions or versions, is a conflict."""
    client.use("log_event", **arguments(make_event("a"), make_event("b")))
    changed = arguments(make_event("a"), make_event("b")) | change
    assert adcp_error(client.use("log_event", **changed))["code"] == "IDEMPOTENCY_CONFLICT"


def test_old_keys_are_expired() -> None:
    """An answer that is kept no longer makes its key an error."""
    times = [1000.0]
    with Sandbox(SandboxConfig(idempotency_ttl_s=60), now=lambda: times[0]) as seller:
        client = McpClient(seller.mcp_url)
        client.initialize()
        client.use("log_event", **arguments())
        times[0] += 61
        assert adcp_error(client.use("log_event", **arguments()))["code"] == "IDEMPOTENCY_EXPIRED"


def test_keys_are_kept_within_bounds() -> None:
    """The oldest of very many keys is forgotten, the others are not."""
    replays = IdempotencyStore(time.time)
    for number in range(10_001):
        assert replays.begin(f"key-{number}", {}, 60) is None
        replays.finish(f"key-{number}", {"number": number})
    assert replays.begin("key-1", {}, 60) == {"number": 1}
    assert replays.begin("key-0", {}, 60) is None


def test_keys_in_flight(client: McpClient, seller: Sandbox) -> None:
    """A second try while the first is handled is told to wait, and then gets its answer."""
    seller.fail(latency_ms=2000)
    first = threading.Thread(target=client.use, args=("log_event",), kwargs=arguments())
    other = McpClient(client.url, dict(client.headers))
    first.start()
    while request("GET", f"{seller.origin}/_sandbox/faults").json():
        time.sleep(0.01)
    error = adcp_error(other.use("log_event", **arguments()))
    first.join()
    assert (error["code"], error["recovery"]) == ("IDEMPOTENCY_IN_FLIGHT", "transient")
    assert error["retry_after"] == 1
    assert other.use("log_event", **arguments())["structuredContent"]["replayed"] is True
    assert seller.counts["good"] == 1


def test_refused_requests_may_be_tried_again(client: McpClient, seller: Sandbox) -> None:
    """An error is not kept for its key, except by stubborn sellers."""
    seller.configure(refuse_events={}, max_events=1)
    use = arguments(make_event("a"), make_event("b"))
    assert adcp_error(client.use("log_event", **use))["code"] == "VALIDATION_ERROR"
    seller.configure(max_events=2, replay_errors=True)
    assert not client.use("log_event", **use)["isError"]
    seller.configure(max_events=1)
    second = arguments(make_event("c"), make_event("d"), key=KEY + "2")
    assert adcp_error(client.use("log_event", **second))["code"] == "VALIDATION_ERROR"
    seller.configure(max_events=2)
    assert adcp_error(client.use("log_event", **second))["code"] == "VALIDATION_ERROR"
    assert not client.use("log_event", **second | {"idempotency_key": KEY + "3"})["isError"]


def test_a_fault_can_be_remembered(client: McpClient, seller: Sandbox) -> None:
    """A transient error that a seller replays is escaped by a fresh key alone."""
    seller.fail(code="SERVICE_UNAVAILABLE", recovery="transient", remember=True)
    for _ in range(2):
        assert adcp_error(client.use("log_event", **arguments()))["code"] == "SERVICE_UNAVAILABLE"
    assert not client.use("log_event", **arguments(key=KEY + "2"))["isError"]


def test_a_lost_answer_is_replayed(client: McpClient, seller: Sandbox) -> None:
    """Events taken before the connection broke are answered again for the same key."""
    seller.fail(connection="reset", after=True)
    with pytest.raises(httpx.ReadError):
        client.use("log_event", **arguments())
    assert client.use("log_event", **arguments())["structuredContent"]["replayed"] is True
    seller.fail(connection="reset")
    with pytest.raises(httpx.ReadError):
        client.use("log_event", **arguments(make_event("b"), key=KEY + "2"))
    second = client.use("log_event", **arguments(make_event("b"), key=KEY + "2"))
    assert "replayed" not in second["structuredContent"]


def _in_adcp_error(answer: dict[str, Any]) -> object:
    return adcp_error(answer["result"])


def _in_jsonrpc(answer: dict[str, Any]) -> object:
    return answer["error"]["data"]["adcp_error"]


def _in_text(answer: dict[str, Any]) -> object:
    assert answer["result"]["isError"] is True
    assert "structuredContent" not in answer["result"]
    return json.loads(answer["result"]["content"][0]["text"])["adcp_error"]


def _in_errors(answer: dict[str, Any]) -> object:
    assert answer["result"]["isError"] is False
    (error,) = answer["result"]["structuredContent"]["errors"]
    return error


PLACES: dict[str, Callable[[dict[str, Any]], object]] = {
    "adcp_error": _in_adcp_error,
    "jsonrpc": _in_jsonrpc,
    "text": _in_text,
    "errors": _in_errors,
}


@pytest.mark.parametrize("sse", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_errors_in_every_place(client: McpClient, seller: Sandbox, place: str, sse: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The same error stands in whichever place it was asked for, and nowhere else."""
    seller.configure(sse=sse)
    seller.fail(
        code="RATE_LIMITED", recovery="transient", retry_after_s=7, message="slow", place=place
    )
    answer = client.ask("tools/call", {"name": "log_event", "arguments": arguments()})
    assert PLACES[place](answer) == {
        "code": "RATE_LIMITED",
        "message": "slow",
        "recovery": "transient",
        "retry_after": 7,
    }
    assert json.dumps(answer).count("RATE_LIMITED") == 1
    assert seller.events == []


def test_errors_in_the_status_alone(client: McpClient, seller: Sandbox) -> None:
    """A fault with a status is one of HTTP, with a body that holds no code."""
    seller.fail(status=503, code="SERVICE_UNAVAILABLE", retry_after=9)
    response = client.post("tools/call", {"name": "log_event", "arguments": arguments()})
    assert (response.status_code, response.headers["retry-after"]) == (503, "9")
    assert "SERVICE_UNAVAILABLE" not in response.text


def test_errors_in_words_alone(client: McpClient, seller: Sandbox) -> None:
    """An error may say something to people only."""
    seller.fail(code="X", place="plain", message="Out of order.")
    result = client.use("log_event", **arguments())
    assert result == {"content": [{"type": "text", "text": "Out of order."}], "isError": True}


def test_unknown_recoveries_and_codes(client: McpClient, seller: Sandbox) -> None:
    """An error may hold words that nobody knows, or no recovery at all."""
    seller.fail(code="TEAPOT", recovery="sometimes")
    seller.fail(code="TEAPOT")
    assert adcp_error(client.use("log_event", **arguments()))["recovery"] == "sometimes"
    assert "recovery" not in adcp_error(client.use("log_event", **arguments()))


def test_the_seller_can_put_all_its_errors_elsewhere(client: McpClient, seller: Sandbox) -> None:
    """Errors that nobody asked for stand in the seller's own place, too."""
    seller.configure(error_place="errors", notation="dotted", issues_in="top")
    answer = client.use("log_event", **arguments(make_event("a"), {}))
    (error,) = answer["structuredContent"]["errors"]
    assert error["field"] == "events[1].event_id"
    assert len(error["issues"]) == 3


def test_outages_of_any_step(seller: Sandbox) -> None:
    """A fault may befall the introduction instead of the tool."""
    seller.fail(on="initialize", status=503)
    seller.fail(on="notifications/initialized", connection="reset")
    client = McpClient(seller.mcp_url)
    assert client.post("initialize", {}).status_code == 503
    with pytest.raises(httpx.ReadError):
        client.initialize()
    client.initialize()
    assert not client.use("log_event", **arguments())["isError"]


def test_limits_of_requests() -> None:
    """One request too many is a 429 of HTTP, with the headers that go with it."""
    with run_seller(rate_limit=2) as seller:
        client = McpClient(seller.mcp_url)
        client.initialize()
        response = client.post("ping")
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) > 0
        assert response.headers["ratelimit-remaining"] == "0"


def test_only_the_beginning_of_a_key_is_kept(client: McpClient, seller: Sandbox) -> None:
    """A key is as secret as a token, so no more than 8 characters are shown."""
    client.use("log_event", **arguments())
    seen = seller.requests[-1]
    assert (seen.call, seen.key_prefix) == ("log_event", KEY[:8])
    assert KEY not in repr(seller.requests)
    assert AUTHORIZED["Authorization"] not in repr(seller.requests)


def test_capabilities_are_shown(client: McpClient, seller: Sandbox) -> None:
    """What the seller can do is told in AdCP's own shape."""
    seller.configure(versions=("3.0",), idempotency_ttl_s=60)
    answer = client.use("get_adcp_capabilities")["structuredContent"]
    assert answer["adcp"]["supported_versions"] == ["3.0"]
    assert answer["adcp"]["idempotency"]["replay_ttl_seconds"] == 60
    tracking = answer["media_buy"]["conversion_tracking"]
    assert "purchase" in tracking["supported_event_types"]
    assert "follow" not in tracking["supported_event_types"]
    seller.configure(versions=("3.0", "3.1"))
    answer = client.use("get_adcp_capabilities")["structuredContent"]
    assert "follow" in answer["media_buy"]["conversion_tracking"]["supported_event_types"]


def test_sources_are_registered_and_used(client: McpClient) -> None:
    """A source that was registered takes events at once; without any the call lists."""
    source = {"event_source_id": "app", "name": "App", "event_types": ["purchase"]}
    sync = {"idempotency_key": KEY, "account": ACCOUNT}
    answer = client.use("sync_event_sources", **sync, event_sources=[source])
    (result,) = answer["structuredContent"]["event_sources"]
    assert (result["action"], result["managed_by"]) == ("created", "buyer")
    listed = client.use("sync_event_sources", account=ACCOUNT, idempotency_key=KEY + "l")
    names = [each["event_source_id"] for each in listed["structuredContent"]["event_sources"]]
    assert names == [SOURCE, "app"]
    taken = client.use("log_event", **arguments(event_source_id="app", key=KEY + "2"))
    assert taken["structuredContent"]["events_processed"] == 1


@pytest.mark.parametrize(
    "account",
    [
        None,
        {},
        {"account_id": 1},
        {"account_id": "1", "operator": "o.example"},
        {"brand": {"domain": "b.example"}},
        {"account_id": "1", "brand": {"domain": "b.example"}, "operator": "o.example"},
    ],
)
def test_accounts_are_of_one_kind(client: McpClient, account: object) -> None:
    """An account is an id, or a brand and an operator, never both or half."""
    answer = client.use("sync_event_sources", idempotency_key=KEY, account=account)
    assert adcp_error(answer)["field"] == "/account"


def test_brands_have_their_own_sources(client: McpClient) -> None:
    """The account of a brand and its operator knows nothing of the others."""
    account = {"brand": {"domain": "b.example"}, "operator": "o.example"}
    answer = client.use("sync_event_sources", idempotency_key=KEY, account=account)
    assert answer["structuredContent"]["event_sources"] == []


def test_registering_needs_a_key(client: McpClient) -> None:
    """A call that changes something needs an idempotency key."""
    error = adcp_error(client.use("sync_event_sources", account=ACCOUNT))
    assert error["field"] == "/idempotency_key"


@pytest.fixture(params=[None, 5, "x", [1], {"a": 1}])
def odd(request: pytest.FixtureRequest) -> object:
    """Something that has no business where it is put."""
    return request.param


def test_odd_arguments_are_answered(client: McpClient, odd: object) -> None:
    """Whatever stands in a field, the answer is an error of the protocol, never a crash."""
    for field in ("events", "event_source_id", "idempotency_key", "adcp_version", "context"):
        response = client.post(
            "tools/call", {"name": "log_event", "arguments": arguments() | {field: odd}}
        )
        assert response.status_code == 200
