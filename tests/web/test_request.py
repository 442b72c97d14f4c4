"""The facts of a request, alike over WSGI and ASGI."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adcp_tracker.web.request import AsgiRequest, HeaderNames, Request, WsgiRequest

ENVIRON: dict[str, object] = {
    "REMOTE_ADDR": "8.8.8.8",
    "wsgi.url_scheme": "https",
    "SERVER_NAME": "inside",
    "SERVER_PORT": "8000",
    "SCRIPT_NAME": "/shop",
    "PATH_INFO": "/caf\u00c3\u00a9",
    "QUERY_STRING": "gclid=%41",
    "HTTP_HOST": "shop.example",
    "HTTP_USER_AGENT": "Mozilla/5.0",
    "HTTP_X_FORWARDED_FOR": "1.1.1.1,2.2.2.2",
}
SCOPE: dict[str, object] = {
    "type": "http",
    "client": ["8.8.8.8", 4711],
    "server": ["inside", 8000],
    "scheme": "https",
    "path": "/shop/caf\u00e9",
    "query_string": b"gclid=%41",
    "headers": [
        (b"host", b"shop.example"),
        (b"user-agent", b"Mozilla/5.0"),
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"x-forwarded-for", b"2.2.2.2"),
    ],
}
Maker = Callable[[dict[str, object]], Request]
BOTH = pytest.mark.parametrize(("make", "raw"), [(WsgiRequest, ENVIRON), (AsgiRequest, SCOPE)])


@BOTH
def test_both_interfaces_tell_the_same(make: Maker, raw: dict[str, object]) -> None:
    """Whatever reads the facts need not know which server they come from."""
    request = make(raw)
    assert request.peer == "8.8.8.8"
    assert request.scheme == "https"
    assert request.host == "shop.example"
    assert request.path == "/shop/caf\u00e9"
    assert request.query == "gclid=%41"
    assert list(request.header("User-Agent")) == ["Mozilla/5.0"]
    assert ",".join(request.header("X-Forwarded-For")) == "1.1.1.1,2.2.2.2"
    assert not request.header("Cookie")
    assert request.has_any(HeaderNames("Cookie", "User-Agent"))
    assert not request.has_any(HeaderNames("Cookie", "Sec-GPC"))
    assert request.framework_request is raw


def test_an_adapter_can_hand_in_its_own_request() -> None:
    """A site's consent function gets the request it knows."""
    mine = object()
    assert WsgiRequest(ENVIRON, mine).framework_request is mine
    assert AsgiRequest(SCOPE, mine).framework_request is mine


def test_a_unix_socket_has_no_peer() -> None:
    """Servers leave the address out, or leave it empty."""
    assert WsgiRequest({"REMOTE_ADDR": ""}).peer == ""
    assert WsgiRequest({}).peer == ""
    assert AsgiRequest({"client": None}).peer == ""
    assert AsgiRequest({"client": ["", 0]}).peer == ""
    assert AsgiRequest({"client": [None, 0]}).peer == ""


def test_without_a_host_header_the_server_names_itself() -> None:
    """HTTP/1.0 clients send none."""
    environ = {key: value for key, value in ENVIRON.items() if key != "HTTP_HOST"}
    assert WsgiRequest(environ).host == "inside:8000"
    assert AsgiRequest({**SCOPE, "headers": []}).host == "inside:8000"
    assert AsgiRequest({"headers": [], "server": None}).host == ""


def test_a_path_that_is_already_decoded_is_kept() -> None:
    """Django's META under ASGI holds text, not the bytes that PEP 3333 has."""
    assert WsgiRequest({"PATH_INFO": "/caf\u00e9"}).path == "/caf\u00e9"
    assert WsgiRequest({"PATH_INFO": "/\u4e2d"}).path == "/\u4e2d"
    assert WsgiRequest({}).path == ""


def test_header_bytes_of_any_kind_are_text() -> None:
    """Clients send what they like."""
    assert AsgiRequest({"headers": [(b"user-agent", b"\xff\x00")]}).header("User-Agent") == [
        "\xff\0"
    ]


def test_a_framework_that_cuts_the_path_does_not_cut_the_pages() -> None:
    """Litestar takes the prefix of what is mounted off the scope's path, in place."""
    scope = dict(SCOPE)
    request = AsgiRequest(scope)
    scope["path"] = "/caf\u00e9"
    assert request.path == "/shop/caf\u00e9"
