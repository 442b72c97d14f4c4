"""One key or several, as a setting may give them."""

from __future__ import annotations

from collections.abc import Iterable


def several(keys: object) -> tuple[object, ...]:
    """Return keys as a tuple, also if only one was given.

    What can be no key is handed on all the same, for whoever uses it to refuse by its name.
    """
    return (keys,) if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable) else (*keys,)
