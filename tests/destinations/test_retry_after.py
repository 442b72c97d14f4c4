"""How long a seller asks to be left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.responses import clamp, rate_limit_delay, requested_delay

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("\x1c30", 30),
        ("1.5", 1.5),
        ("0", 1),
        ("99999", 3600),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60),
        ("Tue, 14 Nov 2023 21:00:00 GMT", 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("5, 10", 10),
        ('"5"', 5),
        ("+5", 5),
        ("5s", 5),
        ("2023-11-14T22:14:20Z", 60),
        ("2023-11-14T22:14:20", 60),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        ("Tue, 99 Nov 2023 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, wait: float | None) -> None:
    """Both forms of RFC 9110 are read and clamped to 1–3600; anything else is no wait."""
    assert requested_delay({"retry-after": header}, None, NOW) == wait


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        (12, 12),
        (0.2, 1),
        (-7, 1),
        (10**9, 3600),
        (10**400, 3600),
        (-(10**400), 1),
        ("45", 45),
        ("\x1c45", 45),
        (True, None),
        ([5], None),
    ],
)
def test_retry_after_of_an_error_is_read(said: object, wait: float | None) -> None:
    """The protocol's own field is clamped as well."""
    assert requested_delay({}, said, NOW) == wait


def test_the_longest_wait_counts() -> None:
    """Each wait is a minimum, so all are kept by keeping the longest."""
    headers = {"retry-after": "10", "ratelimit-remaining": "0", "ratelimit-reset": "40"}
    assert requested_delay(headers, 20, NOW) == 40
    assert requested_delay({"retry-after": "50"}, 20, NOW) == 50


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"ratelimit-remaining": "0", "ratelimit-reset": "42"}, 42),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "42"}, None),
        ({"ratelimit-remaining": "0"}, None),
        ({"ratelimit-remaining": "none", "ratelimit-reset": "42"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000030"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000030000"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600000000"}, 1),
        ({"ratelimit": "limit=100, remaining=0, reset=7"}, 7),
        ({"ratelimit": "limit=100, remaining=3, reset=7"}, None),
        ({"ratelimit": '"default";r=0;t=9'}, 9),
        ({"ratelimit": '"burst";r=0;t=9, "day";r=0;t=900'}, 900),
        ({"ratelimit": '"burst";r=5;t=9, "day";r=0;t=900'}, 900),
        ({"ratelimit": '"burst";r=0;t=9, "day";r=5;t=900'}, 9),
        ({"ratelimit": "nonsense"}, None),
        ({}, None),
    ],
)
def test_an_exhausted_rate_limit_waits_for_its_reset(
    headers: dict[str, str], wait: float | None
) -> None:
    """All three generations of the header are understood."""
    assert rate_limit_delay(headers, NOW) == wait


@given(st.floats())
def test_a_wait_is_always_within_the_protocols_bounds(seconds: float) -> None:
    """Not even infinity or no number at all gets through."""
    assert 1 <= clamp(seconds) <= 3600


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "retry-after",
                "ratelimit",
                "ratelimit-remaining",
                "ratelimit-reset",
                "x-ratelimit-reset",
            ]
        ),
        st.text() | st.from_regex(r"[0-9]{1,30}", fullmatch=True),
    ),
    st.none() | st.floats() | st.text() | st.integers(),
)
def test_no_header_raises(headers: dict[str, str], said: object) -> None:
    """Whatever is said, the answer is a wait within bounds or none."""
    wait = requested_delay(headers, said, NOW)
    assert wait is None or 1 <= wait <= 3600
