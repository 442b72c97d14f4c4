"""Starting, stopping and steering the local seller."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox import Sandbox, SandboxConfig, run
from adcp_tracker.sandbox.config import Body, Connection, InjectedFault, structure
from adcp_tracker.sandbox.page import FAULTS
from adcp_tracker.sandbox.seller import Seller
from adcp_tracker.sandbox.server import bind, make_server
from adcp_tracker.sandbox.timeline import Entry
from tests.support.seller import ADVERTISER, SOURCE, SellerProcess, run_seller, run_seller_process
from tests.support.wire import AUTHORIZED, make_event, request, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = (sys.executable, "-m", "adcp_tracker", "sandbox", "--port", "0", "--json")
NASTY = '<script>alert(1)</script><img src=x onerror="alert(2)">\'&'


def control(seller: Sandbox, method: str, path: str, content: object = None) -> httpx.Response:
    """Use the seller's own API."""
    return request(method, f"{seller.origin}/_sandbox/{path}", json=content)


class Markup(HTMLParser):
    """Collects the tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_it_starts_and_stops_quickly() -> None:
    """A test may have its own seller: start, one request and stop take a moment."""
    begin = time.perf_counter()
    with Sandbox() as seller:
        assert send(seller, make_event()).status_code == 200
    assert time.perf_counter() - begin < 10


def test_it_listens_on_loopback_only() -> None:
    """Any host but this machine is refused before anything listens."""
    for host in ("0.0.0.0", "192.0.2.1", "shop.example", "::", ""):  # noqa: S104 - it is refused
        with pytest.raises(ConfigurationError, match="loopback"):
            Sandbox(host=host).start()
        with pytest.raises(ConfigurationError, match="loopback"):
            run(host=host)
    with Sandbox(host="localhost") as seller:
        assert urlsplit(seller.origin).hostname == "127.0.0.1"


def test_it_listens_on_ipv6() -> None:
    """The loopback address of IPv6 does as well."""
    with Sandbox(host="::1") as seller:
        assert seller.origin.startswith("http://[::1]:")
        assert send(seller, make_event()).status_code == 200


def test_a_taken_port_is_a_clear_error(seller: Sandbox) -> None:
    """The message names the port and the reason."""
    port = urlsplit(seller.origin).port or 0
    with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use"):
        Sandbox(port=port).start()


def test_it_comes_back_on_its_port(seller: Sandbox) -> None:
    """Stopped and started again it has its port and what it took; both may be repeated."""
    origin = seller.origin
    send(seller, make_event("a"))
    seller.stop()
    seller.stop()
    with pytest.raises(httpx.ConnectError):
        send(seller, make_event("b"))
    seller.start()
    seller.start()
    assert seller.origin == origin
    send(seller, make_event("b"))
    assert [event["event_id"] for event in seller.events] == ["a", "b"]


def read_answer(connection: socket.socket) -> None:
    """Read an answer to its end, which is that of a JSON object."""
    whole = b""
    while not whole.endswith(b"}"):
        whole += connection.recv(65_536)
    assert whole.startswith(b"HTTP/1.1 200")


def expect_a_reset(seller: Sandbox) -> None:
    """Send a request that is not answered."""
    with pytest.raises(httpx.ReadError):
        send(seller, make_event())


def test_stopping_resets_open_connections(seller: Sandbox) -> None:
    """A stop is as hard as a crash, for requests that are being handled and for idle ones."""
    seller.fail(connection="stall")
    parts = urlsplit(seller.origin)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 5) as idle:
        waiting = threading.Thread(target=expect_a_reset, args=(seller,))
        waiting.start()
        idle.sendall(b"GET /_sandbox/counts HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        read_answer(idle)
        while not seller.requests:
            time.sleep(0.01)
        seller.stop()
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
        waiting.join(20)
        assert not waiting.is_alive()


def test_nothing_is_left_open() -> None:
    """No socket and no thread outlives a seller, however many clients it had."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Sandbox() as seller:
            parts = urlsplit(seller.origin)
            address = (parts.hostname or "", parts.port or 0)
            clients = [socket.create_connection(address, 5) for _ in range(50)]
        for client in clients:
            client.close()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert not any(thread.name == "adcp-tracker-sandbox" for thread in threading.enumerate())


@pytest.mark.slow
def test_who_connects_while_it_stops_is_not_left_open() -> None:
    """A connection that was accepted at the last moment is reset like any other."""
    clients: list[socket.socket] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(20):
            seller = Sandbox().start()
            parts = urlsplit(seller.origin)
            address = (parts.hostname or "", parts.port or 0)

            def connect(address: tuple[str, int] = address) -> None:
                with contextlib.suppress(OSError):
                    while True:
                        clients.append(socket.create_connection(address, 5))

            crowd = threading.Thread(target=connect)
            crowd.start()
            seller.stop()
            crowd.join(20)
            assert not crowd.is_alive()
        while clients:
            clients.pop().close()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_importing_the_library_needs_no_server() -> None:
    """The library imports neither Starlette nor uvicorn."""
    code = "import sys, adcp_tracker; print({'starlette', 'uvicorn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_the_extra_the_remedy_is_named(tmp_path: Path) -> None:
    """Where Starlette is missing, the error says what to install."""
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(name='starlette')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import adcp_tracker.sandbox"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'adcp-tracker[sandbox]'" in done.stderr


def test_the_command_says_where_it_listens(tmp_path: Path) -> None:
    """The process prints its URL, takes settings as JSON and ends on SIGTERM."""
    port_file = tmp_path / "port"
    command = [*COMMAND, "--port-file", str(port_file), "--config", '{"tokens": ["other"]}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())["page"]
        assert said == f"http://127.0.0.1:{port_file.read_text()}"
        url = f"{said}/advertisers/{ADVERTISER}/log-event"
        assert request("POST", url, json={}, headers=AUTHORIZED).status_code == 401
        process.terminate()
        assert process.wait(60) == 0


@contextlib.contextmanager
def in_the_foreground(port_file: Path) -> Iterator[str]:
    """Run the command, and return the address that it prints."""
    command = [*COMMAND, "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["page"]
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["port", ".port", "port.draft"])
def test_the_port_is_written_through_no_link(tmp_path: Path, name: str) -> None:
    """A link in place of the file or its draft goes, and what it leads to is left alone."""
    precious = tmp_path / "precious"
    precious.write_text("what its owner would miss")
    (tmp_path / name).symlink_to(precious)
    port_file = tmp_path / "port"
    with in_the_foreground(port_file) as said:
        assert precious.read_text() == "what its owner would miss"
        assert not port_file.is_symlink()
        assert said.endswith(f":{port_file.read_text()}")
        assert stat.S_IMODE(port_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["no/such/folder", "folder", ""])
def test_a_port_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path, name: str) -> None:
    """The message names it, and the port is free again."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / name if name else Path()
    with pytest.raises(ConfigurationError, match=r"^port_file: can't write"):
        run(port_file=path)


@pytest.mark.slow
def test_process_seller_works_alike(seller_process: SellerProcess) -> None:
    """A seller in its own process takes events, counts them and comes back after a kill."""
    assert send(seller_process, make_event("a")).status_code == 200
    seller_process.wait_for(1)
    assert seller_process.event_ids == ["a"]
    seller_process.configure(max_events=7)
    seller_process.fail(status=503, times=1)
    assert send(seller_process, make_event("b")).status_code == 503
    seller_process.kill()
    with pytest.raises(httpx.TransportError):
        send(seller_process, make_event("b"))
    seller_process.start()
    assert send(seller_process, make_event("b")).status_code == 200
    assert seller_process.counts["good"] == 1
    seller_process.reset()
    assert seller_process.counts["good"] == 0
    with pytest.raises(TimeoutError):
        seller_process.wait_for(1, timeout=0.05)


@pytest.mark.slow
def test_a_process_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """Wrong settings of a seller process are not waited for."""
    with (
        pytest.raises(RuntimeError, match="did not start: 2"),
        run_seller_process(tmp_path, nonsense=1),
    ):
        pass


def test_looking_into_the_seller(seller: Sandbox) -> None:
    """Good and bad events, requests and counts are shown as JSON, the newest last."""
    send(seller, make_event("a"), make_event("b"), test_event_code="T")
    send(seller, make_event("c", event_time="now"))
    good = control(seller, "GET", "events?limit=1").json()
    assert [(kept["event"], kept["test_event_code"]) for kept in good] == [(make_event("b"), "T")]
    assert (good[0]["advertiser_id"], good[0]["event_source_id"]) == (ADVERTISER, SOURCE)
    (bad,) = control(seller, "GET", "bad").json()
    assert bad["event"]["event_id"] == "c"
    assert bad["issues"][0]["pointer"] == "/events/0/event_time"
    seen = control(seller, "GET", "requests").json()
    assert [each["status"] for each in seen] == [200, 400]
    assert control(seller, "GET", "counts").json() == seller.counts
    assert control(seller, "GET", "events?limit=0").json() == []
    assert control(seller, "GET", "events?limit=x").status_code == 400


def test_steering_the_seller(seller: Sandbox) -> None:
    """Faults and settings can be set over HTTP, and be undone."""
    standing = control(seller, "POST", "faults", {"status": 503, "times": 2}).json()
    assert (standing[0]["status"], standing[0]["left"]) == (503, 2)
    assert send(seller, make_event()).status_code == 503
    assert control(seller, "GET", "faults").json()[0]["left"] == 1
    assert control(seller, "DELETE", "faults").json() == []
    assert send(seller, make_event()).status_code == 200
    two = [{"status": 500}, {"connection": "close", "retry_after": "3"}]
    assert len(control(seller, "POST", "faults", two).json()) == 2
    shown = control(seller, "POST", "config", {"max_events": 3, "tokens": ["secret"]}).json()
    assert (shown["max_events"], shown["tokens"]) == (3, 1)
    assert "secret" not in control(seller, "GET", "config").text
    assert seller.config.tokens == ("secret",)
    assert control(seller, "POST", "reset").json()["good"] == 0
    assert control(seller, "GET", "faults").json() == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("faults", {"statsu": 500}),
        ("faults", {"share": 2}),
        ("faults", {"after": "yes"}),
        ("faults", {"connection": "burn"}),
        ("faults", [{"status": 500}, 7]),
        ("config", {"max": 1}),
        ("config", {"versions": ["2.0"]}),
        ("config", [1]),
    ],
)
def test_wrong_wishes_are_refused(seller: Sandbox, path: str, content: object) -> None:
    """A wish that cannot be met says why, and changes nothing."""
    before = seller.config
    answer = control(seller, "POST", path, content)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert seller.config == before
    assert control(seller, "GET", "faults").json() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://{host}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_other_pages_cannot_steer(seller: Sandbox, headers: dict[str, str]) -> None:
    """What a browser sends for a page of another origin is refused, with a body and without."""
    host = urlsplit(seller.origin).netloc
    foreign = {name: value.format(host=host) for name, value in headers.items()}
    seller.fail(on="ping")
    for method, path, content in (
        ("POST", "reset", None),
        ("POST", "faults", None),
        ("POST", "faults", {"status": 500}),
        ("POST", "config", {"max_events": 1}),
        ("DELETE", "faults", None),
    ):
        url = f"{seller.origin}/_sandbox/{path}"
        answer = request(method, url, json=content, headers=foreign)
        assert answer.status_code == 403
        assert answer.text.startswith("Requests from other web pages are not allowed.")
    assert [fault["on"] for fault in control(seller, "GET", "faults").json()] == ["ping"]
    assert seller.config == SandboxConfig()


def test_other_pages_use_up_no_fault(seller: Sandbox) -> None:
    """A seller's call fails for whom it was meant to, even where no token is asked for."""
    seller.configure(tokens=())
    seller.fail(on="*", status=503)
    foreign = {"Origin": "https://evil.example"}
    sources = f"{seller.url}/advertisers/{ADVERTISER}/event-sources"
    for method, url in (("POST", seller.mcp_url), ("GET", sources), ("OPTIONS", seller.mcp_url)):
        assert request(method, url, headers=foreign).status_code == 403
    log_event = f"{seller.url}/advertisers/{ADVERTISER}/log-event"
    assert request("POST", log_event, content="{}", headers=foreign).status_code == 403
    assert seller.counts["requests"] == 0
    assert send(seller, make_event()).status_code == 503


def test_a_link_from_another_page_leads_to_what_the_seller_shows(seller: Sandbox) -> None:
    """Who follows one only looks, and no other page sees what is shown."""
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for path in ("/", "/_sandbox/events"):
        answer = request("GET", f"{seller.origin}{path}", headers=followed)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}], ids=str
)
def test_programs_and_its_own_pages_steer(seller: Sandbox, headers: dict[str, str]) -> None:
    """A program says nothing of pages, and a page of the seller's own that it is one."""
    own = headers and headers | {"Origin": seller.origin}
    url = f"{seller.origin}/_sandbox"
    assert request("POST", f"{url}/faults", json={"status": 503}, headers=own).status_code == 200
    assert request("POST", f"{url}/reset", headers=own).status_code == 200


def test_steering_asks_for_json(seller: Sandbox) -> None:
    """Text that is not said to be JSON is refused, and so is what is not JSON."""
    url = f"{seller.origin}/_sandbox/faults"
    sent = request("POST", url, content='{"status": 500}', headers={"Content-Type": "text/plain"})
    assert sent.status_code == 400
    assert request("POST", url, content="{", headers={"Content-Type": "application/json"}).is_error


def test_other_names_of_this_machine_are_refused(seller: Sandbox) -> None:
    """A page that makes its own name lead here is found out by that name."""
    for host in ("shop.example", "127.0.0.1.shop.example", "localhost.shop.example:80", ""):
        assert request("GET", seller.origin, headers={"Host": host}).status_code == 421
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "127.9.9.9"):
        assert request("GET", seller.origin, headers={"Host": host}).status_code == 200


def test_the_page_escapes_what_events_hold(seller: Sandbox) -> None:
    """Whatever stands in good or bad events stays text."""
    good = make_event(NASTY, custom_data={NASTY: NASTY}, event_type="custom")
    good["custom_event_name"] = NASTY
    send(seller, good, test_event_code=NASTY)
    send(seller, {"event_id": NASTY, "event_type": NASTY, "event_time": NASTY, NASTY: None})
    send(seller, NASTY)
    answer = request("GET", seller.origin)
    markup = Markup()
    markup.feed(answer.text)
    assert markup.tags.count("script") == 1
    assert "img" not in markup.tags
    assert "onerror" not in markup.attributes
    assert answer.text.count("&lt;script&gt;alert(1)") >= 4


def test_the_page_lets_no_other_script_run(seller: Sandbox) -> None:
    """Its policy allows its own script and style files, and nothing else."""
    answer = request("GET", seller.origin)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self'; style-src 'self'" in policy
    markup = Markup()
    markup.feed(answer.text)
    assert not {"onclick", "style"} & set(markup.attributes)
    assert markup.attributes.count("src") == 1
    assert "http" not in answer.text.replace(seller.origin, "")
    for name in ("page.css", "page.js"):
        file = request("GET", f"{seller.origin}/_static/{name}")
        assert file.status_code == 200
        assert "http" not in file.text
    assert request("GET", f"{seller.origin}/_static/page.py").status_code == 404
    assert request("GET", f"{seller.origin}/_static/..%2Fpage.py").status_code == 404


def test_the_page_shows_what_came(seller: Sandbox) -> None:
    """Empty at first, then with the newest events and the counts."""
    empty = request("GET", seller.origin).text
    assert "No events yet." in empty
    assert f"ADCP_BASE_URL={seller.url}" in empty
    send(seller, *(make_event(f"id-{number}") for number in range(60)))
    send(seller, make_event("x" * 256, custom_data={"long": "y" * 10_000}))
    text = request("GET", seller.origin).text
    assert "<dt>delivered</dt><dd>61</dd>" in text
    assert "50 of 61" in text
    assert "id-59" in text
    assert "id-10<" not in text
    assert "y" * 5_000 not in text


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (SandboxConfig, {"strict": "false"}),
        (SandboxConfig, {"notation": "xpath"}),
        (SandboxConfig, {"max_bytes": "many"}),
        (SandboxConfig, []),
    ],
)
def test_settings_are_read_strictly(kind: type, settings: object) -> None:
    """Settings of a wrong type are refused with their place."""
    with pytest.raises(ConfigurationError, match="Invalid settings of SandboxConfig"):
        structure(settings, kind)


def test_settings_of_every_kind_are_read() -> None:
    """Settings from JSON are the same as from Python."""
    settings = {
        "advertisers": {"1": ["a", "b"]},
        "versions": ["3.1"],
        "max_nodes": 9,
        "sse": True,
    }
    read = structure(json.loads(json.dumps(settings)), SandboxConfig)
    assert read == SandboxConfig(
        advertisers={"1": ("a", "b")}, versions=("3.1",), max_nodes=9, sse=True
    )
    assert "token" not in repr(read)


def sync(seller: Sandbox, *sources: object, **more: object) -> httpx.Response:
    """Register event sources over REST."""
    url = f"{seller.url}/advertisers/{ADVERTISER}/event-sources/sync"
    body = {"account": {"account_id": ADVERTISER}, "event_sources": list(sources), **more}
    return request("POST", url, json=body, headers=AUTHORIZED)


def get(seller: Sandbox, path: str, **query: object) -> httpx.Response:
    """Ask for something over REST."""
    url = f"{seller.url}/advertisers/{ADVERTISER}/{path}"
    return request("GET", url, params=dict(query), headers=AUTHORIZED)  # type: ignore[arg-type]


def actions(answer: httpx.Response) -> dict[str, str]:
    """Return what became of each source."""
    assert answer.status_code == 200, answer.text
    sources = answer.json()["data"]["event_sources"]
    return {source["event_source_id"]: source["action"] for source in sources}


def test_sources_are_created_updated_and_deleted(seller: Sandbox) -> None:
    """Each source tells what became of it; missing ones go only when asked for."""
    app = {"event_source_id": "app", "name": "App"}
    assert actions(sync(seller, app)) == {"app": "created"}
    assert actions(sync(seller, app)) == {"app": "unchanged"}
    renamed = app | {"name": "Our app", "value_currencies": ["EUR"]}
    assert actions(sync(seller, renamed)) == {"app": "updated"}
    listed = get(seller, "event-sources").json()["data"]
    assert (listed["total"], listed["event_sources"][1]["name"]) == (2, "Our app")
    assert (
        get(seller, "event-sources", take=1, skip=1).json()["data"]["event_sources"]
        == (listed["event_sources"][1:])
    )
    assert actions(sync(seller, app, delete_missing=True)) == {"app": "updated", SOURCE: "deleted"}
    assert send(seller, make_event()).status_code == 404
    assert send(seller, make_event(), event_source_id="app").status_code == 200


def test_wrong_sources_fail_by_themselves(seller: Sandbox) -> None:
    """One wrong source says why, and the others are registered."""
    seller.configure(needs_name=True)
    answer = sync(
        seller,
        {"event_source_id": "a", "name": "A"},
        {"event_source_id": "b"},
        {"event_source_id": "c", "name": "C", "event_types": ["buy"]},
        {"name": "D"},
    )
    assert actions(answer) == {"a": "created", "b": "failed", "c": "failed", "": "failed"}
    errors = [source.get("errors") for source in answer.json()["data"]["event_sources"]]
    assert [error[0]["field"] for error in errors if error] == [
        "/name",
        "/event_types/0",
        "/event_source_id",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"account": {"account_id": "777"}},
        {"account": None},
        {"event_sources": []},
        {"event_sources": [{"event_source_id": str(number)} for number in range(51)]},
        {"event_sources": {}},
        {"event_sources": [None]},
        {"delete_missing": "yes"},
    ],
    ids=range(7),
)
def test_wrong_registrations_are_refused(seller: Sandbox, change: dict[str, Any]) -> None:
    """A registration that is wrong as a whole changes nothing."""
    assert sync(seller, {"event_source_id": "a"}, **change).status_code == 400
    assert get(seller, "event-sources").json()["data"]["total"] == 1
    url = f"{seller.url}/advertisers/{ADVERTISER}/event-sources/sync"
    body = {"account": {"account_id": ADVERTISER}}
    assert request("POST", url, json=body, headers=AUTHORIZED).status_code == 400
    assert request("POST", url, json=[], headers=AUTHORIZED).status_code == 400


def test_sources_restrict_their_events(seller: Sandbox) -> None:
    """A source's event types and currencies bind its events."""
    sync(
        seller,
        {"event_source_id": "a", "event_types": ["purchase"], "value_currencies": ["EUR"]},
    )
    lead = make_event("l", event_type="lead")
    data = send(seller, make_event("p"), lead, event_source_id="a").json()["data"]
    assert [(each["event_id"], each["code"]) for each in data["partial_failures"]] == [
        ("l", "INVALID_EVENT_TYPE")
    ]
    dollars = make_event(custom_data={"value": 1, "currency": "USD"})
    error = send(seller, dollars, event_source_id="a").json()["error"]
    assert error["field"] == "/events/0/custom_data/currency"


@pytest.fixture
def at_noon() -> Callable[[], float]:
    """A clock that stands at noon of 2 January 2026."""
    return lambda: 1_767_355_200.0


def test_events_are_counted_by_the_hour(at_noon: Callable[[], float]) -> None:
    """The summary counts live events per hour, and lags behind if it is told to."""
    hours = {"eventType": "conversion", "startHour": "2026-01-02T10:00:00Z"}
    with Sandbox(now=at_noon) as seller:
        send(seller, make_event("a"), make_event("b"))
        send(seller, make_event("c"), test_event_code="T")
        data = get(seller, "events/summary", **hours, endHour="2026-01-02T13").json()["data"]
        hour = {"hour": "2026-01-02T12:00:00Z", "event_source_id": SOURCE, "events_received": 2}
        assert data == {"hours": [hour], "total": 2}
        before = get(seller, "events/summary", **hours, endHour="2026-01-02T14:00:00+02:00")
        assert before.json()["data"]["total"] == 0
        health = get(seller, "event-sources").json()["data"]["event_sources"][0]["health"]
        assert (health["status"], health["events_received_24h"]) == ("good", 2)
        seller.configure(summary_delay_s=3600)
        late = get(seller, "events/summary", **hours, endHour="2026-01-02T13:00:00Z")
        assert late.json()["data"]["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        {"eventType": "click", "startHour": "2026-01-02T10", "endHour": "2026-01-02T11"},
        {"eventType": "conversion", "startHour": "today", "endHour": "2026-01-02T11"},
        {"eventType": "conversion", "startHour": "2026-01-02T10"},
    ],
)
def test_wrong_questions_are_refused(seller: Sandbox, query: dict[str, Any]) -> None:
    """A summary needs its type and both hours, a list whole numbers."""
    assert get(seller, "events/summary", **query).status_code == 400
    assert get(seller, "event-sources", take="x").status_code == 400


def test_every_rest_call_asks_for_the_token_and_the_advertiser() -> None:
    """No call answers strangers, or for advertisers nobody knows."""
    with run_seller() as seller:
        for path in ("event-sources", "events/summary"):
            url = f"{seller.url}/advertisers/{ADVERTISER}/{path}"
            assert request("GET", url).status_code == 401
            other = f"{seller.url}/advertisers/777/{path}"
            assert request("GET", other, headers=AUTHORIZED).status_code == 404


def test_the_timeline_is_filtered_by_the_query(seller: Sandbox) -> None:
    """Outcome, type, protocol, destination, test and id select rows, also without a script."""
    send(seller, make_event("a"), make_event("b", event_type="lead", custom_data={}))
    send(seller, make_event("c"), test_event_code="T")
    send(seller, make_event("d", event_time="never"))
    for query, expected in {
        "type=lead": {"b"},
        "outcome=rejected": {"d"},
        "outcome=rejected&outcome=delivered": {"a", "b", "c", "d"},
        "via=MCP": set(),
        f"destination={ADVERTISER}/{SOURCE}&test=1": {"c"},
        "q=a": {"a"},
        "before=2": {"a"},
    }.items():
        text = request("GET", f"{seller.origin}/?{query}").text
        shown = set(re.findall(r'<span class="id">(.*?)</span>', text))
        assert shown == expected, query


def test_the_stream_sends_new_rows_and_counters(seller: Sandbox) -> None:
    """A client that listens gets matching rows only, and counters of all."""
    url = f"{seller.origin}/_sandbox/stream?after=0&type=lead"
    with httpx.stream("GET", url, timeout=10) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        assert json.loads(next(lines).removeprefix("data: "))["added"] == 0
        send(seller, make_event("a"), make_event("b", event_type="lead", custom_data={}))
        news = json.loads(next(lines).removeprefix("data: "))
    assert news["added"] == 1
    assert '<span class="id">b</span>' in news["rows"]
    assert "<dt>delivered</dt><dd>2</dd>" in news["counts"]
    with httpx.stream("GET", url.replace("after=0", "after=99"), timeout=10) as answer:
        first = next(line for line in answer.iter_lines() if line.startswith("data: "))
    assert json.loads(first.removeprefix("data: ")) == {"reload": True}


@pytest.mark.slow
def test_of_a_hundred_thousand_events_a_page_shows_a_few(seller: Sandbox) -> None:
    """A page stays short, whatever the filter, and says how many there are."""
    entries = (Entry("delivered", f"id-{number}", "purchase", "REST") for number in range(100_000))
    seller._seller.timeline.add(entries)  # noqa: SLF001 - by requests it would take a minute
    for query, shown in (("", "50 of 100,000"), ("?q=id-77777", "1 of"), ("?outcome=bad", "of")):
        page = request("GET", f"{seller.origin}/{query}").text
        assert shown in page
        assert len(page) < 100_000
    assert "0 of 0" in request("GET", f"{seller.origin}/?outcome=rejected").text


def test_an_event_can_be_sent_again_and_the_timeline_cleared(seller: Sandbox) -> None:
    """Sending again counts as a repeat; clearing keeps faults and event sources."""
    send(seller, make_event("a"))
    number = seller._seller.timeline.last  # noqa: SLF001 - what the page links to
    again = control(seller, "POST", f"entry/{number}/resend")
    assert again.json() == {"result": "Sent again"}
    assert seller.times_received("a") == 2
    assert control(seller, "POST", "entry/999/resend").status_code == 400
    seller.fail(status=503)
    assert control(seller, "POST", "clear").json()["good"] == 0
    assert "No events yet" not in request("GET", seller.origin).text
    assert len(control(seller, "GET", "faults").json()) == 1


def test_every_fault_of_the_menu_can_be_injected(seller: Sandbox) -> None:
    """Each entry of the menu is valid, and together they cover every kind the seller knows."""
    settings = [each for group in FAULTS.values() for each in group.values()]
    for each in settings:
        answer = control(seller, "POST", "faults", dict(each))
        assert answer.status_code == 200, each
    kinds = {field.name for field in attrs.fields(InjectedFault)}
    covered = {name for each in settings for name in each}
    aspects = {"on", "times", "share", "skip", "message", "recovery", "field", "issues", "details"}
    aspects |= {"remember", "retry_after_s", "headers", "text", "content_type", "size_bytes"}
    assert kinds - aspects == covered
    assert {each.get("connection") for each in settings} >= set(get_args(Connection))
    assert {each.get("body") for each in settings} >= set(get_args(Body))


def test_a_public_address_needs_a_token() -> None:
    """With a token the seller may listen anywhere; page, control and calls all ask for it."""
    with pytest.raises(ConfigurationError, match="set a token"):
        bind("0.0.0.0", 0)  # noqa: S104 - it is refused
    sock = bind("0.0.0.0", 0, any_address=True)  # noqa: S104 - with a token
    port = sock.getsockname()[1]
    server = make_server(Seller(SandboxConfig(tokens=("secret",))), "secret")
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}"
        host = {"Host": "seller:8765"}
        for path in ("/", "/_sandbox/events", "/_sandbox/stream", "/_sandbox/reset"):
            method = "POST" if path.endswith("reset") else "GET"
            assert request(method, url + path, headers=host).status_code == 401
            wrong = {"Authorization": "Bearer guess", **host}
            assert request(method, url + path, headers=wrong).status_code == 401
        right = {"Authorization": "Bearer secret", **host}
        assert request("GET", f"{url}/_sandbox/events", headers=right).json() == []
        login = request("GET", f"{url}/?token=secret", headers=host)
        assert (login.status_code, login.headers["location"]) == (303, "/")
        cookie = login.headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert "secret" not in cookie
        page = request("GET", f"{url}/", headers={"Cookie": cookie.split(";")[0], **host})
        assert page.status_code == 200
    finally:
        server.stop()
        thread.join()
