"""The shop's pages; all that matters about each is what it tracks."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpResponse, JsonResponse

from adcp_tracker_django import get_tracker
from tests.integrations.django.shop.models import Order

if TYPE_CHECKING:
    from django.http import HttpRequest

_overheard: list[str] = []
_listening_to = 0


def _overhear(event: str, _: tuple[object, ...]) -> None:
    # Setting an attribute is audited too and waits for nothing, nor does looking at the caller's
    # frame, as a tracker beside a local seller does for that seller's page.
    harmless = event.startswith("object.") or event == "sys._getframe"
    if threading.get_ident() == _listening_to and not harmless:
        _overheard.append(event)


def track(number: int) -> dict[str, object]:
    """Track one purchase, and tell which process did."""
    order = {"order_id": f"A-{number}", "total": "10.00", "currency": "EUR"}
    return {"event_id": get_tracker().track_purchase(order).event_id, "pid": os.getpid()}


def buy(_: HttpRequest, number: int) -> HttpResponse:
    """Track a purchase."""
    return JsonResponse(track(number))


async def buy_async(_: HttpRequest, number: int) -> HttpResponse:
    """Track a purchase on the event loop."""
    return JsonResponse(track(number))


def checkout(_: HttpRequest, number: int) -> HttpResponse:
    """Keep an order and track its purchase, in one transaction."""
    with transaction.atomic():
        Order.objects.create(number=f"A-{number}")
        return JsonResponse(track(number))


async def checkout_async(request: HttpRequest, number: int) -> HttpResponse:
    """Do the same from an asynchronous view, in a thread as Django has it."""
    return await sync_to_async(checkout)(request, number)


async def overheard(_: HttpRequest, number: int) -> HttpResponse:
    """Track two purchases, and tell what Python audits during the second."""
    global _listening_to  # noqa: PLW0603 - an audit hook cannot be given anything
    track(number)
    sys.addaudithook(_overhear)
    _listening_to = threading.get_ident()
    track(number + 1)
    _listening_to = 0
    return JsonResponse({"overheard": _overheard})


def page(_: HttpRequest) -> HttpResponse:
    """Show a page that tracks nothing."""
    return HttpResponse("page")


def account(request: HttpRequest) -> HttpResponse:
    """Show a page that is another one for each user."""
    return HttpResponse(str(request.user))
