"""What a seller says it can take, from ``get_adcp_capabilities``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeGuard

import attrs
import orjson

from adcp_tracker.destinations.base import Finding
from adcp_tracker.destinations.mcp import Heard, structured
from adcp_tracker.destinations.responses import CODE_LENGTH, clean
from adcp_tracker.events.model import ActionSource, EventType, UidType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adcp_tracker.destinations.base import Paused, Retry
    from adcp_tracker.destinations.mcp import McpSession


Line = Literal["3.0", "3.1", "3.2"]

LINES: tuple[Line, ...] = ("3.0", "3.1", "3.2")

EVENT_TYPES: Mapping[str, Line] = {
    "follow": "3.1",
    "content_view": "3.1",
    "watch_milestone": "3.1",
}
"""Event types that came after 3.0, and the line they came with."""

UID_TYPES: Mapping[str, Line] = {"world_id_nullifier": "3.1"}
"""Types of universal ids that came after 3.0, and the line they came with."""


def lacks(event: Mapping[str, object], line: str) -> tuple[str, Line] | None:
    """Return what `event` needs and `line` has not, and the line that has it.

    Args:
        event: The decoded event.
        line: The protocol line that is spoken.
    """
    for what, needed in _needs(event):
        if release(needed) > release(line):
            return what, needed
    return None


def release(line: str) -> tuple[int, int]:
    """Return a line as numbers that compare; ``(0, 0)`` for what is none."""
    major, _, minor = line.partition("-")[0].partition(".")
    # Two digits each are plenty, and keep hostile input from being converted at length.
    known = all(part.isascii() and part.isdigit() and len(part) <= 2 for part in (major, minor))  # noqa: PLR2004 - said above
    return (int(major), int(minor)) if known else (0, 0)


def spoken(own: Line, supported: Iterable[str]) -> str:
    """Return the line a seller will read a request of line `own` by.

    A seller that does not speak `own` goes down to its next older one.
    """
    lines = [line for line in supported if release(line) != (0, 0)]
    if not lines or own in lines:
        return own
    older = [line for line in lines if release(line) <= release(own)]
    return max(older, key=release, default=own)


def uid_types(event: Mapping[str, object]) -> Iterator[str]:
    """Return the types of the universal ids in `event`."""
    match = event.get("user_match")
    uids = match.get("uids") if isinstance(match, dict) else None
    for uid in uids if isinstance(uids, list) else []:
        kind = uid.get("type") if isinstance(uid, dict) else None
        if isinstance(kind, str):
            yield kind


def _needs(event: Mapping[str, object]) -> Iterator[tuple[str, Line]]:
    kind = event.get("event_type")
    if isinstance(kind, str) and kind in EVENT_TYPES:
        yield f"event type {kind!r}", EVENT_TYPES[kind]
    for uid_type in uid_types(event):
        if uid_type in UID_TYPES:
            yield f"universal id type {uid_type!r}", UID_TYPES[uid_type]


_MOST_WORDS = 200
_EVENT_TYPES = frozenset(word.value for word in EventType)
_UID_TYPES = frozenset(word.value for word in UidType)
_ACTION_SOURCES = frozenset(word.value for word in ActionSource)


@attrs.frozen
class Capabilities:
    """What one seller takes; an empty set where it does not say.

    Attributes:
        versions: The protocol lines it speaks.
        event_types: The event types it takes.
        uid_types: The types of universal ids it matches.
        action_sources: The action sources it takes.
        replay_ttl_seconds: How long it knows an idempotency key again, 0 if it never
            does; ``None`` if it does not say.
        major_versions: The protocol's major versions it speaks.
    """

    versions: tuple[str, ...] = ()
    event_types: frozenset[str] = frozenset()
    uid_types: frozenset[str] = frozenset()
    action_sources: frozenset[str] = frozenset()
    replay_ttl_seconds: int | None = None
    major_versions: frozenset[int] = frozenset()

    @property
    def restrictions(self) -> tuple[str, ...]:
        """Say of each kind of word that the seller takes some of, which those are."""
        kinds = (
            ("event types", self.event_types, _EVENT_TYPES),
            ("universal id types", self.uid_types, _UID_TYPES),
            ("action sources", self.action_sources, _ACTION_SOURCES),
        )
        return tuple(_restriction(*kind) for kind in kinds if kind[1] and kind[2] - kind[1])

    def objection(self, event: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Return code, message and remedy if the seller says it does not take such an event."""
        words = (
            ("event type", event.get("event_type"), self.event_types),
            ("action source", event.get("action_source"), self.action_sources),
        )
        for what, word, taken in words:
            if isinstance(word, str) and taken and word not in taken:
                return _objection(what, word, taken)
        return self._uids_objection(event)

    def _uids_objection(self, event: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Object only where no universal id is of use and nothing else identifies."""
        match = event.get("user_match")
        kinds = list(uid_types(event))
        others = isinstance(match, dict) and any(name != "uids" for name in match)
        if not self.uid_types or not kinds or others or self.uid_types.intersection(kinds):
            return None
        return _objection("universal id type", kinds[0], self.uid_types)


def read_capabilities(payload: object) -> Capabilities:
    """Return what `payload` says, leaving out whatever is of a wrong type."""
    adcp, tracking = _inner(payload, "adcp"), _inner(payload, "media_buy", "conversion_tracking")
    majors = adcp.get("major_versions")
    return Capabilities(
        versions=tuple(_words(adcp.get("supported_versions"))),
        event_types=frozenset(_words(tracking.get("supported_event_types"))),
        uid_types=frozenset(_words(tracking.get("supported_uid_types"))),
        action_sources=frozenset(_words(tracking.get("supported_action_sources"))),
        replay_ttl_seconds=_replay_ttl(_inner(adcp, "idempotency")),
        major_versions=frozenset(filter(_is_integer, majors if isinstance(majors, list) else ())),
    )


def _replay_ttl(idempotency: Mapping[str, object]) -> int | None:
    if idempotency.get("supported") is False:
        return 0
    ttl = idempotency.get("replay_ttl_seconds")
    return ttl if _is_integer(ttl) else None


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _restriction(what: str, taken: frozenset[str], known: frozenset[str]) -> str:
    """Name the words that are taken, or those that are not where they are fewer."""
    missing = known - taken
    if len(missing) < len(taken & known):
        return f"The agent takes all {what} but {', '.join(sorted(missing))}."
    return f"Of {what}, the agent takes {', '.join(sorted(taken))}."


def _objection(what: str, word: str, taken: frozenset[str]) -> tuple[str, str, str]:
    code = f"UNSUPPORTED_{what.replace(' ', '_').upper()}"
    message = f"The seller takes no {what} {word!r}."
    return code, message, f"Use one of {', '.join(sorted(taken))} for this destination."


def _inner(payload: object, *names: str) -> Mapping[str, object]:
    for name in names:
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload if isinstance(payload, dict) else {}


def _words(listed: object) -> list[str]:
    items = listed[:_MOST_WORDS] if isinstance(listed, list) else []
    return [word for word in (clean(item, CODE_LENGTH) for item in items) if word]


_CAPABILITIES = "get_adcp_capabilities"
_MOST_PAGES = 20
_MAJOR = 3
_RESTRICTED = "Any other event becomes a dead letter of this destination, and is not sent."


@attrs.frozen
class Offer:
    """What an agent offers.

    Attributes:
        tools: The names of its tools; ``None`` where it does not list them.
        capabilities: What it says it takes; all empty where it does not say.
    """

    tools: frozenset[str] | None = None
    capabilities: Capabilities = attrs.field(factory=Capabilities)

    def has(self, tool: str) -> bool:
        """Return whether `tool` is known to be there."""
        return self.tools is not None and tool in self.tools

    def lacks(self, tool: str) -> bool:
        """Return whether `tool` is known not to be there."""
        return self.tools is not None and tool not in self.tools

    def findings(self, line: Line) -> list[Finding]:
        """Return what a person who checks a configuration would like to know."""
        if self.tools is None:
            return [Finding("advice", "The agent lists no tools.", "Send a test event.")]
        found = [Finding("good", "The agent offers log_event."), *self._of_versions(line)]
        found += (Finding("advice", words, _RESTRICTED) for words in self.capabilities.restrictions)
        ttl = self.capabilities.replay_ttl_seconds
        if ttl:
            found.append(Finding("good", f"The agent knows a repeated request for {ttl} s."))
        elif ttl is not None:
            message = "The agent does not know repeated requests."
            found.append(Finding("advice", message, "Have it count each event id once."))
        return found

    def _of_versions(self, line: Line) -> Iterator[Finding]:
        majors, lines = self.capabilities.major_versions, self.capabilities.versions
        if majors and _MAJOR not in majors:
            spoken = ", ".join(map(str, sorted(majors)))
            message = f"The agent speaks AdCP {spoken}, and not {_MAJOR}."
            yield Finding("fault", message, "Ask the seller for an agent that does.")
        elif lines and line not in lines:
            message = f"The agent speaks AdCP {', '.join(lines)}, but not {line}."
            yield Finding("advice", message, "Set adcp_version to one of them.")
        elif lines:
            yield Finding("good", f"The agent speaks AdCP {', '.join(lines)}; {line} is used.")


def read_offer(session: McpSession, line: Line) -> Offer | Retry | Paused:
    """Return what the agent offers, or what keeps it from being asked.

    An agent that lists no tools or tells no capabilities is no fault: most do not have to.
    """
    tools = _tools(session)
    if tools is not None and not isinstance(tools, frozenset):
        return tools
    if tools is None or _CAPABILITIES not in tools:
        return Offer(tools)
    call = {"name": _CAPABILITIES, "arguments": versions(line)}
    heard = session.request("tools/call", orjson.dumps(call))
    if not isinstance(heard, Heard):
        return heard
    payload = structured(heard.result) if heard.result is not None else None
    return Offer(tools, read_capabilities(payload))


def versions(line: Line) -> dict[str, object]:
    """Return how a request of `line` says so; before 3.1 requests named no version."""
    return {} if line == "3.0" else {"adcp_version": line, "adcp_major_version": _MAJOR}


def _tools(session: McpSession) -> frozenset[str] | Retry | Paused | None:
    names: set[str] = set()
    params: dict[str, object] = {}
    for _ in range(_MOST_PAGES):
        heard = session.request("tools/list", orjson.dumps(params))
        if not isinstance(heard, Heard):
            return heard
        listed = heard.result.get("tools") if heard.result is not None else None
        if heard.result is None or not isinstance(listed, list):
            return None
        tools = (tool.get("name") for tool in listed if isinstance(tool, dict))
        names.update(name for name in tools if isinstance(name, str))
        cursor = heard.result.get("nextCursor")
        if not isinstance(cursor, str):
            return frozenset(names)
        params = {"cursor": cursor}
    return None
