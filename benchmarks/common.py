"""What the benchmarks share: sizes, statistics, the server, where results go."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.support.postgres import PostgresServer

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("tierwright", "alembic", "sqlalchemy", "psycopg")
#: Durable, as a server is by default; its cache holds the tables, so that scans are as fast as they can be.
SERVER_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "min_wal_size": "2GB",  # segments are recycled, as on a server that has run for a while
    "log_min_messages": "warning",
}


def server(version: int, **settings: str) -> PostgresServer:
    """Return a PostgreSQL server of its own for a benchmark; ``with`` starts and stops it."""
    return PostgresServer(version, **{**SERVER_SETTINGS, **settings})


def libpq(url: str) -> str:
    """Return a SQLAlchemy URL as psycopg itself takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of ``values`` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stamp() -> dict[str, Any]:
    """Return what the numbers depend on: versions, cores, memory, and how busy the machine was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }


def save(name: str, result: dict[str, Any], folder: Path) -> Path:
    """Write a result as JSON and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return path


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()
