"""Pictures of the results, where matplotlib is installed.

They are SVG, small enough to be kept with the documentation, and follow the reader's colour
scheme: colours are drawn as matplotlib knows them, and written as variables that the picture
itself defines for light and for dark.
"""

from __future__ import annotations

from importlib.util import find_spec
from io import StringIO
from itertools import cycle
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
_INK = "#1b1f25"
_GROUND = "#fdfdfe"
_LINES = ("#3b6fb5", "#b5651d", "#8a4fa3", "#9c8a1e", "#c0392b", "#2a8c99", "#6b7785")
_DARK = {
    _OURS_COLOUR: "#4fc99b",
    _THEIR_COLOUR: "#6b7785",
    _INK: "#e6e8eb",
    _GROUND: "#16191d",
    "#3b6fb5": "#7fb0ee",
    "#b5651d": "#e6a15c",
    "#8a4fa3": "#c895dd",
    "#9c8a1e": "#d8c75a",
    "#c0392b": "#f08a7e",
    "#2a8c99": "#6fd0dc",
    "#6b7785": "#a9b4bf",
}
"""For each colour by day, the one by night."""
_METADATA = ("Creator", "Date", "Format", "Type")
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
    _Bars("call", "One call, p50 µs: less is better", CLIENTS, "call", "", "p50"),
    _Bars(
        "beside",
        "One call beside two CPU-bound threads, p99 µs: less is better (logarithmic)",
        CLIENTS,
        "beside",
        "",
        "p99",
        logarithmic=True,
    ),
    _Bars("delivery", "Delivered events a second: more is better", CLIENTS, "delivery", "", "rate"),
    _Bars("cpu", "CPU µs per delivered event: less is better", CLIENTS, "delivery", "", "cpu"),
    _Bars("heap", "Heap bytes per queued event: less is better", CLIENTS, "memory", "heap", "heap"),
    _Bars(
        "append",
        "One durable append, p50 µs: less is better (logarithmic)",
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
    colours = [_OURS_COLOUR if _is_ours(subject.label) else _THEIR_COLOUR for subject, _ in found]

    def paint(axes: Any) -> None:  # noqa: ANN401 - matplotlib need not be here
        shown = axes.barh(
            [subject.label for subject, _ in found], [value for _, value in found], color=colours
        )
        axes.bar_label(
            shown, padding=4, fmt=lambda value: f"{value:,.1f}" if value < 1e3 else f"{value:,.0f}"
        )
        axes.invert_yaxis()
        axes.margins(x=0.15)
        if bars.logarithmic:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")

    return _picture(path, bars.title, _INCHES_PER_BAR * (len(found) + 2), paint)


def _is_ours(label: str) -> bool:
    return label.startswith("adcp_tracker")


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
    title = "Durable appends a second, by processes: more is better (logarithmic)"
    return _lines(directory / "processes.svg", title, lines, logarithmic=True)


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
    title = "One call, p50 µs, by events already queued: flat is better"
    return _lines(directory / "growth.svg", title, lines, logarithmic=False)


def _lines(
    path: Path, title: str, lines: dict[str, list[tuple[int, float]]], *, logarithmic: bool
) -> Path | None:
    if not lines:
        return None

    def paint(axes: Any) -> None:  # noqa: ANN401 - matplotlib need not be here
        colours, strokes = cycle(_LINES), cycle(("-", "--"))
        for label, points in lines.items():
            ours = _is_ours(label)
            colour, width = (_OURS_COLOUR, 3.0) if ours else (next(colours), 1.5)
            stroke = next(strokes) if ours else "-"
            style = {"color": colour, "linewidth": width, "linestyle": stroke}
            axes.plot(*zip(*points, strict=True), marker="o", label=label, **style)
        axes.set_xscale("log")
        if logarithmic:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        counts = sorted({count for points in lines.values() for count, _ in points})
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

    return _picture(path, title, 4.0, paint)


def _picture(path: Path, title: str, height: float, paint: Callable[[Any], None]) -> Path:
    from matplotlib import pyplot as plt  # noqa: PLC0415 - optional, and heavy
    from matplotlib import rc_context  # noqa: PLC0415 - optional, and heavy

    with rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none", **_looks()}):
        figure, axes = plt.subplots(figsize=(_WIDTH_INCHES, height))
        paint(axes)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", bbox_inches="tight", metadata=dict.fromkeys(_METADATA))
        plt.close(figure)
    path.write_text(_by_day_and_night(drawn.getvalue()), encoding="utf-8")
    return path


def _looks() -> dict[str, str]:
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    grounds = ("figure.facecolor", "savefig.facecolor", "axes.facecolor")
    return dict.fromkeys(inked, _INK) | dict.fromkeys(grounds, _GROUND)


def _by_day_and_night(svg: str) -> str:
    """Let a picture's colours follow the reader's scheme."""
    used = [colour for colour in _DARK if colour in svg]
    names = {colour: f"--c{number}" for number, colour in enumerate(used)}
    day = "".join(f"{name}:{colour};" for colour, name in names.items())
    night = "".join(f"{name}:{_DARK[colour]};" for colour, name in names.items())
    for colour, name in names.items():
        svg = svg.replace(colour, f"var({name})")
    style = f"<style>:root{{{day}}}@media (prefers-color-scheme:dark){{:root{{{night}}}}}</style>"
    head, end, rest = svg.partition("<defs>")
    trimmed = "\n".join(line.strip() for line in rest.splitlines())
    return f"{head}{style}\n{end}{trimmed}\n"
