"""The power goes: what was not synced may be gone, torn or out of order.

A victim's system calls are written down by strace and replayed into a model of a disk, up
to a moment and without what was not certain to be on the disk by then. Another process then
takes over what is left. What the model is, and is not, stands in ``docs/guarantees.md``.
"""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.support.crashing import syscalls
from tests.support.crashing.cases import Forge, examine_after_power_cut, quick_folder
from tests.support.crashing.disk import VARIANTS, Disk
from tests.support.crashing.plans import EMAIL, FORGOTTEN, PROMPT_S, RARELY_S, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.conftest import Share
    from tests.support.crashing.syscalls import Call

_ROOT = Path(__file__).parents[2]
_SHARE = 20
_ROUNDS = 2
_MOST_RECORDINGS = 20

pytestmark = pytest.mark.skipif(
    not syscalls.is_possible(), reason="needs strace, and the right to trace"
)


@attrs.frozen
class Recording:
    """What a victim did.

    Attributes:
        folder: Its folder, by the path it had then.
        calls: Its system calls.
        last: The last line of the log.
    """

    folder: str
    calls: list[Call]
    last: int

    def writes(self, name: str) -> list[Call]:
        """Return the writes to a file beside the queue."""
        found, descriptors = [], set()
        for call in sorted(self.calls, key=syscalls.takes_effect):
            if call.name == "openat" and call.text(1) == f"{self.folder}/{name}":
                descriptors.add(call.result)
            elif call.name in {"openat", "close"}:
                descriptors.discard(call.result if call.name == "openat" else call.number(0))
            elif call.name == "write" and call.number(0) in descriptors:
                found.append(call)
        return sorted(found, key=lambda call: call.ended)

    def rounds(self) -> list[int]:
        """Return when the counts were published, which follows the sync of each round."""
        counts = f"{self.folder}/queue/books.json"
        return [
            call.ended for call in self.calls if call.name == "rename" and call.text(1) == counts
        ]


def _record(plan: str, durability: str, interval: float = PROMPT_S) -> Recording:
    """Record a victim; again, where it isn't known what another thread did first."""
    for _ in range(_MOST_RECORDINGS):
        with tempfile.TemporaryDirectory() as folder:
            case = Path(folder, "case")
            case.mkdir()
            log = Path(folder, "log")
            module = "tests.support.crashing.traced"
            syscalls.trace(log, module, str(case), plan, durability, str(interval), root=_ROOT)
            calls = syscalls.read(log)
        if syscalls.are_in_order(calls):
            return Recording(str(case), calls, max(call.ended for call in calls))
    raise AssertionError(f"expected calls in order, got none in {_MOST_RECORDINGS} recordings")


@attrs.frozen
class Cut:
    """One loss of power.

    Attributes:
        moment: Before which line of the log it happens.
        variant: What is left then of what was not certain.
        seed: Begins the choice of that.
    """

    moment: int
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.variant} at {self.moment} (seed {self.seed})"


def _survive(forge: Forge, recording: Recording, cut: Cut, promised: list[Call]) -> list[str]:
    """Cut the power, take over, and say what is wrong."""
    with quick_folder() as folder:
        disk = Disk(f"{recording.folder}/queue")
        disk.replay(recording.calls, cut.moment)
        (folder / "queue").mkdir(mode=0o700)
        disk.leave(folder / "queue", cut.variant, random.Random(cut.seed))  # noqa: S311 - a choice
        # What the seller has, it has.
        received = [each for each in recording.writes("ledger") if each.begun < cut.moment]
        for name, calls in (("promised", promised), ("ledger", received)):
            (folder / name).write_bytes(b"".join(call.data(1) for call in calls))
        (folder / "mended").touch()
        answer = forge.ask(do="recover", folder=str(folder))
        problems = examine_after_power_cut(folder)
    return [f"{cut}: {each}" for each in (*problems, *["it hung"] * answer["hung"])]


def _left(recording: Recording, moment: int, variant: str) -> bytes:
    """Return what is in any file after a cut."""
    with quick_folder() as folder:
        disk = Disk(f"{recording.folder}/queue")
        disk.replay(recording.calls, moment)
        disk.leave(folder, variant, random.Random(moment))  # noqa: S311 - a choice
        return b"\n".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


def _cuts(recording: Recording, wanted: str, seed: int) -> list[Cut]:
    """Choose moments: right after each promise, where most is at stake, and others between."""
    chance = random.Random(seed)  # noqa: S311 - a choice
    promises = [call.begun + 1 for call in recording.writes("promised")]
    first = promises[0]
    others = [chance.randrange(first, recording.last + 2) for _ in promises]
    cuts = [
        Cut(moment, variant, chance.randrange(1 << 30))
        for moment in sorted({*promises, *others})
        for variant in VARIANTS
    ]
    if wanted == "all":
        return cuts
    count = _SHARE if wanted == "share" else int(wanted)
    return sorted(chance.sample(cuts, min(count, len(cuts))), key=lambda cut: cut.moment)


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    """A process that forks whoever takes over."""
    one = Forge()
    yield one
    one.close()


@pytest.fixture
def seed(share: Share) -> int:
    """What this round's choices begin with."""
    return share.seed + share.round


@pytest.fixture(scope="module")
def wanted(pytestconfig: pytest.Config) -> str:
    """How many cuts to make."""
    return str(pytestconfig.getoption("--crash-points", default="share"))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("plan", ["sales", "crowd", "closing", "steady"])
def test_with_durability_power_every_promised_event_survives_a_power_cut(
    forge: Forge, plan: str, seed: int, wanted: str
) -> None:
    """Whatever of the rest is gone: an event whose call had returned is delivered."""
    recording = _record(plan, "power")
    cuts = _cuts(recording, wanted, seed)
    wrong: list[str] = []
    for cut in cuts:
        promised = [each for each in recording.writes("promised") if each.begun < cut.moment]
        wrong += _survive(forge, recording, cut, promised)
    print(f"{plan}: {len(cuts)} power cuts, seed {seed}")  # noqa: T201 - figures
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.timeout(0)
def test_with_durability_process_a_power_cut_costs_the_last_round_at_most(
    forge: Forge, seed: int, wanted: str
) -> None:
    """Each round of the uploading process syncs what came before it, and then publishes.

    So what was promised before the last round but one began is there.
    """
    recording = _record("steady", "process")
    rounds = recording.rounds()
    assert len(rounds) > _ROUNDS
    wrong: list[str] = []
    cuts = [each for each in _cuts(recording, wanted, seed) if each.variant != "synced"]
    for cut in cuts:
        over = [each for each in rounds if each < cut.moment][-_ROUNDS:]
        before = over[0] if len(over) == _ROUNDS else 0
        promised = [each for each in recording.writes("promised") if each.ended < before]
        wrong += _survive(forge, recording, cut, promised)
    print(f"{len(cuts)} power cuts, {len(rounds)} rounds, seed {seed}")  # noqa: T201 - figures
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.timeout(0)
def test_each_round_puts_on_the_disk_what_the_one_before_it_found() -> None:
    """For each round of a process that writes and uploads, not for some that chance picks.

    The last publishing is no round's but the end's.
    """
    recording = _record("steady", "process")
    rounds = recording.rounds()[:-1]
    assert len(rounds) > _ROUNDS
    for last, this in pairwise(rounds):
        promised = [each for each in recording.writes("promised") if each.ended < last]
        left = _left(recording, this, "ordered")
        for each in promised:
            name = json.dumps(json.loads(each.data(1))[0]).encode()
            assert name in left, f"{name.decode()} at {this}, between the rounds {rounds}"


@pytest.mark.timeout(0)
def test_what_was_erased_does_not_come_back_after_a_power_cut() -> None:
    """Once a person is forgotten, no file has their events any more, whatever goes lost."""
    # No round's sync makes up for the erasure's own.
    recording = _record("forget at once", "power", RARELY_S)
    trace = hashlib.sha256(EMAIL.encode()).hexdigest().encode()
    token = recording.writes(TOKEN)[0].data(1)
    moment = recording.writes(FORGOTTEN)[0].begun
    assert trace in _left(recording, recording.writes("promised")[-1].begun, "ordered")
    for variant in VARIANTS:
        left = _left(recording, moment, variant)
        assert trace not in left, variant
        assert token not in left, variant
