"""Orders that are SQLAlchemy models: what is loaded is read, and nothing else in a coroutine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import ForeignKey, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from adcp_tracker.orders.reader import to_order

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from adcp_tracker import Order


class Base(DeclarativeBase):
    """All tables."""


class Customer(Base):
    """A shopper."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


class ShopOrder(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[str]
    currency: Mapped[str]
    email: Mapped[str | None]
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer | None] = relationship()
    items: Mapped[list[Line]] = relationship()


class Line(Base):
    """A line."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    sku: Mapped[str]


def fill(session: Session) -> None:
    """Keep an order with an address of its own, and one with its customer's."""
    alice = Customer(id=1, email="alice@example.com")
    for number, email in ((1, "bob@example.com"), (2, None)):
        line = Line(id=number, sku="MUG-01")
        order = ShopOrder(id=number, total="5.00", currency="EUR", email=email, items=[line])
        order.customer = alice
        session.add(order)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with two orders."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        fill(session)
    yield engine
    engine.dispose()


def test_only_what_is_needed_is_loaded(engine: Engine) -> None:
    """Lines are; the customer only where the order has no address."""
    queries: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    with Session(engine) as session:
        first, second = session.get(ShopOrder, 1), session.get(ShopOrder, 2)
        queries.clear()

        assert to_order(first).email == "bob@example.com"
        assert not [query for query in queries if "customers" in query]
        assert to_order(second).email == "alice@example.com"
        assert [line.id for line in to_order(second).items or ()] == ["MUG-01"]


@pytest.mark.usefixtures("engine")
def test_in_a_coroutine_nothing_is_loaded(tmp_path: Path) -> None:
    """An asynchronous session cannot load lazily; the order goes with what it has."""

    async def read() -> Order:
        made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
        async with AsyncSession(made) as session:
            order = to_order(await session.get(ShopOrder, 2))
        await made.dispose()
        return order

    order = asyncio.run(read())
    assert (order.order_id, str(order.total), order.email, order.items) == ("2", "5.00", None, ())


def test_rows_of_different_queries_do_not_decide_for_one_another(engine: Engine) -> None:
    """All rows are of one class, and each has the columns of its own query."""
    with engine.connect() as connection:
        one = connection.execute(text("select id, total, currency from orders")).first()
        two = connection.execute(text("select id, total, email from orders")).first()
        mapped = connection.execute(text("select email, id from orders")).mappings().first()

    assert to_order(one).email is None
    assert to_order(two).email == "bob@example.com"
    assert to_order(mapped).email == "bob@example.com"
