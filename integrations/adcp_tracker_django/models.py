"""A model without a table, so that the admin and its permissions know of dead letters."""

from __future__ import annotations

from typing import Any

from django.db import models


class EmptyManager(models.Manager):
    """Finds nothing, without asking any database."""

    def get_queryset(self) -> Any:  # noqa: ANN401 - Django's own has no types
        """Return a queryset that is empty and stays so."""
        return super().get_queryset().none()


class DeadLetter(models.Model):  # noqa: DJ008 - there is never an instance to be shown
    """An event that was set aside; it lies in the queue directory and in no database.

    What ``dumpdata`` and others ask of every model, they ask of its managers.
    """

    id = models.CharField(primary_key=True, max_length=12)

    objects = EmptyManager()

    class Meta:
        """Nothing to migrate, two things to permit."""

        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)
        permissions = (("replay_deadletter", "Can replay dead letters"),)
        verbose_name = "dead letter"
        verbose_name_plural = "dead letters and counters"
