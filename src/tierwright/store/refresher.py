"""The thread that reads tenants in use again before they are too old, so that no caller waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

_log = logging.getLogger("tierwright.store")

#: A tenant is kept fresh for so long after somebody had to wait for it; then somebody waits once more.
_KEEP_SECONDS = 60.0
#: So many at a time; the others are read when they are asked for.
_MAX_TENANTS = 1000


class Refresher:
    """Reads tenants again at an interval; its thread starts with the first of them, and ends when there are none.

    Args:
        refresh: reads one tenant; returns False where the database cannot be read.
        interval: seconds between two passes.
    """

    def __init__(self, refresh: Callable[[str], bool], interval: float) -> None:
        self._refresh = refresh
        self._interval = interval
        self.after_fork()

    def after_fork(self) -> None:
        """Start anew, without a thread."""
        self._lock = threading.Lock()
        self._wanted: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def keep(self, tenant_id: str) -> None:
        """Keep a tenant fresh for a while."""
        with self._lock:
            if tenant_id not in self._wanted and len(self._wanted) >= _MAX_TENANTS:
                return
            self._wanted[tenant_id] = monotonic() + _KEEP_SECONDS
            if self._thread is None:
                # An event of its own: one that is used again could be cleared before the last thread has seen it.
                self._stopped = threading.Event()
                name, arguments = "tierwright-refresher", (self._stopped,)
                self._thread = threading.Thread(target=self._run, name=name, args=arguments, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread; keeping another tenant starts a new one."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._wanted.clear()
            self._stopped.set()
        if thread is not None:
            thread.join()

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval):
            for tenant_id in self._still_wanted():
                if stopped.is_set() or not self._refreshed(tenant_id):
                    break
            with self._lock:
                if not self._wanted and self._thread is threading.current_thread():
                    self._thread = None
                    return

    def _refreshed(self, tenant_id: str) -> bool:
        try:
            return self._refresh(tenant_id)
        except Exception:
            _log.exception("A tenant could not be read ahead of time; it is read when it is asked for.")
            return True

    def _still_wanted(self) -> list[str]:
        now = monotonic()
        with self._lock:
            self._wanted = {tenant_id: until for tenant_id, until in self._wanted.items() if until > now}
            return list(self._wanted)
