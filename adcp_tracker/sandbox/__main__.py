"""``python -m adcp_tracker.sandbox``: run the local seller in the foreground."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import SandboxConfig, run
from adcp_tracker.sandbox.config import structure


def main(arguments: list[str] | None = None) -> int:
    """Run the local seller with command-line arguments.

    Returns:
        The exit code: 0 when stopped, 2 if an argument is wrong.
    """
    parsed = _parser().parse_args(arguments)
    try:
        settings = json.loads(parsed.config)
        config = structure(settings, SandboxConfig)
        run(
            config,
            host=parsed.host,
            port=parsed.port,
            port_file=parsed.port_file,
            on_ready=_print_url,
        )
    except (ConfigurationError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command prints
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m adcp_tracker.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the loopback address to listen on")
    parser.add_argument("--port", type=int, default=8765, help="0 picks a free one")
    parser.add_argument(
        "--port-file", type=Path, help="write the port to this file once it listens"
    )
    parser.add_argument("--config", default="{}", help="SandboxConfig settings as JSON")
    return parser


def _print_url(url: str) -> None:
    print(f"The local seller listens on {url}", flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    sys.exit(main())
