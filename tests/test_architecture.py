"""Which module may import which, and how large things may get."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import adcp_tracker

PACKAGE = Path(adcp_tracker.__file__).parent

LAYERS = (
    {"exceptions", "_platform", "_version"},
    {"_formatting", "_logging", "_process"},
    {"context"},
    {"events"},
    {"_advice"},
    {"orders"},
    {"destinations"},
    {"_development"},
    {"journal"},
    {"outbox"},
    {"hooks"},
    {"settings"},
    {"delivery"},
    {"event_sources"},
    {"privacy"},
    {"recorder"},
    {"tracker"},
    {"importing", "metrics", "testing", "web"},
    {"sandbox"},
    {"cli", "pytest_plugin"},
)
"""From the lowest to the highest. A module imports from its own layer and from lower ones."""

NEVER = {
    "journal": {"destinations"},
    "outbox": {"destinations"},
    "web": {"sandbox"},
    "sandbox": {"tracker", "web", "delivery", "recorder"},
}
"""What a layer must not import, although it is lower."""

MOST_FILES = 130
MOST_LINES_OF_CODE = 28_512
MOST_MEAN_FUNCTION_LINES = 9.0
MOST_BRANCHES = 15


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _trees() -> dict[str, ast.Module]:
    return {_name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def _imports() -> dict[str, set[str]]:
    """Return the modules of the package that each of them imports, also for types alone."""
    known = set(_trees())
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, tree in _trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found[name] |= {each.name for each in node.names} & known
            elif isinstance(node, ast.ImportFrom) and node.module in known:
                for each in node.names:
                    member = f"{node.module}.{each.name}"
                    found[name].add(member if member in known else node.module)
        found[name] -= {name}
    return found


PLACED = {"adcp_tracker.event_sources.model": "destinations"}
"""Modules below the rest of their package: what an event source is stands with destinations."""


def _layer(name: str) -> str:
    return PLACED.get(name, name.split(".")[1])


_RANKS = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
_FREE = {"adcp_tracker", "adcp_tracker.__main__"}
"""The public face, which imports what it exports, and the command's entry."""


def test_every_module_has_a_layer() -> None:
    """A new package or root module is placed in the table on purpose."""
    assert {_layer(name) for name in set(_trees()) - _FREE} == set(_RANKS)


def test_no_module_imports_from_a_higher_layer() -> None:
    """Imports go down only, those for type checking included."""
    upward = [
        f"{name} -> {other}"
        for name, others in _imports().items()
        for other in others
        if name not in _FREE
        and (
            other in _FREE
            or _RANKS[_layer(other)] > _RANKS[_layer(name)]
            or _layer(other) in NEVER.get(_layer(name), set())
        )
    ]

    assert not upward


def test_no_imports_form_a_circle() -> None:
    """Following imports from a module never leads back to it."""
    imports = _imports()

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(imports[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += imports[name]
        return seen

    assert not [name for name in imports if name in reachable(name)]


def _functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (f"{name}:{node.name}", node)
        for name, tree in _trees().items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def _code_lines(path: Path) -> int:
    """Count lines that hold code: no blank line, comment or docstring."""
    text = path.read_text()
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        1 for n, line in lines if n not in skipped and line.strip() and line.lstrip()[0] != "#"
    )


def test_the_package_stays_small() -> None:
    """Files and lines of code stay below their bounds."""
    paths = list(PACKAGE.rglob("*.py"))

    assert len(paths) <= MOST_FILES
    assert sum(map(_code_lines, paths)) <= MOST_LINES_OF_CODE


def test_functions_are_short() -> None:
    """The mean function is a few lines long, its signature and docstring left out."""
    lengths = []
    for _, node in _functions():
        body = node.body
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        if body:
            lengths.append((body[-1].end_lineno or 0) - body[0].lineno + 1)

    assert sum(lengths) / len(lengths) <= MOST_MEAN_FUNCTION_LINES


_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.comprehension,
    ast.Assert,
)


def _complexity(node: ast.AST) -> int:
    """Return the cyclomatic complexity, nested functions counted apart."""
    count, todo = 1, list(ast.iter_child_nodes(node))
    while todo:
        child = todo.pop()
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, _BRANCHES):
            count += 1
        elif isinstance(child, ast.BoolOp):
            count += len(child.values) - 1
        elif isinstance(child, ast.Match):
            count += len(child.cases)
        todo += ast.iter_child_nodes(child)
    return count


REASONS: dict[str, str] = {
    "adcp_tracker.events.hashing:identify": "a branch for each identifier, in every purchase",
    "adcp_tracker.events.rules:json_value": "a branch for each kind of JSON value",
    "adcp_tracker.events.validation:encode": "one pass over an event, in every purchase",
    "adcp_tracker.orders.events:_contents": "one pass over the lines, in every purchase",
    "adcp_tracker.orders.events:_purchase": "a branch for each field, in every purchase",
    "adcp_tracker.orders.reader:read_dict": "one pass over a mapping, in every purchase",
    "adcp_tracker.recorder:record": "written out, as each call would show in every purchase",
}
"""Why a function may be more complex than the bound, by its name."""


def test_no_function_is_complex_without_a_reason() -> None:
    """A function with more branches than the bound has its reason written down."""
    complex_ones = {name for name, node in _functions() if _complexity(node) > MOST_BRANCHES}

    assert complex_ones == set(REASONS)


@pytest.mark.parametrize("name", ["django", "flask", "fastapi", "starlette", "pydantic"])
def test_the_core_imports_no_framework(name: str) -> None:
    """Frameworks belong to the integrations; only what `adcp-tracker` serves itself needs one."""
    importing = [
        module
        for module, tree in _trees().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == name)
        or (isinstance(node, ast.Import) and name in {a.name.split(".")[0] for a in node.names})
    ]

    served = ("adcp_tracker.sandbox", "adcp_tracker.cli.demo_shop")
    assert not [module for module in importing if not module.startswith(served)]
