"""An end to waiting for a server that does not answer: the socket is shut down under the driver."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

_IDLE_SECONDS = 10.0


class Watchdog:
    """Ends calls on network connections that take longer than a time limit.

    PostgreSQL drivers have no such limit of their own: a server that is stopped, or a network that swallows packets,
    holds the caller for as long as TCP likes. The thread starts with the first call that is watched, and ends when
    there has been none for a while.

    Args:
        timeout: seconds that one call may take.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._calls: dict[int, tuple[float, int]] = {}
        self._thread: threading.Thread | None = None

    def begin(self, driver_connection: Any) -> None:
        """Shut the connection's socket down if :meth:`end` is not called in time; the driver then raises.

        Args:
            driver_connection: the driver's own connection; one without a ``fileno()`` cannot be watched.
        """
        number = _fileno(driver_connection)
        if number is None:
            return
        with self._lock:
            self._calls[id(driver_connection)] = (time.monotonic() + self.timeout, number)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="tierwright-watchdog", daemon=True)
                self._thread.start()

    def end(self, driver_connection: Any) -> None:
        """The call that was begun on the connection is over, well or badly."""
        with self._lock:
            self._calls.pop(id(driver_connection), None)

    def _watch(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(self.timeout / 8)
            now = time.monotonic()
            # The lock is kept while a socket is shut down: its number cannot be closed and used again meanwhile.
            with self._lock:
                for key, (due, number) in list(self._calls.items()):
                    if due <= now:
                        del self._calls[key]
                        shut_down(number)
                if self._calls:
                    idle_since = now
                elif now - idle_since > _IDLE_SECONDS:
                    self._thread = None
                    return


def shut_down(number: int) -> None:
    """Shut down the socket behind a file descriptor, which stays open for its owner to close."""
    try:
        with socket.socket(fileno=os.dup(number)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side, or the driver, was faster


def _fileno(driver_connection: Any) -> int | None:
    # pg8000 keeps its socket to itself.
    owner = driver_connection if hasattr(driver_connection, "fileno") else getattr(driver_connection, "_usock", None)
    return None if owner is None else int(owner.fileno())
