"""The panels of the page: how well events match, dead letters, and the details of one entry.

Dead letters are read and replayed in the tracker's queue, which the seller itself has nothing
to do with: a real seller never sees them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timezone
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import orjson

from adcp_tracker._advice import (
    IDENTIFIERS,
    EventSample,
    find_suspicions,
    identifier_shares,
    missing_identifiers,
)
from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker.outbox.dead_letters import HIDDEN
from adcp_tracker.sandbox.config import DEFAULT_TOKEN
from adcp_tracker.sandbox.schema import escape_pointer
from adcp_tracker.sandbox.seller import match_quality, warnings_about
from adcp_tracker.sandbox.timeline import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.datastructures import QueryParams

    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.sandbox.schema import Issue
    from adcp_tracker.sandbox.seller import Seller
    from adcp_tracker.sandbox.store import DeadLetterAccess
    from adcp_tracker.sandbox.timeline import Entry, Exchange


_MOST_EVENTS: Final = 500
_MOST_SHOWN: Final = 50
_HANDOVER_SECONDS: Final = 10.0
_RECEIVED: Final = frozenset({"delivered", "rejected"})
_HOW_TO_NAME: Final = (
    "<p>To list, correct and replay the dead letters of your application here, start the seller "
    "with its directory:</p><pre tabindex='0'>adcp-tracker sandbox --directory adcp-queue</pre>"
)


def render_coach(seller: Seller) -> str:
    """Return how well the received events match, and what to change."""
    entries = list(islice(_received(seller), _MOST_EVENTS))
    if not entries:
        return "<p>No event has been received yet.</p>"
    sample = EventSample()
    for entry in entries:
        source = seller.sources.find(*entry.destination.split("/", 1))
        sample.add(
            _decoded(entry),
            entry.at,
            is_test=entry.test_event_code is not None,
            currencies=source.value_currencies if source else (),
        )
    counts = sample.counts()
    return (
        f"<p>The newest {len(entries):,} events that were received.</p>{_render_shares(counts)}"
        f"{_render_answer(seller, entries)}{_render_suspicions(counts)}{_render_missing(counts)}"
    )


def _received(seller: Seller) -> Iterator[Entry]:
    for entry in seller.timeline.newest_first():
        if entry.outcome in _RECEIVED and entry.body and isinstance(entry.decoded(), Mapping):
            yield entry


def _decoded(entry: Entry) -> Mapping[str, object]:
    event = entry.decoded()
    return event if isinstance(event, Mapping) else {}


def _render_shares(counts: Mapping[str, int]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{IDENTIFIERS[name].label}</th><td>{share:.0%}</td>"
        f"<td>{IDENTIFIERS[name].worth}</td></tr>"
        for name, share in identifier_shares(counts).items()
    )
    heads = "".join(f"<th scope='col'>{each}</th>" for each in ("Identifier", "Events", "Use"))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _render_answer(seller: Seller, entries: list[Entry]) -> str:
    """Say what the seller answers about the events that it accepted."""
    accepted = [_decoded(each) for each in entries if each.outcome == "delivered"]
    warnings = "".join(
        f"<li>{escape(each)}</li>" for each in warnings_about(accepted, seller.now())
    )
    lost = seller.store.counts().get("lost", 0)
    if lost:
        warnings += f"<li>{lost:,} events were accepted, but not confirmed as processed</li>"
    listed = f"<h3>The seller warns</h3><ul>{warnings}</ul>" if warnings else ""
    return f"<p>Match quality of the accepted events: {match_quality(accepted):.0%}</p>{listed}"


def _render_suspicions(counts: Mapping[str, int]) -> str:
    found = find_suspicions(counts)
    if not found:
        return "<h3>Suspicious</h3><p>Nothing.</p>"
    items = "".join(
        f"<li><strong>{escape(each.problem)}</strong> {escape(each.remedy)}</li>" for each in found
    )
    note = "<p>On your own machine, one address and one browser are normal.</p>"
    is_local = {each.code for each in found} & {"one_address", "one_browser"}
    return f"<h3>Suspicious</h3><ul class='suspicions'>{items}</ul>{note if is_local else ''}"


def _render_missing(counts: Mapping[str, int]) -> str:
    items = "".join(
        f"<li><strong>{IDENTIFIERS[name].label}: {share:.0%}</strong> "
        f"{_render_remedy(IDENTIFIERS[name].remedy)}</li>"
        for name, share in missing_identifiers(counts).items()
    )
    return f"<h3>Missing identifiers</h3><ul>{items}</ul>" if items else ""


def _render_remedy(remedy: str) -> str:
    """Return a line of code as such, and a sentence as text."""
    text = escape(remedy)
    return f"<code>{text}</code>" if remedy.startswith("tracker.") else text


def count_letters(seller: Seller) -> int | None:
    """Return how many dead letters there are; ``None`` if that is unknown."""
    if seller.dead_letters is None:
        return None
    try:
        return len(seller.dead_letters.list())
    except (AdcpTrackerError, OSError):
        return None


def render_letters(seller: Seller) -> str:
    """Return all dead letters, grouped by reason and destination."""
    if seller.dead_letters is None:
        return f"<p>The seller doesn't know your application's queue.</p>{_HOW_TO_NAME}"
    try:
        letters = seller.dead_letters.list()
    except (AdcpTrackerError, OSError) as error:
        return f"<p>{escape(str(error))}</p>{_HOW_TO_NAME}"
    if not letters:
        return "<p>There are none.</p>"
    groups: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
    for letter in reversed(letters):
        groups[letter.reason, letter.destination].append(letter)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    replay = (
        "<button type='button' data-replay='all'>Replay all</button>"
        "<button type='button' data-replay='chosen'>Replay chosen</button>"
    )
    sections = "".join(_render_group(*name, found) for name, found in ordered)
    return _render_letter_actions(letters, replay) + sections


def _render_letter_actions(letters: list[DeadLetter], replay: str, query: str = "") -> str:
    """Return the buttons for some dead letters; no `replay` if none can be replayed."""
    shown = replay if any(letter.replayable for letter in letters) else ""
    export = f"/_sandbox/dead-letters/export{query}"
    return f"<p class='actions'>{shown}<a class='button' download href='{export}'>Export</a></p>"


def _render_group(reason: str, destination: str, letters: list[DeadLetter]) -> str:
    first = letters[0]
    query = escape(urlencode({"reason": reason, "destination": destination}))
    more = f", the newest {_MOST_SHOWN} shown" if len(letters) > _MOST_SHOWN else ""
    group = escape(orjson.dumps({"reason": reason, "destination": destination}).decode())
    replay = f"<button type='button' data-replay='{group}'>Replay these</button>"
    return (
        f"<section class='letters'><h3>{len(letters):,} × {escape(reason)} "
        f"<small>at {escape(destination)}{more}</small></h3>"
        f"<p>{escape(first.message)}</p><p class='summary'>{escape(first.remedy)}</p>"
        f"{_render_letter_actions(letters, replay, f'?{query}')}"
        f"<ul>{''.join(map(_render_letter, letters[:_MOST_SHOWN]))}</ul></section>"
    )


def _render_letter(letter: DeadLetter) -> str:
    event = letter.masked_event()
    what = " ".join(str(event.get(name, "")) for name in ("event_type", "event_id")).strip()
    moment = datetime.fromtimestamp(letter.died_at).astimezone()
    chosen = (
        f"<input type='checkbox' name='letter' value='{letter.id}' "
        f"aria-label='Choose {escape(what)}'> "
        if letter.replayable
        else ""
    )
    text = escape(orjson.dumps(event, option=orjson.OPT_INDENT_2).decode())
    label = f"The event; leave {HIDDEN} as it is" if HIDDEN in text else "The event"
    return (
        f"<li>{chosen}<details><summary>{escape(what)} <small>{moment:%H:%M:%S}</small></summary>"
        f"<label for='event-{letter.id}'>{label}</label>"
        f"<textarea id='event-{letter.id}' rows='14' spellcheck='false'>{text}</textarea>"
        f"<button type='button' class='main' data-correct='{letter.id}'>Correct and send</button>"
        "</details></li>"
    )


def export_letters(seller: Seller, query: QueryParams) -> bytes:
    """Return dead letters as one JSON object per line, without the shopper's identifiers."""
    wanted = {name: query[name] for name in ("reason", "destination") if name in query}
    lines = [
        orjson.dumps({**letter.summary(), "event": letter.masked_event()})
        for letter in _select(_access(seller).list(), wanted)
    ]
    return b"".join(line + b"\n" for line in lines)


def replay_letters(seller: Seller, content: object) -> object:
    """Replay dead letters: ``{"ids": […]}``, those of a reason and destination, or all."""
    asked = content if isinstance(content, Mapping) else {}
    letters = _access(seller).list()
    ids = asked.get("ids")
    if isinstance(ids, list):
        chosen = {str(each) for each in ids}
    elif asked.get("all") is True or "reason" in asked:
        chosen = {letter.id for letter in _select(letters, asked)}
    else:
        raise ConfigurationError("body: expected ids, a reason, or all.")
    if not chosen:
        raise ConfigurationError("No dead letter was chosen.")
    return {"result": str(_access(seller).replay(chosen, _HANDOVER_SECONDS))}


def correct_letter(seller: Seller, content: object) -> object:
    """Send the corrected event of a dead letter: ``{"id": …, "event": "JSON"}``."""
    asked = content if isinstance(content, Mapping) else {}
    letter_id, text = str(asked.get("id", "")), asked.get("event")
    letter = next((each for each in _access(seller).list() if each.id == letter_id), None)
    if letter is None or not isinstance(text, str):
        raise ConfigurationError("This dead letter is not there any more.")
    try:
        event = letter.unmask_event(text)
    except ValueError as error:
        raise ConfigurationError(f"The corrected event is not JSON: {error}") from None
    return {"result": str(_access(seller).correct(letter_id, event, _HANDOVER_SECONDS))}


def _access(seller: Seller) -> DeadLetterAccess:
    if seller.dead_letters is None:
        raise ConfigurationError("The seller doesn't know your queue; use --directory.")
    return seller.dead_letters


def _select(letters: Iterable[DeadLetter], wanted: Mapping[str, object]) -> list[DeadLetter]:
    return [
        letter
        for letter in letters
        if wanted.get("reason", letter.reason) == letter.reason
        and wanted.get("destination", letter.destination) == letter.destination
    ]


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
    lines = list(_lines(value))
    pointers = {pointer for pointer, _ in lines}
    marks: dict[str, list[str]] = {}
    for pointer, message in issues.items():
        place = pointer
        while place not in pointers:
            place = place.rpartition("/")[0]
        missing = "" if place == pointer else f"{pointer.removeprefix(place + '/')} "
        marks.setdefault(place, []).append(missing + message)
    for pointer, line in lines:
        yield _mark(line, "; ".join(marks.pop(pointer, ())))


def _lines(
    value: object, pointer: str = "", label: str = "", indent: str = "", comma: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the lines of indented JSON, each with the pointer of its value."""
    members = _members(value)
    if not members:
        text = json.dumps(value, ensure_ascii=False)
        yield pointer, f"{indent}{label}{text[:_MAX_SHOWN]}{comma}"
        return
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    yield pointer, f"{indent}{label}{opening}"
    for number, (key, inner) in enumerate(members, 1):
        name = f"{json.dumps(key, ensure_ascii=False)}: " if opening == "{" else ""
        place = f"{pointer}/{escape_pointer(key)}"
        inner_comma = "," if number < len(members) else ""
        yield from _lines(inner, place, name, indent + "  ", inner_comma)
    yield pointer, f"{indent}{closing}{comma}"


def _members(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(str(key), inner) for key, inner in value.items()]
    if isinstance(value, list):
        return [(str(index), inner) for index, inner in enumerate(value)]
    return []


def _mark(line: str, messages: str) -> str:
    if not messages:
        return escape(line)
    return f"<mark>{escape(line)} <em>← {escape(messages)}</em></mark>"


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
