"""How calls to sellers are made: in what time, and under what name.

Apart from the calls themselves, so that a destination can be described without loading httpx.
"""

from __future__ import annotations

import attrs

import adcp_tracker


@attrs.frozen
class Timeouts:
    """How long a call may take, in seconds.

    Attributes:
        connect: Until the connection stands, for each address that the host's name has; and
            then until it is encrypted.
        read: Between two pieces of the answer.
        write: Between two pieces of the request.
        total: For everything together. What is over when a connection first stands is cut off
            then: a name is looked up for as long as the system's resolver takes, and a host with
            many addresses that do not answer takes ``connect`` for each.
    """

    connect: float = 5.0
    read: float = 30.0
    write: float = 30.0
    total: float = 120.0


def user_agent() -> str:
    """Return how the library names itself to sellers."""
    return f"adcp_tracker/{adcp_tracker.__version__}"
