"""A seller's HTTP answer, as far as it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.destinations.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERSIZE = "answer_too_large"
UNDECODABLE = "answer_undecodable"


@attrs.frozen
class Reply:
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
    cut: str = ""
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
        return None if self.cut else self.redaction.of(decode(self.body))


def decode(body: bytes | str) -> object:
    """Return `body` as JSON, or ``None`` when it is none."""
    try:
        payload: object = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        return None
    return payload
