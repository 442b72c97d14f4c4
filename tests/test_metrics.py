"""Metrics: the table, Prometheus' text and client, and OpenTelemetry."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import DestinationStats, Stats, Tracker
from adcp_tracker.destinations.base import Delivered, EventFailure, Retry
from adcp_tracker.metrics import METRICS, PrometheusCollector, cumulative, instrument, render
from tests.support.booked import track
from tests.support.destinations import ScriptedDestination, wait_until

pytest.importorskip("prometheus_client", reason="an extra")
pytest.importorskip("opentelemetry.sdk", reason="an extra")

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.scraping import booked, odd_histogram, run_receiver, scrape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.destinations.base import Outcome

    Make = Callable[..., Tracker]

NAME = "scripted"
_CODE = 'seller\'s "own" \\ code\nof two lines'
_BUSY = Retry(_CODE, "m")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a tracker."""
    return partial(Tracker, directory=tmp_path / "q", handle_sigterm=False, flush_interval=0.02)


def a_bad_day(make: Make, *first: Outcome) -> Tracker:
    """Leave events in a queue, and return a tracker whose seller delivers them with trouble."""
    failure = EventFailure("C", "m", index=1)
    last = Delivered(failures=(failure,), received=4, processed=3, match_quality=0.625)
    shop = make(uploader="external")
    track(shop, 4)
    shop.track_purchase({"id": "A-1", "total": "5.00", "currency": "EUR", "email": "nobody"})
    shop.track_purchase({"id": "A-2", "total": "5.00", "currency": "euro"})
    shop.close()
    return make([ScriptedDestination(outcomes=[*first, last])])


def settled(tracker: Tracker) -> Stats:
    """Return the published statistics once nothing is pending."""
    wait_until(lambda: not tracker.stats().pending)
    wait_until(lambda: tracker.stats(live=False).destinations == tracker.stats().destinations)
    return tracker.stats()


def test_names_follow_the_conventions() -> None:
    """Each has the prefix, the unit, and the suffix of its kind."""
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"adcp(_[a-z]+)+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.meaning.endswith(".")
        assert metric.bounds == tuple(sorted(metric.bounds))


@pytest.mark.slow
def test_a_scrape_has_the_figures_of_the_stats(make: Make) -> None:
    """Read by Prometheus' own client, every number is the one that stats() has."""
    with a_bad_day(make, _BUSY) as tracker:
        tracker.start()
        stats = settled(tracker)
        found = scrape(render(tracker.stats(live=False)))
    expected = booked(stats)
    assert found.items() >= expected.items()
    at = frozenset({("destination", NAME)})
    assert found["adcp_events_delivered_total", at] == 3
    assert found["adcp_retries_total", at | {("status", _CODE)}] == 1
    assert found["adcp_batch_events_sum", at] == 5
    assert found["adcp_match_quality_ratio", at] == 0.625
    assert found["adcp_oldest_pending_age_seconds", at] == 0
    omitted = at | {("field", "user_match.hashed_email"), ("reason", "invalid")}
    assert found["adcp_fields_omitted_total", omitted] == 1


def test_the_collector_has_the_same_figures(make: Make) -> None:
    """In the application's own registry, as in the text."""
    with a_bad_day(make) as tracker:
        tracker.start()
        settled(tracker)
        registry = CollectorRegistry()
        registry.register(PrometheusCollector(tracker))
        found = scrape(generate_latest(registry).decode())
        text = scrape(render(tracker.stats(live=False)))
    changing = "adcp_stats_timestamp_seconds"
    assert {k: v for k, v in found.items() if k[0] != changing} == {
        k: v for k, v in text.items() if k[0] != changing
    }
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(PrometheusCollector(tracker))


def test_every_process_reports_the_same(make: Make) -> None:
    """One that never delivers has the numbers of the one that does, and what waits since."""
    with a_bad_day(make) as tracker:
        tracker.start()
        stats = settled(tracker)
    shop = make(uploader="external")
    track(shop, 2, first=10)
    found = scrape(render(shop.stats(live=False)))
    shop.close()
    at = frozenset({("destination", NAME)})
    assert found["adcp_events_delivered_total", at] == stats.total().delivered
    assert found["adcp_events_pending", at] == 2


def test_a_counter_never_decreases(make: Make) -> None:
    """Not even while a dead letter is on its way again, or Prometheus would see a new process."""
    failure = EventFailure("C", "m", index=0)
    seller = ScriptedDestination(outcomes=[Delivered(failures=(failure,))])
    with make([seller]) as tracker:
        track(tracker, 3)
        settled(tracker)
        seller.gate.clear()
        seen = []
        tracker.dead_letters.replay([letter.id for letter in tracker.dead_letters.list()])
        wait_until(lambda: len(seller.batches) == 2)
        seen.append(tracker.stats().destinations[NAME].measures.accepted)
        seller.gate.set()
        seen.append(settled(tracker).destinations[NAME].measures.accepted)
        assert seen == [3, 3]
        assert tracker.stats().total().accepted == 3


def test_a_collector_that_fails_leaves_the_others_alone(make: Make) -> None:
    """The application's metrics go on if the queue can't be read."""
    with make([ScriptedDestination()]) as tracker:
        collector = PrometheusCollector(tracker)
        tracker.stats = None  # type: ignore[method-assign, assignment]  # a call of it fails
        registry = CollectorRegistry()
        registry.register(collector)
        assert generate_latest(registry) == b""


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 2**53)))
def test_any_reason_survives_the_text(reasons: dict[str, int]) -> None:
    """Sellers and destinations choose some of the labels."""
    stats = Stats({"d": DestinationStats(dropped=reasons)})
    found = {
        dict(labels)["reason"]: value
        for (name, labels), value in scrape(render(stats)).items()
        if name == "adcp_events_dropped_total"
    }
    assert found == {reason: float(count) for reason, count in reasons.items()}


def test_a_histogram_of_another_version_is_read() -> None:
    """What was counted under a bound that isn't known counts under the next one."""
    (metric,) = [each for each in METRICS if each.name == "adcp_delivery_latency_seconds"]
    buckets = dict(cumulative(metric, odd_histogram()))
    assert (buckets["5"], buckets["10"], buckets["86400"], buckets["+Inf"]) == (0, 2, 2, 3)


@pytest.mark.slow
def test_an_export_has_the_figures_of_the_stats(make: Make) -> None:
    """Read back by a receiver of OTLP, with a span for each request."""
    with run_receiver() as exported:
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{exported.endpoint}/v1/metrics"), 3_600_000
        )
        meters, tracers = MeterProvider([reader]), TracerProvider()
        tracers.add_span_processor(
            SimpleSpanProcessor(OTLPSpanExporter(f"{exported.endpoint}/v1/traces"))
        )
        tracker = a_bad_day(make, _BUSY)
        instrument(tracker, meter_provider=meters, tracer_provider=tracers)
        tracker.start()
        stats = settled(tracker)
        tracker.close()
        shop = make(uploader="external")
        instrument(shop, meter_provider=meters)  # of the same process, so it reports as well
        shop.close()
        meters.shutdown()
        tracers.shutdown()
    assert exported.samples.items() >= booked(stats).items()
    text = scrape(render(stats))
    for key in text:
        if "bucket" in key[0] or "_sum" in key[0]:
            assert exported.samples[key] == pytest.approx(text[key], rel=1e-3)
    assert [span["adcp.outcome"] for span in exported.spans] == ["retry", "delivered"]
    first, second = exported.spans
    assert (first["name"], first["error.type"], first["status"]) == ("adcp.deliver", _CODE, 2)
    assert (second["adcp.batch.events"], second["adcp.destination"]) == (5, NAME)


_SHOP = """
import sys
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from adcp_tracker import Tracker
from adcp_tracker.metrics import instrument
reader = InMemoryMetricReader()
tracker = Tracker(directory=sys.argv[1], uploader="external")
instrument(tracker, meter_provider=MeterProvider([reader]))
data = reader.get_metrics_data()
names = [m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
         if list(m.data.data_points)]
assert names == ["adcp.events.in_memory", "adcp.events.not_inserted"], names
"""


@pytest.mark.slow
def test_a_process_that_does_not_deliver_exports_no_counts(make: Make, tmp_path: Path) -> None:
    """So a sum over processes counts nothing twice."""
    with make([ScriptedDestination()]) as tracker:
        track(tracker, 1)
        settled(tracker)
    subprocess.run([sys.executable, "-c", _SHOP, str(tmp_path / "q")], check=True)


@pytest.mark.slow
def test_without_its_extra_it_says_what_to_install() -> None:
    """A missing package is named with the command that installs it."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None; "
        "from adcp_tracker.metrics import PrometheusCollector; PrometheusCollector(None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'adcp-tracker[prometheus]'" in done.stderr


@pytest.mark.slow
def test_the_library_loads_none_of_it() -> None:
    """Importing and using a tracker imports no client, no SDK and no HTTP server."""
    code = (
        "import sys, tempfile; from adcp_tracker import Tracker; "
        "t = Tracker(directory=tempfile.mkdtemp() + '/q'); t.track_lead('A'); t.close(); "
        "print([m for m in ('prometheus_client', 'opentelemetry', 'http.server', "
        "'adcp_tracker.metrics') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
