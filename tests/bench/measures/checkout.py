"""What an event adds to a checkout's transaction, beside an INSERT by hand and peers."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import procrastinate
import psycopg

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from adcp_tracker.outbox.schema import INSERT_RECORD
from tests.bench import ours
from tests.bench.adapters import CREATE_ORDERS, body, load_shop
from tests.bench.queues.celery_jobs import running_broker, send
from tests.bench.spending import running_postgres
from tests.bench.timing import settle_heap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from adcp_tracker.outbox.schema import PendingRecord
    from tests.bench.tasks import Task

    Checkout = Callable[[int], int]

_WARM_UP = 20
_BLOCK = 10
_ORDERS = 1_000
_NS_PER_US = 1_000


def run(task: Task, directory: Path) -> dict[str, float]:
    """Time checkouts of each kind in turns, all of them in one process and one database."""
    with ExitStack() as stack:
        url, _ = stack.enter_context(running_postgres())
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(CREATE_ORDERS)
        ways = dict(_ways(task.key.subject, url, stack)) | dict(
            _peers(task.key.subject, url, directory, stack)
        )
        for checkout in ways.values():
            for number in range(_WARM_UP):
                checkout(number)
        settle_heap()
        return in_turns(ways, task.size("calls") // _BLOCK)


def in_turns(ways: Mapping[str, Checkout], blocks: int) -> dict[str, float]:
    """Measure a few checkouts of each kind, again and again.

    Args:
        ways: ``bare`` with nothing added, ``hand`` with an INSERT as the framework's users write
            it, ``driver`` with one that passes the framework by, and others.
        blocks: How often.

    Returns:
        What each added to a bare one, in µs, and its ratio to what ``hand`` added: the medians
        of all blocks, in which each is a median, too.
    """
    added: dict[str, list[float]] = {name: [] for name in ways if name != "bare"}
    for block in range(blocks):
        first = block * _BLOCK
        medians = {
            name: statistics.median(map(checkout, range(first, first + _BLOCK)))
            for name, checkout in _turned(ways, block)
        }
        for name, each in added.items():
            each.append((medians[name] - medians["bare"]) / _NS_PER_US)
    figures = {name: statistics.median(each) for name, each in added.items()}
    for name in ("plain", "savepoint"):
        for other in added.keys() - {"plain", "savepoint"}:
            ratios = [ours / theirs for ours, theirs in zip(added[name], added[other], strict=True)]
            figures[f"{name}/{other}"] = statistics.median(ratios)
    return figures


def _turned(ways: Mapping[str, Checkout], number: int) -> list[tuple[str, Checkout]]:
    """Begin with another one each time."""
    turn = number % len(ways)
    items = list(ways.items())
    return items[turn:] + items[:turn]


def _ways(framework: str, url: str, stack: ExitStack) -> Iterator[tuple[str, Checkout]]:
    """Yield a checkout without an event, those with an INSERT by hand, and those with ours."""
    shop = load_shop(framework, url)
    row = {"queue": 0, "data": _record()}

    def insert(_: int) -> None:
        shop.insert_row(row)

    def insert_by_driver(_: int) -> None:
        with shop.driver().cursor() as cursor:
            cursor.execute(INSERT_RECORD, row)

    yield "bare", partial(shop.check_out, bool)
    yield "hand", partial(shop.check_out, insert)
    yield "driver", partial(shop.check_out, insert_by_driver)
    for name in ("plain", "savepoint"):
        own = load_shop(framework, url)
        tracker = stack.enter_context(
            Tracker(
                [],
                transactional_outbox=own.outbox(),
                savepoint=name == "savepoint",
                uploader="external",
            )
        )
        yield name, partial(own.check_out, partial(_track, tracker, _orders()))


class _Taken:
    """A transactional outbox that takes records and inserts none.

    Attributes:
        records: What it was given.
    """

    location = "nowhere"

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def insert(self, pending: PendingRecord) -> bool:
        """Take a record."""
        self.records.append(pending.record)
        return True

    def commit(self, record: bytes, queue: int) -> None:
        """Take a record for a transaction of its own."""
        del queue
        self.records.append(record)

    def defer(self, write: Callable[[], None]) -> bool:
        """Leave a write to the caller."""
        del write
        return False


def _record() -> bytes:
    """Return the bytes that the library inserts for a purchase."""
    taken = _Taken()
    with Tracker([], transactional_outbox=taken, uploader="external") as tracker:
        _track(tracker, _orders(), 0)
    (record,) = taken.records
    return record


def _orders() -> list[dict[str, object]]:
    """Make the orders, which a shop has before it tracks them."""
    return [{**ours.facts(number), "items": ours.items()} for number in range(_ORDERS)]


def _track(tracker: Tracker, orders: Sequence[object], number: int) -> None:
    tracker.track_purchase(orders[number % _ORDERS])


def _peers(
    framework: str, url: str, directory: Path, stack: ExitStack
) -> Iterator[tuple[str, Checkout]]:
    """Yield a checkout that defers a job in its transaction, and one that sends a task."""
    shop = load_shop(framework, url)
    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=url))
    stack.enter_context(app.open())
    app.schema_manager.apply_schema()
    stack.enter_context(running_broker(directory))
    bodies = [body(range(number, number + 1)) for number in range(_ORDERS)]

    def defer(number: int) -> None:
        task = app.configure_task("send", connection=shop.driver())
        task.defer(destination=0, events=bodies[number % _ORDERS])

    def delay(number: int) -> None:
        send.delay(0, bodies[number % _ORDERS])

    yield "procrastinate", partial(shop.check_out, defer)
    yield "celery", partial(shop.check_out, delay)
