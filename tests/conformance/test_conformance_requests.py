"""Every request the library can make, held to the schema of the line it claims to speak."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import Agent
from adcp_tracker.destinations.base import Batch, Delivered
from adcp_tracker.event_sources.api import list_sources, sync_sources
from adcp_tracker.event_sources.model import Account, EventSource
from adcp_tracker.events.model import NEWER_EVENT_TYPES, ActionSource, EventType, SurfaceCategory
from tests.conformance.installed import needs_sdk, objections
from tests.conformance.trying import thoroughly
from tests.support.events import events, mended_events, plain_events, tokens

if TYPE_CHECKING:
    from adcp_tracker.events.rules import AdcpVersion

pytestmark = needs_sdk

TOOLS = ("log_event", "get_adcp_capabilities", "sync_event_sources")


class Listener:
    """A transport that answers as a seller would, and keeps what tools were asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one MCP message."""
        message = json.loads(request.content)
        if "id" not in message:
            return httpx.Response(202)
        result: dict[str, Any] = {"protocolVersion": "2025-06-18"}
        if message["method"] == "tools/list":
            result = {"tools": [{"name": name} for name in TOOLS]}
        elif message["method"] == "tools/call":
            params = message["params"]
            self.calls.append((params["name"], params["arguments"]))
            count = len(params["arguments"].get("events", ()))
            content: dict[str, Any] = {"events_received": count, "events_processed": count}
            if params["name"] == "sync_event_sources":
                content = {"event_sources": []}
            result = {"structuredContent": content}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        return httpx.Response(200, json=answer)


def listening(line: AdcpVersion, source: str = "website") -> tuple[Agent, Listener]:
    """Return an agent that speaks `line`, and who listens to it."""
    listener = Listener()
    agent = Agent(
        url="http://127.0.0.1/mcp",
        event_source_id=source,
        token="t",
        adcp_version=line,
        transport=httpx.MockTransport(listener),
    )
    return agent, listener


@pytest.mark.parametrize("line", ["3.0", "3.1", "3.2"])
@thoroughly(10)
@given(
    drawn=st.lists(st.one_of(events, plain_events, mended_events), min_size=1, max_size=5),
    identity=st.binary(max_size=40),
    code=st.none() | tokens(256),
    source=tokens(255).filter(str.isprintable),
)
def test_requests_fit_the_schema_of_their_line(
    line: AdcpVersion, drawn: list[Any], identity: bytes, code: str | None, source: str
) -> None:
    """Whatever events, test code and event source: the request is as its line has it."""
    agent, listener = listening(line, source)
    taken = [event.json for event in drawn if agent.check(json.loads(event.json)) is None]
    if taken:
        assert isinstance(agent.send(Batch(taken, identity, code)), Delivered)
        assert {name for name, _ in listener.calls} == {"get_adcp_capabilities", "log_event"}
    for name, arguments in listener.calls:
        assert objections(name, line, arguments) == []
        assert arguments.get("adcp_version") == (None if line == "3.0" else line)


names = tokens(255).filter(str.isprintable)
domains = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,6}){1,2}", fullmatch=True)
surfaces = st.none() | st.fixed_dictionaries(
    {"category": st.sampled_from(SurfaceCategory).map(lambda word: word.value)},
    optional={"namespace": tokens(128)},
)
event_sources = st.builds(
    EventSource,
    event_source_id=names,
    name=names,
    event_types=st.lists(st.sampled_from(EventType), max_size=4, unique=True),
    allowed_domains=st.lists(domains, max_size=3),
    action_source=st.none() | st.sampled_from(ActionSource),
    surface=surfaces,
    value_currencies=st.lists(st.sampled_from(["EUR", "USD", "JPY"]), max_size=3, unique=True),
)
accounts = st.one_of(
    st.builds(Account, account_id=names), st.builds(Account, brand=domains, operator=domains)
)


@pytest.mark.parametrize("line", ["3.0", "3.1", "3.2"])
@thoroughly(20)
@given(
    wanted=st.lists(event_sources, min_size=1, max_size=4, unique_by=lambda s: s.event_source_id),
    account=accounts,
    delete=st.booleans(),
)
def test_requests_for_event_sources_fit_the_schema_of_their_line(
    line: AdcpVersion,
    wanted: list[EventSource],
    account: Account,
    delete: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever sources and account: syncing and listing are as the line has them."""
    agent, listener = listening(line)
    types = {kind for source in wanted for kind in source.event_types}
    too_new = line == "3.0" and not types.isdisjoint(NEWER_EVENT_TYPES)
    (synced,) = sync_sources([agent], wanted, account, delete_missing=delete)
    (listed,) = list_sources([agent], account)
    assert (bool(synced.problem), listed.problem) == (too_new, None)
    asked = [arguments for name, arguments in listener.calls if name == "sync_event_sources"]
    assert len(asked) == (1 if too_new else 2)
    for arguments in asked:
        assert objections("sync_event_sources", line, arguments) == []
