"""Settings of the capture: checked by name, and divided from a framework's other options."""

from __future__ import annotations

import inspect

import attrs
import pytest

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.client_ip import PLATFORMS, ProxyTrust, cloudflare
from adcp_tracker.web.options import CAPTURE_OPTIONS, CaptureSettings, take_settings


def test_nothing_is_trusted_and_nobody_asked_by_default() -> None:
    """What could be wrong about a site is not assumed."""
    settings = CaptureSettings()
    assert settings.proxy_trust() == ProxyTrust()
    assert settings.consent is None
    assert settings.honour_gpc
    assert settings.consent_unanswered == "denied"


def test_proxies_are_taken_over() -> None:
    """Each setting about proxies ends where it belongs."""
    settings = CaptureSettings(
        trusted_proxies=["10.0.0.0/8"],
        ip_header="X-Real-IP",
        proto_header="X-Scheme",
        host_header=None,
    )
    assert settings.proxy_trust() == ProxyTrust(
        proxies=["10.0.0.0/8"], header="X-Real-IP", proto_header="X-Scheme", host_header=None
    )
    assert CaptureSettings(trusted_hops=2).proxy_trust().hops == 2


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
def test_a_platform_sets_what_it_needs(platform: str) -> None:
    """A name is enough."""
    assert CaptureSettings(platform=platform).proxy_trust() == PLATFORMS[platform](())


def test_a_platform_takes_the_sites_own_proxies() -> None:
    """They stand between the platform and the application."""
    settings = CaptureSettings(platform="cloudflare", trusted_proxies=["10.0.0.0/8"])
    assert settings.proxy_trust() == cloudflare(["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"platform": "clodflare"}, "platform: expected one of aws_alb, cloudflare"),
        ({"platform": "heroku", "trusted_hops": 2}, "trusted_hops: can't be combined"),
        ({"platform": "fly", "trusted_proxies": ["::1"]}, "trusted_proxies: expected none"),
    ],
)
def test_contradictions_about_proxies_are_refused(options: dict[str, object], message: str) -> None:
    """Two settings that cannot both hold are said, with both names."""
    with pytest.raises(ConfigurationError, match=message):
        take_settings(options)[0].proxy_trust()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_proxies", "10.0.0.0/8"),
        ("trusted_proxies", 1),
        ("query_allow", [1]),
        ("click_ids", "gclid"),
        ("honour_gpc", "no"),
        ("detect_automation", None),
        ("ip_header", None),
        ("platform", 1),
        ("click_cookie", False),
        ("click_cookie_secure", "yes"),
        ("click_cookie_secure", []),
        ("consent_unanswered", "unknown"),
        ("consent_unanswered", []),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused_by_name(name: str, value: object) -> None:
    """Settings come from files and dictionaries, so their types are checked."""
    with pytest.raises(ConfigurationError, match=f"^{name}: expected .* got"):
        take_settings({name: value})


def test_options_are_divided() -> None:
    """A framework hands in all its options; what is not meant here comes back."""
    settings, others = take_settings({"trusted_hops": 1, "directory": "queue", "consent": None})
    assert settings == CaptureSettings(trusted_hops=1)
    assert others == {"directory": "queue"}


def test_every_setting_is_documented() -> None:
    """No setting is there that its class does not explain."""
    documented = inspect.getdoc(CaptureSettings) or ""
    for field in attrs.fields(CaptureSettings):
        assert f"\n    {field.name}: " in documented
        assert field.name in CAPTURE_OPTIONS
