"""No input freezes a request: 100 kB of anything is read in at most 50 ms of processor time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.privacy.context_store import TokenSigner
from adcp_tracker.web.capture import Capture
from adcp_tracker.web.consent import (
    ConsentCookie,
    ConsentHeader,
    GoogleConsentMode,
    TcfConsent,
    read_tc_string,
)
from adcp_tracker.web.options import CaptureSettings
from adcp_tracker.web.request import AsgiRequest, WsgiRequest

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = 100_000
MOST_SECONDS = 0.05
TRUSTED = ("10.0.0.0/8", "fd00::/8", "::1", *(f"172.{each}.0.0/16" for each in range(16, 32)))
UNITS = (
    *["a", "&", ";", ";&", "=", "%", "%25", "%2", "+", " ", "; ", ",", ", ", '"', '\\"', "/", "@"],
    *["0", "+1", "00", "(1", "1-", ".", "gclid=1&", "utm_a=+1&", "utm_x=a%40b.c&", "%67clid=1&"],
    *["adcp_click=1;", "_fbc=fb.1.1.a;", "_gcl_aw=GCL.1.a; ", "marketing=", "c=%7B;", "\xff"],
    *["10.0.0.1,", "::1,", "for=10.0.0.1,", 'for="[::1]";', "for=::1;for=", "euconsent-v2=", "bot"],
    *["Mozilla/5.0 ", "A", "CP", "C_", "[", "{", '{"ad_storage":', "\n", "\x00"],
)
HEADERS = (
    *["Cookie", "User-Agent", "Referer", "Host", "X-Forwarded-For", "X-Forwarded-Host"],
    *["X-Forwarded-Proto", "Forwarded", "Sec-GPC", "Sec-Purpose", "Sec-Fetch-Dest", "X-Consent"],
)
CAPTURES = [
    Capture(CaptureSettings(trusted_proxies=TRUSTED, consent=consent, ip_header=header))
    for consent, header in (
        (ConsentCookie("marketing"), "X-Forwarded-For"),
        (ConsentHeader("X-Consent"), "Forwarded"),
        (TcfConsent(), "X-Real-IP"),
        (GoogleConsentMode("c"), "X-Forwarded-For"),
    )
]
TOKENS = TokenSigner("a key that is long enough for anybody")


def quickest(read: Callable[[], object]) -> float:
    """Return the least processor time of three calls, as others use the processor too."""
    times = []
    for _ in range(3):
        started = time.thread_time()
        read()
        times.append(time.thread_time() - started)
    return min(times)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_no_header_freezes_a_request(unit: str) -> None:
    """Every header, the path and the query, full of whatever breaks a parser the worst."""
    text = (unit * LENGTH)[:LENGTH]
    headers = {f"HTTP_{name.upper().replace('-', '_')}": text for name in HEADERS}
    lines = [(name.lower().encode(), text.encode("latin-1")) for name in HEADERS]
    environ = {"REMOTE_ADDR": "10.0.0.1", "wsgi.url_scheme": "https", "HTTP_HOST": "shop.example"}
    requests = [
        *(WsgiRequest({**environ, key: value}) for key, value in headers.items()),
        WsgiRequest({**environ, "QUERY_STRING": text}),
        WsgiRequest({**environ, "PATH_INFO": text}),
        WsgiRequest(
            {
                **environ,
                "HTTP_REFERER": f"https://shop.example/?{text}",
                "HTTP_SEC_FETCH_DEST": "empty",
            }
        ),
        *(AsgiRequest({"client": ("10.0.0.1", 1), "headers": [line]}) for line in lines),
        AsgiRequest(
            {"client": ("10.0.0.1", 1), "headers": [(lines[4][0], unit.encode("latin-1"))] * 5000}
        ),
    ]
    for capture in CAPTURES:
        for request in requests:
            assert quickest(lambda: capture.resolve(request)) <= MOST_SECONDS  # noqa: B023 - called here
            assert quickest(lambda: capture.response_cookie(capture.begin(request))) <= MOST_SECONDS  # noqa: B023 - called here


@pytest.mark.parametrize("unit", UNITS)
def test_no_string_freezes_a_reader(unit: str) -> None:
    """A TC string and a context token, too."""
    text = (unit * LENGTH)[:LENGTH]
    for string in (text, f"CP{text}"[:16_000], "C" + "_" * 16_000):
        assert quickest(lambda: read_tc_string(string)) <= MOST_SECONDS  # noqa: B023 - called here
    assert quickest(lambda: TOKENS.read(text)) <= MOST_SECONDS
    assert quickest(lambda: TOKENS.read(f"c1.{text}"[:8000])) <= MOST_SECONDS
