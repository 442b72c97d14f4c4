"""The WSGI middleware: what is bound when, and what is left alone."""

from __future__ import annotations

import gc
import io
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from adcp_tracker import ConfigurationError, Tracker, current_context
from adcp_tracker_wsgi import AdcpTrackerMiddleware, get_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    """A tracker without destinations."""
    return Tracker(directory=tmp_path)


def call(
    app: WSGIApplication, **environ: object
) -> tuple[Iterable[bytes], list[tuple[str, Headers]]]:
    """Call `app` as a server does, and return the body and what was started."""
    setup_testing_defaults(environ)
    started: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, _: object = None) -> Callable[..., object]:
        started.append((status, headers))
        return lambda _: None

    return app(environ, start_response), started


def agent() -> bytes:
    """Return the browser that an event made now would carry."""
    context = current_context()
    return b"nobody" if context is None else str(context.client_user_agent).encode()


def plain(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [agent()]


def test_the_context_is_there_while_the_application_runs_and_not_after(tracker: Tracker) -> None:
    """One request's shopper is not the next one's."""
    body, _ = call(AdcpTrackerMiddleware(plain, tracker), HTTP_USER_AGENT="one")
    assert list(body) == [b"one"]
    assert current_context() is None


def test_an_error_leaves_no_context_behind(tracker: Tracker) -> None:
    """It passes through, and the thread is clean for the next request."""

    def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise LookupError(agent())

    with pytest.raises(LookupError, match="one"):
        call(AdcpTrackerMiddleware(broken, tracker), HTTP_USER_AGENT="one")
    assert current_context() is None


def test_streamed_pieces_each_see_their_own_request(tracker: Tracker) -> None:
    """Also where a server interleaves two responses in one thread; closing sees it too."""
    closed: list[bytes] = []

    def streaming(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            yield agent()
            yield agent()
            raise LookupError
        finally:
            closed.append(agent())

    app = AdcpTrackerMiddleware(streaming, tracker)
    one, started = call(app, HTTP_USER_AGENT="one", QUERY_STRING="gclid=abc")
    two, _ = call(app, HTTP_USER_AGENT="two")
    first, second = iter(one), iter(two)
    assert [next(first), next(second), next(first), next(second)] == [b"one", b"two"] * 2
    assert any(name == "Set-Cookie" for name, _ in started[0][1])
    with pytest.raises(LookupError):
        next(first)
    second.close()  # type: ignore[attr-defined]  # as a server does
    assert closed == [b"one", b"two"]
    assert current_context() is None


def test_bodies_that_servers_send_in_quicker_ways_are_left_as_they_are(tracker: Tracker) -> None:
    """A list has a length, and a wrapped file is sent by the kernel."""
    file = io.BytesIO(b"a")
    bodies: list[Iterable[bytes]] = [[b"a"], (b"a",), FileWrapper(file), file]
    for body in bodies:

        def app(
            _: WSGIEnvironment, start: StartResponse, body: Iterable[bytes] = body
        ) -> Iterable[bytes]:
            start("200 OK", [])
            return body

        returned, _ = call(
            AdcpTrackerMiddleware(app, tracker), **{"wsgi.file_wrapper": FileWrapper}
        )
        assert returned is body


def test_the_cookie_is_set_for_a_landing_alone(tracker: Tracker) -> None:
    """A response that carries no click id carries no cookie."""
    app = AdcpTrackerMiddleware(plain, tracker)
    _, landing = call(app, QUERY_STRING="gclid=abc")
    assert dict(landing[0][1])["Set-Cookie"].startswith("adcp_click=1.gclid.abc;")
    _, later = call(app, HTTP_COOKIE="adcp_click=1.gclid.abc")
    assert later == [("200 OK", [("Content-Type", "text/plain")])]


def test_it_keeps_to_the_specification(tracker: Tracker) -> None:
    """As the standard library checks it, on both sides."""

    def streaming(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"piece"

    for app in (plain, streaming):
        checked = validator(AdcpTrackerMiddleware(validator(app), tracker))
        body, _ = call(checked, QUERY_STRING="gclid=abc")
        assert len(list(body)) == 1
        body.close()  # type: ignore[attr-defined]  # as a server does


def test_the_tracker_is_found_in_the_environ(tracker: Tracker, tmp_path: Path) -> None:
    """Each middleware has its own, given or made of options; without one it says so."""
    seen: list[Tracker] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(get_tracker(environ))
        return plain(environ, start_response)

    call(AdcpTrackerMiddleware(app, tracker))
    call(AdcpTrackerMiddleware(app, directory=tmp_path / "own", destinations=[]))
    assert seen[0] is tracker
    assert seen[1].settings.directory == str(tmp_path / "own")
    with pytest.raises(ConfigurationError, match=r"expected a tracker, got none\. Wrap"):
        call(app)


def test_consent_is_asked_of_the_environ(tracker: Tracker) -> None:
    """A site without a framework knows nothing else."""
    app = AdcpTrackerMiddleware(plain, tracker, consent=lambda environ: environ["shop.consent"])
    for answer, cookies in ((True, 1), (False, 0)):
        _, started = call(app, QUERY_STRING="gclid=abc", **{"shop.consent": answer})
        assert [name for name, _ in started[0][1]].count("Set-Cookie") == cookies


def test_nothing_stands_between_a_request_that_owes_no_cookie_and_its_server(
    tracker: Tracker,
) -> None:
    """The application is handed the server's own function; only a landing gets another."""
    handed: list[object] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        handed.append(start_response)
        return plain(environ, start_response)

    def start_response(_: str, __: Headers, ___: object = None) -> Callable[..., object]:
        return lambda _: None

    for query in ("page=2", "gclid=abc"):
        environ: WSGIEnvironment = {"QUERY_STRING": query}
        setup_testing_defaults(environ)
        AdcpTrackerMiddleware(app, tracker)(environ, start_response)
    assert handed[0] is start_response
    assert handed[1] is not start_response


def test_an_error_page_that_is_started_anew_has_the_cookie_too(tracker: Tracker) -> None:
    """Headers may be replaced until they are sent, and each of them is complete."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-First", "1")])
        try:
            environ["shop.missing"]
        except LookupError:
            start_response("500 Oops", [("X-Second", "1")], sys.exc_info())
        return [b""]

    _, started = call(AdcpTrackerMiddleware(app, tracker), QUERY_STRING="gclid=abc")
    assert [status for status, _ in started] == ["200 OK", "500 Oops"]
    assert [[name for name, _ in headers] for _, headers in started] == [
        ["X-First", "Set-Cookie"],
        ["X-Second", "Set-Cookie"],
    ]


def test_what_stands_around_it_may_change_headers_that_it_has_passed_on(tracker: Tracker) -> None:
    """The list is the outer one's to change, and neither the application's nor shared."""
    own: Headers = [("Content-Type", "text/plain")]

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", own)
        return [b""]

    _, started = call(AdcpTrackerMiddleware(app, tracker), QUERY_STRING="gclid=abc")
    started[0][1].clear()
    _, again = call(AdcpTrackerMiddleware(app, tracker), QUERY_STRING="gclid=def")
    assert dict(again[0][1])["Set-Cookie"].startswith("adcp_click=1.gclid.def;")
    assert own == [("Content-Type", "text/plain")]


def test_a_cookie_is_settled_when_the_headers_are_sent(tracker: Tracker) -> None:
    """By then an inner layer may have taken the click away, or consent back."""

    def stripping(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.update(QUERY_STRING="", HTTP_COOKIE="")
        return plain(environ, start_response)

    def withdrawing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["HTTP_SEC_GPC"] = "1"
        return plain(environ, start_response)

    for app in (stripping, withdrawing):
        _, started = call(AdcpTrackerMiddleware(app, tracker), QUERY_STRING="gclid=abc")
        assert [name for name, _ in started[0][1]] == ["Content-Type"]


def test_a_request_is_gone_with_its_answer(tracker: Tracker) -> None:
    """Neither a plain body nor a stream, nor an error, leaves an environ behind."""

    class Upload:
        """Something large that belongs to a request."""

    def streaming(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield agent()

    def broken(_: WSGIEnvironment, __: StartResponse) -> Iterable[bytes]:
        raise LookupError

    apps: list[WSGIApplication] = [plain, streaming, broken]
    for app in apps:
        upload = Upload()
        gone = weakref.ref(upload)
        with suppress(LookupError):
            body, _ = call(
                AdcpTrackerMiddleware(app, tracker),
                QUERY_STRING="gclid=abc",
                **{"shop.upload": upload},
            )
            list(body)
            del body
        del upload
        gc.collect()  # an error's traceback is a circle
        assert gone() is None
