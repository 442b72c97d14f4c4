"""The shop's addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from tests.integrations.django.shop import views

urlpatterns = [
    path("", views.page),
    path("account", views.account),
    path("buy/<int:number>", views.buy),
    path("async/buy/<int:number>", views.buy_async),
    path("checkout/<int:number>", views.checkout),
    path("async/checkout/<int:number>", views.checkout_async),
    path("async/overheard/<int:number>", views.overheard),
    path("admin/", admin.site.urls),
]
