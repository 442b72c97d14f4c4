"""``adcp-tracker demo``: the main job on one machine."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker.cli.demo import _INDEX, _REMEDIES, demo_orders, order_stream
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.orders.events import purchase_event
from adcp_tracker.orders.reader import to_order
from tests.cli.program import run

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ["accepted", "delivered", "dead", "pending", "dropped"]


def wrong_rows() -> dict[int, tuple[FieldError, ...]]:
    """Return the mistakes of the shipped file that cost an order, by line."""
    return mistakes(strict=False)


def mistakes(*, strict: bool) -> dict[int, tuple[FieldError, ...]]:
    """Return the mistakes of the shipped file by line; with `strict` also optional fields."""
    found = {line: faults_of(order, strict=strict) for line, order in demo_orders()}
    return {line: faults for line, faults in found.items() if faults}


def faults_of(order: dict[str, Any], *, strict: bool) -> tuple[FieldError, ...]:
    """Return what is wrong with an order."""
    try:
        now = datetime.now(timezone.utc)
        region = order.get("country")
        purchase_event(to_order(order), now=now, default_region=region, strict=strict)
    except InvalidEventError as error:
        return error.errors
    return ()


@pytest.mark.slow
def test_a_script_gets_five_numbers_that_balance() -> None:
    """All that is accepted is delivered or dead, and that is all the JSON says."""
    ended = run("demo", "--json", ADCP_FLUSH_INTERVAL="nonsense")
    counts = ended.json
    assert (ended.code, ended.err) == (0, "")
    assert list(counts) == KEYS
    assert counts["accepted"] == len(list(demo_orders()))
    assert counts["accepted"] == counts["delivered"] + counts["dead"]
    assert counts["dead"] == len(wrong_rows())
    assert counts["pending"] == counts["dropped"] == 0


@pytest.mark.slow
def test_mistakes_are_grouped_by_kind_with_their_remedy(tmp_path: Path) -> None:
    """The table comes first, then each kind of mistake with its lines; a kept queue can be read."""
    queue = tmp_path / "queue"
    ended = run("demo", "--directory", queue)
    assert ended.code == 0
    table = ended.out.index("destination")
    wrong = wrong_rows()
    assert table < ended.out.index(f"{len(wrong)} orders could not be sent:")
    omitted = len(mistakes(strict=True)) - len(wrong)
    assert f"{omitted} orders were sent without a part that can't be used:" in ended.out
    kinds = Counter(_INDEX.sub("[]", fault.path) for faults in wrong.values() for fault in faults)
    for path, number in kinds.items():
        assert f"  {number} × " in ended.out
        assert _REMEDIES[path] in ended.out
    assert re.search(r"^297 events in .* events/s\)", ended.out, re.MULTILINE)
    assert ended.out.splitlines()[-1].endswith("adcp-tracker sandbox")
    assert "@" not in ended.out
    assert "\x1b" not in ended.out
    dead = run("dead", "list", "--directory", queue, "--json").json
    assert dead["count"] == 2 * len(wrong)  # for each of the two destinations
    again = run("demo", "--directory", queue)
    assert again.code == 2
    assert "expected a new or empty directory" in again.err


@pytest.mark.slow
def test_more_orders_are_made_of_the_files_own() -> None:
    """Any number of orders can be sent, to one kind of destination or both."""
    ended = run("demo", "--orders", "2000", "--no-agent", "--json")
    assert ended.code == 0
    assert ended.json["accepted"] == 2000 == ended.json["delivered"] + ended.json["dead"]


@pytest.mark.parametrize(
    ("place", "code"), [("file/queue", 3), ("open", 2)], ids=["in a file", "open to others"]
)
def test_a_directory_that_cannot_be_used_is_said_at_once(
    tmp_path: Path, place: str, code: int
) -> None:
    """No minute is spent on waiting for a disk to get well."""
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir(mode=0o755)
    ended = run("demo", "--directory", tmp_path / place)
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
    """Every kind of mistake in the file comes with a specific remedy."""
    paths = {_INDEX.sub("[]", fault.path) for faults in wrong_rows().values() for fault in faults}
    assert paths <= _REMEDIES.keys()
