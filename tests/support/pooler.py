"""A transaction-pooling proxy for tests: many clients, one server connection per open transaction.

It speaks just enough of the protocol (https://www.postgresql.org/docs/current/protocol-message-formats.html):
trust authentication, no TLS; a server connection goes back to the pool when ReadyForQuery says "idle".
"""

from __future__ import annotations

import socket
import struct
import threading

SSL_REQUEST, GSS_REQUEST, PROTOCOL_3 = 80877103, 80877104, 196608


class Wire:
    """One side of a connection, message by message."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # Else every short message waits 40 ms for the acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = sock.makefile("rb")

    def startup(self) -> bytes:
        """Read a message without a type byte."""
        (length,) = struct.unpack("!I", self._exactly(4))
        return self._exactly(length - 4)

    def message(self) -> tuple[bytes, bytes]:
        """Read a message: its type and all of its bytes."""
        head = self._exactly(5)
        (length,) = struct.unpack("!I", head[1:])
        return head[:1], head + self._exactly(length - 4)

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.sock.sendall(data)

    def close(self) -> None:
        """Close the socket; the other side may have done so already."""
        self.file.close()
        self.sock.close()

    def _exactly(self, count: int) -> bytes:
        data = self.file.read(count)
        if data is None or len(data) < count:
            raise ConnectionError("the other side closed")
        return data


class Pooler:
    """The proxy; ``with`` runs it, and ``port`` is where it listens on 127.0.0.1."""

    def __init__(self, server_port: int, size: int = 5) -> None:
        self.server_port = server_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.idle: list[tuple[bytes, Wire, bytes]] = []  # startup message, connection, its greeting
        self.threads: list[threading.Thread] = []
        self.places = threading.Semaphore(size)
        self.lock = threading.Lock()

    def __enter__(self) -> Pooler:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(timeout=10)
        for _startup, server, _greeting in self.idle:
            server.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return  # closed: the test is over
            thread = threading.Thread(target=self._serve, args=(Wire(sock),), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, client: Wire) -> None:
        try:
            startup = client.startup()
            while struct.unpack("!I", startup[:4])[0] in (SSL_REQUEST, GSS_REQUEST):
                client.send(b"N")
                startup = client.startup()
            server, greeting = self._borrow(startup)
            client.send(greeting)
            self._give_back(startup, server, greeting)
            while True:
                kind, data = client.message()
                if kind == b"X":
                    return
                self._transaction(startup, client, data)
        except (ConnectionError, OSError):
            return  # the client went away, with or without a goodbye
        finally:
            client.close()

    def _transaction(self, startup: bytes, client: Wire, data: bytes) -> None:
        """Forward messages on one server connection until the server is idle again."""
        server, greeting = self._borrow(startup)
        while True:
            server.send(data)
            # Parse, Bind, Describe, Execute, Close and Flush are answered together, at Sync.
            if data[:1] in (b"Q", b"S"):
                ready = self._answer(server, client)
                if ready[5:6] == b"I":
                    # First: whom the answer wakes may ask at once, on another connection.
                    self._give_back(startup, server, greeting)
                    client.send(ready)
                    return
                client.send(ready)
            _, data = client.message()
            if data[:1] == b"X":
                server.close()
                self.places.release()
                raise ConnectionError("the client left within a transaction")

    @staticmethod
    def _answer(server: Wire, client: Wire) -> bytes:
        """Forward an answer, and return its end, which says what the server is ready for."""
        while True:
            kind, data = server.message()
            if kind == b"Z":
                return data
            client.send(data)

    def _borrow(self, startup: bytes) -> tuple[Wire, bytes]:
        self.places.acquire()
        with self.lock:
            for i, (key, server, greeting) in reversed(list(enumerate(self.idle))):
                if key == startup:
                    del self.idle[i]
                    return server, greeting
        server = Wire(socket.create_connection(("127.0.0.1", self.server_port)))
        server.send(struct.pack("!I", len(startup) + 4) + startup)
        greeting = b""
        kind = b""
        while kind != b"Z":
            kind, data = server.message()
            greeting += data
        return server, greeting

    def _give_back(self, startup: bytes, server: Wire, greeting: bytes) -> None:
        with self.lock:
            self.idle.append((startup, server, greeting))
        self.places.release()
