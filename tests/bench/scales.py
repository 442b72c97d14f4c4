"""How large a run is: on two cores a minute, twenty, or as long as it takes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Scale:
    """The sizes of all sections.

    Attributes:
        name: The option that asks for it.
        rounds: Rounds of the sections whose measurements are short.
        long_rounds: Rounds of those whose measurements are long.
        calls: Calls per measurement.
        beside_seconds: How long one measurement beside CPU-bound threads lasts.
        append_seconds: How long one measurement of appends in threads or processes lasts.
        processes: How many processes append at once.
        delivered: Events per delivery.
        peers_queued: How many events queue up in a peer's memory.
        queued: How many queue up in the library.
        traced: How many queue up while every allocation is traced.
        import_repeats: Imports per measurement.
        put: How many events wait in a queue before its workers begin.
        jobs: How many, where each is a job of its own for each destination.
    """

    name: str
    rounds: int
    long_rounds: int
    calls: int
    beside_seconds: float
    append_seconds: float
    processes: tuple[int, ...]
    delivered: int
    peers_queued: int
    queued: int
    traced: int
    import_repeats: int
    put: int = 2_000
    jobs: int = 100


QUICK = Scale("quick", 3, 1, 3_000, 1.5, 0.3, (1, 4), 20_000, 10_000, 100_000, 2_000, 1, 5_000, 100)
DEFAULT = Scale(
    "default",
    5,
    3,
    20_000,
    3.0,
    0.5,
    (1, 2, 4, 8),
    100_000,
    100_000,
    1_000_000,
    10_000,
    3,
    20_000,
    500,
)
FULL = Scale(
    "full",
    9,
    7,
    50_000,
    5.0,
    1.0,
    (1, 2, 4, 8),
    100_000,
    1_000_000,
    1_000_000,
    10_000,
    5,
    50_000,
    1_000,
)
