"""Export a person's data: everything, with where it is, and nobody else's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from adcp_tracker.context import RequestContext
from adcp_tracker.destinations.base import Delivered, EventFailure, Retry
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.persons import ALICE, EMAIL, UID, track_alice, track_others

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.tracker import Tracker

    Make = Callable[..., Tracker]


def _of_kind(listed: list[dict[str, object]], kind: str) -> Any:  # noqa: ANN401 - JSON
    assert json.loads(json.dumps(listed)) == listed
    (found,) = [each for each in listed if each["kind"] == kind]
    return found


def test_events_are_listed_with_how_far_they_have_got(make: Make, tmp_path: Path) -> None:
    """Per destination: one has it, another is waited for."""
    up, down = ScriptedDestination("up"), ScriptedDestination("down")
    down.outcomes.append(Retry("http_503", "down", retry_after=3600.0))
    tracker = make(up, down)
    track_others(tracker, 2)
    track_alice(tracker)
    wait_until(lambda: tracker.stats().destinations["up"].delivered == 3)
    wait_until(lambda: tracker.stats().destinations["down"].retrying)
    found = _of_kind(tracker.privacy.export(email=EMAIL), "event")
    assert found["destinations"]["up"] == "sent"
    assert found["destinations"]["down"] in {"pending", "waiting"}
    assert found["event"]["event_id"] == "alice"
    assert found["event"]["user_match"]["hashed_email"] == ALICE[0]
    assert found["accepted_at"].endswith("Z")
    name, _, offset = found["where"].partition(":")
    data = (tmp_path / "queue" / name).read_bytes()
    assert b'"alice"' in data[int(offset) :].split(b"\n")[0]


def test_dead_letters_and_remembered_contexts_are_listed(make: Make) -> None:
    """With why the letter died, and what the context tells."""
    failure = EventFailure("BAD", "bad", event_id="alice")
    tracker = make(ScriptedDestination(outcomes=[Delivered((failure,))]))
    track_alice(tracker)
    tracker.flush()
    tracker.contexts.remember(
        "A-1", email=EMAIL, context=RequestContext("192.0.2.1", "Mozilla/5.0")
    )
    listed = tracker.privacy.export(email=EMAIL)
    letter = _of_kind(listed, "dead_letter")
    assert (letter["destination"], letter["code"]) == ("scripted", "BAD")
    assert letter["where"] == f"dead/{tracker.dead_letters.list()[0].id}"
    assert letter["event"]["event_id"] == "alice"
    assert _of_kind(listed, "remembered")["context"]["client_ip"] == "192.0.2.1"


def test_listing_changes_nothing(make: Make) -> None:
    """It can be asked for as often as somebody likes; what was forgotten is not there."""
    tracker = make()
    track_others(tracker, 2)
    track_alice(tracker)
    assert tracker.privacy.export(uid=UID) == tracker.privacy.export(uid=UID) != []
    assert tracker.privacy.export(event_id="B-1") != []
    tracker.privacy.erase(uid=UID)
    assert tracker.privacy.export(uid=UID) == []
    assert tracker.privacy.export(email=EMAIL) == []
    assert tracker.stats().waiting == 3
