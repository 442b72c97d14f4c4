"""The shop of ``adcp-tracker demo --shop``, without a browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from adcp_tracker.cli.demo_shop import make_shop
from adcp_tracker.testing import RecordingDestination, capture_events

if TYPE_CHECKING:
    from pathlib import Path


async def _walk(client: httpx.AsyncClient) -> list[str]:
    pages = [
        await client.get("/?gclid=Cj0-1"),
        await client.post("/consent", data={"answer": "yes"}),
        await client.get("/?gclid=Cj0-1"),
        await client.get("/product/MUG"),
        await client.post("/add/MUG"),
        await client.post("/add/BEANS"),
        await client.get("/cart"),
        await client.post("/buy", data={"email": "bob@example.com"}),
        await client.get("/cart"),
    ]
    number = str(pages[7].url).rpartition("/")[2]
    pages += [await client.post(f"/refund/{number}"), await client.get("/thanks/other")]
    pages.append(await client.post("/refund/other"))
    return [page.text for page in pages]


def test_each_step_of_the_shop_is_tracked(tmp_path: Path) -> None:
    """From landing with a click id to the refund; the shop names what it tracked."""
    app = make_shop(str(tmp_path / "queue"), [RecordingDestination()], "http://127.0.0.1:1/")

    async def walk() -> list[str]:
        transport = httpx.ASGITransport(app=app, client=("203.0.113.9", 1))
        settings = {"base_url": "http://shop", "follow_redirects": True}
        async with httpx.AsyncClient(transport=transport, **settings) as client:  # type: ignore[arg-type]
            return await _walk(client)

    with capture_events() as events:
        pages = asyncio.run(walk())

    kinds = [event.event_type for event in events]
    assert kinds[-3:] == ["purchase", "viewed_cart", "refund"]
    purchase = events.assert_tracked("purchase", value="45.30", email="bob@example.com")
    assert purchase.user_match.click_id == "Cj0-1"  # type: ignore[union-attr]
    assert {"page_view", "view_content", "add_to_cart"} <= set(kinds)
    assert "Buy for 45.30 EUR" in pages[6]
    assert "It is empty." in pages[8]
    assert pages[-2:] == ["No such order.", "No such order."]
