"""Events gone wrong: a good event's JSON with one thing or two changed anywhere in it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.support.events import events, plain_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn

Path = tuple[str | int, ...]

_FIELDS = (
    ("event_id",),
    ("event_type",),
    ("event_time",),
    ("user_match",),
    ("custom_data",),
    ("action_source",),
    ("event_source_url",),
    ("custom_event_name",),
    ("surface",),
    ("ext",),
    *(
        ("user_match", name)
        for name in (
            "uids",
            "hashed_email",
            "hashed_phone",
            "click_id",
            "click_id_type",
            "client_ip",
            "client_user_agent",
            "ext",
        )
    ),
    *(
        ("custom_data", name)
        for name in (
            "value",
            "currency",
            "order_id",
            "content_ids",
            "content_type",
            "content_name",
            "content_category",
            "num_items",
            "search_string",
            "progress_percent",
            "progress_seconds",
            "contents",
            "ext",
        )
    ),
    *(("surface", name) for name in ("category", "property_type", "namespace", "property_id")),
)

junk: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            *(None, "", " ", 0, -1, 1, 1.5, -0.5, 2.0, 10**19, 1e-30, True, False, [], {}, [{}]),
            *("x" * 65, "x" * 129, "x" * 257, "x" * 513, "o\n1", "\x7f", "eur", "EUR", "EURO"),
            *("purchase", "website", "custom", "watch_milestone", "owned_property", "other"),
            *("2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "2026-06-30T23:59:60Z", "2026-01-02"),
            *("2026-01-02T03:04:05+00:00:30", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z"),
            *("192.0.2.1", "::1", "fe80::1%eth0", "unknown", "f" * 64, "F" * 64, "f" * 63),
            *("https://shop.example/a", "/relative", "https://shop.example/{id}", "a b"),
            *("https://a.example/?b[]=1#c#d", "https://a.example/%", "https:", "https://\u00e9/"),
            *("https://a.example:99999/", "https://1.2.3/", "https://[::1]/", "mailto:a@b"),
            *(2**53 - 1, 2**53, -(2**53), 2**64 - 1, 2**64, 9007199254740993.5, 1e300),
            *([{"id": "a"}], [{"id": ""}], [{"id": "a", "quantity": 0}], [{"quantity": 1}]),
            *([{"type": "other", "value": ""}], [{"type": "no", "value": "x"}], ["a"], [1]),
            *({"category": "app"}, {"client_ip": "192.0.2.1"}, {"hashed_email": "f" * 64}),
        ]
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def spoilt_events(draw: DrawFn) -> dict[str, Any]:
    """Change one or two things in a good event: replace, add or remove them."""
    event = draw(st.one_of(events, plain_events))
    wire: dict[str, Any] = copy.deepcopy(json.loads(event.json))
    for _ in range(draw(st.integers(1, 2))):
        places = sorted({*_FIELDS, *_places(wire, ())}, key=repr)
        place = draw(st.sampled_from(places))
        if draw(st.integers(0, 4)):
            _put(wire, place, copy.deepcopy(draw(junk)))
        else:
            _remove(wire, place)
    return wire


def _places(value: object, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield (*path, key)
            yield from _places(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield (*path, index)
            yield from _places(member, (*path, index))


def _put(wire: Any, place: Path, value: object) -> None:  # noqa: ANN401 - JSON
    *parents, last = place
    for step in parents:
        if isinstance(wire, dict) and not isinstance(wire.get(step), (dict, list)):
            wire[step] = {}
        wire = wire[step]
    if isinstance(wire, dict) or (isinstance(last, int) and last < len(wire)):
        wire[last] = value


def _remove(wire: Any, place: Path) -> None:  # noqa: ANN401 - JSON
    *parents, last = place
    for step in parents:
        if not isinstance(wire, dict) or step not in wire:
            return
        wire = wire[step]
    if isinstance(wire, dict):
        wire.pop(last, None)
