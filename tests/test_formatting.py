"""What messages show of wrong values: help for whoever mistyped, and nobody's data."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker._formatting import (
    describe,
    format_choice,
    format_code,
    format_number,
    format_quantity,
    format_setting,
    is_name,
)
from adcp_tracker.events.model import EventType, UidType

TYPES = [word.value for word in EventType]
UIDS = [word.value for word in UidType]
CODES = ["EUR", "USD"]
PERSONS = [
    "Margaret",
    "margaret.o@private.example",
    "Margaret Ocean",
    "447911123456",
    "+447911123456",
    "s3cr3tPassw0rd",
    "lead_447911123456",
    "purchase\n",
    "purchase" * 4,
]


class Liar(str):
    """Text that answers wrongly, or not at all, when it is asked about itself."""

    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError(str.__str__(self))

    __str__ = __repr__ = __bool__ = __len__  # type: ignore[assignment]  # on purpose


@pytest.mark.parametrize(
    "word", ["purchse", "Purchase", "add-to-cart", "AddToCart", "pageview", "refunded"]
)
def test_a_misspelt_word_is_shown(word: str) -> None:
    """Whoever mistyped a word of a list sees at once which."""
    assert format_choice(word, TYPES) == repr(word)


def test_a_word_may_end_in_a_digit_where_the_lists_words_do() -> None:
    """Universal ids are called so."""
    assert format_choice("uid3", UIDS) == "'uid3'"


@pytest.mark.parametrize("value", PERSONS)
def test_what_is_no_misspelt_word_is_described(value: str) -> None:
    """Whatever else stood there may be somebody's."""
    told = f"a string of {len(value)} characters"
    assert format_choice(value, TYPES) == told
    assert format_code(value, CODES) == told
    assert format_setting(value, ["process", "power"]) == told


@pytest.mark.parametrize("code", ["eur", "xyz", "EURO", "euro", "USD2"])
def test_a_misspelt_code_is_shown(code: str) -> None:
    """Three letters are no one's, and neither is what is almost a currency."""
    assert format_code(code, CODES) == repr(code)


@pytest.mark.parametrize("code", ["Anna", "12345", "12", "\u20ac"])
def test_what_is_no_misspelt_code_is_described(code: str) -> None:
    """A first name has as many letters as some codes."""
    assert format_code(code, CODES) == f"a string of {len(code)} characters"


@pytest.mark.parametrize("value", ["disk", "1GB", "proces", "Prozess", True, 1, -5, 0.5, None])
def test_a_setting_is_shown_if_it_is_too_short_for_a_secret_or_almost_a_choice(
    value: object,
) -> None:
    """Whoever set it sees what arrived."""
    assert format_setting(value, ["process", "power"]) == repr(value)


def test_a_settings_digits_are_shown_where_a_number_belongs() -> None:
    """Elsewhere they are somebody's number, and many are a key."""
    assert format_quantity("2147483648.5") == "'2147483648.5'"
    assert format_quantity("9" * 21) == "a string of 21 characters"
    assert format_quantity("1_000_000_000") == "a string of 13 characters"
    assert format_setting("2147483648") == "a string of 10 characters"


def test_numbers_are_shown_unless_they_are_huge() -> None:
    """A number of thousands of digits is not even written."""
    assert format_number(Decimal("-0.01")) == "-0.01"
    assert format_number(10**5000) == format_setting(10**5000) == "an integer too large to show"


@pytest.mark.parametrize("key", ["sku", "page.title", "line_2", "utm-source", "_x", "sha256"])
def test_a_programs_key_is_a_name(key: str) -> None:
    """It is what leads to the fault."""
    assert is_name(key)


@pytest.mark.parametrize(
    "key", ["447911123456", "tel447911123456", "a@b.c", "a b", "", "x" * 33, "2nd", "k\u00e9y", 5]
)
def test_a_key_that_may_be_somebodys_is_no_name(key: object) -> None:
    """Numbers and addresses end up as keys where data are counted by them."""
    assert not is_name(key)


def test_text_that_lies_about_itself_is_described() -> None:
    """A caller's own class of strings is asked for nothing that it could answer."""
    for show in (describe, format_setting, format_quantity, format_number):
        assert show(Liar("Margaret")) == "a string of 8 characters"
    assert format_choice(Liar("purchse"), TYPES) == "a string of 7 characters"


@given(st.text(min_size=8) | st.emails() | st.from_regex(r"\+?[0-9]{7,15}", fullmatch=True))
def test_no_text_of_a_persons_is_shown(value: str) -> None:
    """Addresses, numbers and long text are described, wherever they were taken for a word."""
    for shown in (
        format_choice(value, TYPES),
        format_code(value, CODES),
        format_setting(value, TYPES),
    ):
        assert shown == describe(value) or value.replace("-", "_").isidentifier()
