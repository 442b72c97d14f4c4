"""The documentation says what the code says: names, settings, errors, commands."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final, get_args

import attrs
import pytest

import adcp_tracker
from adcp_tracker import cli, exceptions, metrics, settings, testing
from adcp_tracker.context import Automated
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.orders.names import CONTACT_FIELDS, ITEM_NAMES, ORDER_NAMES, PRODUCT_FIELDS
from adcp_tracker.recorder import NO_CONSENT
from adcp_tracker.settings import VARIABLES, Settings
from adcp_tracker.web.options import CAPTURE_OPTIONS
from tests.support import pages

DOCS: Final = pages.ROOT / "docs"
_ROW: Final = re.compile(r"^\| `(ADCP_\w+)` \| (.*?) \| (.*?) \| (.*) \|$", re.MULTILINE)
_MEMBER: Final = re.compile(r"^\.\. (?:auto\w+|py:function|py:data):: ([\w.]+)", re.MULTILINE)
_ENTRY: Final = re.compile(
    r"(?:\b_?(?:logger|throttled_log)\.(?:warning|error)|\._?warn)\(\s*\"([\w.]+)\""
)
_REASON: Final = re.compile(r"\b(?:drop|dropped|count_dropped)(?:\(|\[)\"(\w+)\"")


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _sources() -> str:
    """Return all of the library's own code, wherever it is installed."""
    package = Path(adcp_tracker.__file__).parent
    return "".join(source.read_text(encoding="utf-8") for source in package.rglob("*.py"))


def _documented() -> set[str]:
    """Return the last parts of all names that the reference documents."""
    return {
        name.rpartition(".")[2]
        for page in (DOCS / "reference").glob("*.md")
        for name in _MEMBER.findall(page.read_text(encoding="utf-8"))
    }


def test_what_is_exported_is_in_all() -> None:
    """``__all__`` is sorted, and holds each public name of the package and no other."""
    public = {
        name
        for name, value in vars(adcp_tracker).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert adcp_tracker.__all__ == sorted(adcp_tracker.__all__)
    assert set(adcp_tracker.__all__) == public | {"__version__"}


ADAPTERS: Final = ("asgi", "django", "fastapi", "flask", "sqlalchemy", "wsgi")


@pytest.mark.parametrize(
    "module",
    [
        adcp_tracker,
        metrics,
        exceptions,
        testing,
        *(importlib.import_module(f"adcp_tracker_{name}") for name in ADAPTERS),
    ],
)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    """Whatever can be imported is found in the reference."""
    names = set(getattr(module, "__all__", ())) or {
        name for name, _ in inspect.getmembers(module, inspect.isclass) if name.endswith("Error")
    }

    assert not names - _documented() - {"__version__"}


def test_the_table_of_variables_is_the_codes() -> None:
    """Each variable stands in the table with its setting, its meaning and its default."""
    rows = _ROW.findall(_page("configuration.md"))

    assert rows == [
        (
            variable.name,
            f"`{variable.setting}`",
            variable.meaning,
            variable.default or "none",
        )
        for variable in VARIABLES
    ]


def test_the_other_arguments_are_the_codes() -> None:
    """Each setting without a variable stands in a table of its own, with its meaning."""
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*) \|$", _page("configuration.md"), re.MULTILINE)
    fields = attrs.fields(Settings)

    assert rows == [
        (field.name, field.metadata["meaning"])
        for field in fields
        if field.metadata["parse"] is None
    ]


def test_the_defaults_in_the_table_are_the_settings() -> None:
    """A default as a person reads it is the one that the code has."""
    defaults = {field.name: field.default for field in attrs.fields(Settings)}
    for variable in settings.TRACKER_VARIABLES:
        default = defaults[variable.setting]
        if default is attrs.NOTHING:
            assert variable.default == "required"
        elif default is None:
            assert variable.default.startswith(("none", "required without"))
        elif default == ():
            assert variable.default not in {"", "none"}  # says in words what counts instead
        else:
            assert variable.parse(variable.default) == default


def test_the_names_of_order_fields_are_the_codes() -> None:
    """The tables of names that shops use list all of them, in the order they are tried."""
    page = _page("events.md")
    for names in (*ORDER_NAMES.values(), *ITEM_NAMES.values()):
        listed = " ".join(f"`{name}`" for name in names)
        assert listed in page if len(names) == 1 else f"| {listed} |" in page

    for name in (*CONTACT_FIELDS, *PRODUCT_FIELDS):
        assert f"`{name}`" in page


def test_every_capture_option_is_explained() -> None:
    """What is captured of a request is listed on the page about web frameworks."""
    listed = set(re.findall(r"^\| `(\w+)` \|", _page("integrations/index.md"), re.MULTILINE))

    assert listed == CAPTURE_OPTIONS


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("adcp_tracker_django.middleware", "AdcpTrackerMiddleware"),
        ("adcp_tracker_flask", "AdcpTracker"),
        ("adcp_tracker_fastapi", "AdcpTracker"),
        ("adcp_tracker_wsgi", "AdcpTrackerMiddleware"),
        ("adcp_tracker_asgi", "AdcpTrackerMiddleware"),
    ],
)
def test_the_readmes_lines_for_frameworks_are_there(package: str, name: str) -> None:
    """What the README has people write for their framework can be imported."""
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")

    assert package in readme
    assert name in readme
    assert hasattr(importlib.import_module(package), name)


def test_every_warning_is_explained() -> None:
    """Whatever the library logs for somebody to see to is in the page that says what to do."""
    entries = set(_ENTRY.findall(_sources()))

    assert entries
    assert not {entry for entry in entries if f"`{entry}`" not in _page("operations.md")}


def test_every_reason_of_a_drop_is_explained() -> None:
    """A reason that stands in somebody's counts is found in the page about them."""
    reasons = {*_REASON.findall(_sources()), *get_args(Automated), NO_CONSENT}

    assert {"full", "disk", "consent", "prefetch"} <= reasons
    assert not {reason for reason in reasons if f"`{reason}`" not in _page("operations.md")}


def test_every_command_is_explained() -> None:
    """The page about the command line lists all commands and no other."""
    shown = subprocess.run(
        [sys.executable, "-m", "adcp_tracker", "--help"], capture_output=True, text=True, check=True
    )
    _, _, commands = shown.stdout.partition("Commands:")
    named = re.findall(r"^  (\w+)  ", commands, re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \|", _page("reference/cli.md"), re.MULTILINE)

    assert named
    assert sorted(rows) == sorted(named)


def test_the_exit_codes_are_the_codes() -> None:
    """The table of exit codes is the one in the command line's own words."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", _page("operations.md"), re.MULTILINE)
    words = re.findall(r"^(\d+) +(\S.*)$", cli.__doc__ or "", re.MULTILINE)

    assert rows == words


def test_the_queue_directory_is_explained() -> None:
    """Every file and folder that can be in the directory is in the page about it."""
    text = _page("operations.md")
    directory = QueueDirectory("/nowhere")
    parts = [value.name for name, value in vars(directory).items() if name != "path"]

    assert not [part for part in parts if part not in text]
