"""Contexts kept by order id."""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker.context import Consent, RequestContext, without_identifiers
from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker.journal import _syscalls
from adcp_tracker.journal.files import open_secure, sync_directory
from adcp_tracker.privacy.context_token import MAX_CHARACTERS, THIRTY_DAYS, TokenSigner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from adcp_tracker._clock import Clock
    from adcp_tracker.context import Context, RequestContext
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.orders.reader import Order
    from adcp_tracker.privacy.matching import Person


_KEY_BYTES = 32
_MOST_BYTES = 256


def load_directory_key(directory: QueueDirectory) -> bytes:
    """Return the key of a queue directory, which all its processes share.

    The first process that needs it makes it. It appears whole or not at all, and of several
    that are made at once the first to appear is everybody's.

    Raises:
        ConfigurationError: If what is there is no key.
        UnsafeDirectoryError: If it is a link, another user's, or open to others.
        OSError: If it can be neither read nor made.
    """
    path = directory.context_key
    try:
        return _read(path)
    except FileNotFoundError:
        directory.prepare()
        _make(path)
        return _read(path)


def _read(path: Path) -> bytes:
    descriptor = open_secure(path, os.O_RDONLY)
    try:
        text = os.read(descriptor, _MOST_BYTES).strip()
    finally:
        os.close(descriptor)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"{path}: expected {_KEY_BYTES} bytes in hex, got something else; remove the file, "
            f"and a new key is made: tokens of the old one restore nothing then"
        )
    return key


def _make(path: Path) -> None:
    hidden = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = open_secure(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        os.write(descriptor, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
        os.fsync(descriptor)
        # A link, unlike a rename, never replaces the key that another process has just made.
        with contextlib.suppress(FileExistsError):
            os.link(hidden, path)
            sync_directory(path.parent)
    finally:
        os.close(descriptor)
        hidden.unlink()


MOST_REMEMBERED = 100_000
"""How many orders are remembered; the oldest make room."""

_SWEEP_SECONDS = 3600.0
_LOOK_AGAIN_SECONDS = 0.1
_UNFINISHED_SECONDS = 60.0
_MOST_BYTES_REMEMBERING = MAX_CHARACTERS + 1024
_NAME = re.compile(r"[0-9a-f]{32}")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{8}")
_ORDER, _EMAIL, _PHONE = "order", "email", "phone"
_OTHER_KEYS = "bad_signature"


@attrs.frozen(repr=False)
class StoredContext:
    """One order's context.

    Attributes:
        path: The file it is kept in.
        context: The context; ``None`` if it cannot be read.
        fault: Why it cannot.
        names: Hidden names of whom it belongs to.
    """

    path: Path
    context: RequestContext | None
    fault: str | None
    hashed_names: frozenset[str]


class ContextStore:
    """The remembered contexts of one queue directory, shared by all its processes.

    Args:
        directory: The queue directory.
        tokens: Makes and reads their tokens.
        clock: Where the time is read.
        most: How many are kept.

    Attributes:
        nonempty: Whether anything is known to have been remembered.
        look_again_at: From when on it's worth looking again, on the monotonic clock.
        monotonic: That clock.
    """

    def __init__(
        self,
        directory: QueueDirectory,
        tokens: ContextTokens,
        clock: Clock,
        *,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._directory = directory
        self._folder = directory.remembered
        self._root = os.fsencode(directory.remembered)
        self._is_there = _syscalls.fastest_exists()
        self._tokens = tokens
        self._clock = clock
        self.monotonic = clock.monotonic
        self._most = most
        self.nonempty = False
        self.look_again_at = float("-inf")
        self._swept_at = float("-inf")

    def remember(
        self,
        order_id: str,
        context: Context,
        *,
        hashed_email: str | None = None,
        hashed_phone: str | None = None,
    ) -> bool:
        """Keep a context under an order's id, in place of what was kept before.

        Args:
            order_id: The order.
            context: What to keep.
            hashed_email: Whose it is, so that it is found when that person is erased.
            hashed_phone: The same.

        Returns:
            Whether it is kept; if not, the log says why.
        """
        token = self._tokens.issue(context)
        try:
            if not token:
                return False
            keys = self._tokens.keys
            lines = [token]
            if hashed_email is not None:
                lines.append(keys.hashed_names(_EMAIL, hashed_email)[0])
            if hashed_phone is not None:
                lines.append(keys.hashed_names(_PHONE, hashed_phone)[0])
            self._directory.prepare_remembered()
            self._write(keys.hashed_names(_ORDER, order_id)[0], "\n".join(lines).encode())
        except (AdcpTrackerError, OSError) as error:
            self._tokens.throttled_log.warning("context.not_remembered", error=str(error))
            return False
        self.nonempty = True
        return True

    def recall(self, order_id: str) -> RequestContext | None:
        """Return the context that was remembered for an order, in whichever process."""
        if not self.maybe_nonempty():
            return None
        try:
            for name in self._tokens.keys.hashed_names(_ORDER, order_id):
                # Most orders are not remembered, and most calls are to be quick.
                if self._is_there(b"%b/%b" % (self._root, name.encode())):
                    self._directory.check(self._folder)
                    found = self._read(self._folder / name)
                    return found and self._tokens.restore(found[0])
        except (AdcpTrackerError, OSError) as error:
            self._tokens.throttled_log.warning("context.not_recalled", error=str(error))
        return None

    def restore(self, token: str | None, order_id: object = None) -> RequestContext | None:
        """Return the context of a token; without one, what was remembered for an order."""
        if token is not None:
            return self._tokens.restore(token)
        return None if order_id is None else self.recall(str(order_id))

    def of_person(self, person: Person) -> list[StoredContext]:
        """Return what is remembered of a person, and all that cannot be read.

        Raises:
            UnsafeDirectoryError: If the folder or a file of it is a link, another user's, or
                open to others.
        """
        if not self._directory.check(self._folder):
            return []
        keys = self._tokens.keys
        files = {name for each in person.order_ids for name in keys.hashed_names(_ORDER, each)}
        names = {name for each in person.emails for name in keys.hashed_names(_EMAIL, each)}
        names |= {name for each in person.phones for name in keys.hashed_names(_PHONE, each)}
        return [
            each
            for each in self._all()
            if each.context is None
            or each.path.name in files
            or each.hashed_names & names
            or each.context.click_id in person.click_ids
        ]

    def delete(self, remembered: Iterable[StoredContext]) -> tuple[int, int]:
        """Remove what was remembered.

        Returns:
            How much there was, and how much stays since it was signed by other keys.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
        """
        self._directory.check(self._folder)
        known = removed = 0
        for each in remembered:
            known += 1
            if each.fault != _OTHER_KEYS:
                each.path.unlink(missing_ok=True)
                removed += 1
        if removed:
            sync_directory(self._folder)
        return removed, known - removed

    def sweep(self) -> None:
        """Remove what has expired, about once an hour; and the oldest, if there is too much."""
        now = self._clock.monotonic()
        if now - self._swept_at < _SWEEP_SECONDS or not self.maybe_nonempty():
            return
        self._swept_at = now
        try:
            if self._directory.check(self._folder):
                self._remove_aged(self._clock.now())
        except OSError as error:
            self._tokens.throttled_log.warning("remembered.not_swept", error=str(error))

    def _remove_aged(self, today: float) -> None:
        with os.scandir(self._folder) as entries:
            aged = sorted(
                (entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in entries
            )
        whole = [(kept_at, name) for kept_at, name in aged if _NAME.fullmatch(name)]
        gone = {name for kept_at, name in whole if today - kept_at > THIRTY_DAYS}
        gone.update(name for _, name in whole[: -self._most])
        gone.update(
            name
            for kept_at, name in aged
            if _UNFINISHED.fullmatch(name) and today - kept_at > _UNFINISHED_SECONDS
        )
        for name in gone:
            (self._folder / name).unlink(missing_ok=True)
        if len(whole) > self._most:
            logger.warning(
                "remembered.full", kept=self._most, remedy="store contexts.capture() with the order"
            )

    def maybe_nonempty(self) -> bool:
        """Return whether anything was ever remembered, mostly without a system call."""
        if not self.nonempty:
            now = self.monotonic()
            if now >= self.look_again_at:
                self.look_again_at = now + _LOOK_AGAIN_SECONDS
                self.nonempty = self._is_there(self._root)
        return self.nonempty

    def _write(self, name: str, data: bytes) -> None:
        hidden = self._folder / f".{name}.{secrets.token_hex(4)}"
        descriptor = open_secure(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            os.write(descriptor, data)
            os.utime(descriptor, (self._clock.now(),) * 2)
        finally:
            os.close(descriptor)
        hidden.replace(self._folder / name)

    def _read(self, path: Path) -> tuple[str, frozenset[str]] | None:
        try:
            descriptor = open_secure(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            token, *hashed_names = (
                os.read(descriptor, _MOST_BYTES_REMEMBERING).decode(errors="replace").split("\n")
            )
        finally:
            os.close(descriptor)
        return token, frozenset(hashed_names)

    def _all(self) -> Iterator[StoredContext]:
        tokens = self._tokens.keys.tokens
        for path in sorted(self._folder.glob("[!.]*")):
            found = self._read(path) if _NAME.fullmatch(path.name) else None
            if found is not None:
                reading = tokens.read(found[0])
                yield StoredContext(path, reading.context, reading.fault, found[1])


_NAMING = b"adcp_tracker remembered orders, version 1"
_NAME_BYTES = 16


@attrs.frozen
class _Keys:
    """What signs contexts, and what hides the names they are remembered under.

    Attributes:
        tokens: Makes and reads tokens.
        naming: Keys for names, the first for new ones.
    """

    tokens: TokenSigner
    naming: tuple[bytes, ...] = attrs.field(repr=False)

    def hashed_names(self, what: str, value: str) -> list[str]:
        """Return the names of something personal, the first for new ones.

        Args:
            what: Which kind of thing, so that no two kinds share a name.
            value: The thing.
        """
        message = f"{what}\0{value}".encode("utf-8", "surrogatepass")
        return [hmac.digest(key, message, "sha256")[:_NAME_BYTES].hex() for key in self.naming]


class ContextTokens:
    """Makes tokens of contexts, and contexts of tokens. Never in a checkout's way.

    Args:
        directory: Where the key is kept if none is given.
        keys: The site's own keys, the first for new tokens; empty for the directory's.
        clock: Where the time is read.

    Raises:
        ConfigurationError: If a key is too short.
    """

    def __init__(
        self, directory: QueueDirectory, keys: Sequence[str | bytes], clock: Clock
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._keys = _keys(keys, clock) if keys else None
        self.throttled_log = ThrottledLogger(clock)

    @property
    def keys(self) -> _Keys:
        """The keys, read or made when they are first needed.

        Raises:
            ConfigurationError: If the directory's key is damaged.
            OSError: If it can be neither read nor made.
        """
        if self._keys is None:
            self._keys = _keys((load_directory_key(self._directory),), self._clock)
        return self._keys

    def issue(self, context: Context | None) -> str:
        """Make a token of a context; an empty text if there is nothing to carry.

        Of a shopper who denies consent, it carries that, and nothing to tell them by.
        """
        if context is None:
            return ""
        try:
            return self.keys.tokens.issue(strip_if_denied(context))
        except (AdcpTrackerError, OSError) as error:
            self.throttled_log.warning("context.not_captured", error=str(error))
            return ""

    def restore(self, token: str) -> RequestContext | None:
        """Return the context of a token; ``None``, and a line in the log, if it has none."""
        if not token:
            return None
        try:
            reading = self.keys.tokens.read(token)
        except (AdcpTrackerError, OSError) as error:
            self.throttled_log.warning("context.not_restored", reason="key", error=str(error))
            return None
        if reading.fault is not None:
            self.throttled_log.warning("context.not_restored", reason=reading.fault)
        return reading.context


def strip_if_denied(context: Context) -> Context:
    """Return what may be kept of a context."""
    return without_identifiers(context) if context.consent is Consent.DENIED else context


def fill_from_context(order: Order, context: Context | None) -> Order:
    """Add to an order what the shopper's own context tells of the shopper.

    For a refund, which takes nothing from the request it is made in: that is the staff's.
    """
    if context is None or context.consent is Consent.DENIED:
        return order
    clicked: Order | Context = order if order.click_id else context
    return attrs.evolve(
        order,
        client_ip=order.client_ip or context.client_ip,
        client_user_agent=order.client_user_agent or context.client_user_agent,
        click_id=clicked.click_id,
        click_id_type=clicked.click_id_type,
    )


def _keys(given: Sequence[str | bytes], clock: Clock) -> _Keys:
    tokens = TokenSigner(given, clock=clock)
    raw = [key.encode() if isinstance(key, str) else key for key in given]
    return _Keys(tokens, tuple(hmac.digest(key, _NAMING, "sha256") for key in raw))
