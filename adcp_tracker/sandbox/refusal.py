"""A request that the seller does not take, whatever wire it came over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.sandbox.checks import Issue
    from adcp_tracker.sandbox.config import SandboxConfig

Recovery = Literal["transient", "correctable", "terminal"]

_MOST_LISTED = 100
"""How many wrong places one answer lists: a body of nothing but faults stays readable."""


@attrs.define(slots=False, eq=False, auto_exc=True)
class RefusalError(Exception):
    """The seller says no to the whole request.

    Attributes:
        status: The HTTP status that goes with it.
        code: The protocol's word for it.
        message: Why, for a person.
        recovery: What AdCP calls the way out.
        issues: The wrong places, as JSON pointers.
        retry_after_s: The least number of seconds to wait.
        details: More that a program may read.
        headers: HTTP headers that go with it.
    """

    status: int
    code: str
    message: str
    recovery: str | None = "correctable"
    issues: tuple[Issue, ...] = ()
    retry_after_s: float | None = None
    details: Mapping[str, object] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def body(self, config: SandboxConfig) -> dict[str, object]:
        """Return the error object as `config` wants wrong places to be named."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        details = dict(self.details)
        if self.issues and config.names_field:
            error["field"] = name_place(self.issues[0].pointer, config.notation)
        if self.issues and config.issues_in != "nowhere":
            home = error if config.issues_in == "top" else details
            home["issues"] = [
                attrs.asdict(issue) | {"pointer": name_place(issue.pointer, config.notation)}
                for issue in self.issues[:_MOST_LISTED]
            ]
        if details:
            error["details"] = details
        return error

    def adcp_body(self, config: SandboxConfig) -> dict[str, object]:
        """Return the error object of an AdCP agent, which adds the way out."""
        error = self.body(config)
        if self.recovery is not None:
            error["recovery"] = self.recovery
        if self.retry_after_s is not None:
            error["retry_after"] = self.retry_after_s
        return error


def name_place(pointer: str, notation: Literal["pointer", "dotted"]) -> str:
    """Write a JSON pointer as it is, or in the dotted notation some sellers use."""
    if notation == "pointer":
        return pointer
    steps = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    dotted = "".join(f"[{step}]" if re.fullmatch(r"\d+", step) else f".{step}" for step in steps)
    return dotted.removeprefix(".")
