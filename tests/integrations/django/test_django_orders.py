"""Orders that are models: nothing optional runs a query, in whichever kind of view."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connections

from adcp_tracker_django import get_tracker
from tests.integrations.django.shop.models import Sale, SaleLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adcp_tracker.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("site", "database")

ALICE = "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"


@pytest.fixture
def _no_sales() -> Iterator[None]:
    yield
    Sale.objects.all().delete()


def save_sale(email: str = "") -> int:
    """Save a sale of Alice's with a line, and return its key."""
    alice = User.objects.create(username="alice", email="alice@example.com")
    sale = Sale.objects.create(customer=alice, email=email, total=Decimal("59.90"), currency="EUR")
    SaleLine.objects.create(sale=sale, sku="MUG", quantity=1, price=Decimal("59.90"))
    return int(sale.pk)


def refuse_query(*_: object) -> Any:  # noqa: ANN401 - Django has no types
    """Stand in for a query that must not be run."""
    raise AssertionError("expected no query")


CALLS: dict[str, Callable[[Sale], object]] = {
    "purchase": lambda sale: get_tracker().track_purchase(sale),
    "refund": lambda sale: get_tracker().track_refund(sale, refund_id="R-1"),
    "lead": lambda sale: get_tracker().track_lead(str(sale.pk), email=sale.email),
}


@pytest.mark.usefixtures("_no_sales")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_relation_is_loaded_for_an_event(
    kind: str, name: str, seller: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the customer nor the lines: a query would wait, and in async code it raises."""
    sale = Sale.objects.get(pk=save_sale("alice@example.com"))
    call = CALLS[name]

    async def view() -> None:
        call(sale)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(refuse_query))
        if kind == "async":
            asyncio.run(view())
        else:
            call(sale)
    get_tracker().flush(10)
    seller.wait_for(1)
    assert seller.events[0]["user_match"]["hashed_email"] == ALICE
    assert "SynchronousOnlyOperation" not in caplog.text
    assert "event.invalid" not in caplog.text


@pytest.mark.usefixtures("_no_sales")
def test_relations_that_are_loaded_are_read(seller: Sandbox) -> None:
    """What ``select_related`` and ``prefetch_related`` fetched costs nothing more."""
    sales = Sale.objects.select_related("customer").prefetch_related("lines")
    sale = sales.get(pk=save_sale())

    async def view() -> None:
        get_tracker().track_purchase(sale)

    asyncio.run(view())
    get_tracker().flush(10)
    seller.wait_for(1)
    (event,) = seller.events
    assert event["user_match"]["hashed_email"] == ALICE
    assert [line["id"] for line in event["custom_data"]["contents"]] == ["MUG"]
