"""The facts of a request, alike over WSGI and ASGI."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adcp_tracker.web.request import AsgiFacts, RequestFacts, WsgiFacts

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
Maker = Callable[[dict[str, object]], RequestFacts]
BOTH = pytest.mark.parametrize(("make", "raw"), [(WsgiFacts, ENVIRON), (AsgiFacts, SCOPE)])


@BOTH
def test_both_interfaces_tell_the_same(make: Maker, raw: dict[str, object]) -> None:
    """Whatever reads the facts need not know which server they come from."""
    facts = make(raw)
    assert facts.peer == "8.8.8.8"
    assert facts.scheme == "https"
    assert facts.host == "shop.example"
    assert facts.path == "/shop/caf\u00e9"
    assert facts.query == "gclid=%41"
    assert list(facts.header("User-Agent")) == ["Mozilla/5.0"]
    assert ",".join(facts.header("X-Forwarded-For")) == "1.1.1.1,2.2.2.2"
    assert not facts.header("Cookie")
    assert facts.request is raw


def test_an_adapter_can_hand_in_its_own_request() -> None:
    """A site's consent function gets the request it knows."""
    mine = object()
    assert WsgiFacts(ENVIRON, mine).request is mine
    assert AsgiFacts(SCOPE, mine).request is mine


def test_a_unix_socket_has_no_peer() -> None:
    """Servers leave the address out, or leave it empty."""
    assert WsgiFacts({"REMOTE_ADDR": ""}).peer == ""
    assert WsgiFacts({}).peer == ""
    assert AsgiFacts({"client": None}).peer == ""
    assert AsgiFacts({"client": ["", 0]}).peer == ""
    assert AsgiFacts({"client": [None, 0]}).peer == ""


def test_without_a_host_header_the_server_names_itself() -> None:
    """HTTP/1.0 clients send none."""
    environ = {key: value for key, value in ENVIRON.items() if key != "HTTP_HOST"}
    assert WsgiFacts(environ).host == "inside:8000"
    assert AsgiFacts({**SCOPE, "headers": []}).host == "inside:8000"
    assert AsgiFacts({"headers": [], "server": None}).host == ""


def test_a_path_that_is_already_decoded_is_kept() -> None:
    """Django's META under ASGI holds text, not the bytes that PEP 3333 has."""
    assert WsgiFacts({"PATH_INFO": "/caf\u00e9"}).path == "/caf\u00e9"
    assert WsgiFacts({"PATH_INFO": "/\u4e2d"}).path == "/\u4e2d"
    assert WsgiFacts({}).path == ""


def test_header_bytes_of_any_kind_are_text() -> None:
    """Clients send what they like."""
    assert AsgiFacts({"headers": [(b"user-agent", b"\xff\x00")]}).header("User-Agent") == ["\xff\0"]


def test_a_framework_that_cuts_the_path_does_not_cut_the_pages() -> None:
    """Litestar takes the prefix of what is mounted off the scope's path, in place."""
    scope = dict(SCOPE)
    facts = AsgiFacts(scope)
    scope["path"] = "/caf\u00e9"
    assert facts.path == "/shop/caf\u00e9"
