"""OpenTelemetry: a span with the purchase as its attributes, through the batch processor.

Attributes are flat, so that each field of the items is a list of its own.
Idle, the processor's batch is made so large that it never exports.
Its queue, 2,048 spans by default and dropping after that, is raised in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.bench.adapters import Session
from tests.bench.sales import EVENT_NAME, properties

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b"Order Completed"
_ROOM = 10_000_000
_NEVER_MS = 1_000_000_000


def sale(number: int) -> dict[str, object]:
    """Make the span's attributes."""
    attributes = properties(number)
    attributes.pop("items")
    return attributes | {
        "item_ids": ["SKU-10023", "SKU-20417"],
        "item_quantities": [1, 2],
        "item_prices": [49.9, 40.0],
        "item_brands": ["Northwind", "Contoso"],
    }


def idle(directory: Path) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open so that it queues for ever."""
    exporter = OTLPSpanExporter("http://127.0.0.1:9/v1/traces")
    return _session(BatchSpanProcessor(exporter, _ROOM, _NEVER_MS, _ROOM))


def live(directory: Path, url: str) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with its one exporting thread."""
    return _session(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces"), _ROOM))


def _session(processor: BatchSpanProcessor) -> Session:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")

    def track(attributes: dict[str, object]) -> None:
        tracer.start_span(EVENT_NAME, attributes=attributes).end()

    return Session(track, provider.force_flush)
