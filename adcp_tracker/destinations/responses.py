"""Response -> Outcome."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.destinations.base import (
    CheckResult,
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.destinations.error_codes import (
    TASK_STATUSES,
    UNKNOWN,
    Action,
    ErrorRule,
    classify,
    remedy_for,
)
from adcp_tracker.destinations.redaction import Redaction
from adcp_tracker.destinations.retry_after import rate_limit_delay, requested_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from adcp_tracker.destinations.base import Outcome


OVERSIZE = "answer_too_large"
UNDECODABLE = "answer_undecodable"


@attrs.frozen
class Response:
    """What came back over HTTP.

    Attributes:
        status: The HTTP status.
        headers: The headers, by lower-case name.
        body: The body, as far as it was read.
        cut: Why that is not all of it, in one word such as ``answer_too_large`` or
            ``reset``; empty when it is.
        now: When it came, in seconds since the epoch; dates are read against it.
        redaction: Takes out of what it says what was secret in the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: str = ""
    now: float = 0.0
    redaction: Redaction = attrs.field(factory=Redaction)

    @property
    def is_success(self) -> bool:
        """Return whether the status is one of the 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - what 2xx means

    @property
    def media_type(self) -> str:
        """Return the content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> object:
        """Return the body as JSON without secrets, or ``None`` when it is cut or no JSON."""
        return None if self.truncated else self.redaction.of(decode(self.body))


def decode(body: bytes | str) -> object:
    """Return `body` as JSON, or ``None`` when it is none."""
    try:
        payload: object = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        return None
    return payload


_LATER = "Check address and network, or try again later."
_WISH = "Mend what was asked for: the seller says it breaks a rule."


def to_check_result(outcome: Outcome) -> CheckResult:
    """Return what an answer other than the expected one means for who asked."""
    if isinstance(outcome, Paused):
        return CheckResult("error", f"{outcome.code}: {outcome.message}", outcome.remedy)
    if isinstance(outcome, (Rejected, TooLarge)):
        return CheckResult("error", f"{outcome.code}: {outcome.message}", _WISH)
    if isinstance(outcome, Retry):
        return CheckResult("error", f"{outcome.code}: {outcome.message}", _LATER)
    return CheckResult("error", "The seller's answer is none to what was asked.", _LATER)


MESSAGE_LENGTH = 500
CODE_LENGTH = 64


def sanitize(value: object, limit: int = MESSAGE_LENGTH) -> str:
    """Return `value` as one line of at most `limit` visible characters.

    Control, format, surrogate and unassigned characters become spaces: they carry
    terminal escapes, forged log lines and text that reads backwards.

    Args:
        value: What the seller sent, of any type.
        limit: The most characters to keep.

    Returns:
        The cleaned text, empty when `value` is no text.
    """
    if not isinstance(value, str):
        return ""
    visible = (" " if _is_control(character) else character for character in value[: 4 * limit])
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_sanitized(text: str, limit: int) -> bool:
    """Return whether `text` can be kept as it is: short enough, nothing in it steers."""
    return len(text) <= limit and not any(map(_is_control, text))


def _is_control(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"}


_MOST_WARNINGS = 20
_ID_LENGTH = 256
_COUNTS = ("received", "processed")
_OWN_TYPES = frozenset({"application/json", "text/event-stream"})


def parse_report(payload: object, response: Response, count: int) -> Delivered | Retry:
    """Return what a body without an error says became of `count` events.

    Args:
        payload: The decoded body, unwrapped, of any type.
        response: The HTTP answer that carried it.
        count: How many events the request carried.
    """
    if not isinstance(payload, dict):
        return _unreadable(response)
    received, processed = (_count(payload.get(f"events_{name}")) for name in _COUNTS)
    listed = payload.get("partial_failures") or []
    if received is processed is None or not isinstance(listed, list):
        return _unreadable(response)
    failures, nameless = _partial_failures(listed)
    return Delivered(
        failures=failures,
        received=received,
        processed=processed,
        warnings=(*_warnings(payload), *_discrepancies(received, count, nameless)),
        match_quality=_share(payload.get("match_quality")),
        replayed=payload.get("replayed") is True,
        wait=rate_limit_delay(response.headers, response.now),
    )


def _unreadable(response: Response) -> Retry:
    """Try again: the seller may have taken the events, and knows them by their ids.

    A connection that broke, and a body that does not even claim to be JSON because
    somebody in between answered, say nothing about the events and cost them no budget.
    """
    foreign = bool(response.media_type) and response.media_type not in _OWN_TYPES
    broken = bool(response.truncated) and response.truncated not in {OVERSIZE, UNDECODABLE}
    return Retry(
        code=response.truncated or ("not_json" if foreign else "unreadable_answer"),
        message=f"HTTP {response.status}, but its body is no answer to log_event.",
        retry_after=requested_delay(response.headers, None, response.now),
        budgeted=not (foreign or broken),
    )


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= 1 else None


def _partial_failures(listed: list[object]) -> tuple[tuple[EventFailure, ...], int]:
    failures: dict[str, EventFailure] = {}
    for item in listed:
        event_id = _event_id(item)
        if event_id and isinstance(item, dict):
            failures.setdefault(event_id, _partial_failure(event_id, item))
    nameless = sum(1 for item in listed if not _event_id(item))
    return tuple(failures.values()), nameless


def _event_id(item: object) -> str | None:
    event_id = item.get("event_id") if isinstance(item, dict) else None
    return event_id if isinstance(event_id, str) and is_sanitized(event_id, _ID_LENGTH) else None


def _partial_failure(event_id: str, item: Mapping[str, object]) -> EventFailure:
    code = sanitize(item.get("code"), CODE_LENGTH) or "PARTIAL_FAILURE"
    message = sanitize(item.get("message"))
    return EventFailure(code, message, event_id=event_id, remedy=remedy_for(code))


def _warnings(payload: Mapping[str, object]) -> list[str]:
    listed = payload.get("warnings")
    words = [sanitize(word) for word in listed[:_MOST_WARNINGS]] if isinstance(listed, list) else []
    return [word for word in words if word]


def _discrepancies(received: int | None, count: int, nameless: int) -> list[str]:
    doubts = []
    if received is not None and received != count:
        doubts.append(f"The seller counts {received} events received, {count} were sent.")
    if nameless:
        doubts.append(f"The seller reports {nameless} failures without naming the event.")
    return doubts


UNKNOWN_RECOVERY = "unknown"

# Keywords of several validators for one thing: the request, not an event, is too big.
_SIZE_KEYWORDS = frozenset({"maxItems", "payload_size", "too_big", "too_long"})
_WHOLE_REQUEST = re.compile(r"[/$.]*(?:(?:arguments|params|body)[/.]?)*(?:events)?/?")
_REQUEST_FIELD = re.compile(
    r"[/$.]*(?:(?:arguments|params|body)[/.])*"
    r"(event_source_id|test_event_code|idempotency_key|adcp_version|adcp_major_version"
    r"|account|context|ext|advertiser_?[iI]d)(?:$|[/.\[])"
)
_EVENT = re.compile(r"(?:^|[/.$])events(?:/|\.|\[)([0-9]{1,9})(?:$|[/.\]])")
_PATH_LENGTH = 200


@attrs.frozen
class Issue:
    """One fault that a seller found in a request.

    Attributes:
        path: Where, in the seller's notation.
        keyword: Which rule, such as ``maxItems``; empty when it does not say.
        message: The seller's words, without control characters.
    """

    path: str
    keyword: str = ""
    message: str = ""

    @property
    def event_index(self) -> int | None:
        """Return the place of the event it names, if it names one."""
        match = _EVENT.search(self.path)
        return int(match[1]) if match else None

    @property
    def request_field(self) -> str | None:
        """Return the field of the request itself, outside of any event, that it names."""
        match = _REQUEST_FIELD.match(self.path)
        if match:
            return match[1]
        missing = self.keyword == "required" and _WHOLE_REQUEST.fullmatch(self.path)
        return "a field it requires" if missing and "events" not in self.path else None

    @property
    def is_size_limit(self) -> bool:
        """Return whether the request as a whole is over a limit."""
        return self.keyword in _SIZE_KEYWORDS and bool(_WHOLE_REQUEST.fullmatch(self.path))


@attrs.frozen
class SellerError:
    """An error as the protocol words it, with everything that decides cleaned and typed.

    Attributes:
        code: The seller's code; empty when it gives none.
        message: The seller's words, without control characters. Never decides anything.
        recovery: ``transient``, ``correctable``, ``terminal``, any other word, or ``None``.
        retry_after: The seller's own word on waiting, of any type.
        issues: Every fault it lists, in its order.
        supported_versions: The protocol lines it offers instead.
        replayed: The answer of an earlier try under the same key.
        about_answer: Not the request broke a rule, but the answer the seller made of it.
    """

    code: str = ""
    message: str = ""
    recovery: str | None = None
    retry_after: object = None
    issues: tuple[Issue, ...] = ()
    supported_versions: tuple[str, ...] = ()
    replayed: bool = False
    about_response: bool = False


def read_error(source: Mapping[str, object], *, replayed: bool = False) -> SellerError:
    """Return `source` as a :class:`SellerError`; whatever is of a wrong type is left out."""
    recovery = source.get("recovery")
    details = source.get("details")
    versions = details.get("supported_versions") if isinstance(details, dict) else None
    return SellerError(
        code=sanitize(source.get("code"), CODE_LENGTH),
        message=sanitize(source.get("message")),
        recovery=recovery if isinstance(recovery, str) or recovery is None else UNKNOWN_RECOVERY,
        retry_after=source.get("retry_after", source.get("retryAfter")),
        issues=tuple(_issues(source, details)),
        supported_versions=tuple(filter(None, (sanitize(v, 20) for v in _listed(versions)[:20]))),
        replayed=replayed or source.get("replayed") is True,
        about_response=isinstance(details, dict) and details.get("side") == "response",
    )


def find_error(payload: object) -> Mapping[str, object] | None:
    """Return the error inside a body, wrapped or bare, or ``None`` when it holds none.

    An error of severity ``warning`` is none: the protocol puts advice there, too.
    """
    if not isinstance(payload, dict):
        return None
    wrapped = payload.get("data")
    bodies = (payload, wrapped) if isinstance(wrapped, dict) else (payload,)
    return next(filter(None, map(_error_in, bodies)), None)


def _error_in(body: dict[str, object]) -> Mapping[str, object] | None:
    for name in ("adcp_error", "error"):
        found = body.get(name)
        if isinstance(found, dict):
            return found
        if isinstance(found, str) and found:
            return {"code": found, "message": body.get("error_description")}
    for found in _listed(body.get("errors")):
        if not isinstance(found, dict):
            return {"message": found}
        if found.get("severity") != "warning":
            return found
    bare = isinstance(body.get("code"), str) and "events_received" not in body
    return body if bare else None


def _issues(source: Mapping[str, object], details: object) -> Iterator[Issue]:
    inner = details.get("issues") if isinstance(details, dict) else details
    for item in (*_listed(source.get("issues")), *_listed(inner)):
        if isinstance(item, dict):
            path = _path(item.get("pointer", item.get("path", item.get("field"))))
            if path is not None:
                keyword = sanitize(item.get("keyword"), CODE_LENGTH)
                yield Issue(path, keyword, sanitize(item.get("message")))
    path = _path(source.get("field"))
    if path:
        yield Issue(path)


def _path(value: object) -> str | None:
    if isinstance(value, list):
        return sanitize("/" + "/".join(str(part) for part in value[:8]), _PATH_LENGTH)
    return sanitize(value, _PATH_LENGTH) if isinstance(value, str) else None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def outcome_from_http(response: Response, count: int) -> Outcome:
    """Return what an answer of a REST seller means for the request it answers.

    Args:
        response: The seller's answer.
        count: How many events the request carried.
    """
    payload = response.json()
    found = find_error(payload)
    if response.is_success and found is None:
        return parse_report(_unwrapped(payload), response, count)
    return outcome_from_error(read_error(found or {}), response, count)


def outcome_from_task(task: object, response: Response, count: int) -> Outcome:
    """Return what a task's structured result means for the request it answers.

    Args:
        task: The decoded result, of any type.
        response: The HTTP answer that carried it.
        count: How many events the request carried.
    """
    found = find_error(task)
    if found is not None:
        replayed = isinstance(task, dict) and task.get("replayed") is True
        return outcome_from_error(read_error(found, replayed=replayed), response, count)
    if isinstance(task, dict):
        status = sanitize(task.get("status"), CODE_LENGTH)
        if status in TASK_STATUSES:
            error = SellerError(f"task_{status}", sanitize(task.get("message")))
            return apply_rule(TASK_STATUSES[status], error, response, count)
        if status in {"submitted", "working"} and "events_received" not in task:
            return Delivered(warnings=("The seller took the events for later processing.",))
    return parse_report(task, response, count)


def outcome_from_error(error: SellerError, response: Response, count: int) -> Outcome:
    """Return what an error means for the request it answers."""
    if error.about_response:
        # The seller's own check of its own answer: the events are taken and not to blame.
        return apply_rule(UNKNOWN, error, response, count)
    if any(issue.is_size_limit for issue in error.issues):
        return TooLarge(_code(error, response), _message(error, response))
    row = classify(error.code, error.recovery, response.status)
    return apply_rule(row, error, response, count)


def apply_rule(row: ErrorRule, error: SellerError, response: Response, count: int) -> Outcome:
    """Return what a row of the table makes of an error."""
    if row.action is Action.PAUSE:
        return _pause(row, error, response)
    return _ACTIONS[row.action](row, error, response, count)


def _retry(row: ErrorRule, error: SellerError, response: Response, _count: int) -> Outcome:
    fresh = row.action is Action.FRESH_KEY
    return Retry(
        code=_code(error, response),
        message=_message(error, response),
        retry_after=requested_delay(response.headers, error.retry_after, response.now),
        fresh_key=fresh or error.replayed,
        budgeted=row.action is Action.BUDGET or fresh,
        rate_limited=row.action is Action.SLOW_DOWN,
    )


def _split(_row: ErrorRule, error: SellerError, response: Response, _count: int) -> Outcome:
    return TooLarge(_code(error, response), _message(error, response))


def _reject(row: ErrorRule, error: SellerError, response: Response, count: int) -> Outcome:
    failures = _named(row, error, response, count)
    fields = {issue.request_field for issue in error.issues} - {None}
    if not failures and fields:
        names = ", ".join(sorted(filter(None, fields)))
        return _pause(
            ErrorRule(Action.PAUSE, f"Mend the request's own fields: {names}."), error, response
        )
    if not failures and row.action is Action.REJECT_NAMED:
        return _pause(row, error, response)
    return Rejected(_code(error, response), _message(error, response), failures)


def _pause(row: ErrorRule, error: SellerError, response: Response) -> Outcome:
    if error.replayed:
        # Once the configuration is mended, the old key would still get the old answer.
        return Retry(_code(error, response), _message(error, response), fresh_key=True)
    message = _message(error, response)
    if error.supported_versions:
        message += f" The seller supports: {', '.join(error.supported_versions)}."
    return Paused(_code(error, response), message, row.remedy)


_ACTIONS: Mapping[Action, Callable[[ErrorRule, SellerError, Response, int], Outcome]] = {
    Action.RETRY: _retry,
    Action.SLOW_DOWN: _retry,
    Action.BUDGET: _retry,
    Action.FRESH_KEY: _retry,
    Action.SPLIT: _split,
    Action.REJECT: _reject,
    Action.REJECT_NAMED: _reject,
}


def _named(
    row: ErrorRule, error: SellerError, response: Response, count: int
) -> tuple[EventFailure, ...]:
    found: dict[int, Issue] = {}
    for issue in error.issues:
        index = issue.event_index
        if index is not None and index < count:
            found.setdefault(index, issue)
    code = _code(error, response)
    remedy = row.remedy or remedy_for(code)
    return tuple(
        EventFailure(code, _at(issue, error), index=index, remedy=remedy)
        for index, issue in sorted(found.items())
    )


def _at(issue: Issue, error: SellerError) -> str:
    words = issue.message or error.message
    return f"{issue.path}: {words}" if words else issue.path


def _unwrapped(payload: object) -> object:
    if isinstance(payload, dict) and isinstance(payload.get("data"), dict):
        return payload["data"]
    return payload


def _code(error: SellerError, response: Response) -> str:
    return error.code or f"http_{response.status}"


def _message(error: SellerError, response: Response) -> str:
    return error.message or f"The seller answered HTTP {response.status}."
