"""The shop on Flask."""

from __future__ import annotations

from flask import Flask, request
from flask.typing import ResponseReturnValue  # noqa: TC002 - named in annotations of views

from adcp_tracker_flask import AdcpTracker, get_tracker
from tests.browser.shops import site

app = Flask(__name__)
AdcpTracker(app, **site.options())


@app.get("/")
def home() -> str:
    """Show where shoppers land."""
    return site.HOME


@app.get("/health")
def health() -> str:
    """Say that requests are served."""
    return "well"


@app.get("/about")
def about() -> ResponseReturnValue:
    """Show a page that any cache may keep."""
    return site.ABOUT, site.CACHED


@app.get("/cart")
def cart() -> str:
    """Show a page whose script buys."""
    return site.CART


@app.get("/ahead/<kind>")
def ahead(kind: str) -> str:
    """Show a page that has the next one fetched ahead."""
    return site.AHEAD[kind]


@app.get("/product/<int:number>")
def product(number: int) -> ResponseReturnValue:
    """Show a product."""
    purpose = request.headers.get("Sec-Purpose", "")
    page = site.product(get_tracker(), number, purpose)
    return ("", 503) if page is None else page


@app.post("/buy/<order_id>")
def buy(order_id: str) -> str:
    """Sell one thing."""
    return site.bought(site.sell(get_tracker(), order_id))


@app.get("/seen")
def seen() -> ResponseReturnValue:
    """Tell which products were asked for."""
    return site.seen()
