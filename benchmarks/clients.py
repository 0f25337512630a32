"""One-row clients in processes of their own, each timing every call that it makes, while something else happens.

A call's time is what the application would wait. ``synchronous_commit`` is off in them, so that it is the wait for
locks and processors, not for the disk.
"""

from __future__ import annotations

import gc
import multiprocessing as mp
import time
from array import array
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.common import libpq, percentile
from benchmarks.data import feature_key, tenant_id
from benchmarks.waits import PREFIX

PAUSE = 0.002
#: These touch no table of ours, so no lock of the upgrade can stop them. What they wait for is a processor, and for
#: the one that writes, the server's write-ahead log: what any index build takes from everybody.
CONTROL_READ, CONTROL_WRITE = "no table, SELECT 1", "unrelated table, insert"
CONTROLS = (CONTROL_READ, CONTROL_WRITE)
CONTROL_TABLE = "CREATE TABLE unrelated (id uuid PRIMARY KEY, text text)"
_Parameters = Callable[[int, dict[str, int]], tuple[Any, ...]]

_NEW_ENTRY = (
    "INSERT INTO feature_audit_log (id, entity_type, entity_id, feature_key, action, performed_at) "
    "VALUES (gen_random_uuid(), 'feature', %s, %s, 'updated', now())"
)
CLIENTS: dict[str, tuple[str, _Parameters]] = {
    "feature_audit_log, insert": (_NEW_ENTRY, lambda i, n: (feature_key(i % n["features"]),) * 2),
    "feature_audit_log, read": (
        "SELECT action FROM feature_audit_log WHERE id = lpad(to_hex(%s::bigint), 32, '0')::uuid",
        lambda i, n: (i * 7919 % n["audit"],),
    ),
    "tenant_integration_configs, update": (
        "UPDATE tenant_integration_configs SET success_count = success_count + 1, health_status = 'healthy' "
        "WHERE integration_key = %s AND tenant_id = %s",
        lambda i, n: (f"integration_{i % 10}", tenant_id(i * 7919 % n["tenants"])),
    ),
    "tenant_integration_configs, read": (
        "SELECT config FROM tenant_integration_configs WHERE integration_key = %s AND tenant_id = %s",
        lambda i, n: (f"integration_{i % 10}", tenant_id(i * 7919 % n["tenants"])),
    ),
    "model_registry, update": (
        "UPDATE model_registry SET feature_key = %s WHERE provider = %s AND model_id = %s",
        lambda i, n: (feature_key(i % n["features"]), f"provider_{i % n['models'] % 50}", f"model-{i % n['models']}"),
    ),
    "model_registry, read": (
        "SELECT model_name FROM model_registry WHERE provider = %s AND model_id = %s",
        lambda i, n: (f"provider_{i % n['models'] % 50}", f"model-{i % n['models']}"),
    ),
    "feature_registry, update": (
        "UPDATE feature_registry SET display_order = %s WHERE feature_key = %s",
        lambda i, n: (i % 100, feature_key(i % n["features"])),
    ),
    "feature_registry, read": (
        "SELECT feature_type FROM feature_registry WHERE feature_key = %s",
        lambda i, n: (feature_key(i % n["features"]),),
    ),
    CONTROL_READ: ("SELECT 1", lambda i, n: ()),
    CONTROL_WRITE: ("INSERT INTO unrelated VALUES (gen_random_uuid(), %s)", lambda i, n: ("x" * 100,)),
}


class Clients:
    """Runs every client from ``with`` to :meth:`stop`; afterwards ``calls`` has (start, seconds) of each call."""

    def __init__(self, url: str, counts: dict[str, int]) -> None:
        context = mp.get_context("spawn")
        self.calls: dict[str, list[tuple[float, float]]] = {}
        self._queue: Any = context.Queue()
        self._stop = context.Event()
        self._ready = [context.Event() for _ in CLIENTS]
        self._processes = [
            context.Process(target=_run, args=(libpq(url), name, counts, ready, self._stop, self._queue), daemon=True)
            for name, ready in zip(CLIENTS, self._ready, strict=True)
        ]

    def __enter__(self) -> Clients:
        for process in self._processes:
            process.start()
        for ready in self._ready:
            if not ready.wait(60):
                raise RuntimeError("a client did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.terminate()

    def stop(self) -> None:
        """End the clients and collect what they measured.

        Raises:
            RuntimeError: a client got an error from the database.
        """
        self._stop.set()
        for _ in self._processes:
            name, error, starts, seconds = self._queue.get(timeout=60)
            if error:
                raise RuntimeError(f"{name}: {error}")
            self.calls[name] = list(zip(array("d", starts), array("d", seconds), strict=True))

    def during(self, start: float, end: float) -> dict[str, dict[str, float]]:
        """Return, for each client, what its calls that overlap a span of time took, in milliseconds."""
        found = {}
        for name, calls in self.calls.items():
            inside = [call for call in calls if call[0] + call[1] >= start and call[0] <= end]
            seconds = [call[1] for call in inside]
            longest = max(inside, key=lambda call: call[1])
            found[name] = {
                "calls": len(inside),
                "p50_ms": 1000 * percentile(seconds, 0.5),
                "p99_ms": 1000 * percentile(seconds, 0.99),
                "longest_ms": 1000 * longest[1],
                "longest_at": longest[0],
            }
        return found


def _run(url: str, name: str, counts: dict[str, int], ready: Any, stop: Any, queue: Any) -> None:
    starts, seconds = array("d"), array("d")
    error = ""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            connection.execute("SELECT set_config('application_name', %s, false)", (PREFIX + name,))
            gc.disable()
            ready.set()
            _call_until(stop, connection, *CLIENTS[name], counts, starts, seconds)
    except psycopg.Error as caught:
        error = repr(caught)
        ready.set()
    queue.put((name, error, starts.tobytes(), seconds.tobytes()))
    queue.close()
    queue.join_thread()


def _call_until(
    stop: Any,
    connection: psycopg.Connection[Any],
    statement: str,
    parameters: _Parameters,
    counts: dict[str, int],
    starts: array[float],
    seconds: array[float],
) -> None:
    cursor = connection.cursor()
    i = 0
    while not stop.is_set():
        values = parameters(i, counts)
        start = time.perf_counter()
        cursor.execute(statement, values, prepare=True)
        if cursor.description is not None:
            cursor.fetchall()
        seconds.append(time.perf_counter() - start)
        starts.append(start)
        i += 1
        time.sleep(PAUSE)
