"""``adcp-tracker explain``: what an order is read as."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.program import run

if TYPE_CHECKING:
    from pathlib import Path

ORDER = {
    "id": "A-1001",
    "totalPrice": 59.90,
    "currency": "eur",
    "customer": {"email": "alice@example.com"},
    "lineItems": [{"sku": "MUG-01", "qty": 2}],
}


def test_an_order_in_a_file_is_explained_field_by_field(tmp_path: Path) -> None:
    """Each field shows the name it was read from, and nobody's address is shown."""
    path = tmp_path / "order.json"
    path.write_text(json.dumps(ORDER))

    ended = run("explain", path)

    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["field", "read", "from", "value"]
    starts = {
        line.index(name)
        for line in ended.out.splitlines()
        for name in ("totalPrice", "qty")
        if name in line
    }
    assert len(starts) == 1  # they stand below each other
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines()[1:]}
    assert rows["total"] == ["totalPrice", "59.9"]
    assert rows["email"][0] == "customer.email"
    assert rows["items[0].quantity"] == ["qty", "2"]
    assert rows["phone"][:1] == ["-"]
    assert "alice" not in ended.out


def test_what_a_purchase_lacks_sets_the_exit_code(tmp_path: Path) -> None:
    """A value without a currency and without a shopper needs attention."""
    path = tmp_path / "order.json"
    path.write_text(json.dumps({"id": "A-1001", "total": "59.90"}))

    ended = run("explain", path, "--json")

    assert ended.code == 1
    assert len(ended.json["problems"]) == 2


def test_a_misspelt_name_is_listed(tmp_path: Path) -> None:
    """Below the table, and under a key of its own for a script."""
    path = tmp_path / "order.json"
    path.write_text(json.dumps({**ORDER, "totl": 5, "alice@example.com": 1}))

    assert "\nNot read: totl.\n" in run("explain", path).out
    assert run("explain", path, "--json").json["unread"] == ["totl"]


def make_order() -> dict[str, object]:
    """Make an order, as a function of the shop's own does."""
    return ORDER


def test_an_object_is_imported() -> None:
    """A module's order is explained, or what its function returns."""
    for name in ("ORDER", "make_order"):
        ended = run("explain", f"{__name__}:{name}")
        assert ended.code == 0
        assert "totalPrice" in ended.out


def test_what_cannot_be_loaded_is_a_wrong_command(tmp_path: Path) -> None:
    """No JSON, no module, no such name: told in one line, with the code for it."""
    path = tmp_path / "order.json"
    path.write_text("{")

    for given in (str(path), "no_such_module:order", "json:no_such_name"):
        ended = run("explain", given)
        assert ended.code == 2
        assert len(ended.err.splitlines()) == 1
    assert run("explain", tmp_path / "missing.json").code == 3
