"""Pictures of the results, where matplotlib is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs

from tests.bench.subjects import CLIENTS, STORES
from tests.bench.tasks import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.bench.results import Results
    from tests.bench.subjects import Subject

_OURS_COLOUR = "#0b6e4f"
_THEIR_COLOUR = "#9aa5b1"
_WIDTH_INCHES = 7.0
_INCHES_PER_BAR = 0.42


def can_plot() -> bool:
    """Say whether matplotlib is here."""
    return find_spec("matplotlib") is not None


def draw(results: Results, directory: Path) -> list[Path]:
    """Write one picture per question that the results answer, as SVG."""
    from matplotlib import use  # noqa: PLC0415 - optional, and heavy

    use("svg")
    drawn = (_bars(results, directory / f"{bars.name}.svg", bars) for bars in _BARS)
    lines = (_processes(results, directory), _growth(results, directory))
    return [path for path in (*drawn, *lines) if path is not None]


@attrs.frozen
class _Bars:
    """What a picture of bars shows."""

    name: str
    title: str
    subjects: Sequence[Subject]
    section: str
    variant: str
    figure: str
    logarithmic: bool = False


_BARS = (
    _Bars("call", "One call, p50 µs", CLIENTS, "call", "", "p50"),
    _Bars(
        "beside",
        "One call beside two CPU-bound threads, p99 µs",
        CLIENTS,
        "beside",
        "",
        "p99",
        logarithmic=True,
    ),
    _Bars("delivery", "Delivered events a second", CLIENTS, "delivery", "", "rate"),
    _Bars("cpu", "CPU µs per delivered event", CLIENTS, "delivery", "", "cpu"),
    _Bars("heap", "Heap bytes per queued event", CLIENTS, "memory", "heap", "heap"),
    _Bars(
        "append",
        "One durable append, p50 µs",
        STORES,
        "append",
        "alone",
        "p50",
        logarithmic=True,
    ),
)


def _bars(results: Results, path: Path, bars: _Bars) -> Path | None:
    found = [
        (subject, value)
        for subject in bars.subjects
        if (value := results.median(Key(bars.section, subject.name, bars.variant), bars.figure))
        is not None
    ]
    if not found:
        return None
    colours = [
        _OURS_COLOUR if subject.distribution == "adcp-tracker" else _THEIR_COLOUR
        for subject, _ in found
    ]

    def paint(axes: Any) -> None:  # noqa: ANN401 - matplotlib need not be here
        shown = axes.barh(
            [subject.label for subject, _ in found], [value for _, value in found], color=colours
        )
        axes.bar_label(
            shown, fmt=lambda value: f" {value:,.1f}" if value < 1e3 else f" {value:,.0f}"
        )
        axes.invert_yaxis()
        axes.margins(x=0.15)
        if bars.logarithmic:
            axes.set_xscale("log")

    return _picture(path, bars.title, _INCHES_PER_BAR * (len(found) + 2), paint)


def _processes(results: Results, directory: Path) -> Path | None:
    lines = {}
    for store in STORES:
        points = [
            (count, value)
            for count in (1, 2, 4, 8)
            if (value := results.median(Key("crowded", store.name, f"processes-{count}"), "rate"))
        ]
        if points:
            lines[store.label] = points
    title = "Durable appends a second, by processes"
    return _lines(directory / "processes.svg", title, lines)


def _growth(results: Results, directory: Path) -> Path | None:
    lines = {}
    for client in CLIENTS:
        points = [
            (10**power, value)
            for power in range(3, 7)
            if (value := results.median(Key("memory", client.name, "queued"), f"p50@{10**power}"))
        ]
        if points:
            lines[client.label] = points
    title = "One call, p50 µs, by events already queued"
    return _lines(directory / "growth.svg", title, lines)


def _lines(path: Path, title: str, lines: dict[str, list[tuple[int, float]]]) -> Path | None:
    if not lines:
        return None

    def paint(axes: Any) -> None:  # noqa: ANN401 - matplotlib need not be here
        for label, points in lines.items():
            ours = label.startswith("adcp_tracker")
            style = {"color": _OURS_COLOUR, "linewidth": 3} if ours else {"linewidth": 1.5}
            axes.plot(*zip(*points, strict=True), marker="o", label=label, **style)
        axes.set_yscale("log")
        axes.set_xscale("log")
        counts = sorted({count for points in lines.values() for count, _ in points})
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

    return _picture(path, title, 4.0, paint)


def _picture(path: Path, title: str, height: float, paint: Callable[[Any], None]) -> Path:
    from matplotlib import pyplot as plt  # noqa: PLC0415 - optional, and heavy
    from matplotlib import rc_context  # noqa: PLC0415 - optional, and heavy

    with rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=(_WIDTH_INCHES, height))
        paint(axes)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
    return path
