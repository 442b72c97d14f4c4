"""Measure the library beside its peers: ``python -m tests.bench``.

Nothing is installed: peers come with the extra ``bench``, and one that is missing is a row
that says so. Every measurement has a process and a directory of its own; rounds are interleaved;
figures are medians over rounds, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TextIO

import attrs

from tests.bench import machine, plots, report, scales
from tests.bench.plan import QUICK_ONLY, known_names, sections, with_other
from tests.bench.results import Results
from tests.bench.runner import run
from tests.bench.targets import Target, as_table, targets


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for, print it, and write it down where asked.

    Returns:
        The exit code: 0, whether or not targets are met.
    """
    options = _parse(arguments)
    about, results = _read(options.earlier) if options.earlier else _measure(options)
    found = targets(results)
    if about.get("scale") == scales.QUICK.name:
        found = [target for target in found if target.found is not None]
    lines = [f"{name}: {value}" for name, value in about.items()]
    parts = ["\n".join(lines), *map(str, report.tables(results)), str(as_table(found))]
    text = "\n\n".join([*parts, "\n".join(report.problems(results))]).strip()
    _say(sys.stdout, text)
    if options.out:
        _write(options.out, text, {"machine": about, "results": results.as_json()}, found)
    for folder in filter(None, (options.out, options.plots)):
        _draw(results, folder)
    return 0


def _measure(options: argparse.Namespace) -> tuple[dict[str, str], Results]:
    is_short = options.scale is scales.QUICK and not options.only
    plan = sections(options.scale, QUICK_ONLY if is_short else frozenset(options.only))
    if options.against:
        plan = with_other(plan)
    if options.rounds:
        plan = [attrs.evolve(section, rounds=options.rounds) for section in plan]
    start = time.monotonic()
    results = run(
        plan,
        lambda text: _say(sys.stderr, f"[{time.monotonic() - start:5.0f} s] {text}"),
        options.against and options.against.resolve(),
    )
    return machine.describe() | {"scale": options.scale.name}, results


def _read(file: Path) -> tuple[dict[str, str], Results]:
    data = json.loads(file.read_text())
    return data["machine"], Results.from_json(data["results"])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    for scale, words in ((scales.QUICK, "a minute: ratios alone"), (scales.FULL, "an hour or so")):
        size.add_argument(
            f"--{scale.name}", dest="scale", action="store_const", const=scale, help=words
        )
    parser.set_defaults(scale=scales.DEFAULT)
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=sorted(known_names()),
        help=f"sections and subjects: {', '.join(sorted(known_names()))}",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        help="measure the library of another checkout too, in turns with this one",
    )
    parser.add_argument("--rounds", type=int, help="rounds of every section")
    parser.add_argument("--out", type=Path, help="write results, tables and plots to this folder")
    parser.add_argument("--plots", type=Path, help="write the plots alone to this folder")
    parser.add_argument(
        "--from",
        dest="earlier",
        type=Path,
        metavar="FILE",
        help="measure nothing, and show the results.json of an earlier run",
    )
    return parser.parse_args(arguments)


def _say(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def _write(directory: Path, text: str, data: dict[str, object], found: list[Target]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    data["targets"] = [attrs.asdict(target) | {"met": target.met} for target in found]
    (directory / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    (directory / "tables.txt").write_text(text + "\n")


def _draw(results: Results, directory: Path) -> None:
    if plots.can_plot():
        directory.mkdir(parents=True, exist_ok=True)
        plots.draw(results, directory)
    else:
        _say(sys.stderr, "no plots: matplotlib is not installed (extra bench)")


if __name__ == "__main__":
    sys.exit(main())
