"""What a seller says it can take, from ``get_adcp_capabilities``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import attrs

from adcp_tracker.destinations.lines import uid_types
from adcp_tracker.destinations.words import CODE_LENGTH, clean
from adcp_tracker.events.vocabulary import ActionSource, EventType, UidType

if TYPE_CHECKING:
    from collections.abc import Mapping

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
