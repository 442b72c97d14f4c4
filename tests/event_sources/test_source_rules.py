"""A tracker that knows its event sources tells a mismatch early, with the remedy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import InvalidEventError, RejectedEvent, Tracker
from adcp_tracker.event_sources.api import rules_from
from adcp_tracker.event_sources.model import EventSource, SourceReport, SourcesReport
from adcp_tracker.event_sources.rules import SourceRule, load, save
from adcp_tracker.journal.files import QueueDirectory
from tests.event_sources.asking import ACCOUNT, agent, interchange
from tests.support.destinations import wait_until
from tests.support.seller import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

EUROS = EventSource(event_source_id=SOURCE, event_types=["purchase"], value_currencies=["EUR"])
ANYTHING = EventSource(event_source_id=SOURCE)


def buy(tracker: Tracker, order_id: str, currency: str = "EUR") -> object:
    """Track a purchase."""
    return tracker.track_purchase({"id": order_id, "total": "1", "currency": currency})


def test_a_mismatch_is_a_dead_letter_before_it_is_sent(seller: Sandbox, tmp_path: Path) -> None:
    """After a sync, the wrong type and currency go nowhere, keep everything and can be replayed."""
    with Tracker([interchange(seller)], directory=tmp_path) as tracker:
        tracker.event_sources.sync([EUROS])
        buy(tracker, "good")
        buy(tracker, "dollars", "USD")
        tracker.track_lead("L-1", email="a@b.example")
        tracker.flush(10.0)
        letters = {letter.code: letter for letter in tracker.dead_letters.list()}
        assert set(letters) == {"CURRENCY_NOT_REGISTERED", "EVENT_TYPE_NOT_REGISTERED"}
        assert "Add USD" in letters["CURRENCY_NOT_REGISTERED"].remedy
        assert "purchase" in letters["EVENT_TYPE_NOT_REGISTERED"].remedy
        assert [event["event_id"] for event in seller.events] == ["good"]
        assert not seller.bad
        tracker.event_sources.sync([ANYTHING])
        tracker.dead_letters.replay([letter.id for letter in letters.values()])
        counts = tracker.flush(10.0).total()
    assert (counts.delivered, counts.dead) == (3, 0)
    assert len(seller.events) == 3


def test_each_destination_has_its_own_rule(seller: Sandbox, tmp_path: Path) -> None:
    """What one event source does not take still goes to the other."""
    other = agent(seller, event_source_id="all")
    seller.configure()
    with Tracker([interchange(seller), other], directory=tmp_path) as tracker:
        wanted = [EUROS, EventSource(event_source_id="all")]
        tracker.event_sources.sync(wanted, account=ACCOUNT)
        buy(tracker, "dollars", "USD")
        stats = tracker.flush(10.0)
    assert stats.destinations[interchange(seller).name].dead == 1
    assert stats.destinations[other.name].delivered == 1


def test_strict_trackers_raise_where_nobody_takes_it(seller: Sandbox, tmp_path: Path) -> None:
    """A developer hears of it in the call itself, with path and what is taken."""
    destination = interchange(seller)
    tracker = Tracker([destination], directory=tmp_path, strict=True, event_sources=[EUROS])
    with tracker, pytest.raises(InvalidEventError) as caught:
        buy(tracker, "dollars", "USD")
    (fault,) = caught.value.errors
    assert fault.path == "$.custom_data.currency"
    assert "EUR" in fault.expected
    assert "USD" in fault.got
    with tracker, pytest.raises(InvalidEventError, match=r"\$\.event_type"):
        tracker.track_lead("L-1")


def test_sources_may_be_said_instead_of_asked(seller: Sandbox, tmp_path: Path) -> None:
    """What the constructor is told holds without any call to a seller, and before the file."""
    save(QueueDirectory(tmp_path), {interchange(seller).name: SourceRule(SOURCE)})
    with Tracker([interchange(seller)], directory=tmp_path, event_sources=[EUROS]) as tracker:
        result = buy(tracker, "dollars", "USD")
        assert not isinstance(result, RejectedEvent)
        assert tracker.flush(10.0).total().dead == 1
    assert {request.call for request in seller.requests} <= {"log_event"}


def test_a_later_process_knows_what_an_earlier_learned(seller: Sandbox, tmp_path: Path) -> None:
    """What a deployment synced is known to the workers that start after it."""
    with Tracker([interchange(seller)], directory=tmp_path) as deployment:
        deployment.event_sources.sync([EUROS])
    with Tracker([interchange(seller)], directory=tmp_path) as worker:
        buy(worker, "dollars", "USD")
        assert worker.flush(10.0).total().dead == 1
    with Tracker([interchange(seller, event_source_id="other")], directory=tmp_path) as moved:
        assert moved._recorder._rules.known is None  # noqa: SLF001 - nothing is asked of events then


def test_a_running_process_learns_what_another_wrote(seller: Sandbox, tmp_path: Path) -> None:
    """The thread that uploads sees a sync by another process, without a restart."""
    destination = interchange(seller)
    with Tracker([destination], directory=tmp_path, flush_interval=0.02) as tracker:
        tracker.start()
        rule = SourceRule(SOURCE, frozenset({"lead"}))
        save(QueueDirectory(tmp_path), {destination.name: rule})
        wait_until(lambda: destination.source_rule == rule)
        save(QueueDirectory(tmp_path), {destination.name: None})
        wait_until(lambda: destination.source_rule is None)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": {}}', b"\xff", None])
def test_a_file_that_cannot_be_read_tells_nothing(content: bytes | None, tmp_path: Path) -> None:
    """Damage, and another user's file or link, make no rule and break no tracker."""
    QueueDirectory(tmp_path).prepare()
    file = tmp_path / "sources.json"
    if content is None:
        file.symlink_to("/etc/hostname")
    else:
        file.touch(0o600)
        file.write_bytes(content)
    assert load(QueueDirectory(tmp_path)) == {}
    with Tracker(directory=tmp_path) as tracker:
        assert not isinstance(buy(tracker, "o-1"), RejectedEvent)


def test_what_is_kept_is_private_and_read_back(tmp_path: Path) -> None:
    """The file is the owner's alone; rules of other destinations stay."""
    directory = QueueDirectory(tmp_path)
    rule = SourceRule("w", frozenset({"lead", "purchase"}), frozenset({"EUR"}))
    save(directory, {"a": rule})
    save(directory, {"b": SourceRule("x")})
    assert load(directory) == {"a": rule, "b": SourceRule("x")}
    assert os.stat(tmp_path / "sources.json").st_mode & 0o777 == 0o600  # noqa: PTH116 - its mode


def test_a_list_keeps_what_a_sync_taught(seller: Sandbox, tmp_path: Path) -> None:
    """A seller that lists a source without its types and currencies makes nobody forget them."""
    destination = agent(seller)
    with Tracker([destination], directory=tmp_path) as tracker:
        tracker.event_sources.sync([EUROS], account=ACCOUNT)
        rule = destination.source_rule
        assert rule == SourceRule(SOURCE, frozenset({"purchase"}), frozenset({"EUR"}))
        shown = SourceReport(SOURCE, "Website")
        known = load(QueueDirectory(tmp_path))
        found = rules_from([SourcesReport(destination.name, (shown,))], [destination], known=known)
        assert found == {destination.name: rule}
        tracker.event_sources.list(account=ACCOUNT)
        assert destination.source_rule == rule


def test_a_value_without_a_currency_is_rejected_where_currencies_are_listed(
    seller: Sandbox, tmp_path: Path
) -> None:
    """Such a seller must refuse it; a purchase without either goes out."""
    with Tracker([interchange(seller)], directory=tmp_path, event_sources=[EUROS]) as tracker:
        tracker.track("purchase", event_id="value", click_id="c", custom_data={"value": 5})
        tracker.track("purchase", event_id="none", click_id="c")
        counts = tracker.flush(10.0).total()
        (letter,) = tracker.dead_letters.list()
    assert (counts.delivered, counts.dead) == (1, 1)
    assert (letter.code, b'"value"' in letter.event) == ("CURRENCY_REQUIRED", True)
    assert "EUR" in letter.remedy
