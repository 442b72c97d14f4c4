"""Checkouts in transactions of Django's."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.db import connection, transaction
from psycopg.conninfo import conninfo_to_dict

from adcp_tracker.outbox.schema import INSERT_RECORD
from adcp_tracker_django.outbox import DjangoOutbox
from tests.bench.adapters import PLACE_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable


class DjangoShop:
    """Places orders through Django's connection.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        if settings.configured:
            return
        place = conninfo_to_dict(url)
        own = {"ENGINE": "django.db.backends.postgresql", "NAME": place["dbname"]}
        own |= {"USER": place["user"], "HOST": place["host"], "CONN_MAX_AGE": None}
        settings.configure(DATABASES={"default": own}, USE_TZ=True)
        django.setup()

    def outbox(self) -> DjangoOutbox:
        """Make an outbox."""
        return DjangoOutbox()

    def check_out(self, add: Callable[[int], object], number: int) -> int:
        """Place an order and add something; return the time of that until before the commit, ns."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(PLACE_ORDER, ("129.90",))
            start = perf_counter_ns()
            add(number)
            return perf_counter_ns() - start

    def insert_row(self, row: dict[str, object]) -> None:
        """Insert a row of the intake in the open transaction."""
        with connection.cursor() as cursor:
            cursor.execute(INSERT_RECORD, row)

    def driver(self) -> Any:  # noqa: ANN401 - psycopg's connection
        """Return the driver's connection."""
        return connection.connection


make_shop = DjangoShop
