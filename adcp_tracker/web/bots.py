"""Requests behind which no person looks at a page: crawlers, link previews, prefetches.

The table is small on purpose and names what names itself. General HTTP libraries are not
in it: a page rendered on a server fetches through one, on behalf of a real shopper.
"""

from __future__ import annotations

import re
from functools import lru_cache
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
"""Services that fetch a page to show a card of it, as parts of a user agent."""

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
"""Robots and monitors. CUBOT makes telephones, and is no bot."""

_AGENTS = re.compile(
    f"(?P<link_preview>{'|'.join(LINK_PREVIEWS)})|(?P<crawler>{'|'.join(CRAWLERS)})",
    re.IGNORECASE | re.ASCII,
)
_PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
_PREFETCH = re.compile(r"\s*(?:prefetch|prerender|preview)\b", re.IGNORECASE)


@lru_cache(maxsize=512)
def match_user_agent(user_agent: str) -> Automated | None:
    """Say what kind of robot calls itself `user_agent`, if it is one."""
    match = _AGENTS.search(user_agent)
    return cast("Automated", match.lastgroup) if match else None


def detect_automation(request: Request, user_agent: str) -> Automated | None:
    """Say why no person looked at this page; ``None`` if one seems to.

    A browser that fetches or renders ahead says so in a header, whose name has changed
    over the years; the shopper may never get to see the page.
    """
    for name in _PREFETCH_HEADERS:
        if any(_PREFETCH.match(line) for line in request.header(name)):
            return "prefetch"
    return match_user_agent(user_agent)
