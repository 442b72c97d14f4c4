"""The shop export that the demo sends."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import adcp_tracker.cli
from adcp_tracker.cli.demo import demo_orders
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.events import purchase_event
from adcp_tracker.orders.reader import to_order

EXPORT = Path(adcp_tracker.cli.__file__).with_name("demo_orders.csv")


def faulty_paths(order: dict[str, Any]) -> list[str]:
    """Return where the library finds fault with an order."""
    now = datetime.now(timezone.utc)
    try:
        region = order.get("country")
        purchase_event(to_order(order), now=now, default_region=region, strict=True)
    except InvalidEventError as error:
        return [fault.path for fault in error.errors]
    return []


def test_orders_are_many_and_their_lines_are_right() -> None:
    """Each of the few hundred orders is named by the line it begins on."""
    orders = list(demo_orders())
    assert 280 <= len(orders) <= 320
    text = EXPORT.read_text(encoding="utf-8").splitlines()
    for line, order in orders:
        assert order["items"][0]["id"] in text[line - 1]
        assert text[line - 1].startswith(order.get("order_id", ","))


def test_currencies_are_varied() -> None:
    """The shop sells in currencies with none, two and three decimals."""
    currencies = Counter(order.get("currency") for _, order in demo_orders())
    assert {"GBP", "EUR", "USD", "SEK", "JPY", "KWD"} <= currencies.keys()


def test_wrong_rows_are_wrong_in_many_ways() -> None:
    """Some twenty orders are refused, for reasons in every part of an order."""
    reasons = [path for _, order in demo_orders() for path in faulty_paths(order)]
    assert 15 <= len(reasons) <= 30
    assert {re.sub(r"\[\d+\]", "[]", path) for path in reasons} == {
        "$.event_id",
        "$.event_time",
        "$.user_match.hashed_email",
        "$.user_match.hashed_phone",
        "$.custom_data.value",
        "$.custom_data.currency",
        "$.custom_data.contents[].price",
        "$.custom_data.contents[].quantity",
    }


def test_some_orders_were_exported_twice() -> None:
    """An export run twice has the same order in two places."""
    ids = Counter(order["order_id"] for _, order in demo_orders() if "order_id" in order)
    assert sum(number > 1 for number in ids.values()) >= 2


def test_people_are_made_up() -> None:
    """Every address lies in a domain, and every number in a range, kept for examples."""
    reserved = re.compile(
        r"0?20794600*\d{3}|0?7700900\d{3}|0?1134960\d{3}|0?1614960\d{3}|\d{3}55501\d\d|55501\d\d"
        r"|0?3023125\d{3}|0?1713920\d{3}|0?63998\d{4}|0?19900\d{4}|0?7017406\d\d|0?846500\d{3}"
        r"|0?49157\d{4}"
    )
    for _, order in demo_orders():
        domains = re.findall(r"@([\w.-]*)", order.get("email", ""))
        assert all(re.fullmatch(r"(?i)|example\.(com|org|net)|\w+\.example", d) for d in domains)
        digits = re.sub(r"\(0\)|\D", "", order.get("phone", ""))
        national = re.sub(r"^(00)?(44|49|33|46|61)(?=\d{9})|^1(?=\d{10})", "", digits)
        assert not digits or reserved.fullmatch(national), order["phone"]
