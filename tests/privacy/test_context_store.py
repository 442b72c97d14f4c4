"""Purchases that come without the shopper: the context is found again, and honoured."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker._platform import SystemClock
from adcp_tracker.context import Consent, RequestContext, bind_context
from adcp_tracker.events.parsing import clean_id
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import ContextFiles
from adcp_tracker.privacy.context_store import (
    MOST_REMEMBERED,
    ContextStore,
    ContextTokens,
    TokenSigner,
)
from adcp_tracker.tracker import Tracker
from tests.support.destinations import HandClock, ScriptedDestination, wait_until
from tests.support.persons import reader, remembered_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker._platform import Clock
    from adcp_tracker.events.event import Event, RejectedEvent

    Make = Callable[..., Tracker]

_ROOT = Path(__file__).parents[2]
_WAIT_S = 30.0
SHOPPER = RequestContext(
    client_ip="203.0.113.7",
    client_user_agent="Mozilla/5.0",
    event_source_url="https://shop.example/thanks",
    click_id="Cj0-click",
    click_id_type="gclid",
    consent=Consent.GRANTED,
)
PROVIDER = RequestContext("198.51.100.9", "Payments/1.0", "https://shop.example/webhook")
DENIED = RequestContext("203.0.113.7", "Mozilla/5.0", consent=Consent.DENIED)
ORDER = {"id": "A-1", "total": "12.50", "currency": "EUR", "email": "a@example.com"}
KEY = "0123456789abcdef-site"


def store_of(directory: QueueDirectory, clock: Clock, most: int = MOST_REMEMBERED) -> ContextStore:
    """Return the remembered contexts of a directory, signed by its own key."""
    contexts = ContextFiles(directory, clock)
    return ContextStore(contexts, ContextTokens(contexts, (), clock), clock, most=most)


def told(event: Event | RejectedEvent) -> dict[str, Any]:
    """Return what of the shopper an event tells."""
    match = event.user_match  # type: ignore[union-attr]  # a rejected one would fail the test
    names = ("client_ip", "client_user_agent", "click_id", "click_id_type")
    found = {name: getattr(match, name) for name in names if getattr(match, name, None)}
    url = event.event_source_url  # type: ignore[union-attr]  # likewise
    return found | ({"event_source_url": url} if url else {})


EVERYTHING = {
    "client_ip": "203.0.113.7",
    "client_user_agent": "Mozilla/5.0",
    "click_id": "Cj0-click",
    "click_id_type": "gclid",
    "event_source_url": "https://shop.example/thanks",
}
SHOPPER_ONLY = {name: EVERYTHING[name] for name in list(EVERYTHING)[:-1]}


def test_a_token_brings_the_shopper_to_every_kind_of_event(make: Make) -> None:
    """Purchase, lead and any other; a refund gets the shopper and not the page."""
    tracker = make()
    with bind_context(SHOPPER):
        token = tracker.contexts.capture()
    assert told(tracker.track_purchase(ORDER, context=token)) == EVERYTHING
    assert told(tracker.track_lead("L-1", context=token)) == EVERYTHING
    assert told(tracker.track("subscribe", key=1, context=token)) == EVERYTHING
    assert told(tracker.track_refund(ORDER, context=token)) == SHOPPER_ONLY


def test_a_token_wins_over_the_current_request(make: Make) -> None:
    """That one is the payment provider's."""
    tracker = make()
    token = tracker.contexts.capture(SHOPPER)
    with bind_context(PROVIDER):
        assert told(tracker.track_purchase(ORDER, context=token)) == EVERYTHING


def test_what_the_order_says_wins_over_the_context(make: Make) -> None:
    """The click of the order is not mixed with the request's."""
    tracker = make()
    token = tracker.contexts.capture(SHOPPER)
    order = ORDER | {"click_id": "own", "client_ip": "203.0.113.8"}
    refund = told(tracker.track_refund(order, context=token))
    assert (refund["click_id"], refund["client_ip"]) == ("own", "203.0.113.8")
    assert "click_id_type" not in refund


@pytest.mark.parametrize("token", ["", "c1.rubbish", "nonsense", "c9.AAAA", "x" * 10_000])
def test_a_bad_token_breaks_no_checkout(
    make: Make, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The event goes without a context, neither the token's nor the provider's; the log tells."""
    tracker = make(strict=True)
    with bind_context(PROVIDER), caplog.at_level(logging.WARNING, "adcp_tracker"):
        assert told(tracker.track_purchase(ORDER, context=token)) == {}
        assert told(tracker.track_lead("L-1", email="a@example.com", context=token)) == {}
    assert ("context.not_restored" in caplog.text) == bool(token)
    assert not token or token not in caplog.text
    assert len(tracker.privacy.export(email="a@example.com")) == 2


def test_an_expired_token_restores_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """After 30 days by the tracker's clock."""
    clock = HandClock()
    tracker = make(uploader="external", _clock=clock)
    token = tracker.contexts.capture(SHOPPER)
    clock.time += 30 * 86_400
    assert told(tracker.track_purchase(ORDER, context=token)) == {}
    assert "expired" in caplog.text


def test_outside_of_a_request_there_is_nothing_to_capture(make: Make, tmp_path: Path) -> None:
    """Then neither a key nor a folder is made."""
    tracker = make()
    assert tracker.contexts.capture() == ""
    assert tracker.contexts.remember("A-1") is False
    assert not (tmp_path / "queue").exists()


def test_an_order_remembers_its_shopper(make: Make) -> None:
    """Its purchase and its refund find the context by themselves, whatever kind of id it is."""
    tracker = make()
    with bind_context(SHOPPER):
        assert tracker.contexts.remember("A-1")
        assert tracker.contexts.remember(17)
    assert told(tracker.track_purchase(ORDER)) == EVERYTHING
    assert told(tracker.track_refund(ORDER)) == SHOPPER_ONLY
    assert told(tracker.track_purchase(ORDER | {"id": 17})) == EVERYTHING
    assert told(tracker.track_purchase(ORDER | {"id": "A-2"})) == {}
    assert tracker.contexts.recall("A-1") == SHOPPER
    assert tracker.contexts.recall("A-2") == RequestContext()


def test_an_order_can_be_remembered_as_it_is(make: Make) -> None:
    """Whoever has the order need not know which of its names the purchase goes by."""
    tracker = make()
    order = {**ORDER, "id": 2, "number": "A-1"}
    assert tracker.contexts.remember(order, context=SHOPPER)
    assert tracker.contexts.recall(order) == tracker.contexts.recall("A-1") == SHOPPER
    assert tracker.contexts.recall(2) == RequestContext()
    assert told(tracker.track_purchase(order)) == EVERYTHING
    assert told(tracker.track_purchase({"number": "A-1"})) == EVERYTHING
    assert tracker.contexts.remember({"total": 1}, context=SHOPPER) is False
    assert tracker.contexts.recall({"total": 1}) == RequestContext()


def test_in_a_request_only_recall_looks_it_up(make: Make) -> None:
    """The request is taken for the shopper's, unless the provider's view says otherwise."""
    tracker = make()
    tracker.contexts.remember("A-1", context=SHOPPER)
    with bind_context(PROVIDER):
        assert told(tracker.track_purchase(ORDER))["client_ip"] == PROVIDER.client_ip
        assert told(tracker.track_refund(ORDER)) == {}
        assert (
            told(tracker.track_purchase(ORDER, context=tracker.contexts.recall("A-1")))
            == EVERYTHING
        )
        assert (
            told(
                tracker.track_purchase(
                    ORDER | {"id": "A-2"}, context=tracker.contexts.recall("A-2")
                )
            )
            == {}
        )


class _Opened(threading.local):
    """What this thread has opened since it asked to have it noted; other threads have their own."""

    names: list[str] | None = None


_opened = _Opened()


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if _opened.names is not None and event in {"open", "os.scandir", "os.listdir"}:
        _opened.names.append(str(arguments[0]))


# It cannot be taken away again.
sys.addaudithook(_note_opened)


def test_a_request_never_looks_into_the_memory(make: Make) -> None:
    """With a current context nothing is opened; without one, only the order's own file."""
    tracker = make()
    tracker.contexts.remember("A-1", context=SHOPPER)
    tracker.track_purchase(ORDER)
    _opened.names = []
    try:
        with bind_context(SHOPPER):
            tracker.track_purchase(ORDER)
            tracker.track_refund(ORDER)
            tracker.track_lead("L-1")
        assert _opened.names == []
        tracker.track_purchase(ORDER)
        assert len(_opened.names) == 1
        assert "remembered" in _opened.names[0]
    finally:
        _opened.names = None


def test_where_nothing_was_ever_remembered_nothing_is_looked_up(tmp_path: Path) -> None:
    """And what another process remembers is noticed."""
    directory = QueueDirectory(tmp_path / "queue")
    clock = HandClock()
    here = store_of(directory, clock)
    assert here.recall("A-1") is None
    there = store_of(directory, clock)
    assert there.remember("A-1", SHOPPER)
    assert here.recall("A-1") is None
    clock.time += 1.0
    assert here.recall("A-1") == SHOPPER


RECALLS = """
import json, sys
from adcp_tracker.tracker import Tracker
tracker = Tracker([], directory=sys.argv[1], handle_sigterm=False)
event = tracker.track_purchase(json.loads(sys.argv[2]), context=sys.argv[3] or None)
print(event.user_match.client_ip)
tracker.close()
"""


@pytest.mark.slow
def test_another_process_finds_it_and_reads_tokens(make: Make, tmp_path: Path) -> None:
    """A worker of a task queue on the same machine needs nothing but the directory."""
    tracker = make()
    tracker.contexts.remember("A-1", context=SHOPPER)
    token = tracker.contexts.capture(SHOPPER)
    for order, given_token in [("A-1", ""), ("A-2", token)]:
        command = [sys.executable, "-c", RECALLS, str(tmp_path / "queue")]
        command += [json.dumps(ORDER | {"id": order}), given_token]
        said = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, check=True, timeout=_WAIT_S
        )
        assert said.stdout.strip() == SHOPPER.client_ip


def test_machines_share_tokens_by_the_sites_keys(tmp_path: Path) -> None:
    """Keys are given in code or by the environment, are rotated, and are never shown."""
    env = {"ADCP_DIRECTORY": str(tmp_path / "a"), "ADCP_CONTEXT_KEYS": f"{KEY}-new, {KEY}"}
    one, two = Tracker.from_env(env), Tracker([], directory=tmp_path / "b", context_keys=[KEY])
    assert one.contexts.recall("A-1") == RequestContext()
    assert told(one.track_purchase(ORDER, context=two.contexts.capture(SHOPPER))) == EVERYTHING
    assert told(two.track_purchase(ORDER, context=one.contexts.capture(SHOPPER))) == {}
    assert not (tmp_path / "a" / "context.key").exists()
    assert KEY not in repr(one) + repr(one.settings)
    one.close()
    two.close()


def test_what_was_remembered_survives_a_new_key(make: Make) -> None:
    """The name and the token are found by the former key."""
    former = make(context_keys=[KEY])
    former.contexts.remember("A-1", context=SHOPPER)
    assert make(context_keys=[KEY + "-new", KEY]).contexts.recall("A-1") == SHOPPER


def test_a_short_key_is_refused_at_once(tmp_path: Path) -> None:
    """When the tracker is made, and not at the first checkout."""
    with pytest.raises(ConfigurationError, match="context_keys"):
        Tracker([], directory=tmp_path, context_keys=["short"])


def test_one_key_need_not_stand_in_a_list(make: Make) -> None:
    """Its letters are not taken for a key each."""
    make(context_keys=[KEY]).contexts.remember("A-1", context=SHOPPER)
    assert make(context_keys=KEY).contexts.recall("A-1") == SHOPPER


@pytest.mark.parametrize("keys", [None, 5, [None], [KEY, None]])
def test_what_is_no_key_is_refused_at_once(tmp_path: Path, keys: Any) -> None:  # noqa: ANN401 - as a site might
    """As where an environment variable that is not set was read for it; no key is shown."""
    with pytest.raises(
        ConfigurationError, match=r"context_keys: expected .*, got (NoneType|int)"
    ) as raised:
        Tracker([], directory=tmp_path, context_keys=keys)
    assert KEY not in str(raised.value)


def test_a_denial_is_remembered_without_the_shopper(make: Make, tmp_path: Path) -> None:
    """What is kept tells that consent was denied, and nobody's address; it is honoured."""
    tracker = make()
    assert tracker.contexts.remember("A-1", context=DENIED)
    (token,) = remembered_tokens(tmp_path / "queue")
    kept = reader(QueueDirectory(tmp_path / "queue")).read(token).context
    assert kept == RequestContext(consent=Consent.DENIED)
    tracker.track_purchase(ORDER)
    tracker.track_refund(ORDER)
    tracker.track_lead("L-1", email="a@example.com", context=tracker.contexts.capture(DENIED))
    assert tracker.privacy.export(order_id="A-1")[0]["kind"] == "remembered"
    tracker.close()
    destination = ScriptedDestination()
    stats = make(destination).flush()
    assert destination.delivered == []
    assert stats.destinations["scripted"].dropped == {"consent": 3}


def test_names_of_files_tell_nothing(make: Make, tmp_path: Path) -> None:
    """An order's id may be a person's name; files are private, in a private folder."""
    tracker = make()
    tracker.contexts.remember(
        "smith-1", email="smith@example.com", phone="+12065551234", context=SHOPPER
    )
    folder = tmp_path / "queue" / "remembered"
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "smith" not in path.name + path.read_text()
    assert "12065551234" not in path.read_text()


def test_a_wrong_address_does_not_keep_the_order_from_being_remembered(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells that it will not be found by it, without repeating it."""
    tracker = make()
    assert tracker.contexts.remember("A-1", email="not an address", context=SHOPPER)
    assert "context.without_owner" in caplog.text
    assert "not an address" not in caplog.text
    assert tracker.contexts.recall("A-1") == SHOPPER


@pytest.mark.parametrize("spoil", ["key", "folder", "file"])
def test_a_spoiled_directory_breaks_no_checkout(
    make: Make, tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Remembering is said to have failed, and events go without a context."""
    tracker = make(strict=True)
    tracker.contexts.remember("A-1", context=SHOPPER)
    queue = tmp_path / "queue"
    (file,) = (queue / "remembered").iterdir()
    if spoil == "key":
        (queue / "context.key").write_bytes(b"")
        tracker = make(strict=True)
    elif spoil == "folder":
        file.unlink()
        file.parent.rmdir()
        file.parent.write_bytes(b"")
    else:
        file.chmod(0o644)
    assert told(tracker.track_purchase(ORDER)) == {}
    if spoil == "key":
        assert tracker.contexts.capture(SHOPPER) == ""
        assert told(tracker.track_lead("L", email="a@example.com", context="c1.AAAA")) == {}
    if spoil != "file":
        assert tracker.contexts.remember("A-2", context=SHOPPER) is False
    assert "context.not_" in caplog.text


def test_what_was_remembered_goes_when_it_is_old_or_too_much(tmp_path: Path) -> None:
    """After 30 days, or when newer ones need the room; half-written files go too."""
    directory, clock = QueueDirectory(tmp_path / "queue"), HandClock()
    memory = store_of(directory, clock, most=2)
    for number in range(4):
        clock.time += 86_400
        memory.remember(f"A-{number}", SHOPPER)
    half = directory.remembered / f".{'5f' * 16}.0a1b2c3d"
    half.write_bytes(b"")
    os.utime(half, (clock.time - 61,) * 2)
    memory.sweep()
    assert [memory.recall(f"A-{number}") is None for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert len(list(directory.remembered.iterdir())) == 2
    clock.time += 29.5 * 86_400
    memory.sweep()
    assert [
        path.stat().st_mtime > clock.time - 30 * 86_400 for path in directory.remembered.iterdir()
    ] == [True]


def test_the_process_that_uploads_sweeps(make: Make, tmp_path: Path) -> None:
    """Nobody has to think of it."""
    before = make()
    before.contexts.remember("A-1", context=SHOPPER)
    (path,) = (tmp_path / "queue" / "remembered").iterdir()
    os.utime(path, (1_600_000_000,) * 2)
    make(ScriptedDestination()).start()
    wait_until(lambda: not path.exists())


def test_threads_may_remember_the_same_order(make: Make) -> None:
    """The last one counts, and none of them fails."""
    tracker = make()
    kept: list[bool] = []

    def remember() -> None:
        kept.extend(tracker.contexts.remember("A-1", context=SHOPPER) for _ in range(20))

    threads = [threading.Thread(target=remember) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept == [True] * 80
    assert tracker.contexts.recall("A-1") == SHOPPER


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text().map(clean_id), st.text(min_size=1, max_size=40), max_size=5))
def test_any_order_id_finds_its_own(
    tmp_path_factory: pytest.TempPathFactory, orders: dict[str, str]
) -> None:
    """Empty, with slashes or in any script: no two are mixed up, and none names a file."""
    directory = QueueDirectory(tmp_path_factory.mktemp("queue") / "queue")
    memory = store_of(directory, SystemClock())
    for order_id, click_id in orders.items():
        assert memory.remember(order_id, RequestContext(click_id=click_id))
    for order_id, click_id in orders.items():
        assert memory.recall(order_id) == RequestContext(click_id=click_id)


def test_tokens_are_those_of_the_library(make: Make) -> None:
    """Whoever holds the key can read them, and nobody can make them without."""
    tracker = make(context_keys=[KEY])
    token = tracker.contexts.capture(SHOPPER)
    assert TokenSigner([KEY]).read(token).context == SHOPPER
    forged = TokenSigner(["another-key-0123456789"]).issue(SHOPPER)
    assert told(tracker.track_purchase(ORDER, context=forged)) == {}
