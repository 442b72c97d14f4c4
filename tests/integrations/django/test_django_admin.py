"""The admin page: what it shows, to whom, and what it lets them do."""

from __future__ import annotations

import html
import json
import re
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client

from adcp_tracker_django import get_tracker
from adcp_tracker_django.models import DeadLetter

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox
    from tests.integrations.django.conftest import Configure

pytestmark = pytest.mark.usefixtures("database", "site")

PAGE = "/admin/adcp_tracker/deadletter/"
NASTY = "<script>alert(1)</script>"


def client_of(*codenames: str, staff: bool = True, strict: bool = False) -> Client:
    """Log somebody in who has these permissions."""
    user = User.objects.create(username="somebody", is_staff=staff)
    permissions = Permission.objects.filter(content_type__app_label="adcp_tracker")
    user.user_permissions.set(permissions.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    client = Client(enforce_csrf_checks=strict)
    client.force_login(user)
    return client


def refuse_one(seller: Sandbox, lead_id: str = "L-1") -> str:
    """Have the seller refuse an event, and return its dead letter's id."""
    event_id = get_tracker().track_lead(event_id=lead_id, email="alice@example.com").event_id
    seller.configure(refuse_events={event_id: "INVALID_EVENT_TIME"})
    assert get_tracker().flush(10).total().dead == 1
    (letter,) = get_tracker().dead_letters.list()
    return letter.id


@pytest.mark.slow
def test_the_page_shows_letters_and_counters(seller: Sandbox) -> None:
    """Whoever may look sees why an event was refused, and not who the shopper is."""
    letter_id = refuse_one(seller)
    shown = client_of("view_deadletter").get(PAGE)
    assert shown.status_code == 200
    text = shown.content.decode()
    assert letter_id in text
    assert "INVALID_EVENT_TIME" in text
    assert "lead L-1" in text
    assert "interchange:12345/website_pixel" in text
    assert "hashed_email" in text
    assert "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976" not in text
    assert 'type="checkbox"' not in text


def test_the_page_shows_what_the_seller_says_of_the_events() -> None:
    """How many it could match, and its warnings; beside advice from a sample."""
    for number in range(20):
        get_tracker().track_purchase({"id": f"P-{number}", "email": "alice@example.com"})
    get_tracker().flush(10)
    text = client_of("view_deadletter").get(PAGE).content.decode()
    assert '<td class="number">100%</td>' in text
    assert "the seller warns: 20 purchases without value and currency" in text
    assert "100% of the purchases have no value or currency." in text


def test_what_came_from_outside_is_escaped(seller: Sandbox) -> None:
    """An event's text is shown as text, wherever it stands."""
    refuse_one(seller, NASTY)
    text = client_of("view_deadletter").get(PAGE).content.decode()
    assert NASTY not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_who_may_replay_sends_a_letter_again(seller: Sandbox) -> None:
    """Once the cause is mended, the event arrives and the letter is gone."""
    letter_id = refuse_one(seller)
    seller.configure(refuse_events={})
    client = client_of("view_deadletter", "replay_deadletter")
    assert f'value="{letter_id}"' in client.get(PAGE).content.decode()
    answer = client.post(PAGE, {"letter": [letter_id, "0" * 12]}, follow=True)
    told = "Dead letters: 1 on their way again, 1 not there any more."
    assert told in answer.content.decode()
    seller.wait_for(1)
    assert [event["event_id"] for event in seller.events] == ["L-1"]
    assert not get_tracker().dead_letters.list()


def test_a_whole_page_is_sent_again_at_once(seller: Sandbox) -> None:
    """Nobody has to tick fifty boxes; what cannot be sent as it is stays out of it."""
    for lead_id in ("L-1", "L-2", "L-3"):
        get_tracker().track_lead(lead_id, email="alice@example.com")
    get_tracker().track_purchase({"id": "P-4", "total": "lots", "currency": "EUR"})
    seller.configure(refuse_events=dict.fromkeys(("L-1", "L-2", "L-3"), "INVALID_EVENT_TIME"))
    assert get_tracker().flush(10).total().dead == 4
    seller.configure(refuse_events={})
    client = client_of("view_deadletter", "replay_deadletter")
    shown = re.findall(r'name="shown" value="(\w+)"', client.get(PAGE).content.decode())
    answer = client.post(PAGE, {"shown": shown, "all": "Send all"}, follow=True)
    assert "Dead letters: 3 on their way again." in answer.content.decode()
    seller.wait_for(3)
    assert len(get_tracker().dead_letters.list()) == 1


def test_what_cannot_be_sent_is_said_to_be_so() -> None:
    """An event that breaks a rule has no box to tick, and is refused if it is named."""
    get_tracker().track_purchase({"id": "P-1", "total": "lots", "currency": "EUR"})
    assert get_tracker().flush(10).total().dead == 1
    (letter,) = get_tracker().dead_letters.list()
    client = client_of("view_deadletter", "replay_deadletter")
    assert 'type="checkbox"' not in client.get(PAGE).content.decode()
    answer = client.post(PAGE, {"letter": letter.id}, follow=True)
    assert "1 cannot be sent as they are" in answer.content.decode()
    assert "No letter was chosen." in client.post(PAGE, follow=True).content.decode()


def test_a_letter_needs_the_token_of_the_page(seller: Sandbox) -> None:
    """Another site cannot make a member of staff replay anything."""
    letter_id = refuse_one(seller)
    client = client_of("view_deadletter", "replay_deadletter", strict=True)
    assert client.post(PAGE, {"letter": letter_id}).status_code == 403
    token = client.get(PAGE).cookies["csrftoken"].value
    sent = client.post(PAGE, {"letter": letter_id, "csrfmiddlewaretoken": token})
    assert sent.status_code == 302


def test_permissions_are_asked_for(seller: Sandbox) -> None:
    """To look, to replay and to be let in at all are three things."""
    letter_id = refuse_one(seller)
    looker = client_of("view_deadletter")
    assert looker.post(PAGE, {"letter": letter_id}).status_code == 403
    assert PAGE in looker.get("/admin/").content.decode()
    User.objects.all().delete()
    assert client_of().get(PAGE).status_code == 403
    User.objects.all().delete()
    outsider = client_of("view_deadletter", "replay_deadletter", staff=False)
    assert outsider.get(PAGE).headers["Location"].startswith("/admin/login/")
    assert len(get_tracker().dead_letters.list()) == 1


def test_nothing_else_is_there() -> None:
    """Dead letters are not added, changed or deleted through the admin."""
    User.objects.create_superuser("root")
    client = Client()
    client.force_login(User.objects.get())
    for path in ("add/", "1/change/", "1/delete/", "1/history/"):
        assert client.get(PAGE + path).status_code == 404


def test_many_letters_come_in_pages() -> None:
    """The newest stand first."""
    for number in range(60):
        get_tracker().track_purchase({"id": f"L-{number}", "total": "lots", "currency": "EUR"})
    assert get_tracker().flush(10).total().dead == 60
    client = client_of("view_deadletter")
    first, second = (client.get(f"{PAGE}?page={page}").content.decode() for page in (1, 2))
    assert "Dead letters (60)" in first
    assert "Page 1 of 2" in first
    assert "purchase L-59" in first
    assert "purchase L-0\n" not in first
    assert "purchase L-0\n" in second


@pytest.mark.slow
def test_a_directory_that_cannot_be_read_is_reported(configure: Configure, seller: Sandbox) -> None:
    """The page says what is wrong instead of failing."""
    refuse_one(seller)
    with configure() as options:
        (file,) = (options["DIRECTORY"] / "dead").iterdir()
        file.chmod(0o644)
        text = client_of("view_deadletter").get(PAGE).content.decode()
        assert "expected no rights for others" in text
        file.chmod(0o600)


def test_no_table_is_asked_for() -> None:
    """What Django does to every model, it may do to this one, without a migration."""
    out = StringIO()
    call_command("dumpdata", "adcp_tracker", stdout=out)
    call_command("dumpdata", "adcp_tracker", "--all", stdout=out)
    assert out.getvalue().strip().replace("\n", "") in {"[][]", "[]\n[]"}
    assert not DeadLetter.objects.exists()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)


def test_an_invalid_event_is_corrected_and_arrives(seller: Sandbox) -> None:
    """Errors are told and keep the letter; hidden values stay as they were."""
    get_tracker().track_purchase({"id": "P-1", "total": "lots", "currency": "EUR"})
    assert get_tracker().flush(10).total().dead == 1
    (letter,) = get_tracker().dead_letters.list()
    client = client_of("view_deadletter", "replay_deadletter")
    assert "Correct and send" in client.get(PAGE).content.decode()
    event = {
        "event_id": "P-1",
        "event_type": "purchase",
        "event_time": "2026-01-02T12:00:00Z",
        "custom_data": {"value": "12.50", "currency": "euro"},
    }
    form = {"correct": letter.id, f"event-{letter.id}": json.dumps(event)}
    assert (
        "The corrected event is invalid: " in client.post(PAGE, form, follow=True).content.decode()
    )
    broken = client.post(PAGE, {**form, f"event-{letter.id}": "{"}, follow=True)
    assert "is not JSON" in broken.content.decode()
    assert len(get_tracker().dead_letters.list()) == 1
    event["custom_data"]["currency"] = "EUR"  # type: ignore[index]
    form[f"event-{letter.id}"] = json.dumps(event)
    assert "1 on their way again" in client.post(PAGE, form, follow=True).content.decode()
    seller.wait_for(1)
    assert seller.events[0]["custom_data"] == {"value": 12.5, "currency": "EUR"}
    assert "not there any more" in client.post(PAGE, form, follow=True).content.decode()


def test_hidden_identifiers_survive_a_correction(seller: Sandbox) -> None:
    """The page hides who the shopper is; what is left hidden is sent as it was."""
    letter_id = refuse_one(seller)
    seller.configure(refuse_events={})
    client = client_of("view_deadletter", "replay_deadletter")
    shown = client.get(PAGE).content.decode()
    text = re.search(r"<textarea[^>]*>(.*?)</textarea>", shown, re.DOTALL)
    assert text is not None
    event = html.unescape(text[1])
    assert "•••" in event
    client.post(PAGE, {"correct": letter_id, f"event-{letter_id}": event})
    seller.wait_for(1)
    assert seller.events[0]["user_match"]["hashed_email"].startswith("ff8d9819")


def test_letters_are_grouped_by_reason_and_exported(seller: Sandbox) -> None:
    """Each reason is a link with a count; an export has no identifiers' values."""
    refuse_one(seller)
    for number in range(2):
        get_tracker().track_purchase({"id": f"P-{number}", "total": "lots", "currency": "EUR"})
    assert get_tracker().flush(10).total().dead == 3
    client = client_of("view_deadletter")
    text = client.get(PAGE).content.decode()
    assert "INVALID_EVENT $.custom_data.value (2)" in text
    only = client.get(PAGE, {"reason": "INVALID_EVENT_TIME"}).content.decode()
    assert "lead L-1" in only
    assert "Dead letters (1)" in only
    exported = client.get(PAGE, {"export": "json", "reason": "INVALID_EVENT_TIME"})
    (line,) = exported.content.splitlines()
    assert json.loads(line)["event"]["user_match"] == {"hashed_email": "•••"}
