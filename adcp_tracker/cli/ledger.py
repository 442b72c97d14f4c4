"""Books on the screen: what became of every event, and what is to be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.cli import screen

if TYPE_CHECKING:
    from collections.abc import Collection

    from adcp_tracker.delivery.books import Books, Stats

_COLUMNS = ("destination", "accepted", "delivered", "pending", "dead", "dropped", "state")


def print_books(
    stats: Stats, configured: Collection[str] = (), *, is_uploaded: bool = True
) -> None:
    """Print the books of all destinations, then the reason of whatever is not well.

    Args:
        stats: The books.
        configured: The destinations that are known to be configured; empty if none is known.
        is_uploaded: Whether a process uploads from the queue, so that what failed is tried again.
    """
    screen.table(
        _COLUMNS,
        [
            (
                name,
                books.accepted,
                books.delivered,
                books.pending,
                books.dead,
                sum(books.dropped.values()),
                _state(books),
            )
            for name, books in stats.destinations.items()
        ],
    )
    for name, books in stats.destinations.items():
        is_known = not configured or name in configured
        _print_reasons(name, books, is_known=is_known, is_uploaded=is_uploaded)


def state_of(books: Books) -> str:
    """Return ``paused``, ``locked``, ``retrying`` or ``well``."""
    if books.paused:
        return "paused"
    if books.locked:
        return "locked"
    return "retrying" if books.retrying else "well"


def _state(books: Books) -> screen.Mark:
    word = state_of(books)
    return screen.Mark(
        word, {"paused": "red", "locked": "red", "retrying": "yellow"}.get(word, "green")
    )


def _print_reasons(name: str, books: Books, *, is_known: bool, is_uploaded: bool) -> None:
    if books.paused:
        screen.say(f"{name} is paused, and nothing is lost: {books.paused}", "red")
    elif books.retrying:
        again = (
            "is tried again by itself" if is_uploaded else "is tried again once a process uploads"
        )
        screen.say(f"{name} {again}; the last try ended in {books.retrying}.")
    if books.locked:
        screen.say(
            f"{name} waits for events that were sealed with another key, and nothing is lost: "
            f"add {books.locked} to encryption_keys, or ADCP_ENCRYPTION_KEYS.",
            "red",
        )
    if books.dropped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in books.dropped.items())
        screen.say(f"{name} let go of: {reasons}.")
    if books.unprocessed:
        screen.say(f"{name} left out {books.unprocessed:,} delivered events, saying not which.")
    if not is_known:
        screen.say(
            f"{name} is not configured here; to forget it and what waits for it, run: "
            f"adcp-tracker retire {name}",
            "yellow",
        )
