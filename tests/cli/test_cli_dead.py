"""``adcp-tracker dead``: what was set aside, and what becomes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from tests.cli.program import NAME, fill, pointing_at, run

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

HOSTILE = "\x1b[31m\x1b]0;owned\x07[bold]no markup[/bold]\r\n\u202eforged \x9b2J"


def bury(directory: Path, count: int = 3, **changes: str) -> list[str]:
    """Put dead letters in a queue, and return their ids."""
    queue = QueueDirectory(directory)
    queue.prepare()
    letters = [
        DeadLetter(
            destination=changes.get("destination", NAME),
            segment="gone.log",
            offset=number,
            died_at=1_767_268_800.0 + number,
            code=changes.get("code", "INVALID_EVENT_TIME"),
            message=changes.get("message", "It is too old."),
            event=b'{"event_id":"A-%d"}' % number,
        )
        for number in range(count)
    ]
    DeadLetterStore(queue).add(letters, letters[-1].died_at)
    return [letter.id for letter in letters]


@pytest.mark.slow
def test_a_rejected_event_is_replayed_once_the_seller_is_fixed(
    tmp_path: Path, seller: Sandbox
) -> None:
    """What the seller refused is listed, shown, sent again and then delivered."""
    fill(tmp_path, "A-1", "A-2")
    fill(tmp_path, "A-3", value="-1")
    seller.configure(refuse_events={"A-2": "INVALID_EVENT_TIME"})
    here = {"ADCP_DIRECTORY": str(tmp_path)}
    assert run("flush", **here, **pointing_at(seller)).code == 0
    assert run("status", **here).code == 1

    (letter,) = run("dead", "list", "--code", "INVALID_EVENT_TIME", "--json", **here).json[
        "letters"
    ]
    assert (letter["event_id"], letter["destination"]) == ("A-2", NAME)
    shown = run("dead", "show", letter["id"], "--json", **here)
    assert shown.json["event"]["custom_data"]["value"] == 12.5

    seller.configure(refuse_events={})
    replayed = run("dead", "replay", "--code", "INVALID_EVENT_TIME", "--json", **here)
    assert replayed.code == 0
    assert replayed.json == {"replayed": [letter["id"]], "refused": [], "unknown": []}
    stats = run("flush", "--json", **here, **pointing_at(seller)).json
    counts = stats["destinations"][NAME]
    assert (counts["accepted"], counts["delivered"], counts["dead"]) == (3, 2, 1)
    assert {event["event_id"] for event in seller.events} == {"A-1", "A-2"}

    broken = run("dead", "replay", "--all", **here)
    assert broken.code == 1
    assert "Invalid events, not sent: " in broken.out
    assert run("dead", "list", "--json", **here).json["count"] == 1


def test_letters_are_listed_by_code_and_destination_the_newest_first(tmp_path: Path) -> None:
    """Filters and the limit narrow the list; the count says how many there are."""
    first = bury(tmp_path)
    bury(tmp_path, destination="other", code="OTHER_CODE")
    here = ("--directory", tmp_path, "--json")
    assert run("dead", "list", *here).json["count"] == 6
    newest = run("dead", "list", *here, "--destination", NAME, "--limit", "2").json
    assert newest["count"] == 3
    assert [letter["id"] for letter in newest["letters"]] == [first[2], first[1]]
    assert newest["letters"][0]["died_at"] == "2026-01-01 12:00:02+00:00"
    human = run("dead", "list", "--directory", tmp_path, "--code", "OTHER_CODE")
    assert human.code == 0
    assert "3 of 3 dead letters." in human.out
    assert "A-2" in human.out
    assert NAME not in human.out


def test_a_sellers_words_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Control characters are taken out, and markup is text like any other."""
    (letter_id,) = bury(tmp_path, 1, message=HOSTILE, code="[red]CODE[/red]")
    here = ("--directory", tmp_path)
    for ended in (run("dead", "list", *here), run("dead", "show", letter_id, *here)):
        assert ended.code == 0
        assert "[bold]no markup[/bold]" in ended.out
        assert "[red]CODE[/red]" in ended.out
        assert not set(ended.out) & set("\x1b\x07\r\x9b\u202e")
        assert any("no markup[/bold] forged" in line for line in ended.out.splitlines())
    scripted = run("dead", "show", letter_id, "--json", *here)
    assert scripted.json["message"] == HOSTILE
    assert scripted.out.isascii()
    assert "\x1b" not in scripted.out


def test_letters_are_dropped_only_when_somebody_means_it(tmp_path: Path) -> None:
    """Without anybody to ask, it takes --yes; what is dropped is gone from the disk."""
    ids = bury(tmp_path)
    here = ("--directory", tmp_path)
    unasked = run("dead", "drop", "--all", *here)
    assert unasked.code == 2
    assert "--yes" in unasked.err
    one = run("dead", "drop", ids[0], "--yes", "--json", *here)
    assert (one.code, one.json) == (0, {"dropped": 1, "unknown": []})
    rest = run("dead", "drop", ids[0], ids[1], "--yes", *here)
    assert rest.code == 1
    assert "1 dead letter dropped." in rest.out
    assert f"Unknown ids: {ids[0]}." in rest.out
    assert [each.id for each in DeadLetterStore(QueueDirectory(tmp_path))] == [ids[2]]


def test_an_unknown_dead_letter_is_said_to_be_unknown(tmp_path: Path) -> None:
    """Neither showing nor replaying makes anything up."""
    ids = bury(tmp_path)
    shown = run("dead", "show", "nonsense", "--directory", tmp_path)
    assert (shown.code, shown.out) == (1, "")
    assert "nonsense: no such dead letter" in shown.err
    # Nobody has ever sent to their destination here, so they cannot be sent again.
    replayed = run("dead", "replay", "nonsense", ids[0], "--json", "--directory", tmp_path)
    assert replayed.code == 1
    assert replayed.json == {"replayed": [], "refused": [ids[0]], "unknown": ["nonsense"]}


@pytest.mark.parametrize("command", [["list"], ["replay"], ["drop", "--yes"]], ids="".join)
def test_a_destination_nobody_knows_is_said_to_be_unknown(
    tmp_path: Path, command: list[str]
) -> None:
    """A mistyped name is no destination without letters; those that are known are named."""
    bury(tmp_path)
    ended = run("dead", *command, "--destination", "nope", "--directory", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert f"nope: unknown destination; known: {NAME}" in ended.err


@pytest.mark.slow
def test_a_destination_without_letters_is_known(tmp_path: Path, seller: Sandbox) -> None:
    """Whether it is configured here, or only in the counts of others."""
    fill(tmp_path, "A-1")
    assert run("flush", "--directory", tmp_path, **pointing_at(seller)).code == 0
    here = ("dead", "list", "--destination", NAME, "--directory", tmp_path)
    for environment in ({}, pointing_at(seller)):
        ended = run(*here, **environment)
        assert (ended.code, ended.out) == (0, "0 of 0 dead letters.\n")


@pytest.mark.parametrize("arguments", [[], ["an-id", "--all"]], ids=["none", "both"])
def test_which_letters_must_be_said_in_one_way(tmp_path: Path, arguments: list[str]) -> None:
    """A forgotten filter does not replay everything."""
    bury(tmp_path)
    ended = run("dead", "replay", *arguments, "--directory", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "either by ids or by --all, --code or --destination" in ended.err


def invalid_letter(directory: Path, seller: Sandbox) -> str:
    """Store the dead letter of an order whose total is negative, and return its id."""
    fill(directory, "A-1", value="-1")
    assert run("flush", "--directory", directory, **pointing_at(seller)).code == 0
    (letter,) = run("dead", "list", "--json", "--directory", directory).json["letters"]
    return str(letter["id"])


@pytest.mark.parametrize("how", ["set", "file", pytest.param("order", marks=pytest.mark.slow)])
def test_an_invalid_event_is_corrected_and_delivered(
    tmp_path: Path, seller: Sandbox, how: str
) -> None:
    """An event can be corrected by single values, as a whole, or by its order."""
    queue, file = tmp_path / "queue", tmp_path / "corrected.json"
    letter = invalid_letter(queue, seller)
    event = run("dead", "show", letter, "--json", "--directory", queue).json["event"]
    event["custom_data"] = {"value": 12.5, "currency": "EUR"}
    order = {"order_id": "A-1", "total": "12.50", "currency": "EUR", "email": "a@b.example"}
    file.write_text(json.dumps(order if how == "order" else event))
    arguments = {
        "set": ("--set", "custom_data.value=12.50", "--set", "custom_data.currency=EUR"),
        "file": ("--file", str(file)),
        "order": ("--order", str(file)),
    }[how]
    edited = run("dead", "edit", letter, *arguments, "--directory", queue)
    assert (edited.code, edited.err) == (0, "")
    assert run("flush", "--directory", queue, **pointing_at(seller)).code == 0
    (arrived,) = seller.events
    assert arrived["event_id"] == event["event_id"]
    assert arrived["custom_data"]["value"] == 12.5
    assert run("dead", "list", "--json", "--directory", queue).json["count"] == 0


def test_a_correction_that_is_still_invalid_keeps_the_letter(
    tmp_path: Path, seller: Sandbox
) -> None:
    """The errors are shown, and the dead letter stays as it was."""
    letter = invalid_letter(tmp_path, seller)
    change = ("--set", "custom_data.currency=euro", "--directory", tmp_path)
    edited = run("dead", "edit", letter, *change)
    assert edited.code == 1
    assert "$.custom_data.currency" in edited.err
    assert run("dead", "list", "--json", "--directory", tmp_path).json["count"] == 1
    twice = run("dead", "edit", letter, *change, "--file", "-")
    assert twice.code == 2
    assert run("dead", "edit", "unknown", *change).code == 1


def test_letters_are_listed_by_reason_within_eighty_columns(tmp_path: Path) -> None:
    """Each reason and destination stands once, with its message, remedy and letters."""
    bury(tmp_path, 3)
    bury(tmp_path, 2, destination="agent", message="$.contents[1].price: expected 0 or more. " * 5)
    listed = run("dead", "list", "--directory", tmp_path)
    assert listed.code == 0
    lines = listed.out.splitlines()
    assert f"3 × INVALID_EVENT_TIME at {NAME}" in lines
    assert listed.out.count("It is too old.") == 1
    assert max(map(len, lines)) <= 80
    assert "5 of 5 dead letters." in lines


def test_a_command_in_a_remedy_can_be_pasted(tmp_path: Path, seller: Sandbox) -> None:
    """It has the id of the newest dead letter with that reason, and stands in one line."""
    fill(tmp_path, "A-1", "A-2", value="-1")
    here = {"ADCP_DIRECTORY": str(tmp_path)}
    assert run("flush", **here, **pointing_at(seller)).code == 0
    newest, _ = run("dead", "list", "--json", **here).json["letters"]
    letter, edit = newest["id"], f"adcp-tracker dead edit {newest['id']}"
    for command in (("dead", "list"), ("dead", "show", letter), ("coach",)):
        for width in ("", "60", "80"):
            ended = run(*command, **here, COLUMNS=width)
            assert [line for line in ended.out.splitlines() if line.endswith(edit)], ended.out
    replayed = run("dead", "replay", letter, **here)
    assert f"run: adcp-tracker dead show {letter}; to correct it, run: {edit}\n" in replayed.out


def test_letters_are_exported(tmp_path: Path) -> None:
    """Every letter with its event is a line of JSON, in a file that only its owner can read."""
    ids = bury(tmp_path / "queue", 3)
    file = tmp_path / "letters.ndjson"
    file.touch()
    file.chmod(0o644)
    written = run("dead", "export", file, "--directory", tmp_path / "queue")
    assert (written.code, written.out) == (0, f"3 dead letters written to {file}.\n")
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ids
    assert file.stat().st_mode & 0o777 == 0o600
    piped = run("dead", "export", "--directory", tmp_path / "queue", "--code", "INVALID_EVENT_TIME")
    assert piped.out == file.read_text()
