"""Runs the rules of a part of an event, once for all of its fields.

:func:`part` reads the table that an attrs class is, see :mod:`.model`, and makes one function
of it. That function checks and writes in a single pass: it returns the part as JSON holds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker.events.parsing import Unvalidated, is_absent
from adcp_tracker.events.rules import (
    MAX_BROKEN,
    MAX_ELEMENTS,
    TOO_LARGE,
    UNKNOWN_FIELD,
    WRONG_TYPE,
    Check,
    InvalidField,
    Nested,
    Rule,
    below,
    fail,
    json_key,
    json_object,
    json_value,
    rule_of,
    step_to,
)
from adcp_tracker.exceptions import FieldError

JsonDict = dict[str, Any]
"""What orjson writes as one event or part."""

Omitted = list[FieldError] | None
Condition = Callable[[JsonDict, Any], None]

EXTRA: Final = "extra"
_EXT: Final = "ext"
_replace_indices: Final = re.compile(r"\[[0-9]+\]").sub


@attrs.frozen
class Omission:
    """What was left out of an event because it broke a rule.

    Attributes:
        field: Where, as in ``custom_data.contents[].quantity``; never a value.
        reason: Why, one of :data:`.REASONS`.
    """

    field: str
    reason: str

    @classmethod
    def of(cls, error: FieldError) -> Omission:
        """Return the omission of what has `error`."""
        return cls(_replace_indices("[]", error.path.lstrip("$").lstrip(".")), error.code)


def omissions_of(errors: Iterable[FieldError]) -> tuple[Omission, ...]:
    """Return what was left out, each field and reason once."""
    return tuple(dict.fromkeys(map(Omission.of, errors)))


@attrs.frozen
class _Field:
    """A field of a part: its name, its rule, and whether the part must have it."""

    name: str
    rule: Rule
    is_required: bool

    def is_vital(self, error: FieldError) -> bool:
        return self.is_required or error.code in self.rule.vital


def part(  # noqa: C901 - the one loop over fields
    kind: type[attrs.AttrsInstance],
    *,
    expected: str | None = None,
    rejected: Mapping[str, tuple[str, str]] | None = None,
    condition: Condition | None = None,
) -> Nested:
    """Make the check of a part of an event from the rules of its class.

    A part is given as an instance of its class or as a mapping, whose unknown keys are kept.

    Args:
        kind: The class.
        expected: What an error says is expected of something else; left out, the class.
        rejected: Unknown keys that are not taken: what to expect instead, and what was found.
        condition: Checks what one field asks of another. It gets the checked fields, or the
            given ones if some are wrong.
    """
    fields = _fields_with_rules(kind)
    named = frozenset(field.name for field in fields)

    def encode(value: Unvalidated, omitted: Omitted) -> JsonDict:
        source = value if type(value) is dict else fields_of(value, kind, expected)
        wire: JsonDict = {}
        errors: list[FieldError] = []
        for field in fields:
            member = source.get(field.name)
            if member is None and not field.is_required:
                continue
            try:
                written = _run(field.rule.check, member, omitted, f".{field.name}")
            except InvalidField as error:
                if field.is_required or not is_absent(member):
                    found = below(error.errors, f".{field.name}")
                    spared = None if any(map(field.is_vital, found)) else omitted
                    (errors if spared is None else spared).extend(found)
            else:
                if written is not None:
                    wire[field.name] = written
        if condition is not None:
            errors += _errors_of_condition(condition, source if errors else wire, omitted)
        if len(wire) != len(source):
            errors += _add_unknown(wire, source, named, rejected or {}, omitted)
        if errors:
            raise InvalidField(errors)
        return wire

    return Nested(encode, view_of(kind))


def _fields_with_rules(kind: type[attrs.AttrsInstance]) -> list[_Field]:
    return [
        _Field(field.name, rule, field.default is attrs.NOTHING)
        for field in attrs.fields(kind)
        if (rule := rule_of(field)) is not None
    ]


def _run(check: Check | Nested, value: object, omitted: Omitted, step: str) -> object:
    """Return the JSON value; what a nested value leaves out is noted with its path."""
    if not isinstance(check, Nested):
        return check(value)
    if omitted is None:
        return check.encode(value, None)
    inner: list[FieldError] = []
    written = check.encode(value, inner)
    omitted += below(inner, step)
    return written


def _errors_of_condition(
    condition: Condition, present: JsonDict, omitted: Omitted
) -> list[FieldError]:
    try:
        condition(present, omitted)
    except InvalidField as error:
        return error.errors
    return []


def _add_unknown(
    wire: JsonDict,
    source: Mapping[Any, object],
    named: frozenset[str],
    rejected: Mapping[str, tuple[str, str]],
    omitted: Omitted,
) -> list[FieldError]:
    """Put keys that the protocol doesn't name beside those that it does."""
    errors: list[FieldError] = []
    for key, value in source.items():
        if value is None or key in named:
            continue
        step = ""
        try:
            name = json_key(key)
            step = step_to(key)
            if name in rejected:
                fail(UNKNOWN_FIELD, *rejected[name])
            wire[name] = json_object(value) if name == _EXT else json_value(value)
        except InvalidField as error:
            if not is_absent(value):
                (errors if omitted is None else omitted).extend(below(error.errors, step))
    return errors


def fields_of(
    value: object, kind: type[attrs.AttrsInstance], expected: str | None = None
) -> dict[Any, Any]:
    """Return the fields of a part, and its unknown keys, as one dictionary.

    Raises:
        InvalidField: If `value` is neither a mapping nor an instance of `kind`.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, kind):
        fail(WRONG_TYPE, expected or f"a {kind.__name__}", describe(value))
    names = [field.name for field in attrs.fields(kind) if rule_of(field) is not None]
    return with_extra({name: getattr(value, name) for name in names}, getattr(value, EXTRA))


def with_extra(fields: dict[str, Any], extra: object) -> dict[Any, Any]:
    """Return `fields` and unknown keys as one dictionary.

    Raises:
        InvalidField: If `extra` is no mapping, or has a key that is a field's name.
    """
    if not isinstance(extra, Mapping):
        fail(WRONG_TYPE, "a mapping", describe(extra), f".{EXTRA}")
    for key in extra:
        if key in fields:
            fail(UNKNOWN_FIELD, "an unknown key in extra", "a field's own name", step_to(key))
    return {**fields, **extra} if extra else fields


def list_of(element: Check | Nested, *, keeps_empty: bool = True) -> Nested:
    """Make the check of a tuple or list.

    Args:
        element: The check of each element.
        keeps_empty: Whether a list without elements is written.
    """

    def encode(value: Unvalidated, omitted: Omitted) -> list[Any] | None:
        if not isinstance(value, (list, tuple)):
            fail(WRONG_TYPE, "a tuple or list", describe(value))
        if not value and not keeps_empty:
            return None
        wire: list[Any] = []
        errors: list[FieldError] = []
        broken = 0
        if len(value) > MAX_ELEMENTS:
            error = FieldError("", f"at most {MAX_ELEMENTS} elements", f"{len(value)}", TOO_LARGE)
            (errors if omitted is None else omitted).append(error)
        for index, member in enumerate(value[:MAX_ELEMENTS]):
            try:
                wire.append(_run(element, member, omitted, f"[{index}]"))
            except InvalidField as invalid:  # noqa: PERF203 - each is named
                found = below(invalid.errors, f"[{index}]")
                (errors if omitted is None else omitted).extend(found)
                broken += 1
                if broken >= MAX_BROKEN:
                    break
        if errors:
            raise InvalidField(errors)
        return wire if wire or not value else None

    def view(values: list[Any]) -> tuple[Any, ...]:
        return tuple(map(element.view, values) if isinstance(element, Nested) else values)

    return Nested(encode, view)


def view_of(kind: type[attrs.AttrsInstance]) -> Callable[[Mapping[str, Any]], Any]:
    """Make the function that returns an instance of `kind` for its JSON."""
    view = fields_viewer(kind)
    return lambda wire: kind(**view(wire))


def fields_viewer(
    kind: type[attrs.AttrsInstance],
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Make the function that returns the typed fields of a `kind` for its JSON."""
    readers = {
        field.name: found.view
        for field in attrs.fields(kind)
        if (found := rule_of(field)) is not None
    }

    def view(wire: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in wire.items():
            if key in readers:
                reader = readers[key]
                fields[key] = value if reader is None else reader(value)
            else:
                extra[key] = value
        if extra:
            fields[EXTRA] = extra
        return fields

    return view


def checks_of(kind: type[attrs.AttrsInstance]) -> dict[str, Check]:
    """Return the checks of a part's fields, but for those with fields or elements of their own."""
    return {
        field.name: field.rule.check
        for field in _fields_with_rules(kind)
        if not isinstance(field.rule.check, Nested)
    }
