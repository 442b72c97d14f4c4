"""No credential comes back out of a seller's words, wherever and however they repeat it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import Batch, Delivered, Rejected, redaction_of
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.destinations.responses import Response
from tests.destinations.rawseller import http, raw_seller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

    from tests.destinations.rawseller import RawRequest, RawSeller, Script

SECRET = 'shop/K3Y"0123+456789'
BATCH = Batch([b'{"event_id":"A-1"}'], b"identity")
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "header": lambda secret: f"Authorization: Bearer {secret}",
    "percent": lambda secret: quote(secret, safe=""),
    "lower": lambda secret: quote(secret, safe="").lower(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64url": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "json": lambda secret: json.dumps({"token": secret}),
}

_secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"))
_words = st.text(st.sampled_from('ab /"\\'), max_size=5)


def interchange(origin: str) -> Interchange:
    """Return a destination with the secret."""
    return Interchange(
        advertiser_id="1", event_source_id="pixel", api_key=SECRET, base_url=origin, name="shop"
    )


def agent(origin: str, **settings: Any) -> Agent:  # noqa: ANN401 - settings differ
    """Return an agent's destination with the secret."""
    given: dict[str, Any] = {"token": SECRET, "event_source_id": "pixel", "name": "shop"}
    return Agent(url=f"{origin}/mcp", **(given | settings))


def saying(status: int, answer: object) -> Script:
    """Answer every request with this JSON."""

    def script(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
        connection.sendall(http(status, orjson.dumps(answer)))

    return script


def using(tool: dict[str, Any], *, stream: bool = False) -> Script:
    """Be an agent whose tools answer with this message."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        asked = json.loads(request.body)
        tools = {"tools": [{"name": "log_event"}]}
        results: dict[str, object] = {"initialize": {}, "tools/list": tools}
        said = {"result": results.get(asked["method"])} if asked["method"] in results else tool
        body = orjson.dumps({"jsonrpc": "2.0", "id": asked.get("id"), **said})
        kind = "text/event-stream" if stream else "application/json"
        body = b"data: " + body + b"\n\n" if stream else body
        connection.sendall(http(200, body, content_type=kind))

    return script


def expect_hidden(found: object, secret: str = SECRET) -> None:
    """The secret is nowhere in what was made of the answer, and a mark is."""
    shown = repr(found).lower()
    assert "***" in shown
    for form in FORMS.values():
        assert form(secret).lower().rstrip("=") not in shown
        assert repr(form(secret)).strip("'\"").lower() not in shown


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [401, 422, 413, 429, 500])
def test_a_refusal_that_repeats_the_credential_does_not_show_it(form: str, status: int) -> None:
    """Whatever an answer means, code and message come without it."""
    words = FORMS[form](SECRET)
    answer = {"error": {"code": f"X {words}"[:60], "message": f"Cannot take {words} for this."}}
    with raw_seller(saying(status, answer)) as seller:
        shop = interchange(seller.origin)
        expect_hidden(shop.send(BATCH))
        shop.close()


def test_a_credential_at_the_edge_of_what_is_shown_is_not_cut_in_half() -> None:
    """It is taken out before the message is cut to length."""
    answer = {"error": {"code": "UNAUTHORIZED", "message": "x" * 490 + SECRET}}
    with raw_seller(saying(401, answer)) as seller:
        shop = interchange(seller.origin)
        outcome = shop.send(BATCH)
        shop.close()
    assert SECRET[:6] not in repr(outcome)


def test_failures_and_warnings_do_not_show_it_either() -> None:
    """What becomes a dead letter or advice is a seller's words as well."""
    failure = {"event_id": "A-1", "code": "BAD", "message": f"no right for {SECRET}"}
    answer = {
        "data": {
            "events_received": 1,
            "events_processed": 0,
            "partial_failures": [failure],
            "warnings": [f"{SECRET} is outdated"],
        }
    }
    with raw_seller(saying(200, answer)) as seller:
        shop = interchange(seller.origin)
        outcome = shop.send(BATCH)
        shop.close()
    assert isinstance(outcome, Delivered)
    expect_hidden(outcome.failures)
    expect_hidden(outcome.warnings)


def test_named_events_are_refused_in_words_without_it() -> None:
    """An issue's words and its path are shown with the event."""
    issue = {"pointer": "/events/0/event_time", "message": f"unlike {SECRET}"}
    answer = {"error": {"code": "VALIDATION_ERROR", "message": "no", "issues": [issue]}}
    with raw_seller(saying(400, answer)) as seller:
        shop = interchange(seller.origin)
        outcome = shop.send(BATCH)
        shop.close()
    assert isinstance(outcome, Rejected)
    expect_hidden(outcome.failures)


_REPEATED = {"code": "UNAUTHORIZED", "message": f"Bearer {SECRET}?"}
_TEXT = json.dumps({"adcp_error": _REPEATED})


@pytest.mark.parametrize(
    "tool",
    [
        {"result": {"structuredContent": {"adcp_error": _REPEATED}, "isError": True}},
        {"result": {"content": [{"type": "text", "text": _TEXT}], "isError": True}},
        {"result": {"content": [{"type": "text", "text": f"no {SECRET}"}], "isError": True}},
        {"error": {"code": -32000, "message": f"no {SECRET}"}},
        {"error": {"code": -32000, "message": "no", "data": {"adcp_error": _REPEATED}}},
    ],
    ids=["structured", "text", "words", "rpc", "rpc-data"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_agent_that_repeats_the_credential_does_not_get_it_shown(
    tool: dict[str, Any], *, stream: bool
) -> None:
    """In each place for an error, as JSON and as a stream, to a delivery and to a question."""
    with raw_seller(using(tool, stream=stream)) as seller:
        shop = agent(seller.origin)
        expect_hidden(shop.send(BATCH))
        expect_hidden(shop.ask("log_event", {}))
        shop.close()


def test_questions_are_answered_without_it() -> None:
    """What a probe finds and what the Interchange is asked beside events."""
    answer = {"error": {"code": "UNAUTHORIZED", "message": f"no {SECRET}"}}
    with raw_seller(saying(401, answer)) as seller:
        shop = interchange(seller.origin)
        expect_hidden(shop.probe())
        expect_hidden(shop.ask("GET", "event-sources"))
        shop.close()
    with raw_seller(saying(200, {"data": {"note": [f"you are {SECRET}"]}})) as seller:
        expect_hidden(interchange(seller.origin).ask("GET", "event-sources"))


def test_an_agent_that_is_probed_does_not_get_it_shown() -> None:
    """An agent that refuses to open a session is asked nothing more."""
    answer = {"error": {"code": "UNAUTHORIZED", "message": f"no {SECRET}"}}
    with raw_seller(saying(401, answer)) as seller:
        shop = agent(seller.origin)
        expect_hidden(shop.probe())
        shop.close()


class _KeyAuth(httpx.Auth):
    """Puts the secret into a header of its own."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["X-Api-Key"] = SECRET
        yield request


@pytest.mark.parametrize("auth", [httpx.BasicAuth("shop", SECRET), _KeyAuth()])
def test_what_a_signing_hook_adds_is_not_shown(auth: httpx.Auth) -> None:
    """The library was never told this credential; it is taken from what was sent."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        sent = {name: request.headers.get(name) for name in ("authorization", "x-api-key")}
        words = f"{SECRET} {json.dumps(sent)}"
        error = {"error": {"code": "UNAUTHORIZED", "message": words}}
        connection.sendall(http(401, orjson.dumps(error)))

    with raw_seller(script) as seller:
        shop = agent(seller.origin, token=None, auth=auth, key_secret="k" * 32)
        outcome = shop.send(BATCH)
        shop.close()
    expect_hidden(outcome)
    assert base64.b64encode(f"shop:{SECRET}".encode()).decode() not in repr(outcome)


def test_an_event_is_known_by_its_id_even_so() -> None:
    """A failure whose id were altered would be nobody's."""
    hidden = redaction_of({"authorization": "Bearer order-1"})
    failure = {"event_id": "order-12", "message": "order-12"}
    assert hidden.of({"partial_failures": [failure]}) == {
        "partial_failures": [{"event_id": "order-12", "message": "***2"}]
    }


def test_a_credential_of_few_characters_spoils_no_words() -> None:
    """A key of a few characters is in any text."""
    hidden = redaction_of({"Authorization": "Bearer event"})
    assert hidden.of(["no such event"]) == ["no such event"]


def test_other_headers_are_no_secrets() -> None:
    """What is said of the library's name stays."""
    hidden = redaction_of({"User-Agent": "adcp_tracker/1", "Mcp-Session-Id": "session-1"})
    assert hidden.of("adcp_tracker/1 in session-1") == "adcp_tracker/1 in session-1"


@given(
    secret=_secrets.filter(lambda text: len(text) >= 6),
    form=st.sampled_from(sorted(FORMS)),
    around=st.tuples(_words, _words),
    depth=st.integers(0, 450),
)
def test_no_string_at_any_depth_keeps_it(
    secret: str, form: str, around: tuple[str, str], depth: int
) -> None:
    """Whatever a credential is made of, and however an answer is nested."""
    hidden = redaction_of({"Authorization": f"Bearer {secret}"})
    text = orjson.dumps(FORMS[form](secret).join(around))
    reply = Response(200, {}, b'{"deep":[' * depth + text + b"]}" * depth, redaction=hidden)
    found: Any = reply.json()
    for _ in range(depth):
        found = found["deep"][0]
    assert "***" in found
    assert FORMS[form](secret).rstrip("=") not in found


@given(st.binary(max_size=200))
@example(b"\x01{}")  # JSON behind something else
def test_an_answer_without_the_credential_is_what_it_was(body: bytes) -> None:
    """Nothing else is touched."""
    hidden = redaction_of({"Authorization": "Bearer a-long-enough-secret"})
    assert Response(200, {}, body, redaction=hidden).json() == Response(200, {}, body).json()
