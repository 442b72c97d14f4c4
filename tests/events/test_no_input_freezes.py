"""No value of an event takes a request's time, however large or deep it is."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from adcp_tracker.events.builder import build_event
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW

SIZE = 100_000
DEEP: Any = "x"
for _ in range(10_000):
    DEEP = [DEEP]
TEXTS = {
    "letters": "x" * SIZE,
    "digits": "9" * SIZE,
    "blanks": " " * SIZE,
    "accents": "ä" * SIZE,
    "surrogates": "\ud83c" * SIZE,
    "brackets": "https://a.example/" + "[a" * (SIZE // 2),
    "percents": "https://a.example/" + "%[" * (SIZE // 2),
    "dots": "https://" + "a." * (SIZE // 2),
    "at signs": "https://" + "@" * SIZE,
    "hashes": "https://a.example/" + "#" * SIZE,
    "colons": ":" * SIZE,
    "address": "a." * (SIZE // 2) + "@b.example",
    "number": "+44" + "(0)" * (SIZE // 3),
    "time": "2026-01-01T00:00:00." + "0" * SIZE,
}
NUMBERS = {
    "large exponent": Decimal("1E+1000000"),
    "small exponent": Decimal("1E-1000000"),
    "zero of many digits": Decimal("0E+1000000"),
    "many digits": Decimal("1." + "1" * SIZE),
    "large integer": 10**SIZE,
}
LISTS: dict[str, Any] = {
    "deep": DEEP,
    "numbers": list(range(SIZE // 2)),
    "lines": [{"id": "x"}] * (SIZE // 10),
    "keys": {f"key{number}": number for number in range(SIZE // 10)},
}
FIELDS = [
    "event_id",
    "event_time",
    "email",
    "phone",
    "uids",
    "click_id",
    "client_ip",
    "client_user_agent",
    "event_source_url",
    "custom_event_name",
    "ext",
]
DATA = [
    "value",
    "currency",
    "order_id",
    "contents",
    "content_ids",
    "num_items",
    "search_string",
    "key",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TEXTS, *NUMBERS, *LISTS])
def test_no_value_takes_longer_than_a_moment(name: str) -> None:
    """Whatever field holds it, an event is made or rejected within 50 ms of processor time."""
    value: Any = {**TEXTS, **NUMBERS, **LISTS}[name]
    calls: list[dict[str, Any]] = [{field: value} for field in FIELDS]
    calls += [{"custom_data": {field: value}} for field in DATA]
    build_event("purchase", now=NOW, phone="+44 20 7946 0958", event_id="1", default_region="GB")
    slow = {}
    for details in calls:
        for strict in (True, False):
            spent = min(_spent(details, strict=strict) for _ in range(3))
            if spent > 0.05:
                slow[str(details)[:40]] = spent
    assert slow == {}


def _spent(details: dict[str, Any], *, strict: bool) -> float:
    start = time.thread_time()
    try:
        build_event("purchase", now=NOW, strict=strict, **details)
    except InvalidEventError as error:
        assert len(str(error)) < SIZE  # noqa: PT017 - either way
    return time.thread_time() - start
