"""What the extra ``conformance`` brings: whether it is here, and the schemas that come with it."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from adcp_tracker.events.rules import AdcpVersion

IS_INSTALLED = bool(find_spec("adcp") and find_spec("jsonschema"))

needs_sdk = pytest.mark.skipif(
    not IS_INSTALLED, reason="needs the extra conformance: pip install adcp-tracker[conformance]"
)
"""Skips a test where the official SDK is not installed, as it is 337 MB large."""


@cache
def schema(tool: str, line: AdcpVersion) -> dict[str, Any]:
    """Return the official schema of a tool's request."""
    spec = find_spec("adcp")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0], "_schemas", line, "bundled")
    folder = "protocol" if tool == "get_adcp_capabilities" else "media-buy"
    path = root / folder / f"{tool.replace('_', '-')}-request.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@cache
def validator(tool: str, line: AdcpVersion) -> Any:  # noqa: ANN401 - jsonschema may not be there
    """Return what checks a tool's request as the protocol line has it."""
    from jsonschema import Draft7Validator  # noqa: PLC0415 - it may not be there

    return Draft7Validator(schema(tool, line), format_checker=Draft7Validator.FORMAT_CHECKER)


def objections(tool: str, line: AdcpVersion, arguments: object) -> list[str]:
    """Return what stands against a request.

    The official schema is asked, then the validator that the SDK's sellers use, which knows
    more of addresses than the schema's grammar, and last whether sellers can compare the
    request with a repetition of it, by RFC 8785.
    """
    by_schema = [
        f"{error.json_path}: {error.message[:200]}"
        for error in validator(tool, line).iter_errors(arguments)
    ]
    return by_schema or _by_sdk(tool, line, arguments)


def _by_sdk(tool: str, line: AdcpVersion, arguments: object) -> list[str]:
    from adcp.server.idempotency import canonical_json_sha256  # noqa: PLC0415 - as above
    from adcp.validation import validate_request  # noqa: PLC0415 - as above

    outcome = validate_request(tool, arguments, version=line)
    if not outcome.valid:
        return [f"{issue.pointer}: {issue.message[:200]}" for issue in outcome.issues]
    try:
        canonical_json_sha256(arguments)
    except ValueError as error:
        return [f"RFC 8785: {error}"]
    return []
