"""Every way to track an event has an example, and the example works."""

from __future__ import annotations

import inspect
import textwrap
from decimal import Decimal
from typing import Final

import pytest

from adcp_tracker import Event, RequestContext, Tracker, bind_context
from adcp_tracker.testing import RecordingTracker

_METHODS: Final = sorted(name for name in vars(Tracker) if name.startswith("track"))
_SHOPPER: Final = RequestContext(
    client_ip="8.8.8.8",
    client_user_agent="Mozilla/5.0",
    event_source_url="https://shop.example/",
)


def _example(name: str) -> str:
    """Return the code after ``Example::`` in a method's docstring."""
    doc = inspect.getdoc(getattr(Tracker, name)) or ""
    _, _, after = doc.partition("Example::\n\n")
    lines = after.splitlines()
    end = next((i for i, line in enumerate(lines) if line and line[0] != " "), len(lines))
    return textwrap.dedent("\n".join(lines[:end]))


def test_there_are_methods_for_all_event_types() -> None:
    """Else what follows would have little to look at."""
    assert len(_METHODS) > 30


@pytest.mark.parametrize("name", _METHODS)
def test_the_example_of_a_method_tracks_an_event(name: str) -> None:
    """Run while a shopper's request is handled, it makes one valid event by that method."""
    code = _example(name)
    with RecordingTracker() as tracker, bind_context(_SHOPPER):
        exec(code, {"tracker": tracker, "Decimal": Decimal})  # noqa: S102 - our own documentation
        (event,) = tracker.events

    assert f"tracker.{name}(" in code
    assert isinstance(event, Event)
