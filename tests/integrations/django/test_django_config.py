"""What a site sets, and the one tracker that comes of it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

import adcp_tracker_django
from adcp_tracker import (
    ConfigurationError,
    Interchange,
    InvalidEventError,
    RejectedEvent,
    RequestContext,
    bind_context,
)
from adcp_tracker_django.config import (
    SETTING,
    get_capture,
    get_tracker,
    make_integration,
    read_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox
    from tests.integrations.django.conftest import Configure


def nowhere() -> list[object]:
    """Make a list of destinations, as a site's own function may."""
    return []


def test_the_same_tracker_serves_every_thread(site: dict[str, Any]) -> None:
    """It is made once, however many ask at the same time."""
    found: list[object] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(get_tracker())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(map(id, found)) == {id(get_tracker())}
    assert get_tracker().settings.directory == str(site["DIRECTORY"])
    assert adcp_tracker_django.get_tracker is get_tracker


def test_an_event_reaches_the_destination_that_flat_options_describe(
    site: dict[str, Any], seller: Sandbox
) -> None:
    """The options of one Interchange stand beside the tracker's own."""
    event = get_tracker().track_lead("L-1", email="alice@example.com")
    seller.wait_for(1)
    assert seller.events[0]["event_id"] == event.event_id
    assert site["API_KEY"] not in repr(get_tracker())


def test_an_overridden_setting_counts_at_once(configure: Configure, tmp_path: Path) -> None:
    """In tests, each override has its own tracker and its own capture."""
    with configure():
        first, capture = get_tracker(), get_capture()
        with configure(DIRECTORY=tmp_path / "other"):
            assert get_tracker() is not first
            assert get_tracker().settings.directory == str(tmp_path / "other")
            assert get_capture() is not capture
        assert get_tracker().settings.directory == first.settings.directory
        assert get_tracker() is not first


def test_strictness_follows_debug_unless_it_is_set(configure: Configure) -> None:
    """A developer sees a wrong event as an error, and a shopper never does."""
    with configure():
        assert isinstance(get_tracker().track_lead("L" * 300), RejectedEvent)
        with override_settings(DEBUG=True), pytest.raises(InvalidEventError):
            get_tracker().track_lead("L" * 300)
    with configure(STRICT=False), override_settings(DEBUG=True):
        assert isinstance(get_tracker().track_lead("L" * 300), RejectedEvent)


def test_the_environment_gives_what_the_setting_leaves_out(tmp_path: Path) -> None:
    """An option wins over the variable of its name."""
    variables = {"ADCP_DIRECTORY": str(tmp_path), "ADCP_FLUSH_INTERVAL": "7"}
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with override_settings(ADCP_TRACKER={"FLUSH_INTERVAL": 3}):
            tracker = make_integration().tracker
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert tracker.settings.directory == str(tmp_path)
    assert tracker.settings.flush_interval == 3


def test_code_is_given_by_its_dotted_path(configure: Configure, seller: Sandbox) -> None:
    """Settings are read before a site's own code can be imported."""
    path = "tests.integrations.django.test_django_config"
    flat = dict.fromkeys(("ADVERTISER_ID", "API_KEY", "EVENT_SOURCE_ID", "BASE_URL"))
    with configure():
        whole = {k: v for k, v in getattr(settings, SETTING).items() if k not in flat}
    options = {**whole, "DESTINATIONS": f"{path}.nowhere", "CONSENT": f"{path}.nowhere"}
    with override_settings(ADCP_TRACKER=options):
        assert get_tracker().destinations == ()
    there = Interchange(advertiser_id="1", event_source_id="s", api_key="k", base_url=seller.url)
    with override_settings(ADCP_TRACKER={**whole, "DESTINATIONS": [there]}):
        assert get_tracker().destinations == (there,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"DIRECTORY": ""}, "directory: expected a path"),
        ({"TRUSTED_PROXYS": []}, "Did you mean 'TRUSTED_PROXIES'"),
        ({"advertisr_id": "1"}, "Did you mean 'ADVERTISER_ID'"),
        ({"NOTHING_LIKE_IT": 1}, "Unknown key 'NOTHING_LIKE_IT'. See the table"),
        ({"UPLOADER": "thraed"}, "uploader: expected 'thread' or 'external'"),
        ({"COMMIT_AWARE": "yes"}, "commit_aware: expected True or False"),
        ({"directory": "/tmp/other"}, "in two spellings"),  # noqa: S108 - never made
        ({"DESTINATIONS": []}, "can't be combined with advertiser_id"),
        ({"API_KEY": 5}, "api_key: expected a string, got int"),
        ({"CONSENT": "shop.nothing"}, "consent: expected a dotted path that can be imported"),
    ],
)
def test_what_cannot_be_right_is_said_by_its_name(
    configure: Configure, changes: dict[str, object], said: str
) -> None:
    """The setting is named, and what is expected of it."""
    with configure(**changes), pytest.raises(ConfigurationError) as caught:
        get_tracker()
    assert str(caught.value).startswith("ADCP_TRACKER: ")
    assert said in str(caught.value)


def test_a_setting_that_is_no_dictionary_is_refused() -> None:
    """It says what is expected instead of failing on it."""
    with override_settings(ADCP_TRACKER=["x"]), pytest.raises(ConfigurationError, match="list"):
        get_tracker()


@given(st.dictionaries(st.text() | st.sampled_from(["a", "A", "b"]), st.integers()))
def test_options_are_known_by_their_lower_case_names(given_options: dict[str, int]) -> None:
    """Whatever the case, each option is there once, or it is said which is there twice."""
    if len({key.lower() for key in given_options}) < len(given_options):
        with pytest.raises(ConfigurationError, match="two spellings"):
            read_options(given_options)
        return
    options = read_options(given_options)
    assert options == {key.lower(): value for key, value in given_options.items()}


@pytest.mark.usefixtures("site")
def test_a_forked_child_has_a_tracker_that_works(seller: Sandbox) -> None:
    """What the parent made before the fork serves the child as its own."""
    get_tracker().track_lead("parent")
    child = os.fork()
    if not child:
        try:
            get_tracker().track_lead("child")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert get_tracker().flush(10).total().delivered == 2
    assert {event["event_id"] for event in seller.events} == {"parent", "child"}


def test_a_shoppers_context_is_read_on_every_machine_that_shares_the_secret_key(
    configure: Configure, tmp_path: Path, seller: Sandbox
) -> None:
    """A token outlives a change of the key as long as the old one is among the fallbacks."""
    with configure(), bind_context(RequestContext(click_id="abc", click_id_type="gclid")):
        token = get_tracker().contexts.capture()
    fallbacks = {"SECRET_KEY": "another", "SECRET_KEY_FALLBACKS": [settings.SECRET_KEY]}
    with configure(DIRECTORY=tmp_path / "elsewhere"), override_settings(**fallbacks):
        get_tracker().track_purchase({"id": "A-1", "total": 1, "currency": "EUR"}, context=token)
        seller.wait_for(1)
    assert seller.events[0]["user_match"]["click_id"] == "abc"
