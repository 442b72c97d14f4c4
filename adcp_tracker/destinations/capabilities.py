"""What a seller says it can take, from ``get_adcp_capabilities``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeGuard

import attrs
import orjson

from adcp_tracker.destinations.base import CheckResult
from adcp_tracker.destinations.mcp import McpResponse, structured
from adcp_tracker.destinations.responses import CODE_LENGTH, sanitize
from adcp_tracker.events.model import ActionSource, EventType, UidType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adcp_tracker.destinations.base import Paused, Retry
    from adcp_tracker.destinations.mcp import McpSession


AdcpVersion = Literal["3.0", "3.1", "3.2"]

ADCP_VERSIONS: tuple[AdcpVersion, ...] = ("3.0", "3.1", "3.2")

EVENT_TYPES: Mapping[str, AdcpVersion] = {
    "follow": "3.1",
    "content_view": "3.1",
    "watch_milestone": "3.1",
}
"""Event types that came after 3.0, and the line they came with."""

UID_TYPES: Mapping[str, AdcpVersion] = {"world_id_nullifier": "3.1"}
"""Types of universal ids that came after 3.0, and the line they came with."""


def unsupported_feature(event: Mapping[str, object], line: str) -> tuple[str, AdcpVersion] | None:
    """Return what `event` needs and `line` has not, and the line that has it.

    Args:
        event: The decoded event.
        line: The protocol line that is spoken.
    """
    for what, needed in _needs(event):
        if parse_version(needed) > parse_version(line):
            return what, needed
    return None


def parse_version(line: str) -> tuple[int, int]:
    """Return a line as numbers that compare; ``(0, 0)`` for what is none."""
    major, _, minor = line.partition("-")[0].partition(".")
    # Two digits each are plenty, and keep hostile input from being converted at length.
    known = all(part.isascii() and part.isdigit() and len(part) <= 2 for part in (major, minor))  # noqa: PLR2004 - said above
    return (int(major), int(minor)) if known else (0, 0)


def negotiate(own: AdcpVersion, supported: Iterable[str]) -> str:
    """Return the line a seller will read a request of line `own` by.

    A seller that does not speak `own` goes down to its next older one.
    """
    lines = [line for line in supported if parse_version(line) != (0, 0)]
    if not lines or own in lines:
        return own
    older = [line for line in lines if parse_version(line) <= parse_version(own)]
    return max(older, key=parse_version, default=own)


def uid_types(event: Mapping[str, object]) -> Iterator[str]:
    """Return the types of the universal ids in `event`."""
    match = event.get("user_match")
    uids = match.get("uids") if isinstance(match, dict) else None
    for uid in uids if isinstance(uids, list) else []:
        kind = uid.get("type") if isinstance(uid, dict) else None
        if isinstance(kind, str):
            yield kind


def _needs(event: Mapping[str, object]) -> Iterator[tuple[str, AdcpVersion]]:
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

    def rejection(self, event: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Return code, message and remedy if the seller says it does not take such an event."""
        words = (
            ("event type", event.get("event_type"), self.event_types),
            ("action source", event.get("action_source"), self.action_sources),
        )
        for what, word, taken in words:
            if isinstance(word, str) and taken and word not in taken:
                return _rejection(what, word, taken)
        return self._uids_rejection(event)

    def _uids_rejection(self, event: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Object only where no universal id is of use and nothing else identifies."""
        match = event.get("user_match")
        kinds = list(uid_types(event))
        others = isinstance(match, dict) and any(name != "uids" for name in match)
        if not self.uid_types or not kinds or others or self.uid_types.intersection(kinds):
            return None
        return _rejection("universal id type", kinds[0], self.uid_types)


def read_capabilities(payload: object) -> Capabilities:
    """Return what `payload` says, leaving out whatever is of a wrong type."""
    adcp, tracking = _inner(payload, "adcp"), _inner(payload, "media_buy", "conversion_tracking")
    majors = adcp.get("major_versions")
    return Capabilities(
        versions=tuple(_strings(adcp.get("supported_versions"))),
        event_types=frozenset(_strings(tracking.get("supported_event_types"))),
        uid_types=frozenset(_strings(tracking.get("supported_uid_types"))),
        action_sources=frozenset(_strings(tracking.get("supported_action_sources"))),
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


def _rejection(what: str, word: str, taken: frozenset[str]) -> tuple[str, str, str]:
    code = f"UNSUPPORTED_{what.replace(' ', '_').upper()}"
    message = f"The seller takes no {what} {word!r}."
    return code, message, f"Use one of {', '.join(sorted(taken))} for this destination."


def _inner(payload: object, *names: str) -> Mapping[str, object]:
    for name in names:
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload if isinstance(payload, dict) else {}


def _strings(listed: object) -> list[str]:
    items = listed[:_MOST_WORDS] if isinstance(listed, list) else []
    return [word for word in (sanitize(item, CODE_LENGTH) for item in items) if word]


_CAPABILITIES = "get_adcp_capabilities"
_MOST_PAGES = 20
_MAJOR = 3
_RESTRICTED = "Any other event becomes a dead letter of this destination, and is not sent."


@attrs.frozen
class AgentInfo:
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

    def findings(self, line: AdcpVersion) -> list[CheckResult]:
        """Return what a person who checks a configuration would like to know."""
        if self.tools is None:
            return [CheckResult("warning", "The agent lists no tools.", "Send a test event.")]
        found = [CheckResult("ok", "The agent offers log_event."), *self._of_versions(line)]
        found += (
            CheckResult("warning", words, _RESTRICTED) for words in self.capabilities.restrictions
        )
        ttl = self.capabilities.replay_ttl_seconds
        if ttl:
            found.append(CheckResult("ok", f"The agent knows a repeated request for {ttl} s."))
        elif ttl is not None:
            message = "The agent does not know repeated requests."
            found.append(CheckResult("warning", message, "Have it count each event id once."))
        return found

    def _of_versions(self, line: AdcpVersion) -> Iterator[CheckResult]:
        majors, lines = self.capabilities.major_versions, self.capabilities.versions
        if majors and _MAJOR not in majors:
            spoken = ", ".join(map(str, sorted(majors)))
            message = f"The agent speaks AdCP {spoken}, and not {_MAJOR}."
            yield CheckResult("error", message, "Ask the seller for an agent that does.")
        elif lines and line not in lines:
            message = f"The agent speaks AdCP {', '.join(lines)}, but not {line}."
            yield CheckResult("warning", message, "Set adcp_version to one of them.")
        elif lines:
            yield CheckResult("ok", f"The agent speaks AdCP {', '.join(lines)}; {line} is used.")


def discover(session: McpSession, line: AdcpVersion) -> AgentInfo | Retry | Paused:
    """Return what the agent offers, or what keeps it from being asked.

    An agent that lists no tools or tells no capabilities is no fault: most do not have to.
    """
    tools = _tools(session)
    if tools is not None and not isinstance(tools, frozenset):
        return tools
    if tools is None or _CAPABILITIES not in tools:
        return AgentInfo(tools)
    call = {"name": _CAPABILITIES, "arguments": version_fields(line)}
    answer = session.request("tools/call", orjson.dumps(call))
    if not isinstance(answer, McpResponse):
        return answer
    payload = structured(answer.result) if answer.result is not None else None
    return AgentInfo(tools, read_capabilities(payload))


def version_fields(line: AdcpVersion) -> dict[str, object]:
    """Return how a request of `line` says so; before 3.1 requests named no version."""
    return {} if line == "3.0" else {"adcp_version": line, "adcp_major_version": _MAJOR}


def _tools(session: McpSession) -> frozenset[str] | Retry | Paused | None:
    names: set[str] = set()
    params: dict[str, object] = {}
    for _ in range(_MOST_PAGES):
        answer = session.request("tools/list", orjson.dumps(params))
        if not isinstance(answer, McpResponse):
            return answer
        listed = answer.result.get("tools") if answer.result is not None else None
        if answer.result is None or not isinstance(listed, list):
            return None
        tools = (tool.get("name") for tool in listed if isinstance(tool, dict))
        names.update(name for name in tools if isinstance(name, str))
        cursor = answer.result.get("nextCursor")
        if not isinstance(cursor, str):
            return frozenset(names)
        params = {"cursor": cursor}
    return None
