"""Ask an agent what it offers: its tools, and its capabilities where it has that tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.destinations.base import Finding
from adcp_tracker.destinations.capabilities import Capabilities, read_capabilities
from adcp_tracker.destinations.mcp import Heard
from adcp_tracker.destinations.mcp_answers import structured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.destinations.base import Paused, Retry
    from adcp_tracker.destinations.lines import Line
    from adcp_tracker.destinations.mcp import McpSession

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
