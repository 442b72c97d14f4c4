"""The dashboard, the alert rules and the page about metrics are about metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from adcp_tracker import DestinationStats, Stats
from adcp_tracker.cli.status import EXPECTED_DROPS
from adcp_tracker.metrics import METRICS, render
from tests.support import pages

if TYPE_CHECKING:
    from pathlib import Path

DOCS = pages.ROOT / "docs"
RULES = DOCS / "monitoring" / "alerts.yml"
NAMES = {name for metric in METRICS for name in metric.sample_names}
_NAME = re.compile(r"\badcp_[a-z_]+\b")
_LABELS = re.compile(r"\bby \(([^)]*)\)|([a-z]+)=~?\"")

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (package prometheus) is not installed"
)


def promtool(*arguments: str | Path, text: str = "") -> None:
    """Run promtool; fail with what it says."""
    command = [str(PROMTOOL), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> list[str]:
    """Return the expressions of the dashboard, with its variables filled in."""
    board = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    variables = {each["name"] for each in board["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", " ".join(found))) - {"__rate_interval"}
    assert used <= variables
    return [
        each.replace("$__rate_interval", "5m").replace("$destination", ".*").replace("$over", over)
        for each in found
        for over in ("sum", "max")
    ]


def test_the_page_has_the_table_of_the_code() -> None:
    """Each metric has a row with its kind, its labels and its meaning, in the code's order."""
    page = (DOCS / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(adcp_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert rows == [
        (
            metric.name,
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels) or "—",
            metric.meaning,
        )
        for metric in METRICS
    ]
    assert set(_NAME.findall(page)) <= {metric.name for metric in METRICS} | NAMES | {
        "adcp_tracker"
    }


def test_rules_and_dashboard_use_metrics_that_exist() -> None:
    """Every name and every label is in the table, and every metric is used somewhere."""
    expressions = [rule["expr"] for rule in rules()] + dashboard()
    used = set(_NAME.findall(" ".join(expressions)))
    assert used <= NAMES
    assert not {metric.name for metric in METRICS if not used & set(metric.sample_names)} - {
        "adcp_destination_retrying"
    }
    labels = {label for metric in METRICS for label in metric.labels} | {"le"}
    for expression in expressions:
        for listed, matched in _LABELS.findall(expression):
            assert set(re.split(", ?", listed or matched)) <= labels


def test_the_alert_for_lost_events_leaves_out_what_is_expected() -> None:
    """The reasons are those that `adcp-tracker status` doesn't warn of."""
    (rule,) = [each for each in rules() if each["alert"] == "AdcpEventsLost"]
    lists = {frozenset(each.split("|")) for each in re.findall(r'reason!~"([^"]*)"', rule["expr"])}
    assert lists == {EXPECTED_DROPS}


def test_every_alert_says_what_to_do() -> None:
    """Each has a severity, a summary and a description."""
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


@needs_promtool
def test_prometheus_reads_rules_dashboard_and_metrics(tmp_path: Path) -> None:
    """Its own tool parses each expression, and has nothing to say about names and texts."""
    promtool("check", "rules", RULES)
    panels = [{"record": f"panel:{n}", "expr": each} for n, each in enumerate(dashboard())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panels}]}))
    promtool("check", "rules", file)
    counts = DestinationStats(dropped={"full": 1}, omitted={"a.b invalid": 1}, match_quality=0.5)
    promtool("check", "metrics", text=render(Stats({"d": counts}), now=0.0))


def at(minute: int, alert: str, summary: str = "", **labels: str) -> dict[str, Any]:
    """Return that an alert says `summary` at a minute, for these labels; without one, nothing."""
    (rule,) = [each for each in rules() if each["alert"] == alert]
    annotations = {**rule["annotations"], "summary": summary}
    fired = {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": annotations}
    expected = [fired] if summary else []
    return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": expected}


CASES: dict[str, tuple[dict[str, str], list[dict[str, Any]]]] = {
    "lost": (
        {
            'adcp_events_dropped_total{destination="d",reason="disk"}': "_x20 3x40",
            'adcp_events_dropped_total{destination="d",reason="consent"}': "0+1x60",
        },
        [
            at(15, "AdcpEventsLost"),
            at(22, "AdcpEventsLost", "Events for d are lost: disk", destination="d", reason="disk"),
            at(45, "AdcpEventsLost"),
        ],
    ),
    "late": (
        {'adcp_oldest_pending_age_seconds{destination="d"}': "0x10 0+60x40 0x10"},
        [
            at(25, "AdcpDeliveryLate"),
            at(35, "AdcpDeliveryLate", "The oldest event for d has waited 24m 0s", destination="d"),
            at(55, "AdcpDeliveryLate"),
        ],
    ),
    "nobody": (
        {"adcp_stats_timestamp_seconds": "0+60x10 600x20 1800+60x10"},
        [
            at(9, "AdcpNobodyUploads"),
            at(20, "AdcpNobodyUploads", "No process has reported for 10m 0s"),
            at(36, "AdcpNobodyUploads"),
        ],
    ),
    "paused": (
        {'adcp_destination_paused{destination="d"}': "0x5 1x5 0x5"},
        [
            at(4, "AdcpDestinationPaused"),
            at(8, "AdcpDestinationPaused", "d is paused", destination="d"),
            at(14, "AdcpDestinationPaused"),
        ],
    ),
    "unconfirmed": (
        {
            'adcp_events_delivered_total{destination="d"}': "0+9x120",
            'adcp_events_unconfirmed_total{destination="d"}': "0+1x120",
            'adcp_events_delivered_total{destination="e"}': "0+99x120",
            'adcp_events_unconfirmed_total{destination="e"}': "0+1x120",
        },
        [at(100, "AdcpUnconfirmed", "d doesn't confirm 10% of its events", destination="d")],
    ),
}
"""Series of samples a minute apart, and which alerts fire when."""


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should(tmp_path: Path, name: str) -> None:
    """Prometheus evaluates the rules over made-up samples."""
    series, expected = CASES[name]
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                "alert_rule_test": expected,
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(tests))
    promtool("test", "rules", file)
