"""Event sources from a file, TOML or JSON.

::

    [account]                       # for agents; the Interchange knows its advertiser
    account_id = "acc-1"

    [[event_sources]]
    event_source_id = "website"
    name = "Website"
    event_types = ["purchase", "refund"]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.showing import describe, show_key
from adcp_tracker.sources.account import Account, account_of
from adcp_tracker.sources.source import EventSource, distinct, source_of

if TYPE_CHECKING:
    import os

_KEYS = ("account", "event_sources")
_LARGEST = 1_000_000


@attrs.frozen
class SourcesFile:
    """What a file says.

    Attributes:
        sources: The event sources, in its order.
        account: Whose they are, if it says so.
    """

    sources: tuple[EventSource, ...]
    account: Account | None = None


def read_sources(path: str | os.PathLike[str]) -> SourcesFile:
    """Read event sources from a file whose name ends in ``.toml`` or ``.json``.

    Raises:
        ConfigurationError: If it is neither, cannot be parsed, or breaks a rule.
        OSError: If it cannot be read.
    """
    file = Path(path)
    document = _parsed(file)
    if isinstance(document, list):
        document = {"event_sources": document}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{file}: expected event_sources, got {type(document).__name__}")
    unknown = sorted(set(document) - set(_KEYS))
    if unknown:
        raise ConfigurationError(
            f"{file}: expected {' and '.join(_KEYS)}, got {show_key(unknown[0])}"
        )
    tables, account = document.get("event_sources"), document.get("account")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{file}: event_sources: expected a list of tables")
    if account is not None and not isinstance(account, dict):
        raise ConfigurationError(f"{file}: account: expected a table, got {describe(account)}")
    try:
        sources = [source_of(table, f"event_sources[{i}]") for i, table in enumerate(tables)]
        return SourcesFile(distinct(sources), None if account is None else account_of(account))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def _parsed(file: Path) -> object:
    if file.suffix not in {".toml", ".json"}:
        raise ConfigurationError(f"{file}: expected a name that ends in .toml or .json")
    data = file.read_bytes()
    if len(data) > _LARGEST:
        raise ConfigurationError(f"{file}: expected at most {_LARGEST:,} bytes, got {len(data):,}")
    try:
        text = data.decode()
        return json.loads(text) if file.suffix == ".json" else _toml().loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file}: expected {file.suffix[1:].upper()}, {error}") from None


def _toml() -> Any:  # noqa: ANN401 - one of two modules, as the Python has it
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - not in every Python
    else:
        try:
            import tomli as tomllib  # noqa: PLC0415 - its stand-in
        except ImportError:
            message = "TOML needs Python 3.11 or the package tomli; or write the file as JSON"
            raise ConfigurationError(message) from None
    return tomllib
