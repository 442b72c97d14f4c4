"""The table from codes, recoveries and statuses to actions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.error_codes import (
    CODES,
    STATUSES,
    Action,
    classify,
    remedy_for,
    rule_for_status,
)

OK = 200


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_known_code_decides_alone(code: str) -> None:
    """Without a recovery the code's own row counts, whatever the status and the case."""
    assert classify(code, None, OK) is CODES[code]
    assert classify(code.lower(), None, 500) is CODES[code]


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("AUTH_MISSING", Action.PAUSE),
        ("AUTHENTICATION_FAILED", Action.PAUSE),
        ("AUTHORIZATION_FAILED", Action.PAUSE),
        ("ACCOUNT_SUSPENDED", Action.PAUSE),
        ("AGENT_BLOCKED", Action.PAUSE),
        ("PIXEL_NOT_FOUND", Action.PAUSE),
    ],
)
def test_families_of_codes_pause(code: str, action: Action) -> None:
    """What is about credentials, accounts and references is a matter of configuration."""
    assert classify(code, None, OK).action is action


@pytest.mark.parametrize(
    ("code", "recovery", "status", "action"),
    [
        ("WEIRD", None, OK, Action.BUDGET),
        ("", None, OK, Action.BUDGET),
        ("", None, 418, Action.BUDGET),
        ("WEIRD", "transient", OK, Action.RETRY),
        ("WEIRD", "correctable", OK, Action.REJECT),
        ("WEIRD", "terminal", OK, Action.REJECT_NAMED),
        ("WEIRD", "sideways", OK, Action.REJECT_NAMED),
        ("WEIRD", "terminal", 400, Action.REJECT_NAMED),
        ("WEIRD", "correctable", 403, Action.PAUSE),
        ("WEIRD", None, 400, Action.REJECT),
        ("WEIRD", None, 503, Action.RETRY),
        ("VALIDATION_ERROR", "transient", OK, Action.RETRY),
        ("VALIDATION_ERROR", "correctable", OK, Action.REJECT),
        ("VALIDATION_ERROR", "terminal", OK, Action.REJECT),
        ("VALIDATION_ERROR", None, 500, Action.REJECT),
        ("RATE_LIMITED", "transient", OK, Action.SLOW_DOWN),
        ("SERVICE_UNAVAILABLE", "terminal", 503, Action.REJECT_NAMED),
        ("AUTH_REQUIRED", "correctable", OK, Action.PAUSE),
        ("AUTH_REQUIRED", "terminal", OK, Action.PAUSE),
        ("VERSION_UNSUPPORTED", "correctable", OK, Action.PAUSE),
        ("BATCH_TOO_LARGE", "transient", OK, Action.SPLIT),
        ("BATCH_TOO_LARGE", "terminal", OK, Action.SPLIT),
        ("VALIDATION_ERROR", "correctable", 413, Action.SPLIT),
        ("IDEMPOTENCY_CONFLICT", "correctable", OK, Action.FRESH_KEY),
        ("IDEMPOTENCY_EXPIRED", "terminal", OK, Action.FRESH_KEY),
        ("IDEMPOTENCY_IN_FLIGHT", "transient", OK, Action.RETRY),
    ],
)
def test_recovery_then_code_then_status(
    code: str, recovery: str | None, status: int, action: Action
) -> None:
    """The order of judgement holds; a cure of its own goes before all."""
    assert classify(code, recovery, status).action is action


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (301, Action.PAUSE),
        (307, Action.PAUSE),
        (400, Action.REJECT),
        (401, Action.PAUSE),
        (402, Action.PAUSE),
        (403, Action.PAUSE),
        (404, Action.PAUSE),
        (405, Action.PAUSE),
        (406, Action.PAUSE),
        (407, Action.PAUSE),
        (408, Action.RETRY),
        (409, Action.RETRY),
        (410, Action.PAUSE),
        (413, Action.SPLIT),
        (415, Action.PAUSE),
        (421, Action.RETRY),
        (422, Action.REJECT),
        (425, Action.RETRY),
        (426, Action.PAUSE),
        (429, Action.SLOW_DOWN),
        (451, Action.PAUSE),
        (500, Action.RETRY),
        (502, Action.RETRY),
        (503, Action.RETRY),
        (504, Action.RETRY),
        (599, Action.RETRY),
    ],
)
def test_a_status_alone_decides_last(status: int, action: Action) -> None:
    """Each status of the table has its action."""
    assert classify("", None, status).action is action


def test_ranges_of_statuses_do_not_overlap() -> None:
    """No status has two rows."""
    for first, last, row in STATUSES:
        assert all(rule_for_status(status) is row for status in range(first, last + 1))


def test_whatever_pauses_or_rejects_says_what_to_do() -> None:
    """A destination that stands still, or a dead letter, always comes with a remedy."""
    rows = [*CODES.values(), *(row for _, _, row in STATUSES)]
    silent = {Action.PAUSE, Action.REJECT, Action.REJECT_NAMED}
    assert all(row.remedy for row in rows if row.action in silent)


@given(st.text(), st.none() | st.text(), st.integers())
def test_every_error_has_a_row_and_a_remedy(code: str, recovery: str | None, status: int) -> None:
    """Nothing that a seller may say is without a judgement."""
    assert isinstance(classify(code, recovery, status).action, Action)
    assert remedy_for(code)
