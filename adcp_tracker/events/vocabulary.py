"""The protocol's closed word lists."""

from __future__ import annotations

from enum import Enum
from typing import Final


class EventType(str, Enum):
    """What the shopper, or the shop, did."""

    PAGE_VIEW = "page_view"
    VIEW_CONTENT = "view_content"
    SELECT_CONTENT = "select_content"
    SELECT_ITEM = "select_item"
    SEARCH = "search"
    SHARE = "share"
    ADD_TO_CART = "add_to_cart"
    REMOVE_FROM_CART = "remove_from_cart"
    VIEWED_CART = "viewed_cart"
    ADD_TO_WISHLIST = "add_to_wishlist"
    INITIATE_CHECKOUT = "initiate_checkout"
    ADD_PAYMENT_INFO = "add_payment_info"
    PURCHASE = "purchase"
    REFUND = "refund"
    LEAD = "lead"
    QUALIFY_LEAD = "qualify_lead"
    CLOSE_CONVERT_LEAD = "close_convert_lead"
    DISQUALIFY_LEAD = "disqualify_lead"
    COMPLETE_REGISTRATION = "complete_registration"
    SUBSCRIBE = "subscribe"
    FOLLOW = "follow"
    CONTENT_VIEW = "content_view"
    WATCH_MILESTONE = "watch_milestone"
    START_TRIAL = "start_trial"
    APP_INSTALL = "app_install"
    APP_LAUNCH = "app_launch"
    CONTACT = "contact"
    SCHEDULE = "schedule"
    DONATE = "donate"
    SUBMIT_APPLICATION = "submit_application"
    CUSTOM = "custom"


class ActionSource(str, Enum):
    """Where an event happened."""

    WEBSITE = "website"
    APP = "app"
    OFFLINE = "offline"
    PHONE_CALL = "phone_call"
    CHAT = "chat"
    EMAIL = "email"
    IN_STORE = "in_store"
    SYSTEM_GENERATED = "system_generated"
    OTHER = "other"


class UidType(str, Enum):
    """Who issued a universal id."""

    RAMPID = "rampid"
    RAMPID_DERIVED = "rampid_derived"
    ID5 = "id5"
    UID2 = "uid2"
    EUID = "euid"
    PAIRID = "pairid"
    MAID = "maid"
    HASHED_EMAIL = "hashed_email"
    PUBLISHER_FIRST_PARTY = "publisher_first_party"
    WORLD_ID_NULLIFIER = "world_id_nullifier"
    OTHER = "other"


class SurfaceCategory(str, Enum):
    """What kind of place a surface is: an action source, or a property hosted by a platform."""

    OWNED_PROPERTY = "owned_property"
    WEBSITE = "website"
    APP = "app"
    OFFLINE = "offline"
    PHONE_CALL = "phone_call"
    CHAT = "chat"
    EMAIL = "email"
    IN_STORE = "in_store"
    SYSTEM_GENERATED = "system_generated"
    OTHER = "other"


NEWER_EVENT_TYPES: Final = frozenset(
    {EventType.FOLLOW, EventType.CONTENT_VIEW, EventType.WATCH_MILESTONE}
)
"""Event types that sellers on line 3.0 refuse."""

COMMON_ACTION_SOURCES: Final = frozenset(
    {
        None,
        ActionSource.WEBSITE,
        ActionSource.APP,
        ActionSource.IN_STORE,
        ActionSource.PHONE_CALL,
        ActionSource.SYSTEM_GENERATED,
        ActionSource.OTHER,
    }
)
"""Action sources that every kind of seller knows; an event may also have none."""
