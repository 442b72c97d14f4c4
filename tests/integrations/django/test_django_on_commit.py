"""Events inside transactions: held until the commit, gone with a rollback."""

from __future__ import annotations

import threading
import unittest
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction
from django.test import TestCase

from adcp_tracker import QueueFullError
from adcp_tracker_django import get_tracker
from adcp_tracker_django.on_commit import run_on_commit
from tests.integrations.django.shop.models import Order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.sandbox import Sandbox
    from tests.integrations.django.conftest import Configure

pytestmark = pytest.mark.usefixtures("database")


class ChangedMindError(Exception):
    """Somebody rolls back."""


@contextmanager
def rolled_back(using: str = "default") -> Iterator[None]:
    """Open a transaction, or a savepoint in one, and roll it back."""
    with suppress(ChangedMindError), transaction.atomic(using):
        yield
        raise ChangedMindError


def buy(number: int, using: str = "default") -> None:
    """Keep an order, and track its purchase."""
    Order.objects.using(using).create(number=f"A-{number}")
    get_tracker().track_purchase({"order_id": f"A-{number}", "total": 1, "currency": "EUR"})


def bought(seller: Sandbox) -> list[str]:
    """Return what reached the seller, once everything has that will."""
    assert not get_tracker().flush(10).pending
    return [event["event_id"] for event in seller.events]


@pytest.mark.usefixtures("site")
def test_an_event_is_held_until_the_commit(seller: Sandbox) -> None:
    """While the transaction is open, nothing is on disk and nothing is sent."""
    with transaction.atomic():
        buy(1)
        assert not bought(seller)
        assert get_tracker().stats().total().accepted == 0
    assert bought(seller) == ["A-1"]


@pytest.mark.usefixtures("site")
def test_an_event_goes_with_its_rollback(seller: Sandbox) -> None:
    """An order that was never placed is never told of."""
    with rolled_back():
        buy(1)
    with transaction.atomic():
        buy(2)
        transaction.set_rollback(True)
    buy(3)
    assert bought(seller) == ["A-3"]
    assert list(Order.objects.values_list("number", flat=True)) == ["A-3"]


@pytest.mark.usefixtures("site")
def test_a_savepoint_takes_only_its_own_events_with_it(seller: Sandbox) -> None:
    """What was tracked inside a savepoint that is rolled back is gone; what is around it stays."""
    with transaction.atomic():
        buy(1)
        with rolled_back():
            buy(2)
            with transaction.atomic():
                buy(3)
        with transaction.atomic():
            buy(4)
    assert bought(seller) == ["A-1", "A-4"]


@pytest.mark.usefixtures("site")
def test_an_event_between_two_databases_waits_for_both(seller: Sandbox) -> None:
    """Nothing says whose it is, so any rollback lets it go, in whatever order they end."""
    with transaction.atomic("ledger"), transaction.atomic():
        buy(1, "ledger")
        assert not bought(seller)
    with transaction.atomic(), rolled_back("ledger"):
        buy(2)
    with transaction.atomic("ledger"), rolled_back():
        buy(3, "ledger")
    with transaction.atomic("ledger"):
        buy(4)  # committed at once in a database without a transaction
    assert bought(seller) == ["A-1", "A-4"]


def test_holding_can_be_turned_off(configure: Configure, seller: Sandbox) -> None:
    """A site that wants to be told at once is."""
    with configure(COMMIT_AWARE=False):
        with rolled_back():
            buy(1)
        assert bought(seller) == ["A-1"]


@pytest.mark.usefixtures("site")
def test_an_error_of_another_callback_after_ours_changes_nothing(seller: Sandbox) -> None:
    """The event is on disk before whatever else was to be done on commit fails."""

    def fail() -> None:
        raise ChangedMindError

    with suppress(ChangedMindError), transaction.atomic():
        buy(1)
        transaction.on_commit(fail)
    assert bought(seller) == ["A-1"]


def test_a_write_that_fails_does_not_break_what_is_committed() -> None:
    """Even told to raise, the tracker cannot undo a commit: Django logs it and goes on."""
    done: list[str] = []

    def write() -> None:
        done.append("tried")
        raise QueueFullError("no room")

    with transaction.atomic():
        assert run_on_commit(write)
        transaction.on_commit(lambda: done.append("next"))
        assert not done
    assert done == ["tried", "next"]


def test_outside_of_a_transaction_nothing_is_held() -> None:
    """Whoever offers a write makes it at once."""
    assert not run_on_commit(lambda: None)


@pytest.mark.usefixtures("site")
def test_djangos_test_case_shows_what_would_be_committed(seller: Sandbox) -> None:
    """A TestCase never commits, so it asks for the callbacks as for any others."""

    class Checkout(TestCase):
        def test_it(self) -> None:
            buy(1)
            assert not seller.events
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                buy(2)
            assert len(callbacks) == 1

    result = unittest.TestResult()
    unittest.TestSuite([Checkout("test_it")]).run(result)
    assert not [*result.errors, *result.failures], [*result.errors, *result.failures]
    assert bought(seller) == ["A-2"]


def test_no_connection_is_made_for_an_event(site: dict[str, Any]) -> None:
    """A database that a thread has not used is not asked whether it has a transaction."""
    assert site
    made: list[object] = []

    def track() -> None:
        get_tracker().track_lead("L-1")
        made.extend(connections.all(initialized_only=True))

    thread = threading.Thread(target=track)
    thread.start()
    thread.join()
    assert not made
    assert get_tracker().flush(10).total().delivered == 1
