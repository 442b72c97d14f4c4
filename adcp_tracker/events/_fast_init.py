"""Constructors of frozen classes, at the price of plain ones.

A frozen attrs class sets every field through ``object.__setattr__``, which costs several
times a plain assignment. An event is five frozen objects with fifty fields, made while a
shopper waits, so the library makes its own through a twin: a subclass that can be written,
whose instance gets the frozen class once its fields are set.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

_Class = TypeVar("_Class", bound=attrs.AttrsInstance)


def quick(kind: type[_Class]) -> type[_Class]:
    """Make a quick constructor of a frozen, slotted attrs class.

    Args:
        kind: The class; its fields have plain defaults, no factories or converters.

    Returns:
        What takes the same arguments as `kind` and returns the same instances of `kind`.
    """
    scope: dict[str, Any] = {"_kind": kind}
    parameters, body = ["self"], []
    for field in attrs.fields(kind):
        if field.init:
            default = "" if field.default is attrs.NOTHING else f"=_default_{field.name}"
            scope[f"_default_{field.name}"] = field.default
            parameters.append(field.name + default)
            body.append(f"self.{field.name} = {field.name}")
    body.append("self.__class__ = _kind")
    if hasattr(kind, "__attrs_post_init__"):
        body.append("self.__attrs_post_init__()")
    source = f"def __init__({', '.join(parameters)}):\n    " + "\n    ".join(body)
    exec(source, scope)  # noqa: S102 - of field names only, as attrs writes its own constructors
    members = {
        "__slots__": (),
        "__init__": scope["__init__"],
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,  # Both, or the interpreter does not see either.
    }
    return type(f"Quick{kind.__name__}", (kind,), members)
