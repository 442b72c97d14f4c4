"""The page about the transactional outbox: its blocks, run in a row as a reader runs them."""

from __future__ import annotations

import doctest
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg

from tests.support import pages

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox
    from tests.support.postgres import PostgresServer

PAGE = pages.ROOT / "docs" / "howto" / "transactional.md"
FILE = re.compile(r"# ([a-z/]+\.py)\n")
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_a_reader_who_follows_the_page_sees_both_orders_arrive(
    tmp_path: Path, seller: Sandbox, postgres: PostgresServer
) -> None:
    """Every file and every command of the page, in its order, does what it shows."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE shop LOGIN CREATEDB")
        connection.execute("CREATE DATABASE shop OWNER shop")
    socket = str(postgres.directory)
    environment = pages.environment(seller.origin, tmp_path)
    del environment["ADCP_DIRECTORY"]

    def placed(text: str) -> str:
        """Name the test's server in place of the page's."""
        url = text.replace("@db.example/shop", f"@/shop?host={quote(socket, safe='')}")
        return url.replace("db.example", socket)

    for block in pages.blocks(PAGE):
        if block.language == "python":
            named = FILE.match(block.text)
            assert named, f"{PAGE}:{block.line}: expected the name of a file"
            with (tmp_path / named[1]).open("a") as file:
                file.write(f"\n{placed(block.text)}")
        elif block.language == "console":
            for part in block.text.removeprefix("$ ").split("\n$ "):
                command, _, shown = part.partition("\n")
                done = subprocess.run(
                    ["/bin/bash", "-c", placed(command)],
                    cwd=tmp_path,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                    timeout=100,
                )
                right = doctest.OutputChecker().check_output(shown or "...\n", done.stdout, LENIENT)
                assert (right, done.returncode) == (True, 0), f"$ {command}\n{done.stdout}"
    assert {event["event_id"] for event in seller.events} == {"A-1001", "B-1001"}
