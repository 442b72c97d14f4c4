"""Every error the library raises, and nothing else.

::

    AdcpTrackerError
    ├── InvalidEventError     (ValueError)       an event breaks a rule of the protocol
    ├── ConfigurationError    (ValueError)       a setting is missing, unknown or contradictory
    ├── UnsafeDirectoryError  (PermissionError)  others could read the directory or plant in it
    ├── QueueFullError        (OSError)          ``when_full="raise"`` and the queue has no room
    └── OutboxError           (RuntimeError)     the queue's state cannot be read or written

A message says what, where, expected, got and the remedy.
It never carries personal data or a secret.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@attrs.frozen
class FieldError:
    """One broken rule.

    Attributes:
        path: Where, from the event's root, as in ``$.custom_data.contents[2].quantity``.
        expected: What the rule asks for, as in ``an integer ≥ 1``.
        got: What was found, masked where it could be personal data.
    """

    path: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}"


class AdcpTrackerError(Exception):
    """Root of all errors of this library."""


class InvalidEventError(AdcpTrackerError, ValueError):
    """An event breaks rules of the protocol.

    Attributes:
        errors: Every broken rule, in the order of the event's fields; never empty.
        event: What may be kept of the event: its id, type, time and custom data as far as
            they were built, with the offending values masked; never who the shopper is.
    """

    def __init__(
        self, errors: Iterable[FieldError], *, event: Mapping[str, object] | None = None
    ) -> None:
        self.errors = tuple(errors)
        self.event = {} if event is None else event
        super().__init__("; ".join(map(str, self.errors)))

    def __reduce__(
        self,
    ) -> tuple[type[InvalidEventError], tuple[tuple[FieldError, ...]], dict[str, object]]:
        return type(self), (self.errors,), {"event": self.event}


class ConfigurationError(AdcpTrackerError, ValueError):
    """A setting is missing, unknown or contradictory."""


class UnsafeDirectoryError(AdcpTrackerError, PermissionError):
    """The queue directory, or a file in it, is open to others, owned by another or a link."""


class QueueFullError(AdcpTrackerError, OSError):
    """The queue has no room for the event, and the tracker was told to raise then."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOSPC, message)


class OutboxError(AdcpTrackerError, RuntimeError):
    """The queue's state cannot be read or written."""
