"""The parts of an event, and the protocol's rules for each of their fields.

The classes are the table of rules: a field's name, type, kind, bounds and the AdCP version that
brought it stand in one line. :mod:`.rules` has the kinds and :mod:`.validation` runs the table;
nothing else knows a field's rule. To add a field, add its line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal  # noqa: TC003 - cattrs resolves the fields' types
from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from adcp_tracker.events.rules import (
    MISSING,
    OUT_OF_RANGE,
    REASONS,
    address,
    choice,
    currency_code,
    fail,
    identifier,
    integer,
    number,
    rule,
    sha256,
    text,
)
from adcp_tracker.events.validation import list_of, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.events.rules import AdcpVersion
    from adcp_tracker.events.validation import JsonDict


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

MAX_PERCENT: Final = 100
"""The progress of content that was watched to its end."""

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


IGNORED_FOR_BOTS = frozenset(
    {
        EventType.PAGE_VIEW,
        EventType.VIEW_CONTENT,
        EventType.SELECT_CONTENT,
        EventType.SELECT_ITEM,
        EventType.SEARCH,
        EventType.VIEWED_CART,
        EventType.CONTENT_VIEW,
    }
)
"""Events of viewing a page. They mean nothing if a robot made the request."""


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


NEWER_EVENT_TYPES: Final[Mapping[str, AdcpVersion]] = {
    "follow": "3.1",
    "content_view": "3.1",
    "watch_milestone": "3.1",
}
"""Event types that came after AdCP 3.0, and the version they came with."""

NEWER_UID_TYPES: Final[Mapping[str, AdcpVersion]] = {"world_id_nullifier": "3.1"}
"""Types of universal ids that came after AdCP 3.0, and the version they came with."""

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

MAX_EVENT_BYTES: Final = 256 * 1024
"""Length of an event's JSON."""


class _Empty(Mapping[str, object]):
    """An empty mapping that all parts share; a dict for each would take longer than its check."""

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


_NEGATIVE: Final = frozenset({OUT_OF_RANGE})
"""A line with a price below zero is a discount, not an item."""

RAW_IDENTIFIERS: Final = {
    raw: (f"hashed_{raw}, as it is never sent raw", "it raw") for raw in ("email", "phone")
}
"""Keys that are rejected among a shopper's identifiers."""


def identifies(match: Mapping[str, object]) -> bool:
    """Return whether a seller can match a shopper by these identifiers."""
    return bool(
        match.get("hashed_email")
        or match.get("hashed_phone")
        or match.get("uids")
        or match.get("click_id")
        or (match.get("client_ip") and match.get("client_user_agent"))
    )


def _check_identifies(match: JsonDict, _omitted: object) -> None:
    if not identifies(match):
        fail(
            MISSING,
            "an identifier: uids, hashed_email, hashed_phone, click_id, "
            "or client_ip together with client_user_agent",
            "none",
        )


@attrs.frozen
class UniversalId:
    """An id of the shopper that sellers know. It is sent unchanged, never hashed.

    Attributes:
        type: Its issuer; use ``publisher_first_party`` or ``other`` for a CRM's own id.
        value: At most 512 characters.
        extra: Keys that aren't in the protocol.
    """

    type: UidType = attrs.field(metadata=rule(choice(UidType), view=UidType))
    value: str = attrs.field(repr=False, metadata=rule(identifier(MAX_TOKEN)))
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


@attrs.frozen(repr=False)
class UserMatch:
    """The shopper's identifiers, as hashes and ids, never as a raw address or phone number.

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
        extra: Keys that aren't in the protocol.
    """

    hashed_email: str | None = attrs.field(default=None, metadata=rule(sha256))
    hashed_phone: str | None = attrs.field(default=None, metadata=rule(sha256))
    uids: Sequence[UniversalId] | None = attrs.field(
        default=None, metadata=rule(list_of(part(UniversalId), keeps_empty=False))
    )
    click_id: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_TOKEN)))
    click_id_type: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_TYPE)))
    client_ip: str | None = attrs.field(default=None, metadata=rule(address))
    client_user_agent: str | None = attrs.field(default=None, metadata=rule(text(MAX_TOKEN)))
    extra: Mapping[str, object] = attrs.field(default=EMPTY, hash=False)

    def __repr__(self) -> str:
        present = [field.name for field in attrs.fields(UserMatch) if getattr(self, field.name)]
        return f"UserMatch({', '.join(present)})"


_A_LINE: Final = "a Content, or an item with an id, a quantity and a price"


@attrs.frozen
class Content:
    """One line of a basket.

    Attributes:
        id: The item's id in the catalogue, at most 256 characters.
        quantity: At least 1.
        price: Per unit, at least 0.
        brand: At most 256 characters.
        extra: Keys that aren't in the protocol.
    """

    id: str = attrs.field(metadata=rule(identifier(MAX_ID)))
    quantity: int | None = attrs.field(default=None, metadata=rule(integer(1), vital=REASONS))
    price: Decimal | int | None = attrs.field(
        default=None, metadata=rule(number(), vital=_NEGATIVE)
    )
    brand: str | None = attrs.field(default=None, metadata=rule(text(MAX_ID)))
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


@attrs.frozen
class CustomData:
    """What the event is about.

    Attributes:
        value: An amount of at least 0, also for a refund.
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

    value: Decimal | int | None = attrs.field(default=None, metadata=rule(number()))
    currency: str | None = attrs.field(default=None, metadata=rule(currency_code))
    order_id: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_ID)))
    contents: Sequence[Content] | None = attrs.field(
        default=None, metadata=rule(list_of(part(Content, expected=_A_LINE)))
    )
    content_ids: Sequence[str] | None = attrs.field(
        default=None, metadata=rule(list_of(identifier(MAX_ID)))
    )
    num_items: int | None = attrs.field(default=None, metadata=rule(integer(0)))
    content_type: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_WORD)))
    content_name: str | None = attrs.field(default=None, metadata=rule(text()))
    content_category: str | None = attrs.field(default=None, metadata=rule(text()))
    search_string: str | None = attrs.field(default=None, repr=False, metadata=rule(text()))
    progress_percent: Decimal | int | None = attrs.field(
        default=None, metadata=rule(number(MAX_PERCENT), since="3.1")
    )
    progress_seconds: Decimal | int | None = attrs.field(
        default=None, metadata=rule(number(), since="3.1")
    )
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


@attrs.frozen
class Surface:
    """Where an event happened, in more detail than its action source (since AdCP 3.1).

    Attributes:
        category: What kind of place.
        property_type: Such as ``channel`` or ``newsletter``, 1–128 characters.
        namespace: Whose property_id it is, 1–128 characters.
        property_id: 1–256 characters.
        extra: Keys that aren't in the protocol.
    """

    category: SurfaceCategory = attrs.field(
        metadata=rule(choice(SurfaceCategory), view=SurfaceCategory)
    )
    property_type: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_WORD)))
    namespace: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_WORD)))
    property_id: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_ID)))
    extra: Mapping[str, object] = attrs.field(default=EMPTY, repr=False, hash=False)


USER_MATCH: Final = part(UserMatch, rejected=RAW_IDENTIFIERS, condition=_check_identifies)
"""The check of a :class:`UserMatch`."""

CUSTOM_DATA: Final = part(CustomData)
"""The check of :class:`CustomData`."""

SURFACE: Final = part(Surface)
"""The check of a :class:`Surface`."""
