"""The shops under their real servers, over http and https."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integrations.servers import SCRIPTS, serve, shop_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

    from tests.integrations.servers import Server
    from tests.support.seller import SellerProcess

_SHOPS = "tests.browser.shops"
_GUNICORN = ("gunicorn", "--threads", "4", "--no-control-socket", "--log-level", "error")
_UVICORN = ("uvicorn", "--no-proxy-headers", "--log-level", "error")

COMMANDS: dict[str, tuple[str, ...]] = {
    "django": (*_GUNICORN, f"{_SHOPS}.django_shop:wsgi"),
    "django, asynchronous": (*_UVICORN, f"{_SHOPS}.django_shop:asgi"),
    "flask": (*_GUNICORN, f"{_SHOPS}.flask_shop:app"),
    "fastapi": (*_UVICORN, f"{_SHOPS}.fastapi_shop:app"),
    "starlette": (*_UVICORN, f"{_SHOPS}.starlette_shop:app"),
}
"""What each shop is served by, but for the port."""


class Shops:
    """Starts shops as they are asked for, and keeps them until all is over."""

    def __init__(self, folder: Path, seller: SellerProcess) -> None:
        """Keep queues and logs in `folder`, and send to `seller`."""
        self._folder = folder
        self._seller = seller
        self._standing: dict[tuple[str, ...], Server] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def at(self, name: str, *, scheme: str = "http", **settings: str) -> str:
        """Return the URL of a shop.

        Args:
            name: One of :data:`COMMANDS`.
            scheme: ``http`` or ``https``.
            **settings: Environment variables of its own, such as ``SHOP_CONSENT``.
        """
        key = (name, scheme, *map(str, sorted(settings.items())))
        if key not in self._standing:
            self._standing[key] = self._start(name, scheme, settings)
        return self._standing[key].url

    def _start(self, name: str, scheme: str, settings: dict[str, str]) -> Server:
        folder = self._folder / str(len(self._standing))
        folder.mkdir()
        program, *words = COMMANDS[name]
        words += _tls_words(program, folder) if scheme == "https" else ()
        environment = shop_environment(
            folder / "queue",
            self._seller,
            SHOP_DATABASE=str(folder / "shop.sqlite3"),
            **settings,
        )

        def command(port: int) -> list[str]:
            listen = (
                ["--port", str(port)] if program == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
            )
            return [str(SCRIPTS / program), *words, *listen]

        return self._stack.enter_context(serve(command, environment, folder, scheme))


def _tls_words(program: str, folder: Path) -> Sequence[str]:
    key, certificate = certify(folder)
    names = (
        ("--ssl-keyfile", "--ssl-certfile") if program == "uvicorn" else ("--keyfile", "--certfile")
    )
    return (names[0], os.fspath(key), names[1], os.fspath(certificate))


def certify(folder: Path) -> tuple[Path, Path]:
    """Write a key and a certificate that this machine signed for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "key.pem", folder / "certificate.pem"
    paths[0].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    paths[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return paths
