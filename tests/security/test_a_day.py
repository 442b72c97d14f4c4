"""A representative day of traffic, failures included, and then a search of everything it left.

Neither a credential nor a shopper's own data may be in any file, log entry, repr or traceback.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Agent, Interchange, Tracker
from adcp_tracker.context import RequestContext, bind_context
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.exceptions import AdcpTrackerError
from tests.support.seller import ADVERTISER, SOURCE, run_seller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

API_KEY = "scope3_ZmFrZS1rZXktdGhhdC1pcy1zZWNyZXQ"
TOKEN = "bearer-dG9rZW4tdGhhdC1pcy1zZWNyZXQ"
CONTEXT_KEY = "Y29udGV4dC1rZXktdGhhdC1pcy1zZWNyZXQ-0123"
SECRETS = [API_KEY, TOKEN, CONTEXT_KEY]

EMAIL, PHONE, NAME = "margaret.ocean@private.example", "+447911123456", "Margaret Ocean"
OTHER_EMAIL, BAD_EMAIL = "Zoltan.Weiss@Private.Example", "margaret.ocean(at)private"
BAD_PHONE, STREET = "0791 112 0791 112 0791 112", "17 Harbour Terrace"
RAW = ["argaret", "cean", "7911123456", "791 112", "oltan", "eiss", "Harbour"]
"""Pieces of what a shopper gave, whatever was done to its case and spaces."""

SHOPPER = RequestContext(
    client_ip="8.8.4.4",
    client_user_agent="Mozilla/5.0 Chrome/126",
    event_source_url="https://shop.example/thanks",
    click_id="click-of-somebody",
    click_id_type="gclid",
)
_QUICK = RetryPolicy(lambda: 0.5, probe_seconds=0.01)


def _order(number: int, **changes: object) -> dict[str, object]:
    return {
        "id": f"A-{number}",
        "total": "129.90",
        "currency": "GBP",
        "email": EMAIL,
        "phone": PHONE,
        "name": NAME,
        "address": {"street": STREET},
        "items": [{"id": "SKU-1", "quantity": 2, "price": "64.95"}],
        **changes,
    }


class _Exploding:
    """An order whose total cannot be read, and whose error says everything."""

    id, currency, email = "A-900", "GBP", EMAIL

    @property
    def total(self) -> str:
        raise RuntimeError(f"no total for {NAME} <{EMAIL}> {PHONE}")

    def __repr__(self) -> str:
        return f"<Order of {NAME} {EMAIL}>"


@pytest.fixture
def sellers() -> Iterator[tuple[Sandbox, Sandbox]]:
    """Run a seller of each kind, which ask for the credentials."""
    with run_seller(tokens=(API_KEY,)) as rest, run_seller(tokens=(TOKEN,)) as agent:
        yield rest, agent


def _tracker(directory: Path, sellers: tuple[Sandbox, Sandbox], *, strict: bool = False) -> Tracker:
    rest, agent = sellers
    return Tracker(
        [
            Interchange(
                advertiser_id=ADVERTISER,
                event_source_id=SOURCE,
                api_key=API_KEY,
                base_url=rest.url,
            ),
            Agent(url=agent.mcp_url, event_source_id=SOURCE, token=TOKEN),
        ],
        directory=directory,
        flush_interval=0.02,
        handle_sigterm=False,
        strict=strict,
        default_region="GB",
        context_keys=[CONTEXT_KEY],
        _policy=_QUICK,
    )


def _copy_if_there(source: str, target: str) -> None:
    """Copy a file of a queue at work, which may be deleted at any moment."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _shop(tracker: Tracker) -> list[object]:
    """Sell all day: good orders, wrong ones, and calls that were never right."""
    shown: list[object] = [tracker, tracker.settings, *tracker.destinations, SHOPPER]
    with bind_context(SHOPPER):
        shown += [tracker.track_purchase(_order(number)) for number in range(20)]
        shown.append(tracker.track_refund(_order(3), refund_id="R-1"))
        shown.append(tracker.track_lead(lead_id="L-1", email=OTHER_EMAIL, phone=PHONE))
        tracker.contexts.remember("A-7")
        tracker.contexts.capture()
    wrong: list[dict[str, object]] = [
        {"email": BAD_EMAIL},
        {"phone": BAD_PHONE},
        {"email": {"address": EMAIL}},
        {"currency": EMAIL},
        {"total": NAME},
        {"id": EMAIL * 20},
        {"items": [{"id": "SKU-1", "quantity": NAME}]},
    ]
    shown += [tracker.track_purchase(_order(100 + each, **case)) for each, case in enumerate(wrong)]
    shown.append(tracker.track_purchase(_Exploding()))
    shown.append(tracker.track_purchase(_order(200), context=f"token-of-{EMAIL}"))
    shown.append(tracker.track_custom("signed_up", email=BAD_EMAIL, key=1))
    return shown


def _strictly_wrong(directory: Path, sellers: tuple[Sandbox, Sandbox]) -> list[str]:
    """Make the mistakes of a developer, and return the tracebacks as one would see them."""
    told = []
    tracker = _tracker(directory, sellers, strict=True)
    for case in [{"email": BAD_EMAIL}, {"phone": BAD_PHONE}, {"total": NAME}, {"currency": STREET}]:
        with pytest.raises(AdcpTrackerError) as caught:
            tracker.track_purchase(_order(1, **case))
        error = caught.value
        told += [repr(error), str(error), *traceback.format_exception(error)]
        told.append(repr(pickle.loads(pickle.dumps(error))))  # noqa: S301 - made here
    tracker.close(1.0)
    return told


@pytest.mark.slow
def test_a_day_leaves_no_secret_and_no_shopper_behind(
    tmp_path: Path, sellers: tuple[Sandbox, Sandbox], caplog: pytest.LogCaptureFixture
) -> None:
    """Outages, refusals, lost credentials, damage and wrong orders tell nobody of anybody."""
    caplog.set_level(logging.DEBUG)
    rest, agent = sellers
    directory = tmp_path / "queue"
    tracker = _tracker(directory, sellers)
    rest.fail(status=500, times=2)
    agent.fail(connection="reset", times=2)
    shown = [f"{each!r} {each}" for each in _shop(tracker)]
    snapshot = tmp_path / "amid"
    shutil.copytree(directory, snapshot, copy_function=_copy_if_there)
    tracker.flush(2.0)
    rest.configure(tokens=("another-now",))
    agent.configure(tokens=("another-now",))
    shown += [f"{each!r}" for each in _shop(tracker)]
    tracker.flush(1.0)
    shown += [repr(letter) + repr(letter.summary()) for letter in tracker.dead_letters.list()]
    shown.append(repr(tracker.stats()))
    rest.configure(tokens=(API_KEY,))
    agent.configure(tokens=(TOKEN,))
    tracker.close(5.0)
    (directory / "state" / "cache.db").write_bytes(b"damaged " * 500)
    again = _tracker(directory, sellers)
    shown += [repr(each) for each in _shop(again)]
    again.flush(20.0)
    again.close(3.0)
    shown += _strictly_wrong(tmp_path / "strict", sellers)

    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = "\n".join([*shown, caplog.text])
    assert rest.counts["good"] > 20
    assert files
    assert "event.invalid" in caplog.text
    for words in (*SECRETS, *RAW):
        assert words.lower() not in said.lower(), words
        for path, content in files.items():
            assert words.lower().encode() not in content.lower(), (words, path)
