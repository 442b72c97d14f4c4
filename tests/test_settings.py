"""Settings: read from the environment, checked, and never shown where they are secret."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from adcp_tracker import Agent, ConfigurationError, Interchange, Tracker
from adcp_tracker.destinations.auth import ClientCredentials
from adcp_tracker.settings import (
    AGENT_VARIABLES,
    INTERCHANGE_VARIABLES,
    OAUTH_VARIABLES,
    TRACKER_VARIABLES,
    VARIABLES,
    Settings,
    TrackerSettings,
    destinations_from_env,
    settings_from_env,
)
from adcp_tracker.web.setup import configure

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.outbox.schema import PendingRecord

INTERCHANGE = {
    "ADCP_ADVERTISER_ID": "12345",
    "ADCP_API_KEY": "key-that-nobody-may-see",
    "ADCP_EVENT_SOURCE_ID": "website_pixel",
}
AGENT = {
    "ADCP_AGENT_URL": "https://seller.example/mcp",
    "ADCP_AGENT_TOKEN": "token-that-nobody-may-see",
    "ADCP_EVENT_SOURCE_ID": "website_pixel",
}


def test_every_setting_is_an_argument_with_a_type() -> None:
    """What editors complete for ``Tracker`` is what it takes, and no more."""
    names = {field.name for field in attrs.fields(Settings)}
    assert {"directory", *TrackerSettings.__annotations__} == names


def test_every_plain_setting_has_a_variable() -> None:
    """Whatever the tracker can be told as text it can be told by the environment."""
    names = {field.name for field in attrs.fields(Settings)}
    hooks = {"on_commit", "on_delivered", "on_drop", "on_paused", "on_rejected"}
    in_code = {"event_sources", "transactional_outbox", *hooks}
    assert {variable.setting for variable in TRACKER_VARIABLES} == names - in_code


def test_every_setting_reaches_the_tracker(tmp_path: Path) -> None:
    """Each can be given by its name, and stands in the tracker's settings."""
    given = {field.name: field.default for field in attrs.fields(Settings)}
    given["directory"] = str(tmp_path)
    tracker = Tracker(**given)  # type: ignore[arg-type]  # its own defaults
    assert tracker.settings == Settings(directory=str(tmp_path))
    with pytest.raises(TypeError, match="flush_intervall"):
        Tracker(directory=tmp_path, flush_intervall=1.0)  # type: ignore[call-arg]  # a typo


def test_destinations_take_what_their_variables_set() -> None:
    """The tables name real arguments."""
    kinds = {Interchange: INTERCHANGE_VARIABLES, Agent: AGENT_VARIABLES}
    for kind, variables in {**kinds, ClientCredentials: OAUTH_VARIABLES}.items():
        parameters = inspect.signature(kind).parameters
        assert {variable.setting for variable in variables} <= set(parameters)


def test_a_tracker_is_made_of_the_environment(tmp_path: Path) -> None:
    """Settings and both destinations come from variables."""
    environ = {
        **INTERCHANGE,
        **AGENT,
        "ADCP_DIRECTORY": str(tmp_path),
        "ADCP_FLUSH_INTERVAL": "0.5",
        "ADCP_MAX_BYTES": "none",
        "ADCP_STRICT": "yes",
        "ADCP_COMPRESSION": "gzip",
        "ADCP_HANDLE_SIGTERM": "off",
    }
    tracker = Tracker.from_env(environ)
    assert [each.name for each in tracker.destinations] == [
        "interchange:12345/website_pixel",
        "agent:seller.example/mcp/website_pixel",
    ]
    assert tracker.settings == Settings(
        directory=str(tmp_path),
        flush_interval=0.5,
        max_bytes=None,
        strict=True,
        handle_sigterm=False,
    )
    tracker.close()


def test_a_directory_may_be_in_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leading ~ is expanded as by a shell, however the directory is given; others stay."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home = f"{tmp_path}/queue"
    assert Tracker.from_env({"ADCP_DIRECTORY": "~/queue"}).settings.directory == home
    assert configure({"directory": "~/queue"}, environ={}).tracker.settings.directory == home
    for given in ("~/queue", Path("~/queue")):
        assert Settings(directory=given).directory == home  # type: ignore[arg-type]  # is converted
    assert Settings(directory="queue/~").directory == "queue/~"


def test_http_is_allowed_by_a_variable_for_every_destination() -> None:
    """It makes no destination by itself, and sends a key unencrypted only where it is set."""
    here = {"ADCP_BASE_URL": "http://sandbox:8765", "ADCP_AGENT_URL": "http://sandbox:8765/mcp"}
    interchange, agent = destinations_from_env(
        {**INTERCHANGE, **AGENT, **here, "ADCP_ALLOW_HTTP": "true"}
    )
    assert isinstance(interchange, Interchange)
    assert isinstance(agent, Agent)
    assert (interchange.base_url, agent.url) == tuple(here.values())
    assert destinations_from_env({"ADCP_ALLOW_HTTP": "true"}) == []


def test_without_destinations_there_are_none() -> None:
    """An environment that describes no seller makes a tracker that keeps events."""
    assert destinations_from_env({"ADCP_EVENT_SOURCE_ID": "website_pixel"}) == []


def test_oauth_credentials_stand_in_for_a_key_or_a_token() -> None:
    """For each destination that has none of its own; an agent speaks the protocol that is set."""
    oauth = {
        "ADCP_OAUTH_TOKEN_URL": "https://login.example/token",
        "ADCP_OAUTH_CLIENT_ID": "shop",
        "ADCP_OAUTH_CLIENT_SECRET": "secret-that-nobody-may-see",
        "ADCP_OAUTH_SCOPE": "events.write",
    }
    none = {"ADCP_API_KEY": "", "ADCP_AGENT_TOKEN": "", "ADCP_AGENT_PROTOCOL": "a2a"}
    interchange, agent = destinations_from_env({**INTERCHANGE, **AGENT, **oauth, **none})
    assert isinstance(interchange, Interchange)
    assert isinstance(agent, Agent)
    for each in (interchange, agent):
        assert isinstance(each.auth, ClientCredentials)
        assert each.auth.scope == "events.write"
        assert "nobody" not in repr(each)
    assert (agent.protocol, agent.key_secret) == ("a2a", oauth["ADCP_OAUTH_CLIENT_SECRET"])
    (with_key,) = destinations_from_env({**INTERCHANGE, **oauth})
    assert isinstance(with_key, Interchange)
    assert with_key.auth is None


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "ADCP_DIRECTORY isn't set. Set it to"),
        ({"ADCP_DIRECTORY": ""}, "ADCP_DIRECTORY isn't set. Set it to"),
        ({"ADCP_FLUSH_INTERVAL": "soon"}, "ADCP_FLUSH_INTERVAL: expected a number, got 'soon'"),
        ({"ADCP_FLUSH_INTERVAL": "0"}, "a number of seconds, 0.01 or more, got 0.0"),
        ({"ADCP_FLUSH_INTERVAL": "nan"}, "flush_interval: expected a number of seconds"),
        ({"ADCP_MAX_BYTES": "1GB"}, "ADCP_MAX_BYTES: expected a number of bytes, got '1GB'"),
        ({"ADCP_MAX_BYTES": "-5"}, "max_bytes: expected a number of bytes, 1 or more, got -5"),
        ({"ADCP_STRICT": "maybe"}, "ADCP_STRICT: expected true or false, got 'maybe'"),
        ({"ADCP_DURABILITY": "disk"}, "durability: expected 'process' or 'power', got 'disk'"),
        ({"ADCP_WHEN_FULL": "wait"}, "when_full: expected 'drop_new' or 'raise', got 'wait'"),
        ({"ADCP_UPLOADER": "cron"}, "uploader: expected 'thread' or 'external', got 'cron'"),
        ({"ADCP_ON_DENIED": "send"}, "on_denied: expected 'drop' or 'strip', got 'send'"),
        (
            {"ADCP_SHUTDOWN_TIMEOUT": "-1"},
            "shutdown_timeout: expected a number of seconds, 0 or more",
        ),
        ({"ADCP_DIRECTROY": "/x"}, "Unknown variable ADCP_DIRECTROY. Did you mean ADCP_DIRECTORY?"),
        ({"ADCP_API_KEYS": "x"}, "Unknown variable ADCP_API_KEYS. Did you mean ADCP_API_KEY?"),
        (
            {"ADCP_DEFAULT_REGION": "UK"},
            "default_region: expected a region such as 'GB', got 'UK'; maybe 'GB'",
        ),
        (
            {"ADCP_DEFAULT_REGION": "Germany"},
            "got a string of 7 characters; use the two letters of ISO 3166",
        ),
        ({"ADCP_API_KEY": "x"}, "expected ADCP_ADVERTISER_ID and ADCP_EVENT_SOURCE_ID to be set"),
        ({"ADCP_ADVERTISER_ID": "1"}, "expected ADCP_API_KEY and ADCP_EVENT_SOURCE_ID to be set"),
        ({"ADCP_AGENT_URL": "https://x.example/"}, "an agent: expected ADCP_AGENT_TOKEN and"),
        (
            {**AGENT, "ADCP_AGENT_TOKEN": "", "ADCP_OAUTH_CLIENT_ID": "shop"},
            "OAuth client credentials: expected ADCP_OAUTH_TOKEN_URL and ADCP_OAUTH_CLIENT_SECRET",
        ),
        ({**AGENT, "ADCP_AGENT_PROTOCOL": "soap"}, "; protocol is set by ADCP_AGENT_PROTOCOL"),
        ({**INTERCHANGE, "ADCP_BASE_URL": "http://x.example"}, "base_url"),
        (
            {**INTERCHANGE, "ADCP_BASE_URL": "http://x.example"},
            "; base_url is set by ADCP_BASE_URL, allow_http by ADCP_ALLOW_HTTP",
        ),
        ({**AGENT, "ADCP_AGENT_VERSION": "2.0"}, "; adcp_version is set by ADCP_AGENT_VERSION"),
        ({**INTERCHANGE, "ADCP_BASE_URL": "ftp://x.example"}, "base_url"),
        ({**INTERCHANGE, "ADCP_COMPRESSION": "zip"}, "compression: expected 'gzip' or None"),
        ({**AGENT, "ADCP_AGENT_VERSION": "2.0"}, "adcp_version"),
        ({**AGENT, "ADCP_AGENT_URL": "http://seller.example/mcp"}, "url"),
    ],
)
def test_a_wrong_environment_is_reported_clearly(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    """What is wrong, what was expected, what was got; and no credential in it."""
    directory = {"ADCP_DIRECTORY": str(tmp_path)} if "ADCP_DIRECTORY" not in environ else {}
    whole = {**(directory if environ else {}), **environ}
    with pytest.raises(ConfigurationError) as raised:
        Tracker.from_env(whole)
    assert message in str(raised.value)
    assert "nobody-may-see" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        *("ADCP_DURABILITY", "ADCP_WHEN_FULL", "ADCP_UPLOADER", "ADCP_ON_DENIED"),
        *("ADCP_FLUSH_INTERVAL", "ADCP_SHUTDOWN_TIMEOUT", "ADCP_MAX_BYTES"),
        *("ADCP_STRICT", "ADCP_HANDLE_SIGTERM", "ADCP_TEST_EVENT_CODE"),
    ],
)
def test_a_secret_in_the_wrong_variable_is_not_shown(tmp_path: Path, name: str) -> None:
    """Whoever pasted it one line too low finds it in no log."""
    with pytest.raises(ConfigurationError) as raised:
        Tracker.from_env({"ADCP_DIRECTORY": str(tmp_path), name: "s3cr3t\nPassw0rd"})
    assert "s3cr3t" not in str(raised.value)
    assert "got a string of 15 characters" in str(raised.value)


@pytest.mark.parametrize("code", ["", "x" * 256, "a\nb", "\ud800", b"TEST1", 5])
def test_a_test_code_that_no_seller_takes_is_refused(tmp_path: Path, code: Any) -> None:  # noqa: ANN401 - also wrong ones
    """All of a tracker's events would be refused for it."""
    with pytest.raises(ConfigurationError, match="test_event_code: expected a string"):
        Tracker(directory=tmp_path, test_event_code=code)


def test_other_variables_are_none_of_our_business() -> None:
    """A variable of somebody else's with our prefix is let be, unless it is surely a typo."""
    assert settings_from_env({"ADCP_PORT": "80", "PATH": "/bin", "ADCP_DIRECTORY": "/x"}) == {
        "directory": "/x"
    }


@pytest.mark.parametrize("region", ["GB", "de", "GG"])
def test_a_region_is_known_in_either_case(region: str, tmp_path: Path) -> None:
    """As phone numbers are read by it."""
    assert Settings(directory=str(tmp_path), default_region=region).default_region == region


def test_a_tracker_of_a_directory_loads_nothing_it_does_not_need(tmp_path: Path) -> None:
    """Neither what reads numbers without a plus, nor anything for a queue in a database."""
    program = (
        "import sys\n"
        "from adcp_tracker import Tracker\n"
        "Tracker(directory=sys.argv[1]).close()\n"
        "names = 'phonenumbers psycopg pymysql MySQLdb adcp_tracker.outbox.database'\n"
        "sys.exit([name for name in names.split() if name in sys.modules] or None)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    """Neither a tracker nor a destination shows its credential."""
    with Tracker(
        destinations_from_env({**INTERCHANGE, **AGENT}), directory=tmp_path / "q"
    ) as tracker:
        shown = repr(tracker) + repr(tracker.destinations) + repr(tracker.settings)
    assert "nobody-may-see" not in shown
    assert "interchange:12345" in shown


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    """Counts are kept by name, so it has to be one destination's own."""
    twice = destinations_from_env(INTERCHANGE) * 2
    with pytest.raises(ConfigurationError, match="got 'interchange:12345/website_pixel' twice"):
        Tracker(twice, directory=tmp_path)


SHOP: dict[str, Any] = {
    "advertiser_id": "12345",
    "event_source_id": "website_pixel",
    "api_key": "secret",
}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"directory": None}, "got neither; pass directory='/var/lib/shop/adcp'"),
        ({"directory": ""}, "got an empty string"),
        ({"directory": 5}, "directory: expected a path"),
        ({"directory": "~nobody-of-this-name/q"}, "got one in a home directory that isn't known"),
        ({"strict": "false"}, "strict: expected True or False, got 'false'"),
        ({"handle_sigterm": 1}, "handle_sigterm: expected True or False, got 1"),
        ({"default_region": 49}, "default_region: expected a string or None, got int"),
        ({"flush_interval": "1"}, "expected a number of seconds, 0.01 or more, got '1'"),
        ({"destinations": Interchange(**SHOP)}, "got a single one; put it in a list"),
        ({"destinations": "https://seller.example"}, "such as Interchange(…), got str"),
        ({"destinations": [Interchange]}, "such as Interchange(…), got type at [0]"),
        ({"destinations": 7}, "such as Interchange(…), got int"),
    ],
)
def test_a_common_mistake_is_reported_with_its_remedy(
    settings: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """What is wrong is named as it was given, before anything is made."""
    with pytest.raises(ConfigurationError) as error:
        Tracker(**{"directory": tmp_path / "queue", **settings})
    assert told in str(error.value)
    assert not (tmp_path / "queue").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"api_key": ""}, "got an empty string; is its variable set?"),
        ({"api_key": "hidden-word\n"}, "Strip it; a trailing newline from a file"),
        ({"api_key": "hidden\u200bword"}, "got other characters; its value is not shown"),
        ({"api_key": None}, "got NoneType; give it as a string"),
        ({"advertiser_id": 12345}, "advertiser_id: expected a string, got int"),
        ({"base_url": "seller.example/api"}, "got one without a scheme"),
        ({"base_url": "ftp://seller.example"}, "got scheme 'ftp'"),
    ],
)
def test_a_wrong_destination_is_reported_without_its_secret(
    settings: dict[str, Any], told: str
) -> None:
    """What is wrong with a credential is said without a character of it."""
    with pytest.raises(ConfigurationError) as error:
        Interchange(**{**SHOP, **settings})
    assert told in str(error.value)
    assert "hidden" not in str(error.value)


def test_every_variable_is_explained() -> None:
    """The table that the documentation prints has a sentence for each."""
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)
    assert all(variable.meaning.endswith(".") for variable in VARIABLES)


def test_importing_the_library_loads_no_driver_and_no_framework() -> None:
    """A local queue pays nothing for the databases that others keep theirs in."""
    heavy = {
        "psycopg",
        "pymysql",
        "MySQLdb",
        "sqlalchemy",
        "django",
        "adcp_tracker.outbox.database",
    }
    code = f"import sys, adcp_tracker; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_where_there_is_only_an_outbox_no_journal_can_be_asked_for() -> None:
    """Whatever can't be done is said when the tracker is made."""
    outbox = _NoOutbox()
    assert not Settings(transactional_outbox=outbox).has_store
    with pytest.raises(ConfigurationError, match="expected a directory for 'journal', got none"):
        Settings(transactional_outbox=outbox, outside_transaction="journal")
    with pytest.raises(ConfigurationError, match="outside_transaction: expected 'journal' or"):
        Settings(transactional_outbox=outbox, outside_transaction="wait")  # type: ignore[arg-type]


def test_a_tracker_that_only_inserts_says_what_it_can_not_do() -> None:
    """It has no counts and no dead letters; whoever asks is told to name the queue."""
    tracker = Tracker(transactional_outbox=_NoOutbox())
    tracker.track_purchase({"id": "A-1", "total": 1, "currency": "EUR"})
    assert (tracker.stats().in_memory, tracker.flush().total().accepted) == (1, 1)
    with pytest.raises(OSError, match="only inserts into; set queue="):
        tracker.dead_letters.list()
    with pytest.raises(ConfigurationError, match="queue: expected the URL of the shop's"):
        tracker.privacy.erase(email="a@example.com")
    tracker.close()


class _NoOutbox:
    """An outbox without a transaction, whose database is away."""

    location = "the shop's database"

    def insert(self, pending: PendingRecord) -> bool:
        return not pending.record

    def commit(self, record: bytes, queue: int) -> None:
        raise ConnectionError(f"{len(record)} bytes for queue {queue}")

    def defer(self, write: Callable[[], None]) -> bool:
        return write is None
