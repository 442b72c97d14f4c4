"""Nothing of the host's breaks a checkout: its log, its callbacks, its signals and its forks."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adcp_tracker import Event, Interchange, QueueFullError, RejectedEvent, RequestContext, Tracker
from adcp_tracker._logging import logger
from adcp_tracker._platform import raised_by_signal_handler
from tests.support.destinations import ScriptedDestination
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from adcp_tracker.sandbox import Sandbox

EMAIL = "alice.private@example.com"
ORDER = {"id": "A-1", "total": "59.90", "currency": "EUR", "email": EMAIL}
WRONG = {**ORDER, "currency": "euro"}


class _Undecided:
    def __bool__(self) -> bool:
        raise ValueError


UNREADABLE = RequestContext(_Undecided())  # type: ignore[arg-type]
"""A context that no event can be built with."""


class _BrokenHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(f"log server is down: {record.getMessage()}")


class _BrokenFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise OSError(record.name)


@pytest.fixture(params=["handler", "filter"])
def broken_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have every log entry of the library raise."""
    log = logging.getLogger("adcp_tracker")
    handler, a_filter = _BrokenHandler(), _BrokenFilter()
    if request.param == "handler":
        log.addHandler(handler)
    else:
        log.addFilter(a_filter)
    yield
    log.removeHandler(handler)
    log.removeFilter(a_filter)


@pytest.mark.usefixtures("broken_log")
def test_a_log_that_raises_costs_no_event_and_no_delivery(tmp_path: Path) -> None:
    """Invalid events are kept and counted first; the flusher goes on as well."""
    seller = ScriptedDestination()

    def on_drop(_: str) -> None:
        raise RuntimeError

    with Tracker(
        [seller], directory=tmp_path, handle_sigterm=False, flush_interval=0.02, on_drop=on_drop
    ) as tracker:
        assert isinstance(tracker.track_purchase(WRONG), RejectedEvent)
        assert isinstance(tracker.track_purchase(ORDER, context=UNREADABLE), RejectedEvent)
        assert isinstance(tracker.track_purchase(ORDER), Event)
        total = tracker.flush(10.0).total()
        assert (total.accepted, total.dead, total.delivered) == (3, 2, 1)
        assert total.dropped == {}
        assert [letter.code for letter in tracker.dead_letters.list()] == ["INVALID_EVENT"] * 2


def _registers_and_raises(write: Callable[[], None]) -> bool:
    write()
    raise RuntimeError("no transaction here")


def _raises(_: Callable[[], None]) -> bool:
    raise LookupError("no transaction here")


@pytest.mark.parametrize("on_commit", [_raises, _registers_and_raises])
def test_an_on_commit_that_raises_writes_the_event_at_once_and_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, on_commit: Callable[..., bool]
) -> None:
    """A failing hook costs neither the checkout nor the event."""
    seller = ScriptedDestination()
    with Tracker(
        [seller], directory=tmp_path, handle_sigterm=False, on_commit=on_commit
    ) as tracker:
        assert isinstance(tracker.track_purchase(ORDER), Event)
        assert tracker.flush(10.0).total().accepted == 1
    assert seller.ids == ["A-1"]
    assert "on_commit.failed" in caplog.text


def test_a_full_queue_still_raises_behind_on_commit(tmp_path: Path) -> None:
    """The host asked for it with ``when_full="raise"``."""
    settings: dict[str, Any] = {"max_bytes": 20_000, "when_full": "raise"}
    with Tracker(directory=tmp_path, on_commit=lambda _: False, **settings) as tracker:

        def fill() -> None:
            for _ in range(500):
                tracker.track_purchase(ORDER)

        with pytest.raises(QueueFullError):
            fill()


def test_an_entry_carries_its_fields_as_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """JSON formatters see them, and no name of the standard library's is overwritten."""
    logger.warning("event.invalid", event_id="A-1", message="no", name="x")
    (record,) = caplog.records
    found = vars(record)
    assert (found["event"], found["event_id"]) == ("event.invalid", "A-1")
    assert (found["message_"], found["name_"], record.name) == ("no", "x", "adcp_tracker")
    assert record.filename == os.path.basename(__file__)  # noqa: PTH119 - as the record has it


def test_warnings_are_seen_where_no_logging_is_configured(tmp_path: Path) -> None:
    """The standard library's last resort prints them on stderr in a plain script."""
    code = (
        "import sys\n"
        "from adcp_tracker import Tracker\n"
        "with Tracker(directory=sys.argv[1]) as tracker:\n"
        "    tracker.track_purchase({'id': 'A-1', 'total': '1.00', 'currency': 'euro'})\n"
    )
    done = _run(code, str(tmp_path))
    assert "event.invalid" in done
    assert "event_id='A-1'" in done
    assert "$.custom_data.currency" in done


def _run(code: str, *arguments: str) -> str:
    import subprocess  # noqa: PLC0415 - for these tests alone

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stderr


class SoftTimeLimit(Exception):  # noqa: N818 - as Celery's
    """What a host's signal handler raises."""


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise SoftTimeLimit


def _raise_starred(*_arguments: Any) -> None:  # noqa: ANN401 - any signature will do
    raise TimeoutError


class Slow:
    """An order whose total takes as long as its task may."""

    id = "A-1"
    currency = "EUR"

    @property
    def total(self) -> str:
        """Be interrupted."""
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(10)
        return "1.00"


@pytest.mark.parametrize("handler", [_raise, _raise_starred])
def test_an_interruption_by_the_hosts_signal_handler_reaches_the_host(
    tmp_path: Path, handler: Callable[..., None]
) -> None:
    """It costs that event at most, which is counted, and the next one is taken as before."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Tracker([ScriptedDestination()], directory=tmp_path, handle_sigterm=False) as tracker:
            with pytest.raises((SoftTimeLimit, TimeoutError)):
                tracker.track_purchase(Slow())
            tracker.track_purchase(ORDER)
            total = tracker.flush(10.0).total()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert total.delivered == 1
    assert total.dropped == {"interrupted": 1}


def test_other_errors_are_not_taken_for_interruptions() -> None:
    """Only a function that was given the interrupted frame is a signal handler."""
    with pytest.raises(SoftTimeLimit) as raised:
        _raise_with(number=1)
    assert not raised_by_signal_handler(raised.value)


def _raise_with(**_: object) -> None:
    raise SoftTimeLimit


def _sigterm_handler() -> object:
    return signal.getsignal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_of_a_fork_has_the_sigterm_handler_from_before_the_tracker(tmp_path: Path) -> None:
    """A pool's worker that waits for a shared lock has to die of SIGTERM."""
    code = (
        "import os, signal, sys\n"
        "from adcp_tracker import Tracker\n"
        "def own(*_): pass\n"
        "for before in (signal.SIG_DFL, own):\n"
        "    signal.signal(signal.SIGTERM, before)\n"
        "    tracker = Tracker(directory=sys.argv[1])\n"
        "    assert signal.getsignal(signal.SIGTERM) is not before\n"
        "    tracker.track_purchase({'id': 'A-1', 'total': '1.00', 'currency': 'EUR'})\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        tracker.track_purchase({'id': 'A-2', 'total': '1.00', 'currency': 'EUR'})\n"
        "        os._exit(signal.getsignal(signal.SIGTERM) is not before)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
    )
    _run(code, str(tmp_path))


def test_a_context_manager_in_a_thread_needs_no_signals(tmp_path: Path) -> None:
    """Handlers are for the main thread alone, so another one leaves them as they are."""
    before, failed = _sigterm_handler(), []

    def track() -> None:
        try:
            with Tracker(directory=tmp_path) as tracker:
                tracker.track_purchase(ORDER, context=RequestContext())
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=track)
    thread.start()
    thread.join()
    assert failed == []
    assert _sigterm_handler() is before


@pytest.mark.slow
@pytest.mark.parametrize("warned", ["default", "error"])
def test_a_rejected_event_is_loud_where_all_destinations_are_local(
    tmp_path: Path, warned: str
) -> None:
    """A developer sees it on the terminal, with the line of the call, whatever the log does."""
    code = (
        "import logging, sys\n"
        "from adcp_tracker import Interchange, Tracker\n"
        "logging.disable(logging.CRITICAL)\n"
        "seller = Interchange(advertiser_id='1', event_source_id='s', api_key='key-of-a-test',\n"
        "    base_url='http://127.0.0.1:9/')\n"
        "tracker = Tracker([seller], directory=sys.argv[1], shutdown_timeout=0.0)\n"
        "event = tracker.track_purchase({'id': 'A-1', 'total': '1.00', 'currency': 'euro'})\n"
        "assert event.errors\n"
    )
    script = tmp_path / "shop.py"
    script.write_text(code)
    import subprocess  # noqa: PLC0415 - for these tests alone

    done = subprocess.run(
        [sys.executable, "-W", warned, script, tmp_path / "queue"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    if warned == "default":
        assert "shop.py:7: RejectedEventWarning: purchase 'A-1' was rejected" in done.stderr
        assert "$.custom_data.currency: expected" in done.stderr


def interchange(url: str) -> Interchange:
    """Return a destination at a local seller."""
    return Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=url
    )


def test_a_hosts_log_has_no_lines_of_httpx_about_our_requests(
    tmp_path: Path, seller: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own requests are logged as before."""
    caplog.set_level(logging.INFO)
    with Tracker([interchange(seller.url)], directory=tmp_path, handle_sigterm=False) as tracker:
        tracker.track_purchase(ORDER)
        assert tracker.flush(10.0).pending == 0
    assert not [record for record in caplog.records if record.name == "httpx"]
    httpx.get(seller.url)
    assert [record for record in caplog.records if record.name == "httpx"]
