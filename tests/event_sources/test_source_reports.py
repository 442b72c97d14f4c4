"""What sellers say of event sources is read in every spelling, and made safe to show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.event_sources.model import Health, Setup, SourceReport, parse_reports


def test_the_protocols_own_answer() -> None:
    """Everything that an agent may say of a source."""
    answer: dict[str, object] = {
        "event_sources": [
            {
                "event_source_id": "w",
                "name": "Website",
                "action": "created",
                "managed_by": "buyer",
                "event_types": ["purchase"],
                "value_currencies": ["EUR"],
                "setup": {
                    "snippet_type": "html",
                    "snippet": "<a>\n</a>",
                    "instructions": "One.\nTwo.",
                },
                "health": {
                    "status": "good",
                    "match_rate": 0.5,
                    "events_received_24h": 7,
                    "issues": [{"severity": "warning", "message": "Few identifiers."}],
                },
                "errors": [{"code": "LATE", "message": "Too late."}],
            }
        ]
    }
    assert parse_reports(answer) == (
        SourceReport(
            "w",
            "Website",
            "created",
            "buyer",
            ("purchase",),
            ("EUR",),
            Setup(("One.", "Two."), ("<a>", "</a>"), "html"),
            Health("good", 0.5, 7, ("Few identifiers.",)),
            ("LATE: Too late.",),
        ),
    )


def test_the_interchanges_own_spelling() -> None:
    """Its lists are in camel case and full of nulls; a failure is one text."""
    answer: dict[str, object] = {
        "eventSources": [
            {
                "eventSourceId": "w",
                "name": "W",
                "eventTypes": None,
                "allowedDomains": None,
                "mapping": None,
                "health": {"status": "needs_attention", "lastEventAt": None, "lastError": "Bad."},
            },
            {"event_source_id": "x", "action": "failed", "error": "No."},
        ],
        "total": 2,
    }
    first, second = parse_reports(answer)
    assert (first.event_source_id, first.event_types) == ("w", None)
    assert first.health == Health("needs_attention", issues=("Bad.",))
    assert (second.action, second.errors) == ("failed", ("No.",))


def test_what_could_steer_a_terminal_is_taken_out() -> None:
    """Escapes, carriage returns and overlong lines do not pass; line breaks in setups do."""
    text = "\x1b[31mred\x1b[0m\r\nsecond\u202e" + "x" * 5_000
    answer: dict[str, object] = {
        "event_sources": [
            {"event_source_id": "w\x07", "setup": {"instructions": text, "snippet": text}}
        ]
    }
    (report,) = parse_reports(answer)
    assert report.event_source_id == "w"
    assert report.setup is not None
    assert report.setup.instructions[0] == "[31mred [0m"
    for line in (*report.setup.instructions, *report.setup.snippet):
        assert line.isprintable()
        assert len(line) <= 1_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
fields = st.sampled_from(
    ["event_source_id", "eventSourceId", "name", "action", "event_types", "setup", "health"]
)


named = st.builds(
    lambda name, rest: {**rest, "event_source_id": name},
    st.text(min_size=1, max_size=6),
    st.dictionaries(fields, json_values | st.lists(st.text(max_size=6)), max_size=5),
)


@given(
    items=st.lists(
        named | st.dictionaries(fields, json_values, max_size=5) | json_values, max_size=3
    ),
)
def test_no_answer_breaks_the_reader(items: list[object]) -> None:
    """Whatever a seller answers, sources have an id and everything else is of its type."""
    for report in parse_reports({"event_sources": items}):
        assert report.event_source_id
        assert isinstance(report.action, str)
        assert report.event_types is None or all(map(str.isprintable, report.event_types))
