"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Directory = Annotated[
    str | None,
    typer.Option("--directory", "-d", metavar="PATH", help="The queue. [default: ADCP_DIRECTORY]"),
]
