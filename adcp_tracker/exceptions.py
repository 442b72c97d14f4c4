"""Every error that the library raises.

::

    AdcpTrackerError
    ├── InvalidEventError     (ValueError)       an event breaks a rule of the protocol
    ├── ConfigurationError    (ValueError)       a setting is missing, unknown or contradictory
    │   └── UnusableDirectoryError               the queue directory can't be used, and why
    ├── UnsafeDirectoryError  (PermissionError)  other users could read or write the directory
    ├── QueueFullError        (OSError)          ``when_full="raise"`` and the queue has no room
    ├── OutboxError           (RuntimeError)     the queue's state can't be read or written
    ├── LeadLostError                            another process uploads by now
    └── OutsideTransactionError (RuntimeError)   ``outside_transaction="refuse"``, and none is open

A message says what is wrong and where, what was expected, what was found and what to do.
It never contains personal data or secrets.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@attrs.frozen
class FieldError:
    """A rule that a field of an event breaks.

    Attributes:
        path: The field, such as ``$.custom_data.contents[2].quantity``.
        expected: What the rule asks for, such as ``an integer ≥ 1``.
        got: What was found, masked where it could be personal data.
        code: The kind of mistake in one word, such as ``out_of_range``.
    """

    path: str
    expected: str
    got: str
    code: str = "invalid"

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}"


class AdcpTrackerError(Exception):
    """The base class of this library's errors."""


class InvalidEventError(AdcpTrackerError, ValueError):
    """An event breaks rules of the protocol.

    Attributes:
        errors: Every broken rule, in the order of the event's fields; never empty.
        event: The parts of the event that may be kept: its id, type, time and custom data, as
            far as they were built, with invalid values masked. Never the shopper's identifiers.
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


class UnusableDirectoryError(ConfigurationError):
    """The queue directory can't be created or written to, or isn't private to this user."""


class UnsafeDirectoryError(AdcpTrackerError, PermissionError):
    """The queue directory or a file in it is open to or owned by another user, or a link."""


class QueueFullError(AdcpTrackerError, OSError):
    """The queue is full, and the tracker has ``when_full="raise"``."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOSPC, message)


class OutboxError(AdcpTrackerError, RuntimeError):
    """The queue's state can't be read or written."""


class OutsideTransactionError(AdcpTrackerError, RuntimeError):
    """An event was tracked outside of a transaction, and ``outside_transaction="refuse"``."""


class LeadLostError(AdcpTrackerError):
    """Another process uploads by now. Nothing was written.

    Neither an :class:`OutboxError` nor an :class:`OSError`, so that no handler for a failing
    disk takes it for one and goes on.
    """
