"""What it means when a call to a seller brings no answer."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import httpx

from adcp_tracker.destinations.base import Paused, Retry
from adcp_tracker.destinations.bounds import AnswerTooLarge
from adcp_tracker.destinations.replies import OVERSIZE, UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = "deadline"

# The first row that fits an exception or one of its causes decides, so the particular
# stands before the general.
_REASONS: tuple[tuple[type[BaseException], str, str], ...] = (
    (socket.gaierror, "dns", "The seller's host name cannot be resolved."),
    (ssl.SSLError, "tls", "The encrypted connection could not be set up or broke."),
    (httpx.ConnectTimeout, "connect_timeout", "The seller could not be reached in time."),
    (httpx.ReadTimeout, "read_timeout", "The seller did not answer in time."),
    (httpx.WriteTimeout, "write_timeout", "The seller did not take the request in time."),
    (httpx.PoolTimeout, "pool_timeout", "No connection to the seller came free in time."),
    (ConnectionRefusedError, "refused", "Nobody listens at the seller's address."),
    (httpx.ProxyError, "proxy", "The proxy from the environment refused the connection."),
    (httpx.ConnectError, "connect", "The seller could not be reached."),
    (httpx.RemoteProtocolError, "disconnected", "The seller broke off without an answer."),
    (httpx.NetworkError, "reset", "The connection to the seller broke."),
    (httpx.DecodingError, UNDECODABLE, "The answer's compression is broken or not known."),
    (AnswerTooLarge, OVERSIZE, "The seller's answer is larger than what is read of one."),
)

_UNTRUSTED = Paused(
    code="tls_untrusted",
    message="The seller's certificate is not to be trusted, so nothing was sent.",
    remedy=(
        "Check the address and this machine's time. For a private authority name its "
        "certificates in SSL_CERT_FILE. If neither explains it, somebody may be listening in."
    ),
)


def outcome_of(error: Exception, *, expired: bool) -> Retry | Paused:
    """Return what a delivery does about a call that raised.

    A certificate that cannot be trusted pauses: trying again would not help, and whoever
    answers must not get the credential. Everything else may pass by itself.

    Args:
        error: What the call raised.
        expired: Whether the call was cut off because its time was up.
    """
    if expired:
        return Retry(DEADLINE, "The call took longer than it may in total.")
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return _UNTRUSTED
    for kind, code, message in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return Retry(code, message)
    return Retry("call_failed", f"The call could not be made: {type(error).__name__}.")


def reason_of(error: Exception, *, expired: bool) -> str:
    """Return in one word why an answer broke off."""
    return outcome_of(error, expired=expired).code


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
