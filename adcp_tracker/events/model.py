"""The parts of an event, enums, protocol limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal  # noqa: TC003 - cattrs resolves the fields' types
from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_ID: Final = 256
"""Length of event, order and content ids, and of brands."""

MAX_TOKEN: Final = 512
"""Length of click ids, universal ids and user agents."""

MAX_TYPE: Final = 64
"""Length of a click id's type."""

MAX_CODE: Final = 255
"""Length of a test code."""

MAX_WORD: Final = 128
"""Length of a content type, and of a surface's property type and namespace."""

DIGEST_LENGTH: Final = 64
"""Hex digits of a SHA-256."""

MAX_PERCENT: Final = 100
"""A whole progress."""

MAX_NUMBER: Final = 2**53
"""Numbers are below this: every JSON parser holds them, and RFC 8785 can write them."""

MIN_EXPONENT: Final = -20
"""Decimals begin above this power of ten, so that none explodes into a million zeros."""

is_currency: Final = re.compile(r"[A-Z]{3}").fullmatch
"""Match what looks like a code of ISO 4217."""

COMMON_CURRENCIES: Final = frozenset({"AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "USD"})
"""Currencies that need no second look."""

CLICK_IDS: Final = (
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "ttclid",
    "msclkid",
    "ScCid",
    "epik",
    "li_fat_id",
    "twclid",
    "rdt_cid",
    "sc3clid",
)
"""Query parameters that hold a click id; each name is the id's type as well."""


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


class _Empty(Mapping[str, object]):
    """One immutable nothing for all parts; a dict for each would cost more than the check of it."""

    def __getitem__(self, key: str) -> NoReturn:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Final[Mapping[str, object]] = _Empty()
"""The ``extra`` of a part without unknown keys."""


@attrs.frozen
class UniversalId:
    """An id of the shopper that sellers know, sent as it is and never hashed.

    Attributes:
        type: Who issued it; a CRM's own id is ``publisher_first_party`` or ``other``.
        value: At most 512 characters.
        extra: Keys the protocol does not name.
    """

    type: UidType
    value: str = attrs.field(repr=False)
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


@attrs.frozen(repr=False)
class UserMatch:
    """Who the shopper is, in hashes and ids; never a raw e-mail address or phone number.

    At least one of uids, hashed_email, hashed_phone, click_id,
    or client_ip together with client_user_agent.

    Attributes:
        hashed_email: 64 lower-case hex digits, see :func:`adcp_tracker.events.hashing.hash_email`.
        hashed_phone: 64 lower-case hex digits, see :func:`adcp_tracker.events.hashing.hash_phone`.
        uids: Universal ids.
        click_id: The click that brought the shopper, at most 512 characters.
        click_id_type: Which kind of click id, such as ``gclid``, at most 64 characters.
        client_ip: An IPv4 or IPv6 address.
        client_user_agent: At most 512 characters.
        extra: Keys the protocol does not name.
    """

    hashed_email: str | None = None
    hashed_phone: str | None = None
    uids: Sequence[UniversalId] | None = None
    click_id: str | None = None
    click_id_type: str | None = None
    client_ip: str | None = None
    client_user_agent: str | None = None
    extra: Mapping[str, object] = attrs.field(default=EMPTY, hash=False)

    def __repr__(self) -> str:
        present = [field.name for field in attrs.fields(UserMatch) if getattr(self, field.name)]
        return f"UserMatch({', '.join(present)})"


@attrs.frozen
class Content:
    """One line of a basket.

    Attributes:
        id: The item's id in the catalogue, at most 256 characters.
        quantity: At least 1.
        price: Per unit, at least 0.
        brand: At most 256 characters.
        extra: Keys the protocol does not name.
    """

    id: str
    quantity: int | None = None
    price: Decimal | int | None = None
    brand: str | None = None
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


@attrs.frozen
class CustomData:
    """What the event was about.

    Attributes:
        value: Money, at least 0; a refund's value is positive, too.
        currency: Three capital letters of ISO 4217.
        order_id: At most 256 characters.
        contents: The basket's lines.
        content_ids: The items' ids, each at most 256 characters.
        num_items: How many items, at least 0.
        content_type: Such as ``product``, at most 128 characters.
        content_name: Of a single item or page.
        content_category: Of a single item or page.
        search_string: What was searched for.
        progress_percent: 0–100, for ``watch_milestone``.
        progress_seconds: At least 0, for ``watch_milestone``.
        extra: Custom keys.
    """

    value: Decimal | int | None = None
    currency: str | None = None
    order_id: str | None = None
    contents: Sequence[Content] | None = None
    content_ids: Sequence[str] | None = None
    num_items: int | None = None
    content_type: str | None = None
    content_name: str | None = None
    content_category: str | None = None
    search_string: str | None = attrs.field(default=None, repr=False)
    progress_percent: Decimal | int | None = None
    progress_seconds: Decimal | int | None = None
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


@attrs.frozen
class Surface:
    """The place an event happened on, in more detail than its action source (line 3.1).

    Attributes:
        category: What kind of place.
        property_type: Such as ``channel`` or ``newsletter``, 1–128 characters.
        namespace: Whose property_id it is, 1–128 characters.
        property_id: 1–256 characters.
        extra: Keys the protocol does not name.
    """

    category: SurfaceCategory
    property_type: str | None = None
    namespace: str | None = None
    property_id: str | None = None
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)
