"""``adcp-tracker explain``: what an order is read as."""

from __future__ import annotations

import importlib
import json
import sys
from decimal import Decimal
from pathlib import Path
from types import FunctionType
from typing import Annotated

import attrs
import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, command
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.orders.mapping import explain as explain_order


@command
def explain(
    order: Annotated[
        str,
        typer.Argument(
            metavar="ORDER", help="A file with the order's JSON, - for stdin, or module:object."
        ),
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Show which name each field of an order is read from, and what isn't found.

    Tracks nothing. Personal data is described, not shown. Exits with 1 if the purchase lacks a
    value, a currency, or anything that identifies the shopper.
    """
    found = explain_order(_load(order))
    if as_json:
        _output.print_json(attrs.asdict(found))
    else:
        for line in str(found).splitlines():
            _output.print_line(line)
    return EXIT_ATTENTION if found.problems else EXIT_OK


def _load(given: str) -> object:
    """Return the order: parsed from a file, or imported.

    Raises:
        ConfigurationError: If it can't be.
    """
    module, separator, name = given.partition(":")
    if separator and not Path(given).exists() and module.replace(".", "").isidentifier():
        return _imported(module, name)
    text = sys.stdin.read() if given == "-" else Path(given).read_text(encoding="utf-8")
    try:
        loaded: object = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ConfigurationError(f"{given}: expected JSON, got {error}") from None
    return loaded


def _imported(module: str, name: str) -> object:
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{module}:{name}: {error}") from None
    return found() if isinstance(found, FunctionType) else found
