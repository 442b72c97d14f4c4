"""The benchmark's pictures: drawn of results, light enough for the docs, and shown there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.__main__ import main
from tests.bench.plots import draw
from tests.bench.results import Results
from tests.bench.subjects import CLIENTS, STORES
from tests.bench.tasks import Key

DOCS = Path(__file__).parents[2] / "docs"
MOST_BYTES = 40_000
_PICTURE = re.compile(r"!\[([^\]]*)\]\((plots/[^)]+)\)")


def some_results() -> Results:
    """Return figures for every client and store in every section that is drawn."""
    results = Results()
    for number, client in enumerate(CLIENTS, 1):
        figures = {"p50": 10.0 * number, "p99": 99.0 * number, "rate": 1e4 * number, "cpu": number}
        for section in ("call", "beside", "delivery"):
            results.add(Key(section, client.name), 0, figures)
        results.add(Key("memory", client.name, "heap"), 0, {"heap": 100.0 * number})
        grown = {f"p50@{10**power}": 10.0 * number for power in range(3, 7)}
        results.add(Key("memory", client.name, "queued"), 0, grown)
    for number, store in enumerate(STORES, 1):
        results.add(Key("append", store.name, "alone"), 0, {"p50": 1.5 * number})
        for count in (1, 2, 4):
            key = Key("crowded", store.name, f"processes-{count}")
            results.add(key, 0, {"rate": 1e6 / number * count})
    return results


def test_pictures_are_light_and_follow_the_readers_colours(tmp_path: Path) -> None:
    """Each is well-formed, has its text as text, and another set of colours for the night."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra bench)")
    drawn = draw(some_results(), tmp_path)
    names = {path.stem for path in drawn}
    assert names >= {"call", "beside", "delivery", "cpu", "heap", "append", "processes", "growth"}
    for path in drawn:
        text = path.read_text(encoding="utf-8")
        assert len(text) < MOST_BYTES
        root = ET.fromstring(text)  # noqa: S314 - written a moment ago
        shown = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any("better" in (words or "") for words in shown)
        assert "prefers-color-scheme:dark" in text
        body = text.partition("</style>")[2]
        assert not re.findall(r"#[0-9a-f]{6}\b", body), path.name


def test_results_can_be_drawn_again_without_a_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run wrote down gives the same pictures and tables later."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra bench)")
    results = some_results()
    file = tmp_path / "results.json"
    machine = {"machine": "two cores"}
    file.write_text(json.dumps({"machine": machine, "results": results.as_json()}))
    again = tmp_path / "again"
    assert main(["--from", str(file), "--plots", str(again)]) == 0
    assert "machine: two cores" in capsys.readouterr().out
    (tmp_path / "once").mkdir()
    once = {path.name: path.read_bytes() for path in draw(results, tmp_path / "once")}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == once


def test_the_docs_show_pictures_with_words_for_who_cannot_see_them() -> None:
    """Each picture on the page is there, light, and described."""
    shown = _PICTURE.findall((DOCS / "benchmarks.md").read_text(encoding="utf-8"))
    assert len(shown) >= 4
    for words, path in shown:
        assert len(words) > 30
        assert "prefers-color-scheme" in (DOCS / path).read_text(encoding="utf-8")
        assert (DOCS / path).stat().st_size < MOST_BYTES
