"""A strict local seller for development and tests.

Speaks the Interchange REST API and AdCP's ``log_event`` over MCP, over real HTTP, and can
fail on request in the ways real sellers fail. Needs the extra ``sandbox``.
"""

from __future__ import annotations

try:
    import starlette as _starlette  # noqa: F401 - checked here for a clear error
    import uvicorn as _uvicorn  # noqa: F401 - likewise
except ImportError as error:  # pragma: no cover - shown in a process of its own
    raise ImportError(
        f"The sandbox needs {error.name}; run: pip install 'adcp-tracker[sandbox]'",
        name=error.name,
    ) from error

from adcp_tracker.sandbox.config import (
    DEFAULT_ADVERTISER,
    DEFAULT_SOURCE,
    DEFAULT_TOKEN,
    InjectedFault,
    SandboxConfig,
)
from adcp_tracker.sandbox.server import Sandbox, create_app, run

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
