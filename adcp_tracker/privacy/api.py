"""What a tracker does with a person's data: erase it, list it, and keep it for later."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from adcp_tracker._logging import logger
from adcp_tracker.context import RequestContext, current_context
from adcp_tracker.deliverymethods import DeliveryMethods
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.reader import to_order
from adcp_tracker.privacy.context_store import ContextStore, ContextTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from adcp_tracker._clock import Clock
    from adcp_tracker.context import Context
    from adcp_tracker.privacy.erasure import ErasureReport
    from adcp_tracker.privacy.matching import Uid


class PrivacyMethods(DeliveryMethods):
    """Handles the data of persons in a tracker's queue."""

    _default_region: str | None
    _restorer: ContextTokens

    def _remember_with(self, keys: Sequence[str | bytes], clock: Clock) -> None:
        """Make ready to keep contexts, signed with `keys` or the directory's own."""
        self._restorer = ContextTokens(self._directory, keys, clock)
        self._memory = ContextStore(self._directory, self._restorer, clock)

    def forget(  # noqa: PLR0913 - what a person is known by, each by its name
        self,
        *,
        email: str | Iterable[str] | None = None,
        phone: str | Iterable[str] | None = None,
        uid: Uid | Iterable[Uid] | None = None,
        click_id: str | Iterable[str] | None = None,
        order_id: str | Iterable[str] | None = None,
        event_id: str | Iterable[str] | None = None,
        default_region: str | None = None,
        follow: bool = True,
        timeout: float = 10.0,
    ) -> ErasureReport:
        """Erase a person from the queue: events on disk and in memory, batches, dead letters.

        Give all that is known of them, one or several of each. Where another process
        uploads, it is asked to step down for this. May be called again at any time,
        and should be if it was interrupted.

        Args:
            email: Their address, raw or hashed.
            phone: Their number, raw or hashed.
            uid: A universal id: its value for any type, or a :class:`.UniversalId`.
            click_id: A click that brought them.
            order_id: An order of theirs.
            event_id: An event of theirs.
            default_region: Where phone numbers without a plus are; left out, the tracker's.
            follow: Erase as well what shares an order, a click, a phone number or a
                universal id with these events and names nobody else.
            timeout: How long to wait for another process to hand over, in seconds.

        Returns:
            What was erased, what could not be reached, and what is left to do.

        Raises:
            InvalidEventError: If an e-mail address or phone number is none.
            TypeError: If nothing is given.
            TimeoutError: If another process did not hand over.
            UnsafeDirectoryError: If a folder or file of the queue is a link, another user's, or
                open to others; what was erased by then stays erased.
            OSError: If the disk does not take it.
        """
        from adcp_tracker.privacy.erasure import Erasure  # noqa: PLC0415 - rarely needed
        from adcp_tracker.privacy.matching import person  # noqa: PLC0415 - likewise

        whom = person(
            email=email,
            phone=phone,
            uid=uid,
            click_id=click_id,
            order_id=order_id,
            event_id=event_id,
            default_region=default_region or self._default_region,
        )
        erasure = Erasure(self._directory, self._buffer, self._memory, whom, follow)
        forgotten = self._errand(erasure, timeout)
        logger.info(
            "person.forgotten",
            events=forgotten.events,
            dead_letters=forgotten.dead_letters,
            complete=forgotten.is_complete,
        )
        return forgotten

    def export(  # noqa: PLR0913 - what a person is known by, each by its name
        self,
        *,
        email: str | Iterable[str] | None = None,
        phone: str | Iterable[str] | None = None,
        uid: Uid | Iterable[Uid] | None = None,
        click_id: str | Iterable[str] | None = None,
        order_id: str | Iterable[str] | None = None,
        event_id: str | Iterable[str] | None = None,
        default_region: str | None = None,
        follow: bool = True,
        timeout: float = 10.0,
    ) -> list[dict[str, object]]:
        """List what the queue holds of a person; takes what :meth:`forget` takes.

        Returns:
            Events, dead letters and remembered contexts as JSON takes them, each with
            what ``kind`` it is, ``where`` it is, and how far it has got. One of the kind
            ``undecrypted`` says how many events could not be read, for want of their key.

        Raises:
            InvalidEventError: If an e-mail address or phone number is none.
            TypeError: If nothing is given.
            TimeoutError: If another process did not hand over.
            UnsafeDirectoryError: If a folder or file of the queue is a link, another user's, or
                open to others.
        """
        from adcp_tracker.privacy.export import Export  # noqa: PLC0415 - rarely needed
        from adcp_tracker.privacy.matching import person  # noqa: PLC0415 - likewise

        whom = person(
            email=email,
            phone=phone,
            uid=uid,
            click_id=click_id,
            order_id=order_id,
            event_id=event_id,
            default_region=default_region or self._default_region,
        )
        return self._errand(Export(self._buffer, self._memory, whom, follow), timeout)

    def capture_context(self, context: Context | None = None) -> str:
        """Return the current context as a small signed token, for a purchase still to come.

        Store it with the order, or hand it to the task that will track it, and give it to
        ``track_purchase(order, context=token)``. It restores the shopper's address, browser,
        page, click id and consent for 30 days. It is signed and not encrypted, so keep it
        where personal data may be kept.

        Args:
            context: Another context than the current one.

        Returns:
            Printable ASCII, 200 to 300 characters as a rule; empty outside of a request.
        """
        return self._restorer.issue(current_context() if context is None else context)

    def remember(
        self,
        order_id: object,
        *,
        email: str | None = None,
        phone: str | None = None,
        context: Context | None = None,
    ) -> bool:
        """Keep the current context in the queue directory, to be found by the order's id.

        ``track_purchase`` and ``track_refund`` find it by themselves when they are called
        outside of any request, in any process with this directory, for 30 days.

        Args:
            order_id: The order, or its id as the purchase will name it.
            email: Whose it is, so that :meth:`forget` finds it by the address as well.
                Only a keyed hash is kept.
            phone: The same, by the number.
            context: Another context than the current one.

        Returns:
            Whether there was a context, and it is kept.
        """
        context = current_context() if context is None else context
        named = None if context is None else _order_id(order_id)
        if context is None or named is None:
            return False
        return self._memory.remember(
            named,
            context,
            hashed_email=_hashed(hash_email, email),
            hashed_phone=_hashed(lambda raw: hash_phone(raw, self._default_region), phone),
        )

    def recall(self, order_id: object) -> RequestContext:
        """Return what was remembered for an order, or a context that tells nothing.

        For a view that a payment provider calls: the current request is the provider's,
        so ``track_purchase(order, context=tracker.recall(order))`` keeps it out.

        Args:
            order_id: The order, or its id.
        """
        return self._restored(None, _order_id(order_id)) or RequestContext()

    def _restored(self, token: str | None, order_id: object = None) -> RequestContext | None:
        """Return the context of a token, or without one what is remembered of an order."""
        if token is not None:
            return self._restorer.restore(token)
        return None if order_id is None else self._memory.recall(str(order_id))


def _order_id(order: object) -> str | None:
    """Return the id that the purchase of an order will have; what is no order is one itself."""
    if isinstance(order, (str, int, UUID)):
        return str(order)
    try:
        named: object = to_order(order).order_id
    except Exception:  # noqa: BLE001 - nothing may break a checkout, nor a hook of the shop's own
        return str(order)
    return None if named is None else str(named)


def _hashed(hash_of: Callable[[str], str], raw: str | None) -> str | None:
    try:
        return hash_of(raw) if raw else None
    except InvalidEventError as error:
        # The order is more important than its being found by this.
        logger.warning("context.without_owner", faults=[str(each) for each in error.errors])
        return None
