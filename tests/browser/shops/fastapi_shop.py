"""The shop on FastAPI."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Header
from fastapi.responses import HTMLResponse, JSONResponse

from adcp_tracker_fastapi import AdcpTracker, TrackerDep
from tests.browser.shops import site

app = FastAPI(default_response_class=HTMLResponse)
AdcpTracker(app, **site.options())


@app.get("/")
async def home() -> str:
    """Show where shoppers land."""
    return site.HOME


@app.get("/health")
async def health() -> str:
    """Say that requests are served."""
    return "well"


@app.get("/about")
async def about() -> HTMLResponse:
    """Show a page that any cache may keep."""
    return HTMLResponse(site.ABOUT, headers=site.CACHED)


@app.get("/cart")
async def cart() -> str:
    """Show a page whose script buys."""
    return site.CART


@app.get("/ahead/{kind}")
async def ahead(kind: str) -> str:
    """Show a page that has the next one fetched ahead."""
    return site.AHEAD[kind]


@app.get("/product/{number}")
async def product(
    number: int, tracker: TrackerDep, sec_purpose: Annotated[str, Header()] = ""
) -> HTMLResponse:
    """Show a product."""
    page = site.product(tracker, number, sec_purpose)
    return HTMLResponse("", 503) if page is None else HTMLResponse(page)


@app.post("/buy/{order_id}")
async def buy(order_id: str, tracker: TrackerDep) -> str:
    """Sell one thing."""
    return site.bought(site.sell(tracker, order_id))


@app.get("/seen", response_class=JSONResponse)
async def seen() -> list[list[str]]:
    """Tell which products were asked for."""
    return site.seen()
