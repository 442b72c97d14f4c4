"""Stable event ids."""

from __future__ import annotations

import subprocess
import sys
from typing import cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.builder import build_event, derive_event_id, random_id, refund_id
from tests.support.events import NOW

parts = st.lists(st.text(), max_size=4)


def test_ids_never_change() -> None:
    """Sellers deduplicate by id for weeks, so an id outlives a version of this library."""
    assert refund_id("1001") == "1001:refund"
    assert refund_id("1001", "R-7") == "1001:refund:R-7"
    assert build_event("lead", now=NOW, event_id="L-17").event_id == "L-17"
    assert derive_event_id("subscribe", "user-1", "gold") == (
        "subscribe:5af552c82de5089dee436642c1620818"
    )


def test_a_leads_id_may_be_a_databases_key() -> None:
    """As an order's may."""
    key = UUID(int=5)
    leads = [build_event("lead", now=NOW, event_id=cast("str", each)) for each in ("L-1", 42, key)]
    assert [lead.event_id for lead in leads] == ["L-1", "42", str(key)]


def test_ids_are_the_same_in_another_process() -> None:
    """No id depends on Python's random hashes."""
    code = "from adcp_tracker.events import builder; print(builder.derive_event_id('lead', 'a', 1))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == derive_event_id("lead", "a", 1)


@given(parts, parts)
def test_digests_differ_where_their_parts_do(one: list[str], other: list[str]) -> None:
    """Parts are kept apart, so moving a letter from one to the next makes another id."""
    assert (derive_event_id("lead", *one) == derive_event_id("lead", *other)) == (one == other)


@given(st.text(max_size=30), parts)
def test_a_digest_fits_any_seller(event_type: str, key: list[str]) -> None:
    """However long a business key is, its id has at most 256 characters."""
    made = derive_event_id(event_type, *key)
    assert made.startswith(event_type)
    assert len(made) <= 256


def test_random_ids_differ() -> None:
    """Without anything to name it by, an event counts each time."""
    assert len({random_id() for _ in range(1000)}) == 1000
