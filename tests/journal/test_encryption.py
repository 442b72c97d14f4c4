"""The cipher at rest: what it seals, only its keys open, and only where it was sealed."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.encryption import Encryption
from adcp_tracker.journal.records import (
    ENCRYPTED_DEAD_LETTER,
    ENCRYPTED_ENVELOPED,
    ENCRYPTED_EVENT,
    ENVELOPED,
    EVENT,
    HEADER_BYTES,
    UNDECRYPTED,
    Record,
    encode_record,
    key_id_of,
    parse,
)

NOW_MS = 1_767_225_600_123
KEY, OTHER = b"k" * 32, b"o" * 32
BODY = b'{"event_id":"A-1","event_type":"purchase"}'
_NONCE = slice(32, 48)


def sealed(encryption: Encryption, body: bytes = BODY, kind: bytes = ENCRYPTED_EVENT) -> bytes:
    """Return a whole sealed record."""
    return encode_record(encryption.encrypt(body, NOW_MS, kind), NOW_MS, kind)


@pytest.fixture(scope="module")
def encryption() -> Encryption:
    """Return what seals with one key."""
    return Encryption([KEY])


@given(body=st.binary(max_size=2000), accepted_ms=st.integers(0, 9_999_999_999_999))
def test_what_is_encrypted_is_decrypted_again(
    encryption: Encryption, body: bytes, accepted_ms: int
) -> None:
    """Any body comes back as it was, and stays one line with one tab on its way."""
    for kind, opened in ((ENCRYPTED_EVENT, EVENT), (ENCRYPTED_ENVELOPED, ENVELOPED)):
        line = encode_record(encryption.encrypt(body, accepted_ms, kind), accepted_ms, kind)
        assert (line.count(b"\n"), line.count(b"\t")) == (1, 1)
        record = Record(7, 7 + len(line), opened, body, accepted_ms)
        assert encryption.parse(line, 7) == ([record], [])


def test_what_is_encrypted_tells_nothing(encryption: Encryption) -> None:
    """The same event sealed twice has nothing in common but its header and its key's name."""
    one, two = sealed(encryption), sealed(encryption)
    assert b"A-1" not in one
    assert one[HEADER_BYTES:][_NONCE] != two[HEADER_BYTES:][_NONCE]
    assert BODY not in base64.b64decode(one[HEADER_BYTES + 32 :])


def test_another_key_opens_nothing_and_damages_nothing(encryption: Encryption) -> None:
    """A record of a key that is not given is read as it stands, with that key's name."""
    line = sealed(encryption)
    for found, damages in (Encryption([OTHER]).parse(line), parse(line)):
        (record,) = found
        assert (record.kind in UNDECRYPTED, damages) == (True, [])
        assert key_id_of(record) == key_id_of(parse(sealed(encryption))[0][0]) != "unknown"


def test_the_first_key_encrypts_and_all_of_them_decrypt(encryption: Encryption) -> None:
    """Keys are rotated by putting a new one in front."""
    both = Encryption([OTHER, KEY])
    records, _ = both.parse(sealed(encryption) + sealed(both))
    assert [record.body for record in records] == [BODY, BODY]
    (record,) = parse(sealed(both))[0]
    assert key_id_of(record) == key_id_of(parse(sealed(Encryption(OTHER)))[0][0])


def _reframed(line: bytes, body: bytes, accepted_ms: int = NOW_MS, kind: bytes = b"C") -> bytes:
    assert line != encode_record(body, accepted_ms, kind)
    return encode_record(body, accepted_ms, kind)


def test_a_changed_record_is_damage_whatever_was_changed(encryption: Encryption) -> None:
    """Its text, its time and its kind are held together, even under a right checksum."""
    line = sealed(encryption)
    body = line[HEADER_BYTES:-1]
    late = bytearray(body)
    late[60] = ord("A") if late[60] != ord("A") else ord("B")
    forged = [
        _reframed(line, bytes(late)),
        _reframed(line, body[:-8]),
        _reframed(line, body[:40]),
        _reframed(line, body[:32]),
        _reframed(line, b"no head at all"),
        _reframed(line, body, NOW_MS + 1),
        _reframed(line, body, kind=ENCRYPTED_ENVELOPED),
        _reframed(line, body[:31] + b"!" + body[32:]),
    ]
    for each in forged:
        records, (damage,) = encryption.parse(each, 100)
        assert (records, damage.start, damage.data) == ([], 100, each[:-1])


def test_every_flipped_bit_is_found(encryption: Encryption) -> None:
    """Nothing is ever opened out of a record that is not as it was written."""
    line = sealed(encryption)
    for place in range(len(line) - 1):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[place] ^= 1 << bit
            records, _ = encryption.parse(bytes(flipped))
            assert [each for each in records if each.kind == EVENT] == []


@given(
    body=st.binary(max_size=40),
    place=st.integers(0, 200),
    noise=st.binary(min_size=1, max_size=4).filter(lambda text: not set(text) & set(b"\n\t")),
)
def test_a_body_has_one_spelling(
    encryption: Encryption, body: bytes, place: int, noise: bytes
) -> None:
    """Base64 with other bits at its end, or with anything in between, is damage."""
    text = sealed(encryption, body)[HEADER_BYTES:-1]
    place = 32 + place % (len(text) - 31)
    alphabet = base64.b64encode(bytes(range(256))) + b"+/"
    end = len(text.rstrip(b"=")) - 1
    others = [text[:place] + noise + text[place:], text + b"=", text.rstrip(b"=") + b"===="]
    others += [text[:end] + bytes([letter]) + text[end + 1 :] for letter in set(alphabet)]
    for other in set(others) - {text}:
        assert encryption.parse(encode_record(other, NOW_MS, ENCRYPTED_EVENT))[0] == []
    assert encryption.parse(encode_record(text, NOW_MS, ENCRYPTED_EVENT))[0][0].body == body


def test_the_bodies_of_two_records_cannot_be_swapped(encryption: Encryption) -> None:
    """A body is bound to the time in its own header."""
    one = encode_record(encryption.encrypt(b"one", NOW_MS, b"C"), NOW_MS, b"C")
    two = encode_record(encryption.encrypt(b"two", NOW_MS + 5, b"C"), NOW_MS + 5, b"C")
    swapped = encode_record(two[HEADER_BYTES:-1], NOW_MS, b"C") + encode_record(
        one[HEADER_BYTES:-1], NOW_MS + 5, b"C"
    )
    assert [record.body for record in encryption.parse(one + two)[0]] == [b"one", b"two"]
    records, damages = encryption.parse(swapped)
    assert (records, len(damages)) == ([], 2)


def test_a_dead_letter_is_no_event_and_an_event_no_dead_letter(encryption: Encryption) -> None:
    """What was sealed as one is not opened as the other, wherever it is put."""
    letter, event = sealed(encryption, kind=ENCRYPTED_DEAD_LETTER), sealed(encryption)
    assert encryption.parse_dead_letters(letter)[0][0].body == BODY
    assert encryption.parse(letter)[0][0].kind == ENCRYPTED_DEAD_LETTER
    assert encryption.parse_dead_letters(event)[0][0].kind == ENCRYPTED_EVENT
    moved = encode_record(letter[HEADER_BYTES:-1], NOW_MS, ENCRYPTED_ENVELOPED)
    assert encryption.parse(moved)[0] == []


def _heads_in_child(encryption: Encryption, count: int) -> list[bytes]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in another process
        bodies = [encryption.encrypt(BODY, NOW_MS, ENCRYPTED_EVENT)[:48] for _ in range(count)]
        os.write(writing, b"\n".join(bodies))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        heads = file.read().split(b"\n")
    assert os.waitpid(child, 0)[1] == 0
    return heads


def test_a_child_shares_neither_nonces_nor_salt_with_its_parent() -> None:
    """Nonces drawn before a fork are not used on both sides of it."""
    encryption = Encryption([KEY])
    first = encryption.encrypt(BODY, NOW_MS, ENCRYPTED_EVENT)[:48]  # draws nonces ahead
    children = _heads_in_child(encryption, 50) + _heads_in_child(encryption, 50)
    own = [first] + [encryption.encrypt(BODY, NOW_MS, ENCRYPTED_EVENT)[:48] for _ in range(50)]
    salts = [{head[9:31] for head in heads} for heads in (own, children[:50], children[50:])]
    assert [len(each) for each in salts] == [1, 1, 1]
    assert len(set.union(*salts)) == 3
    assert len({head[_NONCE] for head in own + children}) == 151


def test_a_new_salt_is_taken_before_nonces_could_meet() -> None:
    """However long a process lives, no more than a bounded number is sealed with one salt."""
    encryption = Encryption([KEY])
    encryption.nonces_per_salt = 1024
    heads = [encryption.encrypt(b"", NOW_MS, ENCRYPTED_EVENT)[:48] for _ in range(3000)]
    assert len({head[9:31] for head in heads}) == 3
    assert len({head[_NONCE] for head in heads}) == 3000


@pytest.mark.parametrize("spelling", ["urlsafe", "unpadded", "bytes", "spaced"])
def test_a_key_may_be_bytes_or_text(spelling: str) -> None:
    """Each spelling of the same 32 bytes is the same key."""
    raw = bytes(range(220, 252))
    text = base64.urlsafe_b64encode(raw).decode()
    assert "_" in text or "-" in text
    spellings: dict[str, str | bytes] = {
        "urlsafe": text,
        "unpadded": text.rstrip("="),
        "bytes": raw,
        "spaced": f" {text}\n",
    }
    opened, _ = Encryption(spellings[spelling]).parse(sealed(Encryption([raw])))
    assert opened[0].body == BODY


@pytest.mark.parametrize(
    "key",
    ["", "secret-word", "s" * 43 + "!", base64.urlsafe_b64encode(b"s" * 31).decode(), b"s" * 31, 7],
)
def test_anything_else_is_refused_without_being_shown(key: object) -> None:
    """The error says which key, what is expected and how to make one."""
    with pytest.raises(ConfigurationError) as caught:
        Encryption([KEY, key])  # type: ignore[list-item]  # as a site might
    message = str(caught.value)
    assert "encryption_keys[1]: expected 32 bytes" in message
    assert "python -c" in message
    assert "secret-word" not in message
    assert "sss" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_key_at_all_is_refused() -> None:
    """Nothing is sealed with nothing."""
    with pytest.raises(ConfigurationError, match="expected a key"):
        Encryption([])


def test_nothing_shows_a_key() -> None:
    """Neither the cipher nor whatever holds it has a key in its repr."""
    shown = repr(Encryption([KEY]))
    assert "kkk" not in shown
    assert base64.urlsafe_b64encode(KEY).decode()[:8] not in shown


def test_the_package_is_asked_for_only_where_there_is_a_key(tmp_path: object) -> None:
    """Without it a plain tracker works, and one with keys says what to install."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from adcp_tracker import ConfigurationError, Tracker\n"
        "Tracker([], directory=sys.argv[1]).close()\n"
        "try: Tracker([], directory=sys.argv[1], encryption_keys=[b'k' * 32])\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/queue"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "adcp-tracker[encryption]" in done.stdout
