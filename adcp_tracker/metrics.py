"""A tracker's metrics, for Prometheus, OpenTelemetry and node_exporter's text files.

:data:`METRICS` is the one table that all of them are made of. It is filled from the statistics
that the uploading process publishes about once a second, so every process of a queue reports
the same numbers, and reading them waits for nothing.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker._platform import SystemClock
from adcp_tracker._version import __version__
from adcp_tracker.delivery.stats import add_up
from adcp_tracker.destinations.base import Delivered, Paused, Rejected, Retry, TooLarge
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.state import BATCH_EVENTS, LATENCY_SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import Metric as PrometheusMetric

    from adcp_tracker.delivery.stats import DestinationStats, Stats
    from adcp_tracker.destinations.base import Batch, Outcome
    from adcp_tracker.hooks import DeliveredNotice, OnSend
    from adcp_tracker.tracker import Tracker

    Values = Iterable[tuple[tuple[str, ...], float | Histogram]]

__all__ = ["METRICS", "Metric", "PrometheusCollector", "instrument", "render"]

_CACHE_SECONDS = 0.5
_UNITS = {"seconds": "s", "ratio": "1", "events": "{event}", "requests": "{request}"}
_IN_NAME = frozenset({"seconds", "ratio"})


@attrs.frozen
class Metric:
    """A metric.

    Attributes:
        dotted: Its name in OpenTelemetry, without ``adcp.``.
        kind: What it is.
        unit: What its values are.
        meaning: What it says, in one sentence.
        labels: The names of its labels.
        read: Returns its values by labels, from statistics and the time.
        bounds: The upper bounds of a histogram's buckets.
        is_local: Whether it is about the asking process and not about the queue.
    """

    dotted: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...]
    read: Callable[[Stats, float], Values]
    bounds: tuple[float, ...] = ()
    is_local: bool = False

    @property
    def family(self) -> str:
        """Its name in Prometheus without the suffix of a counter."""
        suffix = f"_{self.unit}" if self.unit in _IN_NAME else ""
        return "adcp_" + self.dotted.replace(".", "_") + suffix

    @property
    def name(self) -> str:
        """Its name in Prometheus."""
        return self.family + ("_total" if self.kind == "counter" else "")

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names of its samples in Prometheus."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "count", "sum"))


def _each(
    read: Callable[[DestinationStats], float | Histogram | None],
) -> Callable[[Stats, float], Values]:
    """Return what reads one value of each destination that has it."""

    def values(stats: Stats, _: float) -> Values:
        for name, counts in sorted(stats.destinations.items()):
            value = read(counts)
            if value is not None:
                yield (name,), value

    return values


def _each_key(
    read: Callable[[DestinationStats], dict[str, int]],
) -> Callable[[Stats, float], Values]:
    """Return what reads the counts of each destination by key."""

    def values(stats: Stats, _: float) -> Values:
        for name, counts in sorted(stats.destinations.items()):
            for key, count in sorted(read(counts).items()):
                yield (name, key), count

    return values


def _omitted(stats: Stats, _: float) -> Values:
    for name, counts in sorted(stats.destinations.items()):
        for key, count in sorted(counts.omitted.items()):
            field, _space, reason = key.rpartition(" ")
            yield (name, field, reason), count


def _whole(read: Callable[[Stats], float]) -> Callable[[Stats, float], Values]:
    return lambda stats, _: [((), read(stats))]


def _ages(stats: Stats, now: float) -> Values:
    for name, counts in sorted(stats.destinations.items()):
        yield (name,), 0.0 if counts.oldest_at is None else max(now - counts.oldest_at, 0.0)


_ONE = ("destination",)

METRICS = (
    Metric(
        "events.accepted",
        "counter",
        "events",
        "Events that were recorded for the destination.",
        _ONE,
        _each(lambda counts: counts.measures.accepted),
    ),
    Metric(
        "events.delivered",
        "counter",
        "events",
        "Events that the seller says it processed.",
        _ONE,
        _each(lambda counts: counts.delivered),
    ),
    Metric(
        "events.unconfirmed",
        "counter",
        "events",
        "Events that the seller accepted without saying that it processed them.",
        _ONE,
        _each(lambda counts: counts.unconfirmed),
    ),
    Metric(
        "events.dropped",
        "counter",
        "events",
        "Events that were dropped, by reason.",
        ("destination", "reason"),
        _each_key(lambda counts: counts.dropped),
    ),
    Metric(
        "fields.omitted",
        "counter",
        "events",
        "Events that were sent without a field that could not be used.",
        ("destination", "field", "reason"),
        _omitted,
    ),
    Metric(
        "events.pending",
        "gauge",
        "events",
        "Events that wait for delivery.",
        _ONE,
        _each(lambda counts: counts.pending),
    ),
    Metric(
        "events.dead",
        "gauge",
        "events",
        "Dead letters: events that wait for a decision.",
        _ONE,
        _each(lambda counts: counts.dead),
    ),
    Metric(
        "events.unassigned",
        "gauge",
        "events",
        "Events that wait until a destination is configured.",
        (),
        _whole(lambda stats: stats.waiting),
    ),
    Metric(
        "events.in_memory",
        "gauge",
        "events",
        "Events that only the answering process has, because the disk refuses them.",
        (),
        _whole(lambda stats: stats.in_memory),
        is_local=True,
    ),
    Metric(
        "events.not_inserted",
        "counter",
        "events",
        "Events that the answering process could not insert in the application's transaction.",
        (),
        _whole(lambda stats: stats.failed_inserts),
        is_local=True,
    ),
    Metric(
        "oldest.pending.age",
        "gauge",
        "seconds",
        "How long the oldest pending event has waited; 0 if none is pending.",
        _ONE,
        _ages,
    ),
    Metric(
        "delivery.latency",
        "histogram",
        "seconds",
        "The time from recording an event until the seller had it.",
        _ONE,
        _each(lambda counts: counts.measures.latency),
        LATENCY_SECONDS,
    ),
    Metric(
        "batch.events",
        "histogram",
        "events",
        "How many events the requests had that the seller accepted.",
        _ONE,
        _each(lambda counts: counts.measures.batches),
        BATCH_EVENTS,
    ),
    Metric(
        "retries",
        "counter",
        "requests",
        "Requests that have to be sent again, by HTTP status, error code or reason.",
        ("destination", "status"),
        _each_key(lambda counts: counts.measures.retries),
    ),
    Metric(
        "match.quality",
        "gauge",
        "ratio",
        "The latest share of events that the seller could match to a person, 0–1.",
        _ONE,
        _each(lambda counts: counts.match_quality),
    ),
    Metric(
        "destination.paused",
        "gauge",
        "",
        "1 while nothing is sent because the configuration is wrong, else 0.",
        _ONE,
        _each(lambda counts: int(bool(counts.paused))),
    ),
    Metric(
        "destination.retrying",
        "gauge",
        "",
        "1 while the latest request has to be sent again, else 0.",
        _ONE,
        _each(lambda counts: int(bool(counts.retrying))),
    ),
    Metric(
        "destination.key_missing",
        "gauge",
        "",
        "1 while pending events can't be decrypted, else 0.",
        _ONE,
        _each(lambda counts: int(bool(counts.missing_keys))),
    ),
    Metric(
        "stats.timestamp",
        "gauge",
        "seconds",
        "When the uploading process last published these numbers, in seconds since the epoch.",
        (),
        _whole(lambda stats: stats.taken_at),
    ),
)
"""All metrics."""


def cumulative(metric: Metric, histogram: Histogram) -> list[tuple[str, int]]:
    """Return a histogram's buckets: up to each bound, how many values there are."""
    names = [f"{bound:g}" for bound in metric.bounds] + ["+Inf"]
    counts = [0] * len(names)
    for name, count in histogram.buckets.items():  # maybe of a version with other bounds
        counts[bisect_left(metric.bounds, float(name))] += count
    return [(name, sum(counts[: place + 1])) for place, name in enumerate(names)]


def render(stats: Stats, now: float | None = None) -> str:
    """Return all metrics in Prometheus' text format.

    Args:
        stats: The statistics.
        now: Seconds since the epoch; left out, the present.
    """
    now = time.time() if now is None else now
    return "".join(f"{line}\n" for metric in METRICS for line in _lines(metric, stats, now))


def _lines(metric: Metric, stats: Stats, now: float) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.meaning}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for values, value in metric.read(stats, now):
        labels = dict(zip(metric.labels, values, strict=True))
        if not isinstance(value, Histogram):
            yield f"{metric.name}{_labelled(labels)} {value}"
            continue
        for bound, count in cumulative(metric, value):
            yield f"{metric.name}_bucket{_labelled({**labels, 'le': bound})} {count}"
        yield f"{metric.name}_count{_labelled(labels)} {value.count}"
        yield f"{metric.name}_sum{_labelled(labels)} {value.sum}"


def _labelled(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class PrometheusCollector:
    """Collects a tracker's metrics for ``prometheus_client``.

    Register it once: ``REGISTRY.register(PrometheusCollector(tracker))``. It needs the extra
    ``prometheus``.

    Args:
        tracker: The tracker.

    Raises:
        ConfigurationError: If ``prometheus_client`` is not installed.
    """

    def __init__(self, tracker: Tracker) -> None:
        _require("prometheus_client", "prometheus")
        self._tracker = tracker
        self._throttled_log = ThrottledLogger(SystemClock())

    def describe(self) -> list[PrometheusMetric]:
        """Return all metrics without values, for the registry to see their names."""
        return [_family(metric, ()) for metric in METRICS]

    def collect(self) -> list[PrometheusMetric]:
        """Return all metrics; none if the queue can't be read, which is logged."""
        try:
            stats = self._tracker.stats(live=False)
        except Exception as error:  # noqa: BLE001 - the application's own metrics go on
            self._throttled_log.warning("metrics.failed", error=type(error).__name__)
            return []
        now = time.time()
        return [_family(metric, metric.read(stats, now)) for metric in METRICS]


def _family(metric: Metric, values: Values) -> PrometheusMetric:
    from prometheus_client import core  # noqa: PLC0415 - an extra

    if metric.kind == "histogram":
        buckets = core.HistogramMetricFamily(metric.family, metric.meaning, labels=metric.labels)
        for labels, value in values:
            if isinstance(value, Histogram):
                buckets.add_metric(labels, cumulative(metric, value), value.sum)
        return buckets
    kind = core.CounterMetricFamily if metric.kind == "counter" else core.GaugeMetricFamily
    family = kind(metric.family, metric.meaning, labels=metric.labels)
    for labels, value in values:
        if not isinstance(value, Histogram):
            family.add_metric(labels, float(value))
    return family


def instrument(
    *trackers: Tracker, meter_provider: object = None, tracer_provider: object = None
) -> None:
    """Report trackers' metrics to OpenTelemetry, and each request as a span.

    It needs the extra ``opentelemetry`` and, to export anything, an SDK that you configure. Call
    it once in every process: only the one that uploads reports a queue's numbers, so that sums
    over processes are right.

    Args:
        *trackers: All trackers of the process.
        meter_provider: Where metrics go; left out, the global provider.
        tracer_provider: Where spans go; left out, the global provider.

    Raises:
        ConfigurationError: If ``opentelemetry-api`` is not installed.
    """
    _require("opentelemetry.metrics", "opentelemetry")
    from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra

    meter = metrics.get_meter("adcp_tracker", __version__, meter_provider)
    reader = _Reader(trackers)
    for metric in METRICS:
        if metric.kind == "histogram":
            continue
        create = getattr(meter, f"create_observable_{metric.kind}")
        name, unit = f"adcp.{metric.dotted}", _UNITS.get(metric.unit, "")
        create(name, [_callback(metric, reader)], unit, metric.meaning)
    record = _recorder(meter)
    spans = _spans(trace.get_tracer("adcp_tracker", __version__, tracer_provider))
    for tracker in trackers:
        tracker.hooks.add(on_delivered=record, on_send=spans)


class _Reader:
    """Reads the statistics once for all the metrics of one export."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers
        self._read_at = 0.0
        self._stats: list[Stats] = []

    def stats(self, *, local: bool) -> Stats | None:
        """Return the statistics of this process, or of the queues from which it uploads."""
        now = time.monotonic()
        if not self._stats or now - self._read_at >= _CACHE_SECONDS:
            self._stats = [tracker.stats(live=False) for tracker in self._trackers]
            self._read_at = now
        found = [each for each in self._stats if local or _is_uploaded_here(each)]
        return add_up(found) if found else None


def _is_uploaded_here(stats: Stats) -> bool:
    return (stats.leader, stats.host) == (os.getpid(), os.uname().nodename)


def _callback(metric: Metric, reader: _Reader) -> Callable[[object], Iterator[object]]:
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - an extra

    def observe(_: object) -> Iterator[object]:
        stats = reader.stats(local=metric.is_local)
        if stats is None:
            return
        for labels, value in metric.read(stats, time.time()):
            yield Observation(value, dict(zip(metric.labels, labels, strict=True)))

    return observe


def _recorder(meter: object) -> Callable[[DeliveredNotice], None]:
    """Return what records the histograms, in the process that delivers."""
    latency, batches = (
        meter.create_histogram(  # type: ignore[attr-defined]  # an extra, without types here
            f"adcp.{metric.dotted}",
            _UNITS[metric.unit],
            metric.meaning,
            explicit_bucket_boundaries_advisory=list(metric.bounds),
        )
        for metric in METRICS
        if metric.kind == "histogram"
    )

    def record(notice: DeliveredNotice) -> None:
        labels = {"destination": notice.destination}
        batches.record(notice.sent, labels)
        for accepted_at in notice.accepted_at:
            latency.record(max(notice.at - accepted_at, 0.0), labels)

    return record


_OUTCOMES = {
    Delivered: "delivered",
    Retry: "retry",
    TooLarge: "too_large",
    Rejected: "rejected",
    Paused: "paused",
}


def _spans(tracer: object) -> OnSend:
    """Return what puts a span around each request, so that spans of HTTP clients are in it."""
    from opentelemetry import context, trace  # noqa: PLC0415 - an extra

    def begin(destination: str, batch: Batch) -> Callable[[Outcome], None]:
        span = tracer.start_span(  # type: ignore[attr-defined]  # as above
            "adcp.deliver",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "adcp.destination": destination,
                "adcp.batch.events": len(batch.events),
                "adcp.batch.is_test": batch.test_event_code is not None,
            },
        )
        token = context.attach(trace.set_span_in_context(span))

        def finish(outcome: Outcome) -> None:
            context.detach(token)
            span.set_attribute("adcp.outcome", _OUTCOMES[type(outcome)])
            if not isinstance(outcome, Delivered):
                span.set_attribute("error.type", outcome.code)
                span.set_status(trace.Status(trace.StatusCode.ERROR, outcome.code))
            span.end()

        return finish

    return begin


def _require(module: str, extra: str) -> None:
    """Check that an extra is installed.

    Raises:
        ConfigurationError: If it isn't.
    """
    try:
        import_module(module)
    except ImportError:
        raise ConfigurationError(
            f"metrics: expected {module} to be installed, and it isn't; "
            f"run: pip install 'adcp-tracker[{extra}]'"
        ) from None
