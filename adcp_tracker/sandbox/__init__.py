"""A seller on this machine: strict, inspectable, and able to fail in every way sellers do.

It speaks the Interchange REST call and AdCP's ``log_event`` over MCP, for real over HTTP.
It needs the extra ``sandbox``.
"""

from __future__ import annotations

try:
    import starlette as _starlette  # noqa: F401 - asked for here, so that the remedy is clear
    import uvicorn as _uvicorn  # noqa: F401 - likewise
except ImportError as error:  # pragma: no cover - shown in a process of its own
    raise ImportError(
        "adcp_tracker.sandbox: expected Starlette and uvicorn to be installed, got "
        f"no {error.name}; install them with: pip install 'adcp-tracker[sandbox]'",
        name=error.name,
    ) from error

from adcp_tracker.sandbox.app import create_app
from adcp_tracker.sandbox.config import (
    DEFAULT_ADVERTISER,
    DEFAULT_SOURCE,
    DEFAULT_TOKEN,
    InjectedFault,
    SandboxConfig,
)
from adcp_tracker.sandbox.server import Sandbox, run

__all__ = [
    "DEFAULT_ADVERTISER",
    "DEFAULT_SOURCE",
    "DEFAULT_TOKEN",
    "InjectedFault",
    "Sandbox",
    "SandboxConfig",
    "create_app",
    "run",
]
