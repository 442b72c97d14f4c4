"""The same purchase in the same view by PostHog's ``capture()``.

What the library's middleware knows of a request by itself is put in by hand: the address,
the browser and the page. Events stay in its memory, as with no consumer thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.sales import EVENT_NAME, customer, properties

if TYPE_CHECKING:
    from collections.abc import Callable

CAPTURE = "/capture/"
_ROOM = 10_000_000


def capturing() -> Callable[[str | None, str | None, str], None] | None:
    """Return what captures a purchase of an address, a browser and a page.

    Returns:
        The call; ``None`` where PostHog is not installed.
    """
    try:
        from posthog import Posthog  # noqa: PLC0415 - comes with the extra alone
    except ImportError:
        return None
    client = Posthog("phc_bench", "http://127.0.0.1:9", thread=0, max_queue_size=_ROOM)

    def capture(address: str | None, browser: str | None, page: str) -> None:
        facts = properties(1)
        facts["client_ip"] = address
        facts["client_user_agent"] = browser
        facts["event_source_url"] = page
        client.capture(EVENT_NAME, distinct_id=customer(1), properties=facts)

    return capture
