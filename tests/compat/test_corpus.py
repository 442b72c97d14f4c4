"""Two thousand inputs make what they made when the corpus was recorded, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat import corpus
from tests.compat.accepted import ACCEPTED

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN = 25


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, str], dict[str, corpus.Item]]:
    """The corpus."""
    return corpus.load()


@pytest.fixture(scope="module")
def replayed(
    recorded: tuple[dict[str, str], dict[str, corpus.Item]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, corpus.Item]:
    """What the library makes of the same inputs now."""
    folder: Path = tmp_path_factory.mktemp("corpus")
    return {item.name: item for item in corpus.replay(recorded[0], folder, recorded[1])}


def test_every_input_makes_what_was_recorded(
    recorded: tuple[dict[str, str], dict[str, corpus.Item]], replayed: dict[str, corpus.Item]
) -> None:
    """Records, requests, keys, dead letters and books differ only where that is accepted."""
    _, items = recorded
    assert list(items) == list(replayed)
    found = {name: corpus.difference(items[name], replayed[name]) for name in items}
    unexpected = {name: text for name, text in found.items() if text and name not in ACCEPTED}
    shown = "\n".join([*list(unexpected.values())[:_SHOWN], "all of them:", *unexpected])
    assert not unexpected, f"{len(unexpected)} of {len(items)} differ:\n{shown}"


def test_no_accepted_difference_is_out_of_date(
    recorded: tuple[dict[str, str], dict[str, corpus.Item]], replayed: dict[str, corpus.Item]
) -> None:
    """Whatever is accepted as a difference is one."""
    _, items = recorded
    stale = [name for name in ACCEPTED if not corpus.difference(items[name], replayed[name])]
    assert not stale


def test_the_corpus_holds_what_it_is_for(
    recorded: tuple[dict[str, str], dict[str, corpus.Item]],
) -> None:
    """There are two thousand items, and enough of each kind of outcome."""
    _, items = recorded
    results = [item.outcome["result"][0] for item in items.values() if "result" in item.outcome]
    kinds = [
        item.outcome["outcome"]["kind"] for item in items.values() if "outcome" in item.outcome
    ]
    assert len(items) > 2000
    assert all(results.count(each) > 100 for each in ("event", "rejected", "raised"))
    assert all(kinds.count(each) > 30 for each in ("Retry", "Rejected", "Paused", "Delivered"))
