"""Money, digit for digit."""

from __future__ import annotations

from decimal import Decimal, localcontext
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.parsing import (
    DECIMALS,
    check_decimals,
    from_minor,
    parse_amount,
    sum_lines,
)


@pytest.mark.parametrize(
    ("amount", "currency", "money"),
    [(1999, "USD", "19.99"), (1999, "JPY", "1999"), (1999, "KWD", "1.999"), (-5, "EUR", "-0.05")],
)
def test_minor_units_become_money(amount: int, currency: str, money: str) -> None:
    """Payment providers count cents, yen and fils."""
    assert str(from_minor(amount, currency)) == money


def test_minor_units_of_an_unknown_currency_are_not_guessed() -> None:
    """Nobody knows how many decimals a made-up currency has."""
    with pytest.raises(KeyError):
        from_minor(1, "ABC")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (Decimal("1.10"), "1.10"),
        (3, "3"),
        ("59.90", "59.90"),
        (" 59.90 ", "59.90"),
        ("-5", "-5"),
        (19.99, "19.99"),
        (0.1, "0.1"),
        (SimpleNamespace(amount=Decimal("7.50")), "7.50"),
        (SimpleNamespace(amount="7.50", currency="EUR"), "7.50"),
    ],
)
def test_amounts_are_read_as_they_are_written(value: object, read: str) -> None:
    """A float counts by its digits, and objects of money libraries by their amount."""
    assert str(parse_amount(value)) == read


@pytest.mark.parametrize("value", ["19,90", "$5", "1e3", "", "1_000", "١٢", "NaN", True, b"5", []])
def test_what_is_no_amount_is_left_for_the_event_to_refuse(value: object) -> None:
    """Nothing is guessed: a comma could be a decimal point or not."""
    assert parse_amount(value) is value


@given(st.floats(0, 10**9))
def test_a_float_is_never_read_by_its_binary_value(value: float) -> None:
    """What the shop's own program prints is what is sent."""
    read = parse_amount(value)
    assert isinstance(read, Decimal)
    assert repr(float(read)) == repr(value)


@given(st.lists(st.tuples(st.integers(1, 99), st.decimals(0, 10**6, places=3)), max_size=9))
def test_sums_are_exact_whatever_the_host_rounds_to(lines: list[tuple[int, Decimal]]) -> None:
    """The host's decimal context does not reach in here."""
    with localcontext() as context:
        context.prec = 3
        total = sum_lines(lines)
    assert total == sum((quantity * price for quantity, price in lines), Decimal(0))


@pytest.mark.parametrize("line", [(1, None), (None, 5), ("2", Decimal(1)), (1, 1.5), (1, "1")])
def test_a_sum_with_an_unknown_is_unknown(line: tuple[object, object]) -> None:
    """Half a total would be worse than none."""
    assert sum_lines([(1, Decimal("2.00")), line]) is None


@pytest.mark.parametrize("price", [Decimal("sNaN"), Decimal("1E+300"), Decimal("Infinity")])
def test_a_sum_of_nonsense_is_no_crash(price: Decimal) -> None:
    """It has no sum, or one that the event refuses."""
    total = sum_lines([(1, price), (3, Decimal("1E-300"))])
    assert total is None or not total.is_finite()


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("59.90", "EUR"),
        ("59.9000", "EUR"),
        ("59", "EUR"),
        ("1999", "JPY"),
        ("1999.00", "JPY"),
        ("1E+3", "JPY"),
        ("1.234", "KWD"),
        ("1.2345", "CLF"),
        ("1.23456789", "ABC"),
        ("1.23456789", None),
        ("NaN", "EUR"),
    ],
)
def test_decimals_that_a_currency_has_are_fine(amount: str, currency: str | None) -> None:
    """Trailing zeros count for nothing, and nothing is known of other currencies."""
    assert check_decimals(Decimal(amount), currency, "$") == ()


@pytest.mark.parametrize(
    ("amount", "currency", "fault"),
    [
        ("59.901", "EUR", "$.v: expected at most 2 decimals in EUR, got 3 of them"),
        ("19.99", "JPY", "$.v: expected at most 0 decimals in JPY, got 2 of them"),
        ("19.9912", "KWD", "$.v: expected at most 3 decimals in KWD, got 4 of them"),
        ("0.30000000000000004", "USD", "$.v: expected at most 2 decimals in USD, got 17 of them"),
    ],
)
def test_more_decimals_than_that_are_a_fault(amount: str, currency: str, fault: str) -> None:
    """Minor units taken for major ones, or sums of floats, are found here."""
    assert [str(each) for each in check_decimals(Decimal(amount), currency, "$.v")] == [fault]


def test_the_table_knows_the_currencies_that_differ() -> None:
    """Yen have no decimals, dinars three."""
    assert {DECIMALS[code] for code in ("JPY", "KRW", "CLP", "ISK")} == {0}
    assert {DECIMALS[code] for code in ("KWD", "BHD", "OMR", "TND")} == {3}
    assert {DECIMALS[code] for code in ("EUR", "USD", "GBP", "SEK")} == {2}
    assert all(len(code) == 3 for code in DECIMALS)
