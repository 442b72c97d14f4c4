"""Read what a seller says is wrong, whatever shape it says it in.

An error may name events by JSON pointer (``/events/3/event_time``) or by path
(``events[3].event_time``), in ``issues``, in ``details.issues`` or in ``field``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.destinations.words import CODE_LENGTH, clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    def is_about_size(self) -> bool:
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
    about_answer: bool = False


def read_error(source: Mapping[str, object], *, replayed: bool = False) -> SellerError:
    """Return `source` as a :class:`SellerError`; whatever is of a wrong type is left out."""
    recovery = source.get("recovery")
    details = source.get("details")
    versions = details.get("supported_versions") if isinstance(details, dict) else None
    return SellerError(
        code=clean(source.get("code"), CODE_LENGTH),
        message=clean(source.get("message")),
        recovery=recovery if isinstance(recovery, str) or recovery is None else UNKNOWN_RECOVERY,
        retry_after=source.get("retry_after", source.get("retryAfter")),
        issues=tuple(_issues(source, details)),
        supported_versions=tuple(filter(None, (clean(v, 20) for v in _listed(versions)[:20]))),
        replayed=replayed or source.get("replayed") is True,
        about_answer=isinstance(details, dict) and details.get("side") == "response",
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
                keyword = clean(item.get("keyword"), CODE_LENGTH)
                yield Issue(path, keyword, clean(item.get("message")))
    path = _path(source.get("field"))
    if path:
        yield Issue(path)


def _path(value: object) -> str | None:
    if isinstance(value, list):
        return clean("/" + "/".join(str(part) for part in value[:8]), _PATH_LENGTH)
    return clean(value, _PATH_LENGTH) if isinstance(value, str) else None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
