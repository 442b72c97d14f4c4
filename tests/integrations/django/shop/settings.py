"""A small shop's settings, as ``startproject`` makes them, and the lines that a page adds."""

from __future__ import annotations

import os

SECRET_KEY = "not-a-secret"
DEBUG = False
ALLOWED_HOSTS = ["shop.example", "testserver", "127.0.0.1"]
ROOT_URLCONF = "tests.integrations.django.shop.urls"
USE_TZ = True
LOGGING_CONFIG = None
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "tests.integrations.django.shop",
    "adcp_tracker_django",
]
MIDDLEWARE = [
    "adcp_tracker_django.middleware.AdcpTrackerMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
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
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", ":memory:"),
        "OPTIONS": {"timeout": 20},
    },
    "ledger": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# The rest, such as the directory and the destination, comes from the environment.
ADCP_TRACKER: dict[str, object] = {"TRUSTED_PROXIES": ["127.0.0.1"]}
