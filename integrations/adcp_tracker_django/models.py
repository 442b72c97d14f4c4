"""A model without a table, so that the admin can show dead letters with permissions."""

from __future__ import annotations

from typing import Any

from django.db import models


class EmptyManager(models.Manager):
    """Finds nothing, without a query."""

    def get_queryset(self) -> Any:  # noqa: ANN401 - Django's own has no types
        """Return an empty queryset."""
        return super().get_queryset().none()


class DeadLetter(models.Model):  # noqa: DJ008 - there is never an instance to be shown
    """An event that couldn't be delivered. It is stored in the queue directory, not a database.

    The manager is empty, so that ``dumpdata`` and others run no query.
    """

    id = models.CharField(primary_key=True, max_length=12)

    objects = EmptyManager()

    class Meta:
        """No table, two permissions."""

        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)
        permissions = (("replay_deadletter", "Can replay dead letters"),)
        verbose_name = "dead letter"
        verbose_name_plural = "dead letters and counters"
