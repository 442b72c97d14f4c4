"""The shop of ``adcp-tracker demo --shop``: FastAPI behind the real middleware."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from adcp_tracker.web.consent import ConsentCookie
from adcp_tracker_fastapi import AdcpTracker, TrackerDep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adcp_tracker.destinations.base import Destination

PRODUCTS: Final = {
    "MUG": ("Stoneware mug", Decimal("23.40")),
    "KETTLE": ("Gooseneck kettle", Decimal("138.25")),
    "BEANS": ("Espresso beans, 1 kg", Decimal("21.90")),
}
CURRENCY: Final = "EUR"
_CONSENT: Final = "consent"
_CART: Final = "cart"
_LAYOUT: Final = Template(
    files("adcp_tracker.cli").joinpath("templates", "shop.html").read_text(encoding="utf-8")
)


_numbers: Final = itertools.count(int(time.time()))
router = APIRouter(default_response_class=HTMLResponse)


def make_shop(directory: str, destinations: Iterable[Destination], page: str) -> FastAPI:
    """Return the shop.

    Args:
        directory: The queue.
        destinations: Where its events go.
        page: The address of the seller's page, to link to.
    """
    app = FastAPI(openapi_url=None)
    AdcpTracker(
        app,
        directory=directory,
        destinations=list(destinations),
        consent=ConsentCookie(_CONSENT),
        flush_interval=0.2,
    )
    app.state.orders = {}
    app.state.page = page
    app.include_router(router)
    return app


@router.get("/")
async def home(request: Request, tracker: TrackerDep) -> HTMLResponse:
    """Show all products."""
    tracker.track_page_view()
    items = "".join(_product(sku) for sku in PRODUCTS)
    return _render(request, "Products", f"<ul>{items}</ul>", "Tracked: <code>page_view</code>.")


@router.get("/product/{sku}")
async def product(sku: str, request: Request, tracker: TrackerDep) -> HTMLResponse:
    """Show one product."""
    name, price = PRODUCTS[sku]
    tracker.track_view_content(custom_data={"content_ids": [sku]})
    body = f"<p>{escape(name)} for {price} {CURRENCY}</p>{_add_button(sku)}"
    return _render(request, name, body, "Tracked: <code>view_content</code>.")


@router.post("/add/{sku}")
async def add(sku: str, request: Request, tracker: TrackerDep) -> RedirectResponse:
    """Put a product into the cart."""
    _, price = PRODUCTS[sku]
    data = {"value": price, "currency": CURRENCY, "content_ids": [sku]}
    tracker.track_add_to_cart(custom_data=data)
    response = RedirectResponse("/cart", 303)
    response.set_cookie(_CART, ".".join([*_cart(request), sku]), samesite="lax")
    return response


@router.get("/cart")
async def cart(request: Request, tracker: TrackerDep) -> HTMLResponse:
    """Show the cart."""
    tracker.track_viewed_cart()
    skus = _cart(request)
    if not skus:
        return _render(request, "Cart", "<p>It is empty.</p>", "Tracked: viewed_cart.")
    items = "".join(f"<li>{escape(PRODUCTS[sku][0])} {PRODUCTS[sku][1]}</li>" for sku in skus)
    body = (
        f"<ul>{items}</ul><form method='post' action='/buy'>"
        "<label>E-mail <input name='email' type='email' value='alice@example.com'></label>"
        f"<button id='buy'>Buy for {_total(skus)} {CURRENCY}</button></form>"
    )
    told = "Tracked: <code>add_to_cart</code> and <code>viewed_cart</code>."
    return _render(request, "Cart", body, told)


@router.post("/buy")
async def buy(request: Request, tracker: TrackerDep) -> RedirectResponse:
    """Place an order."""
    skus = _cart(request)
    order: dict[str, object] = {
        "id": f"SHOP-{next(_numbers)}",
        "total": _total(skus),
        "currency": CURRENCY,
        "email": (await _form(request)).get("email", ""),
        "items": [{"sku": sku, "quantity": 1, "price": PRODUCTS[sku][1]} for sku in skus],
    }
    request.app.state.orders[order["id"]] = order
    tracker.track_purchase(order)
    response = RedirectResponse(f"/thanks/{order['id']}", 303)
    response.delete_cookie(_CART)
    return response


@router.get("/thanks/{order_id}")
async def thanks(order_id: str, request: Request) -> HTMLResponse:
    """Show an order."""
    if order_id not in request.app.state.orders:
        return HTMLResponse("No such order.", 404)
    body = (
        f"<p>Order {escape(order_id)}</p><form method='post' action='/refund/{order_id}'>"
        "<button id='refund'>Refund it</button></form>"
    )
    return _render(request, "Thank you", body, "Tracked: <code>purchase</code>.")


@router.post("/refund/{order_id}")
async def refund(order_id: str, request: Request, tracker: TrackerDep) -> HTMLResponse:
    """Refund an order."""
    if order_id not in request.app.state.orders:
        return HTMLResponse("No such order.", 404)
    tracker.track_refund(request.app.state.orders[order_id], refund_id=f"{order_id}-R")
    return _render(request, "Refunded", "<p>Done.</p>", "Tracked: <code>refund</code>.")


@router.post("/consent")
async def consent(request: Request) -> RedirectResponse:
    """Remember whether the shopper allows tracking, and load the page again.

    The page's URL may have a click id, which is only used with consent.
    """
    referer = urlsplit(request.headers.get("referer", ""))
    back = "/" if referer.path.startswith(("/refund", "//")) else referer.path or "/"
    response = RedirectResponse(f"{back}?{referer.query}" if referer.query else back, 303)
    response.set_cookie(_CONSENT, (await _form(request)).get("answer", "no"), samesite="lax")
    return response


def _render(request: Request, title: str, body: str, told: str) -> HTMLResponse:
    answer = request.cookies.get(_CONSENT, "")
    html = _LAYOUT.substitute(
        title=escape(title),
        body=body,
        told=told,
        page=escape(request.app.state.page),
        count=len(_cart(request)),
        consent={"yes": "allowed", "no": "refused"}.get(answer, "not asked"),
    )
    return HTMLResponse(html)


def _cart(request: Request) -> list[str]:
    return [sku for sku in request.cookies.get(_CART, "").split(".") if sku in PRODUCTS]


def _total(skus: Iterable[str]) -> Decimal:
    return sum((PRODUCTS[sku][1] for sku in skus), Decimal(0))


def _product(sku: str) -> str:
    name, price = PRODUCTS[sku]
    link = f'<a href="/product/{sku}">{escape(name)}</a>'
    return f"<li><span>{link} {price} {CURRENCY}</span>{_add_button(sku)}</li>"


def _add_button(sku: str) -> str:
    button = f'<button id="add-{sku}">Add to cart</button>'
    return f'<form method="post" action="/add/{sku}">{button}</form>'


async def _form(request: Request) -> dict[str, str]:
    fields = parse_qs((await request.body()).decode(errors="replace"))
    return {name: values[0] for name, values in fields.items()}
