"""What is measured, and whether it is installed here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import attrs


@attrs.frozen
class Subject:
    """One client or store.

    Attributes:
        name: The name of its adapter's module, and what ``--only`` takes.
        label: Its name in tables.
        distribution: The package that has to be installed; empty for the standard library.
        survives: What an accepted event survives.
    """

    name: str
    label: str
    distribution: str
    survives: str

    def installed(self) -> str | None:
        """Give the installed version, ``""`` for the standard library, ``None`` if missing."""
        if not self.distribution:
            return ""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


OURS = "adcp_order"
MAPPING = "adcp_mapping"
JOURNAL = "journal"
FLOOR = "os_write"

CLIENTS = (
    Subject(OURS, "adcp_tracker, Order", "adcp-tracker", "SIGKILL"),
    Subject(MAPPING, "adcp_tracker, mapping", "adcp-tracker", "SIGKILL"),
    Subject("mixpanel_client", "Mixpanel", "mixpanel", "nothing"),
    Subject("snowplow_client", "Snowplow", "snowplow-tracker", "nothing"),
    Subject("opentelemetry_client", "OpenTelemetry", "opentelemetry-sdk", "nothing"),
    Subject("segment_client", "Segment", "segment-analytics-python", "nothing"),
    Subject("posthog_client", "PostHog", "posthog", "nothing"),
    Subject("amplitude_client", "Amplitude", "amplitude-analytics", "nothing"),
)

STORES = (
    Subject(FLOOR, "os.write, bare", "", "SIGKILL"),
    Subject(JOURNAL, "adcp_tracker journal", "adcp-tracker", "SIGKILL"),
    Subject("sealed_journal", "adcp_tracker journal, sealed", "cryptography", "SIGKILL"),
    Subject("sqlite_wal", "sqlite3, WAL, NORMAL", "", "SIGKILL"),
    Subject("diskcache_push", "diskcache.push", "diskcache", "SIGKILL"),
    Subject("persistqueue_put", "persist-queue SQLite", "persist-queue", "power cut"),
)

OVER_POSTGRESQL = "adcp_postgresql"
OVER_RELAY = "adcp_relay"
OVER_DIRECTORY = "adcp_directory"

QUEUES = (
    Subject(OVER_DIRECTORY, "adcp_tracker, directory", "adcp-tracker", "SIGKILL"),
    Subject(OVER_POSTGRESQL, "adcp_tracker, PostgreSQL", "psycopg", "power cut"),
    Subject(OVER_RELAY, "adcp_tracker, relay to PostgreSQL", "psycopg", "SIGKILL"),
    Subject("adcp_mariadb", "adcp_tracker, MariaDB", "PyMySQL", "power cut"),
    Subject("skip_locked", "SKIP LOCKED by hand, 1,000 a claim", "psycopg", "power cut"),
    Subject("procrastinate_jobs", "procrastinate", "procrastinate", "power cut"),
    Subject("celery_jobs", "Celery + Redis", "redis", "a second after it"),
)
"""Queues that several machines can share, but for the first."""

CHECKOUTS = (
    Subject("django_checkout", "Django", "procrastinate", "power cut"),
    Subject("sqlalchemy_checkout", "SQLAlchemy", "procrastinate", "power cut"),
)
"""Frameworks whose transactions have orders and events."""

SITES = (
    Subject("django_site", "Django, a new project's middleware", "django", ""),
    Subject("flask_site", "Flask", "flask", ""),
    Subject("fastapi_site", "FastAPI", "fastapi", ""),
)

IMPORTS = (
    Subject("adcp_tracker", "adcp_tracker", "adcp-tracker", ""),
    Subject("httpx", "httpx", "httpx", ""),
    Subject("mixpanel", "Mixpanel", "mixpanel", ""),
    Subject("snowplow_tracker", "Snowplow", "snowplow-tracker", ""),
    Subject("segment.analytics", "Segment", "segment-analytics-python", ""),
    Subject("posthog", "PostHog", "posthog", ""),
    Subject("amplitude", "Amplitude", "amplitude-analytics", ""),
    Subject("opentelemetry.sdk.trace.export", "OpenTelemetry", "opentelemetry-sdk", ""),
)
