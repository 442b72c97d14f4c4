"""``adcp-tracker demo``: the main job on one machine."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker.cli.demo import demo_orders, order_stream, remedy_for
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.orders.events import purchase_event
from adcp_tracker.orders.reader import to_order
from tests.cli.program import run

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ["accepted", "delivered", "dead", "pending", "dropped"]


def wrong_rows() -> dict[int, tuple[FieldError, ...]]:
    """Return the faults of the shipped file by the line their order begins on."""
    found = {line: faults_of(order) for line, order in demo_orders()}
    return {line: faults for line, faults in found.items() if faults}


def faults_of(order: dict[str, Any]) -> tuple[FieldError, ...]:
    """Return what is wrong with an order."""
    try:
        now = datetime.now(timezone.utc)
        purchase_event(to_order(order), now=now, default_region=order.get("country"))
    except InvalidEventError as error:
        return error.errors
    return ()


def test_a_script_gets_five_numbers_that_balance() -> None:
    """All that is accepted is delivered or dead, and that is all the JSON says."""
    ended = run("demo", "--json", ADCP_FLUSH_INTERVAL="nonsense")
    books = ended.json
    assert (ended.code, ended.err) == (0, "")
    assert list(books) == KEYS
    assert books["accepted"] == len(list(demo_orders()))
    assert books["accepted"] == books["delivered"] + books["dead"]
    assert books["dead"] == len(wrong_rows())
    assert books["pending"] == books["dropped"] == 0


def test_a_person_gets_each_wrong_row_with_its_reason_and_remedy(tmp_path: Path) -> None:
    """Each wrong row is named by its line; a kept queue can be looked into afterwards."""
    queue = tmp_path / "queue"
    ended = run("demo", "--directory", queue)
    assert ended.code == 0
    lines = ended.out.splitlines()
    for line, faults in wrong_rows().items():
        for fault in faults:
            (at,) = [
                index
                for index, text in enumerate(lines)
                if text.startswith(f"line {line}") and text.endswith(f": {fault}")
            ]
            assert lines[at + 1] == f"    {remedy_for(fault)}"
    assert re.search(r"^297 accepted = \d+ delivered \+ \d+ dead$", ended.out, re.MULTILINE)
    assert re.search(r"events/s$", ended.out, re.MULTILINE)
    assert "@" not in ended.out
    assert "\x1b" not in ended.out
    dead = run("dead", "list", "--directory", queue, "--json").json
    assert dead["count"] == 2 * len(wrong_rows())  # for each of the two destinations
    again = run("demo", "--directory", queue)
    assert again.code == 2
    assert "expected a new or empty directory" in again.err


def test_more_orders_are_made_of_the_files_own() -> None:
    """Any number of orders runs through, each under a number of its own."""
    ended = run("demo", "--orders", "2000", "--no-agent", "--json", "--details")
    shown = ended.json
    assert ended.code == 0
    assert shown["orders"] == shown["accepted"] == 2000
    assert list(shown["destinations"]) == ["interchange"]
    seller = shown["seller"]
    assert seller["good"] + seller["duplicates"] == shown["delivered"]
    assert shown["wrong_count"] == shown["dead"] == len(shown["wrong"])
    assert shown["balanced"] is True
    assert all(fault["remedy"] for row in shown["wrong"] for fault in row["faults"])


def test_both_kinds_of_destination_get_the_same() -> None:
    """The Interchange call and the agent deliver alike, side by side."""
    ended = run("demo", "--orders", "50", "--json", "--details")
    assert ended.code == 0
    interchange, agent = ended.json["destinations"].values()
    assert interchange["delivered"] == agent["delivered"] > 0


@pytest.mark.parametrize(
    ("place", "code"), [("file/queue", 3), ("open", 2)], ids=["in a file", "open to others"]
)
def test_a_directory_that_cannot_be_used_is_said_at_once(
    tmp_path: Path, place: str, code: int
) -> None:
    """No minute is spent on waiting for a disk to get well."""
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir(mode=0o755)
    ended = run("demo", "--directory", tmp_path / place, "--timeout", "30")
    assert (ended.code, ended.out) == (code, "")
    assert str(tmp_path) in ended.err
    assert len(ended.err.splitlines()) == 1


def test_repeated_orders_have_distinct_numbers() -> None:
    """An order that is made anew gets another number, and one without stays without."""
    count = 3 * len(list(demo_orders()))
    orders = list(order_stream(count))
    assert len(orders) == count
    numbers = [order["order_id"] for _, order in orders if "order_id" in order]
    original = [order["order_id"] for _, order in demo_orders() if "order_id" in order]
    assert len(numbers) == 3 * len(original)
    assert len(set(numbers)) == 3 * len(set(original))


def test_every_fault_of_the_file_has_a_remedy_of_its_own() -> None:
    """Nobody is told no more than to mend the order."""
    general = remedy_for(FieldError("$.nowhere", "", ""))
    remedies = {remedy_for(fault) for faults in wrong_rows().values() for fault in faults}
    assert general not in remedies
    assert len(remedies) >= 8
    negative = FieldError("$.custom_data.value", "a number ≥ 0", "-349.80")
    assert "track_refund" in remedy_for(negative)
