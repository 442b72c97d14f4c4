"""Deliver events to a seller's AdCP agent through its tool ``log_event``."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Literal

import attrs
import orjson

from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker._platform import SystemClock
from adcp_tracker.destinations.a2a import A2aClient, find_card
from adcp_tracker.destinations.base import (
    CheckResult,
    Delivered,
    Paused,
    Rejected,
    RequestBody,
    Retry,
    Timeouts,
    event_failure,
    idempotency_key,
    request_body,
)
from adcp_tracker.destinations.capabilities import (
    ADCP_VERSIONS,
    AgentInfo,
    discover,
    negotiate,
    unsupported_feature,
    version_fields,
    without_uids,
)
from adcp_tracker.destinations.mcp import Answer, McpSession
from adcp_tracker.destinations.responses import to_check_result
from adcp_tracker.destinations.validation import (
    validate_choice,
    validate_common,
    validate_secret,
    validate_url,
    without_query,
)
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, SourceRules
    from adcp_tracker.events.rules import AdcpVersion

_TOOL = "log_event"
_NO_MCP = frozenset({"MCP_VERSION_UNSUPPORTED"})
_UIDS_OMITTED = "user_match.uids unsupported"
_ONLY_A2A = "The agent has an A2A card. Set protocol to 'a2a', or leave it out."
_REDISCOVER_SECONDS = 3600.0
_NO_TOOL = Paused(
    code="TOOL_NOT_FOUND",
    message="The agent has no tool log_event.",
    remedy="Check url. It must be the MCP address of an agent that accepts conversion events.",
)


def _default_name(agent: Agent) -> str:
    url = without_query(validate_url(agent.url, "url", allow_http=True))
    return f"agent:{url.partition('://')[2].rstrip('/')}/{agent.event_source_id}"


@attrs.define(kw_only=True, eq=False, repr=False)
class Agent:
    """An event source at a seller's AdCP agent.

    Attributes:
        url: The agent's address, such as ``https://seller.example/mcp``.
        event_source_id: The event source that the events belong to, 1–255 characters.
        token: The bearer token, never shown; ``None`` if ``auth`` is enough.
        adcp_version: The protocol version to speak: ``3.0``, ``3.1`` or ``3.2``.
        protocol: ``mcp`` or ``a2a``; ``None`` for MCP, and A2A if the agent's card shows that
            it only speaks that.
        auth: Authenticates or signs each request, if the seller wants more than a token.
        key_secret: The secret to derive idempotency keys from if there is no token.
        name: The name that deliveries are stored under. Set it to keep the counts when the
            url changes.
        max_events: The most events in one request.
        max_bytes: The most bytes in one request.
        timeout: How long a call may take.
        allow_http: Whether to allow unencrypted http to other machines.
        transport: Replaces the network, in tests.
        now: The clock that dates in responses are compared with.
        source_rule: What the event source accepts, if known; the tracker sets it.

    Raises:
        ConfigurationError: If a setting is invalid.
    """

    url: str
    event_source_id: str
    token: str | None = None
    adcp_version: AdcpVersion = "3.1"
    protocol: Literal["mcp", "a2a"] | None = None
    auth: httpx.Auth | None = None
    key_secret: str | None = None
    name: str = attrs.field(default=attrs.Factory(_default_name, takes_self=True))
    max_events: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    timeout: Timeouts = attrs.field(factory=Timeouts)
    allow_http: bool = False
    transport: httpx.BaseTransport | None = None
    now: Callable[[], float] = time.time
    source_rule: SourceRules | None = attrs.field(default=None, init=False)
    _client: McpSession | A2aClient = attrs.field(init=False)
    _agent_info: AgentInfo | None = attrs.field(default=None, init=False)
    _discovered_in_session: int = attrs.field(default=-1, init=False)
    _discovered_at: float = attrs.field(default=0.0, init=False)
    _pid: int = attrs.field(factory=os.getpid, init=False)
    _log: ThrottledLogger = attrs.field(factory=lambda: ThrottledLogger(SystemClock()), init=False)

    def __attrs_post_init__(self) -> None:
        # httpx is slow to import, so it is imported with the first destination.
        from adcp_tracker.destinations.http import HttpClient  # noqa: PLC0415 - see above

        self.url = validate_url(self.url, "url", allow_http=self.allow_http)
        validate_common(self)
        if self.token is not None:
            validate_secret(self.token, "token")
        elif self.auth is not None and not self.key_secret:
            message = "key_secret: expected a secret, because auth is set and token isn't, got none"
            raise ConfigurationError(message)
        validate_choice(self.adcp_version, "adcp_version", ADCP_VERSIONS)
        validate_choice(self.protocol, "protocol", ("mcp", "a2a", None))
        credential = None if self.token is None else f"Bearer {self.token}"
        http = HttpClient(self.timeout, self.transport, self.auth, self.now)
        kind = A2aClient if self.protocol == "a2a" else McpSession
        self._client = kind(self.url, http, credential)

    def __repr__(self) -> str:
        url, version = without_query(self.url), self.adcp_version
        return f"Agent(name={self.name!r}, url={url!r}, adcp_version={version!r}, token='***')"

    def send(self, batch: Batch) -> Outcome:
        """Deliver `batch` with one call of ``log_event``.

        The first call in a process also opens a session and discovers what the agent accepts.
        """
        self._check_fork()
        refused = self._discover()
        if refused is not None:
            return refused
        unwanted = self._unsupported_events(batch)
        if unwanted:
            return Rejected(unwanted[0].code, unwanted[0].message, unwanted)
        batch, omitted = self._without_unsupported_uids(batch)
        answer = self._client.call(_TOOL, self._arguments(batch))
        if not isinstance(answer, Answer):
            return answer
        outcome = self._client.outcome(answer, len(batch.events))
        if omitted and isinstance(outcome, Delivered):
            return attrs.evolve(outcome, omitted=omitted)
        return self._reinterpret_missing_tool(outcome)

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why this agent can't accept `event`, if it can't.

        Depends on the protocol version, on the agent's capabilities once they are known and
        on the event source. Makes no request.
        """
        beyond = self._unsupported(event)
        if beyond is not None:
            return beyond
        return self.source_rule.check(event) if self.source_rule else None

    def ask(self, tool: str, arguments: Mapping[str, object]) -> dict[str, object] | CheckResult:
        """Call a tool other than ``log_event``.

        Args:
            tool: The tool's name.
            arguments: Its arguments, without the protocol version.

        Returns:
            The structured result, or why there is none.
        """
        self._check_fork()
        try:
            return self._call_tool(tool, arguments)
        finally:
            self.close()

    def probe(self) -> list[CheckResult]:
        """Ask the agent whether it accepts events, and which, without sending one."""
        self._check_fork()
        self._discovered_in_session = -1
        refused = self._discover()
        if refused is not None:
            return [to_check_result(refused)]
        return self._agent_info.findings(self.adcp_version) if self._agent_info else []

    def prepare(self) -> None:
        """Import what a request needs, so that a fork never finds it half imported."""
        self._client.http.prepare(self.url)

    def close(self) -> None:
        """Close the connection. A later :meth:`send` opens a new one in the same session."""
        self._client.http.close()

    def after_fork(self) -> None:
        """Drop the connection and the session: they belong to the parent of a fork."""
        self._client.http.after_fork()
        self._client.reset()
        self._pid = os.getpid()

    def _unsupported(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why `event` uses more than this agent accepts, if it does."""
        version = self._negotiated_version
        lacking = unsupported_feature(event, version)
        if lacking is not None:
            what, needed = lacking
            message = (
                f"The event's {what} needs AdCP {needed}, but this destination speaks {version}."
            )
            remedy = f"Set adcp_version to {needed} if the seller speaks it, or stop sending them."
            return event_failure("VERSION_UNSUPPORTED", message, remedy, event)
        objection = self._agent_info.capabilities.rejection(event) if self._agent_info else None
        return None if objection is None else event_failure(*objection, event)

    @property
    def _negotiated_version(self) -> str:
        """The protocol version that the agent reads requests by, as far as known."""
        offer = self._agent_info
        return negotiate(self.adcp_version, offer.capabilities.versions if offer else ())

    @property
    def _is_restricted(self) -> bool:
        """Whether the agent is known not to accept everything in the configured version."""
        offer = self._agent_info
        restricted = offer is not None and bool(offer.capabilities.restrictions)
        return restricted or self._negotiated_version != self.adcp_version

    def _unsupported_events(self, batch: Batch) -> tuple[EventFailure, ...]:
        """Return which of a batch's events the agent says it doesn't accept.

        Capabilities are often discovered after a batch was frozen. Most agents accept
        everything; then no event is decoded.
        """
        if not self._is_restricted:
            return ()
        failures = (self._unsupported(orjson.loads(event)) for event in batch.events)
        return tuple(
            attrs.evolve(failure, index=index)
            for index, failure in enumerate(failures)
            if failure is not None
        )

    def _without_unsupported_uids(self, batch: Batch) -> tuple[Batch, dict[str, int]]:
        """Return the batch without universal ids that the agent doesn't match.

        It has another key then, because the same key must not come with other bytes.

        Returns:
            The batch, and from how many events ids were left out, by ``field reason``.
        """
        info, version = self._agent_info, self._negotiated_version
        taken = info.capabilities.uid_types if info else frozenset()
        if not taken and version == ADCP_VERSIONS[-1]:
            return batch, {}
        cut = [without_uids(event, taken, version) for event in batch.events]
        dropped = Counter(kind for _, kinds in cut for kind in kinds)
        if not dropped:
            return batch, {}
        self._log.warning("event.uids_left_out", destination=self.name, uid_types=dict(dropped))
        marked = batch.identity + "\0".join(sorted(dropped)).encode()
        left = attrs.evolve(batch, events=[event for event, _ in cut], identity=marked)
        return left, {_UIDS_OMITTED: sum(bool(kinds) for _, kinds in cut)}

    def _call_tool(
        self, tool: str, arguments: Mapping[str, object]
    ) -> dict[str, object] | CheckResult:
        refused = self._discover()
        if refused is not None:
            return to_check_result(refused)
        if self._agent_info is not None and self._agent_info.lacks(tool):
            return CheckResult("error", f"The agent has no tool {tool}.", "Ask the seller.")
        fields = version_fields(self.adcp_version) | dict(arguments)
        answer = self._client.call(tool, RequestBody(orjson.dumps(fields), (), b""))
        if not isinstance(answer, Answer):
            return to_check_result(answer)
        payload = self._client.payload(answer)
        return to_check_result(self._client.outcome(answer, 0)) if payload is None else payload

    def _check_fork(self) -> None:
        if self._pid != os.getpid():
            self.after_fork()

    def _discover(self) -> Retry | Paused | None:
        """Discover once a session what the agent accepts; return an outcome if that failed.

        An agent that doesn't accept everything is asked again after an hour, because it may
        accept more by then.
        """
        is_stale = self._is_restricted and self.now() - self._discovered_at > _REDISCOVER_SECONDS
        if self._discovered_in_session == self._client.session_count and not is_stale:
            return None
        self._discovered_at = self.now()
        offer = self._ask_what_it_offers()
        # Also if it failed, so that an agent that can't answer isn't asked again.
        self._discovered_in_session = self._client.session_count
        if not isinstance(offer, AgentInfo):
            return offer
        self._agent_info = offer
        if offer.lacks(_TOOL):
            self._discovered_in_session = -1
            return _NO_TOOL
        return None

    def _ask_what_it_offers(self) -> AgentInfo | Retry | Paused:
        """Discover what the agent accepts; by A2A if it doesn't speak MCP and has a card."""
        offer = discover(self._client, self.adcp_version)
        is_mcp = isinstance(self._client, McpSession)
        if isinstance(offer, AgentInfo) or not is_mcp or not _speaks_no_mcp(offer):
            return offer
        client = A2aClient(self.url, self._client.http, self._client.credential)
        client.card = find_card(client.http, self.url, {"Accept": "application/json"})
        if client.card is None:
            return offer
        if self.protocol == "mcp":
            return Paused(offer.code, offer.message, _ONLY_A2A)
        logger.info("agent.speaks_a2a", destination=self.name, version=client.card.version)
        self._client = client
        self._client.session_count += 1
        return discover(client, self.adcp_version)

    def _reinterpret_missing_tool(self, outcome: Outcome) -> Outcome:
        """Return `outcome`, or a pause if the agent may not know the tool.

        JSON-RPC has one code for invalid parameters and for unknown tools. Bisecting is right
        only if the tool is known to exist.
        """
        known = self._agent_info is not None and self._agent_info.has(_TOOL)
        if isinstance(outcome, Rejected) and outcome.code == "rpc_-32602" and not known:
            return outcome if outcome.failures else _NO_TOOL
        return outcome

    def _arguments(self, batch: Batch) -> RequestBody:
        credential = self.token or self.key_secret or ""
        key = idempotency_key(credential, self.name, batch.identity)
        before = orjson.dumps({"idempotency_key": key, **version_fields(self.adcp_version)})
        return request_body(self.event_source_id, batch, before[:-1] + b",", b"}")


def _speaks_no_mcp(outcome: Retry | Paused) -> bool:
    """Return whether a failed opening may mean that there is no MCP at the address."""
    if isinstance(outcome, Retry):
        return outcome.code in {"unreadable_answer", "not_json"}
    is_refused = outcome.code in {"http_401", "http_402", "http_403", "http_407"}
    is_mcps_own = outcome.code.startswith(("http_4", "rpc_")) or outcome.code in _NO_MCP
    return is_mcps_own and not is_refused
