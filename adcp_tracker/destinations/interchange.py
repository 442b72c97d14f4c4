"""Deliver events to the Interchange over its REST API."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlencode

import attrs
import orjson

from adcp_tracker.destinations.base import (
    CheckResult,
    Paused,
    Timeouts,
    event_failure,
    join_url,
    request_body,
    request_headers,
)
from adcp_tracker.destinations.responses import (
    Response,
    find_error,
    outcome_from_error,
    outcome_from_http,
    read_error,
    to_check_result,
)
from adcp_tracker.destinations.validation import (
    validate_choice,
    validate_common,
    validate_secret,
    validate_text,
    validate_url,
    without_query,
)
from adcp_tracker.events.model import COMMON_ACTION_SOURCES
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import httpx

    from adcp_tracker.destinations.base import (
        Batch,
        EventFailure,
        Outcome,
        RequestBody,
        Retry,
        SourceRules,
    )
    from adcp_tracker.destinations.http import HttpClient


# The fastest level. JSON events shrink to a quarter; higher levels gain little.
_LEVEL = 1
_AS_GZIP = 16 + zlib.MAX_WBITS


def gzip(body: Iterable[bytes]) -> bytes:
    """Compress the chunks of `body`; the result is the same each time.

    Uses ``isal`` if it is installed, which is four times as fast.
    """
    try:
        from isal import isal_zlib  # noqa: PLC0415 - optional
    except ImportError:
        slow = zlib.compressobj(_LEVEL, wbits=_AS_GZIP)
        return b"".join([*map(slow.compress, body), slow.flush()])
    quick = isal_zlib.compressobj(_LEVEL, wbits=_AS_GZIP)
    return b"".join([*map(quick.compress, body), quick.flush()])


DEFAULT_BASE_URL = "https://api.interchange.io/api/v2/buyer"

_COMPRESSION_REFUSED = 415
_NOT_FOUND = 404
_PAGE_SIZE = 100
_MAX_PAGES = 20


def _default_name(interchange: Interchange) -> str:
    return f"interchange:{interchange.advertiser_id}/{interchange.event_source_id}"


@attrs.define(kw_only=True, eq=False, repr=False)
class Interchange:
    """An event source of an advertiser at the Interchange.

    Attributes:
        advertiser_id: The advertiser that the conversions belong to.
        event_source_id: The event source that the events belong to, 1–255 characters.
        api_key: The credential, never shown; ``None`` if ``auth`` is enough.
        auth: Authenticates or signs each request, such as by OAuth client credentials.
        base_url: The address of the API.
        name: The name that deliveries are stored under. Set it to keep the counts when the
            ids change.
        max_events: The most events in one request.
        max_bytes: The most bytes in one request, before compression.
        timeout: How long a call may take.
        compression: ``gzip`` or ``None``. Turned off once the seller rejects it.
        allow_http: Whether to allow unencrypted http to other machines.
        transport: Replaces the network, in tests.
        now: The clock that dates in responses are compared with.
        source_rule: What the event source accepts, if known; the tracker sets it.

    Raises:
        ConfigurationError: If a setting is invalid.
    """

    advertiser_id: str
    event_source_id: str
    api_key: str | None = None
    auth: httpx.Auth | None = None
    base_url: str = DEFAULT_BASE_URL
    name: str = attrs.field(default=attrs.Factory(_default_name, takes_self=True))
    max_events: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    timeout: Timeouts = attrs.field(factory=Timeouts)
    compression: Literal["gzip"] | None = None
    allow_http: bool = False
    transport: httpx.BaseTransport | None = None
    now: Callable[[], float] = time.time
    source_rule: SourceRules | None = attrs.field(default=None, init=False)
    _http: HttpClient = attrs.field(init=False)
    _compresses: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # httpx is slow to import, so it is imported with the first destination.
        from adcp_tracker.destinations.http import HttpClient  # noqa: PLC0415 - see above

        validate_text(self.advertiser_id, "advertiser_id", 255)
        validate_common(self)
        if self.api_key is not None or self.auth is None:
            validate_secret(self.api_key, "api_key")
        if self.advertiser_id in {".", ".."}:
            raise ConfigurationError("advertiser_id: expected an id, got a path")
        validate_choice(self.compression, "compression", ("gzip", None))
        self.base_url = validate_url(self.base_url, "base_url", allow_http=self.allow_http)
        self._http = HttpClient(self.timeout, self.transport, self.auth, self.now)
        self._compresses = self.compression == "gzip"

    def __repr__(self) -> str:
        url = without_query(self.base_url)
        return f"Interchange(name={self.name!r}, base_url={url!r}, api_key='***')"

    def send(self, batch: Batch) -> Outcome:
        """Deliver `batch` in one request, or in a second one if compression is rejected."""
        body = request_body(self.event_source_id, batch, b"{", b"}")
        response = self._post(body)
        is_refused = isinstance(response, Response) and response.status == _COMPRESSION_REFUSED
        if is_refused and self._compresses:
            self._compresses = False
            response = self._post(body)
        if isinstance(response, Response):
            return outcome_from_http(response, len(batch.events))
        return response

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why the Interchange can't accept `event`, if it can't.

        It knows six of the protocol's nine action sources and requires a name for custom
        events. One such event would make it reject the whole request.
        """
        source = event.get("action_source")
        if source not in COMMON_ACTION_SOURCES:
            known = ", ".join(sorted(filter(None, COMMON_ACTION_SOURCES)))
            remedy = f"Use one of {known} for this destination."
            message = f"The Interchange doesn't know the action source {source!r}."
            return event_failure("UNSUPPORTED_ACTION_SOURCE", message, remedy, event)
        if event.get("event_type") == "custom" and not event.get("custom_event_name"):
            message = "The Interchange accepts custom events only with a name."
            return event_failure(
                "MISSING_CUSTOM_EVENT_NAME", message, "Set custom_event_name.", event
            )
        return self.source_rule.check(event) if self.source_rule else None

    def ask(self, method: str, path: str, body: object = None) -> dict[str, object] | CheckResult:
        """Call the advertiser's API for something other than events.

        Args:
            method: The HTTP method.
            path: The path below the advertiser.
            body: The JSON body, if any.

        Returns:
            The unwrapped response, or why there is none.
        """
        url, data = self._url(path), None if body is None else orjson.dumps(body)
        response = self._http.request(method, url, self._headers(), data)
        self._http.close()
        if not isinstance(response, Response):
            return to_check_result(response)
        payload = response.json()
        error = find_error(payload)
        if error is not None or not response.is_success or not isinstance(payload, dict):
            return to_check_result(outcome_from_error(read_error(error or {}), response, 0))
        inner = payload.get("data")
        return inner if isinstance(inner, dict) else payload

    def probe(self) -> list[CheckResult]:
        """Ask the Interchange whether it knows the credential, advertiser and event source."""
        response = self._http.request("GET", self._url("event-sources?take=1"), self._headers())
        if not isinstance(response, Response):
            return [to_check_result(response)]
        if response.is_success:
            return [self._check_source()]
        if response.status == _NOT_FOUND:
            message = f"The Interchange has no event sources of advertiser {self.advertiser_id!r}."
            return [CheckResult("error", message, "Check advertiser_id and base_url.")]
        outcome = outcome_from_http(response, 1)
        if isinstance(outcome, Paused):
            return [to_check_result(outcome)]
        message = f"The list of event sources was answered with HTTP {response.status}."
        return [CheckResult("warning", message, "Send a test event to learn more.")]

    def prepare(self) -> None:
        """Import what a request needs, so that a fork never finds it half imported."""
        self._http.prepare(self.base_url)

    def close(self) -> None:
        """Close the connection. A later :meth:`send` opens a new one."""
        self._http.close()

    def after_fork(self) -> None:
        """Drop the connection without closing it: it belongs to the parent of a fork."""
        self._http.after_fork()

    def _post(self, body: RequestBody) -> Response | Retry | Paused:
        url, headers = self._url("log-event"), self._headers()
        if not self._compresses:
            return self._http.request("POST", url, headers, body)
        headers["Content-Encoding"] = "gzip"
        return self._http.request("POST", url, headers, gzip(body))

    def _url(self, path: str) -> str:
        return join_url(self.base_url, f"advertisers/{quote(self.advertiser_id, safe='')}/{path}")

    def _headers(self) -> dict[str, str]:
        return request_headers(None if self.api_key is None else f"Bearer {self.api_key}")

    def _check_source(self) -> CheckResult:
        """Return whether the Interchange lists the event source."""
        listed = list_event_sources(attrs.evolve(self).ask)
        if isinstance(listed, CheckResult):
            return attrs.evolve(listed, level="warning")
        ids = (each.get("event_source_id", each.get("eventSourceId")) for each in listed)
        if self.event_source_id in ids:
            return CheckResult("ok", f"The Interchange knows {self.event_source_id!r}.")
        message = f"The Interchange doesn't list the event source {self.event_source_id!r}."
        return CheckResult(
            "warning", message, "Check event_source_id, or sync event sources first."
        )


def list_event_sources(
    ask: Callable[[str, str, object], dict[str, object] | CheckResult],
) -> list[dict[str, object]] | CheckResult:
    """Return all event sources of an advertiser as the Interchange describes them.

    Args:
        ask: Makes a call: method, path below the advertiser, and body.
    """
    found: list[dict[str, object]] = []
    for page in range(_MAX_PAGES):
        query = urlencode({"take": _PAGE_SIZE, "skip": page * _PAGE_SIZE})
        answer = ask("GET", f"event-sources?{query}", None)
        if isinstance(answer, CheckResult):
            return answer
        listed = answer.get("event_sources", answer.get("eventSources"))
        items = listed if isinstance(listed, list) else []
        found += (item for item in items if isinstance(item, dict))
        if len(items) < _PAGE_SIZE:
            break
    return found
