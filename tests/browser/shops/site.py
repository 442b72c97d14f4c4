"""What the shops in a browser are made of, but for their framework.

Each is the same few pages on another framework, so that a test runs against all of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from adcp_tracker.web.consent import ConsentCookie, GoogleConsentMode, TcfConsent

if TYPE_CHECKING:
    from adcp_tracker import Tracker
    from adcp_tracker.web.consent import ConsentReader

CACHED = {"Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
"""What a page says that any cache may keep."""

READERS: dict[str, ConsentReader] = {
    "cookie": ConsentCookie("marketing"),
    "tcf": TcfConsent(),
    "google": GoogleConsentMode("consent_state"),
}

_HEAD = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'

HOME = f"""{_HEAD}<title>Home</title>
<h1>Mugs</h1>
<p><a id="about" href="/about">About</a> <a id="product" href="/product/1#reviews">A mug</a>
<form method="post" action="/buy/o-1"><button id="buy">Buy</button></form>"""

ABOUT = f"""{_HEAD}<title>About</title><h1>About</h1><a id="home" href="/">Home</a>"""

CART = f"""{_HEAD}<title>Cart</title><h1>Cart</h1><button id="pay">Pay</button>
<script>
document.getElementById("pay").onclick = async () => {{
  const answer = await fetch("/buy/o-2?step=2", {{method: "POST"}});
  document.title = await answer.text();
}};
</script>"""

AHEAD = {
    "link": f"""{_HEAD}<title>Ahead</title><link rel="prefetch" href="/product/2">
<a id="go" href="/product/2">On</a>""",
    "prefetch": f"""{_HEAD}<title>Ahead</title><script type="speculationrules">
{{"prefetch": [{{"source": "list", "urls": ["/product/2"], "eagerness": "immediate"}}]}}
</script><a id="go" href="/product/2">On</a>""",
    "prerender": f"""{_HEAD}<title>Ahead</title><script type="speculationrules">
{{"prerender": [{{"source": "list", "urls": ["/product/2"], "eagerness": "immediate"}}]}}
</script><a id="go" href="/product/2">On</a>""",
}

_seen: list[list[str]] = []


def options() -> dict[str, Any]:
    """Return the options of the shop's tracker; the rest comes from ``ADCP_*``."""
    reader = READERS.get(os.environ.get("SHOP_CONSENT", ""))
    return {"consent": reader, "trusted_proxies": ["127.0.0.0/8"]}


def product(tracker: Tracker, number: int, purpose: str) -> str | None:
    """Show a product, and track that it was looked at.

    Args:
        tracker: The shop's.
        number: Which product.
        purpose: What the browser says it wants the page for.

    Returns:
        The page; ``None`` if there is none for a browser that only fetches ahead.
    """
    _seen.append([f"/product/{number}", purpose])
    if purpose and os.environ.get("SHOP_AHEAD") == "declined":
        return None
    tracker.track_view_content(key=f"{number}/{os.getpid()}/{len(_seen)}")
    return f"{_HEAD}<title>Product {number}</title><h1>Mug {number}</h1>"


def sell(tracker: Tracker, order_id: str) -> str:
    """Sell one thing."""
    order = {"id": order_id, "total": "12.50", "currency": "EUR", "email": "alice@example.com"}
    return f"Bought {tracker.track_purchase(order).event_id}"


def bought(text: str) -> str:
    """Return the page that thanks for an order."""
    return f"{_HEAD}<title>{text}</title><h1>Thank you</h1>"


def seen() -> list[list[str]]:
    """Return which products were asked for, and what for."""
    return _seen
