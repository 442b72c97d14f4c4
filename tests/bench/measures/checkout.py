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
from tests.bench import ours
from tests.bench.adapters import CREATE_ORDERS, body, load_shop
from tests.bench.queues.celery_jobs import running_broker, send
from tests.bench.spending import running_postgres
from tests.bench.timing import settle_heap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.bench.tasks import Task

    Checkout = Callable[[int], int]

_WARM_UP = 20
_BLOCK = 10
_NS_PER_US = 1_000
_BY_HAND = "INSERT INTO adcp_intake (queue, data) VALUES (%s, %s)"


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
        ways: ``bare`` with nothing added, ``hand`` with an INSERT, and others.
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
    """Yield a checkout without an event, one with an INSERT by hand, and those with ours."""
    shop = load_shop(framework, url)

    def insert(number: int) -> None:
        shop.insert(_BY_HAND, (0, body(range(number, number + 1)).encode()))

    yield "bare", partial(shop.check_out, bool)
    yield "hand", partial(shop.check_out, insert)
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
        yield name, partial(own.check_out, partial(_track, tracker))


def _track(tracker: Tracker, number: int) -> None:
    tracker.track_purchase({**ours.facts(number), "items": ours.items()})


def _peers(
    framework: str, url: str, directory: Path, stack: ExitStack
) -> Iterator[tuple[str, Checkout]]:
    """Yield a checkout that defers a job in its transaction, and one that sends a task."""
    shop = load_shop(framework, url)
    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=url))
    stack.enter_context(app.open())
    app.schema_manager.apply_schema()
    stack.enter_context(running_broker(directory))

    def defer(number: int) -> None:
        task = app.configure_task("send", connection=shop.driver())
        task.defer(destination=0, events=body(range(number, number + 1)))

    def delay(number: int) -> None:
        send.delay(0, body(range(number, number + 1)))

    yield "procrastinate", partial(shop.check_out, defer)
    yield "celery", partial(shop.check_out, delay)
