"""A closer look at an event that was not sound at once: every broken rule, with its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from adcp_tracker.events.inspection import Inspection, join
from adcp_tracker.events.limits import (
    MAX_ID,
    MAX_PERCENT,
    MAX_TOKEN,
    MAX_TYPE,
    MAX_WORD,
)
from adcp_tracker.events.parts import Content, CustomData, Surface, UniversalId, UserMatch
from adcp_tracker.events.vocabulary import ActionSource, EventType, SurfaceCategory, UidType
from adcp_tracker.showing import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.events.event import Event
    from adcp_tracker.exceptions import Fault

_Part = TypeVar("_Part", UserMatch, CustomData, Surface)

_RAW: Final = frozenset({"email", "phone"})


def find_faults(event: Event) -> list[Fault]:
    """List every rule that `event` breaks, in the order of its fields."""
    look = Inspection()
    look.token("$.event_id", event.event_id, MAX_ID)
    look.member("$.event_type", event.event_type, EventType)
    look.time("$.event_time", event.event_time)
    _part(look, "$.user_match", event.user_match, UserMatch, _match)
    _part(look, "$.custom_data", event.custom_data, CustomData, _data)
    if event.action_source is not None:
        look.member("$.action_source", event.action_source, ActionSource)
    if event.event_source_url is not None:
        look.uri("$.event_source_url", event.event_source_url)
    if event.custom_event_name is not None:
        look.token("$.custom_event_name", event.custom_event_name, MAX_ID)
    _part(look, "$.surface", event.surface, Surface, _surface)
    if event.ext is not None:
        look.json_object("$.ext", event.ext)
    _extra(look, "$", event)
    _conditions(look, event)
    return look.faults


def _conditions(look: Inspection, event: Event) -> None:
    """Check what one field asks of another."""
    if event.action_source == ActionSource.WEBSITE and event.event_source_url is None:
        look.add("$.event_source_url", 'the page\'s URL, as action_source is "website"')
    if event.event_type == EventType.CUSTOM and event.custom_event_name is None:
        look.add("$.custom_event_name", 'a name, as event_type is "custom"')
    if event.event_type == EventType.WATCH_MILESTONE:
        data = event.custom_data
        percent = getattr(data, "progress_percent", None)
        if percent is getattr(data, "progress_seconds", None) is None:
            look.add(
                "$.custom_data.progress_percent",
                'this or progress_seconds, as event_type is "watch_milestone"',
            )


def _match(look: Inspection, path: str, match: UserMatch) -> None:
    if match.hashed_email is not None:
        look.digest(f"{path}.hashed_email", match.hashed_email)
    if match.hashed_phone is not None:
        look.digest(f"{path}.hashed_phone", match.hashed_phone)
    _each(look, f"{path}.uids", match.uids, _uid)
    if match.click_id is not None:
        look.token(f"{path}.click_id", match.click_id, MAX_TOKEN)
    if match.click_id_type is not None:
        look.token(f"{path}.click_id_type", match.click_id_type, MAX_TYPE)
    if match.client_ip is not None:
        look.address(f"{path}.client_ip", match.client_ip)
    if match.client_user_agent is not None:
        look.text(f"{path}.client_user_agent", match.client_user_agent, MAX_TOKEN)
    extra: object = match.extra
    for raw in sorted(_RAW.intersection(extra if isinstance(extra, Mapping) else ())):
        look.add(f"{path}.{raw}", f"hashed_{raw}, as it is never sent raw", "it raw")
    if not identifies(match):
        look.add(
            path,
            "an identifier: uids, hashed_email, hashed_phone, click_id, "
            "or client_ip together with client_user_agent",
            "none",
        )


def identifies(match: UserMatch) -> bool:
    """Tell whether `match` holds what sellers count as an identifier."""
    return bool(
        match.hashed_email
        or match.hashed_phone
        or match.uids
        or match.click_id
        or (match.client_ip and match.client_user_agent)
    )


def _uid(look: Inspection, path: str, uid: object) -> None:
    if not isinstance(uid, UniversalId):
        look.add(path, "a UniversalId", describe(uid))
        return
    look.member(f"{path}.type", uid.type, UidType)
    look.token(f"{path}.value", uid.value, MAX_TOKEN)
    _extra(look, path, uid)


def _data(look: Inspection, path: str, data: CustomData) -> None:
    if data.value is not None:
        look.number(f"{path}.value", data.value)
    if data.currency is not None:
        look.currency(f"{path}.currency", data.currency)
    if data.order_id is not None:
        look.token(f"{path}.order_id", data.order_id, MAX_ID)
    _each(look, f"{path}.contents", data.contents, _content)
    _each(look, f"{path}.content_ids", data.content_ids, _content_id)
    if data.num_items is not None:
        look.integer(f"{path}.num_items", data.num_items, 0)
    if data.content_type is not None:
        look.token(f"{path}.content_type", data.content_type, MAX_WORD)
    for name in ("content_name", "content_category", "search_string"):
        if (text := getattr(data, name)) is not None:
            look.text(f"{path}.{name}", text)
    if data.progress_percent is not None:
        look.number(f"{path}.progress_percent", data.progress_percent, MAX_PERCENT)
    if data.progress_seconds is not None:
        look.number(f"{path}.progress_seconds", data.progress_seconds)


def _content(look: Inspection, path: str, content: object) -> None:
    if not isinstance(content, Content):
        look.add(
            path, "a Content, or an item with an id, a quantity and a price", describe(content)
        )
        return
    look.token(f"{path}.id", content.id, MAX_ID)
    if content.quantity is not None:
        look.integer(f"{path}.quantity", content.quantity, 1)
    if content.price is not None:
        look.number(f"{path}.price", content.price)
    if content.brand is not None:
        look.text(f"{path}.brand", content.brand, MAX_ID)
    _extra(look, path, content)


def _content_id(look: Inspection, path: str, content_id: object) -> None:
    look.token(path, content_id, MAX_ID)


def _surface(look: Inspection, path: str, surface: Surface) -> None:
    look.member(f"{path}.category", surface.category, SurfaceCategory)
    if surface.property_type is not None:
        look.token(f"{path}.property_type", surface.property_type, MAX_WORD)
    if surface.namespace is not None:
        look.token(f"{path}.namespace", surface.namespace, MAX_WORD)
    if surface.property_id is not None:
        look.token(f"{path}.property_id", surface.property_id, MAX_ID)


def _part(
    look: Inspection,
    path: str,
    value: object,
    kind: type[_Part],
    inspect: Callable[[Inspection, str, _Part], None],
) -> None:
    if isinstance(value, kind):
        inspect(look, path, value)
        _extra(look, path, value)
    elif value is not None:
        look.add(path, f"a {kind.__name__}", describe(value))


def _each(
    look: Inspection,
    path: str,
    values: object,
    inspect: Callable[[Inspection, str, object], None],
) -> None:
    """Inspect a list's members; no list at all is fine where the field is optional."""
    if values is None:
        return
    if not isinstance(values, (list, tuple)):
        look.add(path, "a tuple or list", describe(values))
        return
    for index, value in enumerate(values):
        inspect(look, f"{path}[{index}]", value)


def _extra(look: Inspection, path: str, part: attrs.AttrsInstance) -> None:
    """Inspect the keys the protocol does not name; ``ext`` is the one of them that has a kind."""
    extra: object = getattr(part, "extra", None)
    if not isinstance(extra, Mapping):
        look.add(join(path, "extra"), "a mapping", describe(extra))
        return
    named = {field.name for field in attrs.fields(type(part)) if field.init} - {"extra"}
    for key, value in extra.items():
        look.key(path, key)
        if key in named:
            look.add(join(path, key), "an unknown key in extra", "a field's own name")
        elif key == "ext":
            look.json_object(join(path, key), value)
        else:
            look.json(join(path, key), value)
