"""How events are kept at rest: in clear, or sealed. Loads the cipher only where there is a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.queue.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adcp_tracker.queue.encryption import Encryption


def encryption_with(keys: Sequence[str | bytes]) -> Encryption | None:
    """Return what seals with the first of `keys` and reads with all; nothing without any.

    Raises:
        ConfigurationError: If one is no key, or the package ``cryptography`` is missing.
    """
    if not keys:
        return None
    from adcp_tracker.queue.encryption import Encryption  # noqa: PLC0415 - an extra's

    return Encryption(keys)


def journal_with(encryption: Encryption | None) -> Callable[..., Journal]:
    """Return what makes journals: the plain one, or one that seals."""
    if encryption is None:
        return Journal
    from adcp_tracker.queue.sealedjournal import sealed_journal  # noqa: PLC0415 - an extra's

    return sealed_journal(encryption)
