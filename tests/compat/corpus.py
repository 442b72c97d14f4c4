"""The recorded corpus: where it is kept, and how it is written, read and compared.

One item a line, as JSON, compressed: its name, the input in words, and what came of it.
"""

from __future__ import annotations

import json
import logging
import lzma
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tests.compat import answering, delivering, replaying
from tests.compat.inputs import inputs

if TYPE_CHECKING:
    from tests.compat.answering import Answer
    from tests.compat.delivering import Scenario
    from tests.compat.inputs import Input

FILE = Path(__file__).with_name("corpus.jsonl.xz")
_TOKENS = "tokens"
_SHOWN_CHARACTERS = 600


@attrs.frozen
class Item:
    """One input and what came of it.

    Attributes:
        name: Names the input.
        given: The input in words.
        outcome: What came of it, as JSON.
    """

    name: str
    given: str
    outcome: Any


def replay(
    tokens: dict[str, str], folder: Path, recorded: dict[str, Item] | None = None
) -> list[Item]:
    """Run all inputs through the library as it is.

    Args:
        tokens: The context tokens that calls are given.
        folder: An empty folder.
        recorded: What was recorded, for what waits in the queues to be delivered; left out,
            what the calls record now.
    """
    calls = inputs()
    called = replaying.replay_all(folder, calls, tokens)
    asked = answering.answers()
    heard = {each.name: answering.outcome_of(each) for each in asked}
    played = delivering.scenarios()
    waiting = called if recorded is None else {each: recorded[each].outcome for each in called}
    delivered = delivering.deliver_all(folder, waiting)
    found = {**called, **heard, **delivered}
    everything: list[Input | Answer | Scenario] = [*calls, *asked, *played]
    given = {each.name: str(each) for each in everything}
    assert len(given) == len(everything), "two inputs have one name"
    return [Item(name, given[name], _as_json(found[name])) for name in given]


def record() -> int:
    """Record the library as it is, and return the number of items."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = replaying.capture_tokens(folder)
        items = replay(tokens, folder)
    lines = [{_TOKENS: tokens}, *map(attrs.asdict, items)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    FILE.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    return len(items)


def load() -> tuple[dict[str, str], dict[str, Item]]:
    """Return the recorded tokens, and the recorded items by their names."""
    lines = lzma.decompress(FILE.read_bytes()).decode().split("\n")
    tokens: dict[str, str] = json.loads(lines[0])[_TOKENS]
    items = [Item(**json.loads(line)) for line in lines[1:] if line]
    return tokens, {item.name: item for item in items}


def difference(recorded: Item, found: Item) -> str:
    """Say in what an item differs from what was recorded; empty if it does not."""
    if recorded.given != found.given:
        return f"{found.name}: the input itself is another now: {_short(found.given)}"
    if recorded.outcome == found.outcome:
        return ""
    lines = [f"{found.name}: {_short(found.given)}"]
    for path, was, is_now in _differing("$", recorded.outcome, found.outcome):
        lines += [f"  at {path}", f"    recorded {_short(was)}", f"    now      {_short(is_now)}"]
    return "\n".join(lines)


def _differing(path: str, was: Any, is_now: Any) -> list[tuple[str, Any, Any]]:  # noqa: ANN401 - JSON
    if isinstance(was, dict) and isinstance(is_now, dict):
        names = dict.fromkeys((*was, *is_now))
        return [
            each
            for name in names
            for each in _differing(f"{path}.{name}", was.get(name), is_now.get(name))
        ]
    if isinstance(was, list) and isinstance(is_now, list) and len(was) == len(is_now):
        return [
            each
            for place, (one, other) in enumerate(zip(was, is_now, strict=True))
            for each in _differing(f"{path}[{place}]", one, other)
        ]
    return [] if was == is_now else [(path, was, is_now)]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _as_json(value: object) -> Any:  # noqa: ANN401 - JSON
    return json.loads(json.dumps(value))
