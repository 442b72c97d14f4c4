"""The shop's app."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Says where it lies, as the folder is no ordinary package."""

    name = "tests.integrations.django.shop"
    label = "shop"
    path = str(Path(__file__).parent)
