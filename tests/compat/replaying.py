"""Calls a tracker with each input, and tells what came of it."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import attrs
from freezegun import freeze_time

from adcp_tracker import Event, InvalidEventError, RejectedEvent, bind_context
from tests.compat import surface
from tests.compat.disk import Line, Tail
from tests.compat.inputs import Input, token_contexts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from adcp_tracker import Tracker

FROZEN = "2026-05-06T07:08:09.123456+00:00"
FROZEN_S = 1778051289.123456
KEY = "compat-key-of-thirty-two-bytes-ok"
SETUPS: dict[str, dict[str, Any]] = {
    "drop": {"on_denied": "drop"},
    "strip": {"on_denied": "strip", "default_region": "DE", "test_event_code": "T-1"},
    "strict": {"strict": True},
}
"""The trackers that inputs are given to."""

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
MASK = "<described>"
_WORDS = frozenset({"message", "remedy"})

Outcome = dict[str, Any]


@attrs.define
class Shop:
    """One tracker, and what it has dropped since it was last asked."""

    tracker: Tracker
    tail: Tail
    dropped: list[str]


def replay_all(
    folder: Path, inputs: Sequence[Input], tokens: Mapping[str, str]
) -> dict[str, Outcome]:
    """Call trackers with all inputs in turn, and return each one's outcome by its name."""
    found: dict[str, Outcome] = {}
    with freeze_time(FROZEN), ExitStack() as stack:
        shops = {name: _open(folder / name, name) for name in SETUPS}
        for shop in shops.values():
            stack.callback(shop.tracker.stop)
        for each in inputs:
            found[each.name] = _outcome(shops[each.setup], each, tokens)
    return found


def capture_tokens(folder: Path) -> dict[str, str]:
    """Return a token for each context that has one."""
    with freeze_time(FROZEN):
        tracker = _open(folder / "tokens", "drop").tracker
        made = [surface.capture(tracker, context) for context in token_contexts()]
        tracker.stop()
    return {f"token-{number}": token for number, token in enumerate(made)}


def _open(directory: Path, name: str) -> Shop:
    dropped: list[str] = []
    tracker = surface.make_tracker(
        now=FROZEN_S,
        directory=directory,
        uploader="external",
        handle_sigterm=False,
        context_keys=KEY,
        on_drop=dropped.append,
        **SETUPS[name],
    )
    return Shop(tracker, Tail(directory), dropped)


def _outcome(shop: Shop, each: Input, tokens: Mapping[str, str]) -> Outcome:
    options, around = dict(each.options), nullcontext()
    context: Any = tokens[each.context] if isinstance(each.context, str) else each.context
    if each.remembered:
        surface.remember(shop.tracker, each.arguments[0], context)
    elif each.bound:
        around = bind_context(context)  # type: ignore[assignment]  # both bind nothing to a name
    elif context is not None:
        options["context"] = context
    shop.dropped.clear()
    with around:
        result = _call(shop.tracker, each, options)
    outcome: Outcome = {"result": result}
    records = [_shown(line, result[-1]) for line in shop.tail.read() if line.kind != "D"]
    if records:
        outcome["records"] = records
    if shop.dropped:
        outcome["dropped"] = list(shop.dropped)
    return outcome


def _call(tracker: Tracker, each: Input, options: dict[str, Any]) -> list[Any]:
    try:
        event = getattr(tracker, each.method)(*each.arguments, **options)
    except InvalidEventError as error:
        return ["raised", "InvalidEventError", _paths(error)]
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is compared
        return ["raised", type(error).__name__]
    if isinstance(event, RejectedEvent):
        paths = _paths(event)
        event_type = MASK if "$.event_type" in paths else event.event_type
        event_id = MASK if "$.event_id" in paths else event.event_id
        return ["rejected", event_type, event_id, paths]
    assert isinstance(event, Event)
    return ["event", event.event_type.value, event.event_id]


def _paths(refused: InvalidEventError | RejectedEvent) -> list[str]:
    return surface.paths(refused)


def _shown(line: Line, paths: list[str]) -> dict[str, Any] | str:
    """Return a record as it is, but for words for a person.

    Those are the message and the remedy of a refused event, and the descriptions that stand
    in the place of its invalid values, at `paths`.
    """
    if not _WORDS & line.envelope.keys():
        return line.raw.decode()
    envelope = {name: each for name, each in line.envelope.items() if name not in _WORDS}
    return {
        "kind": line.kind,
        "time": line.raw[9:22].decode(),
        "envelope": envelope,
        "event": _masked(json.loads(line.body), paths),
    }


def _masked(event: Any, paths: list[str]) -> str:  # noqa: ANN401 - JSON
    """Return an event's JSON with one mark for each description at one of the `paths`."""
    for path in paths:
        steps: list[Any] = [
            int(index) if index else name for name, index in _STEP.findall(path.removeprefix("$"))
        ]
        holder = event
        try:
            for step in steps[:-1]:
                holder = holder[step]
            if steps and isinstance(holder[steps[-1]], str):
                holder[steps[-1]] = MASK
        except (LookupError, TypeError):
            continue  # what is wrong there was not kept
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
