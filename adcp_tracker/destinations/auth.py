"""Ways to authenticate beside a bearer token; pass one as ``auth=`` to a destination.

Importing this module imports httpx, and signing needs the extra ``signing``.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import attrs
import httpx

from adcp_tracker.destinations.base import (
    Paused,
    Rejected,
    Retry,
    Timeouts,
    TooLarge,
    user_agent,
)
from adcp_tracker.destinations.http import AuthenticationFailed, HttpClient
from adcp_tracker.destinations.responses import (
    Response,
    find_error,
    outcome_from_error,
    read_error,
    sanitize,
)
from adcp_tracker.destinations.validation import (
    validate_secret,
    validate_text,
    validate_url,
    without_query,
)
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_SIGNATURE_SECONDS = 300
_TAG = "adcp/request-signing/v1"
_UNAUTHORIZED = 401
_RENEW_BEFORE_SECONDS = 60.0
_DEFAULT_LIFE_SECONDS = 300.0
_REMEDY = "Check token_url, client_id, client_secret and scope."


class RequestSigner(httpx.Auth):
    """Signs each request and its body by RFC 9421, as AdCP's profile has it.

    Args:
        key: The private key, an Ed25519 or P-256 key of the package ``cryptography``, or its
            PEM text.
        key_id: The id under which you publish the public key.
        now: Returns the current time in seconds since the epoch.

    Raises:
        ConfigurationError: If the key is of another kind or can't be read.
    """

    requires_request_body = True

    def __init__(self, key: object, key_id: str, *, now: Callable[[], float] = time.time) -> None:
        self._key_id = _quotable(validate_text(key_id, "key_id", 255), "key_id")
        self._algorithm, self._sign = _signing(_loaded(key))
        self._now = now

    def __repr__(self) -> str:
        return f"RequestSigner(key_id={self._key_id!r}, key='***')"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request. Each try is signed anew, with its own nonce and time."""
        digest = base64.b64encode(hashlib.sha256(request.content).digest()).decode()
        request.headers["Content-Digest"] = f"sha-256=:{digest}:"
        covered = {
            "@method": request.method,
            "@target-uri": str(request.url),
            "@authority": request.url.netloc.decode(),
            "content-type": request.headers.get("Content-Type", ""),
            "content-digest": request.headers["Content-Digest"],
        }
        names = " ".join(f'"{name}"' for name in covered)
        created, nonce = int(self._now()), secrets.token_urlsafe(16)
        terms = (
            f"({names});created={created};expires={created + _SIGNATURE_SECONDS}"
            f';nonce="{nonce}";keyid="{self._key_id}";alg="{self._algorithm}";tag="{_TAG}"'
        )
        lines = [f'"{name}": {value}' for name, value in covered.items()]
        base = "\n".join([*lines, f'"@signature-params": {terms}'])
        signature = base64.b64encode(self._sign(base.encode())).decode()
        request.headers["Signature-Input"] = f"sig1={terms}"
        request.headers["Signature"] = f"sig1=:{signature}:"
        yield request


def _quotable(text: str, setting: str) -> str:
    if not text.isascii() or '"' in text or "\\" in text:
        raise ConfigurationError(f"{setting}: expected ASCII without quotes and backslashes")
    return text


def _loaded(key: object) -> object:
    """Return a private key; read it first if it is given as PEM."""
    if not isinstance(key, (str, bytes)):
        return key
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - optional
        load_pem_private_key,
    )

    try:
        return load_pem_private_key(key.encode() if isinstance(key, str) else key, None)
    except (ValueError, TypeError):
        message = "key: expected an unencrypted private key in PEM form; its value is not shown"
        raise ConfigurationError(message) from None


def _signing(key: Any) -> tuple[str, Callable[[bytes], bytes]]:  # noqa: ANN401 - optional types
    """Return the algorithm's name and the function that signs with `key`."""
    try:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils  # noqa: PLC0415
    except ImportError:
        message = "RequestSigner needs cryptography. Install adcp-tracker[signing]."
        raise ConfigurationError(message) from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519", key.sign
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        kind = type(key).__name__
        raise ConfigurationError(f"key: expected an Ed25519 or P-256 private key, got {kind}")
    private = key

    def sign(data: bytes) -> bytes:
        signed = private.sign(data, ec.ECDSA(hashes.SHA256()))
        return b"".join(part.to_bytes(32, "big") for part in utils.decode_dss_signature(signed))

    return "ecdsa-p256-sha256", sign


@attrs.define(kw_only=True, eq=False, repr=False)
class ClientCredentials(httpx.Auth):
    """Gets bearer tokens by OAuth client credentials, and renews them in time.

    Attributes:
        token_url: Where tokens are issued.
        client_id: The client's id.
        client_secret: The client's secret, never shown.
        scope: The scopes to ask for, separated by spaces; empty for the default.
        audience: The API the token is for, if the issuer asks for it.
        in_body: Whether id and secret go in the request's body instead of its header.
        allow_http: Whether to allow unencrypted http to other machines.
        transport: Replaces the network, in tests.
        now: Returns the current time in seconds since the epoch.

    Raises:
        ConfigurationError: If a setting is invalid.
    """

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""
    audience: str = ""
    in_body: bool = False
    allow_http: bool = False
    transport: httpx.BaseTransport | None = None
    now: Callable[[], float] = time.time
    _http: HttpClient = attrs.field(init=False)
    _token: str = attrs.field(default="", init=False)
    _renew_at: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.token_url = validate_url(self.token_url, "token_url", allow_http=self.allow_http)
        validate_secret(self.client_id, "client_id")
        validate_secret(self.client_secret, "client_secret")
        self._http = HttpClient(Timeouts(total=30.0), self.transport, None, self.now)

    def __repr__(self) -> str:
        url = without_query(self.token_url)
        return f"ClientCredentials(token_url={url!r}, client_secret='***')"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with a token; once more with a new one if that was revoked."""
        is_old = self.now() < self._renew_at
        if not is_old:
            self._renew()
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == _UNAUTHORIZED and is_old:
            self._renew()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _renew(self) -> None:
        """Get a new token.

        Raises:
            AuthenticationFailed: If there is none; it says what the delivery does about it.
        """
        response = self._http.request("POST", self.token_url, self._headers(), self._form())
        self._http.close()
        if not isinstance(response, Response):
            raise AuthenticationFailed(response)
        payload = response.json()
        token = payload.get("access_token") if isinstance(payload, dict) else None
        if not response.is_success or not isinstance(token, str) or not token.isascii():
            raise AuthenticationFailed(_no_token(response, payload))
        life = payload.get("expires_in") if isinstance(payload, dict) else None
        is_number = isinstance(life, (int, float)) and not isinstance(life, bool)
        seconds = max(float(life or 0), 0.0) if is_number else 0.0
        seconds = seconds or _DEFAULT_LIFE_SECONDS
        self._token = token.strip()
        self._renew_at = self.now() + max(seconds - _RENEW_BEFORE_SECONDS, seconds / 2)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "User-Agent": user_agent(),
        }
        if self.in_body:
            return headers
        pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
        return headers | {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def _form(self) -> bytes:
        grant = "client_credentials"
        fields = {"grant_type": grant, "scope": self.scope, "audience": self.audience}
        if self.in_body:
            fields |= {"client_id": self.client_id, "client_secret": self.client_secret}
        return urlencode({name: value for name, value in fields.items() if value}).encode()


def _no_token(response: Response, payload: object) -> Retry | Paused:
    """Return what a delivery does without a token: wait for a person, or try again."""
    error = find_error(payload)
    outcome = outcome_from_error(read_error(error or {}), response, 0)
    if isinstance(outcome, Retry) and not response.is_success:
        return attrs.evolve(outcome, budgeted=False)
    if isinstance(outcome, (Paused, Rejected, TooLarge)):
        return Paused(f"TOKEN_{outcome.code}"[:64], outcome.message, _REMEDY)
    words = f"The token endpoint responded with HTTP {response.status} and no access_token."
    return Paused("TOKEN_MISSING", sanitize(words), _REMEDY)
