"""A disk that refuses, at each single call by which anything gets on it.

strace answers a victim's n-th write, sync, rename and so on with an error, a few times in
each of its threads, and lets the next ones through. By default a share of the calls is
tried; ``--faults-full`` tries each.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.crashing import syscalls
from tests.support.crashing.cases import Forge
from tests.support.crashing.failing import CALLS, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.settings import Durability
    from tests.support.crashing.cases import Verdict

_SHARE = 6
_TIMES = 4
_AT_ONCE = 3

pytestmark = pytest.mark.skipif(
    not syscalls.is_possible(), reason="needs strace, and the right to trace"
)


@pytest.fixture(scope="module")
def forges() -> Iterator[list[Forge]]:
    """Processes that fork victims."""
    several = [Forge() for _ in range(_AT_ONCE)]
    yield several
    for each in several:
        each.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_refuses_a_call_costs_no_event(
    call: str, forges: list[Forge], *, full: bool
) -> None:
    """The host sees no error; each event is delivered once, and the counts balance."""
    _endure(call, forges, full=full)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_with_durability_power_a_refused_sync_costs_no_event(
    call: str, forges: list[Forge], *, full: bool
) -> None:
    """The same, where each call waits for the disk to confirm its event."""
    _endure(call, forges, "power", full=full)


def _endure(
    call: str, forges: list[Forge], durability: Durability = "process", *, full: bool
) -> None:
    alive, made = forges[0].endure("sales", None, durability)
    assert not alive.problems
    count = made[call]
    assert count
    step = 1 if full else max(count // _SHARE, 1)
    failures = [Failure(call, CALLS[call], first, _TIMES) for first in range(1, count + 1, step)]

    def judge(number: int) -> list[Verdict]:
        mine = failures[number::_AT_ONCE]
        return [forges[number].endure("sales", each, durability)[0] for each in mine]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = [each for some in pool.map(judge, range(_AT_ONCE)) for each in some]
    reached = sum(verdict.reached for verdict in verdicts)
    print(f"{call}: {len(verdicts)} of {count} calls, {reached} failed")  # noqa: T201 - figures
    wrong = [str(verdict) for verdict in verdicts if verdict.problems]
    assert not wrong, "\n\n".join(wrong[:10])
    assert reached
