"""Read attributes of a shop's own objects without queries, errors or side effects.

Related objects are looked at only if they are loaded: Django keeps those in a field cache,
SQLAlchemy tells what is unloaded. Neither framework is imported for that.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from types import MethodType
from typing import Any, Final

from adcp_tracker._logging import logger
from adcp_tracker._signals import reraise_interruption

_MISSING: Final = object()
_BUILTIN: Final = frozenset({"builtins", "types"})
_LOG_INTERVAL: Final = 60.0
_MAX_LOGGED: Final = 256
_last_logged: dict[tuple[type, str], float] = {}


def get_attribute(source: object, name: str) -> Any:  # noqa: ANN401 - the shop's own value
    """Return an attribute's value, or what it returns if it is a method.

    Returns:
        ``None`` if there is no such attribute, or if it raises, which is logged.
    """
    try:
        value = getattr(source, name, _MISSING)
        if value is _MISSING:
            if hasattr(type(source), name):
                log_failure(source, name, AttributeError())
            return None
        if type(value) is MethodType:
            value = value()
        if hasattr(value, "__await__"):
            getattr(value, "close", int)()
            return None
    except Exception as error:  # noqa: BLE001 - the shop's own code may raise anything
        reraise_interruption(error)
        log_failure(source, name, error)
        return None
    return value


def has_attribute(source: object, name: str) -> bool:
    """Return whether an object has an attribute; one whose own code raises has not."""
    try:
        return hasattr(source, name)
    except Exception as error:  # noqa: BLE001 - the shop's own code may raise anything
        reraise_interruption(error)
        return False


def is_loaded(source: object, name: str) -> bool:
    """Return whether an attribute is in memory, so that reading it runs no query."""
    if not has_attribute(source, "_sa_instance_state") and not has_attribute(source, "_state"):
        return True
    state = getattr(source, "_sa_instance_state", None)
    if state is not None:
        return name not in state.unloaded
    if not hasattr(getattr(source, "_state", None), "fields_cache"):
        return True
    descriptor: Any = getattr(type(source), name, None)
    if hasattr(descriptor, "is_cached"):
        return bool(descriptor.is_cached(source))
    field: Any = getattr(descriptor, "field", None)
    deferred = type(descriptor).__name__ == "DeferredAttribute"
    return not deferred or field.attname in source.__dict__


def may_query() -> bool:
    """Return whether a query may run here: never in a coroutine, which it would block."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


@lru_cache(maxsize=256)
def class_attributes(kind: type) -> tuple[str, ...] | None:
    """Return the public names that a class declares; ``None`` if its objects can have others.

    A class can compute names in ``__getattr__``, as rows, proxies and open models do.
    """
    for each in kind.__mro__:
        own = vars(each)
        if "__getattr__" in own:
            return None
        if "__getattribute__" in own and each.__module__ not in _BUILTIN:
            return None
    names = dict.fromkeys(name for each in kind.__mro__ for name in vars(each))
    return tuple(name for name in names if not name.startswith("_"))


def log_failure(source: object, name: str, error: Exception) -> None:
    """Log an attribute that raises, once a minute for each class and name."""
    key = (type(source), name)
    now = time.monotonic()
    if now - _last_logged.get(key, -_LOG_INTERVAL) < _LOG_INTERVAL:
        return
    if len(_last_logged) >= _MAX_LOGGED:
        _last_logged.clear()
    _last_logged[key] = now
    logger.warning(
        "order.attribute_failed",
        kind=f"{type(source).__module__}.{type(source).__qualname__}",
        attribute=name,
        error=type(error).__name__,
    )
