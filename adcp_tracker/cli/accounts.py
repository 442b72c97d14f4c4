"""Options that say whose event sources are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from adcp_tracker.sources.account import Account

AccountId = Annotated[
    str | None,
    typer.Option("--account", metavar="ID", help="The account at an agent, by its id."),
]
Brand = Annotated[
    str | None,
    typer.Option(metavar="DOMAIN", help="The account at an agent, by the brand's domain."),
]
Operator = Annotated[
    str | None,
    typer.Option(metavar="DOMAIN", help="Who operates for the brand. [default: the brand]"),
]


def account_from(account: str | None, brand: str | None, operator: str | None) -> Account | None:
    """Return the account that options describe, if they describe any.

    Raises:
        ConfigurationError: If they describe it in part, or twice.
    """
    from adcp_tracker.sources.account import Account  # noqa: PLC0415 - for a quick --help

    if account is None and brand is None and operator is None:
        return None
    if account is None:
        operator = operator or brand
    return Account(account_id=account, brand=brand, operator=operator)
