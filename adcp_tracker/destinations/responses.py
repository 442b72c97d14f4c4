"""Turn a seller's response into an outcome."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.destinations.base import (
    CheckResult,
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Redaction,
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
from adcp_tracker.events.parsing import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_MOST_OBJECTS = 20
_AROUND = " \t\r\n\v\f\0\xa0\ufeff"
_decoder = json.JSONDecoder(strict=False)
OVERSIZE = "answer_too_large"
UNDECODABLE = "answer_undecodable"


@attrs.frozen
class Response:
    """An HTTP response.

    Attributes:
        status: The HTTP status.
        headers: The headers, by lower-case name.
        body: The body, as far as it was read.
        truncated: Why the body is incomplete, in one word such as ``answer_too_large`` or
            ``reset``; empty if it is complete.
        now: When it arrived, in seconds since the epoch; dates are compared with it.
        redaction: Removes the request's credentials from it.
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
        """Return the content type without its parameters, in lower case; the first of several."""
        return re.split("[;,]", self.headers.get("content-type", ""), maxsplit=1)[0].strip().lower()

    def json(self) -> object:
        """Return the body as JSON without secrets; ``None`` if it is incomplete or not JSON.

        JSON amid other text counts, too: scripts print their warnings around it. In a page, it
        has to be the report.
        """
        found = decode(self.body)
        if self.truncated:
            # An object that closes is complete, whatever was to follow it.
            return self.redaction.of(found) if isinstance(found, dict) else None
        if found is None:
            text = _as_text(self.body)
            found = decode_text(text)
            is_page = self.media_type in _PAGE_TYPES or text.startswith("<")
            found = None if is_page and not has_report(found) else found
        return self.redaction.of(found)


def decode(body: bytes | str) -> object:
    """Return `body` as JSON, or ``None`` if it is invalid.

    A byte-order mark, UTF-16 and UTF-32, null bytes around it, line breaks within strings and
    NaN are accepted.
    """
    try:
        return orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        text = body if isinstance(body, str) else _as_text(body)
    with suppress(ValueError, RecursionError):
        return _decoder.decode(text.strip(_AROUND))
    return None


def _as_text(body: bytes) -> str:
    """Return `body` in the encoding that its first bytes tell; JSON's own characters are ASCII."""
    return body.decode(json.detect_encoding(body), "replace").strip(_AROUND)


def decode_text(text: str) -> object:
    """Return the JSON in a text, alone or amid words or in a fence; ``None`` if there is none.

    Of several objects, the first that has counts or an error.
    """
    whole = decode(text)
    if whole is not None:
        return whole
    found = list(_objects_in(text))
    told = (each for each in found if has_report(each) or find_error(each))
    return next(told, found[0] if found else None)


def _objects_in(text: str) -> Iterator[object]:
    start = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            return
        try:
            value, start = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1
        else:
            yield value
        start = text.find("{", start)


_LATER = "Check the address and the network, or try again later."
_FIX = "Fix the request. The seller says that it breaks a rule."


def to_check_result(outcome: Outcome) -> CheckResult:
    """Return the check result for a request that failed."""
    if isinstance(outcome, Delivered):
        return CheckResult("error", "The seller's response doesn't match the request.", _LATER)
    if isinstance(outcome, Paused):
        remedy = outcome.remedy
    else:
        remedy = _LATER if isinstance(outcome, Retry) else _FIX
    return CheckResult("error", f"{outcome.code}: {outcome.message}", remedy)


MESSAGE_LENGTH = 500
CODE_LENGTH = 64


def sanitize(value: object, limit: int = MESSAGE_LENGTH) -> str:
    """Return a seller's text as one line of at most `limit` visible characters.

    Control, format, surrogate and unassigned characters become spaces: they could be terminal
    escapes, forged log lines or text that reads backwards.

    Args:
        value: The seller's value, of any type.
        limit: The most characters to keep.

    Returns:
        The text; empty if `value` isn't a string.
    """
    if not isinstance(value, str):
        return ""
    visible = (" " if _is_control(character) else character for character in value[: 4 * limit])
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_sanitized(text: str, limit: int) -> bool:
    """Return whether `text` is short enough and has no control characters."""
    return len(text) <= limit and not any(map(_is_control, text))


def _is_control(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"}


_MOST_WARNINGS = 20
_ID_LENGTH = 256
_LATER_STATUSES = frozenset({"submitted", "working"})
_BAD_REQUEST = 400
_COUNTS = ("events_received", "events_processed")
# What a seller repeats of a request can't be the report on it.
_ECHOES = frozenset({"context", "ext", "input", "params", "arguments", "request"})
_WRAPPERS = ("data", "result", "payload", "response")
_MOST_LEVELS = 5
_MOST_VALUES = 200
_DIGITS = 10
_SUCCESS_CODES = frozenset({"0", "200", "ok", "success", "null", "none"})
_EMPTY_SUCCESSES = frozenset({202, 204})


def parse_report(payload: object, response: Response, count: int) -> Delivered | Retry:
    """Return the outcome for a body without an error.

    Args:
        payload: The decoded body, of any type.
        response: The HTTP response.
        count: How many events were sent.
    """
    report = _find_report(payload)
    listed = get_value(report, "partial_failures") or []
    failed = [listed] if isinstance(listed, dict) else listed
    if not report or not isinstance(failed, list):
        return _unreadable(response)
    received, processed = (_count(get_value(report, name)) for name in _COUNTS)
    failures, nameless = _partial_failures(failed)
    return Delivered(
        failures=failures,
        received=received,
        processed=processed,
        warnings=(*_warnings(report), *_discrepancies(received, count, nameless)),
        match_quality=_share(get_value(report, "match_quality")),
        replayed=report.get("replayed") is True,
        wait=rate_limit_delay(response.headers, response.now),
        nameless_failures=nameless,
    )


def _find_report(payload: object) -> Mapping[str, object]:
    """Return the first object with counts, level by level; an empty one if there is none.

    Sellers' frameworks wrap the report, or put it into a text.
    """
    level = [payload]
    for _ in range(_MOST_LEVELS):
        for value in level:
            if isinstance(value, dict) and _has_counts(value):
                return value
        level = [child for value in level for child in _children(value)][:_MOST_VALUES]
    return {}


def has_report(payload: object) -> bool:
    """Return whether there is a report with counts somewhere in a body."""
    return bool(_find_report(payload))


def _has_counts(body: Mapping[str, object]) -> bool:
    return any(_count(get_value(body, name)) is not None for name in _COUNTS)


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return [inner for name, inner in value.items() if name not in _ECHOES]
    if isinstance(value, str):
        return [decode_text(value)]
    return value if isinstance(value, list) else []


def _unreadable(response: Response) -> Retry:
    """Retry a few times: the seller reports success, but not of what.

    A web page comes from a proxy in between, and a stream begins before the seller has read the
    events; so a page or a broken stream doesn't count as a success. Nor does a body that says
    that the request failed: its tries are counted and end in dead letters.
    """
    is_denied = any(map(_denies_success, unwrapped(response.json())))
    is_page = response.media_type in _PAGE_TYPES
    is_broken_stream = response.media_type == "text/event-stream" and bool(response.truncated)
    return Retry(
        code=response.truncated or ("not_json" if is_page else "unreadable_answer"),
        message=f"HTTP {response.status}, but the body isn't a response to log_event.",
        retry_after=requested_delay(response.headers, None, response.now),
        budgeted=is_denied,
        is_success=not (is_page or is_broken_stream or is_denied),
    )


def _denies_success(body: Mapping[str, object]) -> bool:
    """Return whether a body without an error and counts says that the request failed."""
    flags = (body.get("success"), body.get("ok"), body.get("successful"))
    code = body.get("code", body.get("statusCode"))
    is_error_code = type(code) is int and code >= _BAD_REQUEST
    return any(flag is False for flag in flags) or body.get("error") is True or is_error_code


def get_value(table: Mapping[str, object], name: str) -> object:
    """Return a value by its name, or by its name in camel case."""
    if name in table:
        return table[name]
    first, *rest = name.split("_")
    return table.get(first + "".join(word.capitalize() for word in rest))


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS:
        return int(value)
    if isinstance(value, float) and value.is_integer() and value < 10**_DIGITS:
        value = int(value)
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
    event_id = get_value(item, "event_id") if isinstance(item, dict) else None
    return event_id if isinstance(event_id, str) and is_sanitized(event_id, _ID_LENGTH) else None


def _partial_failure(event_id: str, item: Mapping[str, object]) -> EventFailure:
    code = sanitize(item.get("code"), CODE_LENGTH) or "PARTIAL_FAILURE"
    message = sanitize(item.get("message"))
    return EventFailure(code, message, event_id=event_id, remedy=remedy_for(code))


def _warnings(payload: Mapping[str, object]) -> list[str]:
    listed = payload.get("warnings")
    items = listed[:_MOST_WARNINGS] if isinstance(listed, list) else [listed]
    words = (item.get("message") if isinstance(item, dict) else item for item in items)
    return list(filter(None, map(sanitize, words)))


def _discrepancies(received: int | None, count: int, nameless: int) -> list[str]:
    doubts = []
    if received is not None and received != count:
        doubts.append(f"The seller received {received} events, but {count} were sent.")
    if nameless:
        doubts.append(f"The seller reports {nameless} failures without naming the events.")
    return doubts


UNKNOWN_RECOVERY = "unknown"

# Keywords of several validators for the same problem: the request is too large.
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
    """One problem that a seller found in a request.

    Attributes:
        path: Where, in the seller's notation.
        keyword: The rule, such as ``maxItems``; empty if it doesn't say.
        message: The seller's message, without control characters.
    """

    path: str
    keyword: str = ""
    message: str = ""

    @property
    def event_index(self) -> int | None:
        """Return the position of the event it names, if any."""
        match = _EVENT.search(self.path)
        return int(match[1]) if match else None

    @property
    def request_field(self) -> str | None:
        """Return the field of the request, outside of events, that it names."""
        match = _REQUEST_FIELD.match(self.path)
        if match:
            return match[1]
        missing = self.keyword == "required" and _WHOLE_REQUEST.fullmatch(self.path)
        return "a field it requires" if missing and "events" not in self.path else None

    @property
    def is_size_limit(self) -> bool:
        """Return whether the whole request is over a limit."""
        return self.keyword in _SIZE_KEYWORDS and bool(_WHOLE_REQUEST.fullmatch(self.path))


@attrs.frozen
class SellerError:
    """An AdCP error, parsed and without control characters.

    Attributes:
        code: The seller's code; empty if there is none.
        message: The seller's message. Never decides anything.
        recovery: ``transient``, ``correctable``, ``terminal``, another word, or ``None``.
        retry_after: How long the seller asks to wait, of any type.
        issues: Every problem it lists, in order.
        supported_versions: The protocol versions it offers instead.
        replayed: Whether this is the response to an earlier try under the same key.
        about_response: Whether the seller's own response broke a rule, not the request.
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
    """Parse an error, ignoring values of a wrong type."""
    recovery = source.get("recovery")
    details = source.get("details")
    versions = get_value(details, "supported_versions") if isinstance(details, dict) else None
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
    """Return the error in a body, wrapped or bare, or ``None``.

    Entries of severity ``warning`` don't count; the protocol uses them for advice.
    """
    return next(filter(None, map(_error_in, unwrapped(payload))), None)


def unwrapped(payload: object) -> Iterator[dict[str, object]]:
    """Yield an object and those it is wrapped around, be it in JSON within a text."""
    body = _as_object(payload)
    for _ in range(_MOST_LEVELS):
        if body is None:
            return
        yield body
        inner = (_as_object(body.get(name)) for name in _WRAPPERS)
        body = next((each for each in inner if each is not None), None)


def _as_object(value: object) -> dict[str, object] | None:
    found = decode_text(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else None


def _error_in(body: dict[str, object]) -> Mapping[str, object] | None:
    for name in ("adcp_error", "error"):
        found = body.get(name)
        if isinstance(found, dict) and not _says_success(found.get("code")):
            return found
        if isinstance(found, str) and found and not _says_success(found):
            return {"code": found, "message": body.get("error_description")}
    listed = _listed_error(body.get("errors"))
    if listed is not None:
        return listed
    code = body.get("code")
    bare = isinstance(code, str) and not _says_success(code) and not _has_counts(body)
    return body if bare else None


def _listed_error(errors: object) -> Mapping[str, object] | None:
    """Return the first error of a list that is no mere warning."""
    if isinstance(errors, dict) and ("code" in errors or "message" in errors):
        return errors
    for found in _listed(errors):
        if not isinstance(found, dict):
            return {"message": found}
        if found.get("severity") != "warning":
            return found
    return None


def _says_success(code: object) -> bool:
    """Return whether a code is what some frameworks answer if there is no error."""
    is_code = isinstance(code, (str, int)) and not isinstance(code, bool)
    return is_code and str(code).strip().lower() in _SUCCESS_CODES


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
    """Return the outcome of a REST request.

    Args:
        response: The HTTP response.
        count: How many events were sent.
    """
    payload = response.json()
    if not response.is_success:
        return outcome_from_error(read_error(find_error(payload) or {}), response, count)
    if response.status in _EMPTY_SUCCESSES and not response.body.strip():
        return Delivered(is_confirmed=False, wait=rate_limit_delay(response.headers, response.now))
    return outcome_from_task(payload, response, count, trusts_counts=True)


def outcome_from_task(
    task: object, response: Response, count: int, *, trusts_counts: bool = False
) -> Outcome:
    """Return the outcome for a task's structured result.

    Args:
        task: The decoded result, of any type.
        response: The HTTP response.
        count: How many events were sent.
        trusts_counts: Whether counts outweigh a status of failure, which isn't the protocol's
            outside of tasks.
    """
    found = find_error(task)
    if found is not None:
        replayed = isinstance(task, dict) and task.get("replayed") is True
        return outcome_from_error(read_error(found, replayed=replayed), response, count)
    for body in unwrapped(task):
        status = sanitize(body.get("status"), CODE_LENGTH).lower()
        if status in TASK_STATUSES and not (trusts_counts and has_report(task)):
            error = SellerError(f"task_{status}", sanitize(body.get("message")))
            return apply_rule(TASK_STATUSES[status], error, response, count)
        if status in _LATER_STATUSES:
            return _submitted(task, response, count)
    return parse_report(task, response, count)


def _submitted(task: object, response: Response, count: int) -> Outcome:
    report = parse_report(task, response, count)
    if isinstance(report, Delivered):
        return attrs.evolve(report, is_confirmed=False)
    words = "The seller will process the events later, and doesn't say how that goes."
    return Delivered(is_confirmed=False, warnings=(words,))


def outcome_from_error(error: SellerError, response: Response, count: int) -> Outcome:
    """Return the outcome for an error."""
    if error.about_response:
        # The seller's check of its own response failed; the events were accepted.
        return apply_rule(UNKNOWN, error, response, count)
    if any(issue.is_size_limit for issue in error.issues):
        return TooLarge(_code(error, response), _message(error, response))
    rule = classify(error.code, error.recovery, response.status)
    return apply_rule(rule, error, response, count)


def apply_rule(rule: ErrorRule, error: SellerError, response: Response, count: int) -> Outcome:
    """Return the outcome that a rule gives for an error."""
    return _ACTIONS[rule.action](rule, error, response, count)


def _retry(rule: ErrorRule, error: SellerError, response: Response, _count: int) -> Outcome:
    fresh = rule.action is Action.FRESH_KEY
    return Retry(
        code=_code(error, response),
        message=_message(error, response),
        retry_after=requested_delay(response.headers, error.retry_after, response.now),
        fresh_key=fresh or error.replayed,
        budgeted=rule.action is Action.BUDGET or fresh,
        rate_limited=rule.action is Action.SLOW_DOWN,
    )


def _split(_rule: ErrorRule, error: SellerError, response: Response, _count: int) -> Outcome:
    return TooLarge(_code(error, response), _message(error, response))


def _reject(rule: ErrorRule, error: SellerError, response: Response, count: int) -> Outcome:
    failures = _named(rule, error, response, count)
    fields = {issue.request_field for issue in error.issues} - {None}
    if not failures and fields:
        names = ", ".join(sorted(filter(None, fields)))
        fix = ErrorRule(Action.PAUSE, f"Fix these fields of the request: {names}.")
        return _pause(fix, error, response, count)
    if not failures and rule.action is Action.REJECT_NAMED:
        return _pause(rule, error, response, count)
    return Rejected(_code(error, response), _message(error, response), failures)


def _pause(rule: ErrorRule, error: SellerError, response: Response, _count: int) -> Outcome:
    if error.replayed:
        # Once the configuration is fixed, the old key would still get the old response.
        return Retry(_code(error, response), _message(error, response), fresh_key=True)
    message = _message(error, response)
    if error.supported_versions:
        message += f" The seller supports: {', '.join(error.supported_versions)}."
    return Paused(_code(error, response), message, rule.remedy)


_ACTIONS: Mapping[Action, Callable[[ErrorRule, SellerError, Response, int], Outcome]] = {
    Action.RETRY: _retry,
    Action.SLOW_DOWN: _retry,
    Action.BUDGET: _retry,
    Action.FRESH_KEY: _retry,
    Action.SPLIT: _split,
    Action.REJECT: _reject,
    Action.REJECT_NAMED: _reject,
    Action.PAUSE: _pause,
}


def _named(
    rule: ErrorRule, error: SellerError, response: Response, count: int
) -> tuple[EventFailure, ...]:
    found: dict[int, Issue] = {}
    for issue in error.issues:
        index = issue.event_index
        if index is not None and index < count:
            found.setdefault(index, issue)
    code = _code(error, response)
    remedy = rule.remedy or remedy_for(code)
    return tuple(
        EventFailure(code, _at(issue, error), index=index, remedy=remedy)
        for index, issue in sorted(found.items())
    )


def _at(issue: Issue, error: SellerError) -> str:
    words = issue.message or error.message
    return f"{issue.path}: {words}" if words else issue.path


def _code(error: SellerError, response: Response) -> str:
    return error.code or f"http_{response.status}"


def _message(error: SellerError, response: Response) -> str:
    return error.message or f"The seller responded with HTTP {response.status}."


SHORTEST = 1.0
LONGEST = 3600.0

_find_number = re.compile(
    r"""[\s"']*\+?([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(?:s|secs?|seconds?)?[\s"']*"""
).fullmatch
_parameters = re.compile(r"(?:^|[;,\s])([rt]|remaining|reset)=([0-9]{1,18})").findall
# A reset this large is a point in time, in seconds or in milliseconds, not a span.
_EPOCH_SECONDS = 1e9
_EPOCH_MILLISECONDS = 1e12


def clamp(seconds: float) -> float:
    """Return `seconds` within 1–3600, as the protocol tells clients to read a wait."""
    return LONGEST if math.isnan(seconds) else min(max(seconds, SHORTEST), LONGEST)


def requested_delay(headers: Mapping[str, str], retry_after: object, now: float) -> float | None:
    """Return the longest wait that a response asks for.

    Sellers say it in ``Retry-After`` (seconds or a date, RFC 9110 §10.2.3), in an error's
    ``retry_after``, or in one of the three generations of ``RateLimit`` headers.

    Args:
        headers: The response's headers, by lower-case name.
        retry_after: The error's own ``retry_after``, of any type.
        now: Seconds since the epoch; dates are read against it.

    Returns:
        Seconds within 1–3600, or ``None`` if the response asks for no wait.
    """
    waits = (_wait(retry_after, now), _wait(headers.get("retry-after"), now))
    asked = [wait for wait in (*waits, rate_limit_delay(headers, now)) if wait is not None]
    return clamp(max(asked)) if asked else None


def rate_limit_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Return the wait until the rate limit resets, if no request is left before that."""
    waits = [reset for left, reset in _limits(headers) if left == 0 and reset is not None]
    return clamp(max(_span(reset, now) for reset in waits)) if waits else None


def _limits(headers: Mapping[str, str]) -> Iterator[tuple[float | None, float | None]]:
    for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit"):
        left, reset = headers.get(f"{prefix}-remaining"), headers.get(f"{prefix}-reset")
        yield _seconds(left), _seconds(reset)
    value = headers.get("ratelimit", "")
    # The older form separates one policy's parameters by comma, the newer one policies.
    for policy in [value] if "remaining=" in value else value.split(","):
        found = dict(_parameters(policy))
        left, reset = found.get("r", found.get("remaining")), found.get("t", found.get("reset"))
        yield _seconds(left), _seconds(reset)


def _wait(value: object, now: float) -> float | None:
    """Return the seconds that a number, several of them, or a date ask to wait."""
    if not isinstance(value, str):
        return _seconds(value)
    numbers = [wait for wait in map(_seconds, value.split(",")) if wait is not None]
    return max(numbers) if numbers else _until(value, now)


def _span(reset: float, now: float) -> float:
    if reset >= _EPOCH_MILLISECONDS:
        return reset / 1000 - now
    return reset - now if reset >= _EPOCH_SECONDS else reset


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        found = _find_number(value)
        return float(found[1]) if found else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(max(min(value, LONGEST), 0))
    return None


def _until(date: str, now: float) -> float | None:
    # Importing httpx has loaded this already; the library itself doesn't need it.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - see above

    try:
        when = parse_time(date)
        when = when if isinstance(when, datetime) else parsedate_to_datetime(date)
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
