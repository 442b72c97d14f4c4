"""Context tokens: what is stored with an order comes back whole, or not at all."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.context import Automated, Consent, RequestContext
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.privacy.context_store import MAX_CHARACTERS, TokenReading, TokenSigner

KEY = "0123456789abcdef-current"
OLD_KEY = b"0123456789abcdef-former"
SHOPPER = RequestContext(
    client_ip="2a00:1450:4001:830::200e",
    client_user_agent=(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36"
    ),
    event_source_url="https://www.shop.example/checkout/thanks?utm_source=mail&gclid=Cj0KCQjw-x",
    click_id="Cj0KCQjwvIWgBhAHEiwAbZ2fKqvKpEYmYnLZrnNZ9cX7h8b1cK2s3XxW1oQJ9m0Z5p8aBcDeFgH",
    click_id_type="gclid",
    consent=Consent.GRANTED,
)
OPTIONAL_TEXT = st.none() | st.text(max_size=512)
AUTOMATED: list[Automated | None] = [None, "crawler", "link_preview", "prefetch"]
CONTEXTS = st.builds(
    RequestContext,
    client_ip=OPTIONAL_TEXT,
    client_user_agent=OPTIONAL_TEXT,
    event_source_url=OPTIONAL_TEXT,
    click_id=OPTIONAL_TEXT,
    click_id_type=OPTIONAL_TEXT,
    consent=st.sampled_from(Consent),
    automated=st.sampled_from(AUTOMATED),
)


@attrs.define
class SetClock:
    """A clock that shows what it is set to."""

    seconds: float = 1_800_000_000.0

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self.seconds

    def monotonic(self) -> float:
        """Return the same."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.seconds += seconds


TOKENS = TokenSigner([KEY])
TOKEN = TOKENS.issue(SHOPPER)


@given(CONTEXTS)
def test_a_context_survives_its_token(context: RequestContext) -> None:
    """Everything comes back, consent included, whatever the browser had sent."""
    token = TOKENS.issue(context)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    assert TOKENS.read(token) == TokenReading(context)


def test_a_token_is_small() -> None:
    """It fits beside an order, even where a field may hold 500 characters."""
    assert len(TOKEN) < 300
    assert len(TOKENS.issue(RequestContext())) < 60


def test_a_token_expires() -> None:
    """After its time it restores nothing, to the second."""
    clock = SetClock()
    tokens = TokenSigner(KEY, max_age_seconds=60, clock=clock)
    token = tokens.issue(SHOPPER)
    clock.sleep(59)
    assert tokens.read(token).context == SHOPPER
    clock.sleep(1)
    assert tokens.read(token) == TokenReading(fault="expired")


def test_keys_can_be_rotated() -> None:
    """Tokens of a former key are read, and new ones are signed with the first."""
    former = TokenSigner([OLD_KEY]).issue(SHOPPER)
    both = TokenSigner([KEY, OLD_KEY])
    assert both.read(former).context == SHOPPER
    assert TOKENS.read(both.issue(SHOPPER)).context == SHOPPER
    assert TOKENS.read(former) == TokenReading(fault="bad_signature")


def test_text_and_bytes_are_the_same_key() -> None:
    """It does not matter how the key was configured."""
    assert TokenSigner(KEY.encode()).read(TOKEN).context == SHOPPER


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("AZaz09-_."))
def test_no_character_can_be_changed(position: int, character: str) -> None:
    """Whatever is altered, nothing is restored."""
    altered = TOKEN[:position] + character + TOKEN[position + 1 :]
    assert altered == TOKEN or TOKENS.read(altered).context is None


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        (None, "malformed"),
        (b"c1.abc", "malformed"),
        ("", "malformed"),
        ("c1", "malformed"),
        ("c1.", "malformed"),
        ("c1.abc", "malformed"),
        ("c1.!!!!", "malformed"),
        ("c1.\u00e9\u00e9\u00e9\u00e9", "malformed"),
        ("c1." + "A" * 10_000, "malformed"),
        ("c1." + "A" * 40, "bad_signature"),
        (TOKEN + "=", "malformed"),
        (TOKEN[:3] + TOKEN[7:], "bad_signature"),
        ("c2" + TOKEN[2:], "unsupported_version"),
    ],
)
def test_what_is_no_token_says_why(token: object, fault: str) -> None:
    """The reason is told, and nothing is raised into a checkout."""
    assert TOKENS.read(token) == TokenReading(fault=fault)  # type: ignore[arg-type]  # one of the literals


@given(st.text() | st.text(alphabet="c1.AZaz09-_=").map("c1.".__add__))
def test_reading_never_raises(text: str) -> None:
    """Any text may have been stored."""
    assert TOKENS.read(text).context is None


@pytest.mark.parametrize("keys", [[], "", "short", [KEY, "short"], [b"x" * 15]])
def test_weak_keys_are_refused(keys: list[str | bytes]) -> None:
    """A key that could be guessed is none; its length is told and it is not."""
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as raised:
        TokenSigner(keys)
    assert "short" not in str(raised.value)


def test_repr_shows_no_key() -> None:
    """Neither the key nor what is derived from it can be logged by accident."""
    assert repr(TOKENS) == "TokenSigner(max_age_seconds=2592000)"


def test_an_older_token_can_still_be_read() -> None:
    """The format is stable: tokens wait in databases while the library is upgraded."""
    stored = (
        "c1.eNXvlNi_nUWVsE4TfcNn6os2tDAwMrUERr2BjpJRooGBlaGJqYGVCTApWFkYG1hZGRkYpNLSfUZmB"
        "FwISszFGfkFeqkViaDUj5YvipEzUm5iZo4aJPs4Zxl4OwdmletWAM2Ccco8w9OdMhw9XDPLHZOijNK8C"
        "8u8C1wjcyPzfKKK8vyiLJMjzDMskgyTvY2KjSMqwg3zA70scw2iTAssEp2SXVLd0j2ApkFytw5a0QEA"
    )
    tokens = TokenSigner(KEY, clock=SetClock(1_800_000_000.0))
    assert tokens.read(stored).context == SHOPPER


@given(
    st.sampled_from(["client_ip", "client_user_agent", "event_source_url", "click_id"]),
    st.integers(0, 60_000),
    st.text(min_size=1, max_size=40),
)
def test_a_context_of_any_length_makes_a_token_that_can_be_read(
    field: str, times: int, text: str
) -> None:
    """A text that no browser sends is left out; consent never is."""
    context = RequestContext(**{field: text * times}, consent=Consent.GRANTED)  # type: ignore[arg-type]  # by name
    token = TOKENS.issue(context)
    assert len(token) <= MAX_CHARACTERS
    read = TOKENS.read(token).context
    assert read is not None
    assert getattr(read, field) in {text * times, None}
    assert read.consent is Consent.GRANTED


@given(CONTEXTS, st.binary(max_size=400))
def test_no_token_can_be_forged_without_the_key(context: RequestContext, body: bytes) -> None:
    """Not from another tenant's token, not from a body of one's own, not by leaving parts out."""
    theirs = TokenSigner(["the key of another tenant"]).issue(context)
    assert TOKENS.read(theirs) == TokenReading(fault="bad_signature")
    for forged in (b"", b"\0" * 16, bytes(16)):
        encoded = urlsafe_b64encode(forged + body).decode().rstrip("=")
        assert TOKENS.read(f"c1.{encoded}").context is None
    assert TOKENS.read(TOKEN[: len(TOKEN) // 2]).context is None
    assert TOKENS.read(TOKEN + theirs[3:]).context is None


def test_a_replayed_token_says_no_more_than_the_first_time() -> None:
    """It restores the shopper it was made of, for whichever order, and only until it expires."""
    clock = SetClock()
    tokens = TokenSigner(KEY, clock=clock)
    token = tokens.issue(SHOPPER)
    assert [tokens.read(token).context for _ in range(3)] == [SHOPPER] * 3
    clock.sleep(30 * 86_400)
    assert tokens.read(token) == TokenReading(fault="expired")
