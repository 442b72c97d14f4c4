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


class Sale(models.Model):
    """An order with a customer and lines, of which a view may have loaded nothing."""

    customer = models.ForeignKey("auth.User", null=True, on_delete=models.CASCADE)
    email = models.EmailField(blank=True)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3)

    class Meta:
        """As above."""

        app_label = "shop"

    def __str__(self) -> str:
        return f"Sale {self.pk}"


class SaleLine(models.Model):
    """A line of a sale."""

    sale = models.ForeignKey(Sale, related_name="lines", on_delete=models.CASCADE)
    sku = models.CharField(max_length=20)
    quantity = models.IntegerField()
    price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        """As above."""

        app_label = "shop"

    def __str__(self) -> str:
        return str(self.sku)
