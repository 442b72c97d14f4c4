"""A method per event type, each a name for what :meth:`EventMethods.track` does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from adcp_tracker.events.builder import EventFields
from adcp_tracker.events.builder import lead_id as id_of_lead
from adcp_tracker.events.model import EventType

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from adcp_tracker.context import Context
    from adcp_tracker.events.event import Event
    from adcp_tracker.events.rejected import RejectedEvent


class EventArguments(EventFields, total=False):
    """What each method takes beside the details.

    Attributes:
        key: What makes this event itself: the same key always makes the same event id.
        context: The request it came with, or the token of one; left out, the current one.
        default_region: Where a phone number without a plus is, as in ``GB``; left out,
            the tracker's.
        test_event_code: Marks this event as a test; 1–255 characters.
    """

    key: object
    context: Context | str | None
    default_region: str | None
    test_event_code: str | None


class EventMethods(ABC):
    """Tracks events by the names of their types."""

    @abstractmethod
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
        """Track an event of any type."""

    def track_lead(
        self, lead_id: str | None = None, **arguments: Unpack[EventArguments]
    ) -> Event | RejectedEvent:
        """Track somebody's interest; the same lead always has the same event id."""
        if lead_id is not None:
            arguments.setdefault("event_id", id_of_lead(lead_id))
        return self.track(EventType.LEAD, **arguments)

    def track_custom(self, name: str, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track an event that the protocol has no type for, under a `name` of its own."""
        arguments["custom_event_name"] = name
        return self.track(EventType.CUSTOM, **arguments)

    def track_page_view(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a page being shown."""
        return self.track(EventType.PAGE_VIEW, **arguments)

    def track_view_content(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a product or an article being looked at."""
        return self.track(EventType.VIEW_CONTENT, **arguments)

    def track_select_content(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a piece of content being chosen."""
        return self.track(EventType.SELECT_CONTENT, **arguments)

    def track_select_item(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a product being chosen from a list."""
        return self.track(EventType.SELECT_ITEM, **arguments)

    def track_search(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a search, with ``search_string`` in the custom data."""
        return self.track(EventType.SEARCH, **arguments)

    def track_share(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track content being shared."""
        return self.track(EventType.SHARE, **arguments)

    def track_add_to_cart(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a product put into the cart."""
        return self.track(EventType.ADD_TO_CART, **arguments)

    def track_remove_from_cart(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a product taken out of the cart."""
        return self.track(EventType.REMOVE_FROM_CART, **arguments)

    def track_viewed_cart(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track the cart being looked at."""
        return self.track(EventType.VIEWED_CART, **arguments)

    def track_add_to_wishlist(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a product put on a wish list."""
        return self.track(EventType.ADD_TO_WISHLIST, **arguments)

    def track_initiate_checkout(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track the beginning of a checkout."""
        return self.track(EventType.INITIATE_CHECKOUT, **arguments)

    def track_add_payment_info(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track payment details given at a checkout."""
        return self.track(EventType.ADD_PAYMENT_INFO, **arguments)

    def track_qualify_lead(
        self, lead_id: str | None = None, **arguments: Unpack[EventArguments]
    ) -> Event | RejectedEvent:
        """Track a lead found worth pursuing."""
        if lead_id is not None:
            arguments.setdefault("key", lead_id)
        return self.track(EventType.QUALIFY_LEAD, **arguments)

    def track_close_convert_lead(
        self, lead_id: str | None = None, **arguments: Unpack[EventArguments]
    ) -> Event | RejectedEvent:
        """Track a lead become a customer."""
        if lead_id is not None:
            arguments.setdefault("key", lead_id)
        return self.track(EventType.CLOSE_CONVERT_LEAD, **arguments)

    def track_disqualify_lead(
        self, lead_id: str | None = None, **arguments: Unpack[EventArguments]
    ) -> Event | RejectedEvent:
        """Track a lead found not worth pursuing."""
        if lead_id is not None:
            arguments.setdefault("key", lead_id)
        return self.track(EventType.DISQUALIFY_LEAD, **arguments)

    def track_complete_registration(
        self, **arguments: Unpack[EventArguments]
    ) -> Event | RejectedEvent:
        """Track a registration completed."""
        return self.track(EventType.COMPLETE_REGISTRATION, **arguments)

    def track_subscribe(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a paid subscription begun."""
        return self.track(EventType.SUBSCRIBE, **arguments)

    def track_follow(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a free and lasting opt-in, as to a channel or a newsletter."""
        return self.track(EventType.FOLLOW, **arguments)

    def track_content_view(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a piece of content watched, heard or read."""
        return self.track(EventType.CONTENT_VIEW, **arguments)

    def track_watch_milestone(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a point reached in a content, as ``progress_percent`` or ``progress_seconds``."""
        return self.track(EventType.WATCH_MILESTONE, **arguments)

    def track_start_trial(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a trial begun."""
        return self.track(EventType.START_TRIAL, **arguments)

    def track_app_install(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track an app installed."""
        return self.track(EventType.APP_INSTALL, **arguments)

    def track_app_launch(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track an app opened."""
        return self.track(EventType.APP_LAUNCH, **arguments)

    def track_contact(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a call or a message."""
        return self.track(EventType.CONTACT, **arguments)

    def track_schedule(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track an appointment made."""
        return self.track(EventType.SCHEDULE, **arguments)

    def track_donate(self, **arguments: Unpack[EventArguments]) -> Event | RejectedEvent:
        """Track a donation made."""
        return self.track(EventType.DONATE, **arguments)

    def track_submit_application(
        self, **arguments: Unpack[EventArguments]
    ) -> Event | RejectedEvent:
        """Track an application handed in."""
        return self.track(EventType.SUBMIT_APPLICATION, **arguments)
