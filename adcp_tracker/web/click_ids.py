"""Click ids and their cookie."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs

from adcp_tracker.events.model import CLICK_IDS
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


MAX_LENGTH = 512
"""The longest click id that every kind of seller accepts."""

_COMPANIONS = frozenset({"gbraid", "wbraid", "dclid"})
"""Ids that Google adds beside a gclid, which takes precedence."""

_VERSION = "1"
_MAX_DAYS = 400
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_ID = re.compile(r"[A-Za-z0-9_.~:=+/-]{1,512}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


@attrs.frozen(repr=False)
class Click:
    """One click on an advertisement.

    Attributes:
        type: The kind of id, such as ``gclid``.
        id: The id.
    """

    type: str
    id: str

    def __repr__(self) -> str:
        return f"Click(type={self.type!r})"


class ClickNames:
    """The query parameters that hold click ids, compiled for fast searches."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        """Combine the known names with `more`.

        Raises:
            ConfigurationError: If a name isn't valid in both queries and cookies.
        """
        self.names = tuple(dict.fromkeys((*CLICK_IDS, *more)))
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    "click_ids: expected names of 1–64 letters, digits and underscores, "
                    f"got {name!r}"
                )
        self._types = {name.lower(): name for name in self.names}
        alternatives = "|".join(map(re.escape, self._types))
        flags = re.IGNORECASE | re.ASCII
        self._find = re.compile(f"(?:^|&)({alternatives})=([^&]*)", flags).finditer
        self.occurs_in = re.compile(f"(?:^|&)(?:{alternatives})=", flags).search

    def in_query(self, query: str) -> Click | None:
        """Return the click that led to this page.

        Of several valid ids the last one counts, since links that are passed on get ids
        appended. A gclid takes precedence over the ids that Google adds beside it.
        """
        found = [click for match in self._find(query) if (click := self._click(*match.groups()))]
        if not found:
            return None
        last = found[-1]
        if last.type in _COMPANIONS:
            return next((click for click in reversed(found) if click.type == "gclid"), last)
        return last

    def in_cookie(self, value: str) -> Click | None:
        """Parse a value that :func:`cookie_value` made; return ``None`` for anything else."""
        version, _, rest = value.partition(".")
        kind, _, click_id = rest.partition(".")
        if version != _VERSION or self._types.get(kind.lower()) != kind:
            return None
        return Click(kind, click_id) if _ID.fullmatch(click_id) else None

    def _click(self, name: str, raw: str) -> Click | None:
        click_id = unquote(raw) if "%" in raw and len(raw) <= 3 * MAX_LENGTH else raw
        return Click(self._types[name.lower()], click_id) if _ID.fullmatch(click_id) else None


def cookie_value(click: Click) -> str:
    """Return the cookie's value for `click`, such as ``1.gclid.Cj0K…``."""
    return f"{_VERSION}.{click.type}.{click.id}"


def read_cookie(lines: Iterable[str], name: str) -> str | None:
    """Return a cookie's raw value from the lines of a ``Cookie`` header; the first one counts."""
    for line in lines:
        if name in line and (match := _cookie_pattern(name)(";" + line)):
            return match[1].strip()
    return None


@lru_cache(maxsize=64)
def _cookie_pattern(name: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(rf";\s*{re.escape(name)}\s*=([^;]*)").search


@attrs.frozen
class ClickCookie:
    """The only cookie that this library sets.

    Attributes:
        name: Its name.
        max_age_days: How long a browser keeps it after the click.
        domain: The domain whose subdomains share it; ``None`` limits it to the host.
        secure: Whether it is for https only; ``None`` follows the request.
    """

    name: str = "adcp_click"
    max_age_days: int = 90
    domain: str | None = None
    secure: bool | None = None

    def __attrs_post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.name):
            raise ConfigurationError(
                f"click_cookie: expected a cookie's name of 1–64 characters, got {self.name!r}"
            )
        if type(self.max_age_days) is not int or not 1 <= self.max_age_days <= _MAX_DAYS:
            raise ConfigurationError(
                f"click_cookie_days: expected an integer from 1 to {_MAX_DAYS}, beyond which "
                f"browsers cut it short, got {self.max_age_days!r}"
            )
        if self.domain is not None and not _DOMAIN.fullmatch(self.domain):
            raise ConfigurationError(
                f"click_cookie_domain: expected a domain such as 'shop.example', "
                f"got {self.domain!r}"
            )

    def set(self, click: Click, *, https: bool) -> str:
        """Return the ``Set-Cookie`` value that stores `click`."""
        return self._header(cookie_value(click), self.max_age_days * 86_400, https=https)

    def expire(self, *, https: bool) -> str:
        """Return the ``Set-Cookie`` value that expires the cookie."""
        return self._header("", 0, https=https)

    def _header(self, value: str, max_age_seconds: int, *, https: bool) -> str:
        secure = https if self.secure is None else self.secure
        domain = f"; Domain={self.domain}" if self.domain else ""
        return (
            f"{self.name}={value}; Max-Age={max_age_seconds}; Path=/{domain}; HttpOnly; "
            f"SameSite=Lax{'; Secure' if secure else ''}"
        )


_GOOGLE = r"GCL\.([0-9]{1,13})\.([A-Za-z0-9_-]+)"
_PLAIN = r"()([A-Za-z0-9_.~-]+)"
_PLATFORM_COOKIES = {
    "_gcl_aw": ("gclid", re.compile(_GOOGLE)),
    "_gcl_dc": ("dclid", re.compile(_GOOGLE)),
    "_fbc": (
        "fbclid",
        re.compile(r"fb\.[0-9]\.([0-9]{1,13})\.([A-Za-z0-9_-]+)(?:\.[A-Za-z0-9_-]+)?"),
    ),
    "_uetmsclkid": ("msclkid", re.compile(r"()_uet([A-Za-z0-9_-]+)")),
    "_epik": ("epik", re.compile(_PLAIN)),
    "li_fat_id": ("li_fat_id", re.compile(_PLAIN)),
    "ttclid": ("ttclid", re.compile(_PLAIN)),
}
"""Cookies in which ad platforms' own scripts keep a click id: its type, and its form.

Each form has two groups: when the click happened, if the cookie says so, and the id.
"""

_FIND_PLATFORM_COOKIE = re.compile(f";\\s*({'|'.join(_PLATFORM_COOKIES)})=([^;]{{1,600}})").finditer
_PLATFORM_MARKS = ("_gcl_", "_fbc=", "_uetmsclkid=", "_epik=", "li_fat_id=", "ttclid=")
_SECONDS = 10
"""How many digits of a timestamp are seconds; milliseconds have three more."""


def click_from_platform(lines: Iterable[str]) -> Click | None:
    """Return the latest click that an ad platform's script stored in a cookie.

    It is the only trace of a click whose landing page came from a cache.
    """
    found: list[tuple[str, Click]] = []
    for line in lines:
        for mark in _PLATFORM_MARKS:  # much quicker than the search, and mostly in vain
            if mark in line:
                break
        else:
            continue
        for match in _FIND_PLATFORM_COOKIE(";" + line):
            kind, form = _PLATFORM_COOKIES[match[1]]
            parsed = form.fullmatch(match[2].strip())
            if parsed is not None and _ID.fullmatch(parsed[2]):
                found.append((parsed[1].zfill(_SECONDS)[:_SECONDS], Click(kind, parsed[2])))
    return max(found, key=itemgetter(0), default=(None, None))[1]


_IN_NO_HEADER = "\n"


class CookieCheck:
    """Decides quickly whether a response may need the click cookie.

    ``False`` is certain; after ``True``, ask :meth:`.Capture.response_cookie`.

    Attributes:
        cookie: The cookie's name, or a string that can't be in a header if it is turned off.
        ends: The lower-case ends of parameters that hold a click id. Few others end so.
        lands: Searches a query for such a parameter.
    """

    __slots__ = ("_ends_bytes", "cookie", "cookie_bytes", "ends", "lands")

    def __init__(self, clicks: ClickNames, cookie: str | None) -> None:
        """Look for the parameters of `clicks` and for the cookie, if it is turned on."""
        self.cookie = _IN_NO_HEADER if cookie is None else cookie
        self.cookie_bytes = self.cookie.encode()
        ends = {f"{name[-2:].lower()}=" for name in clicks.names}
        self.ends = () if cookie is None else tuple(sorted(ends))
        self._ends_bytes = tuple(end.encode() for end in self.ends)
        self.lands = clicks.occurs_in

    def needs_cookie_environ(self, environ: Mapping[str, Any]) -> bool:
        """Check a WSGI environ, or Django's ``request.META``."""
        try:
            query = environ.get("QUERY_STRING")
            if query:
                lower = query.lower()
                for end in self.ends:
                    if end in lower and self.lands(query):
                        return True
            return "HTTP_COOKIE" in environ and self.cookie in environ["HTTP_COOKIE"]
        except (AttributeError, TypeError):  # not text, so not a browser's
            return False

    def needs_cookie_scope(self, scope: Mapping[str, Any]) -> bool:
        """Check an ASGI HTTP scope."""
        query = scope.get("query_string")
        if query:
            lower = query.lower()
            for end in self._ends_bytes:
                if end in lower and self.lands(query.decode("latin-1")):
                    return True
        cookie = self.cookie_bytes
        for name, value in scope.get("headers", ()):
            if name == b"cookie" and cookie in value:
                return True
        return False
