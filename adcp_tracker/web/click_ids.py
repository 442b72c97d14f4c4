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
"""Characters in a click id, the most that every kind of seller takes."""

_COMPANIONS = frozenset({"gbraid", "wbraid", "dclid"})
"""What Google adds beside a gclid, which then says more."""

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
        type: Which kind of id, such as ``gclid``.
        id: The id itself.
    """

    type: str
    id: str

    def __repr__(self) -> str:
        return f"Click(type={self.type!r})"


class ClickNames:
    """The table of query parameters to look for, made ready to look fast."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        """Take the known names and `more`.

        Raises:
            ConfigurationError: if a name could not stand in a query and a cookie.
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
        """Find the click that led here.

        Of several valid ids the last one counts, since whoever passes a link on appends;
        only Google's companions yield to a gclid.
        """
        found = [click for match in self._find(query) if (click := self._click(*match.groups()))]
        if not found:
            return None
        last = found[-1]
        if last.type in _COMPANIONS:
            return next((click for click in reversed(found) if click.type == "gclid"), last)
        return last

    def in_cookie(self, value: str) -> Click | None:
        """Read back what :func:`cookie_value` wrote; ``None`` for anything else."""
        version, _, rest = value.partition(".")
        kind, _, click_id = rest.partition(".")
        if version != _VERSION or self._types.get(kind.lower()) != kind:
            return None
        return Click(kind, click_id) if _ID.fullmatch(click_id) else None

    def _click(self, name: str, raw: str) -> Click | None:
        click_id = unquote(raw) if "%" in raw and len(raw) <= 3 * MAX_LENGTH else raw
        return Click(self._types[name.lower()], click_id) if _ID.fullmatch(click_id) else None


def cookie_value(click: Click) -> str:
    """Write `click` down compactly, as ``1.gclid.Cj0K…``."""
    return f"{_VERSION}.{click.type}.{click.id}"


def read_cookie(lines: Iterable[str], name: str) -> str | None:
    """Find a cookie's raw value in the lines of a ``Cookie`` header; the first one counts."""
    for line in lines:
        if name in line and (match := _cookie_pattern(name)(";" + line)):
            return match[1].strip()
    return None


@lru_cache(maxsize=64)
def _cookie_pattern(name: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(rf";\s*{re.escape(name)}\s*=([^;]*)").search


@attrs.frozen
class ClickCookie:
    """The one cookie that this library sets.

    Attributes:
        name: What it is called.
        max_age_days: How long a browser keeps it after the click.
        domain: Shares it among the subdomains of this domain; ``None`` keeps it to the host.
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
        """Return the ``Set-Cookie`` value that keeps `click`."""
        return self._header(cookie_value(click), self.max_age_days * 86_400, https=https)

    def expire(self, *, https: bool) -> str:
        """Return the ``Set-Cookie`` value that makes a browser forget the click."""
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
_SECONDS = 10
"""How many digits of a timestamp are seconds; milliseconds have three more."""


def click_from_platform(lines: Iterable[str]) -> Click | None:
    """Return the latest click that an ad platform's own script kept in a cookie.

    The landing page may have come from a cache, so that this library never saw it.
    """
    found: list[tuple[str, Click]] = []
    for line in lines:
        for match in _FIND_PLATFORM_COOKIE(";" + line):
            kind, form = _PLATFORM_COOKIES[match[1]]
            parsed = form.fullmatch(match[2].strip())
            if parsed is not None and _ID.fullmatch(parsed[2]):
                found.append((parsed[1].zfill(_SECONDS)[:_SECONDS], Click(kind, parsed[2])))
    return max(found, key=itemgetter(0), default=(None, None))[1]


_IN_NO_HEADER = "\n"


class CookieCheck:
    """Tells of a request whether :meth:`.Capture.response_cookie` has to be asked later.

    "No" is certain, and "yes" a possibility.

    Attributes:
        cookie: The cookie's name; where a site has none, what no header can hold.
        ends: In lower case, how a parameter that holds a click id ends. Few others do.
        lands: Finds a parameter of such a name in a query.
    """

    __slots__ = ("_ends_bytes", "cookie", "cookie_bytes", "ends", "lands")

    def __init__(self, clicks: ClickNames, cookie: str | None) -> None:
        """Watch for the names of `clicks` and for the cookie called `cookie`, if there is one."""
        self.cookie = _IN_NO_HEADER if cookie is None else cookie
        self.cookie_bytes = self.cookie.encode()
        ends = {f"{name[-2:].lower()}=" for name in clicks.names}
        self.ends = () if cookie is None else tuple(sorted(ends))
        self._ends_bytes = tuple(end.encode() for end in self.ends)
        self.lands = clicks.occurs_in

    def needs_cookie_environ(self, environ: Mapping[str, Any]) -> bool:
        """Look at a WSGI environ, or at Django's ``request.META``."""
        try:
            query = environ.get("QUERY_STRING")
            if query:
                lower = query.lower()
                for end in self.ends:
                    if end in lower and self.lands(query):
                        return True
            return "HTTP_COOKIE" in environ and self.cookie in environ["HTTP_COOKIE"]
        except (AttributeError, TypeError):  # what is no text is no browser's
            return False

    def needs_cookie_scope(self, scope: Mapping[str, Any]) -> bool:
        """Look at an ASGI HTTP scope."""
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
