"""The purchase of an order as it is, against the one with a field of the caller's."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.context import RequestContext
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.events import purchase_event
from adcp_tracker.orders.reader import Order, OrderItem
from tests.support.events import NOW, addresses, amounts, optional, texts, tokens, urls

if TYPE_CHECKING:
    from adcp_tracker.events.event import Event

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        "",
        "a\nb",
        'a"b',
        "\ud800",
        "x" * 600,
        b"x",
        True,
        0,
        -1,
        2.5,
        Decimal("NaN"),
        None,
        [],
        {},
        (),
    ]
)


def rarely_odd(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make mostly values, and now and then something else."""
    return st.one_of(values, values, values, values, ODD)


emails = st.sampled_from(["alice@example.com", " Bob@Example.COM ", "jürgen@müller.example", "x"])
phones = st.sampled_from(["+12065551234", "020 7946 0958", "+44 20 7946 0958", "n/a"])
items = st.builds(
    OrderItem,
    id=rarely_odd(tokens(256)),
    quantity=rarely_odd(st.integers(1, 99)),
    price=rarely_odd(optional(amounts)),
    brand=rarely_odd(optional(texts)),
    name=rarely_odd(optional(texts)),
)
orders = st.builds(
    Order,
    order_id=rarely_odd(tokens(256)),
    total=rarely_odd(optional(amounts)),
    currency=rarely_odd(st.sampled_from(["EUR", "JPY", "KWD", "XXX"])),
    items=rarely_odd(st.lists(items, max_size=3)),
    email=rarely_odd(optional(emails)),
    phone=rarely_odd(optional(phones)),
    created_at=rarely_odd(
        st.sampled_from(
            [
                None,
                NOW,
                NOW.replace(microsecond=0),
                NOW.replace(microsecond=5000),
                NOW.astimezone(timezone(timedelta(hours=2))),
                datetime(2026, 1, 1),  # noqa: DTZ001 - naive on purpose
            ]
        )
    ),
    client_ip=rarely_odd(optional(addresses)),
    client_user_agent=rarely_odd(optional(texts)),
    event_source_url=rarely_odd(optional(urls)),
    click_id=rarely_odd(optional(tokens(512))),
    click_id_type=rarely_odd(optional(tokens(64))),
    custom=st.sampled_from([{}, {"coupon": "X"}]),
) | st.builds(Order, tokens(256), amounts, st.just("EUR"), st.lists(items, max_size=3), emails)
contexts = optional(
    st.builds(
        RequestContext,
        client_ip=optional(addresses),
        client_user_agent=optional(st.just("Firefox")),
        event_source_url=optional(urls),
        click_id=optional(st.just("click")),
        click_id_type=optional(st.just("gclid")),
    )
)


def long_way(order: Order, context: RequestContext | None, region: str | None) -> Event:
    """Make a purchase with a field of its own, so that its values pass no quick check."""
    event_time = NOW if order.created_at is None else order.created_at
    return purchase_event(
        order, now=NOW, context=context, default_region=region, event_time=event_time
    )


@settings(deadline=None)  # The first number that has to be read imports a large package.
@given(orders, contexts, st.sampled_from([None, "GB"]))
def test_a_purchase_is_what_the_long_way_makes_of_it(
    order: Order, context: RequestContext | None, region: str | None
) -> None:
    """Whichever way is taken, the event is the same, or is refused for the same faults."""
    try:
        event = long_way(order, context, region)
    except InvalidEventError as refused:
        with pytest.raises(InvalidEventError) as caught:
            purchase_event(order, now=NOW, context=context, default_region=region)
        assert {*map(str, caught.value.errors)} == {*map(str, refused.errors)}  # noqa: PT017 - either way
    else:
        made = purchase_event(order, now=NOW, context=context, default_region=region)
        assert made.json == event.json
        assert made.is_baseline == event.is_baseline
        assert made == event
