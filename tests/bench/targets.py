"""What the library promises about its speed, and whether this run bears it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.bench.results import Results, Series
from tests.bench.subjects import (
    CLIENTS,
    FLOOR,
    JOURNAL,
    MAPPING,
    OURS,
    OVER_DIRECTORY,
    OVER_POSTGRESQL,
    OVER_RELAY,
)
from tests.bench.tables import NOTHING, Table
from tests.bench.tasks import OTHER, Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PEERS = [client.name for client in CLIENTS if client.name not in {OURS, MAPPING}]
_HEAP_NOISE_BYTES = 1.0


@attrs.frozen
class Target:
    """One promise and what was found.

    Attributes:
        promise: In words.
        limit: The number it stands on.
        found: What the run shows; ``None`` if it was not measured.
        at_least: Whether more is better.
        unit: What is behind the numbers; ``×`` for a ratio.
    """

    promise: str
    limit: float
    found: float | None
    at_least: bool = False
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        """Say whether the run bears it out, ``None`` if it was not measured."""
        if self.found is None:
            return None
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def targets(results: Results) -> list[Target]:
    """Hold `results` against every promise."""
    return [
        *_of_the_call(results),
        *_of_the_tail(results),
        *_of_the_append(results),
        *_of_the_delivery(results),
        *_of_the_memory(results),
        *_of_the_middleware(results),
        *_of_the_view(results),
        *_of_the_other(results),
        _of_the_import(results),
        *_of_the_queues(results),
        *_of_the_checkout(results),
    ]


def as_table(found: Iterable[Target]) -> Table:
    """Show each promise beside what was found."""
    words = {True: "met", False: "MISSED", None: "not measured"}
    rows = []
    for target in found:
        sign = "≥" if target.at_least else "≤"
        shown = NOTHING if target.found is None else f"{target.found:.3g} {target.unit}"
        limit = f"{sign} {target.limit:,g} {target.unit}"
        rows.append([target.promise, limit, shown, words[target.met]])
    return Table("Targets", ["promise", "target", "found", ""], rows)


def _of(section: str, subject: str, variant: str = "") -> Key:
    return Key(section, subject, variant)


def _ratio(results: Results, ours: Key, subject: str, figure: str) -> float | None:
    theirs = attrs.evolve(ours, subject=subject)
    return results.ratio(Series(ours, figure), Series(theirs, figure))


def _peer_ratios(results: Results, ours: Key, figure: str) -> list[float]:
    ratios = (_ratio(results, ours, peer, figure) for peer in _PEERS)
    return [ratio for ratio in ratios if ratio is not None]


def _of_the_call(results: Results) -> Iterator[Target]:
    ours = _of("call", OURS)
    for label, peer, limits in (
        ("PostHog's capture", "posthog_client", (0.25, 0.22)),
        ("Segment's track", "segment_client", (0.5, 0.40)),
        ("Snowplow's track", "snowplow_client", (0.55,)),
        ("Mixpanel's buffered track", "mixpanel_client", (1.0, 0.9)),
    ):
        for limit in limits:
            found = _ratio(results, ours, peer, "p50")
            yield Target(f"durable call p50, to {label}", limit, found)
    for label, peer, limit in (
        ("PostHog's capture", "posthog_client", 0.30),
        ("Mixpanel's buffered track", "mixpanel_client", 1.5),
    ):
        found = _ratio(results, _of("call", MAPPING), peer, "p50")
        yield Target(f"a plain mapping's p50, to {label}", limit, found)
    mapping = results.ratio(Series(_of("call", MAPPING), "p50"), Series(ours, "p50"))
    yield Target("a plain mapping's p50, to an Order's", 1.5, mapping)
    one, four = (Series(_of("threads", OURS, count), "rate") for count in ("1", "4"))
    yield Target("four threads' calls/s, to one's", 0.8, results.ratio(four, one), at_least=True)


def _of_the_tail(results: Results) -> Iterator[Target]:
    ours = _of("call", OURS)
    spread = results.ratio(Series(ours, "p99"), Series(ours, "p50"))
    yield Target("durable call p99, to its p50", 4, spread)
    for section, where in (("call", "alone"), ("beside", "beside CPU-bound threads")):
        worst = max(_peer_ratios(results, _of(section, OURS), "p99"), default=None)
        yield Target(f"durable call p99 {where}, to the best peer's", 1, worst)
    beside = _ratio(results, _of("beside", OURS), "posthog_client", "p99")
    yield Target("durable call p99 beside CPU-bound threads, to PostHog's", 1, beside)


def _of_the_append(results: Results) -> Iterator[Target]:
    alone = _of("append", JOURNAL, "alone")
    beside, four = (_of("crowded", JOURNAL, variant) for variant in ("beside", "processes-4"))
    above = _ratio(results, alone, FLOOR, "p50")
    yield Target("append p50, to a bare os.write", 2.2, above)
    tail = results.median(beside, "p99")
    yield Target("append p99 beside CPU-bound threads", 150, tail, unit="µs")
    slower = results.ratio(
        Series(attrs.evolve(beside, subject="diskcache_push"), "p99"), Series(beside, "p99")
    )
    yield Target("diskcache.push p99 there, to the append's", 300, slower, at_least=True)
    faster = _ratio(results, four, "diskcache_push", "rate")
    yield Target("4 processes' appends/s, to diskcache.push's", 30, faster, at_least=True)
    rate = results.median(four, "rate")
    yield Target("4 processes' appends/s", 400_000, rate, at_least=True, unit="/s")


def _of_the_delivery(results: Results) -> Iterator[Target]:
    ours = _of("delivery", OURS)
    for label, peer, limit in (
        ("Segment's", "segment_client", 4.0),
        ("Mixpanel's", "mixpanel_client", 3.5),
    ):
        found = _ratio(results, ours, peer, "rate")
        yield Target(f"delivered events/s, to {label}", limit, found, at_least=True)
    least = min(_peer_ratios(results, ours, "rate"), default=None)
    yield Target("delivered events/s, to the best peer's", 4, least, at_least=True)
    yield Target("CPU per delivered event", 20, results.median(ours, "cpu"), unit="µs")


def _of_the_memory(results: Results) -> Iterator[Target]:
    heap = results.median(_of("memory", OURS, "heap"), "heap")
    yield Target("heap per queued event", _HEAP_NOISE_BYTES, heap, unit="bytes")
    queued = _of("memory", OURS, "queued")
    first = Series(queued, "p50@1000")
    grown = [
        ratio
        for power in range(4, 7)
        if (ratio := results.ratio(Series(queued, f"p50@{10**power}"), first)) is not None
    ]
    for limit, found, at_least in ((1.2, max, False), (0.8, min, True)):
        value = found(grown, default=None)
        yield Target("call p50 from 10^3 to 10^6 queued", limit, value, at_least=at_least)
    full = sorted(
        (key for key in results.rounds if key.variant.startswith("down-")),
        key=lambda key: int(key.variant.partition("-")[2]),
    )
    carried = (
        results.ratio(Series(full[-1], "VmRSS"), Series(full[0], "VmRSS")) if full[1:] else None
    )
    yield Target("resident memory with the backlog, to that with none", 1.2, carried)


def _of_the_middleware(results: Results) -> Iterator[Target]:
    for label, site, limit in (
        ("Django", "django_site", 1.05),
        ("Flask", "flask_site", 1.05),
        ("FastAPI", "fastapi_site", 1.10),
    ):
        for section, where in (("middleware", "in process"), ("served", "under its server")):
            found = results.median(_of(section, site), "quiet/bare")
            promise = f"a {label} request with the middleware, to one without, {where}"
            yield Target(promise, limit, found)


def _of_the_view(results: Results) -> Iterator[Target]:
    for label, site in (
        ("Django", "django_site"),
        ("Flask", "flask_site"),
        ("FastAPI", "fastapi_site"),
    ):
        found = results.median(_of("middleware", site), "event/capture")
        yield Target(f"CPU of an event in a {label} view, to PostHog's capture there", 0.45, found)


def _of_the_other(results: Results) -> Iterator[Target]:
    """Compare with another checkout, where one was measured in turns with this one."""
    for subject, label in ((OURS, "an Order"), (MAPPING, "a plain mapping")):
        key = _of("call", subject)
        found = results.ratio(Series(key, "p50"), Series(_other(key), "p50"))
        yield Target(f"durable call p50 of {label}, to the other checkout's", 1.15, found)
    key = _of("delivery", OURS)
    rate = results.ratio(Series(key, "rate"), Series(_other(key), "rate"))
    yield Target("delivered events/s, to the other checkout's", 0.85, rate, at_least=True)
    for label, site in (
        ("Django", "django_site"),
        ("Flask", "flask_site"),
        ("FastAPI", "fastapi_site"),
    ):
        key = _of("middleware", site)
        found = results.ratio(Series(key, "event-bare"), Series(_other(key), "event-bare"))
        yield Target(f"CPU of an event in a {label} view, to the other checkout's", 1.15, found)


def _other(key: Key) -> Key:
    return attrs.evolve(key, variant=OTHER)


def _of_the_import(results: Results) -> Target:
    found = _ratio(results, _of("imports", "adcp_tracker"), "httpx", "ms")
    return Target("import, to httpx", 1.3, found)


def _of_the_queues(results: Results) -> Iterator[Target]:
    rows, relay = _of("queues", OVER_POSTGRESQL), _of("queues", OVER_RELAY)
    for ours, where, label, peer, least in (
        (rows, "", "procrastinate's, a job per event", "procrastinate_jobs", 50.0),
        (rows, "", "Celery's over Redis, a job per event", "celery_jobs", 20.0),
        (rows, "", "SKIP LOCKED by hand", "skip_locked", 1.5),
        (relay, " by relay", "SKIP LOCKED by hand", "skip_locked", 4.0),
        (rows, "", "the library's over a directory", OVER_DIRECTORY, 0.35),
        (relay, " by relay", "the library's over a directory", OVER_DIRECTORY, 0.6),
    ):
        found = _ratio(results, ours, peer, "rate")
        yield Target(f"events/s from PostgreSQL{where}, to {label}", least, found, at_least=True)
    for label, peer, most in (
        ("Celery's three delays", "celery_jobs", 1.0),
        ("procrastinate's three defers", "procrastinate_jobs", 0.5),
    ):
        found = _ratio(results, rows, peer, "put p50")
        yield Target(f"an event committed to PostgreSQL, p50, to {label}", most, found)
    for ours, where, cpu, wal in ((relay, "by relay", 3.0, 850.0), (rows, "by row", 90.0, 1_800.0)):
        for figure, label, most, unit in (
            ("all server cpu", "the server's processor time", cpu, "µs"),
            ("all wal", "write-ahead log", wal, "bytes"),
        ):
            found = results.median(ours, figure)
            yield Target(
                f"{label} of an event {where}, until it is deleted", most, found, unit=unit
            )


def _of_the_checkout(results: Results) -> Iterator[Target]:
    for framework, label in (("django_checkout", "Django"), ("sqlalchemy_checkout", "SQLAlchemy")):
        key = _of("checkout", framework)
        for name, ours in (("plain", "an event"), ("savepoint", "an event in a savepoint")):
            for other, words, most in (
                ("hand", "an INSERT by hand", 1.2 if name == "plain" else 1.8),
                ("procrastinate", "procrastinate's defer", 0.5),
                ("celery", "Celery's delay", 0.2),
            ):
                found = results.median(key, f"{name}/{other}")
                yield Target(f"{label}: what {ours} adds to a checkout, to {words}", most, found)
