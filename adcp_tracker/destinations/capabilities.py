"""Protocol versions, and what a seller accepts by ``get_adcp_capabilities``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeGuard

import attrs
import orjson

from adcp_tracker.destinations.base import CheckResult, RequestBody
from adcp_tracker.destinations.mcp import Answer
from adcp_tracker.destinations.responses import CODE_LENGTH, sanitize
from adcp_tracker.events.model import (
    NEWER_EVENT_TYPES,
    NEWER_UID_TYPES,
    ActionSource,
    EventType,
    UidType,
    identifies,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adcp_tracker.destinations.a2a import A2aClient
    from adcp_tracker.destinations.base import Paused, Retry
    from adcp_tracker.destinations.mcp import McpSession
    from adcp_tracker.events.rules import AdcpVersion


ADCP_VERSIONS: tuple[AdcpVersion, ...] = ("3.0", "3.1", "3.2")


def unsupported_feature(
    event: Mapping[str, object], version: str
) -> tuple[str, AdcpVersion] | None:
    """Return what `event` needs and `version` lacks, and the version that has it.

    Args:
        event: The decoded event.
        version: The protocol version that is spoken.
    """
    kind = event.get("event_type")
    needed = NEWER_EVENT_TYPES.get(kind) if isinstance(kind, str) else None
    if needed is None or parse_version(needed) <= parse_version(version):
        return None
    return f"event type {kind!r}", needed


def parse_version(version: str) -> tuple[int, int]:
    """Return a version as numbers; ``(0, 0)`` if it is invalid."""
    major, _, minor = version.partition("-")[0].partition(".")
    # Bounded, so that hostile input isn't converted at length.
    known = all(part.isascii() and part.isdigit() and len(part) <= 2 for part in (major, minor))  # noqa: PLR2004 - bounded
    return (int(major), int(minor)) if known else (0, 0)


def negotiate(own: AdcpVersion, supported: Iterable[str]) -> str:
    """Return the version that a seller reads a request of version `own` by.

    A seller that doesn't speak `own` falls back to its next older version.
    """
    versions = [version for version in supported if parse_version(version) != (0, 0)]
    if not versions or own in versions:
        return own
    older = [version for version in versions if parse_version(version) <= parse_version(own)]
    return max(older, key=parse_version, default=own)


def without_uids(event: bytes, taken: frozenset[str], version: str) -> tuple[bytes, list[str]]:
    """Return an event's JSON without the universal ids that a seller doesn't match.

    Only the user match is rewritten, so that numbers stay digit for digit. It is left out if
    nothing in it identifies the shopper any more.

    Args:
        event: The event's JSON.
        taken: The types that the seller matches; empty for all.
        version: The protocol version that it speaks.

    Returns:
        The JSON, and the types that were left out.
    """
    text = event.decode() if b'"uids"' in event else ""
    found = _find_user_match(text)
    if found is None:
        return event, []
    start = found.start()
    match, stop = _decoder.raw_decode(text, found.end())
    dropped = [kind for kind in _uid_types(match) if not _is_taken(kind, taken, version)]
    if not dropped:
        return event, []
    kept = [uid for uid in match["uids"] if _is_taken(uid.get("type"), taken, version)]
    left = {name: value for name, value in match.items() if name != "uids"}
    left |= {"uids": kept} if kept else {}
    if identifies(left):
        written = found.group() + orjson.dumps(left).decode()
        return (text[:start] + written + text[stop:]).encode(), dropped
    before, after = text[:start], text[stop:]
    if after.startswith(","):
        return (before + after[1:]).encode(), dropped
    return (before.removesuffix(",") + after).encode(), dropped


_find_user_match = re.compile(r'"user_match"\s*:\s*').search
_decoder = json.JSONDecoder()


def _is_taken(kind: str, taken: frozenset[str], version: str) -> bool:
    needed = NEWER_UID_TYPES.get(kind)
    is_known = needed is None or parse_version(needed) <= parse_version(version)
    return is_known and (not taken or kind in taken)


def _uid_types(match: Mapping[str, object]) -> Iterator[str]:
    uids = match.get("uids")
    for uid in uids if isinstance(uids, list) else []:
        kind = uid.get("type") if isinstance(uid, dict) else None
        if isinstance(kind, str):
            yield kind


_MOST_WORDS = 200
_EVENT_TYPES = frozenset(word.value for word in EventType)
_UID_TYPES = frozenset(word.value for word in UidType)
_ACTION_SOURCES = frozenset(word.value for word in ActionSource)


@attrs.frozen
class Capabilities:
    """What one seller accepts; an empty set where it doesn't say.

    Attributes:
        versions: The protocol versions it speaks.
        event_types: The event types it accepts.
        uid_types: The types of universal ids it matches.
        action_sources: The action sources it accepts.
        replay_ttl_seconds: How long it recognizes an idempotency key, 0 if never; ``None``
            if it doesn't say.
        major_versions: The protocol's major versions that it speaks.
    """

    versions: tuple[str, ...] = ()
    event_types: frozenset[str] = frozenset()
    uid_types: frozenset[str] = frozenset()
    action_sources: frozenset[str] = frozenset()
    replay_ttl_seconds: int | None = None
    major_versions: frozenset[int] = frozenset()

    @property
    def restrictions(self) -> tuple[str, ...]:
        """Describe each kind of word of which the seller accepts only some."""
        kinds = (
            ("event types", self.event_types, _EVENT_TYPES),
            ("universal id types", self.uid_types, _UID_TYPES),
            ("action sources", self.action_sources, _ACTION_SOURCES),
        )
        return tuple(_restriction(*kind) for kind in kinds if kind[1] and kind[2] - kind[1])

    def rejection(self, event: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Return code, message and remedy if the seller says it doesn't accept such an event."""
        words = (
            ("event type", event.get("event_type"), self.event_types),
            ("action source", event.get("action_source"), self.action_sources),
        )
        for what, word, taken in words:
            if isinstance(word, str) and taken and word not in taken:
                return _rejection(what, word, taken)
        return None


def read_capabilities(payload: object) -> Capabilities:
    """Parse `payload`, ignoring values of a wrong type."""
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
    """Name the accepted words, or the others if they are fewer."""
    missing = known - taken
    if len(missing) < len(taken & known):
        return f"The agent accepts all {what} except {', '.join(sorted(missing))}."
    return f"The agent accepts only these {what}: {', '.join(sorted(taken))}."


def _rejection(what: str, word: str, taken: frozenset[str]) -> tuple[str, str, str]:
    code = f"UNSUPPORTED_{what.replace(' ', '_').upper()}"
    message = f"The seller doesn't accept the {what} {word!r}."
    return code, message, f"Use one of {', '.join(sorted(taken))} for this destination."


def _inner(payload: object, *names: str) -> Mapping[str, object]:
    for name in names:
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload if isinstance(payload, dict) else {}


def _strings(listed: object) -> list[str]:
    items = listed[:_MOST_WORDS] if isinstance(listed, list) else []
    return [word for word in (sanitize(item, CODE_LENGTH) for item in items) if word]


_CAPABILITIES = "get_adcp_capabilities"
_MAJOR = 3
_UIDS = "Others are left out of events."
_RESTRICTED = "Other events become dead letters of this destination."


@attrs.frozen
class AgentInfo:
    """What an agent offers.

    Attributes:
        tools: The names of its tools; ``None`` if it doesn't list them.
        capabilities: What it says it accepts; empty if it doesn't say.
    """

    tools: frozenset[str] | None = None
    capabilities: Capabilities = attrs.field(factory=Capabilities)

    def has(self, tool: str) -> bool:
        """Return whether `tool` is known to exist."""
        return self.tools is not None and tool in self.tools

    def lacks(self, tool: str) -> bool:
        """Return whether `tool` is known not to exist."""
        return self.tools is not None and tool not in self.tools

    def findings(self, version: AdcpVersion) -> list[CheckResult]:
        """Return the results for someone who checks a configuration."""
        if self.tools is None:
            return [CheckResult("warning", "The agent lists no tools.", "Send a test event.")]
        found = [CheckResult("ok", "The agent has the tool log_event.")]
        found += self._of_versions(version)
        found += (
            CheckResult("warning", words, _UIDS if "universal id" in words else _RESTRICTED)
            for words in self.capabilities.restrictions
        )
        ttl = self.capabilities.replay_ttl_seconds
        if ttl:
            found.append(CheckResult("ok", f"The agent recognizes a repeated request for {ttl} s."))
        elif ttl is not None:
            message = "The agent doesn't recognize repeated requests."
            found.append(
                CheckResult("warning", message, "Make sure that it counts each event id once.")
            )
        return found

    def _of_versions(self, version: AdcpVersion) -> Iterator[CheckResult]:
        majors, versions = self.capabilities.major_versions, self.capabilities.versions
        spoken = ", ".join(versions)
        if majors and _MAJOR not in majors:
            message = f"The agent speaks AdCP {', '.join(map(str, sorted(majors)))}, not {_MAJOR}."
            yield CheckResult("error", message, "Ask the seller for another agent.")
        elif versions and version not in versions:
            message = f"The agent speaks AdCP {spoken}, but not {version}."
            yield CheckResult("warning", message, "Set adcp_version to one of them.")
        elif versions:
            yield CheckResult("ok", f"The agent speaks AdCP {spoken}; {version} is used.")


def discover(client: McpSession | A2aClient, version: AdcpVersion) -> AgentInfo | Retry | Paused:
    """Return what the agent offers, or why it couldn't be asked.

    An agent that doesn't list tools or capabilities isn't an error.
    """
    tools = client.tools()
    if tools is not None and not isinstance(tools, frozenset):
        return tools
    if tools is None or _CAPABILITIES not in tools:
        return AgentInfo(tools)
    arguments = RequestBody(orjson.dumps(version_fields(version)), (), b"")
    answer = client.call(_CAPABILITIES, arguments)
    if not isinstance(answer, Answer):
        return answer
    return AgentInfo(tools, read_capabilities(client.payload(answer)))


def version_fields(version: AdcpVersion) -> dict[str, object]:
    """Return the version fields of a request.

    There were none before 3.1; sellers read a request without them as 3.0.
    """
    return {} if version == "3.0" else {"adcp_version": version, "adcp_major_version": _MAJOR}
