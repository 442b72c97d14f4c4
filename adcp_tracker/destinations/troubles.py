"""What is wrong when a seller answers a question with an error, for a person to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.destinations.base import Finding, Paused, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from adcp_tracker.destinations.base import Outcome

_LATER = "Check address and network, or try again later."
_WISH = "Mend what was asked for: the seller says it breaks a rule."


def trouble(outcome: Outcome) -> Finding:
    """Return what an answer other than the expected one means for who asked."""
    if isinstance(outcome, Paused):
        return Finding("fault", f"{outcome.code}: {outcome.message}", outcome.remedy)
    if isinstance(outcome, (Rejected, TooLarge)):
        return Finding("fault", f"{outcome.code}: {outcome.message}", _WISH)
    if isinstance(outcome, Retry):
        return Finding("fault", f"{outcome.code}: {outcome.message}", _LATER)
    return Finding("fault", "The seller's answer is none to what was asked.", _LATER)
