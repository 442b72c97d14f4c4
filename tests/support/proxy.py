"""A network that can be cut off."""

from __future__ import annotations

import socket
import threading


class Proxy:
    """Forwards connections to a server's socket, and swallows everything while it is frozen."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Let nothing through, and close nothing."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let through what was held up."""
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._path)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self._flowing.wait()
                other.sendall(data)
        except OSError:
            pass
        finally:
            other.close()
