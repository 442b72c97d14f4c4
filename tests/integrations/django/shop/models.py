"""What the shop keeps."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order."""

    number = models.CharField(max_length=20)

    class Meta:
        """Named outright, since the folder is no package that Django could name it after."""

        app_label = "shop"

    def __str__(self) -> str:
        return str(self.number)
