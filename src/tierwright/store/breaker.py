"""Keeping callers away from a database that cannot be read."""

from __future__ import annotations

import threading
from time import monotonic

#: Seconds between two attempts to read a database that could not be read.
RETRY_SECONDS = 1.0


class Breaker:
    """Lets everybody read while the database answers; after a failure nobody for a while, and then one at a time.

    Callers that wait for a dead database would occupy every thread of the host.

    Args:
        timeout: seconds that one attempt may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.after_fork()

    def after_fork(self) -> None:
        """Start anew, with a lock that nobody holds."""
        self._lock = threading.Lock()
        #: How often the database could not be read.
        self.failures = 0
        #: Until then nobody tries, by the monotonic clock; 0 while the database answers.
        self.retry_at = 0.0

    def may_read(self) -> bool:
        """Tell whether the caller may try to read."""
        with self._lock:
            now = monotonic()
            if now < self.retry_at:
                return False
            if self.retry_at:  # the others need not wait for this attempt
                self.retry_at = now + self._timeout + RETRY_SECONDS
            return True

    def failed(self) -> None:
        """The database could not be read."""
        with self._lock:
            self.failures += 1
            self.retry_at = monotonic() + RETRY_SECONDS

    def answered(self) -> bool:
        """The database has answered; return whether it had not before."""
        with self._lock:
            was_down = self.retry_at > 0
            self.retry_at = 0.0
            return was_down
