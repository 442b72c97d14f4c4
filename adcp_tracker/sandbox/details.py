"""The details of one entry: its event, identity, request and response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING, Final

from adcp_tracker._advice import IDENTIFIERS
from adcp_tracker.sandbox.config import DEFAULT_TOKEN
from adcp_tracker.sandbox.timeline import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.sandbox.schema import Issue
    from adcp_tracker.sandbox.seller import Seller
    from adcp_tracker.sandbox.timeline import Entry, Exchange

_MAX_SHOWN: Final = 20_000
_MAX_LINES: Final = 2_000


def render_entry(entry: Entry, seller: Seller, origin: str) -> dict[str, object]:
    """Return the values of the template ``entry.html``."""
    exchange = seller.timeline.exchange(entry.exchange)
    moment = datetime.fromtimestamp(entry.at, timezone.utc).astimezone()
    where = f"by {entry.via} for {entry.destination}" if entry.destination else f"by {entry.via}"
    test = "" if entry.test_event_code is None else f", test {entry.test_event_code}"
    reason = f": {entry.code}" if entry.code else ""
    return {
        "number": entry.number,
        "title": escape(f"{entry.event_type} {entry.event_id}".strip()),
        "summary": escape(f"{OUTCOMES[entry.outcome]}{reason} at {moment:%H:%M:%S} {where}{test}"),
        "actions": _render_actions(entry, origin),
        "event_open": " open" if entry.body else "",
        "exchange_open": "" if entry.body else " open",
        "event": _render_event(entry),
        "identity": _render_identity(entry),
        "request": _render_request(exchange),
        "response": _render_response(exchange),
        "origin": _render_origin(entry, seller),
    }


def _render_event(entry: Entry) -> str:
    issues = "".join(
        f"<li><code>{escape(strip_pointer(issue.pointer) or '/')}</code> "
        f"{escape(issue.message)}</li>"
        for issue in entry.issues
    )
    listed = f'<ul class="issues">{issues}</ul>' if issues else ""
    event = entry.decoded()
    if event is None:
        return f"{listed}<p>The event is not kept.</p>"
    lines = list(_mark_lines(event, _by_pointer(entry.issues)))
    more = "\n…" if len(lines) > _MAX_LINES else ""
    text = "\n".join(lines[:_MAX_LINES])[: _MAX_SHOWN * 5]
    return f'{listed}<pre tabindex="0">{text}{more}</pre>'


def strip_pointer(pointer: str) -> str:
    """Return a JSON pointer within the event instead of within the request."""
    parts = pointer.split("/")
    is_in_event = len(parts) > 2 and parts[1] == "events"  # noqa: PLR2004 - "", events, index
    return "/" + "/".join(parts[3:]) if is_in_event else pointer


def _by_pointer(issues: tuple[Issue, ...]) -> dict[str, str]:
    return {strip_pointer(issue.pointer).rstrip("/"): issue.message for issue in issues}


def _mark_lines(value: object, issues: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of indented JSON, with invalid ones marked.

    An issue of something that is missing marks its nearest parent.
    """
    pointers = set(_pointers(value, ""))
    marks: dict[str, list[str]] = {}
    for pointer, message in issues.items():
        place = pointer
        while place not in pointers:
            place = place.rpartition("/")[0]
        missing = "" if place == pointer else f"{pointer.removeprefix(place + '/')} "
        marks.setdefault(place, []).append(missing + message)
    yield from _lines(value, "", "", "", marks, "")


def _pointers(value: object, pointer: str) -> Iterator[str]:
    yield pointer
    for key, inner in _members(value):
        yield from _pointers(inner, f"{pointer}/{_escape_key(key)}")


def _members(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(str(key), inner) for key, inner in value.items()]
    if isinstance(value, list):
        return [(str(index), inner) for index, inner in enumerate(value)]
    return []


def _lines(  # noqa: PLR0913, PLR0917 - the state of a recursion
    value: object,
    pointer: str,
    label: str,
    indent: str,
    marks: Mapping[str, list[str]],
    comma: str,
) -> Iterator[str]:
    messages = "; ".join(marks.get(pointer, ()))
    members = _members(value)
    if not members:
        text = json.dumps(value, ensure_ascii=False)
        yield _mark(f"{indent}{label}{text[:_MAX_SHOWN]}{comma}", messages)
        return
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    yield _mark(f"{indent}{label}{opening}", messages)
    for number, (key, inner) in enumerate(members, 1):
        name = f"{json.dumps(key, ensure_ascii=False)}: " if opening == "{" else ""
        place = f"{pointer}/{_escape_key(key)}"
        inner_comma = "," if number < len(members) else ""
        yield from _lines(inner, place, name, indent + "  ", marks, inner_comma)
    yield escape(f"{indent}{closing}{comma}")


def _mark(line: str, messages: str) -> str:
    if not messages:
        return escape(line)
    return f"<mark>{escape(line)} <em>← {escape(messages)}</em></mark>"


def _escape_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _render_identity(entry: Entry) -> str:
    event = entry.decoded()
    if not isinstance(event, Mapping):
        return "<p>There is no event to look at.</p>"
    if entry.via == "tracker":
        return "<p>The tracker does not report identifiers of events it did not send.</p>"
    match = event.get("user_match")
    present = match if isinstance(match, Mapping) else {}
    rows = "".join(
        f"<tr><th scope='row'>{each.label}</th>"
        + ("<td class='yes'>✓ sent</td>" if name in present else "<td class='no'>missing</td>")
        + f"<td>{each.worth}</td></tr>"
        for name, each in IDENTIFIERS.items()
    )
    head = "<tr><th scope='col'>Identifier</th><th scope='col'>State</th><th scope='col'>Use</th>"
    return f"<table><thead>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _render_request(exchange: Exchange | None) -> str:
    if exchange is None:
        return "<p>There was no request, or it is no longer kept.</p>"
    head = f"{exchange.method} {exchange.path}"
    headers = "\n".join(f"{name}: {value}" for name, value in exchange.headers.items())
    return _pre(f"{head}\n{headers}\n\n{_indent(exchange.request_text())}")


def _render_response(exchange: Exchange | None) -> str:
    if exchange is None:
        return "<p>There was no response, or it is no longer kept.</p>"
    if not exchange.status:
        return "<p>The connection was broken before a response.</p>"
    text = exchange.response.decode(errors="replace")
    return _pre(f"HTTP {exchange.status}\n\n{_indent(text)}")


def _indent(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _pre(text: str) -> str:
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}\n…"
    return f'<pre tabindex="0">{escape(shown)}</pre>'


def _render_origin(entry: Entry, seller: Seller) -> str:
    origin = seller.timeline.origin(entry.event_id)
    if origin:
        return f"<p><code>{escape(origin)}</code></p>"
    return (
        "<p>Unknown. A tracker reports the line that tracked an event if all its destinations "
        "are on this machine, and if it was started after this seller.</p>"
    )


def _render_actions(entry: Entry, origin: str) -> str:
    event = entry.decoded()
    if not isinstance(event, Mapping):
        return ""
    texts = {"JSON": json.dumps(event, indent=2, ensure_ascii=False)}
    if entry.via != "tracker":
        texts["curl"] = _curl(entry, event, origin)
        texts["pytest"] = _pytest(event)
    buttons = "".join(
        f'<button type="button" data-copy="{name}">Copy as {name}</button>'
        f'<span data-text="{name}" hidden>{escape(text)}</span>'
        for name, text in texts.items()
    )
    if entry.via == "tracker":
        return buttons
    resend = f'<button type="button" data-resend="{entry.number}">Send again</button>'
    return resend + buttons


def _curl(entry: Entry, event: Mapping[str, object], origin: str) -> str:
    advertiser, _, source = entry.destination.partition("/")
    request: dict[str, object] = {"event_source_id": source, "events": [event]}
    if entry.test_event_code is not None:
        request["test_event_code"] = entry.test_event_code
    body = json.dumps(request, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl {origin}/api/v2/buyer/advertisers/{advertiser}/log-event \\\n"
        f'  -H "Authorization: Bearer ${{ADCP_API_KEY:-{DEFAULT_TOKEN}}}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )


def _pytest(event: Mapping[str, object]) -> str:
    expected = json.dumps(event, indent=8, ensure_ascii=False).replace("\n}", "\n    }")
    return (
        "import json\n\n"
        "from adcp_tracker.testing import RecordingTracker\n\n\n"
        f"def test_{_identifier(event.get('event_type'))}_is_tracked() -> None:\n"
        "    with RecordingTracker() as tracker:\n"
        "        ...  # call your code with this tracker\n"
        "    (event,) = tracker.events\n"
        f"    assert json.loads(event.json) == json.loads(r'''\n{expected}\n    ''')\n"
    )


def _identifier(text: object) -> str:
    name = str(text)
    return name if name.isidentifier() else "event"
