"""A minimal A2A client: JSON-RPC over HTTP, one message for one skill, no streaming.

The agent's card says which version it speaks and how arguments are named. Without a card the
client tries 1.0 and then 0.3, and goes on with what worked.
"""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

from adcp_tracker._logging import logger
from adcp_tracker.destinations.base import request_headers
from adcp_tracker.destinations.error_codes import TASK_STATUSES
from adcp_tracker.destinations.mcp import Answer, adcp_error, outcome_from_rpc_error, pick_answer
from adcp_tracker.destinations.responses import (
    CODE_LENGTH,
    Response,
    SellerError,
    apply_rule,
    decode_text,
    find_error,
    has_report,
    outcome_from_error,
    outcome_from_http,
    outcome_from_task,
    read_error,
    sanitize,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adcp_tracker.destinations.base import Outcome, Paused, RequestBody, Retry
    from adcp_tracker.destinations.http import HttpClient

EXTENSION: Final = "https://adcontextprotocol.org/extensions/adcp/v3"
_CARD_PATHS: Final = ("/.well-known/agent-card.json", "/.well-known/agent.json")
_NEWEST: Final = "1.0"
_OLDEST: Final = "0.3"
_OTHER_VERSION: Final = frozenset({-32601, -32009})
_LATER: Final = frozenset({"submitted", "working"})
_MOST_PARTS: Final = 50
_NO_TASK: Final[Mapping[str, object]] = {}


@attrs.frozen
class AgentCard:
    """An agent's description of itself.

    Attributes:
        url: Where it takes messages.
        version: The A2A version it speaks there, ``1.0`` or ``0.3``.
        has_extension: Whether it advertises AdCP's extension.
        skills: The ids of its skills.
    """

    url: str
    version: str = _NEWEST
    has_extension: bool = False
    skills: frozenset[str] = frozenset()


def find_card(http: HttpClient, url: str, headers: Mapping[str, str]) -> AgentCard | None:
    """Return the card of the agent at `url`, or ``None`` if it has none.

    Args:
        http: Makes the requests.
        url: The agent's address.
        headers: The headers of each request.
    """
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    bases = dict.fromkeys((origin, f"{origin}{parts.path.rstrip('/')}"))
    for place in (f"{base}{path}" for path in _CARD_PATHS for base in bases):
        response = http.request("GET", place, headers)
        if not isinstance(response, Response):
            return None
        card = read_card(response.json(), url) if response.is_success else None
        if card is not None:
            return card
    return None


def read_card(payload: object, url: str) -> AgentCard | None:
    """Parse an agent card; return ``None`` if it isn't one.

    An interface at another origin is ignored: the credential is for the configured one.
    """
    if not isinstance(payload, dict) or not isinstance(payload.get("name"), str):
        return None
    offered = [each for each in _interfaces(payload) if _same_origin(each[0], url)]
    newest = max(offered, key=lambda each: each[1], default=(url, _OLDEST))
    capabilities = payload.get("capabilities")
    extensions = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    uris = {each.get("uri") for each in _dicts(extensions)}
    skills = (skill.get("id") for skill in _dicts(payload.get("skills")))
    named = frozenset(skill for skill in skills if isinstance(skill, str))
    return AgentCard(*newest, has_extension=EXTENSION in uris, skills=named)


def _interfaces(card: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield address and version of each interface that speaks JSON-RPC."""
    listed = [*_dicts(card.get("supportedInterfaces")), *_dicts(card.get("additionalInterfaces"))]
    own = {"url": card.get("url"), "transport": card.get("preferredTransport", "JSONRPC")}
    for each in (*listed, own):
        binding = each.get("protocolBinding", each.get("transport"))
        version = each.get("protocolVersion", card.get("protocolVersion"))
        place = each.get("url")
        if binding == "JSONRPC" and isinstance(place, str):
            is_new = isinstance(version, str) and version.startswith("1.")
            yield place, _NEWEST if is_new else _OLDEST


def _same_origin(one: str, other: str) -> bool:
    try:
        first, second = urlsplit(one), urlsplit(other)
    except ValueError:
        return False
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


@attrs.define(eq=False, repr=False)
class A2aClient:
    """Calls the skills of one agent.

    Attributes:
        url: The configured address.
        http: Makes the HTTP requests.
        credential: The ``Authorization`` header; ``None`` if something else authenticates.
        card: The agent's card, once it is known.
        session_count: How often the card was looked for.
    """

    url: str
    http: HttpClient
    credential: str | None
    card: AgentCard | None = None
    session_count: int = attrs.field(default=0, init=False)
    _ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    def call(self, skill: str, arguments: RequestBody) -> Answer | Retry | Paused:
        """Send one message that calls `skill`; the arguments' bytes stay as they are."""
        card = self._card()
        answer = self._send(card, skill, arguments)
        if not isinstance(answer, Answer) or answer.rpc_code not in _OTHER_VERSION:
            return answer
        other = attrs.evolve(card, version=_OLDEST if card.version == _NEWEST else _NEWEST)
        second = self._send(other, skill, arguments)
        if isinstance(second, Answer) and second.rpc_code in _OTHER_VERSION:
            return answer
        self.card = other
        return second

    def tools(self) -> frozenset[str] | None:
        """Return the agent's skills, if its card lists those of AdCP."""
        skills = self._card().skills
        return skills if "log_event" in skills else None

    def reset(self) -> None:
        """Look for the card again before the next call."""
        self.card = None

    @staticmethod
    def outcome(answer: Answer, count: int) -> Outcome:
        """Return the outcome of a call that sent `count` events."""
        return outcome_from_a2a(answer.message, answer.response, count)

    @staticmethod
    def payload(answer: Answer) -> dict[str, object] | None:
        """Return a skill's result, or ``None`` if it failed."""
        task = _task(answer.message)
        bodies = list(_bodies(task))
        is_fine = bool(bodies) and not any(map(find_error, bodies))
        return bodies[0] if is_fine and _state(task) not in TASK_STATUSES else None

    def _card(self) -> AgentCard:
        if self.card is None:
            self.card = find_card(
                self.http, self.url, request_headers(self.credential)
            ) or AgentCard(self.url)
            self.session_count += 1
            logger.info("agent.card", version=self.card.version, url=urlsplit(self.card.url).netloc)
        return self.card

    def _send(self, card: AgentCard, skill: str, arguments: RequestBody) -> Answer | Retry | Paused:
        number, headers = next(self._ids), request_headers(self.credential)
        # 0.3 servers and those without the extension know the arguments by another name.
        is_new = card.version == _NEWEST
        name = "input" if is_new and card.has_extension else "parameters"
        if is_new:
            headers["A2A-Version"] = _NEWEST
            headers.update({"A2A-Extensions": EXTENSION} if card.has_extension else {})
        method, message = ("SendMessage", _NEW) if is_new else ("message/send", _OLD)
        before, after = message % (secrets.token_hex(16), skill, name), b"}}]}}}"
        head = f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{before}'.encode()
        body = attrs.evolve(arguments, head=head + arguments.head, tail=arguments.tail + after)
        response = self.http.request("POST", card.url, headers, body)
        if not isinstance(response, Response):
            return response
        return Answer(response, pick_answer(response.json(), number, is_strict=response.is_success))


_NEW: Final = '{"message":{"messageId":"%s","role":"ROLE_USER","parts":[{"data":{"skill":"%s","%s":'
_OLD: Final = (
    '{"message":{"kind":"message","messageId":"%s","role":"user","parts":[{"kind":"data",'
    '"data":{"skill":"%s","%s":'
)


def outcome_from_a2a(message: object, response: Response, count: int) -> Outcome:
    """Return the outcome of a message.

    Args:
        message: The JSON-RPC message; ``None`` if the response has none.
        response: The HTTP response.
        count: How many events were sent.
    """
    error = message.get("error") if isinstance(message, dict) else None
    if isinstance(error, dict):
        return outcome_from_rpc_error(error, response, count)
    if not response.is_success:
        return outcome_from_http(response, count)
    task = _task(message)
    bodies = list(_bodies(task))
    found = next(filter(None, map(adcp_error, bodies)), None)
    found = found or next(filter(None, map(find_error, bodies)), None)
    if found is not None:
        replayed = any(body.get("replayed") is True for body in bodies)
        return outcome_from_error(read_error(found, replayed=replayed), response, count)
    state = _state(task)
    if state in TASK_STATUSES:
        texts = (part.get("text") for part in _status_parts(task))
        words = " ".join(text for text in texts if isinstance(text, str))
        said = SellerError(f"task_{state}", sanitize(words))
        return apply_rule(TASK_STATUSES[state], said, response, count)
    report = next(filter(has_report, bodies), bodies[0] if bodies else None)
    if state in _LATER:
        report = {"status": state, **(report or {})}
    return outcome_from_task(report, response, count)


def _task(message: object) -> Mapping[str, object]:
    """Return the task of a response; a message without one is its status."""
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict):
        return _NO_TASK
    for name in ("task", "message"):
        inner = result.get(name)
        if isinstance(inner, dict):
            return inner if name == "task" else {"status": {"message": inner}}
    return {"status": {"message": result}} if "parts" in result else result


def _state(task: Mapping[str, object]) -> str:
    status = task.get("status")
    state = sanitize(status.get("state"), CODE_LENGTH) if isinstance(status, dict) else ""
    return state.removeprefix("TASK_STATE_").lower().replace("_", "-")


def _status_parts(task: Mapping[str, object]) -> Iterable[dict[str, object]]:
    status = task.get("status")
    message = status.get("message") if isinstance(status, dict) else None
    return _dicts(message.get("parts")) if isinstance(message, dict) else ()


def _bodies(task: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Yield the objects in the parts of its artifacts and of its status."""
    artifacts = (_dicts(artifact.get("parts")) for artifact in _dicts(task.get("artifacts")))
    for part in itertools.chain(*artifacts, _status_parts(task)):
        text = part.get("text")
        body = part.get("data", decode_text(text) if isinstance(text, str) else None)
        if isinstance(body, dict):
            yield body


def _dicts(listed: object) -> list[dict[str, object]]:
    items = listed[:_MOST_PARTS] if isinstance(listed, list) else []
    return [item for item in items if isinstance(item, dict)]
