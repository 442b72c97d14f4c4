"""The admin page: counters and dead letters, to send again, correct or export."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import attrs
import orjson
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker_django.config import get_tracker
from adcp_tracker_django.models import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

    from adcp_tracker.outbox.dead_letters import DeadLetter as Letter

_PER_PAGE = 50
_HANDOVER_SECONDS = 5.0
_TEMPLATE = "admin/adcp_tracker/deadletter/change_list.html"
_NAME = "adcp_tracker_deadletter_changelist"


@attrs.frozen
class Row:
    """A dead letter as the page shows it.

    Attributes:
        letter: The dead letter.
        died_at: When it was stored.
        event: Its event, without the values that identify the shopper.
        event_json: The same, formatted.
    """

    letter: Letter
    died_at: datetime
    event: dict[str, object]
    event_json: str


def to_row(letter: Letter) -> Row:
    """Prepare a dead letter for the page.

    The page shows which identifiers an event has, but not their values.
    """
    event = letter.masked_event()
    return Row(
        letter,
        datetime.fromtimestamp(letter.died_at, timezone.utc),
        event,
        orjson.dumps(event, option=orjson.OPT_INDENT_2).decode(),
    )


@admin.register(DeadLetter)
class DeadLetterAdmin(admin.ModelAdmin):
    """Shows the dead letters, which no database holds. They can't be added or changed here."""

    def get_urls(self) -> list[object]:
        """Return the only page."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name=_NAME)]

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        """Return ``False``: dead letters can't be edited here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Return ``False``: dead letters can't be edited here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Return ``False``: dead letters can't be edited here."""
        return False

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may replay dead letters."""
        return bool(request.user.has_perm("adcp_tracker.replay_deadletter"))

    def changelist_view(self, request: HttpRequest, extra_context: object = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Show counters and dead letters, or replay the selected ones."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._send(request)
        every = self._letters(request)
        reason = request.GET.get("reason", "")
        letters = [letter for letter in every if reason in {"", letter.reason}]
        if "export" in request.GET:
            return _export(letters)
        page = Paginator(letters[::-1], _PER_PAGE).get_page(request.GET.get("page"))
        stats = get_tracker().stats()
        if stats.stale:
            self.message_user(request, stats.stale, messages.WARNING)
        context = {
            **self.admin_site.each_context(request),
            "title": "Dead letters and counters",
            "opts": self.opts,
            "destinations": sorted(stats.destinations.items()),
            "page": page,
            "rows": [to_row(letter) for letter in page],
            "reasons": Counter(letter.reason for letter in every).most_common(),
            "reason": reason,
            "may_replay": self.has_replay_permission(request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, _TEMPLATE, context)

    def _letters(self, request: HttpRequest) -> Sequence[Letter]:
        try:
            return get_tracker().dead_letters.list()
        except OSError as error:
            self.message_user(request, str(error), messages.ERROR)
            return []

    def _send(self, request: HttpRequest) -> HttpResponse:
        """Replay the chosen letters, or send one with its corrected event."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        ids = set(request.POST.getlist("shown" if "all" in request.POST else "letter"))
        if "correct" in request.POST:
            letter_id = request.POST["correct"]
            text, level = _correct(letter_id, request.POST.get(f"event-{letter_id}", ""))
        elif ids:
            text, level = _replayed(ids)
        else:
            text, level = "No letter was chosen.", messages.WARNING
        self.message_user(request, text, level)
        page = reverse(f"admin:{_NAME}", current_app=self.admin_site.name)
        return HttpResponseRedirect(page)


def _export(letters: Sequence[Letter]) -> HttpResponse:
    """Return letters as lines of JSON, without the values that tell who the shopper is."""
    lines = [
        orjson.dumps({**letter.summary(), "event": to_row(letter).event}) for letter in letters
    ]
    headers = {"Content-Disposition": 'attachment; filename="dead-letters.ndjson"'}
    return HttpResponse(b"\n".join(lines), "application/x-ndjson", headers=headers)


def _correct(letter_id: str, text: str) -> tuple[str, int]:
    """Send a letter with its event as somebody corrected it."""
    dead_letters = get_tracker().dead_letters
    try:
        letter = next(each for each in dead_letters.list() if each.id == letter_id)
        event = letter.unmask_event(text)
        done = dead_letters.correct(letter_id, event, timeout=_HANDOVER_SECONDS)
    except StopIteration:
        return "This letter is not there any more.", messages.WARNING
    except InvalidEventError as error:
        return f"The corrected event is invalid: {error}", messages.ERROR
    except ValueError as error:
        return f"The corrected event is not JSON: {error}", messages.ERROR
    except (OSError, RuntimeError) as error:
        return str(error), messages.ERROR
    return str(done), messages.SUCCESS if done.replayed else messages.WARNING


def _replayed(ids: set[str]) -> tuple[str, int]:
    try:
        done = get_tracker().dead_letters.replay(ids, timeout=_HANDOVER_SECONDS)
    except (OSError, RuntimeError) as error:
        return str(error), messages.ERROR
    return str(done), messages.SUCCESS if done.replayed else messages.WARNING
