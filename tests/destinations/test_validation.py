"""What a destination is given is refused without showing what may be a secret in it."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import join_url
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.destinations.validation import validate_url
from adcp_tracker.exceptions import ConfigurationError

SECRET = "s3cr3tpassw0rd"
SHOP: dict[str, Any] = {"advertiser_id": "1", "event_source_id": "pixel", "api_key": "key"}
AGENT: dict[str, Any] = {"url": "https://h/mcp", "event_source_id": "pixel", "token": "key"}


def expect_refused(kind: type[Interchange | Agent], settings: dict[str, Any], told: str) -> None:
    """It is refused with these words, and shows the secret neither itself nor by its causes."""
    with pytest.raises(ConfigurationError) as caught:
        kind(**settings)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert SECRET not in "".join(traceback.format_exception_only(error))


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}/x@host/api",
        f"https://key:{SECRET}",
        f"https://h:99999{SECRET}/",
        f"https://[{SECRET}]/",
        f"https://h\n{SECRET}",
        f"https://-{SECRET}ü\u2028.x/",
        f"https://{SECRET}\ud800.x/",
        f"https://u:{SECRET}@h/",
        f"https://h/#{SECRET}",
        f"{SECRET}:x//h",
        SECRET,
        SECRET.encode(),
    ],
)
def test_no_part_of_an_address_that_is_refused_is_shown(url: Any) -> None:  # noqa: ANN401
    """Neither in the error nor in another that it came of."""
    expect_refused(Interchange, SHOP | {"base_url": url}, "base_url: expected")


@pytest.mark.parametrize("end", ["?", "#", "/?", "/#", "?#", "?a=1#", "#a"])
def test_an_address_has_no_fragment_and_no_empty_query(end: str) -> None:
    """Behind a bare question mark or number sign there would be no path to the events."""
    told = "base_url: expected a URL without user, empty query and fragment"
    expect_refused(Interchange, SHOP | {"base_url": f"https://h/api{end}"}, told)


@pytest.mark.parametrize("end", ["/mcp", "/mcp/", "/", "/mcp?tenant=a", "/mcp/?tenant=a&b=%2F"])
def test_an_agents_address_is_kept_as_given(end: str) -> None:
    """A slash at the end and a query are the seller's; the name has neither."""
    agent = Agent(**AGENT | {"url": f"https://h{end}"})
    assert agent.url == f"https://h{end}"
    assert agent.name == f"agent:h{end.partition('?')[0].rstrip('/')}/pixel"


def test_a_query_is_not_shown() -> None:
    """It may hold a secret."""
    shown = repr(Agent(**AGENT | {"url": f"https://h/mcp?k={SECRET}"}))
    shown += repr(Interchange(**SHOP, base_url=f"https://h/api?k={SECRET}"))
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://h/api/", "a", "https://h/api/a"),
        ("https://h/api?t=1", "a", "https://h/api/a?t=1"),
        ("https://h/api/?t=1", "a?take=1", "https://h/api/a?take=1&t=1"),
    ],
)
def test_a_path_goes_in_front_of_the_query(base: str, path: str, url: str) -> None:
    """The query of a base address is on every request."""
    assert join_url(base, path) == url


def test_marks_that_are_escaped_belong_to_the_path() -> None:
    """What is percent-encoded divides nothing."""
    assert validate_url("https://h/a%3Fb%23", "url", allow_http=False) == "https://h/a%3Fb%23"


@pytest.mark.parametrize("setting", ["advertiser_id", "event_source_id", "name"])
def test_a_secret_in_the_place_of_a_name_is_not_shown(setting: str) -> None:
    """A variable's value that ended in another setting is told by its size."""
    told = f"{setting}: expected 1–"
    expect_refused(Interchange, SHOP | {setting: f"{SECRET}\n"}, told)
    expect_refused(Interchange, SHOP | {setting: f"{SECRET}\n"}, "got a string of 15 characters")
    expect_refused(Interchange, SHOP | {setting: SECRET * 100}, "got a string of 1400 characters")


def test_a_secret_in_the_place_of_a_word_is_not_shown() -> None:
    """What is like none of the words that were expected may be anything."""
    told = "compression: expected 'gzip' or None, got a string of 14 characters"
    expect_refused(Interchange, SHOP | {"compression": SECRET}, told)
    told = "adcp_version: expected '3.0' or '3.1' or '3.2', got a string of 14 characters"
    expect_refused(Agent, AGENT | {"adcp_version": SECRET}, told)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (Interchange, SHOP | {"compression": "GZip"}, "got 'GZip'"),
        (Interchange, SHOP | {"compression": "gzip\n"}, r"got 'gzip\n'"),
        (Agent, AGENT | {"adcp_version": "3.1.2"}, "got '3.1.2'"),
        (Agent, AGENT | {"adcp_version": 3.1}, "got a float"),
    ],
)
def test_a_word_that_is_nearly_right_is_shown(
    kind: type[Interchange | Agent], settings: dict[str, Any], told: str
) -> None:
    """Whoever misspelt it sees where."""
    expect_refused(kind, settings, told)


@given(st.text(max_size=30), st.sampled_from(["https://", "http://localhost", "", "//", "https:/"]))
def test_any_text_is_an_address_or_is_refused(text: str, before: str) -> None:
    """Nothing but the one error comes of what is given, and it has no other inside."""
    found, inside = "", None
    try:
        found = validate_url(before + text, "url", allow_http=True)
    except ConfigurationError as error:
        inside = error.__context__
    assert inside is None
    assert "#" not in found
    assert not found.endswith("?")


@pytest.mark.parametrize(
    ("setting", "value", "got"),
    [
        ("max_events", 0, "expected 1 to 10,000, got 0"),
        ("max_events", 10_001, "got 10001"),
        ("max_events", True, "expected an integer, got a bool"),
        ("max_events", "100", "expected an integer, got a string of 3 characters"),
        ("max_events", 1.5, "expected an integer, got a float"),
        ("max_bytes", 1023, "expected 1,024 to"),
        ("max_bytes", -1, "got -1"),
        ("max_bytes", None, "expected an integer, got nothing"),
    ],
)
@pytest.mark.parametrize(("kind", "settings"), [(Interchange, SHOP), (Agent, AGENT)])
def test_limits_are_checked(
    kind: type[Interchange | Agent], settings: dict[str, Any], setting: str, value: object, got: str
) -> None:
    """A limit that no request fits would hold every event for ever."""
    with pytest.raises(ConfigurationError, match=setting) as caught:
        kind(**settings | {setting: value})
    assert got in str(caught.value)
