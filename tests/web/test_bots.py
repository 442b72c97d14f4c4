"""Crawlers, link previews and prefetches are told from shoppers, and shoppers from them."""

from __future__ import annotations

import pytest

from adcp_tracker.web.capture import Capture
from adcp_tracker.web.request import AsgiRequest, is_prefetch, match_user_agent

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    "agent",
    [
        CHROME,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Mobile/15E148 [FBAN/FBIOS;FBAV/465.0.0.41.109]",
        "Mozilla/5.0 (Linux; Android 8.1.0; CUBOT_NOTE_20) AppleWebKit/537.36 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19 Build/PPR1) AppleWebKit/537.36 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 13) Mobile Safari/537.36 [Pinterest/Android]",
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        "Instagram 334.0.0.42.95 Android (33/13; 480dpi; 1080x2176)",
        "okhttp/4.12.0",
        "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "",
    ],
)
def test_shoppers_and_their_apps_are_not_automated(agent: str) -> None:
    """In-app browsers, CUBOT telephones and servers that render pages are people's requests."""
    assert match_user_agent(agent) is None


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        f"{CHROME} (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.0; +https://openai.com/gptbot)",
        "meta-externalagent/1.1",
        CHROME.replace("Chrome/", "HeadlessChrome/"),
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    ],
)
def test_crawlers_are_recognised(agent: str) -> None:
    """They name themselves, in whatever case."""
    assert match_user_agent(agent) == "crawler"
    assert match_user_agent(agent.upper()) == "crawler"


@pytest.mark.parametrize(
    "agent",
    [
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Mozilla/5.0 (Macintosh) Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "WhatsApp/2.23.20.0",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "TelegramBot (like TwitterBot)",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; +http://www.linkedin.com)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    ],
)
def test_link_previews_are_recognised(agent: str) -> None:
    """Somebody shared the link; nobody has opened the page yet."""
    assert match_user_agent(agent) == "link_preview"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"sec-purpose", b"prefetch"),
        (b"sec-purpose", b"prefetch;prerender"),
        (b"sec-purpose", b"prefetch;anonymous-client-ip"),
        (b"purpose", b"prefetch"),
        (b"x-purpose", b"preview"),
        (b"x-moz", b"Prefetch"),
    ],
)
def test_prefetches_are_recognised(name: bytes, value: bytes) -> None:
    """A browser that looks ahead says so, and that goes before its name."""
    request = AsgiRequest({"headers": [(name, value)]})
    assert is_prefetch(request)
    googlebot = AsgiRequest({"headers": [(name, value), (b"user-agent", b"Googlebot/2.1")]})
    assert Capture().resolve(googlebot).automated == "prefetch"


def test_other_purposes_are_a_shoppers() -> None:
    """Without such a header, only the name decides."""
    request = AsgiRequest({"headers": [(b"sec-purpose", b"navigate"), (b"purpose", b"prefetcher")]})
    assert not is_prefetch(request)
