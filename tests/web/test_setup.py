"""From one flat mapping of options to what every web adapter works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker import ConfigurationError, Consent, Interchange, Tracker
from adcp_tracker.web.consent import ConsentCookie
from adcp_tracker.web.options import CAPTURE_OPTIONS, CaptureOptions, Options, TrackerOptions
from adcp_tracker.web.request import WsgiRequest
from adcp_tracker.web.setup import TRACKER_OPTIONS, configure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SELLER = Interchange(advertiser_id="1", event_source_id="web", api_key="secret-key")


def test_options_are_divided_between_tracker_and_capture(tmp_path: Path) -> None:
    """One mapping sets both, each option by its own name."""
    setup = configure(
        {
            "directory": str(tmp_path),
            "destinations": [SELLER],
            "flush_interval": 0.5,
            "trusted_hops": 1,
        },
        environ={},
    )
    assert setup.tracker.destinations == (SELLER,)
    assert setup.tracker.settings.flush_interval == 0.5
    assert setup.capture.settings.trusted_hops == 1


def test_the_environment_fills_in_what_is_left_out(tmp_path: Path) -> None:
    """An option wins over its variable; a variable over the default."""
    environ = {
        "ADCP_DIRECTORY": str(tmp_path / "environment"),
        "ADCP_DEFAULT_REGION": "GB",
        "ADCP_ADVERTISER_ID": "7",
        "ADCP_API_KEY": "secret-key",
        "ADCP_EVENT_SOURCE_ID": "web",
    }
    tracker = configure({"default_region": "DE"}, environ=environ).tracker
    assert tracker.settings.directory == str(tmp_path / "environment")
    assert tracker.settings.default_region == "DE"
    assert [each.name for each in tracker.destinations] == ["interchange:7/web"]
    assert configure({"destinations": []}, environ=environ).tracker.destinations == ()


@pytest.mark.parametrize(
    ("options", "environ", "debug", "strict"),
    [
        ({}, {}, False, False),
        ({}, {}, True, True),
        ({"strict": False}, {}, True, False),
        ({"strict": True}, {}, False, True),
        ({}, {"ADCP_STRICT": "false"}, True, False),
        ({"strict": True}, {"ADCP_STRICT": "false"}, False, True),
    ],
)
def test_debug_mode_makes_a_tracker_strict_unless_told(
    tmp_path: Path,
    options: Mapping[str, object],
    environ: Mapping[str, str],
    debug: bool,  # noqa: FBT001 - a case of the table
    strict: bool,  # noqa: FBT001 - likewise
) -> None:
    """A developer wants the traceback, a shop wants its checkout."""
    given = {"directory": str(tmp_path), **options}
    assert configure(given, debug=debug, environ=environ).tracker.settings.strict is strict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "directory: expected a directory"),
        ({"directory": "x", "trusted_proxy": []}, "Did you mean 'trusted_proxies'?"),
        ({"directory": "x", "flush_intervall": 1}, "Did you mean 'flush_interval'?"),
        ({"directory": "x", "colour": "red"}, "Known are allowed_hosts, click_cookie, "),
        ({"directory": "x", "api_key": "secret"}, "'api_key'. Set ADCP_API_KEY, or give it to"),
        ({"directory": "x", "destinations": SELLER}, "a list of destinations"),
        ({"directory": "x", "destinations": [SELLER, "agent"]}, r"got str at \[1\]"),
        ({"directory": "x", "destinations": [Interchange]}, r"got type at \[0\]"),
        ({"directory": "x", "durability": "never"}, "durability: expected"),
        ({"directory": "x", "trusted_hops": -1}, "trusted_hops: expected"),
    ],
)
def test_wrong_options_are_refused_with_a_remedy(
    options: Mapping[str, object], message: str
) -> None:
    """The message names the option and never a credential."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        configure(options, environ={})
    assert "secret" not in str(caught.value)


def test_a_tracker_that_is_there_takes_capture_options_only(tmp_path: Path) -> None:
    """What a tracker was made with cannot be changed by an adapter."""
    tracker = Tracker(directory=tmp_path)
    setup = configure({"trusted_hops": 2}, tracker=tracker)
    assert setup.tracker is tracker
    assert setup.capture.settings.trusted_hops == 2
    for name in TRACKER_OPTIONS:
        with pytest.raises(ConfigurationError, match=f"{name} can't be combined with tracker="):
            configure({name: None}, tracker=tracker)


def test_a_consent_function_is_asked_with_the_frameworks_request(tmp_path: Path) -> None:
    """Readers read facts; only a site's own function wants the request it knows."""
    environ = {"HTTP_COOKIE": "marketing=yes", "answer": True}
    for consent in (lambda request: request["answer of"], ConsentCookie("marketing")):
        setup = configure(
            {"directory": str(tmp_path), "consent": consent, "honour_gpc": False},
            request=lambda given: {"answer of": given["answer"]},  # type: ignore[index]  # the environ
            environ={},
        )
        assert setup.capture.begin(WsgiRequest(environ)).consent is Consent.GRANTED


def test_a_hold_of_the_frameworks_is_offered_writes_unless_the_site_has_its_own(
    tmp_path: Path,
) -> None:
    """Whoever holds a write decides when it is made."""
    asked: list[str] = []

    def hold_as(name: str, held: list[object]) -> object:
        def hold(write: object) -> bool:
            asked.append(name)
            held.append(write)
            return True

        return hold

    held: list[object] = []
    options: dict[str, object] = {"directory": str(tmp_path)}
    framework = hold_as("framework", held)
    configure(options, on_commit=framework, environ={}).tracker.track_lead(lead_id="1")  # type: ignore[arg-type]  # made above
    own = {**options, "on_commit": hold_as("site", held)}
    configure(own, on_commit=framework, environ={}).tracker.track_lead(lead_id="2")  # type: ignore[arg-type]  # made above
    assert asked == ["framework", "site"]
    assert not list(tmp_path.glob("segments/*"))
    for write in held:
        write()  # type: ignore[operator]  # as a transaction's end does
    assert b"".join(path.read_bytes() for path in tmp_path.glob("segments/*")).count(b"\n") == 2


async def ask_later(_: object) -> bool:
    """Consent, too late."""
    return True


@pytest.mark.parametrize("wrong", ["marketing", ConsentCookie, ask_later])
def test_wrong_consent_is_refused_behind_a_frameworks_request_too(
    wrong: object, tmp_path: Path
) -> None:
    """An async function would be true without being asked."""
    with pytest.raises(ConfigurationError, match="consent: expected a function of the request"):
        configure({"directory": str(tmp_path), "consent": wrong}, request=lambda given: given)


@pytest.mark.parametrize("option", [*sorted(CAPTURE_OPTIONS), "click_cooky"])
def test_an_option_without_a_variable_is_not_set_by_one(option: str, tmp_path: Path) -> None:
    """Otherwise its author would believe it to be in force."""
    variables = {"ADCP_DIRECTORY": str(tmp_path), f"ADCP_{option.upper()}": "1"}
    with pytest.raises(ConfigurationError, match=rf"{option.upper()} isn't .* in code, or rename"):
        configure({}, environ=variables)


def test_the_typed_options_are_the_settings() -> None:
    """What editors complete is what trackers and captures take."""
    assert set(TrackerOptions.__annotations__) == TRACKER_OPTIONS
    assert set(CaptureOptions.__annotations__) == CAPTURE_OPTIONS
    assert set(Options.__annotations__) == CAPTURE_OPTIONS | TRACKER_OPTIONS
