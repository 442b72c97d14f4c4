"""Agents that speak A2A, of either version, with or without a card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from adcp_tracker import Agent, Tracker
from adcp_tracker.destinations.a2a import EXTENSION, outcome_from_a2a, read_card
from adcp_tracker.destinations.base import Batch, Delivered, Paused, Rejected, Retry
from adcp_tracker.destinations.responses import Response
from tests.destinations.rawseller import http, raw_seller

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.destinations.rawseller import RawRequest, RawSeller

BATCH = Batch([b'{"event_id":"A-1","custom_data":{"value":59.900}}'], b"identity")
REPORT: dict[str, Any] = {"events_received": 1, "events_processed": 1}


def card(version: str, *, extension: bool = False, url: str = "/rpc") -> dict[str, Any]:
    """Return an agent card as its version has it; its address is completed when it is served."""
    uris = [{"uri": EXTENSION}] if extension else []
    common = {"name": "Seller", "capabilities": {"extensions": uris}, "skills": []}
    if version == "1.0":
        interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        return common | {"supportedInterfaces": [interface]}
    return common | {"url": url, "preferredTransport": "JSONRPC", "protocolVersion": "0.3.0"}


@attrs.define(eq=False)
class A2aSeller:
    """An agent that speaks one version of A2A and nothing else."""

    version: str = "1.0"
    card: dict[str, Any] | None = None
    report: Any = attrs.field(factory=lambda: REPORT)
    state: str = "completed"
    calls: list[dict[str, Any]] = attrs.field(factory=list)

    def play(self, seller: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        """Answer a request for the card, or a message."""
        verb, path, _ = request.line.split()
        if verb == "GET":
            connection.sendall(self._card(seller.origin, path))
            return
        asked = json.loads(request.body)
        connection.sendall(http(200, json.dumps(self._answer(asked)).encode()))

    def _card(self, origin: str, path: str) -> bytes:
        if self.card is None or path != "/.well-known/agent-card.json":
            return http(404)
        return http(200, json.dumps(self.card).replace('"/rpc"', f'"{origin}/rpc"').encode())

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        wanted = "SendMessage" if self.version == "1.0" else "message/send"
        if asked["method"] != wanted:
            return answer | {"error": {"code": -32601, "message": "Method not found"}}
        (part,) = asked["params"]["message"]["parts"]
        self.calls.append(part["data"])
        task = {
            "status": {"state": self._state()},
            "artifacts": [{"parts": [{"data": self.report}]}],
        }
        return answer | {"result": {"task": task} if self.version == "1.0" else task}

    def _state(self) -> str:
        new = f"TASK_STATE_{self.state.upper().replace('-', '_')}"
        return new if self.version == "1.0" else self.state


def agent(origin: str, **settings: Any) -> Agent:  # noqa: ANN401 - settings differ
    """Return an agent's destination."""
    return Agent(url=f"{origin}/", event_source_id="w", token="t", **settings)


SELLERS = {
    "1.0 with a card": (lambda: A2aSeller(card=card("1.0")), "parameters"),
    "1.0 with the extension": (lambda: A2aSeller(card=card("1.0", extension=True)), "input"),
    "0.3 with a card": (lambda: A2aSeller("0.3", card("0.3")), "parameters"),
    "1.0 without a card": (A2aSeller, "parameters"),
    "0.3 without a card": (lambda: A2aSeller("0.3"), "parameters"),
    "0.3 with a wrong card": (lambda: A2aSeller("0.3", card("1.0")), "parameters"),
}


@pytest.mark.parametrize(("make", "name"), SELLERS.values(), ids=SELLERS.keys())
def test_each_version_gets_every_event_once(make: Any, name: str) -> None:  # noqa: ANN401 - a factory
    """The arguments are those of any call of ``log_event``, digit for digit."""
    server = make()
    with raw_seller(server.play) as seller:
        shop = agent(seller.origin, protocol="a2a")
        outcomes = [shop.send(BATCH) for _ in range(2)]
        shop.close()
        sent = [each for each in seller.requests if each.line.startswith("POST")]
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert len(server.calls) == 2
    assert server.calls[0] == server.calls[1]
    assert server.calls[0]["skill"] == "log_event"
    arguments = server.calls[0][name]
    assert arguments["event_source_id"] == "w"
    assert len(arguments["idempotency_key"]) == 64
    assert BATCH.events[0] in sent[-1].body
    assert all(each.headers["authorization"] == "Bearer t" for each in sent)
    has_extension = sent[-1].headers.get("a2a-extensions") == EXTENSION
    assert has_extension == (name == "input")


@pytest.mark.parametrize("version", ["1.0", "0.3"])
def test_an_agent_that_only_speaks_a2a_is_found_out_by_its_card(
    version: str, tmp_path: Path
) -> None:
    """Nobody has to say so: the events arrive, each once."""
    server = A2aSeller(version, card(version))
    with raw_seller(server.play) as seller:
        shop = agent(seller.origin)
        with Tracker([shop], directory=tmp_path) as tracker:
            tracker.track_lead("L-1", click_id="c")
            counts = tracker.flush(20.0).total()
            assert (counts.delivered, counts.unconfirmed) == (1, 0)
            tracker.track_lead("L-2", click_id="c")
            assert tracker.flush(20.0).total().delivered == 2
    assert len(server.calls) == 2


def test_mcp_that_is_asked_for_pauses_with_the_right_remedy() -> None:
    """Whoever named the protocol is told of the other one."""
    server = A2aSeller(card=card("1.0"))
    with raw_seller(server.play) as seller:
        shop = agent(seller.origin, protocol="mcp")
        outcome = shop.send(BATCH)
        shop.close()
    assert isinstance(outcome, Paused)
    assert "a2a" in outcome.remedy
    assert server.calls == []


def test_a_card_elsewhere_gets_no_credential() -> None:
    """An interface at another origin is ignored, and the configured address is used."""
    foreign = card("1.0", url="https://evil.example/rpc")
    server = A2aSeller(card=foreign)
    with raw_seller(server.play) as seller:
        shop = agent(seller.origin, protocol="a2a")
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()
    found = read_card(foreign, "https://seller.example/a2a")
    assert found is not None
    assert found.url == "https://seller.example/a2a"


@pytest.mark.parametrize("payload", [None, [], {}, {"name": 5}, {"name": "x", "skills": 7}, "card"])
def test_any_card_is_accepted(payload: Any) -> None:  # noqa: ANN401 - JSON
    """What isn't a card is none, and wrong types in one are ignored."""
    found = read_card(payload, "https://seller.example/")
    assert found is None or found.url == "https://seller.example/"


def task(state: str, *bodies: object, words: object = None) -> dict[str, Any]:
    """Return a response with a task."""
    parts = [] if words is None else [words]
    status = {"state": state, "message": {"parts": parts}}
    artifacts = [{"parts": [{"data": body}]} for body in bodies]
    return {"id": 1, "result": {"task": {"status": status, "artifacts": artifacts}}}


AUTH = {"adcp_error": {"code": "AUTH_REQUIRED", "message": "Who?"}}
NAMED = {
    "adcp_error": {
        "code": "VALIDATION_ERROR",
        "issues": [{"pointer": "/events/0/event_time", "message": "no"}],
    }
}


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        (task("TASK_STATE_FAILED", AUTH), Paused, "AUTH_REQUIRED"),
        (task("TASK_STATE_COMPLETED", AUTH), Paused, "AUTH_REQUIRED"),
        (task("TASK_STATE_FAILED", words={"data": AUTH}), Paused, "AUTH_REQUIRED"),
        (task("TASK_STATE_FAILED", words={"text": json.dumps(AUTH)}), Paused, "AUTH_REQUIRED"),
        (task("completed", {"errors": [AUTH["adcp_error"]]}), Paused, "AUTH_REQUIRED"),
        (task("TASK_STATE_FAILED", NAMED), Rejected, "VALIDATION_ERROR"),
        (task("TASK_STATE_FAILED", words={"text": "Oops."}), Retry, "task_failed"),
        (task("TASK_STATE_REJECTED"), Retry, "task_rejected"),
        (task("TASK_STATE_INPUT_REQUIRED"), Paused, "task_input-required"),
        (task("TASK_STATE_AUTH_REQUIRED"), Paused, "task_auth-required"),
        (task("TASK_STATE_COMPLETED"), Retry, "unreadable_answer"),
        ({"id": 1, "error": {"code": -32603, "message": "m"}}, Retry, "rpc_-32603"),
        ({"id": 1, "result": None}, Retry, "unreadable_answer"),
        (None, Retry, "unreadable_answer"),
    ],
)
def test_each_kind_of_task_has_its_outcome(message: Any, kind: Any, code: str) -> None:  # noqa: ANN401
    """Errors are found in artifacts, in the status and in the task's state."""
    outcome: Any = outcome_from_a2a(message, Response(200, {}, b"{}"), 1)
    assert isinstance(outcome, kind)
    assert outcome.code == code


@pytest.mark.parametrize("state", ["submitted", "working"])
def test_a_task_for_later_is_unconfirmed(state: str, tmp_path: Path) -> None:
    """The agent took the events and doesn't say what became of them."""
    server = A2aSeller(card=card("1.0"), report={"note": "queued"}, state=state)
    with raw_seller(server.play) as seller:
        shop = agent(seller.origin, protocol="a2a")
        with Tracker([shop], directory=tmp_path) as tracker:
            tracker.track_lead("L-1", click_id="c")
            counts = tracker.flush(20.0).total()
    assert (counts.delivered, counts.unconfirmed, counts.pending) == (0, 1, 0)
    assert len(server.calls) == 1
