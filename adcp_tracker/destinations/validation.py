"""Validate the settings of destinations.

A secret may end up in the wrong setting, so error messages show an invalid value only if it is
close to one of the expected words.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from adcp_tracker._formatting import describe, format_number, is_similar
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

_MOST_EVENTS = 10_000
_LEAST_BYTES = 1024
_MOST_BYTES = 1024**3
_SCHEMES = ("http", "https", "ftp", "file", "ws", "wss")


def validate_url(url: str, setting: str, *, allow_http: bool) -> str:
    """Return `url` as given if it is safe to send a secret there.

    Args:
        url: The address as configured.
        setting: The setting's name, for the error.
        allow_http: Whether plain http may leave this machine.

    Raises:
        ConfigurationError: If it isn't an absolute http(s) URL, has a user, an empty query or
            a fragment, or would send the credential unencrypted over a network.
    """
    parsed = _parsed(url)
    if parsed is None:
        message = f"{setting}: expected an absolute URL such as 'https://seller.example', got none"
        raise ConfigurationError(message)
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        got = _scheme(parsed.scheme)
        message = f"{setting}: expected an http(s) URL such as 'https://seller.example', got {got}"
        raise ConfigurationError(message)
    # Check the raw text: the parsed URL doesn't show an empty query (?) or fragment (#).
    if parsed.userinfo or "#" in str(url) or str(url).endswith("?"):
        message = f"{setting}: expected a URL without user, empty query and fragment"
        raise ConfigurationError(message)
    if parsed.scheme == "http" and not allow_http and not is_loopback(parsed.host):
        message = (
            f"{setting}: expected https, got http to {parsed.host!r}, which would show the "
            "credential and the events to the network; use https, or allow_http=True on a "
            "network you trust"
        )
        raise ConfigurationError(message)
    return str(parsed)


def without_query(url: str) -> str:
    """Return `url` without its query, which may hold a secret."""
    return url.partition("?")[0]


def _parsed(url: str) -> httpx.URL | None:
    """Parse `url`; return ``None`` if it is invalid. httpx's errors would show it."""
    import httpx  # noqa: PLC0415 - slow to load, and needed only where there is a destination

    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        return None


def _scheme(scheme: str) -> str:
    if not scheme:
        return "one without a scheme"
    return f"scheme {scheme!r}" if scheme in _SCHEMES else "another scheme; it is not shown"


def is_loopback(host: str) -> bool:
    """Return whether `host` never leaves this machine: ``localhost``, 127/8 or ``::1``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def validate_secret(secret: str | None, setting: str) -> None:
    """Check that `secret` is valid in a header.

    Raises:
        ConfigurationError: If it is empty or holds anything but visible ASCII.
    """
    problem = _problem(secret)
    if problem:
        message = f"{setting}: expected visible ASCII without spaces, got {problem}"
        raise ConfigurationError(message)


def _problem(secret: object) -> str | None:
    """Return what is wrong with a secret, without showing any of it."""
    if not isinstance(secret, str):
        return f"{type(secret).__name__}; give it as a string"
    if not secret:
        return "an empty string; is its variable set?"
    if secret != secret.strip():
        return "surrounding whitespace. Strip it; a trailing newline from a file is the usual cause"
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        return "other characters; its value is not shown"
    return None


def validate_text(text: str, setting: str, limit: int) -> str:
    """Return `text` if it is 1 to `limit` printable characters.

    Raises:
        ConfigurationError: If it isn't a string, or is empty, too long or not printable.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"{setting}: expected a string, got {type(text).__name__}")
    if not 0 < len(text) <= limit or not text.isprintable():
        some = "" if text.isprintable() else ", not all of them visible; is there a line break?"
        got = f"{describe(text)}{some}"
        raise ConfigurationError(f"{setting}: expected 1–{limit} visible characters, got {got}")
    return text


def validate_common(destination: _Common) -> None:
    """Check the settings that every kind of destination has.

    Raises:
        ConfigurationError: If one is invalid.
    """
    validate_text(destination.event_source_id, "event_source_id", 255)
    validate_text(destination.name, "name", 1024)
    validate_number(destination.max_events, "max_events", 1, _MOST_EVENTS)
    validate_number(destination.max_bytes, "max_bytes", _LEAST_BYTES, _MOST_BYTES)


class _Common(Protocol):
    event_source_id: str
    name: str
    max_events: int
    max_bytes: int


def validate_number(number: object, setting: str, least: int, most: int) -> None:
    """Check that `number` is an integer from `least` to `most`.

    Raises:
        ConfigurationError: If it isn't.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        message = f"{setting}: expected an integer, got {describe(number)}"
        raise ConfigurationError(message)
    if not least <= number <= most:
        message = f"{setting}: expected {least:,} to {most:,}, got {format_number(number)}"
        raise ConfigurationError(message)


def validate_choice(choice: object, setting: str, choices: Sequence[str | None]) -> None:
    """Check that `choice` is one of `choices`.

    Raises:
        ConfigurationError: If it isn't. The message shows it only if it is close to one that is.
    """
    if choice not in choices:
        words = [word for word in choices if word is not None]
        expected = " or ".join(map(repr, choices))
        is_shown = isinstance(choice, str) and is_similar(choice, words)
        got = repr(choice) if is_shown else describe(choice)
        raise ConfigurationError(f"{setting}: expected {expected}, got {got}")


def is_remote(destination: object) -> bool:
    """Return whether a destination sends beyond this machine; one without a URL doesn't."""
    url = getattr(destination, "base_url", None) or getattr(destination, "url", None)
    parsed = _parsed(url) if isinstance(url, str) else None
    return parsed is not None and not is_loopback(parsed.host)
