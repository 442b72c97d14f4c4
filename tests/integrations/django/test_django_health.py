"""``/healthz`` and ``/readyz`` of a Django site."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from adcp_tracker_django import urls


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("name", ["healthz", "readyz"])
def test_health_is_answered(name: str) -> None:
    """By urls that a site includes wherever it wants them; only reading is allowed."""
    views = {str(each.pattern): each.callback for each in urls.urlpatterns}
    answer = views[name](RequestFactory().get(f"/{name}"))
    assert answer.status_code == 200
    assert b'"status": "ok"' in answer.content
    assert answer.headers["Cache-Control"] == "no-store"
    assert views[name](RequestFactory().post(f"/{name}")).status_code == 405
