"""Requests signed by RFC 9421 through the ``auth`` hook, checked by the SDK's own verifier."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker import Agent, Tracker
from adcp_tracker.destinations.auth import RequestSigner
from tests.conformance.installed import needs_sdk
from tests.conformance.selling import SOURCE, SdkSeller
from tests.support.destinations import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_sdk

COUNT = 25


def public_keys(key: Any) -> dict[str, Any]:  # noqa: ANN401 - the library may not be there
    """Return the public half of `key`, as its owner publishes it."""
    x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "kid": "shop-2026",
                "x": x,
                "alg": "EdDSA",
                "use": "sig",
                "key_ops": ["verify"],
                "adcp_use": "request-signing",
            }
        ]
    }


def test_signed_requests_pass_the_sdks_verifier(tmp_path: Path) -> None:
    """No token is needed; a wrong key pauses and loses nothing; a retry is signed anew."""
    signing = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    key, stranger = (signing.Ed25519PrivateKey.generate() for _ in range(2))
    (tmp_path / "seller").mkdir()
    seller = SdkSeller(tmp_path / "seller", {"signed_by": public_keys(key)})
    seller.start()

    def selling(by: object) -> Tracker:
        agent = Agent(
            url=seller.url,
            event_source_id=SOURCE,
            auth=RequestSigner(by, "shop-2026"),
            key_secret="shop-secret",
        )
        return Tracker([agent], directory=tmp_path / "queue")

    try:
        with selling(stranger) as tracker:
            for number in range(COUNT):
                tracker.track_purchase({"id": f"order-{number}", "total": 1, "currency": "EUR"})
            wait_until(lambda: _paused(tracker) or seller.taken())
            assert seller.taken() == []
        seller.suffer({"kind": "refuse", "code": "SERVICE_UNAVAILABLE", "retry_after": 1})
        with selling(key) as tracker:
            counts = tracker.flush(60.0).total()
        assert (counts.delivered, counts.pending, counts.dead) == (COUNT, 0, 0)
        assert sorted(seller.taken_ids()) == sorted(f"order-{number}" for number in range(COUNT))
        *_, refused, repeated = seller.calls()
        assert refused == repeated
    finally:
        seller.stop()


def _paused(tracker: Tracker) -> str:
    (counts,) = tracker.stats().destinations.values()
    return counts.paused
