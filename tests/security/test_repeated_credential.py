"""A seller that repeats the request in its refusal gets no credential written down."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Interchange, Tracker
from tests.cli.program import run
from tests.destinations.rawseller import http, raw_seller
from tests.support.booked import track
from tests.support.destinations import wait_until

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.destinations.rawseller import RawRequest, RawSeller

KEY = "live_SECRETKEY0123456789"


def repeat(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
    """Refuse a credential by naming it."""
    words = f"Invalid credential 'Authorization: {request.headers['authorization']}'"
    answer = {"error": {"code": "UNAUTHORIZED", "message": words}}
    connection.sendall(http(401, json.dumps(answer).encode()))


@pytest.mark.slow
def test_a_repeated_credential_is_in_no_log_no_file_and_no_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The seller's words are told everywhere, with a mark in the credential's place."""
    caplog.set_level(logging.DEBUG)
    queue = tmp_path / "queue"
    with raw_seller(repeat) as seller:
        shop = Interchange(
            advertiser_id="1", event_source_id="pixel", api_key=KEY, base_url=seller.origin
        )
        tracker = Tracker([shop], directory=queue, flush_interval=0.02, handle_sigterm=False)
        track(tracker, 1)
        wait_until(lambda: tracker.stats().destinations[shop.name].paused)
        stats = tracker.stats()
        tracker.close(0.5)
    status = run("status", "--directory", queue)
    told = [repr(stats), caplog.text, status.out]
    assert all("Invalid credential 'Authorization: ***'" in each for each in told)
    kept = [path.read_bytes() for path in queue.rglob("*") if path.is_file()]
    assert any(b"***" in each for each in kept)
    assert not any(KEY in each for each in told)
    assert not any(KEY.encode() in each for each in kept)
