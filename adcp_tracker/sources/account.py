"""Whose event sources these are, as an agent is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.destinations.addresses import checked_text
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.showing import describe, show_key

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_is_domain: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*").fullmatch
_LONGEST: Final = 255


@attrs.frozen(kw_only=True)
class Account:
    """An account at a seller's agent: its id, or a brand and who operates for it.

    The protocol takes one or the other and never both.

    Attributes:
        account_id: The id that the seller gave.
        brand: The brand's domain, such as ``shop.example``.
        operator: The domain of whoever operates for the brand; often the brand's own.

    Raises:
        ConfigurationError: If it is neither or both.
    """

    account_id: str | None = None
    brand: str | None = None
    operator: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.account_id is not None:
            if self.brand is not None or self.operator is not None:
                raise ConfigurationError(
                    "account: expected either account_id or brand with operator, got both"
                )
            checked_text(self.account_id, "account.account_id", _LONGEST)
            return
        for name, domain in (("brand", self.brand), ("operator", self.operator)):
            if not isinstance(domain, str) or not _is_domain(domain):
                raise ConfigurationError(
                    f"account.{name}: expected a domain such as shop.example, "
                    f"got {describe(domain)}; or give account_id alone"
                )

    def as_json(self) -> dict[str, object]:
        """Return it as the protocol writes it."""
        if self.account_id is not None:
            return {"account_id": self.account_id}
        return {"brand": {"domain": self.brand}, "operator": self.operator}


def account_of(table: Mapping[str, object]) -> Account:
    """Return the account that a file's ``account`` table describes.

    Raises:
        ConfigurationError: If it describes none.
    """
    known = {field.name for field in attrs.fields(Account)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigurationError(
            f"account: expected {', '.join(sorted(known))}, got {show_key(unknown[0])}"
        )
    return Account(**table)  # type: ignore[arg-type]  # it checks
