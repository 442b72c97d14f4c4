"""A shopper's context for a purchase that comes without the shopper."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.context import Consent, RequestContext, without_identifiers
from adcp_tracker.exceptions import AdcpTrackerError
from adcp_tracker.log import Occasionally
from adcp_tracker.privacy.contextkeys import directory_key
from adcp_tracker.web.contexttoken import ContextTokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.clock import Clock
    from adcp_tracker.context import Context
    from adcp_tracker.orders.orderlike import Order
    from adcp_tracker.queue.directory import QueueDirectory

_NAMING = b"adcp_tracker remembered orders, version 1"
_NAME_BYTES = 16


@attrs.frozen
class Keys:
    """What signs contexts, and what hides the names they are remembered under.

    Attributes:
        tokens: Makes and reads tokens.
        naming: Keys for names, the first for new ones.
    """

    tokens: ContextTokens
    naming: tuple[bytes, ...] = attrs.field(repr=False)

    def names(self, what: str, value: str) -> list[str]:
        """Return the names of something personal, the first for new ones.

        Args:
            what: Which kind of thing, so that no two kinds share a name.
            value: The thing.
        """
        message = f"{what}\0{value}".encode("utf-8", "surrogatepass")
        return [hmac.digest(key, message, "sha256")[:_NAME_BYTES].hex() for key in self.naming]


class Restorer:
    """Makes tokens of contexts, and contexts of tokens. Never in a checkout's way.

    Args:
        directory: Where the key is kept if none is given.
        keys: The site's own keys, the first for new tokens; empty for the directory's.
        clock: Where the time is read.

    Raises:
        ConfigurationError: If a key is too short.
    """

    def __init__(
        self, directory: QueueDirectory, keys: Sequence[str | bytes], clock: Clock
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._keys = _keys(keys, clock) if keys else None
        self.occasionally = Occasionally(clock)

    @property
    def keys(self) -> Keys:
        """The keys, read or made when they are first needed.

        Raises:
            ConfigurationError: If the directory's key is damaged.
            OSError: If it can be neither read nor made.
        """
        if self._keys is None:
            self._keys = _keys((directory_key(self._directory),), self._clock)
        return self._keys

    def token(self, context: Context | None) -> str:
        """Make a token of a context; an empty text if there is nothing to carry.

        Of a shopper who denies consent, it carries that, and nothing to tell them by.
        """
        if context is None:
            return ""
        try:
            return self.keys.tokens.issue(permitted(context))
        except (AdcpTrackerError, OSError) as error:
            self.occasionally.warning("context.not_captured", error=str(error))
            return ""

    def restored(self, token: str) -> RequestContext | None:
        """Return the context of a token; ``None``, and a line in the log, if it has none."""
        if not token:
            return None
        try:
            reading = self.keys.tokens.read(token)
        except (AdcpTrackerError, OSError) as error:
            self.occasionally.warning("context.not_restored", reason="key", error=str(error))
            return None
        if reading.fault is not None:
            self.occasionally.warning("context.not_restored", reason=reading.fault)
        return reading.context


def permitted(context: Context) -> Context:
    """Return what may be kept of a context."""
    return without_identifiers(context) if context.consent is Consent.DENIED else context


def with_shopper(order: Order, context: Context | None) -> Order:
    """Add to an order what the shopper's own context tells of the shopper.

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


def _keys(given: Sequence[str | bytes], clock: Clock) -> Keys:
    tokens = ContextTokens(given, clock=clock)
    raw = [key.encode() if isinstance(key, str) else key for key in given]
    return Keys(tokens, tuple(hmac.digest(key, _NAMING, "sha256") for key in raw))
