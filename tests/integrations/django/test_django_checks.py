"""The system checks: each names what is wrong, and none is there without reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integrations.django.conftest import Configure

OURS = "adcp_tracker_django.middleware.AdcpTrackerMiddleware"
CACHE = "django.middleware.cache.UpdateCacheMiddleware"


def found() -> list[str]:
    """Return the ids of what Django finds with our checks."""
    messages = run_checks(tags=["adcp_tracker"])
    assert all(message.hint or message.id.endswith("E001") for message in messages)
    return [message.id.removeprefix("adcp_tracker.") for message in messages]


def test_a_site_as_the_documentation_has_it_passes(configure: Configure, tmp_path: Path) -> None:
    """Nothing is found, and nothing is made: who checks need not be who serves."""
    with configure():
        assert not found()
        assert not run_checks()
    assert not (tmp_path / "queue").exists()


def test_settings_that_cannot_be_right_are_an_error(configure: Configure) -> None:
    """The error says what is wrong, and the credential is not in it."""
    with configure(UPLOADER="nobody"):
        (message,) = run_checks(tags=["adcp_tracker"])
        assert message.id == "adcp_tracker.E001"
        assert "uploader: expected 'thread' or 'external', got 'nobody'" in message.msg
    with configure(EVENT_SOURCE_ID=None):
        assert found() == ["E001"]


def test_the_middleware_is_missed(configure: Configure) -> None:
    """Without it, events carry nobody."""
    without = [path for path in settings.MIDDLEWARE if path != OURS]
    with configure(), override_settings(MIDDLEWARE=without):
        assert found() == ["W001"]


def test_the_middleware_stands_above_a_cache(configure: Configure) -> None:
    """A cache above it would hand one shopper's cookie to the next."""
    with configure(), override_settings(MIDDLEWARE=[CACHE, OURS, "no.such.Middleware"]):
        assert found() == ["W002"]
    with configure(), override_settings(MIDDLEWARE=[OURS, CACHE]):
        assert not found()


def test_a_test_code_in_production_is_said(configure: Configure) -> None:
    """With it, no conversion counts; a developer means it."""
    with configure(TEST_EVENT_CODE="TEST1"):
        assert found() == ["W003"]
        with override_settings(DEBUG=True):
            assert not found()


@pytest.mark.parametrize(
    ("told", "ids"),
    [
        ({"TRUSTED_PROXIES": []}, ["W004"]),
        ({"TRUSTED_PROXIES": ["10.0.0.0/8"]}, []),
        ({"TRUSTED_PROXIES": [], "TRUSTED_HOPS": 1}, []),
        ({"TRUSTED_PROXIES": [], "PLATFORM": "heroku"}, []),
    ],
)
def test_a_proxy_that_nobody_trusts_is_said(
    configure: Configure, told: dict[str, object], ids: list[str]
) -> None:
    """A site behind TLS has a proxy, whose headers tell who the shopper is."""
    with configure(**told), override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_PROTO", "https")):
        assert found() == ids


def test_a_directory_that_cannot_be_used_is_said(configure: Configure, tmp_path: Path) -> None:
    """Open to others, a link, or not to be created: each in words, before the first event."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    file = tmp_path / "file"
    file.touch()
    remedies = {open_to_all: "chmod go-rwx", link: "got a link", file / "queue": "Not a directory"}
    for directory, remedy in remedies.items():
        with configure(DIRECTORY=directory):
            assert found() == ["W005"]
            (message,) = run_checks(tags=["adcp_tracker"])
            assert remedy in message.msg


def test_a_directory_in_use_passes(configure: Configure, tmp_path: Path) -> None:
    """One that is ours alone is left as it is."""
    (tmp_path / "queue").mkdir(mode=0o700)
    with configure():
        assert not found()


def test_events_without_destination_are_only_mentioned(
    configure: Configure, tmp_path: Path
) -> None:
    """They wait on disk, which may be what is wanted."""
    with configure(), override_settings(ADCP_TRACKER={"DIRECTORY": tmp_path / "queue"}):
        assert found() == ["I001"]
