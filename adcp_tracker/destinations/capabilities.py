"""What a seller says it can take, from ``get_adcp_capabilities``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from adcp_tracker.destinations.lines import uid_types
from adcp_tracker.destinations.words import CODE_LENGTH, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_WORDS = 200


@attrs.frozen
class Capabilities:
    """What one seller takes; an empty set where it does not say.

    Attributes:
        versions: The protocol lines it speaks.
        event_types: The event types it takes.
        uid_types: The types of universal ids it matches.
        action_sources: The action sources it takes.
        replay_ttl_seconds: How long it knows an idempotency key again; ``None`` if it
            does not say.
    """

    versions: tuple[str, ...] = ()
    event_types: frozenset[str] = frozenset()
    uid_types: frozenset[str] = frozenset()
    action_sources: frozenset[str] = frozenset()
    replay_ttl_seconds: int | None = None

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
    ttl = _inner(adcp, "idempotency").get("replay_ttl_seconds")
    return Capabilities(
        versions=tuple(_words(adcp.get("supported_versions"))),
        event_types=frozenset(_words(tracking.get("supported_event_types"))),
        uid_types=frozenset(_words(tracking.get("supported_uid_types"))),
        action_sources=frozenset(_words(tracking.get("supported_action_sources"))),
        replay_ttl_seconds=ttl if isinstance(ttl, int) and not isinstance(ttl, bool) else None,
    )


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
