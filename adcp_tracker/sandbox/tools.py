"""The tools of the MCP side: what they take, and what they answer without the wire."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.sandbox.calls import sync_sources
from adcp_tracker.sandbox.checks import Issue
from adcp_tracker.sandbox.refusal import RefusalError
from adcp_tracker.sandbox.rules import (
    ACTION_SOURCES,
    EVENT_TYPES,
    EVENT_TYPES_3_0,
    UID_TYPES,
    UID_TYPES_3_0,
)
from adcp_tracker.sandbox.seller import Delivery, validation_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adcp_tracker.sandbox.config import Line, SandboxConfig
    from adcp_tracker.sandbox.seller import Seller

_MAJOR = 3
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:-[A-Za-z0-9.-]+)?")
_KEY = re.compile(r"[A-Za-z0-9_.:-]{16,255}")


@attrs.frozen
class Use:
    """One use of a tool.

    Attributes:
        seller: Whose tool it is.
        arguments: What it is to work on.
        lose: How many events are to be lost without a word.
    """

    seller: Seller
    arguments: Mapping[str, object]
    lose: int = 0


def log_event(use: Use) -> dict[str, object]:
    """Take events, by the rules of the protocol line that the arguments ask for."""
    line = line_of(use.arguments, use.seller.config)
    answer = use.seller.log_events(Delivery(use.arguments, line, None, use.lose))
    return _enveloped(answer, use, line)


def sync_event_sources(use: Use) -> dict[str, object]:
    """Register event sources, or list them when the arguments name none."""
    line = line_of(use.arguments, use.seller.config)
    if key_of(use.arguments) is None:
        raise validation_error([Issue("/idempotency_key", "is required", "required")])
    account = _account_of(use.arguments.get("account"))
    return _enveloped(sync_sources(use.seller, use.arguments, account), use, line)


def get_adcp_capabilities(use: Use) -> dict[str, object]:
    """Say what this seller can do."""
    config = use.seller.config
    old = config.versions[-1] == "3.0"
    tracking = {
        "supported_event_types": sorted(EVENT_TYPES_3_0 if old else EVENT_TYPES),
        "supported_uid_types": sorted(UID_TYPES_3_0 if old else UID_TYPES),
        "supported_hashed_identifiers": ["hashed_email", "hashed_phone"],
        "supported_action_sources": sorted(ACTION_SOURCES),
    }
    adcp = {
        "major_versions": [_MAJOR],
        "supported_versions": list(config.versions),
        "idempotency": {"supported": True, "replay_ttl_seconds": int(config.idempotency_ttl_s)},
    }
    answer: dict[str, object] = {
        "adcp": adcp,
        "supported_protocols": ["media_buy"],
        "media_buy": {"conversion_tracking": tracking},
    }
    return _enveloped(answer, use, line_of(use.arguments, config))


TOOLS: dict[str, Callable[[Use], dict[str, object]]] = {
    "log_event": log_event,
    "sync_event_sources": sync_event_sources,
    "get_adcp_capabilities": get_adcp_capabilities,
}
"""The tools by their names."""


def described() -> list[dict[str, object]]:
    """Return what ``tools/list`` answers."""
    required = {
        "log_event": ["idempotency_key", "event_source_id", "events"],
        "sync_event_sources": ["idempotency_key", "account"],
        "get_adcp_capabilities": [],
    }
    return [
        {
            "name": name,
            "description": (tool.__doc__ or "").strip(),
            "inputSchema": {"type": "object", "required": required[name]},
        }
        for name, tool in TOOLS.items()
    ]


def line_of(arguments: Mapping[str, object], config: SandboxConfig) -> Line:
    """Settle on the protocol line: none asked for means the oldest.

    Raises:
        RefusalError: If the seller speaks no line that would do.
    """
    major, version = arguments.get("adcp_major_version"), arguments.get("adcp_version")
    if isinstance(major, int) and major != _MAJOR:
        raise _unsupported(config)
    release = _RELEASE.fullmatch(version) if isinstance(version, str) else None
    if release is None:
        return config.versions[0]
    try:
        wanted = (int(release[1]), int(release[2]))
    except ValueError:  # more digits than Python reads
        raise _unsupported(config) from None
    spoken = [line for line in config.versions if _release_of(line) <= wanted]
    if wanted[0] != _MAJOR or not spoken:
        raise _unsupported(config)
    return spoken[-1]


def key_of(arguments: Mapping[str, object]) -> str | None:
    """Return the idempotency key, if it is one."""
    key = arguments.get("idempotency_key")
    return key if isinstance(key, str) and _KEY.fullmatch(key) else None


def _release_of(line: str) -> tuple[int, int]:
    major, _, minor = line.partition(".")
    return int(major), int(minor)


def _unsupported(config: SandboxConfig) -> RefusalError:
    return RefusalError(
        400,
        "VERSION_UNSUPPORTED",
        "The seller does not speak this version.",
        details={"supported_versions": list(config.versions)},
    )


def _account_of(account: object) -> str:
    if isinstance(account, dict):
        account_id, operator = account.get("account_id"), account.get("operator")
        brand = account.get("brand")
        domain = brand.get("domain") if isinstance(brand, dict) else None
        if isinstance(account_id, str) and account.keys() == {"account_id"}:
            return account_id
        if isinstance(domain, str) and isinstance(operator, str) and account_id is None:
            return f"{domain}/{operator}"
    message = "must be an account_id, or a brand with its domain and an operator"
    raise validation_error([Issue("/account", message, "oneOf")])


def _enveloped(answer: dict[str, object], use: Use, line: str) -> dict[str, object]:
    envelope: dict[str, object] = {"adcp_version": line, "adcp_major_version": _MAJOR}
    if use.seller.config.status is not None:
        envelope["status"] = use.seller.config.status
    if "context" in use.arguments:
        envelope["context"] = use.arguments["context"]
    return envelope | answer
