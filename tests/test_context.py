"""The request's context: what it holds, what it shows, and how far it reaches."""

from __future__ import annotations

import threading
from contextvars import copy_context

import pytest

from adcp_tracker.context import (
    Consent,
    RequestContext,
    bind_context,
    current_context,
    reset_context,
    set_context,
    without_identifiers,
)

SHOPPER = RequestContext(
    client_ip="8.8.8.8",
    client_user_agent="Mozilla/5.0",
    event_source_url="https://shop.example/thanks?gclid=abc&utm_source=mail",
    click_id="abc",
    click_id_type="gclid",
    consent=Consent.DENIED,
    automated="prefetch",
)


def test_an_empty_context_asserts_nothing() -> None:
    """Nothing is known by default: neither an address nor an answer to the consent question."""
    context = RequestContext()
    assert context.client_ip is None
    assert context.consent is Consent.UNKNOWN
    assert context.automated is None


def test_repr_names_fields_and_shows_no_value() -> None:
    """A context may be printed or logged without giving the shopper away."""
    shown = repr(SHOPPER)
    assert "client_ip" in shown
    assert "8.8.8.8" not in shown
    assert "gclid=abc" not in shown


def test_bind_context_nests_and_ends_with_its_block() -> None:
    """The innermost block wins, and leaving a block restores what was before."""
    inner = RequestContext(client_ip="1.1.1.1")
    assert current_context() is None
    with bind_context(SHOPPER):
        with bind_context(inner):
            assert current_context() is inner
        assert current_context() is SHOPPER
    assert current_context() is None


def test_bind_context_ends_when_the_block_raises() -> None:
    """A failing request leaves no context behind for the next one on its thread."""

    def fail() -> None:
        with bind_context(SHOPPER):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert current_context() is None


def test_set_and_reset_span_two_functions() -> None:
    """A middleware can bind in one hook and unbind in another."""
    token = set_context(SHOPPER)
    assert current_context() is SHOPPER
    reset_context(token)
    assert current_context() is None


def test_another_thread_sees_no_context_unless_it_is_copied() -> None:
    """One request's shopper never reaches another thread's events by accident."""
    seen: list[object] = []
    with bind_context(SHOPPER):
        bare = threading.Thread(target=lambda: seen.append(current_context()))
        copied = threading.Thread(target=copy_context().run, args=(see_into, seen))
        for thread in (bare, copied):
            thread.start()
            thread.join()
    assert seen == [None, SHOPPER]


def see_into(seen: list[object]) -> None:
    """Note the current context."""
    seen.append(current_context())


def test_without_identifiers_keeps_the_page_alone() -> None:
    """After a denial the page may be told, and neither the person nor the click."""
    assert without_identifiers(SHOPPER) == RequestContext(
        event_source_url="https://shop.example/thanks",
        consent=Consent.DENIED,
        automated="prefetch",
    )
    assert without_identifiers(RequestContext()) == RequestContext()
