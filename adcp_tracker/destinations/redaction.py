"""Take a credential out of what a seller says, since some repeat a request when they refuse it.

It is done to an answer as soon as that is decoded, before anything is cut to length: half a
credential would not be found any more.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MARK = "***"
"""What stands in a credential's place."""

# Whatever is shorter is a part of words and numbers that are none of it.
_LEAST = 6
_SECRET_NAME = re.compile("auth|key|secret|token", re.IGNORECASE)
# By this the seller says which event it means, and nothing else of it is ever shown.
_ID = "event_id"


@attrs.frozen(repr=False)
class Redaction:
    """Puts :data:`MARK` in the place of secrets.

    Attributes:
        pattern: Finds them; ``None`` where there are none.
    """

    pattern: re.Pattern[str] | None = None

    def of(self, payload: object) -> object:
        """Return decoded JSON without the secrets in its strings; `payload` itself is changed."""
        whole: list[object] = [payload]
        holders: list[Any] = [whole] if self.pattern is not None else []
        while holders:
            holder = holders.pop()
            for place, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
                if isinstance(value, (dict, list)):
                    holders.append(value)
                elif isinstance(value, str) and place != _ID:
                    holder[place] = self._text(value)
        return whole[0]

    def _text(self, text: str) -> str:
        return text if self.pattern is None else self.pattern.sub(MARK, text)


def redaction_of(headers: Mapping[str, str]) -> Redaction:
    """Return what takes a request's credentials out of the answer to it.

    Args:
        headers: What was sent, by whomever: a credential is what stands in ``Authorization``
            and in any header whose name speaks of a key, a secret or a token.

    Returns:
        What finds them as they are, in Base64, percent-encoded and as JSON has them, in any
        case; credentials of fewer than six characters are left where they are.
    """
    named = (value for name, value in headers.items() if _SECRET_NAME.search(name))
    secrets = {secret for value in named for secret in _secrets(value) if len(secret) >= _LEAST}
    forms = {form for secret in secrets for form in _forms(secret)}
    if not forms:
        return Redaction()
    longest_first = sorted(forms, key=len, reverse=True)
    return Redaction(re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE))


def _secrets(value: str) -> Iterator[str]:
    """Return what is secret of a header's value: with its scheme, without, and a password alone."""
    scheme, _, rest = value.strip().partition(" ")
    yield from (value.strip(), rest.strip())
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield pair
        yield pair.partition(":")[2]


def _forms(secret: str) -> Iterator[str]:
    raw, in_json = secret.encode(), orjson.dumps(secret).decode()[1:-1]
    yield from (secret, in_json, in_json.replace("/", "\\/"))
    yield from (quote(secret, safe=""), quote(secret))
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
