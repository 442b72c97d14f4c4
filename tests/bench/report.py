"""From results to tables: each row one subject, with the ratio of ours to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.plan import BATCHES, THREADS
from tests.bench.results import Results, Series
from tests.bench.subjects import (
    CHECKOUTS,
    CLIENTS,
    FLOOR,
    IMPORTS,
    JOURNAL,
    OURS,
    OVER_POSTGRESQL,
    QUEUES,
    SITES,
    STORES,
)
from tests.bench.tables import NOTHING, Table, mebibytes, number, ratio
from tests.bench.tasks import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.bench.subjects import Subject

_PERCENT = 100
_PROCESSES = "processes-"


def tables(results: Results) -> Iterator[Table]:
    """Make the tables of every section that was run."""
    run = {key.section for key in (*results.rounds, *results.problems)}
    for section, make in _SECTIONS.items():
        if section in run:
            yield from make(results)


def _versus(results: Results, ours: Key, theirs: Key, figure: str) -> str:
    return ratio(results.ratio(Series(ours, figure), Series(theirs, figure)))


def _label(results: Results, subject: Subject, section: str) -> str:
    problems = [
        why
        for key, why in results.problems.items()
        if (key.section, key.subject) == (section, subject.name)
    ]
    return f"{subject.label} ({problems[0].partition(':')[0]})" if problems else subject.label


def _present(results: Results, subjects: Iterable[Subject], section: str) -> list[Subject]:
    keys = (*results.rounds, *results.problems)
    names = {key.subject for key in keys if key.section == section}
    return [subject for subject in subjects if subject.name in names]


def _latencies(results: Results, section: str, title: str, note: str) -> Table:
    rows = []
    for subject in _present(results, CLIENTS, section):
        key, ours = Key(section, subject.name), Key(section, OURS)
        rows.append(
            [
                _label(results, subject, section),
                subject.survives,
                *(number(results.median(key, name)) for name in ("p50", "p99", "p99.9", "mean")),
                number(results.median(key, "calls"), 0),
                *(_versus(results, ours, key, name) for name in ("p50", "p99")),
            ]
        )
    header = ["client", "survives", "p50 µs", "p99 µs", "p99.9 µs", "mean µs", "calls"]
    return Table(title, [*header, "ours / theirs p50", "p99"], rows, note)


def _call(results: Results) -> Iterator[Table]:
    yield _latencies(
        results,
        "call",
        "Cost of one call",
        "Nothing is delivered meanwhile. Peers end with the event in memory, ours on disk.",
    )


def _beside(results: Results) -> Iterator[Table]:
    yield _latencies(
        results,
        "beside",
        "Cost of one call beside two CPU-bound threads",
        "Bursts of five calls, each after a short sleep, as a server's thread wakes and works.",
    )


def _threads(results: Results) -> Iterator[Table]:
    rows = []
    for subject in _present(results, CLIENTS, "threads"):
        one, four = (Key("threads", subject.name, count) for count in ("1", str(THREADS)))
        ours = Key("threads", OURS, str(THREADS))
        gain = results.ratio(Series(four, "rate"), Series(one, "rate"))
        rows.append(
            [
                _label(results, subject, "threads"),
                number(results.median(one, "rate")),
                number(results.median(four, "rate")),
                ratio(gain),
                _versus(results, ours, four, "rate"),
            ]
        )
    header = ["client", "1 thread, calls/s", "4 threads, calls/s", "4 / 1", "ours / theirs at 4"]
    yield Table("Calls a second from several threads", header, rows)


def _append(results: Results) -> Iterator[Table]:
    rows = []
    for subject in _present(results, STORES, "append"):
        key, floor = (Key("append", name, "alone") for name in (subject.name, FLOOR))
        rows.append(
            [
                _label(results, subject, "append"),
                subject.survives,
                *(number(results.median(key, name), 2) for name in ("p50", "p99", "p99.9")),
                _versus(results, key, floor, "p50"),
                *(
                    _versus(results, Key("append", JOURNAL, "alone"), key, name)
                    for name in ("p50", "p99")
                ),
            ]
        )
    header = ["store", "survives", "p50 µs", "p99 µs", "p99.9 µs", "to the limit"]
    yield Table(
        "Cost of one durable append of 604 bytes",
        [*header, "ours / theirs p50", "p99"],
        rows,
        "The limit is a bare os.write to a file, with no frame, no checksum and no check.",
    )


def _crowded(results: Results) -> Iterator[Table]:
    present = _present(results, STORES, "crowded")
    rows = []
    for subject in present:
        key = Key("crowded", subject.name, "beside")
        rows.append(
            [
                _label(results, subject, "crowded"),
                *(number(results.median(key, name)) for name in ("p50", "p99", "mean")),
                number(results.median(key, "calls"), 0),
                _versus(results, Key("crowded", JOURNAL, "beside"), key, "p99"),
            ]
        )
    header = ["store", "p50 µs", "p99 µs", "mean µs", "calls", "ours / theirs p99"]
    yield Table("Cost of one durable append beside two CPU-bound threads", header, rows)
    yield _append_rates(results, present)


def _append_rates(results: Results, present: Sequence[Subject]) -> Table:
    numbers = sorted(
        int(key.variant.removeprefix(_PROCESSES))
        for key in results.rounds
        if (key.subject, key.variant[: len(_PROCESSES)]) == (FLOOR, _PROCESSES)
    )
    variants = [f"threads-{THREADS}", *(f"{_PROCESSES}{count}" for count in numbers)]
    ours, four = JOURNAL, f"{_PROCESSES}4"
    rows = []
    for subject in present:
        keys = [Key("crowded", subject.name, variant) for variant in variants]
        rates = [number(results.median(key, "rate")) for key in keys]
        theirs = Key("crowded", subject.name, four)
        versus = _versus(results, Key("crowded", ours, four), theirs, "rate")
        rows.append([_label(results, subject, "crowded"), *rates, versus])
    names = [" ".join(reversed(variant.split("-"))) for variant in variants]
    header = ["store", *names, "ours / theirs, 4 processes"]
    return Table("Durable appends a second", header, rows)


def _delivery(results: Results) -> Iterator[Table]:
    rows = []
    for subject in _present(results, CLIENTS, "delivery"):
        key, ours = Key("delivery", subject.name), Key("delivery", OURS)
        rows.append(
            [
                _label(results, subject, "delivery"),
                number(results.median(key, "rate")),
                number(results.median(key, "cpu")),
                _versus(results, ours, key, "rate"),
                _versus(results, ours, key, "cpu"),
                *(number(results.median(key, name)) for name in ("p50", "p99", "mean")),
                number(results.median(key, "requests"), 0),
                _percent(results.median(key, "share")),
                number(results.median(key, "bytes"), 0),
                _percent(results.median(key, "sink_busy")),
            ]
        )
    header = ["client", "events/s", "CPU µs/event", "ours / theirs events/s", "CPU"]
    calls = ["call p50 µs", "p99 µs", "mean µs"]
    yield Table(
        "Delivered to the same local sink",
        [*header, *calls, "requests", "arrived", "bytes/event", "sink busy"],
        rows,
        "From the first call until the last event has arrived; CPU of the client's process.",
    )


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value * _PERCENT:.0f} %"


def _memory(results: Results) -> Iterator[Table]:
    yield _growth(results, "grown", "Memory per queued event, bytes", 0)
    yield _growth(results, "p50", "Cost of one call as events queue up, p50 µs", 1)
    yield _backlog(results)


def _growth(results: Results, figure: str, title: str, digits: int) -> Table:
    counts = [10**power for power in range(3, 7)]
    rows = []
    for subject in _present(results, CLIENTS, "memory"):
        key = Key("memory", subject.name, "queued")
        cells = [number(results.median(key, f"{figure}@{count}"), digits) for count in counts]
        if figure == "grown":
            cells.insert(0, number(results.median(Key("memory", subject.name, "heap"), "heap"), 1))
        rows.append([_label(results, subject, "memory"), *cells])
    header = ["client", *(f"10^{power} queued" for power in range(3, 7))]
    if figure == "grown":
        header.insert(1, "traced heap")
        return Table(title, header, rows, "By the kernel's count of anonymous pages; heap traced.")
    return Table(title, header, rows)


def _backlog(results: Results) -> Table:
    keys = [
        key
        for key in results.rounds
        if key.section == "memory" and key.variant.partition("-")[0] in {"down", "drain"}
    ]
    rows = []
    for key in keys:
        state, _, events = key.variant.partition("-")
        name = "seller down" if state == "down" else "delivered"
        sizes = [mebibytes(results.median(key, size)) for size in ("VmRSS", "RssAnon", "VmHWM")]
        rows.append([f"{int(events):,} waiting, {name}", *sizes])
    header = ["a process opens a queue with", "resident MiB", "of it heap", "highest"]
    return Table("Memory of a tracker with a backlog", header, rows)


def _middleware(results: Results) -> Iterator[Table]:
    yield _requests(
        results,
        "middleware",
        "One request through a framework, in process",
        "A fixed text from the shortest of views, which is the worst case; called as a server "
        "calls it, with no server or socket, which would make it look less.",
    )


def _served(results: Results) -> Iterator[Table]:
    yield _requests(
        results,
        "served",
        "One request to a server",
        "The same pages, over kept-alive connections; processor time of the worker: gunicorn's "
        "for Django and Flask, uvicorn's for FastAPI.",
    )


def _requests(results: Results, section: str, title: str, note: str) -> Table:
    rows = []
    for subject in _present(results, SITES, section):
        key = Key(section, subject.name)
        rows.append(
            [
                _label(results, subject, section),
                *(number(results.median(key, name)) for name in ("bare", "quiet", "event")),
                *(_share(results.median(key, f"{name}/bare")) for name in ("quiet", "event")),
                *(number(results.median(key, f"{name}-bare")) for name in ("event", "capture")),
                _share(results.median(key, "event/capture")),
            ]
        )
    times = ["bare, µs", "with the middleware, µs", "and an event, µs"]
    shares = ["middleware / bare", "with an event / bare"]
    peer = ["event over bare, µs", "PostHog's capture over bare, µs", "ours / theirs"]
    header = ["framework", *times, *shares, *peer]
    return Table(title, header, rows, note)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f} ×"


def _imports(results: Results) -> Iterator[Table]:
    rows = []
    for subject in _present(results, IMPORTS, "imports"):
        key = Key("imports", subject.name)
        rows.append(
            [
                _label(results, subject, "imports"),
                number(results.median(key, "ms")),
                mebibytes(results.median(key, "rss")),
                _versus(results, Key("imports", "adcp_tracker"), key, "ms"),
                _versus(results, Key("imports", "adcp_tracker"), key, "rss"),
            ]
        )
    header = ["package", "ms", "MiB", "ours / theirs ms", "MiB"]
    yield Table("Import into a fresh interpreter", header, rows)


def _queues(results: Results) -> Iterator[Table]:
    ours = Key("queues", OVER_POSTGRESQL)
    rows = []
    for subject in _present(results, QUEUES, "queues"):
        for variant, name in (("", ""), (BATCHES, ", a job per 1,000 events")):
            key = Key("queues", subject.name, variant)
            if key not in results.rounds and key not in results.problems:
                continue
            rows.append(
                [
                    _label(results, subject, "queues") + name,
                    subject.survives,
                    number(results.median(key, "rate")),
                    _versus(results, ours, key, "rate"),
                    number(results.median(key, "put p50")),
                    _versus(results, ours, key, "put p50"),
                    number(results.median(key, "requests"), 0),
                    _percent(results.median(key, "share")),
                    *(number(results.median(key, f"all {name}")) for name in ("server cpu", "wal")),
                ]
            )
    header = ["queue", "survives", "events/s", "PostgreSQL / this", "put p50 µs/event"]
    yield Table(
        "Delivered from a full queue to three sellers",
        [*header, "PostgreSQL / this", "requests", "arrived", "server µs/event", "WAL bytes/event"],
        rows,
        "From the workers' beginning until each event has arrived everywhere. To put an event is "
        "to commit it for all three; a batch of a peer is made before the clock starts. The "
        "server's processor time and write-ahead log are those from an event's put to its end.",
    )


def _checkout(results: Results) -> Iterator[Table]:
    kinds = {
        "hand": "an INSERT by hand",
        "driver": "an INSERT by the driver",
        "plain": "adcp_tracker, no savepoint",
        "savepoint": "adcp_tracker, in a savepoint",
        "procrastinate": "procrastinate, one defer",
        "celery": "Celery + Redis, one delay",
    }
    rows = []
    for subject in _present(results, CHECKOUTS, "checkout"):
        key = Key("checkout", subject.name)
        label = _label(results, subject, "checkout")
        for name, words in kinds.items():
            shares = [results.median(key, f"{ours}/{name}") for ours in ("plain", "savepoint")]
            rows.append(
                [f"{label}: {words}", number(results.median(key, name)), *map(ratio, shares)]
            )
    yield Table(
        "What an event adds to a checkout's transaction, before its commit",
        ["checkout with", "p50 µs", "no savepoint / this", "in a savepoint / this"],
        rows,
        "The order is one INSERT. By hand, the event is the library's own record, made before the "
        "clock starts, and inserted by the framework's cursor in Django and by the session in "
        "SQLAlchemy; by the driver, that is passed by. For peers, it is the same facts as JSON, "
        "also made before. Celery's task is in no transaction.",
    )


_SECTIONS = {
    "call": _call,
    "beside": _beside,
    "threads": _threads,
    "append": _append,
    "crowded": _crowded,
    "delivery": _delivery,
    "memory": _memory,
    "middleware": _middleware,
    "served": _served,
    "imports": _imports,
    "queues": _queues,
    "checkout": _checkout,
}


def problems(results: Results) -> list[str]:
    """Say of each measurement that is missing why it is."""
    return [
        f"- {key.section} {key.subject} {key.variant}: {why}".replace(" : ", ": ")
        for key, why in results.problems.items()
    ]
