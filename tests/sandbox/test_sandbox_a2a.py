"""The local seller speaks A2A, and MCP without sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adcp_tracker import Agent, Tracker
from adcp_tracker.destinations.base import Batch, Paused, Rejected
from tests.support.seller import SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


def agent(seller: Sandbox, path: str, **settings: Any) -> Agent:  # noqa: ANN401 - settings differ
    """Return an agent's destination at a path of the seller."""
    given = {"event_source_id": SOURCE, "token": TOKEN, **settings}
    return Agent(url=f"{seller.origin}{path}", **given)


@pytest.mark.parametrize("protocol", ["a2a", None])
def test_a_purchase_arrives_over_a2a(protocol: Any, tmp_path: Path) -> None:  # noqa: ANN401 - a literal
    """Also where the protocol has to be found out by the card."""
    with run_seller() as seller:
        destination = agent(seller, "/a2a", protocol=protocol)
        with Tracker([destination], directory=tmp_path, handle_sigterm=False) as tracker:
            tracker.track_purchase({"id": "A-1", "total": "5.00", "currency": "EUR"})
            total = tracker.flush(20.0).total()
    assert (total.delivered, total.dead, total.pending) == (1, 0, 0)


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [({}, Rejected), ({"token": "wrong"}, Paused), ({"event_source_id": "none"}, Paused)],
)
def test_what_is_refused_over_a2a_is_told(settings: dict[str, Any], outcome: type) -> None:
    """An invalid event, a wrong token and an unknown event source."""
    with run_seller() as seller:
        destination = agent(seller, "/a2a", protocol="a2a", **settings)
        answer = destination.send(Batch([b'{"event_id":5}'], b"i"))
        destination.close()
    assert isinstance(answer, outcome)


@pytest.mark.parametrize("stateless", [None, True])
def test_mcp_without_sessions_is_spoken(tmp_path: Path, *, stateless: bool | None) -> None:
    """Beside the older revisions, or alone."""
    with run_seller(stateless=stateless) as seller:
        destination = agent(seller, "/mcp")
        with Tracker([destination], directory=tmp_path, handle_sigterm=False) as tracker:
            tracker.track_purchase({"id": "A-1", "total": "5.00", "currency": "EUR"})
            total = tracker.flush(20.0).total()
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/list",
        }
        asked = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {}}
        answer = httpx.post(f"{seller.origin}/mcp", json=asked, headers=headers)
    assert (total.delivered, total.dead) == (1, 0)
    assert answer.json()["error"]["code"] == -32001  # the headers name another method
