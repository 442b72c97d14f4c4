"""What an event is made of: plain, frozen data, checked as a whole by :class:`.Event`.

Every part carries an ``extra`` mapping for keys the protocol does not name.
They are legal at every level, and are written beside the named ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal  # noqa: TC003 - cattrs resolves the fields' types
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from adcp_tracker.events.vocabulary import SurfaceCategory, UidType  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        hashed_email: 64 lower-case hex digits, see :func:`adcp_tracker.events.identity.hash_email`.
        hashed_phone: 64 lower-case hex digits, see :func:`adcp_tracker.events.identity.hash_phone`.
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
