"""Detect requests without a person: crawlers, link previews, prefetches.

The table is small on purpose: it lists robots that identify themselves. General HTTP libraries
are not in it, because server-side rendering uses them on behalf of real shoppers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from adcp_tracker.context import Automated
    from adcp_tracker.web.request import Request

LINK_PREVIEWS = (
    "facebookexternalhit",
    "facebot",
    "twitterbot",
    "slackbot",
    "slack-imgproxy",
    "linkedinbot",
    "telegrambot",
    "discordbot",
    r"whatsapp/\d",
    "skypeuripreview",
    "pinterestbot",
    "redditbot",
    "snap url preview",
    "vkshare",
    "embedly",
    "iframely",
    "bitlybot",
    r"mastodon/\d",
    "google-pagerenderer",
)
"""Parts of the user agents of services that fetch a page to show a preview card."""

CRAWLERS = (
    r"(?<!cu)bot\b",
    "crawler",
    "spider",
    "slurp",
    "mediapartners-google",
    "google-inspectiontool",
    "googleother",
    "facebookcatalog",
    "meta-externalagent",
    "ia_archiver",
    "bytespider",
    "scrapy/",
    "headlesschrome",
    "phantomjs",
    "chrome-lighthouse",
    "pingdom",
    "uptimerobot",
    "statuscake",
    "site24x7",
    "datadog/synthetics",
    "gtmetrix",
)
"""Parts of the user agents of robots and monitors. CUBOT is a brand of phones."""

_AGENTS = re.compile(
    f"(?P<link_preview>{'|'.join(LINK_PREVIEWS)})|(?P<crawler>{'|'.join(CRAWLERS)})",
    re.IGNORECASE | re.ASCII,
)
PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_PREFETCH = re.compile(r"\s*(?:prefetch|prerender|preview)\b", re.IGNORECASE)


def match_user_agent(user_agent: str) -> Automated | None:
    """Return what kind of robot calls itself `user_agent`; ``None`` for a browser."""
    match = _AGENTS.search(user_agent)
    return cast("Automated", match.lastgroup) if match else None


def is_prefetch(request: Request) -> bool:
    """Return whether a browser fetched or rendered this page ahead of time.

    The browser says so in a header, whose name has changed over the years. The shopper may
    never see the page.
    """
    return any(_PREFETCH.match(line) for name in PREFETCH_HEADERS for line in request.header(name))
