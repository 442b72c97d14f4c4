"""The public face in words: names, signatures, ``--help`` and the shape of ``--json``.

``python -m tests.compat.public_api`` writes it to ``public_api.txt`` anew. Do that where a
change is meant, and commit the file with the change.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import inspect
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic
from unittest import mock

import attrs

from adcp_tracker import Tracker, cli
from adcp_tracker.sandbox import DEFAULT_ADVERTISER, DEFAULT_SOURCE, DEFAULT_TOKEN, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).with_name("public_api.txt")
MODULES = [
    "adcp_tracker",
    "adcp_tracker.importing",
    "adcp_tracker.metrics",
    "adcp_tracker.testing",
    "adcp_tracker.sandbox",
    "adcp_tracker_asgi",
    "adcp_tracker_django",
    "adcp_tracker_fastapi",
    "adcp_tracker_flask",
    "adcp_tracker_sqlalchemy",
    "adcp_tracker_wsgi",
]
"""What is public: everything in their ``__all__``."""

WITH_JSON: list[list[str]] = [
    ["status"],
    ["dead", "list"],
    ["dead", "show", "LETTER"],
    ["dead", "replay", "LETTER"],
    ["dead", "drop", "--all", "--yes"],
    ["flush"],
    ["worker", "--once"],
    ["check"],
    ["check", "--ip", "--peer", "10.0.0.1", "--header", "X-Forwarded-For: 93.184.216.34"],
    ["sources", "list"],
    ["sources", "sync", "SOURCES"],
    ["reconcile"],
    ["retire", "gone", "--yes"],
    ["demo", "--no-agent"],
]
"""The commands that print JSON, in an order in which each has something to say."""

_IMPLIED = (object, Exception, BaseException, Generic)
_WIDTH = "100"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MODULE = re.compile(r"\b(?:adcp_tracker\w*|collections\.abc|typing|typing_extensions)\.(?:\w+\.)*")
_QUOTES = re.compile(r"(?<=[:>\[( ])'([^']*)'(?=[,)\]]| =|$)")
_COMMAND = re.compile(r"^  ([a-z][a-z-]*)  ", re.MULTILINE)
_LONGEST_LINE = 100


def describe() -> str:
    """Return the whole public face."""
    parts = [*map(_module, MODULES), _title("Command line"), *_helps([]), *_shapes()]
    return "\n".join(parts).rstrip() + "\n"


def _title(text: str) -> str:
    return f"{'=' * 78}\n{text}\n{'=' * 78}\n"


def _module(name: str) -> str:
    module = importlib.import_module(name)
    lines = [_title(name)]
    for each in sorted(module.__all__):
        lines += [*_name(each, getattr(module, each)), ""]
    return "\n".join(lines)


def _name(name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class(name, value)
    elif callable(value) and not isinstance(value, type):
        yield f"{name}{_signature(value)}"
    else:
        yield f"{name}: {_plain(type(value).__name__)} = {_plain(repr(value))}"


def _class(name: str, kind: type) -> Iterator[str]:
    bases = [each.__name__ for each in kind.__mro__[1:] if each not in _IMPLIED]
    public = [each for each in bases if not each.startswith("_")]
    yield f"class {name}({', '.join(public)})" if public else f"class {name}"
    if issubclass(kind, enum.Enum):
        yield from (f"    {each.name} = {each.value!r}" for each in kind)
        return
    if "Protocol" not in public and ("__init__" in vars(kind) or attrs.has(kind)):
        yield f"    {name}{_signature(kind)}"
    for each, value in sorted(_members(kind).items()):
        if isinstance(value, property):
            yield f"    .{each}: {_plain(_returned(value))}"
        elif isinstance(value, (classmethod, staticmethod)):
            yield f"    {type(value).__name__} .{each}{_signature(getattr(kind, each))}"
        elif inspect.isfunction(value):
            prefix = "async " if inspect.iscoroutinefunction(value) else ""
            yield f"    {prefix}.{each}{_signature(value)}"


def _members(kind: type) -> dict[str, object]:
    """Return the public members of a class and of its bases that are the library's."""
    members: dict[str, object] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.startswith("adcp_tracker"):
            members.update(vars(each))
    wanted = {"__enter__", "__aenter__", "__call__"}
    return {
        name: value for name, value in members.items() if not name.startswith("_") or name in wanted
    }


def _returned(value: property) -> str:
    return str(inspect.signature(value.fget).return_annotation) if value.fget else "?"


def _signature(value: object) -> str:
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]  # whatever is callable
    except (TypeError, ValueError):
        return "(?)"
    parts = [_parameter(each) for each in signature.parameters.values()]
    kinds = [each.kind for each in signature.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = signature.return_annotation
    arrow = "" if returned is inspect.Signature.empty else f" -> {_annotation(returned)}"
    line = f"({', '.join(parts)}){arrow}"
    if len(line) <= _LONGEST_LINE:
        return line
    return "".join(["(", *(f"\n        {part}," for part in parts), f"\n    ){arrow}"])


def _parameter(each: inspect.Parameter) -> str:
    stars = (each.kind is each.VAR_POSITIONAL) + 2 * (each.kind is each.VAR_KEYWORD)
    told = "*" * stars + each.name
    if each.annotation is not each.empty:
        told += f": {_annotation(each.annotation)}"
    if each.default is not each.empty:
        told += f" = {_plain(repr(each.default))}"
    return told


def _annotation(annotation: object) -> str:
    if isinstance(annotation, str):
        return _plain(annotation)
    if annotation is None or annotation is type(None):
        return "None"
    return _plain(inspect.formatannotation(annotation))


def _plain(text: str) -> str:
    """Return text without addresses, and without the modules in which names happen to be."""
    return _QUOTES.sub(r"\1", _MODULE.sub("", _ADDRESS.sub("", text)))


def _run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the program in this process; return its exit code and its output."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith("ADCP_")}
    kept |= {"COLUMNS": _WIDTH, "TERMINAL_WIDTH": _WIDTH, "NO_COLOR": "1", **environment}
    out, code = io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["adcp-tracker", *arguments]),
        mock.patch.dict(os.environ, kept, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return code, out.getvalue()


def _helps(command: list[str]) -> Iterator[str]:
    """Yield the help of a command, and of all commands below it."""
    _, text = _run(*command, "--help")
    title = " ".join(["adcp-tracker", *command, "--help"])
    yield f"$ {title}\n{text}"
    for name in _COMMAND.findall(text.partition("\nCommands:\n")[2]):
        yield from _helps([*command, name])


def _shapes() -> Iterator[str]:
    """Yield the shape of what each command prints as JSON, for a queue with all in it."""
    with tempfile.TemporaryDirectory() as name, Sandbox() as seller:
        folder = Path(name)
        sources = folder / "sources.json"
        sources.write_text(json.dumps({"event_sources": [_SOURCE]}))
        environment = {
            "ADCP_ADVERTISER_ID": DEFAULT_ADVERTISER,
            "ADCP_EVENT_SOURCE_ID": DEFAULT_SOURCE,
            "ADCP_API_KEY": DEFAULT_TOKEN,
            "ADCP_BASE_URL": seller.url,
            "ADCP_DIRECTORY": str(folder / "queue"),
        }
        _fill(folder / "queue")
        _run("flush", **environment)
        _fill(folder / "queue")
        _, listed = _run("dead", "list", "--json", **environment)
        letter = re.search(r'"id": "([0-9a-f]+)"', listed)
        words = {"LETTER": letter[1] if letter else "?", "SOURCES": str(sources)}
        for command in WITH_JSON:
            given = [words.get(each, each) for each in command]
            code, text = _run(*given, "--json", **environment)
            title = f"$ adcp-tracker {' '.join(command)} --json    (exit code {code})"
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
            yield "\n".join([title, *(each for one in documents for each in _shape(one)), ""])


_SOURCE = {"event_source_id": DEFAULT_SOURCE, "name": "Website", "event_types": ["purchase"]}


def _fill(directory: Path) -> None:
    with Tracker(directory=directory, uploader="external", handle_sigterm=False) as tracker:
        order = {"id": "A-1", "total": "5.00", "currency": "EUR", "email": "alice@example.com"}
        tracker.track_purchase(order)
        tracker.track_purchase({**order, "id": "A-2", "currency": "none"})


def _shape(value: object, indent: str = "    ") -> Iterator[str]:
    """Yield the keys and types of JSON; keys that are data are shown by what they are."""
    if isinstance(value, Mapping):
        shown = {_key(key): value[key] for key in value}
        for key in sorted(shown):
            yield f"{indent}{key}: {_type(shown[key])}"
            yield from _shape(shown[key], indent + "    ")
    elif isinstance(value, list):
        merged: dict[str, Any] = {}
        for each in value:
            if isinstance(each, Mapping):
                merged.update({key: one for key, one in each.items() if one is not None})
        yield from _shape(merged, indent)


def _key(key: str) -> str:
    if key.replace(".", "", 1).isdigit():
        return "<number>"
    return "<destination>" if ":" in key else key


def _type(value: object) -> str:
    if isinstance(value, list):
        kinds = sorted({_type(each) for each in value})
        return f"list of {' or '.join(kinds)}" if kinds else "list"
    return {"NoneType": "null", "dict": "object", "str": "string"}.get(
        type(value).__name__, type(value).__name__
    )


def main() -> int:
    """Write it down."""
    FILE.write_text(describe())
    sys.stdout.write(f"{FILE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
