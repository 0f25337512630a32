"""What the clients wait for, by PostgreSQL's own account, sampled a hundred times a second."""

from __future__ import annotations

import threading
import time
from collections import Counter

import psycopg

from benchmarks.common import libpq

#: Clients call themselves so; the rest of ``application_name`` is the client.
PREFIX = "bench: "
_INTERVAL = 0.01
_QUERY = f"""
    SELECT application_name, wait_event_type || ' ' || wait_event FROM pg_stat_activity
    WHERE application_name LIKE '{PREFIX}%' AND state = 'active' AND wait_event_type <> 'Client'
"""


class Waits:
    """Samples from ``with`` to its end."""

    def __init__(self, url: str) -> None:
        self._url = libpq(url)
        self._stop = threading.Event()
        self._samples: list[tuple[float, str, str]] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def of(self, client: str, start: float, end: float) -> dict[str, int]:
        """Return how often a client was seen waiting for what, most frequent first."""
        name = (PREFIX + client)[:63]
        seen = Counter(event for at, who, event in self._samples if who == name and start <= at <= end)
        return dict(seen.most_common(3))

    def _sample(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.is_set():
                rows = connection.execute(_QUERY, prepare=True).fetchall()
                now = time.perf_counter()
                self._samples += [(now, who, event) for who, event in rows]
                time.sleep(_INTERVAL)
