"""Who asked: only what a trusted proxy wrote is believed, and only up to the first stranger."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.client_ip import (
    CLOUDFLARE_NETWORKS,
    ClientInfo,
    ProxyTrust,
    aws_alb,
    cloudflare,
    explain,
    fly,
    heroku,
    is_public,
)

SHOPPER = "8.8.8.8"
OTHER = "9.9.9.9"
PROXY = "10.0.0.1"
INSIDE = ProxyTrust(proxies=["10.0.0.0/8", "fd00::/8"])
FORWARDED = ProxyTrust(proxies=["10.0.0.0/8"], header="Forwarded")
XFF = "X-Forwarded-For"

HEADER_NAMES = st.sampled_from(
    [
        *[XFF, "Forwarded", "CF-Connecting-IP", "Fly-Client-IP", "X-Forwarded-Proto"],
        *["X-Forwarded-Host", "True-Client-IP", "X-Real-IP", "Host"],
    ]
)
ADDRESSES = st.ip_addresses().map(str)
VALUES = st.one_of(
    ADDRESSES,
    st.text(),
    ADDRESSES.map(lambda address: f'for="[{address}]";proto=https;host=evil.example'),
    st.lists(ADDRESSES).map(", ".join),
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, VALUES), max_size=6)
TRUSTS = st.sampled_from(
    [
        ProxyTrust(),
        INSIDE,
        FORWARDED,
        cloudflare(),
        cloudflare(["10.0.0.0/8"]),
        aws_alb(["10.0.0.0/8"]),
    ]
)


def origin(trust: ProxyTrust, peer: str | None, *headers: tuple[str, str]) -> ClientInfo:
    """Follow one request."""
    return explain(trust, peer, headers)


def client_ip(trust: ProxyTrust, peer: str | None, *lines: str, name: str = XFF) -> str | None:
    """Follow one request with these lines of one header."""
    return origin(trust, peer, *((name, line) for line in lines)).client_ip


def test_nothing_is_trusted_by_default() -> None:
    """Without configuration the peer is the client, whatever the headers say."""
    assert client_ip(ProxyTrust(), SHOPPER, OTHER) == SHOPPER
    assert client_ip(ProxyTrust(), PROXY, OTHER) is None


def test_a_private_peer_is_not_sent() -> None:
    """An address from inside the network is no shopper's."""
    assert client_ip(ProxyTrust(), "192.168.1.4") is None
    assert client_ip(ProxyTrust(), "") is None
    assert client_ip(ProxyTrust(), None) is None


def test_the_rightmost_untrusted_address_wins() -> None:
    """Trusted proxies are crossed, and whatever stands further left may be forged."""
    assert client_ip(INSIDE, PROXY, f"{OTHER}, {SHOPPER}, 10.9.9.9") == SHOPPER
    assert client_ip(INSIDE, PROXY, OTHER, SHOPPER, "10.9.9.9") == SHOPPER


def test_an_untrusted_peer_is_the_client() -> None:
    """A header that a stranger sends directly is not read."""
    assert client_ip(INSIDE, SHOPPER, OTHER) == SHOPPER


def test_a_mapped_peer_matches_a_network_of_ipv4() -> None:
    """A server that listens on IPv6 sees IPv4 proxies under a v4-mapped address."""
    assert client_ip(INSIDE, "::ffff:10.0.0.1", SHOPPER) == SHOPPER


@pytest.mark.parametrize("stranger", ["unknown", "_hidden", "<script>", "8.8.8", "192.168.0.7"])
def test_the_trail_ends_where_it_is_lost(stranger: str) -> None:
    """Behind an unknown or private hop nobody can be believed, so nobody is named."""
    assert client_ip(INSIDE, PROXY, f"{SHOPPER}, {stranger}") is None


def test_a_request_from_within_has_no_client() -> None:
    """Health checks come from the proxies themselves."""
    assert client_ip(INSIDE, PROXY, "10.1.1.1, 10.2.2.2") is None
    assert client_ip(INSIDE, PROXY) is None


def test_a_unix_socket_is_trusted_only_by_name() -> None:
    """A peer without address is a proxy where the site says that it listens on a socket."""
    assert client_ip(ProxyTrust(proxies=["unix"]), "", SHOPPER) == SHOPPER
    assert client_ip(ProxyTrust(proxies=["unix"]), None, SHOPPER) == SHOPPER
    assert client_ip(INSIDE, "", SHOPPER) is None
    assert client_ip(ProxyTrust(proxies=["unix"]), "garbage", SHOPPER) is None


@pytest.mark.parametrize(
    ("hops", "expected"), [(1, "1.1.1.1"), (2, SHOPPER), (3, OTHER), (4, None)]
)
def test_hops_count_from_the_right(hops: int, expected: str | None) -> None:
    """With n proxies the n-th entry from the right is the client; a shorter list has none."""
    header = f"{OTHER}, {SHOPPER}, 1.1.1.1"
    assert client_ip(ProxyTrust(hops=hops), PROXY, header) == expected
    assert client_ip(ProxyTrust(hops=hops), "", header) == expected


def test_hops_cross_entries_that_are_no_addresses() -> None:
    """Proxies may hide themselves; they count all the same."""
    assert client_ip(ProxyTrust(hops=2), PROXY, f"{SHOPPER}, _hidden") == SHOPPER


def test_forwarded_names_client_scheme_and_host() -> None:
    """One element of RFC 7239 tells all three, and only that of the outermost proxy counts."""
    found = origin(
        FORWARDED,
        PROXY,
        ("Forwarded", "for=9.9.9.9;proto=http;host=evil.example"),
        ("Forwarded", 'for="8.8.8.8:5000";proto=https;host=shop.example, for=10.0.0.3;proto=http'),
    )
    assert (found.client_ip, found.scheme, found.host) == (SHOPPER, "https", "shop.example")


def test_a_header_with_one_address_is_believed_from_a_trusted_peer_only() -> None:
    """A platform's own header is as forgeable as any other."""
    assert client_ip(cloudflare(), "173.245.48.9", SHOPPER, name="CF-Connecting-IP") == SHOPPER
    assert client_ip(cloudflare(), OTHER, SHOPPER, name="CF-Connecting-IP") == OTHER
    assert client_ip(ProxyTrust(), OTHER, SHOPPER, name="CF-Connecting-IP") == OTHER


def test_a_header_with_one_address_must_hold_one() -> None:
    """Two values are one too many: either may be the client's own invention."""
    trust = ProxyTrust(hops=1, header="X-Real-IP")
    assert client_ip(trust, PROXY, SHOPPER, OTHER, name="X-Real-IP") is None
    assert client_ip(trust, PROXY, f"{SHOPPER}, {OTHER}", name="X-Real-IP") is None
    assert client_ip(trust, PROXY, name="X-Real-IP") is None


def test_scheme_and_host_follow_the_same_trust() -> None:
    """A trusted proxy tells how the shopper addressed the site; a stranger tells nothing."""
    headers = ((XFF, SHOPPER), ("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "shop.example"))
    found = origin(INSIDE, PROXY, *headers)
    assert (found.scheme, found.host) == ("https", "shop.example")
    found = origin(INSIDE, OTHER, *headers)
    assert (found.scheme, found.host) == (None, None)


def test_scheme_and_host_are_taken_from_the_outermost_trusted_proxy() -> None:
    """Where each proxy appends, the value as far from the right as the client's address counts."""
    headers = (
        (XFF, f"{OTHER}, {SHOPPER}, 10.0.0.9"),
        ("X-Forwarded-Proto", "ftp, https, http"),
        ("X-Forwarded-Host", "evil.example, shop.example, inside"),
    )
    for trust in (INSIDE, ProxyTrust(hops=2)):
        found = origin(trust, PROXY, *headers)
        assert (found.client_ip, found.scheme, found.host) == (SHOPPER, "https", "shop.example")


@pytest.mark.parametrize(
    ("told", "scheme"), [("https", "https"), ("WSS", "https"), ("ws", "http"), ("javascript", None)]
)
def test_only_web_schemes_are_believed(told: str, scheme: str | None) -> None:
    """A page's URL is http or https."""
    found = origin(INSIDE, PROXY, (XFF, SHOPPER), ("X-Forwarded-Proto", told))
    assert found.scheme == scheme


def test_platforms_read_what_they_publish() -> None:
    """Each preset finds the client in the header that its platform sets."""
    assert client_ip(heroku(), "10.1.2.3", f"{OTHER}, {SHOPPER}") == SHOPPER
    assert client_ip(aws_alb(), "172.31.0.9", f"{OTHER}, {SHOPPER}:4711") == SHOPPER
    assert client_ip(aws_alb(["172.31.0.0/16"]), "172.31.0.9", f"{OTHER}, {SHOPPER}") == SHOPPER
    assert client_ip(aws_alb(["172.31.0.0/16"]), OTHER, SHOPPER) == OTHER
    assert client_ip(fly(), "172.16.0.2", SHOPPER, name="Fly-Client-IP") == SHOPPER
    assert client_ip(fly(), "172.16.0.2", OTHER) is None


def test_platforms_leave_the_host_to_the_request() -> None:
    """None of them sets X-Forwarded-Host, so it could only be the client's."""
    for trust in (heroku(), aws_alb(), fly(), cloudflare(["10.0.0.0/8"])):
        found = origin(trust, PROXY, (XFF, SHOPPER), ("X-Forwarded-Host", "evil.example"))
        assert found.host is None


def test_cloudflare_behind_an_own_proxy_is_checked_hop_by_hop() -> None:
    """A stranger who reaches the inner proxy past Cloudflare is seen as himself."""
    trust = cloudflare(["10.0.0.0/8"])
    assert client_ip(trust, PROXY, f"{OTHER}, {SHOPPER}, 173.245.48.9") == SHOPPER
    forged = ((XFF, f"{SHOPPER}, {OTHER}"), ("CF-Connecting-IP", SHOPPER))
    assert origin(trust, PROXY, *forged).client_ip == OTHER
    assert len(set(CLOUDFLARE_NETWORKS)) == len(CLOUDFLARE_NETWORKS)


WORKER = "2a06:98c0:3600::103"


@pytest.mark.parametrize("edge", ["173.245.48.9", "2400:cb00::7"])
def test_a_cdn_is_crossed_once(edge: str) -> None:
    """Other customers' programs inside it are no proxies, and what they wrote is not read."""
    trust = cloudflare(["10.0.0.0/8"])
    assert client_ip(trust, PROXY, f"{OTHER}, {SHOPPER}, {edge}, 10.0.0.2") == SHOPPER
    assert client_ip(trust, edge, f"{OTHER}, {SHOPPER}") == SHOPPER
    for forged in (f"{OTHER}, {WORKER}, {edge}, 10.0.0.2", f"{OTHER}, 172.64.0.9, {edge}"):
        found = origin(trust, PROXY, (XFF, forged))
        assert found.client_ip is None
        assert found.hops[-2].verdict == "the CDN itself"
    assert client_ip(trust, edge, f"{OTHER}, {WORKER}") is None


def test_a_cdns_own_address_is_no_shoppers() -> None:
    """What asks from within Cloudflare is a program, and its address would match nobody."""
    assert client_ip(cloudflare(), "173.245.48.9", WORKER, name="CF-Connecting-IP") is None
    assert client_ip(cloudflare(), "173.245.48.9", SHOPPER, name="CF-Connecting-IP") == SHOPPER


@pytest.mark.parametrize("trust", [heroku(), aws_alb(), aws_alb(["10.0.0.0/8"])])
def test_several_lines_are_not_guessed_at(trust: ProxyTrust) -> None:
    """Where a platform may have appended to the first line, the last is the client's alone."""
    assert client_ip(trust, PROXY, f"{OTHER}, {SHOPPER}") == SHOPPER
    assert client_ip(trust, PROXY, SHOPPER, OTHER) is None
    assert client_ip(trust, PROXY, f"{OTHER}, {SHOPPER}", OTHER) is None


def test_aws_writes_addresses_with_and_without_ports() -> None:
    """Both, in both families, as its page about headers shows them."""
    for text in ("2a00:1450::1", "[2a00:1450::1]:41405"):
        assert client_ip(aws_alb(), "172.31.0.9", f"{OTHER}, {text}") == "2a00:1450::1"
    assert client_ip(aws_alb(), "172.31.0.9", f"{OTHER}, {SHOPPER}:8080") == SHOPPER


@given(st.lists(ADDRESSES | st.text(), max_size=4), st.sampled_from(CLOUDFLARE_NETWORKS))
def test_nothing_left_of_a_cdns_entry_changes_the_result(claimed: list[str], edge: str) -> None:
    """Whatever a client tells Cloudflare, its own address is appended and wins, or nobody does."""
    address, trust = str(ip_network(edge)[9]), cloudflare(["10.0.0.0/8"])
    claim = ", ".join(claimed)
    assert client_ip(trust, PROXY, f"{claim}, {SHOPPER}, {address}") == SHOPPER
    assert client_ip(trust, PROXY, f"{claim}, {WORKER}, {address}") is None
    assert client_ip(trust, address, f"{claim}, {SHOPPER}") == SHOPPER


@given(
    st.lists(ADDRESSES | st.text(), max_size=4),
    st.lists(ADDRESSES, min_size=1, max_size=3),
    st.sampled_from([heroku(), aws_alb(), aws_alb(["10.0.0.0/8"])]),
)
def test_nothing_left_of_a_routers_entry_changes_the_result(
    claimed: list[str], lines: list[str], trust: ProxyTrust
) -> None:
    """In one line the router's own entry wins; in several, nothing that a client may have sent."""
    line = ", ".join([*claimed, SHOPPER])
    assert client_ip(trust, PROXY, line) == SHOPPER
    assert client_ip(trust, PROXY, line, *lines) is None


def test_explain_names_each_hop_and_its_verdict() -> None:
    """A person can follow the way from the socket to the verdict, and past it."""
    found = explain(INSIDE, PROXY, [("x-forwarded-for", f"junk, {OTHER}, {SHOPPER}, 10.0.0.2")])
    assert [(hop.source, hop.text, hop.verdict) for hop in found.hops] == [
        ("peer", PROXY, "trusted proxy"),
        (XFF, "10.0.0.2", "trusted proxy"),
        (XFF, SHOPPER, "client"),
        (XFF, OTHER, "not read"),
        (XFF, "junk", "not read"),
    ]
    assert explain(INSIDE, "192.168.0.1", []).hops[0].verdict == "not public"
    assert explain(INSIDE, "what", []).hops[0].verdict == "not an address"


@given(TRUSTS, st.one_of(ADDRESSES, st.text()), HEADERS)
def test_explaining_changes_no_result(
    trust: ProxyTrust, peer: str, headers: list[tuple[str, str]]
) -> None:
    """What a request resolves to doesn't depend on whether its hops are collected."""
    explained = explain(trust, peer, headers)
    resolved = trust.resolve(
        peer, lambda wanted: [value for name, value in headers if name.lower() == wanted.lower()]
    )
    assert resolved == attrs.evolve(explained, hops=())


@given(st.ip_addresses(v=4))
def test_the_quick_look_at_an_address_agrees_with_the_registry(address: IPv4Address) -> None:
    """Skipping the list of special networks never makes one of their addresses public."""
    assert is_public(address) == (address.is_global and not address.is_multicast)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proxies": ["10.0.0.0/8", "nginx"]}, r"trusted_proxies\[1\].*got 'nginx'"),
        ({"proxies": ["10.0.0.1/8"]}, r"trusted_proxies\[0\]"),
        ({"proxies": ["0.0.0.0/0"]}, "every address"),
        ({"proxies": ["*"]}, "trusted_hops"),
        ({"hops": -1}, "trusted_hops"),
        ({"hops": True}, "trusted_hops"),
        ({"hops": 1, "proxies": ["10.0.0.0/8"]}, "got both"),
        ({"header": ""}, "ip_header"),
        ({"header": "HTTP_X_FORWARDED_FOR"}, "ip_header"),
    ],
)
def test_a_wrong_setting_says_which_and_why(options: dict[str, object], message: str) -> None:
    """Trust is not guessed: what cannot be meant is refused with its name and remedy."""
    with pytest.raises(ConfigurationError, match=message):
        ProxyTrust(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_a_single_string_of_proxies_is_refused() -> None:
    """A list was meant; character by character it would be nonsense."""
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        ProxyTrust(proxies="10.0.0.0/8")


def test_platforms_without_own_proxies_refuse_them() -> None:
    """Heroku and Fly leave no room for a proxy of the site's own."""
    with pytest.raises(ConfigurationError, match="fly"):
        fly(["10.0.0.0/8"])


@given(TRUSTS, st.sampled_from([SHOPPER, OTHER, "2a00:1450::1", "192.168.1.1", "", "x"]), HEADERS)
def test_no_header_changes_the_result_of_an_untrusted_peer(
    trust: ProxyTrust, peer: str, headers: list[tuple[str, str]]
) -> None:
    """Whatever a stranger sends, the outcome is that of sending nothing."""
    assert explain(trust, peer, headers) == explain(trust, peer, [])


@given(HEADERS, st.sampled_from([INSIDE, FORWARDED, ProxyTrust(hops=1)]))
def test_nothing_left_of_the_proxys_own_entry_changes_the_result(
    headers: list[tuple[str, str]], trust: ProxyTrust
) -> None:
    """A proxy appends, so what the client sent before it never counts."""
    appended = [(XFF, SHOPPER), ("Forwarded", f"for={SHOPPER}")]
    assert explain(trust, PROXY, [*headers, *appended]).client_ip == SHOPPER


@given(
    st.text(),
    HEADERS,
    st.sampled_from([INSIDE, FORWARDED, cloudflare(), fly(), ProxyTrust(hops=3)]),
)
def test_following_never_raises(
    peer: str, headers: list[tuple[str, str]], trust: ProxyTrust
) -> None:
    """No request is broken by what its headers hold, and only public addresses come out."""
    for address in (peer, PROXY):
        found = explain(trust, address, headers)
        assert found.client_ip is None or len(found.client_ip) <= 45
