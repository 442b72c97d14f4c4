"""Remove credentials from responses, because some sellers repeat a request they reject.

It is done as soon as a response is decoded and before anything is shortened: half a
credential would no longer be found.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK = "***"
_MIN_LENGTH = 6  # anything shorter is part of ordinary words and numbers
_SECRET_NAME = re.compile("auth|key|secret|token", re.IGNORECASE)
_EVENT_ID = "event_id"  # the seller names events by it, and nothing else of it is shown


@attrs.frozen(repr=False)
class Redaction:
    """Replaces secrets by :data:`MASK`.

    Attributes:
        pattern: Finds them; ``None`` if there are none.
    """

    pattern: re.Pattern[str] | None = None

    def of(self, payload: object) -> object:
        """Return decoded JSON without the secrets in its strings; changes `payload` itself."""
        whole: list[object] = [payload]
        holders: list[Any] = [whole]
        while self.pattern is not None and holders:
            holder = holders.pop()
            for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
                if isinstance(value, (dict, list)):
                    holders.append(value)
                elif isinstance(value, str) and key != _EVENT_ID:
                    holder[key] = self.pattern.sub(MASK, value)
        return whole[0]


def redaction_of(headers: Mapping[str, str], parameters: Iterable[str] = ()) -> Redaction:
    """Return what removes a request's credentials from the response to it.

    Args:
        headers: The request's headers. ``Authorization`` and any header named after a key,
            secret or token holds a credential.
        parameters: The values of its query, each of which may be one.

    Returns:
        What finds the credentials in any case: as they are, in Base64, percent-encoded and
        escaped as in JSON. Credentials shorter than six characters are not removed.
    """
    found = set(parameters)
    for name, value in headers.items():
        if _SECRET_NAME.search(name):
            scheme, _, rest = value.strip().partition(" ")
            found |= {value.strip(), rest.strip()}
            with suppress(ValueError):
                if scheme.lower() == "basic":
                    pair = base64.b64decode(rest).decode()
                    found |= {pair, pair.partition(":")[2]}
    forms = {form for secret in found if len(secret) >= _MIN_LENGTH for form in _forms(secret)}
    if not forms:
        return Redaction()
    longest_first = sorted(forms, key=len, reverse=True)
    return Redaction(re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE))


def _forms(secret: str) -> set[str]:
    raw, escaped = secret.encode(), orjson.dumps(secret).decode()[1:-1]
    encoded = {base64.b64encode(raw), base64.urlsafe_b64encode(raw)}
    return {
        *(secret, escaped, escaped.replace("/", "\\/"), quote(secret, safe=""), quote(secret)),
        *(each.decode().rstrip("=") for each in encoded),
    }
