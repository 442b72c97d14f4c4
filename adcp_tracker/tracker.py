"""The tracker: what a shop's code calls."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from adcp_tracker import _process
from adcp_tracker._clock import SystemClock
from adcp_tracker._logging import logger
from adcp_tracker.context import current_context
from adcp_tracker.delivery.flusher import Flusher
from adcp_tracker.delivery.retry import RetryPolicy
from adcp_tracker.delivery.uploader import Setting
from adcp_tracker.eventmethods import EventMethods
from adcp_tracker.events.builder import build_event, derive_event_id
from adcp_tracker.events.codec import encode
from adcp_tracker.events.model import EventType
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.encryption import encryption_from_keys, journal_factory
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.writer import segment_bytes
from adcp_tracker.orders.events import plain_purchase_event, purchase_event, refund_event, to_order
from adcp_tracker.outbox.storage import open_outbox
from adcp_tracker.privacy.api import PrivacyMethods
from adcp_tracker.privacy.context_store import fill_from_context
from adcp_tracker.recorder import Acceptance, name_of
from adcp_tracker.settings import (
    Settings,
    destinations_from_env,
    distinct_destinations,
    settings_from_env,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from typing_extensions import Self, Unpack

    from adcp_tracker._clock import Clock
    from adcp_tracker.context import Context
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import EventSource
    from adcp_tracker.events.builder import EventFields
    from adcp_tracker.events.event import Event
    from adcp_tracker.events.policy import OnDenied
    from adcp_tracker.events.rejected import RejectedEvent
    from adcp_tracker.outbox.storage import Outbox
    from adcp_tracker.settings import Durability, Uploader, WhenFull

_UTC: Final = timezone.utc


class Tracker(Acceptance, PrivacyMethods, EventMethods):
    """Takes events, keeps them on disk, and delivers each to every destination.

    A call returns once its event is on disk. A background thread of one process per
    directory delivers them; nothing on a request's path waits for it.

    Args:
        destinations: Where events go. While there is none, they wait on disk.
        directory: Where they wait: a directory of one user, on a local disk.
        durability: ``process`` survives the death of the process; ``power`` survives a
            power cut too, and costs a sync of the disk per call.
        flush_interval: The most seconds between an event and its upload.
        max_bytes: How much the directory may hold; ``None`` for no bound.
        when_full: ``drop_new`` counts and drops new events then; ``raise`` raises.
        uploader: ``thread`` lets one process upload in a thread of its own; ``external``
            leaves it to ``adcp-tracker worker``.
        strict: Raise :class:`.InvalidEventError` instead of logging and keeping a dead letter.
        default_region: Where phone numbers without a plus are, as in ``GB``.
        test_event_code: Marks every event as a test; then none of them is a conversion.
        shutdown_timeout: The most seconds to deliver in when the process ends.
        handle_sigterm: Flush on SIGTERM, before the host's own handler.
        on_denied: Without the shopper's consent, ``drop`` an event or ``strip`` it of
            everything that tells who the shopper is.
        on_drop: Called with the reason of each event that is let go; what it raises is logged.
        context_keys: What signs shoppers' contexts, the first for new ones; left out, a key
            that the directory keeps. Needed where several machines share orders.
        encryption_keys: What seals events on disk, each key 32 bytes, as they are or as
            URL-safe base64. The first seals; all of them read, so that keys can be rotated.
        sources: What the destinations' event sources take, where that is to be known without
            asking; else it is what the last sync or list learned.
        hold: Offered each write; it returns whether it will make it later, as when a
            database transaction has to be committed first.
        clock: Where the queue reads the time.
        policy: When to try again.
        outbox: Opens another outbox than the default one.

    Raises:
        ConfigurationError: If a setting cannot be right; says which, and what is expected.
    """

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self,
        destinations: Iterable[Destination] = (),
        *,
        directory: str | os.PathLike[str],
        durability: Durability = "process",
        flush_interval: float = 1.0,
        max_bytes: int | None = 2 * 1024 * 1024 * 1024,
        when_full: WhenFull = "drop_new",
        uploader: Uploader = "thread",
        strict: bool = False,
        default_region: str | None = None,
        test_event_code: str | None = None,
        shutdown_timeout: float = 2.0,
        handle_sigterm: bool = True,
        on_denied: OnDenied = "drop",
        on_drop: Callable[[str], None] | None = None,
        context_keys: str | bytes | Sequence[str | bytes] = (),
        encryption_keys: str | bytes | Sequence[str | bytes] = (),
        sources: Iterable[EventSource] = (),
        hold: Callable[[Callable[[], None]], bool] | None = None,
        clock: Clock | None = None,
        policy: RetryPolicy | None = None,
        outbox: Callable[[QueueDirectory], Outbox] = open_outbox,
    ) -> None:
        self.settings = Settings(
            directory=directory,
            durability=durability,
            flush_interval=flush_interval,
            max_bytes=max_bytes,
            when_full=when_full,
            uploader=uploader,
            strict=strict,
            default_region=default_region,
            test_event_code=test_event_code,
            shutdown_timeout=shutdown_timeout,
            handle_sigterm=handle_sigterm,
            on_denied=on_denied,
            context_keys=context_keys,
            encryption_keys=encryption_keys,
        )
        self.destinations = distinct_destinations(destinations)
        self.shutdown_timeout = shutdown_timeout
        self._clock = clock or SystemClock()
        self._directory = QueueDirectory(self.settings.directory)
        self._remember_with(self.settings.context_keys, self._clock)
        self._know_sources(sources)
        self._hold = hold
        self._default_region = default_region
        self._test_event_code = test_event_code
        self._encryption = encryption_from_keys(self.settings.encryption_keys)
        setting = Setting(
            self._directory,
            self.destinations,
            policy or RetryPolicy(random.random),
            self._clock,
            outbox,
            flush_interval,
            self._encryption,
        )
        roster = setting.roster
        self._journal = journal_factory(self._encryption)(
            self._directory,
            max_bytes=max_bytes,
            segment_bytes=segment_bytes(max_bytes),
            synchronous=durability == "power",
            on_begin=roster.secure_own if durability == "power" else roster.enter_own,
            on_growth=self._grown,
            on_fork=self.after_unseen_fork,
            clock=self._clock,
        )
        self._buffer = WriteBuffer(
            self._journal,
            self._clock,
            raise_when_full=when_full == "raise",
            on_drop=on_drop,
        )
        self._flusher = Flusher(setting, self._keep_house)
        if self._uploads:
            _load_what_uploading_takes()
        # A tracker without a thread of its own, or with one that runs, need not start it.
        self._started = not self._uploads
        self._closed = False
        _process.watch(self, sigterm=handle_sigterm)
        if uploader == "thread" and not _process.threads_run():
            logger.warning(
                "flusher.no_threads",
                uploader="external",
                remedy="start uWSGI with --enable-threads, or run adcp-tracker worker",
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make a tracker of what the ``ADCP_*`` environment variables say.

        Raises:
            ConfigurationError: If a variable is missing, misspelt or unreadable.
        """
        settings = settings_from_env(environ)
        if "directory" not in settings:
            raise ConfigurationError("ADCP_DIRECTORY: expected a directory for events, got nothing")
        return cls(destinations_from_env(environ), **settings)  # type: ignore[arg-type]  # checked

    def __repr__(self) -> str:
        names = [destination.name for destination in self.destinations]
        return f"Tracker(directory={self.settings.directory!r}, destinations={names!r})"

    def track_purchase(
        self,
        order: object,
        *,
        context: Context | str | None = None,
        default_region: str | None = None,
        test_event_code: str | None = None,
        **details: Unpack[EventFields],
    ) -> Event | RejectedEvent:
        """Track the purchase of an order. The same order always has the same event id.

        Args:
            order: An :class:`.Order`, or any mapping or object with the usual names.
            context: The request it came with, or the token of one; left out, the current one,
                and outside of any, what :meth:`remember` kept for the order.
            default_region: Where a phone number without a plus is, as in ``GB``; left out,
                the tracker's.
            test_event_code: Marks this event as a test.
            **details: Anything an event has, instead of what the order says.

        Raises:
            InvalidEventError: If the event breaks a rule, and the tracker is strict.
            QueueFullError: If the queue is full, and the tracker was told to raise then.
        """
        if context is None:
            context = current_context()
        try:
            placed = to_order(order)
            if context is None:
                if self._memory.maybe_nonempty():
                    context = self._restored(None, placed.order_id)
            elif isinstance(context, str):
                context = self._restored(context, placed.order_id)
            now, region = datetime.now(_UTC), default_region or self._default_region
            if details:
                event = purchase_event(
                    placed, now=now, context=context, default_region=region, **details
                )
            else:
                event = plain_purchase_event(placed, now, context, region)
            body = event.json
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self._refuse(error, EventType.PURCHASE)
        return self._accept(event, body, context, test_event_code)

    def track_refund(  # noqa: PLR0913 - a refund's own facts, each by its name
        self,
        order: object,
        *,
        refund_id: str | None = None,
        amount: Decimal | int | str | None = None,
        items: Sequence[object] | None = None,
        context: Context | str | None = None,
        default_region: str | None = None,
        test_event_code: str | None = None,
        **details: Unpack[EventFields],
    ) -> Event | RejectedEvent:
        """Track the refund of an order, of all of it or of a part; its value is positive.

        Args:
            order: The refunded order.
            refund_id: Which refund of the order. Give it wherever there is one: without
                it, two refunds of the same amount and items count as one.
            amount: What is paid back; left out, the price of `items`, or all of it.
            items: The refunded lines.
            context: The request it came with, which does not tell who the shopper is; or
                the token of the shopper's own, which does.
            default_region: Where a phone number without a plus is, as in ``GB``; left out,
                the tracker's.
            test_event_code: Marks this event as a test.
            **details: Anything an event has, instead of what the order says.

        Raises:
            InvalidEventError: If the event breaks a rule, and the tracker is strict.
            QueueFullError: If the queue is full, and the tracker was told to raise then.
        """
        try:
            placed = to_order(order)
            if isinstance(context, str) or (context is None and current_context() is None):
                context = self._restored(context, placed.order_id)
                placed = fill_from_context(placed, context)
            event = refund_event(
                placed,
                now=datetime.now(_UTC),
                refund_id=refund_id,
                amount=amount,
                items=items,
                default_region=default_region or self._default_region,
                **details,
            )
            body = encode(event)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self._refuse(error, EventType.REFUND)
        return self._accept(event, body, context, test_event_code)

    def track(
        self,
        event_type: EventType | str,
        *,
        key: object = None,
        context: Context | str | None = None,
        default_region: str | None = None,
        test_event_code: str | None = None,
        **details: Unpack[EventFields],
    ) -> Event | RejectedEvent:
        """Track an event of any type.

        Args:
            event_type: One of the protocol's types.
            key: What makes this event itself, such as a subscription's id: the same key
                always makes the same event id. Not needed with an ``event_id``.
            context: The request it came with, or the token of one; left out, the current one.
            default_region: Where a phone number without a plus is, as in ``GB``; left out,
                the tracker's.
            test_event_code: Marks this event as a test.
            **details: Anything else an event has.

        Raises:
            InvalidEventError: If the event breaks a rule, and the tracker is strict.
            QueueFullError: If the queue is full, and the tracker was told to raise then.
        """
        try:
            if context is None:
                context = current_context()
            elif isinstance(context, str):
                context = self._restored(context)
            if details.get("event_id") is None and key is not None:
                details["event_id"] = derive_event_id(name_of(event_type), key)
            elif details.get("event_id") is None:
                logger.debug("event.random_id", event_type=name_of(event_type))
            event = build_event(
                event_type,
                now=datetime.now(_UTC),
                context=context,
                default_region=default_region or self._default_region,
                **details,
            )
            body = encode(event)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self._refuse(error, event_type)
        return self._accept(event, body, context, test_event_code)


def _load_what_uploading_takes() -> None:
    """Import now, in whoever makes the tracker, what the thread would import later.

    A fork in the middle of a thread's import leaves the child waiting for it for ever.
    """
    import structlog  # noqa: F401, PLC0415 - see above

    import adcp_tracker.outbox._diskcache  # noqa: F401, PLC0415 - see above
