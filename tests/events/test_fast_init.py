"""Quick constructors of frozen classes."""

from __future__ import annotations

import attrs
import pytest

from adcp_tracker.events._fast_init import quick
from adcp_tracker.events.event import Event
from adcp_tracker.events.model import Content, CustomData, EventType, UserMatch
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.reader import Order, OrderItem
from tests.support.events import NOW


@pytest.mark.parametrize("kind", [Content, CustomData, UserMatch, Order, OrderItem])
def test_it_makes_what_the_class_makes(kind: type[attrs.AttrsInstance]) -> None:
    """Instances have the class itself, every default, and each argument in its place."""
    values = [f"value of {field.name}" for field in attrs.fields(kind)]
    made = quick(kind)(*values)
    assert type(made) is kind
    assert made == kind(*values)
    needed = [field for field in attrs.fields(kind) if field.default is attrs.NOTHING]
    assert quick(kind)(*needed) == kind(*needed)


def test_what_it_makes_is_frozen() -> None:
    """Only the constructor writes."""
    made = quick(Content)("a", quantity=2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.id = "b"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del made.id


def test_it_judges_what_the_class_judges() -> None:
    """An event made quickly is checked and written like any other."""
    assert quick(Event)("a", EventType.LEAD, NOW).json == Event("a", EventType.LEAD, NOW).json
    with pytest.raises(InvalidEventError):
        quick(Event)("", EventType.LEAD, NOW)


def test_a_missing_argument_is_missed() -> None:
    """It asks for the same arguments as the class."""
    with pytest.raises(TypeError, match="id"):
        quick(Content)()  # type: ignore[call-arg]
