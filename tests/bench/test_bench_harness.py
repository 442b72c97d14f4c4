"""The benchmark's own bearings: what it computes, and that what it measures really happens."""

from __future__ import annotations

import http.client
import shutil
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.bench import plan, scales
from tests.bench.adapters import Spent
from tests.bench.measures.middleware import in_turns
from tests.bench.measures.queued import spending
from tests.bench.plan import Section
from tests.bench.report import problems, tables
from tests.bench.results import Results, Series
from tests.bench.runner import MeasurementError, measure, run
from tests.bench.sink_process import running_sink
from tests.bench.sites.requests import UnexpectedAnswerError
from tests.bench.sites.serving import serving
from tests.bench.sites.shop import PAGE
from tests.bench.subjects import (
    CHECKOUTS,
    CLIENTS,
    JOURNAL,
    MAPPING,
    OURS,
    QUEUES,
    SITES,
    STORES,
    Subject,
)
from tests.bench.tables import Table
from tests.bench.targets import Target, targets
from tests.bench.tasks import OTHER, Key, Task, loads
from tests.bench.timing import percentile, summarize

_EVENTS = 250
_TINY = scales.Scale("tiny", 1, 1, 200, 0.2, 0.05, (2,), 500, 500, 2_000, 200, 1)
_OTHERS = {"checkout", "middleware", "queues", "served"}
_PEERS = [client for client in CLIENTS if client.name not in {OURS, MAPPING}]


def test_percentiles_are_nearest_ranks() -> None:
    """The 99th percentile of 1 to 1,000 µs is the 990th sample, and one sample is all."""
    ordered = [number * 1_000 for number in range(1, 1_001)]
    assert [percentile(ordered, share) for share in (0.5, 0.99, 0.999)] == [500, 990, 999]
    assert percentile([7_000], 0.99) == 7


def test_a_summary_takes_off_what_the_clock_costs_and_never_falls_below_nothing() -> None:
    """Samples shorter than reading the clock count as nothing."""
    assert summarize([0, 0, 0])["mean"] == 0
    assert summarize([1_000_000] * 3)["p50"] == pytest.approx(1_000, abs=5)


def test_a_ratio_is_taken_within_each_round() -> None:
    """A machine that slows down threefold between rounds leaves the ratio alone."""
    results = Results()
    for number, drift in enumerate((1, 3, 2)):
        results.add(Key("call", "ours"), number, {"p50": 10.0 * drift})
        results.add(Key("call", "theirs"), number, {"p50": 40.0 * drift})
    ours, theirs = (Series(Key("call", name), "p50") for name in ("ours", "theirs"))
    assert results.ratio(ours, theirs) == 0.25
    assert results.median(ours.key, "p50") == 20.0


def test_a_ratio_to_what_is_missing_is_nothing() -> None:
    """A peer that is not installed gives no ratio, and its promise counts as not measured."""
    results = Results()
    results.add(Key("call", OURS), 0, {"p50": 10.0, "p99": 20.0})
    results.fail(Key("call", "posthog_client"), "not installed")
    ours, theirs = (Series(Key("call", name), "p50") for name in (OURS, "posthog_client"))
    assert results.ratio(ours, theirs) is None
    verdicts = {target.promise: target.met for target in targets(results)}
    assert verdicts["durable call p50, to PostHog's capture"] is None
    assert verdicts["durable call p99, to its p50"] is True


@pytest.mark.parametrize(
    ("found", "at_least", "met"),
    [(0.9, False, True), (1.1, False, False), (1.1, True, True), (0.9, True, False)],
)
def test_a_promise_is_met_on_its_own_side_of_the_limit(
    found: float, *, at_least: bool, met: bool
) -> None:
    """At most means at most, at least means at least."""
    assert Target("promise", 1.0, found, at_least=at_least).met is met


def test_a_table_is_markdown_with_aligned_columns() -> None:
    """Every line of a table is as wide as the others."""
    text = str(Table("Title", ["what", "µs"], [["a long name", "1.0"], ["b", "1,000"]]))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1


def test_a_task_survives_its_command_line() -> None:
    """What the runner writes, the worker reads."""
    task = Task(Key("append", "journal", "processes-4"), "append", {"workers": 4, "seconds": 0.5})
    assert loads(task.dumps()) == task


def test_only_keeps_what_the_ratios_stand_on() -> None:
    """Naming one peer leaves it and the library, in every section it belongs to."""
    sections = plan.sections(scales.QUICK, frozenset({"call", "posthog_client"}))
    assert [section.name for section in sections] == ["call"]
    assert {task.key.subject for task in sections[0].tasks} == {OURS, MAPPING, "posthog_client"}


def test_the_sink_counts_markers_across_packets_and_answers_each_request(tmp_path: Path) -> None:
    """Two requests on one connection, one of a megabyte, are counted to the last event."""
    with running_sink(b'"event":', tmp_path) as sink:
        connection = http.client.HTTPConnection(urlsplit(sink.url).netloc, timeout=10)
        for body in (b'{"event":1}' * 90_000, b'{"event":2}'):
            connection.request("POST", "/", body)
            answer = connection.getresponse()
            assert (answer.status, b'"events_received":' in answer.read()) == (200, True)
        connection.close()
        received = sink.received()
    assert (received.requests, received.events) == (2, 90_001)
    assert received.body_bytes == 90_001 * 11


def test_a_measurement_that_fails_says_why() -> None:
    """The last line of what its process wrote is the reason."""
    task = Task(Key("append", "no_such_store", "alone"), "append", {"appends": 1, "seconds": 1})
    with pytest.raises(MeasurementError, match="no_such_store"):
        measure(task)


@pytest.mark.parametrize("client", _PEERS, ids=lambda subject: subject.name)
def test_each_peer_delivers_every_event_to_the_sink(client: Subject) -> None:
    """What is timed as delivery has delivered all of it, each event counted once."""
    _skip_unless_installed(client)
    figures = measure(Task(Key("delivery", client.name), "delivery", {"events": _EVENTS}))
    assert figures["share"] == 1
    assert figures["requests"] >= 1


@pytest.mark.timeout(600)
def test_a_run_measures_the_library_in_every_section_and_tells_it_in_tables() -> None:
    """The smallest run there can be, of what nobody else needs to be installed for."""
    wanted = [section for section in plan.SECTIONS if section not in _OTHERS]
    sections = [
        Section(section.name, section.rounds, tuple(filter(_is_ours, section.tasks)))
        for section in plan.sections(_TINY, frozenset(wanted))
    ]
    said: list[str] = []
    results = run(sections, said.append)
    assert problems(results) == []
    assert [section.name for section in sections if not section.tasks] == []
    measured = {key.section for key in results.rounds}
    assert measured == set(wanted)
    assert len(list(tables(results))) > len(wanted)


def _is_ours(task: Task) -> bool:
    return task.key.subject in {OURS, JOURNAL, "adcp_tracker"}


@pytest.mark.parametrize("store", STORES, ids=lambda subject: subject.name)
def test_each_store_appends_in_several_processes(store: Subject) -> None:
    """Every store takes what two processes append at once."""
    _skip_unless_installed(store)
    task = Task(Key("append", store.name, "processes-2"), "append", {"workers": 2, "seconds": 0.05})
    assert measure(task)["rate"] > 0


@pytest.mark.parametrize("queue", QUEUES, ids=lambda subject: subject.name)
def test_each_queue_delivers_every_event_to_all_destinations(queue: Subject) -> None:
    """What is timed as delivery has delivered all of it, also as jobs of many events."""
    _skip_unless_installed(queue)
    if queue.name == "celery_jobs" and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    task = Task(Key("queues", queue.name), "queued", {"events": 100, "size": 50})
    assert measure(task)["share"] == 1


def test_what_a_server_spent_is_told_for_each_event() -> None:
    """Until an event was put, and until it was delivered."""
    spent = [Spent(1_000, 100), Spent(11_000, 1_100), Spent(21_000, 2_100)]
    assert spending(spent, 10) == {
        "put server cpu": 1.0,
        "put wal": 100.0,
        "all server cpu": 2.0,
        "all wal": 200.0,
    }
    assert spending([None, None, None], 10) == {}


def test_a_postgresql_server_tells_what_it_spent() -> None:
    """Each event is in its write-ahead log whole, and its removal, too."""
    task = Task(Key("queues", "adcp_postgresql"), "queued", {"events": 50, "size": 1})
    figures = measure(task)
    assert figures["put server cpu"] > 0
    assert 500 < figures["put wal"] < figures["all wal"]


@pytest.mark.parametrize("framework", CHECKOUTS, ids=lambda subject: subject.name)
def test_each_framework_checks_out_with_ours_and_with_peers(framework: Subject) -> None:
    """In its own transactions, all of them in turns."""
    _skip_unless_installed(framework)
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    figures = measure(Task(Key("checkout", framework.name), "checkout", {"calls": 20}))
    assert {"hand", "driver", "plain", "savepoint", "procrastinate", "celery"} < figures.keys()
    assert figures["hand"] > 0


def test_what_a_checkout_costs_anyway_is_no_cost_of_its_event() -> None:
    """Ratios are of what is added to a bare checkout, with a machine that becomes slower."""
    pytest.importorskip("procrastinate")
    from tests.bench.measures.checkout import in_turns as checkouts_in_turns  # noqa: PLC0415 - an extra

    drift = count(1)
    costs = {"bare": 50_000, "hand": 150_000, "plain": 170_000, "savepoint": 230_000}
    ways = {name: partial(lambda cost, _: cost + next(drift), cost) for name, cost in costs.items()}
    figures = checkouts_in_turns(ways, 5)
    assert figures["hand"] == pytest.approx(100, abs=1)
    assert figures["plain/hand"] == pytest.approx(1.2, abs=0.01)
    assert figures["savepoint/hand"] == pytest.approx(1.8, abs=0.01)


@pytest.mark.parametrize("site", SITES, ids=lambda subject: subject.name)
def test_each_site_answers_bare_tracked_and_with_an_event(site: Subject) -> None:
    """Every framework's page is there with the middleware and without, and events cost more."""
    _skip_unless_installed(site)
    figures = measure(Task(Key("middleware", site.name), "middleware", {"calls": 500}))
    assert 0 < figures["bare"] < figures["event"]
    assert figures["quiet/bare"] > 0


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux tells it alone")
@pytest.mark.parametrize("site", SITES, ids=lambda subject: subject.name)
def test_each_site_answers_under_its_server(site: Subject) -> None:
    """One worker serves it bare and tracked, and works longer for a page with an event."""
    _skip_unless_installed(site)
    figures = measure(Task(Key("served", site.name), "served", {"calls": 500}))
    assert figures["bare"] > 0
    assert figures["quiet/bare"] > 0
    assert figures["event/bare"] > 1


def test_a_browser_says_what_it_was_answered_instead(tmp_path: Path) -> None:
    """A server that does not answer 200 is no measurement."""
    with serving("flask_site", tmp_path) as worker:
        with pytest.raises(UnexpectedAnswerError, match="/missing: expected 200 and a length"):
            worker.browser.ask("/missing", 1)
        worker.browser.ask(PAGE, 1)


def test_ratios_to_the_bare_site_are_taken_within_a_turn() -> None:
    """A machine that becomes slower all the time leaves them alone; an event is told apart."""
    drift = count(1)
    costs = {"bare": 100.0, "quiet": 103.0, "event": 150.0, "capture": 200.0}
    ways = {
        name: partial(lambda cost: cost * (1 + next(drift) * 1e-6), cost)
        for name, cost in costs.items()
    }
    figures = in_turns(ways, 10)
    assert figures["quiet/bare"] == pytest.approx(1.03, rel=1e-4)
    assert figures["event/bare"] == pytest.approx(1.5, rel=1e-4)
    assert figures["event/capture"] == pytest.approx(0.5, rel=1e-2)


def test_another_checkout_is_measured_with_its_own_library(tmp_path: Path) -> None:
    """The measures are of this checkout, and the library is the other's."""
    package = tmp_path / "adcp_tracker"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the other one')")
    task = Task(Key("call", OURS, OTHER), "call", {"calls": 1})
    with pytest.raises(MeasurementError, match="the other one"):
        measure(task, tmp_path)


def test_what_is_ours_is_followed_by_the_same_of_another_checkout() -> None:
    """Peers are measured once, and the library by both checkouts in turns."""
    (call,) = plan.with_other(plan.sections(_TINY, frozenset({"call", "posthog_client"})))
    told = [(task.key.subject, task.key.variant) for task in call.tasks]
    assert told == [
        (OURS, ""),
        (OURS, OTHER),
        (MAPPING, ""),
        (MAPPING, OTHER),
        ("posthog_client", ""),
    ]


def _skip_unless_installed(subject: Subject) -> None:
    if subject.installed() is None:
        pytest.skip(f"{subject.distribution} is not installed")
