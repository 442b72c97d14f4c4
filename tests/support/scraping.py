"""Real receivers of metrics: Prometheus' parser, and a server for OTLP over HTTP."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import attrs
import httpx
from prometheus_client.parser import text_string_to_metric_families

from adcp_tracker import DestinationStats, Stats
from adcp_tracker.metrics import METRICS
from adcp_tracker.outbox.state import Histogram

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by the name of a sample and its labels."""


def scrape(text: str) -> Samples:
    """Return the samples of Prometheus' text format, as its own client reads them."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def booked(stats: Stats, **labels: str) -> Samples:
    """Return the samples that statistics should give, written down without the table."""
    found: Samples = {}
    for destination, one in stats.destinations.items():
        at = {"destination": destination, **labels}
        found |= {
            _key("adcp_events_accepted_total", at): one.accepted,
            _key("adcp_events_delivered_total", at): one.delivered,
            _key("adcp_events_unconfirmed_total", at): one.unconfirmed,
            _key("adcp_events_pending", at): one.pending,
            _key("adcp_events_dead", at): one.dead,
            _key("adcp_delivery_latency_seconds_count", at): one.delivered + one.unconfirmed,
        }
        for reason, count in one.dropped.items():
            found[_key("adcp_events_dropped_total", {**at, "reason": reason})] = count
        for text, count in one.omitted.items():
            field, reason = text.split(" ")
            named = {**at, "field": field, "reason": reason}
            found[_key("adcp_fields_omitted_total", named)] = count
        if one.match_quality is not None:
            found[_key("adcp_match_quality_ratio", at)] = one.match_quality
    return found


def _key(name: str, labels: dict[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@attrs.define
class Exported:
    """What an OpenTelemetry exporter has sent, by Prometheus' names.

    Attributes:
        endpoint: Where exporters send to.
        samples: The latest values, named as the table does.
        spans: The attributes of each span, with its name and its status.
    """

    endpoint: str
    samples: Samples = attrs.field(factory=dict)
    spans: list[dict[str, Any]] = attrs.field(factory=list)

    def take_metrics(self, body: bytes) -> None:
        """Decode an export of metrics."""
        from opentelemetry.proto.collector.metrics.v1 import (  # noqa: PLC0415 - see conftest
            metrics_service_pb2 as service,
        )

        names = {f"adcp.{metric.dotted}": metric for metric in METRICS}
        for resource in service.ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for each in scope.metrics:
                    for point in getattr(each, each.WhichOneof("data")).data_points:
                        self._take_point(names[each.name], point)

    def _take_point(self, metric: Any, point: Any) -> None:  # noqa: ANN401 - protobuf
        labels = {each.key: each.value.string_value for each in point.attributes}
        if metric.kind == "histogram":
            self.samples[_key(f"{metric.name}_count", labels)] = point.count
            self.samples[_key(f"{metric.name}_sum", labels)] = point.sum
            bounds = [f"{bound:g}" for bound in point.explicit_bounds] + ["+Inf"]
            for place, bound in enumerate(bounds):
                upto = sum(point.bucket_counts[: place + 1])
                self.samples[_key(f"{metric.name}_bucket", {**labels, "le": bound})] = upto
        else:
            value = getattr(point, point.WhichOneof("value"))
            self.samples[_key(metric.name, labels)] = value

    def take_spans(self, body: bytes) -> None:
        """Decode an export of spans."""
        from opentelemetry.proto.collector.trace.v1 import (  # noqa: PLC0415 - likewise
            trace_service_pb2 as service,
        )

        for resource in service.ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found: dict[str, Any] = {"name": span.name, "status": span.status.code}
                    for each in span.attributes:
                        found[each.key] = getattr(each.value, each.value.WhichOneof("value"))
                    self.spans.append(found)


@contextmanager
def run_receiver() -> Iterator[Exported]:
    """Run a server that takes OTLP over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (exported.take_spans if "traces" in self.path else exported.take_metrics)(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    exported = Exported(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield exported
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def url_of(worker: subprocess.Popen[str]) -> str:
    """Return where a worker serves its metrics, as its log says."""
    assert worker.stderr is not None
    for line in worker.stderr:
        found = re.search(r"url='(http://127\.0\.0\.1:\d+)/metrics'", line)
        if found:
            return found[1]
    raise AssertionError(f"it ended with {worker.wait()}")


def scraped(url: str) -> Samples:
    """Return what a worker's metrics say now."""
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return scrape(answer.text)


def books_of(out: str) -> Stats:
    """Return the statistics that a worker printed at its end."""
    totals = json.loads(out)["destinations"]
    names = [field.name for field in DestinationStats.__attrs_attrs__]
    kept = {
        name: {key: value for key, value in one.items() if key in names and key != "measures"}
        for name, one in totals.items()
    }
    return Stats({name: DestinationStats(**one) for name, one in kept.items()})


def odd_histogram() -> Histogram:
    """Return a histogram as an older version may have published it, with other bounds."""
    counts = defaultdict(int, {"7": 2, "+Inf": 1})
    histogram = Histogram()
    histogram.buckets.update(counts)
    return histogram
