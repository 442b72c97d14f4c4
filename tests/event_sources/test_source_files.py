"""Event sources and accounts: what they are, and how files describe them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import ActionSource, ConfigurationError, EventType
from adcp_tracker.event_sources.model import (
    Account,
    EventSource,
    read_sources,
    source_from_table,
    unique_sources,
)

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[account]
brand = "shop.example"
operator = "agency.example"

[[event_sources]]
event_source_id = "website"
name = "Website"
event_types = ["purchase", "refund"]
allowed_domains = ["shop.example", "*.shop.example"]
action_source = "website"
value_currencies = ["EUR", "SEK"]
surface = { category = "owned_property", property_type = "shop" }

[[event_sources]]
event_source_id = "till"
"""


def test_a_source_is_written_as_the_protocol_has_it() -> None:
    """Members of enumerations are as good as words; what is not set is left out."""
    source = EventSource(
        event_source_id="w", event_types=[EventType.LEAD], action_source=ActionSource.APP
    )
    wire = {"event_source_id": "w", "name": "w", "event_types": ["lead"], "action_source": "app"}
    assert source.as_json() == wire


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python reads TOML from 3.11 on")
def test_a_toml_file_gives_sources_and_account(tmp_path: Path) -> None:
    """Everything a source can have, in the file's order."""
    file = tmp_path / "sources.toml"
    file.write_text(TOML)
    found = read_sources(file)
    assert found.account == Account(brand="shop.example", operator="agency.example")
    website, till = found.sources
    assert website.as_json() == {
        "event_source_id": "website",
        "name": "Website",
        "event_types": ["purchase", "refund"],
        "allowed_domains": ["shop.example", "*.shop.example"],
        "value_currencies": ["EUR", "SEK"],
        "action_source": "website",
        "surface": {"category": "owned_property", "property_type": "shop"},
    }
    assert till.as_json() == {"event_source_id": "till", "name": "till"}


def test_a_json_file_may_be_a_bare_list(tmp_path: Path) -> None:
    """A list of sources needs no more around it."""
    file = tmp_path / "sources.json"
    file.write_text('[{"event_source_id": "till"}]')
    assert read_sources(file).sources == (EventSource(event_source_id="till"),)
    assert read_sources(file).account is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("s.yaml", "", ".toml or .json"),
        ("s.json", "{", "expected JSON"),
        ("s.json", "3", "expected event_sources"),
        ("s.json", "{}", "event_sources: expected a list of tables"),
        ("s.json", '{"event_source": []}', "got 'event_source'"),
        ("s.json", '{"event_sources": [1]}', "expected a list of tables"),
        ("s.json", '{"event_sources": [], "account": 1}', "account: expected a table"),
        ("s.json", '{"event_sources": [], "account": {"id": "1"}}', "account: expected account_id"),
        ("s.json", '[{"name": "x"}]', r"event_sources[0].event_source_id: expected an id"),
        ("s.json", '[{"event_source_id": "a", "event_type": []}]', "maybe event_types"),
        ("s.json", '[{"event_source_id": "a", "event_types": "lead"}]', "expected a list"),
        ("s.json", '[{"event_source_id": "a", "event_types": ["purchas"]}]', "maybe purchase"),
        ("s.json", '[{"event_source_id": "a", "event_types": [1]}]', "event_types: expected one"),
        ("s.json", '[{"event_source_id": "a", "action_source": "web"}]', "maybe website"),
        ("s.json", '[{"event_source_id": "a", "value_currencies": ["eur"]}]', "three capital"),
        ("s.json", '[{"event_source_id": "a", "allowed_domains": ["a b"]}]', "expected a domain"),
        ("s.json", '[{"event_source_id": "a", "surface": 1}]', "surface: expected a table"),
        ("s.json", '[{"event_source_id": "a", "surface": {}}]', "surface: expected one of"),
        ("s.json", '[{"event_source_id": "a"}, {"event_source_id": "a"}]', "'a' twice"),
        ("s.json", '[{"event_source_id": 7}]', "event_source_id: expected text"),
        ("s.json", '[{"event_source_id": "a", "name": ""}]', "1–255 visible"),
        ("s.json", '[{"event_source_id": "a\\u001b"}]', "1–255 visible"),
        ("s.json", "[" * 100_000, "expected JSON"),
        ("s.json", " " * 1_000_001, "at most 1,000,000 bytes"),
    ],
)
def test_a_mistake_in_a_file_is_named(name: str, text: str, expected: str, tmp_path: Path) -> None:
    """Which file, where in it, what is expected, and often what was meant."""
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_sources(file)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize(
    "text",
    [
        '{"S3cr3t-90210": []}',
        '{"event_sources": [], "account": "S3cr3t-90210"}',
        '{"event_sources": [], "account": {"S3cr3t-90210": "1"}}',
        '{"event_sources": [], "account": {"brand": "S3cr3t-90210"}}',
        '[{"event_source_id": "a", "S3cr3t-90210": 1}]',
        '[{"event_source_id": "a", "event_types": "S3cr3t-90210"}]',
        '[{"event_source_id": "a", "event_types": ["S3cr3t-90210"]}]',
        '[{"event_source_id": "a", "event_types": [["S3cr3t-90210"]]}]',
        '[{"event_source_id": "a", "action_source": "S3cr3t-90210"}]',
        '[{"event_source_id": "a", "value_currencies": ["S3cr3t-90210"]}]',
        '[{"event_source_id": "a", "allowed_domains": ["S3cr3t-90210!"]}]',
        '[{"event_source_id": "a", "surface": "S3cr3t-90210"}]',
        '[{"event_source_id": ["S3cr3t-90210"]}]',
    ],
)
def test_a_secret_in_the_wrong_place_of_a_file_is_not_shown(text: str, tmp_path: Path) -> None:
    """Only what is almost the right word, or a key that looks like one, is repeated."""
    file = tmp_path / "sources.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_sources(file)
    assert "S3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "account.brand: expected a domain"),
        ({"account_id": "a", "brand": "b.example"}, "got account_id and"),
        ({"account_id": "a", "operator": "b.example"}, "got account_id and"),
        ({"account_id": ""}, "1–255 visible"),
        ({"brand": "b.example"}, "account.operator: expected a domain"),
        ({"brand": "B.example", "operator": "b.example"}, "account.brand"),
    ],
)
def test_an_account_is_one_thing_or_the_other(settings: dict[str, Any], expected: str) -> None:
    """An id, or a brand with its operator, and never parts of both."""
    with pytest.raises(ConfigurationError, match=expected):
        Account(**settings)


def test_an_account_is_written_either_way() -> None:
    """The two ways never merge."""
    assert Account(account_id="a").as_json() == {"account_id": "a"}
    natural = Account(brand="b.example", operator="o.example").as_json()
    assert natural == {"brand": {"domain": "b.example"}, "operator": "o.example"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
keys = st.sampled_from(
    ["event_source_id", "name", "event_types", "surface", "allowed_domains", "value_currencies"]
)


sound: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(max_size=6),
    "event_types": st.lists(st.sampled_from(["purchase", "lead", "other"]), max_size=3),
    "allowed_domains": st.lists(st.sampled_from(["shop.example", "a b"]), max_size=2),
}


@pytest.mark.slow
@given(
    table=st.dictionaries(keys | st.text(max_size=5), json_values, max_size=4)
    | st.fixed_dictionaries({"event_source_id": st.just("w")}, optional=sound)
)
def test_no_table_breaks_the_reader(table: dict[str, object]) -> None:
    """Whatever a table holds, it is a valid source or a clear mistake."""
    try:
        source = source_from_table(table, "event_sources[0]")
    except ConfigurationError as error:
        assert "expected" in str(error)  # noqa: PT017 - either way is fine
    else:
        assert json.dumps(source.as_json())


def test_ids_are_distinct() -> None:
    """Two sources of one id would undo each other."""
    with pytest.raises(ConfigurationError, match="'a' twice"):
        unique_sources([EventSource(event_source_id="a"), EventSource(event_source_id="a")])


def test_an_account_by_brand_carries_its_details() -> None:
    """Each goes where the protocol has it, and what isn't given is left out."""
    account = Account(
        brand="shop.example",
        operator="agency.example",
        brand_id="shoes",
        operator_unit="seat-7",
        currency="EUR",
        timezone="Europe/Berlin",
        sandbox=True,
    )
    assert account.as_json() == {
        "brand": {"domain": "shop.example", "brand_id": "shoes"},
        "operator": "agency.example",
        "operator_unit": {"id": "seat-7"},
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "sandbox": True,
    }
    plain = Account(brand="shop.example", operator="shop.example")
    assert plain.as_json() == {"brand": {"domain": "shop.example"}, "operator": "shop.example"}


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"account_id": "a", "sandbox": True}, "account_id and sandbox"),
        ({"brand": "s.example", "operator": "s.example", "currency": "eur"}, "account.currency"),
        ({"brand": "s.example", "operator": "s.example", "brand_id": "A B"}, "account.brand_id"),
        ({"brand": "s.example", "operator": "s.example", "sandbox": "yes"}, "account.sandbox"),
        ({"brand": "s.example", "operator": "s.example", "timezone": ""}, "account.timezone"),
    ],
)
def test_an_accounts_details_are_checked(details: dict[str, Any], words: str) -> None:
    """They belong to a brand's account, and each has its form."""
    with pytest.raises(ConfigurationError, match=words):
        Account(**details)


def test_the_interchange_gets_fields_of_its_own() -> None:
    """An agent doesn't: its schema has none of them."""
    source = EventSource(
        event_source_id="w",
        integration_platform="shopify",
        mapping={"order": "purchase"},
        test_event_code="T",
    )
    own = {"integration_platform": "shopify", "mapping": {"order": "purchase"}}
    assert source.for_interchange().items() >= (own | {"test_event_code": "T"}).items()
    assert set(source.as_json()) == {"event_source_id", "name"}
