"""Signed requests and OAuth tokens, at running counterparts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import attrs
import pytest

from adcp_tracker import Agent, ConfigurationError, Interchange
from adcp_tracker.destinations.auth import ClientCredentials, RequestSigner
from adcp_tracker.destinations.base import Batch, Delivered, Paused, Retry
from tests.destinations.rawseller import http, raw_seller
from tests.support.destinations import HandClock

if TYPE_CHECKING:
    import socket

    from tests.destinations.rawseller import RawRequest, RawSeller

BATCH = Batch([b'{"event_id":"A-1"}'], b"identity")
REPORT = {"data": {"events_received": 1, "events_processed": 1}, "error": None}
SECRET = "s3cr3t-of-the-shop"


@attrs.define(eq=False)
class Issuer:
    """A seller that issues tokens and takes those it issued last."""

    life: Any = 3600
    status: int = 200
    body: Any = None
    issued: int = 0
    asked: list[RawRequest] = attrs.field(factory=list)
    is_revoked: bool = False

    def play(self, _: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        """Issue a token, or take events."""
        path = request.line.split()[1]
        if path == "/token":
            connection.sendall(self._issue(request))
            return
        wanted = f"Bearer token-{self.issued}"
        if self.is_revoked or request.headers.get("authorization") != wanted:
            self.is_revoked = False
            connection.sendall(http(401))
            return
        connection.sendall(http(200, json.dumps(REPORT).encode()))

    def _issue(self, request: RawRequest) -> bytes:
        self.asked.append(request)
        if self.status != 200:
            return http(self.status, json.dumps(self.body).encode())
        self.issued += 1
        token = {"access_token": f"token-{self.issued}", "expires_in": self.life}
        return http(200, json.dumps(token if self.body is None else self.body).encode())


def interchange(origin: str, clock: HandClock | None = None, **settings: Any) -> Interchange:  # noqa: ANN401
    """Return a destination that gets its tokens from the seller itself."""
    auth = ClientCredentials(
        token_url=f"{origin}/token",
        client_id="shop",
        client_secret=SECRET,
        now=(clock or HandClock()).now,
        **settings,
    )
    return Interchange(advertiser_id="1", event_source_id="w", base_url=origin, auth=auth)


def test_a_token_is_fetched_once_and_renewed_in_time() -> None:
    """Several requests share it, and none is sent with one that is over."""
    issuer, clock = Issuer(life=600), HandClock()
    with raw_seller(issuer.play) as seller:
        shop = interchange(seller.origin, clock, scope="events:write")
        assert all(isinstance(shop.send(BATCH), Delivered) for _ in range(3))
        assert issuer.issued == 1
        clock.time += 560.0
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()
    assert issuer.issued == 2
    form = parse_qs(issuer.asked[0].body.decode())
    assert form == {"grant_type": ["client_credentials"], "scope": ["events:write"]}
    pair = base64.b64decode(issuer.asked[0].headers["authorization"].split()[1]).decode()
    assert pair == f"shop:{SECRET}"


def test_id_and_secret_may_go_in_the_body() -> None:
    """Some issuers take no header."""
    issuer = Issuer()
    with raw_seller(issuer.play) as seller:
        shop = interchange(seller.origin, in_body=True, audience="api")
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()
    form = parse_qs(issuer.asked[0].body.decode())
    assert (form["client_id"], form["client_secret"], form["audience"]) == (
        ["shop"],
        [SECRET],
        ["api"],
    )
    assert "authorization" not in issuer.asked[0].headers


def test_a_revoked_token_is_replaced_once() -> None:
    """The same batch goes again at once under a new token."""
    issuer = Issuer()
    with raw_seller(issuer.play) as seller:
        shop = interchange(seller.origin)
        assert isinstance(shop.send(BATCH), Delivered)
        issuer.is_revoked = True
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()
    assert issuer.issued == 2


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"error": "invalid_client"}, Paused, "TOKEN_invalid_client"),
        (401, {"error": "invalid_client"}, Paused, "TOKEN_invalid_client"),
        (404, None, Paused, "TOKEN_http_404"),
        (200, {"token": "x"}, Paused, "TOKEN_MISSING"),
        (200, [], Paused, "TOKEN_MISSING"),
        (503, None, Retry, "http_503"),
        (429, None, Retry, "http_429"),
    ],
)
def test_without_a_token_nothing_is_sent(
    status: int,
    body: Any,  # noqa: ANN401 - JSON
    kind: Any,  # noqa: ANN401 - a type
    code: str,
) -> None:
    """A wrong credential pauses with the remedy, an outage is tried again; no event dies."""
    issuer = Issuer(status=status, body=body)
    with raw_seller(issuer.play) as seller:
        shop = interchange(seller.origin)
        outcome: Any = shop.send(BATCH)
        shop.close()
        sent = [request for request in seller.requests if "log-event" in request.line]
    assert isinstance(outcome, kind)
    assert outcome.code == code
    assert sent == []
    assert not getattr(outcome, "budgeted", False)
    assert SECRET not in repr(outcome) + repr(shop)


def test_tokens_work_for_agents_too() -> None:
    """The hook is the same for both kinds."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        if request.line.split()[1] == "/token":
            connection.sendall(http(200, b'{"access_token":"abc"}'))
            return
        assert request.headers["authorization"] == "Bearer abc"
        asked = json.loads(request.body)
        report = {"structuredContent": REPORT["data"]}
        result = report if asked["method"] == "tools/call" else {"tools": [{"name": "log_event"}]}
        body = {"jsonrpc": "2.0", "id": asked.get("id"), "result": result}
        connection.sendall(http(200, json.dumps(body).encode()))

    with raw_seller(script) as seller:
        auth = ClientCredentials(
            token_url=f"{seller.origin}/token", client_id="shop", client_secret=SECRET
        )
        shop = Agent(
            url=f"{seller.origin}/mcp", event_source_id="w", auth=auth, key_secret="k" * 32
        )
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token_url": "http://issuer.example/token"}, "token_url: expected https"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_id": "a b"}, "client_id"),
    ],
)
def test_settings_of_oauth_are_checked(settings: dict[str, str], words: str) -> None:
    """A secret never goes over a network in the clear."""
    given: dict[str, Any] = {"token_url": "https://h/t", "client_id": "i", "client_secret": "s"}
    with pytest.raises(ConfigurationError, match=words):
        ClientCredentials(**given | settings)


def test_an_interchange_needs_a_key_or_a_hook() -> None:
    """Without either no request could be right."""
    with pytest.raises(ConfigurationError, match="api_key"):
        Interchange(advertiser_id="1", event_source_id="w")


def _signed(key: Any) -> tuple[RawRequest, str]:  # noqa: ANN401 - optional types
    def script(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
        connection.sendall(http(200, json.dumps(REPORT).encode()))

    with raw_seller(script) as seller:
        signer = RequestSigner(key, "shop-2026", now=lambda: 1_700_000_000.5)
        shop = Interchange(
            advertiser_id="1", event_source_id="w", base_url=seller.origin, auth=signer
        )
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()
        return seller.requests[0], seller.origin


def _base(request: RawRequest, origin: str) -> tuple[bytes, bytes]:
    """Return what is signed, rebuilt from the request as it came, and the signature."""
    terms = request.headers["signature-input"].removeprefix("sig1=")
    verb, path, _ = request.line.split()
    found = {
        "@method": verb,
        "@target-uri": f"{origin}{path}",
        "@authority": request.headers["host"],
        "content-type": request.headers["content-type"],
        "content-digest": request.headers["content-digest"],
    }
    names = re.findall(r'"([^"]+)"', terms.partition(")")[0])
    lines = [*(f'"{name}": {found[name]}' for name in names), f'"@signature-params": {terms}']
    signature = base64.b64decode(request.headers["signature"].removeprefix("sig1=:").rstrip(":"))
    return "\n".join(lines).encode(), signature


def test_a_signature_is_valid_for_the_request_as_it_came() -> None:
    """Method, address, type and body are covered, by either algorithm."""
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    utils = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.utils")
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    key = ed25519.Ed25519PrivateKey.generate()
    request, origin = _signed(key)
    base, signature = _base(request, origin)
    key.public_key().verify(signature, base)
    digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    assert request.headers["content-digest"] == f"sha-256=:{digest}:"
    assert "created=1700000000;expires=1700000300" in request.headers["signature-input"]
    assert 'tag="adcp/request-signing/v1"' in request.headers["signature-input"]
    curve = ec.generate_private_key(ec.SECP256R1())
    base, signature = _base(*_signed(curve))
    halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    encoded = utils.encode_dss_signature(*halves)
    curve.public_key().verify(encoded, base, ec.ECDSA(hashes.SHA256()))


def test_a_key_may_be_pem_and_a_wrong_one_is_not_shown() -> None:
    """What isn't a key is told by its kind."""
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    assert "shop-2026" in repr(RequestSigner(pem, "shop-2026"))
    with pytest.raises(ConfigurationError) as caught:
        RequestSigner(SECRET, "shop-2026")
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError, match="Ed25519 or P-256"):
        RequestSigner(object(), "shop-2026")
    with pytest.raises(ConfigurationError, match="key_id"):
        RequestSigner(pem, 'a"b')
