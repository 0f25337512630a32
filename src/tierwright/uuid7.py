"""UUIDv7: identifiers that grow with time, so that new rows land at the end of an index."""

from __future__ import annotations

import os
import threading
import time
import uuid


class _Uuid7Maker:
    """RFC 9562 version 7 with a 42-bit counter (section 6.2, method 1), so that ids of one process only grow."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)  # a child must not go on from its parent's counter

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = -1
        self._counter = 0

    def __call__(self) -> uuid.UUID:
        with self._lock:
            millisecond, counter = self._advance()
        tail = int.from_bytes(os.urandom(4), "big")
        high, low = counter >> 30, counter & 0x3FFF_FFFF
        return uuid.UUID(int=millisecond << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low << 32 | tail)

    def _advance(self) -> tuple[int, int]:
        now = time.time_ns() // 1_000_000
        if now > self._millisecond:
            # The top bit starts at 0, which leaves at least 2**41 ids before the counter could overflow.
            self._millisecond, self._counter = now, int.from_bytes(os.urandom(6), "big") & 0x1FF_FFFF_FFFF
        elif self._counter < 0x3FF_FFFF_FFFF:
            self._counter += 1
        else:
            self._millisecond, self._counter = self._millisecond + 1, 0
        return self._millisecond, self._counter


_uuid7_own = _Uuid7Maker()


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7, greater than every one made before in this process.

    Returns:
        A time-ordered UUID: the standard library's where it exists (Python 3.14), else one made the same way.
    """
    stdlib = getattr(uuid, "uuid7", None)
    made: uuid.UUID = stdlib() if stdlib is not None else _uuid7_own()
    return made
