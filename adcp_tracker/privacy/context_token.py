"""Signed tokens that carry a shopper's context to a purchase made without the shopper.

A payment webhook, a task queue or a nightly job confirms the order, and the token stored with
the order restores the shopper's context. Tokens are signed, so they can't be forged or altered,
and they expire. They are **not encrypted**: they contain an IP address and a user agent, which
are personal data. Store them in your own database; don't give them to the shopper.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker._formatting import as_tuple
from adcp_tracker._platform import Clock, SystemClock
from adcp_tracker.context import Consent, RequestContext
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.context import Context

TokenFault = Literal["malformed", "unsupported_version", "bad_signature", "expired"]
"""Why a token doesn't restore a context."""

MAX_CHARACTERS = 8192
MIN_KEY_BYTES = 16
THIRTY_DAYS = 30 * 86_400

_VERSION = "c1"
_PURPOSE = b"adcp_tracker context token, version 1"
_MAC_BYTES = 16
_LONGEST_TEXT = 2048
_MAX_PLAIN_BYTES = 65_536
"""More than the longest texts take, each character escaped."""

# A compression dictionary of texts that are common in contexts, the most frequent last.
# It belongs to the token version: a changed dictionary needs a new version.
_COMMON_TEXT = (
    b',null,null,null,null,"unknown",null]"granted",null]"denied","crawler"]"link_preview"]'
    b'"prefetch"]"ttclid""msclkid""fbclid""gclid"&utm_campaign=&utm_medium=cpc'
    b"?utm_source=google&fbclid=?gclid=/checkout/thank-you/complete/success/order-received"
    b"https://www..com/"
    b"Mozilla/5.0 (X11; Linux x86_64; rv:1) Gecko/20100101 Firefox/1"
    b"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/1.0.0.0 Mobile Safari/537.36"
    b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 "
    b"(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Version/17.5 Safari/605.1.15"
    b'","Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) '
    b'Chrome/1.0.0.0 Safari/537.36","https://'
)


@attrs.frozen
class TokenReading:
    """The result of reading a token.

    Attributes:
        context: The shopper's context; ``None`` if the token doesn't restore one.
        fault: Why it doesn't; ``None`` if it does.
    """

    context: RequestContext | None = None
    fault: TokenFault | None = None


def _derived(keys: str | bytes | Sequence[str | bytes]) -> tuple[bytes, ...]:
    raw = [_raw(key) for key in as_tuple(keys)]
    if not raw or any(len(key) < MIN_KEY_BYTES for key in raw):
        raise ConfigurationError(
            f"context_keys: expected one or more keys of at least {MIN_KEY_BYTES} bytes, got "
            f"{len(raw)} of {sorted(map(len, raw))} bytes. Make one with secrets.token_urlsafe()"
        )
    return tuple(hmac.digest(key, _PURPOSE, "sha256") for key in raw)


def _raw(key: object) -> bytes:
    if isinstance(key, (str, bytes)):
        return key.encode() if isinstance(key, str) else key
    got = type(key).__name__
    raise ConfigurationError(f"context_keys: expected keys as str or bytes, got {got}")


@attrs.frozen
class TokenSigner:
    """Issues and reads context tokens.

    The keys aren't used directly: signing keys are derived from them for this purpose only, so
    you can pass a framework's secret key.

    Attributes:
        max_age_seconds: How long a new token is valid.
    """

    _keys: tuple[bytes, ...] = attrs.field(converter=_derived, repr=False)
    """The first one signs; reading tries all of them, so that keys can be rotated."""
    max_age_seconds: int = THIRTY_DAYS
    _clock: Clock = attrs.field(factory=SystemClock, repr=False, eq=False)

    def issue(self, context: Context) -> str:
        """Return a token for `context`: printable ASCII, safe in URLs and JSON.

        Most tokens have 200 to 300 characters.
        """
        expires_at = int(self._clock.now()) + self.max_age_seconds
        token = self._signed(_packed(context, expires_at))
        if len(token) > MAX_CHARACTERS:  # longer than anything that a browser sends
            rest = RequestContext(consent=context.consent, automated=context.automated)
            token = self._signed(_packed(rest, expires_at))
        return token

    def _signed(self, body: bytes) -> str:
        return f"{_VERSION}.{_encoded(_mac(self._keys[0], body) + body)}"

    def read(self, token: object) -> TokenReading:
        """Restore the context of a token. Never raises.

        Args:
            token: The stored token. Anything else is reported as a fault.
        """
        if not isinstance(token, str) or len(token) > MAX_CHARACTERS:
            return TokenReading(fault="malformed")
        version, _, text = token.strip().partition(".")
        if version != _VERSION:
            return TokenReading(fault="unsupported_version" if text else "malformed")
        sealed = _decoded(text)
        if sealed is None or len(sealed) <= _MAC_BYTES:
            return TokenReading(fault="malformed")
        mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if not any(hmac.compare_digest(mac, _mac(key, body)) for key in self._keys):
            return TokenReading(fault="bad_signature")
        return _opened(body, self._clock.now())


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:_MAC_BYTES]


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes | None:
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if _encoded(data) == text else None


def _packed(context: Context, expires_at: int) -> bytes:
    texts = (
        context.client_ip,
        context.client_user_agent,
        context.event_source_url,
        context.click_id,
        context.click_id_type,
    )
    fields = [
        expires_at,
        *(text if text is None or len(text) <= _LONGEST_TEXT else None for text in texts),
        context.consent.value,
        context.automated,
    ]
    plain = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12, 5, zlib.Z_DEFAULT_STRATEGY, _COMMON_TEXT)
    return deflate.compress(plain.encode(errors="surrogatepass")) + deflate.flush()


def _opened(body: bytes, now: float) -> TokenReading:
    """Read a body with a valid signature, so that :func:`_packed` wrote it."""
    inflate = zlib.decompressobj(-12, _COMMON_TEXT)
    packed = inflate.decompress(body, _MAX_PLAIN_BYTES)
    if not inflate.eof:
        return TokenReading(fault="malformed")
    plain = packed.decode(errors="surrogatepass")
    expires_at, ip, user_agent, url, click_id, click_id_type, consent, automated = json.loads(plain)
    if now >= expires_at:
        return TokenReading(fault="expired")
    context = RequestContext(
        ip, user_agent, url, click_id, click_id_type, Consent(consent), automated
    )
    return TokenReading(context)
