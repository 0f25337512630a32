"""A TCP proxy for tests that can stop forwarding while it keeps its connections open."""

from __future__ import annotations

import socket
import threading


class Proxy:
    """Forwards to a port of this machine; ``with`` runs it, and ``port`` is where it listens on 127.0.0.1."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._swallowed: set[socket.socket] = set()
        self._is_mute = False

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            each.close()

    def swallow(self) -> None:
        """Lose what the present connections send from now on, as a network may; later ones work."""
        self._swallowed = set(self._sockets)

    def mute(self, is_mute: bool) -> None:
        """Accept connections and say nothing on them, or forward them; those that exist stay as they are."""
        self._is_mute = is_mute

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed: the test is over
            if self._is_mute:
                self._sockets.append(client)
                continue
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if source not in self._swallowed:
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # one of the two went away
