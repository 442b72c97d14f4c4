"""Imports that are killed on their way: every row comes to the seller once, or to the errors.

Run as ``python -m tests.importing.killed --rows 1000000``. It prints time, memory and counts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tests.cli.program import COMMAND, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_BAD = 500
"""Each row whose number is divisible by this has an amount that isn't one."""

_find_ids = re.compile(rb'"event_id":"S-(\d+)"').findall
_POLL_SECONDS = 0.005


class CountingSeller:
    """Counts how often it was sent each event; a request that is sent again counts once.

    A batch never changes, so that a request that was in flight when its process was killed
    comes again with the same body.
    """

    def __init__(self, rows: int) -> None:
        self.counts = bytearray(rows)
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()

    def take(self, body: bytes) -> int:
        """Take a request; return how many events it has."""
        found: list[bytes] = _find_ids(body)
        key = sha256(body).digest()
        with self._lock:
            if key not in self._seen:
                self._seen.add(key)
                for number in found:
                    self.counts[int(number)] += 1
        return len(found)


@contextmanager
def counting_seller(rows: int) -> Iterator[tuple[CountingSeller, str]]:
    """Run a seller in threads of this process, and yield it with its address."""
    seller = CountingSeller(rows)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            taken = seller.take(body)
            data = {"events_received": taken, "events_processed": taken}
            answer = json.dumps({"status": 1, "code": 200, "data": data, "error": None}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, address: object) -> None:
            """Say nothing: a client that is killed breaks its connection."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield seller, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_sales(path: Path, rows: int) -> None:
    """Write a file of sales, some of them wrong."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["order_id", "total", "currency", "email", "phone", "created_at", "store"])
        for number in range(rows):
            total = "n/a" if number % EVERY_BAD == 0 else f"{number % 400 + 1}.{number % 100:02}"
            minute, second = divmod(number % 3600, 60)
            writer.writerow(
                [
                    f"S-{number}",
                    total,
                    "EUR",
                    f"shopper{number}@example.com",
                    f"+49171{number % 10_000_000:07}",
                    f"2026-11-27T10:{minute:02}:{second:02}Z",
                    "Nord",
                ]
            )


@attrs.frozen
class Ended:
    """What a run of the program came to.

    Attributes:
        seconds: How long it ran.
        peak_mib: The most memory that it had.
        out: What it printed.
        row: The row that its progress had come to.
    """

    seconds: float
    peak_mib: float
    out: str
    row: int


def run_import(
    arguments: list[str], environment: dict[str, str], queue: Path, kill_at: int | None = None
) -> Ended:
    """Run the program; kill it once its progress has come to a row."""
    began = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, "import", *arguments],
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()
    killer = threading.Thread(target=_kill_at, args=(process, queue, kill_at, ended))
    if kill_at is not None:
        killer.start()
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if kill_at is not None:
        killer.join()
        assert process.returncode == -signal.SIGKILL, (process.returncode, out)
    return Ended(time.monotonic() - began, usage.ru_maxrss / 1024, out, progress_row(queue))


def progress_row(queue: Path) -> int:
    """Return the row that an import's progress has come to."""
    rows = []
    for file in (queue / "imports").glob("*.json"):
        text = file.read_text()
        rows.append(int(json.loads(text)["row"]) if text else 0)
    return max(rows, default=0)


def _kill_at(process: subprocess.Popen[str], queue: Path, row: int, ended: threading.Event) -> None:
    while not ended.wait(_POLL_SECONDS):
        if progress_row(queue) >= row:
            process.send_signal(signal.SIGKILL)
            return


@attrs.frozen
class Proof:
    """What became of every row.

    Attributes:
        runs: The runs of the program; all but the last one were killed.
        sent: Good rows whose event was sent once.
        twice: Good rows whose event was sent a second time, under the same id.
        missing: Good rows whose event wasn't sent.
        wrong: Bad rows whose event was sent.
        rejected: The bad rows in the file of errors, in its order.
        report: What the last run printed.
    """

    runs: list[Ended]
    sent: int
    twice: int
    missing: int
    wrong: int
    rejected: list[int]
    report: dict[str, Any]


def prove(folder: Path, rows: int, kills: int) -> Proof:
    """Import a file into an empty queue, kill the program on its way, and count."""
    file, queue, errors = folder / "sales.csv", folder / "queue", folder / "bad.csv"
    write_sales(file, rows)
    with counting_seller(rows) as (seller, url):
        environment = {
            "ADCP_ADVERTISER_ID": "adv-1",
            "ADCP_EVENT_SOURCE_ID": "src-1",
            "ADCP_API_KEY": "token",
            "ADCP_BASE_URL": url,
            "ADCP_DIRECTORY": str(queue),
        }
        arguments = [str(file), "--errors", str(errors), "--yes", "--json", "--timeout", "3600"]
        runs = [
            run_import(arguments, environment, queue, rows * (n + 1) // (kills + 1))
            for n in range(kills)
        ]
        runs.append(run_import(arguments, environment, queue))
    good = [n for n in range(rows) if n % EVERY_BAD]
    with errors.open(newline="", encoding="utf-8") as lines:
        rejected = [int(row["order_id"].removeprefix("S-")) for row in csv.DictReader(lines)]
    counts = [seller.counts[n] for n in good]
    return Proof(
        runs,
        counts.count(1),
        sum(1 for count in counts if count > 1),
        counts.count(0),
        sum(seller.counts[n] for n in range(0, rows, EVERY_BAD)),
        rejected,
        json.loads(runs[-1].out),
    )


def main() -> None:
    """Prove it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        proof = prove(Path(folder), chosen.rows, chosen.kills)
    for run in proof.runs:
        sys.stdout.write(
            f"row {run.row:,} after {run.seconds:.0f} s, {run.peak_mib:.0f} MiB at most\n"
        )
    bad = list(range(0, chosen.rows, EVERY_BAD))
    sys.stdout.write(
        f"{proof.sent:,} sent once, {proof.twice} sent twice, {proof.missing} missing, "
        f"{proof.wrong} wrong, {len(proof.rejected):,} of {len(bad):,} rejected, each once: "
        f"{proof.rejected == bad}\n{json.dumps(proof.report)}\n"
    )


if __name__ == "__main__":
    main()
