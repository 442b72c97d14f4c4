"""Answers that point elsewhere: nobody goes there, and no credential does.

An httpx client that follows redirects takes ``Authorization`` off for another host, but
neither headers of one's own nor a body with hashed identities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Agent, Interchange
from adcp_tracker.destinations.base import Batch, Delivered, Paused
from adcp_tracker.event_sources.model import Account, EventSource
from adcp_tracker.event_sources.sync import list_sources, sync_sources
from tests.destinations.rawseller import answering, http, raw_seller
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.sandbox import Sandbox
    from tests.destinations.rawseller import RawSeller

    Shop = Interchange | Agent

STATUSES = (301, 302, 303, 307, 308)
WELCOME = http(200, b'{"data":{"events_received":1,"events_processed":1},"error":null}')
EVENT = (
    b'{"event_id":"order-1","event_type":"purchase","event_time":"2026-01-02T03:04:05Z",'
    b'"user_match":{"uids":[{"type":"other","value":"crm-1"}]},'
    b'"custom_data":{"value":12.5,"currency":"EUR"}}'
)
KINDS = ("interchange", "agent")
NEEDED = [("interchange", "log_event"), ("agent", "initialize"), ("agent", "log_event")]
SPARED = ["notifications/initialized", "tools/list"]


@pytest.fixture
def seller() -> Iterator[Sandbox]:
    """A seller whose answers point elsewhere."""
    with run_seller() as one:
        yield one


@pytest.fixture
def elsewhere() -> Iterator[RawSeller]:
    """Another host, which would take anything."""
    with raw_seller(answering(WELCOME)) as other:
        yield other


def _shop(kind: str, seller: Sandbox) -> Shop:
    if kind == "agent":
        return Agent(url=seller.mcp_url, event_source_id=SOURCE, token=TOKEN)
    return Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("kind", "call"), NEEDED)
def test_a_batch_follows_no_redirect_to_another_host(
    seller: Sandbox, elsewhere: RawSeller, kind: str, call: str, status: int
) -> None:
    """The other host hears nothing, and the batch waits until a person has seen to it."""
    shop = _shop(kind, seller)
    seller.fail(on=call, status=status, location=elsewhere.origin)
    outcome, later = [shop.send(Batch([EVENT], b"identity")) for _ in range(2)]
    shop.close()
    assert elsewhere.connections == 0
    assert isinstance(outcome, Paused)
    assert outcome.code == f"http_{status}"
    assert isinstance(later, Delivered)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("call", SPARED)
def test_what_an_agent_can_do_without_follows_no_redirect_either(
    seller: Sandbox, elsewhere: RawSeller, call: str, status: int
) -> None:
    """The other host hears nothing, and the seller gets the batch."""
    shop = _shop("agent", seller)
    seller.fail(on=call, status=status, location=elsewhere.origin)
    outcome = shop.send(Batch([EVENT], b"identity"))
    shop.close()
    assert elsewhere.connections == 0
    assert isinstance(outcome, Delivered)
    assert len(seller.events) == 1


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_of_event_sources_follows_no_redirect(
    seller: Sandbox, elsewhere: RawSeller, kind: str, status: int
) -> None:
    """Registering and listing say what is wrong, and the other host hears nothing."""
    shop, account = _shop(kind, seller), Account(account_id=ADVERTISER)
    seller.fail(on="*", times=None, status=status, location=elsewhere.origin)
    (synced,) = sync_sources([shop], [EventSource(event_source_id=SOURCE)], account)
    (listed,) = list_sources([shop], account)
    shop.close()
    assert elsewhere.connections == 0
    for report in (synced, listed):
        assert report.problem is not None
        assert str(status) in report.problem.message
