"""Orders that are Django models: what is loaded is read, and nothing optional is queried."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils.translation import gettext_lazy

from adcp_tracker import register_order
from adcp_tracker.orders.reader import to_order

if TYPE_CHECKING:
    from adcp_tracker import Order

pytestmark = pytest.mark.usefixtures("database")


class ShopOrder(models.Model):
    """An order as most shops write it: texts are blank, not null."""

    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=30, blank=True)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="EUR")
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        """The folder's app."""

        app_label = "shop"

    def __str__(self) -> str:
        return str(self.pk)


class Line(models.Model):
    """A line."""

    order = models.ForeignKey(ShopOrder, related_name="items", on_delete=models.CASCADE)
    sku = models.CharField(max_length=30, blank=True)
    quantity = models.IntegerField(default=1)
    price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        """The folder's app."""

        app_label = "shop"

    def __str__(self) -> str:
        return str(self.sku)


class RegisteredOrder(ShopOrder):
    """The same order, of a class that is told where the address is."""

    class Meta:
        """The same table."""

        app_label = "shop"
        proxy = True

    def __str__(self) -> str:
        return str(self.pk)


register_order(RegisteredOrder, email="user.email")


def saved(**fields: object) -> int:
    """Keep an order of Alice's with one line; return its key."""
    alice, _ = User.objects.get_or_create(username="alice", email="alice@example.com")
    order = ShopOrder.objects.create(total=Decimal("59.90"), user=alice, **fields)
    Line.objects.create(order=order, sku="MUG-01", quantity=2, price=Decimal("29.95"))
    return int(order.pk)


async def read_in_coroutine(order: object) -> Order:
    """Read an order as an asynchronous view does."""
    return to_order(order)


def test_a_blank_address_gives_way_to_the_users() -> None:
    """Members and guests have their addresses in different places."""
    order = to_order(ShopOrder.objects.get(pk=saved()))

    assert order.email == "alice@example.com"
    assert [line.id for line in order.items or ()] == ["MUG-01"]


def test_an_order_with_an_address_queries_its_lines_alone() -> None:
    """No phone number is worth a query on the way of a checkout."""
    order = ShopOrder.objects.get(pk=saved(email="bob@example.com"))

    with CaptureQueriesContext(connection) as queries:
        read = to_order(order)

    assert read.email == "bob@example.com"
    assert len(queries) == 1


def test_what_is_loaded_is_read_without_a_query() -> None:
    """Also in a coroutine, where a query would raise."""
    key = saved()
    rows = ShopOrder.objects.select_related("user").prefetch_related("items")
    order, again = rows.get(pk=key), rows.get(pk=key)

    with CaptureQueriesContext(connection) as queries:
        read = to_order(order)
    in_coroutine = asyncio.run(read_in_coroutine(again))

    assert not queries.captured_queries
    assert read == in_coroutine
    assert read.email == "alice@example.com"
    assert [line.id for line in read.items or ()] == ["MUG-01"]


def test_in_a_coroutine_what_is_not_loaded_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The purchase goes with what the order itself has."""
    order = ShopOrder.objects.get(pk=saved(phone="+442079460958"))

    with caplog.at_level(logging.WARNING, "adcp_tracker"):
        read = asyncio.run(read_in_coroutine(order))

    assert (read.total, read.phone, read.email) == (Decimal("59.90"), "+442079460958", None)
    assert read.items == ()


def test_deferred_fields_stay_deferred() -> None:
    """But for the id, the total and the currency, without which there is no purchase."""
    key = saved(email="bob@example.com")
    order = ShopOrder.objects.only("id", "total", "email").get(pk=key)

    with CaptureQueriesContext(connection) as queries:
        read = to_order(order)

    assert (read.email, read.currency, read.phone) == ("bob@example.com", "EUR", None)
    assert len(queries) == 2  # the currency, and the lines


def test_a_path_that_is_named_may_be_loaded() -> None:
    """register_order is how a shop says that a query is worth it."""
    key = saved(phone="+442079460958")
    order = RegisteredOrder.objects.get(pk=key)

    assert to_order(order).email == "alice@example.com"


def test_an_unsaved_order_has_no_id_and_no_lines() -> None:
    """Its manager of lines raises, which costs nothing else."""
    order = to_order(ShopOrder(total=Decimal("5.00"), email="bob@example.com"))

    assert [order.order_id, order.items, order.email] == [None, (), "bob@example.com"]


def test_a_translated_name_is_text() -> None:
    """A lazy translation is read in the language that is active."""
    line = {"sku": "A", "quantity": 1, "price": "1", "name": gettext_lazy("Mug")}
    order = to_order({"id": "1", "total": "1.00", "currency": "EUR", "items": [line]})

    assert [each.name for each in order.items or ()] == ["Mug"]
