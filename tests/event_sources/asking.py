"""Destinations whose sellers are asked about event sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adcp_tracker import Agent, Interchange
from adcp_tracker.event_sources.model import Account
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox

ACCOUNT = Account(account_id=ADVERTISER)


def interchange(seller: Sandbox, **more: Any) -> Interchange:  # noqa: ANN401 - settings differ
    """Return a destination over REST."""
    known: dict[str, Any] = {"advertiser_id": ADVERTISER, "api_key": TOKEN, "base_url": seller.url}
    return Interchange(**(known | {"event_source_id": SOURCE} | more))


def agent(seller: Sandbox, **more: Any) -> Agent:  # noqa: ANN401 - settings differ
    """Return a destination over MCP."""
    return Agent(**({"url": seller.mcp_url, "event_source_id": SOURCE, "token": TOKEN} | more))
