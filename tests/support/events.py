"""Events of every kind, for properties that must hold for all of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from adcp_tracker.events.event import Event
from adcp_tracker.events.model import (
    EMPTY,
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.parsing import clean_id

NOW = datetime(2026, 3, 14, 15, 9, 26, 535898, tzinfo=timezone.utc)
"""A moment with microseconds."""

EARLIEST = datetime(1000, 1, 1)  # noqa: DTZ001 - a bound, its zone is drawn apart
LATEST = datetime(2999, 1, 1)  # noqa: DTZ001 - as above

letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
texts = st.text(st.characters(codec="utf-8"), max_size=40)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
amounts = st.one_of(
    st.decimals(0, 10**12, places=2),
    st.decimals(0, 10**6, places=4),
    st.sampled_from([Decimal("0.000001"), Decimal("1E+3"), Decimal("0.00"), Decimal("1E-9")]),
    st.integers(0, 10**12),
)
prices = st.decimals(0, 10**6, places=2)
urls = st.sampled_from(
    [
        "https://shop.example/",
        "https://shop.example/thanks?a=b%20c#d",
        "app+x://open/42",
        "http://[2001:db8::1]:8080",
    ]
)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


def tokens(longest: int) -> st.SearchStrategy[str]:
    """Make strings of at most `longest` characters: no controls, and not only invisible ones."""
    return st.one_of(
        st.text(letters, min_size=1, max_size=min(longest, 30)).filter(
            lambda text: bool(clean_id(text))
        ),
        st.just("x" * longest),
    )


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(1 - 2**53, 2**53 - 1),
        st.decimals(-(10**6), 10**6, places=3),
        texts,
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=3), st.dictionaries(texts, values, max_size=3)
    ),
    max_leaves=6,
)
custom_keys = texts.map("x_".__add__)
extras = st.one_of(
    st.just(EMPTY),
    st.dictionaries(custom_keys, json_values, min_size=1, max_size=3),
    st.dictionaries(custom_keys, st.one_of(texts, st.integers(0, 9)), min_size=1, max_size=2),
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make a value or none."""
    return st.one_of(st.none(), values)


def tuples(values: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    """Make short tuples of `values`."""
    return st.lists(values, min_size=least, max_size=3).map(tuple)


uids = st.builds(UniversalId, st.sampled_from(UidType), tokens(512), extra=extras)
matches = st.one_of(
    st.builds(
        UserMatch,
        hashed_email=optional(digests),
        hashed_phone=digests,
        uids=optional(tuples(uids, 1)),
        click_id=optional(tokens(512)),
        click_id_type=optional(tokens(64)),
        client_ip=optional(addresses),
        client_user_agent=optional(texts.map("Mozilla/5.0 ".__add__)),
        extra=extras,
    ),
    st.builds(UserMatch, client_ip=addresses, client_user_agent=st.just("curl/8")),
    st.builds(UserMatch, uids=tuples(uids, 1)),
    st.builds(UserMatch, click_id=tokens(512), click_id_type=st.just("gclid")),
)
contents = st.builds(
    Content,
    id=tokens(256),
    quantity=optional(st.integers(1, 10**9)),
    price=optional(amounts),
    brand=optional(texts),
    extra=extras,
)
custom_data = st.builds(
    CustomData,
    value=optional(amounts),
    currency=optional(st.sampled_from(["EUR", "USD", "JPY", "KWD", "SEK", "XXX"])),
    order_id=optional(tokens(256)),
    contents=optional(tuples(contents)),
    content_ids=optional(tuples(tokens(256))),
    num_items=optional(st.integers(0, 10**9)),
    content_type=optional(tokens(128)),
    content_name=optional(texts),
    content_category=optional(texts),
    search_string=optional(texts),
    progress_percent=st.sampled_from([0, 25, Decimal("99.5"), 100]),
    progress_seconds=optional(amounts),
    extra=extras,
)
surfaces = st.builds(
    Surface,
    st.sampled_from(SurfaceCategory),
    property_type=optional(tokens(128)),
    namespace=optional(tokens(128)),
    property_id=optional(tokens(256)),
    extra=extras,
)
whole_minutes = st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
times = st.one_of(
    st.just(NOW),
    st.datetimes(EARLIEST, LATEST, timezones=whole_minutes),
    st.datetimes(timezones=st.just(timezone.utc)).map(lambda time: time.replace(microsecond=7000)),
)
events = st.builds(
    Event,
    event_id=tokens(256),
    event_type=st.sampled_from(EventType),
    event_time=times,
    user_match=optional(matches),
    custom_data=custom_data,
    action_source=optional(st.sampled_from(ActionSource)),
    event_source_url=urls,
    custom_event_name=tokens(100),
    surface=optional(surfaces),
    ext=optional(st.dictionaries(texts, json_values, max_size=2)),
    extra=extras,
)
"""Valid events that use everything there is."""

plain_events = st.builds(
    Event,
    event_id=tokens(256),
    event_type=st.sampled_from([EventType.PURCHASE, EventType.REFUND, EventType.LEAD]),
    event_time=st.just(NOW),
    user_match=optional(
        st.builds(
            UserMatch,
            hashed_email=digests,
            hashed_phone=optional(digests),
            client_ip=optional(addresses),
            client_user_agent=optional(st.just("Mozilla/5.0")),
        )
    ),
    custom_data=optional(
        st.builds(
            CustomData,
            value=optional(prices),
            currency=optional(st.just("EUR")),
            order_id=optional(tokens(256)),
            contents=optional(tuples(st.builds(Content, tokens(256), st.integers(1, 9), prices))),
        )
    ),
    event_source_url=optional(urls),
)
"""Valid events as most are."""


whole_numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.integers(2**53 - 1, 2**53), st.just(Decimal("1E+20"))
)
browsers_urls = st.builds(
    "https://shop.example/{}?{}#{}".format,
    *(st.text("a/[]{}|^`%%4é漢😀#?", max_size=8) for _ in range(3)),
)
mended_events = st.builds(
    Event,
    event_id=tokens(256),
    event_type=st.just(EventType.PURCHASE),
    event_time=st.just(NOW),
    user_match=st.builds(UserMatch, click_id=tokens(9), uids=st.sampled_from([(), []])),
    custom_data=st.builds(CustomData, extra=st.dictionaries(custom_keys, whole_numbers)),
    event_source_url=browsers_urls,
    ext=st.dictionaries(texts, st.lists(whole_numbers, max_size=2), max_size=2),
)
"""Valid events of which something is not written as it is, since sellers would not take it."""
