"""``tracker.privacy``: erase and export. ``tracker.contexts``: capture, remember and recall."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import attrs

from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.context import RequestContext, current_context
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.parsing import clean_id
from adcp_tracker.exceptions import AdcpTrackerError, InvalidEventError
from adcp_tracker.orders.reader import to_order
from adcp_tracker.privacy.erasure import ErasureReport, PersonData, erase_copies
from adcp_tracker.privacy.matching import person

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from adcp_tracker.context import Context
    from adcp_tracker.delivery.pipeline import Pipeline
    from adcp_tracker.privacy.context_store import ContextStore, ContextTokens
    from adcp_tracker.privacy.matching import Person, PersonFields


class PrivacyApi:
    """Erase or export a person's data in the queue. Found as ``tracker.privacy``.

    Args:
        pipeline: The queue.
        store: The remembered contexts.
        default_region: The region of phone numbers without a country code.
    """

    def __init__(self, pipeline: Pipeline, store: ContextStore, default_region: str | None) -> None:
        self._pipeline = pipeline
        self._store = store
        self._default_region = default_region

    def erase(
        self, *, follow: bool = True, timeout: float = 10.0, **known: Unpack[PersonFields]
    ) -> ErasureReport:
        """Erase a person from the queue: events on disk and in memory, batches, dead letters.

        Give everything you know about the person, one or several of each. If another process
        uploads, it is asked to hand over for this. You can call it again at any time, and
        should if it was interrupted.

        Args:
            follow: Also erase the other events of the same orders, such as refunds.
            timeout: How long to wait for another process to hand over, in seconds.
            known: What identifies the person; see :class:`~adcp_tracker.PersonFields`.

        Returns:
            What was erased, what could not be reached, and what is left to do.

        Raises:
            InvalidEventError: If an e-mail address or phone number is invalid.
            TypeError: If no identifier is given.
            TimeoutError: If another process did not hand over.
            UnsafeDirectoryError: If a folder or file of the queue is a link, belongs to another
                user, or is open to others. What was erased before stays erased.
            OSError: If the disk refuses the write.
        """
        whom = self._person(known)
        unreached = self._pipeline.ship_all(timeout)

        def erase_shipped(person: Person) -> None:
            self._pipeline.run(lambda leader: erase_copies(leader, person), timeout)

        copies = erase_shipped if self._pipeline.is_relay else None
        data = PersonData(self._pipeline.buffer, self._store, whom, follow, copies)
        report = ErasureReport.sum(self._pipeline.run_on_all(data.erase, timeout))
        report = attrs.evolve(report, unreached=unreached)
        logger.info(
            "person.erased",
            events=report.events,
            dead_letters=report.dead_letters,
            complete=report.is_complete,
        )
        return report

    def export(
        self, *, follow: bool = True, timeout: float = 10.0, **known: Unpack[PersonFields]
    ) -> list[dict[str, object]]:
        """List what the queue holds about a person; takes the arguments of :meth:`erase`.

        Returns:
            Events, dead letters and remembered contexts as JSON-compatible dicts, each with
            its ``kind``, ``where`` it is stored, and how far it has got. One of the kind
            ``undecrypted`` counts the events that can't be read because their key is missing.

        Raises:
            InvalidEventError: If an e-mail address or phone number is invalid.
            TypeError: If no identifier is given.
            TimeoutError: If another process did not hand over.
            UnsafeDirectoryError: If a folder or file of the queue is a link, belongs to another
                user, or is open to others.
        """
        whom = self._person(known)
        self._pipeline.ship_all(timeout)
        data = PersonData(self._pipeline.buffer, self._store, whom, follow)
        found = self._pipeline.run_on_all(data.export, timeout)
        return [each for items in found for each in items]

    def _person(self, known: PersonFields) -> Person:
        region = known.get("default_region") or self._default_region
        fields: PersonFields = {**known, "default_region": region}
        return person(**fields)


class ContextApi:
    """Keep a request's context for a purchase to come. Found as ``tracker.contexts``.

    Args:
        tokens: Issues and reads context tokens.
        store: The remembered contexts.
        default_region: The region of phone numbers without a country code.
    """

    def __init__(
        self, tokens: ContextTokens, store: ContextStore, default_region: str | None
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._default_region = default_region

    def capture(self, context: Context | None = None) -> str:
        """Return the current context as a small signed token, for a purchase to come.

        Store it with the order, or hand it to the task that will track the purchase, and pass
        it to ``track_purchase(order, context=token)``. It restores the shopper's address,
        browser, page, click id and consent for 30 days. It is signed but not encrypted, so
        keep it where you may keep personal data.

        Args:
            context: A context to use instead of the current one.

        Returns:
            Printable ASCII, usually 200 to 300 characters; empty outside of a request.
        """
        return self._tokens.issue(current_context() if context is None else context)

    def remember(
        self,
        order_id: object,
        *,
        email: str | None = None,
        phone: str | None = None,
        context: Context | None = None,
    ) -> bool:
        """Keep the current context in the queue directory, under the order's id.

        ``track_purchase`` and ``track_refund`` find it by themselves when they are called
        outside of a request, in any process with this directory, for 30 days.

        Args:
            order_id: The order, or its id as the purchase will have it.
            email: The shopper's e-mail address, so that ``tracker.privacy.erase(email=…)``
                finds the context too. Only a keyed hash is kept.
            phone: The shopper's phone number, for the same purpose.
            context: A context to use instead of the current one.

        Returns:
            Whether there was a context and it is kept.
        """
        context = current_context() if context is None else context
        named = None if context is None else _order_id(order_id)
        if context is None or named is None:
            return False
        return self._store.remember(
            named,
            context,
            hashed_email=_hashed(hash_email, email),
            hashed_phone=_hashed(lambda raw: hash_phone(raw, self._default_region), phone),
        )

    def recall(self, order_id: object) -> RequestContext:
        """Return what was remembered for an order, or an empty context.

        For a view that a payment provider calls. The current request is the provider's, so
        ``track_purchase(order, context=tracker.contexts.recall(order))`` keeps it out.

        Args:
            order_id: The order, or its id.
        """
        return self._store.recall(_order_id(order_id)) or RequestContext()


def _order_id(order: object) -> str | None:
    """Return the id that the purchase of an order will have; anything else is an id itself."""
    try:
        named: object = order
        if not isinstance(order, (str, int, UUID)):
            with suppress(AdcpTrackerError):
                named = to_order(order).order_id
        return None if named is None else clean_id(str(named))
    except Exception as error:  # noqa: BLE001 - nothing may break a checkout
        reraise_interruption(error)
        logger.warning("context.without_order", error=type(error).__name__)
        return None


def _hashed(hash_of: Callable[[str], str], raw: str | None) -> str | None:
    try:
        return hash_of(raw) if raw else None
    except InvalidEventError as error:
        # The order matters more than finding its context by this.
        logger.warning("context.without_owner", errors=[str(each) for each in error.errors])
        return None
