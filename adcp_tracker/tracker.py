"""The tracker: a facade over the recorder, the pipeline and the APIs behind it."""

from __future__ import annotations

import random
import weakref
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, cast

from adcp_tracker import _development
from adcp_tracker._platform import SystemClock
from adcp_tracker.context import DeferredContext, RequestContext, current_context
from adcp_tracker.delivery.api import DeadLetterApi, remove_destination
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.pipeline import Pipeline
from adcp_tracker.delivery.uploader import UploaderConfig
from adcp_tracker.event_sources.api import EventSourceApi
from adcp_tracker.event_sources.rules import EventRules
from adcp_tracker.events.builder import build_event, keyed_id, tame, with_currency
from adcp_tracker.events.model import EventType
from adcp_tracker.events.parsing import clean_id, is_absent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.hooks import Hooks
from adcp_tracker.journal.encryption import encryption_from_keys
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.orders.events import plain_purchase_event, purchase_event, refund_event
from adcp_tracker.orders.mapping import explained_kinds, log_first
from adcp_tracker.orders.providers import Refund
from adcp_tracker.orders.reader import (
    COUNTRY,
    make_order,
    order_defaults,
    order_values,
    quick_values,
)
from adcp_tracker.outbox.directory import open_outbox, open_producer_store, open_store
from adcp_tracker.outbox.storage import Shards
from adcp_tracker.privacy.api import ContextApi, PrivacyApi
from adcp_tracker.privacy.context_store import ContextStore, ContextTokens, fill_from_context
from adcp_tracker.recorder import Recorder, event_type_name
from adcp_tracker.settings import (
    Settings,
    destinations_from_env,
    settings_from_env,
    validate_destinations,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal
    from types import TracebackType
    from uuid import UUID

    from typing_extensions import Self, Unpack

    from adcp_tracker._platform import Clock
    from adcp_tracker.context import Context
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.events.builder import EventFields, TrackOptions
    from adcp_tracker.events.event import Event, RejectedEvent
    from adcp_tracker.outbox.database_store import DatabaseStore
    from adcp_tracker.outbox.storage import Outbox
    from adcp_tracker.settings import TrackerSettings

_UTC: Final = timezone.utc


class Tracker:
    """Record conversion events on disk, and deliver each to every destination.

    Each call returns once its event is on disk. A background thread, in one process per
    directory, delivers the events. No request ever waits for it.

    Args:
        destinations: Where events go. Without one, they wait on disk.
        directory: Where events wait: a directory of one user, on a local disk. Give ``queue``
            instead to keep them in a PostgreSQL, MariaDB or MySQL database, or both to write them
            to the directory and ship them to the database.
        **settings: The other fields of :class:`.Settings`, each by its name. Those to look at
            first: ``default_region`` for phone numbers without a country code, ``on_denied``
            for events without consent, ``strict`` to raise instead of logging, and
            ``durability="power"`` to survive a power cut.

    Attributes:
        settings: The settings it was made with.
        destinations: Its destinations.
        dead_letters: List, replay and discard rejected events.
        privacy: Erase or export a person's data.
        contexts: Keep a shopper's context for a purchase to come.
        event_sources: Register event sources with sellers, and compare counts.
        hooks: Add hooks to those of the settings.

    Raises:
        ConfigurationError: If a setting is invalid.
        UnusableDirectoryError: If the directory can't be used by this user.
    """

    def __init__(
        self,
        destinations: Iterable[Destination] = (),
        *,
        directory: str | os.PathLike[str] | None = None,
        _clock: Clock | None = None,
        _policy: RetryPolicy | None = None,
        _outbox: Callable[[QueueDirectory], Outbox] = open_outbox,
        _fleet: tuple[int, ...] = (),
        **settings: Unpack[TrackerSettings],
    ) -> None:
        self.settings = chosen = Settings(directory=directory, **settings)  # type: ignore[arg-type]  # converted
        self.destinations = validate_destinations(destinations)
        self._strict = self.settings.strict
        self._default_region = chosen.default_region
        self._default_currency = chosen.default_currency
        self._order_defaults = order_defaults(chosen.default_currency, chosen.naive_times)
        clock = _clock or SystemClock()
        queue = None if chosen.directory is None else QueueDirectory(chosen.directory)
        if queue is not None and _development.active is None:  # else nothing is written there
            queue.check_usable()
        encryption = encryption_from_keys(chosen.encryption_keys)
        shards, outbox = Shards(chosen.queues, _fleet), chosen.transactional_outbox
        if outbox is None or chosen.has_store:
            events = open_store(queue, chosen.queue, encryption, _outbox, shards)
        else:
            events = open_producer_store(outbox, encryption, shards)
        relay_to = None
        if queue is not None and chosen.queue is not None:
            relay_to = cast(
                "DatabaseStore",
                open_store(None, chosen.queue, encryption, shards=Shards(chosen.queues)),
            )
        contexts = events.contexts(clock)
        tokens = ContextTokens(contexts, chosen.context_keys, clock)
        self._context_store = store = ContextStore(contexts, tokens, clock)
        rules = EventRules(queue, self.destinations, chosen.event_sources)
        self.hooks = Hooks(clock)
        self.hooks.add(
            on_delivered=chosen.on_delivered,
            on_rejected=chosen.on_rejected,
            on_paused=chosen.on_paused,
        )
        self._pipeline = pipeline = Pipeline(
            chosen,
            UploaderConfig(
                events,
                self.destinations if relay_to is None else (),
                _policy or RetryPolicy(random.random),
                clock,
                chosen.flush_interval,
                max_bytes=chosen.max_bytes,
                destination_bytes=chosen.max_destination_bytes,
                relay_to=relay_to,
                hooks=self.hooks,
            ),
            maintenance=[rules.refresh],
            leader_maintenance=[store.sweep],
        )
        weakref.finalize(self, pipeline.retire).atexit = False
        self._recorder = Recorder(chosen, pipeline, rules)
        self.dead_letters = DeadLetterApi(pipeline)
        self.privacy = PrivacyApi(pipeline, store, chosen.default_region)
        self.contexts = ContextApi(tokens, store, chosen.default_region)
        self.event_sources = EventSourceApi(self.destinations, rules, pipeline.stats)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make a tracker from the ``ADCP_*`` environment variables.

        Raises:
            ConfigurationError: If a variable is missing, misspelt or invalid.
        """
        settings = settings_from_env(environ)
        if not settings.keys() & {"directory", "queue"}:
            raise ConfigurationError(
                "ADCP_DIRECTORY isn't set. Set it to the directory where events wait, or "
                "ADCP_QUEUE to the URL of a queue."
            )
        return cls(destinations_from_env(environ), **settings)  # type: ignore[arg-type]  # checked

    def __repr__(self) -> str:
        names = [destination.name for destination in self.destinations]
        return f"Tracker(location={self._pipeline.store.location!r}, destinations={names!r})"

    def track_purchase(  # noqa: C901 - written out, as each call would show in every purchase
        self,
        order: object,
        *,
        context: Context | str | None = None,
        default_region: str | None = None,
        test_event_code: str | None = None,
        **details: Unpack[EventFields],
    ) -> Event | RejectedEvent:
        """Track the purchase of an order. The same order always gets the same event id.

        Example::

            tracker.track_purchase({"id": "A-1001", "total": "59.90", "currency": "EUR"})

        Args:
            order: An :class:`.Order`, or any mapping or object with the usual names.
            context: The request it came with, or a token of it. Left out, the current request;
                outside of a request, what ``contexts.remember()`` kept for the order.
            default_region: The region of phone numbers without a country code, such as
                ``GB``; left out, the tracker's.
            test_event_code: Marks this event as a test.
            **details: Fields of the event that replace those of the order.

        Raises:
            InvalidEventError: If the event is invalid, and the tracker is strict.
            ConfigurationError: If `context` isn't one, and the tracker is strict.
            QueueFullError: If the queue is full, and the tracker has ``when_full="raise"``.
        """
        if context is None:
            context = current_context()
        try:
            values = quick_values(order)
            if self._order_defaults is not None:
                values = self._order_defaults.fill(values)
            if context is None:
                store = self._context_store  # asked by its attributes: most shops never use it
                if store.nonempty or store.monotonic() >= store.look_again_at:
                    context = store.recall(values[0])
            elif isinstance(context, DeferredContext):
                context = context.resolve()  # its parts are asked for one by one from here on
            elif type(context) is not RequestContext:
                context = self._context_store.read(context, strict=self._strict)
            now = datetime.now(_UTC)
            if default_region is not None:
                default_region = tame(default_region)
            region = default_region or values[COUNTRY] or self._default_region
            if details:
                event = purchase_event(
                    make_order(values),
                    now=now,
                    context=context,
                    default_region=region,
                    strict=self._strict,
                    **details,
                )
            else:
                event = plain_purchase_event(values, now, context, region, self._strict)
            if type(order) not in explained_kinds:
                log_first(order, make_order(values), context)
            body = event.json
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self._recorder.reject(error, EventType.PURCHASE)
        return self._recorder.record(event, body, context, test_event_code)

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
        """Track the refund of an order or a part of it. Its value is positive.

        Example::

            order = {"id": "A-1001", "total": "59.90", "currency": "EUR"}
            tracker.track_refund(order, refund_id="R-1", amount="10.00")

        Args:
            order: The refunded order, or a :class:`~adcp_tracker.orders.Refund` of a
                provider's payload, which has its own id, amount and items.
            refund_id: The refund's own id. Always give it if there is one: without it, two
                refunds of the same amount and items count as one.
            amount: What is paid back; left out, the price of `items`, or all of it.
            items: The refunded lines.
            context: The request it came with, which doesn't identify the shopper, or a token of
                the shopper's own request, which does.
            default_region: The region of phone numbers without a country code, such as
                ``GB``; left out, the tracker's.
            test_event_code: Marks this event as a test.
            **details: Fields of the event that replace those of the order.

        Raises:
            InvalidEventError: If the event is invalid, and the tracker is strict.
            ConfigurationError: If `context` isn't one, and the tracker is strict.
            QueueFullError: If the queue is full, and the tracker has ``when_full="raise"``.
        """
        if isinstance(order, Refund):
            refund_id = order.refund_id if refund_id is None else refund_id
            amount = order.amount if amount is None else amount
            items = order.items if items is None else items
            details.setdefault("event_time", order.created_at)
            order = order.order
        try:
            values = order_values(order)
            if self._order_defaults is not None:
                values = self._order_defaults.fill(values)
            placed = make_order([*map(tame, values)])
            is_shoppers = isinstance(context, str)
            if context is not None:
                context = self._context_store.read(context, strict=self._strict)
            elif current_context() is None:
                context, is_shoppers = self._context_store.recall(placed.order_id), True
            if is_shoppers:
                placed = fill_from_context(placed, context)
            default_region = tame(default_region)
            event = refund_event(
                placed,
                now=datetime.now(_UTC),
                refund_id=refund_id,
                amount=amount,
                items=items,
                default_region=default_region or placed.country or self._default_region,
                strict=self._strict,
                **details,
            )
            body = event.json
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self._recorder.reject(error, EventType.REFUND)
        return self._recorder.record(event, body, context, test_event_code)

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

        Example::

            tracker.track("subscribe", key="SUB-9", email="alice@example.com")

        Args:
            event_type: One of the protocol's types.
            key: Identifies this event, such as a subscription's id. The same key always gives
                the same event id. Not needed with an ``event_id``.
            context: The request it came with, or a token of it; left out, the current request.
            default_region: The region of phone numbers without a country code, such as
                ``GB``; left out, the tracker's.
            test_event_code: Marks this event as a test.
            **details: The event's fields.

        Raises:
            InvalidEventError: If the event is invalid, and the tracker is strict.
            ConfigurationError: If `context` isn't one, and the tracker is strict.
            QueueFullError: If the queue is full, and the tracker has ``when_full="raise"``.
        """
        try:
            if context is None:
                context = current_context()
            if context is not None:
                context = self._context_store.read(context, strict=self._strict)
            if is_absent(details.get("event_id")):
                named = clean_id(key) if isinstance(key, str) else key
                if is_absent(named):
                    self._recorder.note_random_id(event_type)
                else:
                    details["event_id"] = keyed_id(event_type_name(event_type), named)
            default_region = tame(default_region)
            if self._default_currency is not None:
                given = details.get("custom_data")
                details["custom_data"] = with_currency(given, self._default_currency)
            event = build_event(
                event_type,
                now=datetime.now(_UTC),
                context=context,
                default_region=default_region or self._default_region,
                strict=self._strict,
                **details,
            )
            body = event.json
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self._recorder.reject(error, event_type)
        return self._recorder.record(event, body, context, test_event_code)

    def track_lead(
        self, lead_id: str | int | UUID | None = None, **options: Unpack[TrackOptions]
    ) -> Event | RejectedEvent:
        """Track a lead. The same lead always gets the same event id.

        Example::

            tracker.track_lead("L-17", email="alice@example.com")
        """
        if lead_id is not None:
            options.setdefault("event_id", cast("str", lead_id))  # read like an order's id
        return self.track(EventType.LEAD, **options)

    def track_custom(self, name: str, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track an event with a `name` of your own, for which the protocol has no type.

        Example::

            tracker.track_custom("brochure_ordered", event_id="B-3", phone="+442079460958")
        """
        options["custom_event_name"] = name
        return self.track(EventType.CUSTOM, **options)

    def track_page_view(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a page view.

        Example::

            tracker.track_page_view(event_source_url="https://shop.example/mugs")
        """
        return self.track(EventType.PAGE_VIEW, **options)

    def track_view_content(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a view of a product or an article.

        Example::

            tracker.track_view_content(custom_data={"content_ids": ["MUG-7"]})
        """
        return self.track(EventType.VIEW_CONTENT, **options)

    def track_select_content(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a selection of content.

        Example::

            tracker.track_select_content(custom_data={"content_ids": ["post-9"]})
        """
        return self.track(EventType.SELECT_CONTENT, **options)

    def track_select_item(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a selection of a product from a list.

        Example::

            tracker.track_select_item(custom_data={"content_ids": ["MUG-7"]})
        """
        return self.track(EventType.SELECT_ITEM, **options)

    def track_search(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a search, with ``search_string`` in the custom data.

        Example::

            tracker.track_search(custom_data={"search_string": "mug"})
        """
        return self.track(EventType.SEARCH, **options)

    def track_share(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a share of content.

        Example::

            tracker.track_share(custom_data={"content_ids": ["post-9"]})
        """
        return self.track(EventType.SHARE, **options)

    def track_add_to_cart(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a product added to the cart.

        Example::

            tracker.track_add_to_cart(
                custom_data={"contents": [{"id": "MUG-7", "price": Decimal("29.95")}]}
            )
        """
        return self.track(EventType.ADD_TO_CART, **options)

    def track_remove_from_cart(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a product removed from the cart.

        Example::

            tracker.track_remove_from_cart(
                custom_data={"contents": [{"id": "MUG-7", "quantity": 1}]}
            )
        """
        return self.track(EventType.REMOVE_FROM_CART, **options)

    def track_viewed_cart(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a view of the cart.

        Example::

            tracker.track_viewed_cart(custom_data={"num_items": 2})
        """
        return self.track(EventType.VIEWED_CART, **options)

    def track_add_to_wishlist(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a product added to a wish list.

        Example::

            tracker.track_add_to_wishlist(custom_data={"content_ids": ["MUG-7"]})
        """
        return self.track(EventType.ADD_TO_WISHLIST, **options)

    def track_initiate_checkout(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track the start of a checkout.

        Example::

            tracker.track_initiate_checkout(
                key="cart-31", custom_data={"value": Decimal("59.90"), "currency": "EUR"}
            )
        """
        return self.track(EventType.INITIATE_CHECKOUT, **options)

    def track_add_payment_info(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track payment details entered at a checkout.

        Example::

            tracker.track_add_payment_info(key="cart-31", email="alice@example.com")
        """
        return self.track(EventType.ADD_PAYMENT_INFO, **options)

    def track_qualify_lead(
        self, lead_id: str | int | UUID | None = None, **options: Unpack[TrackOptions]
    ) -> Event | RejectedEvent:
        """Track a lead that was qualified.

        Example::

            tracker.track_qualify_lead("L-17", email="alice@example.com")
        """
        if lead_id is not None:
            options.setdefault("key", lead_id)
        return self.track(EventType.QUALIFY_LEAD, **options)

    def track_close_convert_lead(
        self, lead_id: str | int | UUID | None = None, **options: Unpack[TrackOptions]
    ) -> Event | RejectedEvent:
        """Track a lead that became a customer.

        Example::

            tracker.track_close_convert_lead(
                "L-17", email="alice@example.com", custom_data={"value": 4800, "currency": "EUR"}
            )
        """
        if lead_id is not None:
            options.setdefault("key", lead_id)
        return self.track(EventType.CLOSE_CONVERT_LEAD, **options)

    def track_disqualify_lead(
        self, lead_id: str | int | UUID | None = None, **options: Unpack[TrackOptions]
    ) -> Event | RejectedEvent:
        """Track a lead that was disqualified.

        Example::

            tracker.track_disqualify_lead("L-17", email="alice@example.com")
        """
        if lead_id is not None:
            options.setdefault("key", lead_id)
        return self.track(EventType.DISQUALIFY_LEAD, **options)

    def track_complete_registration(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a completed registration.

        Example::

            tracker.track_complete_registration(key="user-5", email="alice@example.com")
        """
        return self.track(EventType.COMPLETE_REGISTRATION, **options)

    def track_subscribe(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track the start of a paid subscription.

        Example::

            tracker.track_subscribe(
                key="SUB-9", email="alice@example.com", custom_data={"value": 5, "currency": "EUR"}
            )
        """
        return self.track(EventType.SUBSCRIBE, **options)

    def track_follow(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a free opt-in, such as following a channel or subscribing to a newsletter.

        Example::

            tracker.track_follow(key=("newsletter", "user-5"), email="alice@example.com")
        """
        return self.track(EventType.FOLLOW, **options)

    def track_content_view(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track content that was watched, heard or read.

        Example::

            tracker.track_content_view(key=("user-5", "film-9"), email="alice@example.com")
        """
        return self.track(EventType.CONTENT_VIEW, **options)

    def track_watch_milestone(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track progress in content, as ``progress_percent`` or ``progress_seconds``.

        Example::

            tracker.track_watch_milestone(
                key=("user-5", "film-9", 75), custom_data={"progress_percent": 75}
            )
        """
        return self.track(EventType.WATCH_MILESTONE, **options)

    def track_start_trial(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track the start of a trial.

        Example::

            tracker.track_start_trial(key="trial-2", email="alice@example.com")
        """
        return self.track(EventType.START_TRIAL, **options)

    def track_app_install(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track an app installation.

        Example::

            tracker.track_app_install(
                action_source="app", uids=[{"type": "maid", "value": "6D92078A"}]
            )
        """
        return self.track(EventType.APP_INSTALL, **options)

    def track_app_launch(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track an app launch.

        Example::

            tracker.track_app_launch(
                action_source="app", uids=[{"type": "maid", "value": "6D92078A"}]
            )
        """
        return self.track(EventType.APP_LAUNCH, **options)

    def track_contact(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a call or message to the advertiser.

        Example::

            tracker.track_contact(action_source="phone_call", phone="+442079460958")
        """
        return self.track(EventType.CONTACT, **options)

    def track_schedule(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a booked appointment.

        Example::

            tracker.track_schedule(key="appointment-8", email="alice@example.com")
        """
        return self.track(EventType.SCHEDULE, **options)

    def track_donate(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a donation.

        Example::

            tracker.track_donate(
                key="gift-4", email="al@example.com", custom_data={"value": 20, "currency": "EUR"}
            )
        """
        return self.track(EventType.DONATE, **options)

    def track_submit_application(self, **options: Unpack[TrackOptions]) -> Event | RejectedEvent:
        """Track a submitted application.

        Example::

            tracker.track_submit_application(key="loan-6", email="alice@example.com")
        """
        return self.track(EventType.SUBMIT_APPLICATION, **options)

    def prepare(self) -> None:
        """Create the directory where events wait, or check that the queue can be reached.

        The first event does so too. Called at startup, it tells you at once what is wrong.

        Raises:
            UnsafeDirectoryError: If other users could read or write the directory.
            OSError: If it can't be created or reached.
        """
        self._pipeline.store.prepare()

    def start(self) -> None:
        """Start delivering pending events. The first event of a process does so too."""
        self._pipeline.start()

    def flush(self, timeout: float = 10.0) -> Stats:
        """Deliver pending events, and wait for it.

        If another process uploads, it is asked to hand over to this one.

        Args:
            timeout: How long to wait at most, in seconds.

        Returns:
            The stats; ``.pending`` is what is left.
        """
        return self._pipeline.flush(timeout)

    async def aflush(self, timeout: float = 10.0) -> Stats:
        """Do what :meth:`flush` does, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - slow to import, and rarely needed

        return await asyncio.to_thread(self.flush, timeout)

    def stats(self, *, live: bool = True) -> Stats:
        """Return the stats of this queue, all processes together.

        A closed tracker stays closed: it returns the stats that were last written. If the
        queue's database does not answer within two seconds, they are those last known, and
        ``.stale`` says why.

        Args:
            live: Whether to count now if this process uploads or can, which may wait for a
                request to be prepared. Otherwise the uploading process's latest counts are
                taken, up to a second old, and every process returns the same.
        """
        return self._pipeline.stats(live=live)

    def close(self, timeout: float | None = None) -> Stats:
        """Deliver what can be delivered in time, and end the flusher; the rest stays on disk.

        Args:
            timeout: How long to take at most, in seconds; left out, the tracker's
                ``shutdown_timeout``.

        Returns:
            The stats; ``.pending`` is what is left.
        """
        return self._pipeline.close(timeout)

    async def aclose(self, timeout: float | None = None) -> Stats:
        """Do what :meth:`close` does, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - slow to import, and rarely needed

        return await asyncio.to_thread(self.close, timeout)

    def stop(self, timeout: float | None = None) -> Stats:
        """End the flusher after the request in flight; the rest stays on disk.

        Args:
            timeout: How long that request may take, in seconds; left out, the tracker's
                ``shutdown_timeout``.

        Returns:
            The stats as the uploading process last wrote them.
        """
        return self._pipeline.stop(timeout)

    def remove_destination(self, name: str, timeout: float = 10.0) -> bool:
        """Remove a destination that is not configured anymore, and the events waiting for it.

        Args:
            name: The destination's name.
            timeout: How long to wait for another process to hand over, in seconds.

        Returns:
            Whether it was known and is not one of this tracker's.

        Raises:
            TimeoutError: If another process did not hand over in time.
        """
        return any(
            self._pipeline.run_on_all(lambda leader: remove_destination(leader, name), timeout)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
