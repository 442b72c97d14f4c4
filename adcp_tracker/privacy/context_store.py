"""Contexts for a purchase to come: as signed tokens, and remembered by the order's id."""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker._formatting import as_tuple
from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker._platform import SystemClock, reraise_interruption
from adcp_tracker.context import (
    Consent,
    RequestContext,
    current_context,
    read_context,
    without_identifiers,
)
from adcp_tracker.events.parsing import clean_id
from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from adcp_tracker._platform import Clock
    from adcp_tracker.context import Context
    from adcp_tracker.orders.reader import Order
    from adcp_tracker.outbox.storage import Contexts
    from adcp_tracker.privacy.matching import Person


MOST_REMEMBERED = 100_000
"""How many orders are remembered; the oldest make room."""

_SWEEP_SECONDS = 3600.0
_LOOK_AGAIN_SECONDS = 0.1
_ORDER, _EMAIL, _PHONE = "order", "email", "phone"
_OTHER_KEYS = "bad_signature"
_NAMING = b"adcp_tracker remembered orders, version 1"
_NAME_BYTES = 16


@attrs.frozen(repr=False)
class StoredContext:
    """One order's context.

    Attributes:
        name: The hidden name it is kept under.
        context: The context; ``None`` if it can't be read.
        fault: Why it can't.
        owners: Hidden names of the shopper's e-mail address and phone number.
    """

    name: str
    context: RequestContext | None
    fault: str | None
    owners: frozenset[str]


class ContextTokens:
    """Issues context tokens and restores contexts from them. Never raises for a caller.

    Args:
        contexts: Where the key is kept if none is given.
        keys: The site's own keys, the first for new tokens; empty for the queue's.
        clock: Where the time is read.

    Raises:
        ConfigurationError: If a key is too short.
    """

    def __init__(self, contexts: Contexts, keys: Sequence[str | bytes], clock: Clock) -> None:
        self._contexts = contexts
        self._clock = clock
        self._signer: TokenSigner | None = None
        self._naming: tuple[bytes, ...] = ()
        if keys:
            self._use(keys)
        self.throttled_log = ThrottledLogger(clock)

    def _use(self, keys: Sequence[str | bytes]) -> TokenSigner:
        self._signer = TokenSigner(keys, clock=self._clock)
        self._naming = tuple(hmac.digest(_raw(key), _NAMING, "sha256") for key in keys)
        return self._signer

    @property
    def signer(self) -> TokenSigner:
        """What signs tokens, with the queue's own key if the site gives none.

        Raises:
            ConfigurationError: If the queue's key is damaged.
            OSError: If it can't be read or made.
        """
        return self._signer or self._use((self._contexts.key(),))

    def hashed_names(self, kind: str, value: str) -> list[str]:
        """Return the hidden names of something personal, one per key, the first for new ones.

        Args:
            kind: What kind of thing it is, so that no two kinds share a name.
            value: The thing.
        """
        if not self._naming:
            self._use((self._contexts.key(),))
        message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return [hmac.digest(key, message, "sha256")[:_NAME_BYTES].hex() for key in self._naming]

    def issue(self, context: Context | None) -> str:
        """Make a token of a context; an empty text if there is no context.

        If the shopper denied consent, the token says so and holds no identifier.
        """
        if context is None:
            return ""
        try:
            return self.signer.issue(strip_if_denied(read_context(context)))
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            self.warn("context.not_captured", error)
            return ""

    def restore(self, token: str) -> RequestContext | None:
        """Return the context of a token; ``None``, and a log entry, if it restores nothing."""
        if not token:
            return None
        try:
            reading = self.signer.read(token)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            self.warn("context.not_restored", error, reason="key")
            return None
        if reading.fault is not None:
            self.throttled_log.warning("context.not_restored", reason=reading.fault)
        return reading.context

    def warn(self, entry: str, error: Exception, **fields: str) -> None:
        """Log an error that loses a context and nothing else; its message only if it is ours."""
        reraise_interruption(error)
        is_ours = isinstance(error, (AdcpTrackerError, OSError))
        told = str(error) if is_ours else type(error).__name__
        self.throttled_log.warning(entry, error=told, **fields)


class ContextStore:
    """Remembers contexts by order id, for all processes of a queue.

    Args:
        contexts: Where they are kept.
        tokens: Issues and reads their tokens.
        clock: Where the time is read.
        most: How many are kept.

    Attributes:
        nonempty: Whether any was found or kept; read by each purchase outside of a request.
        look_again_at: When to look whether another process has remembered the first one.
        monotonic: Where that time is read.
    """

    def __init__(
        self,
        contexts: Contexts,
        tokens: ContextTokens,
        clock: Clock,
        *,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._contexts = contexts
        self._tokens = tokens
        self.monotonic: Callable[[], float] = clock.monotonic
        self._most = most
        self.nonempty = False
        self.look_again_at = float("-inf")
        self._swept_at = float("-inf")

    def remember(
        self,
        order_id: str,
        context: Context,
        *,
        hashed_email: str | None = None,
        hashed_phone: str | None = None,
    ) -> bool:
        """Keep a context under an order's id, in place of what was kept before.

        Args:
            order_id: The order.
            context: What to keep.
            hashed_email: Whose it is, so that erasing this person finds it.
            hashed_phone: The same.

        Returns:
            Whether it is kept; if not, the log says why.
        """
        token = self._tokens.issue(context)
        if not token:
            return False
        owners = ((_EMAIL, hashed_email), (_PHONE, hashed_phone))
        try:
            names = [self._name(kind, value) for kind, value in owners if value is not None]
            data = "\n".join([token, *names]).encode()
            self._contexts.write(self._name(_ORDER, order_id), data)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            self._tokens.warn("context.not_remembered", error)
            return False
        self.nonempty = True
        return True

    def recall(self, order_id: object) -> RequestContext | None:
        """Return the context that was remembered for an order, in whichever process."""
        if order_id is None or not self.maybe_nonempty():
            return None
        try:
            for name in self._tokens.hashed_names(_ORDER, clean_id(str(order_id))):
                data = self._contexts.read(name)
                if data is not None:
                    return self._tokens.restore(_lines(data)[0])
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            self._tokens.warn("context.not_recalled", error)
        return None

    def read(self, given: Context | str, *, strict: bool) -> RequestContext | None:
        """Return the context that is given, itself or by its token.

        What is neither costs no event outside strict: it is logged and left out. The current
        request may not be the shopper's, so only its consent is taken.

        Raises:
            ConfigurationError: If it is neither, and the tracker is strict.
        """
        if isinstance(given, str):
            return self._tokens.restore(given)
        try:
            return read_context(given)
        except ConfigurationError as error:
            if strict:
                raise
            self._tokens.warn("context.not_restored", error)
        current = current_context()
        if current is None or current is given:
            return None
        known = self.read(current, strict=False)
        return known and RequestContext(consent=known.consent)

    def of_person(self, person: Person) -> list[StoredContext]:
        """Return what is remembered of a person, and everything that can't be read.

        Raises:
            UnsafeDirectoryError: If the folder or a file of it is a link, another user's, or
                open to others.
        """
        if not self._contexts.is_there():
            return []
        hashed = self._tokens.hashed_names
        names = {name for each in person.order_ids for name in hashed(_ORDER, each)}
        owners = {name for each in person.emails for name in hashed(_EMAIL, each)}
        owners |= {name for each in person.phones for name in hashed(_PHONE, each)}
        return [
            each
            for each in self._all()
            if each.context is None
            or each.name in names
            or each.owners & owners
            or each.context.click_id in person.click_ids
        ]

    def delete(self, remembered: Iterable[StoredContext]) -> tuple[int, int]:
        """Delete contexts.

        Returns:
            How many were deleted, and how many stay because other keys signed them.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
        """
        known = list(remembered)
        ours = [each.name for each in known if each.fault != _OTHER_KEYS]
        self._contexts.remove(ours)
        return len(ours), len(known) - len(ours)

    def sweep(self) -> None:
        """Delete what has expired, about once an hour, and the oldest if there are too many."""
        now = self.monotonic()
        if now - self._swept_at < _SWEEP_SECONDS or not self.maybe_nonempty():
            return
        self._swept_at = now
        try:
            is_full = self._contexts.remove_old(THIRTY_DAYS, self._most)
        except OSError as error:
            self._tokens.throttled_log.warning("contexts.not_swept", error=str(error))
            return
        if is_full:
            logger.warning(
                "remembered.full",
                kept=self._most,
                remedy="store the token of tracker.contexts.capture() with the order",
            )

    def maybe_nonempty(self) -> bool:
        """Return whether anything may be remembered, mostly without a system call."""
        if not self.nonempty:
            now = self.monotonic()
            if now >= self.look_again_at:
                self.look_again_at = now + _LOOK_AGAIN_SECONDS
                self.nonempty = self._contexts.is_there()
        return self.nonempty

    def _all(self) -> Iterator[StoredContext]:
        signer = self._tokens.signer
        for name, data in self._contexts:
            token, *owners = _lines(data)
            reading = signer.read(token)
            yield StoredContext(name, reading.context, reading.fault, frozenset(owners))

    def _name(self, kind: str, value: str) -> str:
        return self._tokens.hashed_names(kind, value)[0]


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").split("\n")


def strip_if_denied(context: Context) -> Context:
    """Return a context, without the shopper's identifiers if they denied consent."""
    return without_identifiers(context) if context.consent is Consent.DENIED else context


def fill_from_context(order: Order, context: Context | None) -> Order:
    """Add to an order what the shopper's own context says about the shopper.

    For a refund, which takes nothing from the request it is made in: that is the staff's.
    """
    if context is None or context.consent is Consent.DENIED:
        return order
    clicked: Order | Context = order if order.click_id else context
    return attrs.evolve(
        order,
        client_ip=order.client_ip or context.client_ip,
        client_user_agent=order.client_user_agent or context.client_user_agent,
        click_id=clicked.click_id,
        click_id_type=clicked.click_id_type,
    )


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
        signed = _decoded(text)
        if signed is None or len(signed) <= _MAC_BYTES:
            return TokenReading(fault="malformed")
        mac, body = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
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
