"""What is measured in each section, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.bench.subjects import (
    CHECKOUTS,
    CLIENTS,
    FLOOR,
    IMPORTS,
    JOURNAL,
    MAPPING,
    OURS,
    OVER_POSTGRESQL,
    OVER_RELAY,
    QUEUES,
    SITES,
    STORES,
)
from tests.bench.tasks import OTHER, Key, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.bench.scales import Scale
    from tests.bench.subjects import Subject

BURNERS = 2
THREADS = 4
_APPENDS = 20_000
_BESIDE_CALLS = 5_000
_SMALL_BACKLOG = 10_000
_COMPARED = frozenset({"call", "delivery", "middleware"})
_ALWAYS = {OURS, MAPPING, JOURNAL, FLOOR, OVER_POSTGRESQL, OVER_RELAY, "adcp_tracker", "httpx"}
_JOBS = frozenset({"procrastinate_jobs", "celery_jobs"})
_BATCH = 1_000
_CHECKOUT_PART = 20
BATCHES = "batches"
"""The variant of a queue whose jobs are batches, which somebody else made."""


QUICK_ONLY = frozenset(
    {
        *("call", "delivery", "middleware"),
        *("posthog_client", "mixpanel_client", *(site.name for site in SITES)),
    }
)
"""What a quick run looks at unless it is told: the ratios that changes are held against."""


@attrs.frozen
class Section:
    """One part of a run.

    Attributes:
        name: What ``--only`` takes.
        rounds: How often each of its tasks is done.
        tasks: What is done in each round.
    """

    name: str
    rounds: int
    tasks: tuple[Task, ...]


def sections(scale: Scale, only: frozenset[str] = frozenset()) -> list[Section]:
    """Lay out the sections named in `only`, or all, for the subjects named there, or all.

    The library itself, and what its ratios stand on, are always among the subjects.
    """
    wanted = only & set(SECTIONS)
    subjects = only - wanted
    plan = [
        Section(name, rounds(scale), tuple(_chosen(build(scale), subjects)))
        for name, (rounds, build) in SECTIONS.items()
        if not wanted or name in wanted
    ]
    return [section for section in plan if section.tasks]


def with_other(plan: Iterable[Section]) -> list[Section]:
    """Follow each task that may be compared by the same with another checkout's library."""
    return [
        attrs.evolve(section, tasks=tuple(_followed(section)))
        if section.name in _COMPARED
        else section
        for section in plan
    ]


def _followed(section: Section) -> Iterable[Task]:
    own = {OURS, MAPPING, *(site.name for site in SITES)}
    for task in section.tasks:
        yield task
        if task.key.subject in own:
            yield attrs.evolve(task, key=attrs.evolve(task.key, variant=OTHER))


def known_names() -> frozenset[str]:
    """Give every name that ``--only`` may take."""
    subjects = {
        subject.name for subject in (*CLIENTS, *STORES, *SITES, *IMPORTS, *QUEUES, *CHECKOUTS)
    }
    return frozenset(SECTIONS) | subjects


def _chosen(tasks: Iterable[Task], subjects: frozenset[str]) -> Iterable[Task]:
    return (task for task in tasks if not subjects or task.key.subject in subjects | _ALWAYS)


def _each(
    subjects: Iterable[Subject], section: str, measure: str, variant: str = "", **options: float
) -> list[Task]:
    return [Task(Key(section, subject.name, variant), measure, options) for subject in subjects]


def _call(scale: Scale) -> list[Task]:
    return _each(CLIENTS, "call", "call", calls=scale.calls)


def _beside(scale: Scale) -> list[Task]:
    return _each(
        CLIENTS,
        "beside",
        "beside",
        calls=_BESIDE_CALLS,
        burners=BURNERS,
        seconds=scale.beside_seconds,
    )


def _threads(scale: Scale) -> list[Task]:
    return [
        task
        for threads in (1, THREADS)
        for task in _each(
            CLIENTS, "threads", "threads", str(threads), calls=scale.calls, threads=threads
        )
    ]


def _append(scale: Scale) -> list[Task]:
    sizes = {"appends": _APPENDS, "seconds": scale.append_seconds}
    return _each(STORES, "append", "append", "alone", **sizes)


def _crowded(scale: Scale) -> list[Task]:
    seconds = {"seconds": scale.append_seconds}
    beside = {"burners": BURNERS, "seconds": scale.beside_seconds}
    tasks = _each(STORES, "crowded", "append", "beside", appends=_BESIDE_CALLS, **beside)
    tasks += _each(STORES, "crowded", "append", f"threads-{THREADS}", workers=THREADS, **seconds)
    for workers in scale.processes:
        variant = f"processes-{workers}"
        tasks += _each(STORES, "crowded", "append", variant, workers=workers, **seconds)
    return tasks


def _delivery(scale: Scale) -> list[Task]:
    clients = CLIENTS[:1] if scale.name == "quick" else CLIENTS  # peers take their time
    return _each(clients, "delivery", "delivery", events=scale.delivered)


def _memory(scale: Scale) -> list[Task]:
    ours = [client for client in CLIENTS if client.name == OURS]
    peers = [client for client in CLIENTS if client.name not in {OURS, MAPPING}]
    tasks = _each([*ours, *peers], "memory", "growth", "heap", events=scale.traced)
    tasks += _each(ours, "memory", "growth", "queued", events=scale.queued)
    tasks += _each(peers, "memory", "growth", "queued", events=scale.peers_queued)
    for state, fewest in (("down", 0), ("drain", _SMALL_BACKLOG)):
        for events in (fewest, scale.queued):
            tasks += _each(ours, "memory", "backlog", f"{state}-{events}", events=events)
    return tasks


def _middleware(scale: Scale) -> list[Task]:
    return _each(SITES, "middleware", "middleware", calls=scale.calls)


def _served(scale: Scale) -> list[Task]:
    return _each(SITES, "served", "served", calls=scale.calls)


def _queues(scale: Scale) -> list[Task]:
    jobs = [subject for subject in QUEUES if subject.name in _JOBS]
    others = [subject for subject in QUEUES if subject.name not in _JOBS]
    return [
        *_each(others, "queues", "queued", events=scale.put, size=1),
        *_each(jobs, "queues", "queued", events=scale.jobs, size=1),
        *_each(jobs, "queues", "queued", BATCHES, events=scale.put, size=_BATCH),
    ]


def _checkout(scale: Scale) -> list[Task]:
    return _each(CHECKOUTS, "checkout", "checkout", calls=scale.calls // _CHECKOUT_PART)


def _imports(scale: Scale) -> list[Task]:
    return _each(IMPORTS, "imports", "imports", repeats=scale.import_repeats)


SECTIONS: dict[str, tuple[Callable[[Scale], int], Callable[[Scale], list[Task]]]] = {
    "call": (lambda scale: scale.rounds, _call),
    "beside": (lambda scale: scale.long_rounds, _beside),
    "threads": (lambda scale: scale.long_rounds, _threads),
    "append": (lambda scale: scale.rounds, _append),
    "crowded": (lambda scale: scale.long_rounds, _crowded),
    "delivery": (
        lambda scale: scale.rounds if scale.name == "quick" else scale.long_rounds,
        _delivery,
    ),
    "memory": (lambda scale: 1 if scale.name != "full" else scale.long_rounds, _memory),
    "middleware": (lambda scale: scale.long_rounds, _middleware),
    "served": (lambda scale: scale.long_rounds, _served),
    "imports": (lambda scale: scale.long_rounds, _imports),
    "queues": (
        lambda scale: scale.rounds if scale.name == "quick" else scale.long_rounds,
        _queues,
    ),
    "checkout": (lambda scale: scale.long_rounds, _checkout),
}
