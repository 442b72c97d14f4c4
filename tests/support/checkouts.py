"""A shop whose checkouts end in every way, and whose process is killed at random moments.

Run as ``python -m tests.support.checkouts KIND COUNT SEED``, with ``SHOP_DATABASE`` naming a
PostgreSQL database. A parent that has imported everything forks one shop after the other, lets it
work for a moment, kills it, and has the next one go on behind the last checkout begun.

With ``KIND lines COUNT``, each shop does one checkout and kills itself as one of its lines is about
to run, be it the shop's, this library's, the framework's or the driver's.

A checkout keeps one order and perhaps another in a savepoint, tracks each, and is committed or
rolled back, in part or in whole. It never looks at how that ended: what is in the table of orders
is what was bought.
"""

from __future__ import annotations

import asyncio
import gc
import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import attrs
import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TypeAlias

    from _typeshed import TraceFunction

    from adcp_tracker import Tracker

    Checkout: TypeAlias = "Callable[[Plan | None], None]"

CREATE = "CREATE TABLE orders (id varchar(100) PRIMARY KEY)"
_INSERT = "INSERT INTO orders (id) VALUES ('{}')"
_SPREAD: dict[str, Any] = {"queues": os.environ.get("ADCP_QUEUES", "0"), "uploader": "external"}
"""Which queues of the database get the events; workers deliver them."""

SHARE = 12
_VARIATION = 20
"""How many lines a checkout may have less than the last one; these run after the commit."""

_MOST_CHECKOUTS = 10
_LONGEST_S = 0.005
_POLL_S = 0.001


class ChangedMindError(Exception):
    """The shopper goes away."""


@attrs.frozen
class Plan:
    """How one checkout goes. Without a plan, connections are closed.

    Attributes:
        order: The order's id.
        has_part: Whether there is another order in a savepoint.
        part_fails: Whether that one is rolled back.
        fails: Whether all is rolled back.
    """

    order: str
    has_part: bool = True
    part_fails: bool = False
    fails: bool = False

    @property
    def part(self) -> str:
        """The id of the order in the savepoint."""
        return f"{self.order}-part"


def plan_of(kind: str, seed: int, number: int) -> Plan:
    """Return a checkout's plan, by its number alone."""
    choose = random.Random(f"{kind} {seed} {number}")  # noqa: S311 - a plan, no secret
    return Plan(
        f"{kind}-{number}",
        has_part=choose.random() < 0.5,
        part_fails=choose.random() < 0.5,
        fails=choose.random() < 0.3,
    )


def track(tracker: Tracker, order: str) -> None:
    """Track a purchase."""
    tracker.track_purchase(
        {"id": order, "total": "59.90", "currency": "EUR", "email": "a@b.example"}
    )


def django_shop(url: str) -> Checkout:
    """Return what does a checkout in Django."""
    import django  # noqa: PLC0415 - one of three
    from django.conf import settings  # noqa: PLC0415 - one of three

    place = urlsplit(url)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": place.path[1:],
                "USER": place.username,
                "HOST": parse_qs(place.query)["host"][0],
            }
        },
        INSTALLED_APPS=["adcp_tracker_django"],
        ADCP_TRACKER={
            "QUEUE": "transaction",
            "UPLOADER": "external",
            "QUEUES": _SPREAD["queues"],
            "DESTINATIONS": [],
        },
        SECRET_KEY="not-a-secret",
    )
    django.setup()
    from django.db import connection, transaction  # noqa: PLC0415 - settings are there now

    from adcp_tracker_django import get_tracker  # noqa: PLC0415 - settings are there now

    def buy(order: str, *, fails: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_INSERT.format(order))
        track(get_tracker(), order)
        if fails:
            raise ChangedMindError

    def checkout(plan: Plan | None) -> None:
        if plan is None:
            connection.close()
            return
        with transaction.atomic():
            buy(plan.order, fails=False)
            if plan.has_part:
                with suppress(ChangedMindError), transaction.atomic():
                    buy(plan.part, fails=plan.part_fails)
            if plan.fails:
                raise ChangedMindError

    return checkout


def sqlalchemy_shop(url: str) -> Checkout:
    """Return what does a checkout in SQLAlchemy."""
    from sqlalchemy import create_engine, text  # noqa: PLC0415 - one of three
    from sqlalchemy.orm import sessionmaker  # noqa: PLC0415 - one of three

    from adcp_tracker import Tracker  # noqa: PLC0415 - one of three
    from adcp_tracker_sqlalchemy import SessionOutbox  # noqa: PLC0415 - one of three

    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
    scheme, _, place = url.partition(":")
    engine = create_engine(f"{driver[scheme]}:{place}")
    sessions = sessionmaker(engine)
    tracker = Tracker(transactional_outbox=SessionOutbox(sessions), **_SPREAD)

    def checkout(plan: Plan | None) -> None:
        if plan is None:
            engine.dispose()
            return
        with sessions.begin() as session:
            session.execute(text(_INSERT.format(plan.order)))
            track(tracker, plan.order)
            if plan.has_part:
                with suppress(ChangedMindError), session.begin_nested():
                    session.execute(text(_INSERT.format(plan.part)))
                    track(tracker, plan.part)
                    if plan.part_fails:
                        raise ChangedMindError
            if plan.fails:
                raise ChangedMindError

    return checkout


def asynchronous_shop(url: str) -> Checkout:
    """Return what does a checkout in an asynchronous session of SQLAlchemy."""
    from sqlalchemy import text  # noqa: PLC0415 - one of three
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine  # noqa: PLC0415

    from adcp_tracker import Tracker  # noqa: PLC0415 - one of three
    from adcp_tracker_sqlalchemy import SessionOutbox  # noqa: PLC0415 - one of three

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    sessions = async_sessionmaker(engine)
    tracker = Tracker(transactional_outbox=SessionOutbox(sessions), **_SPREAD)
    loops: list[asyncio.AbstractEventLoop] = []

    async def work(plan: Plan) -> None:
        async with sessions.begin() as session:
            await session.execute(text(_INSERT.format(plan.order)))
            track(tracker, plan.order)
            if plan.has_part:
                with suppress(ChangedMindError):
                    async with session.begin_nested():
                        await session.execute(text(_INSERT.format(plan.part)))
                        track(tracker, plan.part)
                        if plan.part_fails:
                            raise ChangedMindError
            if plan.fails:
                raise ChangedMindError

    def checkout(plan: Plan | None) -> None:
        if plan is None:
            loops.pop().run_until_complete(engine.dispose())
            return
        if not loops:
            loops.append(asyncio.new_event_loop())
        loops[0].run_until_complete(work(plan))

    return checkout


SHOPS: dict[str, Callable[[str], Checkout]] = {
    "django": django_shop,
    "sqlalchemy": sqlalchemy_shop,
    "asynchronous": asynchronous_shop,
}


def run(kind: str, count: int, seed: int) -> int:
    """Do `count` checkouts, in as many shops as it takes; return how many were killed."""
    url = os.environ["SHOP_DATABASE"]
    chance = random.Random(seed)  # noqa: S311 - no secret
    checkout = SHOPS[kind](url)
    _warm_up(checkout, kind)
    begun = mmap.mmap(-1, 8)  # shared with the shops
    killed = 0
    while (first := _number(begun)) < count:
        shop = os.fork()
        if not shop:
            _work(checkout, begun, lambda number: plan_of(kind, seed, number), first, count)
        ended, enough = 0, first + chance.randrange(1, _MOST_CHECKOUTS)
        while _number(begun) < enough and not ended:
            time.sleep(_POLL_S)
            ended, status = os.waitpid(shop, os.WNOHANG)
        if not ended:
            time.sleep(chance.uniform(0, _LONGEST_S))
            os.kill(shop, signal.SIGKILL)
            _, status = os.waitpid(shop, 0)
        killed += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status) and status:
            raise SystemExit(f"a shop failed: {status}")
    return killed


def _warm_up(checkout: Checkout, kind: str) -> None:
    """Have everything imported before the first fork, so that a shop has time for checkouts."""
    checkout(Plan(f"{kind}-warm-up"))
    checkout(None)
    gc.freeze()


def _number(begun: mmap.mmap) -> int:
    (number,) = struct.unpack("q", begun[:8])
    return int(number)


def _work(
    checkout: Checkout,
    begun: mmap.mmap,
    plan: Callable[[int], Plan],
    first: int,
    count: int,
) -> None:
    code = 1
    try:
        for number in range(first, count):
            begun[:8] = struct.pack("q", number + 1)
            with suppress(ChangedMindError):
                checkout(plan(number))
        code = 0
    finally:
        os._exit(code)


def end_at_lines(kind: str, wanted: str) -> dict[str, Any]:
    """Do checkouts that end at so many of their lines, or all.

    Returns:
        How many lines there are, and the ids of the orders whose shop was killed.
    """
    checkout = SHOPS[kind](os.environ["SHOP_DATABASE"])
    _warm_up(checkout, kind)
    total, killed = 0, []
    for part_fails in (False, True):
        plan = Plan(f"{kind}-{part_fails}", part_fails=part_fails)
        lines = mmap.mmap(-1, 8)  # shared with the shops
        _end_at_line(checkout, plan, lines)
        count = _number(lines)
        total += count
        step = 1 if wanted == "all" else count // (SHARE if wanted == "share" else int(wanted))
        for line in range(count - _VARIATION, 0, -step):
            order = f"{plan.order}-{line}"
            if os.WIFSIGNALED(_end_at_line(checkout, attrs.evolve(plan, order=order), line)):
                killed.append(order)
    return {"lines": total, "killed": killed}


def _end_at_line(checkout: Checkout, plan: Plan, line: int | mmap.mmap) -> int:
    """Have a shop do a checkout and end at a line, or count its lines; return its status."""
    shop = os.fork()
    if not shop:
        code = 1
        try:
            with suppress(ChangedMindError):
                checkout(Plan("none", fails=True))  # so that the connection is open
            lines = 0

            def step(frame: FrameType, event: str, argument: object) -> TraceFunction:
                del frame, argument
                nonlocal lines
                lines += event == "line"
                if lines == line:
                    os.kill(os.getpid(), signal.SIGKILL)
                return step

            sys.settrace(step)
            checkout(plan)
            sys.settrace(None)
            if isinstance(line, mmap.mmap):
                line[:8] = struct.pack("q", lines)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(shop, 0)
    if not os.WIFSIGNALED(status) and status:
        raise SystemExit(f"a shop failed: {status}")
    return status


def bought(url: str) -> list[Any]:
    """Return the ids of the orders that were committed."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM orders")]


def main(kind: str, *options: str) -> None:
    """Do what the command line says."""
    if options[0] == "lines":
        sys.stdout.write(json.dumps(end_at_lines(kind, options[1])))
    else:
        count, seed = map(int, options)
        sys.stdout.write(f"{run(kind, count, seed)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
