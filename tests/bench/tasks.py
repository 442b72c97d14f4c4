"""One measurement to be made, as it travels to the process that makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

OTHER = "other checkout"
"""The variant of what is measured with the library of another checkout."""

Figures = Mapping[str, float]
"""What a measurement found, by name."""


@attrs.frozen
class Key:
    """What a series of figures is about: ``("threads", "posthog_client", "4")``."""

    section: str
    subject: str
    variant: str = ""


@attrs.frozen
class Task:
    """One measurement.

    Attributes:
        key: What it is about.
        measure: The module under ``measures`` that makes it.
        options: Its sizes.
    """

    key: Key
    measure: str
    options: Mapping[str, float]

    def size(self, name: str) -> int:
        """Give an option that counts something."""
        return int(self.options[name])

    def dumps(self) -> str:
        """Write it for a command line."""
        return json.dumps(attrs.asdict(self))


def loads(text: str) -> Task:
    """Read it from a command line."""
    data = json.loads(text)
    return Task(Key(**data["key"]), data["measure"], data["options"])
