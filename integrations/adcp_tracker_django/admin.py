"""The admin page: counters, dead letters, and a button to replay them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import attrs
import orjson
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from adcp_tracker_django.config import get_tracker
from adcp_tracker_django.models import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

    from adcp_tracker.outbox.dead_letters import DeadLetter as Letter

_PER_PAGE = 50
_HANDOVER_SECONDS = 5.0
_TEMPLATE = "admin/adcp_tracker/deadletter/change_list.html"
_NAME = "adcp_tracker_deadletter_changelist"
_SHOPPER = "user_match"


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
    event = orjson.loads(letter.event)
    if isinstance(event.get(_SHOPPER), dict):
        event[_SHOPPER] = dict.fromkeys(event[_SHOPPER], "•••")
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
            return self._replay(request)
        letters = self._letters(request)
        page = Paginator(letters[::-1], _PER_PAGE).get_page(request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Dead letters and counters",
            "opts": self.opts,
            "books": sorted(get_tracker().stats().destinations.items()),
            "page": page,
            "rows": [to_row(letter) for letter in page],
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

    def _replay(self, request: HttpRequest) -> HttpResponse:
        if not self.has_replay_permission(request):
            raise PermissionDenied
        ids = set(request.POST.getlist("shown" if "all" in request.POST else "letter"))
        text, level = _replayed(ids) if ids else ("No letter was chosen.", messages.WARNING)
        self.message_user(request, text, level)
        page = reverse(f"admin:{_NAME}", current_app=self.admin_site.name)
        return HttpResponseRedirect(page)


def _replayed(ids: set[str]) -> tuple[str, int]:
    try:
        done = get_tracker().dead_letters.replay(ids, timeout=_HANDOVER_SECONDS)
    except (OSError, RuntimeError) as error:
        return str(error), messages.ERROR
    parts = [f"{len(done.replayed)} on their way again"]
    if done.refused:
        parts.append(f"{len(done.refused)} cannot be sent as they are")
    if done.unknown:
        parts.append(f"{len(done.unknown)} not there any more")
    level = messages.SUCCESS if done.replayed else messages.WARNING
    return f"Dead letters: {', '.join(parts)}.", level
