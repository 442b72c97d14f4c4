"""Several processes that judge cases side by side, each with a forge of its own.

A victim waits more than it works, so there are more of them than processors.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from tests.support.crashing.cases import Forge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from tests.support.crashing.cases import Case, Verdict

_PER_PROCESSOR = 2

_forges: list[Forge] = []


class Forges:
    """Judges cases, several at a time.

    Args:
        count: How many at a time; left out, two for each processor.
    """

    def __init__(self, count: int | None = None) -> None:
        self._pool = ProcessPoolExecutor(
            count or _PER_PROCESSOR * len(os.sched_getaffinity(0)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_open,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def survey(self, case: Case) -> dict[tuple[str, int], int]:
        """Let a victim live, and return how often each line was executed."""
        return self._pool.submit(_survey, case).result()

    def judge(self, cases: Iterable[Case]) -> Iterator[Verdict]:
        """Run cases, and return what each came to, in their order."""
        return self._pool.map(_judge, cases)


def _open() -> None:
    """Start the forge of a judging process; it ends when its standard input does."""
    _forges.append(Forge())


def _survey(case: Case) -> dict[tuple[str, int], int]:
    return _forges[0].survey(case)


def _judge(case: Case) -> Verdict:
    return _forges[0].judge(case)
