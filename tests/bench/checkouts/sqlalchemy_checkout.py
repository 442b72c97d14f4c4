"""Checkouts in sessions of SQLAlchemy's."""

from __future__ import annotations

from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, insert
from sqlalchemy.orm import sessionmaker

from adcp_tracker_sqlalchemy import SessionOutbox, intake
from tests.bench.adapters import PLACE_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

_INSERT = insert(intake)


class SqlalchemyShop:
    """Places orders in sessions of its own.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        engine = _engine(url)
        self._sessions = sessionmaker(engine)
        self._session: Session
        self._ended_at = 0
        event.listen(engine, "commit", self._end)

    def _end(self, *_: object) -> None:
        self._ended_at = perf_counter_ns()

    def outbox(self) -> SessionOutbox:
        """Make an outbox of these sessions."""
        return SessionOutbox(self._sessions)

    def check_out(self, add: Callable[[int], object], number: int) -> int:
        """Place an order and add something; return the time of that until before the commit, ns."""
        with self._sessions() as self._session:
            self._session.connection().exec_driver_sql(PLACE_ORDER, ("129.90",))
            start = perf_counter_ns()
            add(number)
            self._session.commit()
            return self._ended_at - start

    def insert_row(self, row: dict[str, object]) -> None:
        """Insert a row of the intake in the open transaction."""
        self._session.execute(_INSERT, row)

    def driver(self) -> Any:  # noqa: ANN401 - psycopg's connection
        """Return the driver's connection."""
        return self._session.connection().connection.driver_connection


@cache
def _engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


make_shop = SqlalchemyShop
