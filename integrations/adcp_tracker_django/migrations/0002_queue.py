"""The tables of a queue in the site's database, for ``QUEUE = "transaction"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import migrations

from adcp_tracker.outbox.schema import WORDS, schema_statements

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import StateApps


def create_tables(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create the tables that ``adcp-tracker queue migrate`` creates, where a queue can be."""
    del apps
    connection = schema_editor.connection
    if connection.vendor in WORDS:
        with connection.cursor() as cursor:
            for statement in schema_statements(connection.vendor):
                cursor.execute(statement)


class Migration(migrations.Migration):
    """Create them, except in databases that can't hold a queue."""

    dependencies = (("adcp_tracker", "0001_initial"),)
    operations = (migrations.RunPython(create_tables, migrations.RunPython.noop, elidable=False),)
