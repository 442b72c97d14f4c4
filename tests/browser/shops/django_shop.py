"""The shop on Django, with the admin: settings, addresses, views and what servers load."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from adcp_tracker_django import get_tracker
from tests.browser.shops import site

if TYPE_CHECKING:
    from django.http import HttpRequest

settings.configure(
    SECRET_KEY="not-a-secret",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    LOGGING_CONFIG=None,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    STATIC_URL="/static/",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "adcp_tracker_django",
    ],
    MIDDLEWARE=[
        "adcp_tracker_django.middleware.AdcpTrackerMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        }
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("SHOP_DATABASE", ":memory:"),
        }
    },
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ADCP_TRACKER=site.options(),
)


def home(_: HttpRequest) -> HttpResponse:
    """Show where shoppers land."""
    return HttpResponse(site.HOME)


def health(_: HttpRequest) -> HttpResponse:
    """Say that requests are served."""
    return HttpResponse("well")


def about(_: HttpRequest) -> HttpResponse:
    """Show a page that any cache may keep."""
    return HttpResponse(site.ABOUT, headers=site.CACHED)


def cart(_: HttpRequest) -> HttpResponse:
    """Show a page whose script buys."""
    return HttpResponse(site.CART)


def ahead(_: HttpRequest, kind: str) -> HttpResponse:
    """Show a page that has the next one fetched ahead."""
    return HttpResponse(site.AHEAD[kind])


def product(request: HttpRequest, number: int) -> HttpResponse:
    """Show a product."""
    purpose = request.headers.get("Sec-Purpose", "")
    page = site.product(get_tracker(), number, purpose)
    return HttpResponse(status=503) if page is None else HttpResponse(page)


@csrf_exempt
def buy(_: HttpRequest, order_id: str) -> HttpResponse:
    """Sell one thing."""
    return HttpResponse(site.bought(site.sell(get_tracker(), order_id)))


def seen(_: HttpRequest) -> HttpResponse:
    """Tell which products were asked for."""
    return JsonResponse(site.seen(), safe=False)


def favicon(_: HttpRequest) -> HttpResponse:
    """Have no picture, so that no browser complains of a missing one."""
    return HttpResponse(status=204)


urlpatterns = [
    path("favicon.ico", favicon),
    path("", home),
    path("health", health),
    path("about", about),
    path("cart", cart),
    path("ahead/<str:kind>", ahead),
    path("product/<int:number>", product),
    path("buy/<str:order_id>", buy),
    path("seen", seen),
]

# The admin's styles are served as well, as a web server in front of the shop would.
wsgi = StaticFilesHandler(get_wsgi_application())
asgi = get_asgi_application()

from django.contrib import admin  # noqa: E402 - can only be imported once Django is set up

urlpatterns.append(path("admin/", admin.site.urls))
