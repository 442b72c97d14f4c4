"""What well-known platforms in front of a site do to its requests, as they publish it.

Each function returns the :class:`~adcp_tracker.web.clientip.ProxyTrust` that fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.clientip import ProxyTrust

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLOUDFLARE_NETWORKS_DATE = "2023-09-28"
"""When Cloudflare last changed the lists at https://www.cloudflare.com/ips/."""

CLOUDFLARE_NETWORKS = (
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
)


def cloudflare(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust Cloudflare's edge, and the site's own proxies behind it.

    The edge overwrites ``CF-Connecting-IP``, which is enough where it is the peer.
    Behind a further proxy that header could be anyone's, so there each hop of
    ``X-Forwarded-For`` is checked, to which the edge appends. It is crossed once: programs
    of Cloudflare's other customers send from 2a06:98c0:3600::103, and whatever they wrote
    to its left is their own invention.

    Source: https://developers.cloudflare.com/fundamentals/reference/http-headers/

    Args:
        own: Networks of proxies between Cloudflare and the application.
    """
    return ProxyTrust(
        proxies=own,
        edges=CLOUDFLARE_NETWORKS,
        header="X-Forwarded-For" if own else "CF-Connecting-IP",
        host_header=None,
    )


def aws_alb(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust an AWS Application Load Balancer in its default mode, ``append``.

    In the mode ``preserve`` the header is the client's alone, and this must not be used;
    in the mode ``remove`` there is none. The port that ``xff_client_port`` adds is left out.

    Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html

    Args:
        own: The balancer's subnets. Without them the nearest proxy is believed whatever
            its address, so the security group must let in nobody but the balancer.
    """
    return ProxyTrust(proxies=own, hops=0 if own else 1, host_header=None, one_line=True)


def heroku(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust Heroku's router: it alone reaches a dyno, and appends to ``X-Forwarded-For``.

    Router 2.0 appends where the list ends. The legacy one, which the Common Runtime gave up
    in 2025, appended to the first of several lines, so that the last was the client's alone.

    Sources: https://devcenter.heroku.com/articles/http-routing and
    https://github.com/heroku/roadmap/issues/238
    """
    _refuse("heroku", own)
    return ProxyTrust(hops=1, host_header=None, one_line=True)


def fly(own: Sequence[str] = ()) -> ProxyTrust:
    """Trust Fly's proxy: it alone reaches a service, and sets ``Fly-Client-IP``.

    Its ``X-Forwarded-For`` ends in an address of the application's own.

    Source: https://fly.io/docs/networking/request-headers/
    """
    _refuse("fly", own)
    return ProxyTrust(hops=1, header="Fly-Client-IP", host_header=None)


def _refuse(platform: str, own: Sequence[str]) -> None:
    if own:
        raise ConfigurationError(
            f"trusted_proxies: expected none with platform={platform!r}, got {len(own)}; "
            "for a chain of proxies leave the platform out and set trusted_hops and ip_header"
        )


PLATFORMS: dict[str, Callable[[Sequence[str]], ProxyTrust]] = {
    "aws_alb": aws_alb,
    "cloudflare": cloudflare,
    "fly": fly,
    "heroku": heroku,
}
"""Presets by the name a setting takes."""
