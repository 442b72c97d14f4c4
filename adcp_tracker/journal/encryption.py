"""Encryption at rest (extra)."""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import TYPE_CHECKING, Any, Final

from adcp_tracker._formatting import as_tuple
from adcp_tracker._process import fork_detector
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal import records as plain
from adcp_tracker.journal.records import (
    ENCRYPTED_DEAD_LETTER,
    ENCRYPTED_ENVELOPED,
    ENCRYPTED_EVENT,
    ENVELOPED,
    EVENT,
    CorruptSpan,
    Record,
    encode_record,
)
from adcp_tracker.journal.writer import JournalWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from adcp_tracker.journal.files import QueueDirectory


def encryption_from_keys(keys: Sequence[str | bytes]) -> Encryption | None:
    """Return the encryption with these keys, or ``None`` without keys.

    Raises:
        ConfigurationError: If one is no key, or the package ``cryptography`` is missing.
    """
    return Encryption(keys) if keys else None


ENCRYPTED: Final = {EVENT: ENCRYPTED_EVENT, ENVELOPED: ENCRYPTED_ENVELOPED}
"""What kind a record of a segment becomes when it is encrypted."""

_IN_SEGMENTS: Final = {encrypted: plain for plain, encrypted in ENCRYPTED.items()}
_IN_DEAD_LETTERS: Final = {ENCRYPTED_DEAD_LETTER: ENVELOPED}
_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 6
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 32
_HEAD: Final = re.compile(rb"([A-Za-z0-9_-]{8})\.[A-Za-z0-9_-]{22}\.")
_LAST: Final = {1: b"AQgw", 2: b"AEIMQUYcgkosw048"}  # by how many bytes are left of three
_BOUND_FROM, _BOUND_TO = 9, 24
_NONCES_DRAWN: Final = 512
_MAX_CIPHERS: Final = 256
_INFO: Final = b"adcp_tracker records at rest"
_ID_INFO: Final = b"adcp_tracker key id"
_COMMAND: Final = (
    "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)


class Encryption:
    """Encrypts with its first key, and decrypts with all of its keys.

    Args:
        keys: Keys of 32 bytes, as bytes or as URL-safe base64.

    Raises:
        ConfigurationError: If one is none, or the package ``cryptography`` is missing.

    Attributes:
        nonces_per_salt: How many records are encrypted with one salt, about.
    """

    nonces_per_salt = 1 << 24

    def __init__(self, keys: str | bytes | Sequence[str | bytes]) -> None:
        self._decryption_error = _invalid_tag()
        decoded = _decoded(keys)
        self._keys = {_key_id(key): key for key in decoded}
        self._first = _key_id(decoded[0])
        self._ciphers: dict[bytes, AESGCM] = {}
        self._new_salt()

    def _new_salt(self) -> None:
        """Choose a new salt and drop nonces, so that no process shares them."""
        salt = base64.urlsafe_b64encode(os.urandom(_SALT_BYTES)).rstrip(b"=")
        head = b"%b.%b." % (self._first, salt)
        self._drawn = 0
        self._nonces: list[bytes] = []
        self._writing = head, self._derive_cipher(head).encrypt
        self._mark = fork_detector()  # last, so that no other thread goes on with what it was

    def encrypt(self, body: bytes, accepted_ms: int, kind: bytes) -> bytes:
        """Return the body of an encrypted record.

        Args:
            body: What to encrypt.
            accepted_ms: The record's time.
            kind: The record's kind, as it will stand in its header.
        """
        if not self._mark[0]:
            self._new_salt()
        try:
            nonce = self._nonces.pop()
        except IndexError:
            nonce = self._draw()
        head, encrypt = self._writing
        encrypted = encrypt(nonce, body, b"%013d %b" % (accepted_ms, kind))
        return head + binascii.b2a_base64(nonce + encrypted, newline=False)

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept; encrypted once is enough."""
        encrypted = ENCRYPTED.get(kind)
        if encrypted is None:
            return body, kind
        return self.encrypt(body, accepted_ms, encrypted), encrypted

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what :meth:`encode_for_disk` returned."""
        return self.parse(encode_record(body, accepted_ms, kind))[0][0]

    def parse(self, data: bytes, start: int = 0) -> tuple[list[Record], list[CorruptSpan]]:
        """Parse a segment as :func:`.records.parse` does, decrypted.

        What was encrypted with a key that is not given keeps its kind.
        Bytes that the key can't have encrypted there are damage.
        """
        return self._parse(data, start, _IN_SEGMENTS)

    def parse_dead_letters(
        self, data: bytes, start: int = 0
    ) -> tuple[list[Record], list[CorruptSpan]]:
        """Parse dead letters, decrypted."""
        return self._parse(data, start, _IN_DEAD_LETTERS)

    def _parse(
        self, data: bytes, start: int, kinds: Mapping[bytes, bytes]
    ) -> tuple[list[Record], list[CorruptSpan]]:
        found, damages = plain.parse(data, start)
        records: list[Record] = []
        for record in found:
            kind = kinds.get(record.kind)
            if kind is None:
                records.append(record)
                continue
            place = record.start - start
            opened = self._decrypt(record, kind, data[place + _BOUND_FROM : place + _BOUND_TO])
            if opened is None:
                stop = record.stop - start - 1
                damages.append(CorruptSpan(record.start, data[place:stop]))
            else:
                records.append(opened)
        return records, damages

    def _decrypt(self, record: Record, kind: bytes, bound: bytes) -> Record | None:
        head = record.body[:_HEAD_BYTES]
        cipher = self._ciphers.get(head)
        if cipher is None:
            matched = _HEAD.fullmatch(head)
            if matched is None:
                return None
            if matched[1] not in self._keys:
                return record
            cipher = self._derive_cipher(head)
        try:
            encrypted = _from_base64(record.body[_HEAD_BYTES:])
            body = cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], bound)
        except (self._decryption_error, ValueError):
            return None
        return Record(record.start, record.stop, kind, body, record.accepted_ms)

    def _derive_cipher(self, head: bytes) -> AESGCM:
        """Return the cipher of one key and salt."""
        from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - an extra's
            AESGCM,
        )

        key_id, salt, _ = head.split(b".")
        if len(self._ciphers) >= _MAX_CIPHERS:
            self._ciphers.clear()
        cipher = AESGCM(_hkdf(self._keys[key_id], salt, _INFO, _KEY_BYTES))
        self._ciphers[head] = cipher
        return cipher

    def _draw(self) -> bytes:
        """Return a nonce and keep more, since system calls release the GIL."""
        if self._drawn >= self.nonces_per_salt:
            self._new_salt()
        self._drawn += _NONCES_DRAWN
        drawn = os.urandom(_NONCES_DRAWN * _NONCE_BYTES)
        nonces = [drawn[at : at + _NONCE_BYTES] for at in range(0, len(drawn), _NONCE_BYTES)]
        self._nonces.extend(nonces[1:])
        return nonces[0]


def _from_base64(text: bytes) -> bytes:
    """Decode base64, accepting only its canonical spelling.

    Others differ in bits of the last character that mean nothing, or are longer by characters
    that do not count. To write all of it again for comparison costs more.

    Raises:
        ValueError: If it is none, or spelt otherwise.
    """
    data = binascii.a2b_base64(text)
    size = len(data)
    rest = size % 3
    if len(text) != (size + 2) // 3 * 4 or (rest and text[rest - 4] not in _LAST[rest]):
        raise ValueError("expected base64 as it is written, got another spelling")
    return data


def _decoded(keys: str | bytes | Sequence[str | bytes]) -> list[bytes]:
    given = as_tuple(keys)
    if not given:
        raise ConfigurationError(f"encryption_keys: expected a key, got none; make one: {_COMMAND}")
    return [_key(place, key) for place, key in enumerate(given)]


def _key(place: int, given: object) -> bytes:
    key = given
    if isinstance(given, str):
        try:
            padded = given.strip().rstrip("=") + "="
            key = base64.b64decode(padded, altchars=b"-_", validate=True)
        except ValueError:  # its words would tell what was given
            key = None
    if isinstance(key, bytes) and len(key) == _KEY_BYTES:
        return key
    sized = f" of {len(given)}" if isinstance(given, (str, bytes)) else ""
    raise ConfigurationError(
        f"encryption_keys[{place}]: expected {_KEY_BYTES} bytes, as bytes or as URL-safe "
        f"base64, got {type(given).__name__}{sized}; make one: {_COMMAND}"
    )


def _key_id(key: bytes) -> bytes:
    return base64.urlsafe_b64encode(_hkdf(key, None, _ID_INFO, _KEY_ID_BYTES))


def _hkdf(key: bytes, salt: bytes | None, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - an extra's package
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - likewise

    return HKDF(SHA256(), length, salt, info).derive(key)


def _invalid_tag() -> type[Exception]:
    """Return the exception class of a failed decryption."""
    try:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra's package
    except ImportError:
        raise ConfigurationError(
            "encryption_keys: expected the package cryptography, got none; "
            'run: pip install "adcp-tracker[encryption]"'
        ) from None
    return InvalidTag


class EncryptedJournalWriter(JournalWriter):
    """Appends records as :class:`.JournalWriter` does, encrypted.

    Args:
        encryption: Encrypts them.
        directory: The queue directory.
        **options: What a journal takes.
    """

    def __init__(
        self,
        encryption: Encryption,
        directory: QueueDirectory,
        **options: Any,  # noqa: ANN401 - handed on as they are
    ) -> None:
        super().__init__(directory, **options)
        self._encryption = encryption

    def append(self, body: bytes, accepted_ms: int) -> None:
        """Make a plain event durable; see :meth:`.JournalWriter.append`."""
        self.append_record(body, accepted_ms, EVENT)

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept; encrypted once is enough."""
        return self._encryption.encode_for_disk(body, accepted_ms, kind)

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what is kept."""
        return self._encryption.decode(body, accepted_ms, kind)
