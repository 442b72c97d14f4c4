"""The faults offered on the page, by group."""

from __future__ import annotations

from html import escape
from typing import Final

import orjson

FAULTS: Final[dict[str, dict[str, dict[str, object]]]] = {
    "Errors": {
        "503: temporarily unavailable": {"status": 503},
        "500: server error": {"status": 500},
        "429: too many requests, retry after 2 s": {"status": 429, "retry_after": "2"},
        "401: credential rejected": {"status": 401},
        "403: access denied": {"status": 403},
        "404: event source not found": {"status": 404, "code": "EVENT_SOURCE_NOT_FOUND"},
        "400: events rejected": {"status": 400, "code": "VALIDATION_ERROR"},
        "413: request too large": {"status": 413},
        "415: unsupported content type": {"status": 415},
        "Redirect to another address": {"location": "/elsewhere", "status": 307},
    },
    "Connection": {
        "Slow: respond after 3 s": {"latency_ms": 3000},
        "Never respond": {"connection": "stall"},
        "Reset the connection": {"connection": "reset"},
        "Close the connection": {"connection": "close"},
        "Cut the response, then close": {"connection": "truncate"},
        "Cut the response, then reset": {"connection": "truncate_reset"},
        "Stop the seller": {"crash": True},
    },
    "Stored, then failed": {
        "Store the events, then 503": {"status": 503, "after": True},
        "Store the events, then reset": {"connection": "reset", "after": True},
        "Lose one event silently": {"lose": 1},
    },
    "Malformed responses": {
        "An HTML page": {"body": "html"},
        "Plain text": {"body": "not_json"},
        "Half of the JSON": {"body": "cut_json"},
        "An empty body": {"body": "empty"},
        "JSON with wrong types": {"body": "wrong_types"},
        "null": {"body": "null"},
        "A list": {"body": "list"},
        "5 MB": {"body": "huge"},
    },
    "MCP": {
        "Forget the session": {"forget_session": True},
        "Error as JSON-RPC error": {"code": "SERVICE_UNAVAILABLE", "place": "jsonrpc"},
        "Error as text": {"code": "SERVICE_UNAVAILABLE", "place": "text"},
        "Error in a successful result": {"code": "SERVICE_UNAVAILABLE", "place": "errors"},
        "Error without a code": {"code": "SERVICE_UNAVAILABLE", "place": "plain"},
    },
}
"""The settings of :class:`~.InjectedFault` by group and label."""


def render_menu() -> str:
    """Return the options of the select element."""
    return "".join(
        f'<optgroup label="{escape(group)}">{_options(faults)}</optgroup>'
        for group, faults in FAULTS.items()
    )


def _options(faults: dict[str, dict[str, object]]) -> str:
    return "".join(
        f'<option value="{escape(orjson.dumps(settings).decode())}">{escape(label)}</option>'
        for label, settings in faults.items()
    )
