"""Django set up once for all tests of this folder, and a site to configure in each."""

from __future__ import annotations

import importlib.util
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if importlib.util.find_spec("django") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integrations.django.shop.settings")
    import django

    django.setup()

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

    Configure = Callable[..., AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def configure(tmp_path: Path, seller: Sandbox) -> Configure:
    """Configures the site, to deliver to the seller; arguments change or add options."""

    @contextmanager
    def configured(**changes: object) -> Iterator[dict[str, Any]]:
        from django.test import override_settings  # noqa: PLC0415 - may be missing

        options: dict[str, Any] = {
            "DIRECTORY": tmp_path / "queue",
            "ADVERTISER_ID": ADVERTISER,
            "API_KEY": TOKEN,
            "EVENT_SOURCE_ID": SOURCE,
            "BASE_URL": seller.url,
            "TRUSTED_PROXIES": ["127.0.0.1"],
            "FLUSH_INTERVAL": 0.05,
            **changes,
        }
        with override_settings(ADCP_TRACKER=options):
            yield options

    return configured


@pytest.fixture
def site(configure: Configure) -> Iterator[dict[str, Any]]:
    """The shop, configured to deliver to the seller."""
    with configure() as options:
        yield options


@pytest.fixture(scope="session")
def _tables() -> None:
    from django.core.management import call_command  # noqa: PLC0415 - may be missing

    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0, database="ledger")


@pytest.fixture
def database(_tables: None) -> Iterator[None]:
    """The shop's databases, empty again afterwards."""
    yield
    from django.contrib.auth.models import User  # noqa: PLC0415 - may be missing

    from tests.integrations.django.shop.models import Order  # noqa: PLC0415 - may be missing

    for alias in ("default", "ledger"):
        Order.objects.using(alias).delete()
    User.objects.all().delete()
