"""How long it takes to move secrets to another key, beside the bare primitive and one UPDATE per row.

    python -m benchmarks.rotation [--rows 5000] [--versions 16 18] [--only sqlite]

The floor is written by hand with the driver and the package cryptography: it reads all rows, unwraps each data key,
decrypts, makes a new data key, encrypts, wraps, reads the result back, and updates each row by its primary key, in
transactions of as many rows as ours. Ours does the same with its envelopes, writes only over what it has read, counts,
audits, and looks once more that nothing is left.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Engine

from benchmarks.common import RESULTS, libpq, median, save, server, show, stamp
from benchmarks.rounds import goal, goal_cells, ratio
from tests.support.integrations import CONFIGS, offer
from tierwright.integrations.sealing import seal_secrets
from tierwright.migrations import upgrade
from tierwright.rotation import count_keys, rotate
from tierwright.secrets import Binding, Hidden, KeyRing

ALLOWED = 2.0
_KEYS = {"k1": b"1" * 32, "k2": b"2" * 32}
_BATCH = 1000
_SECRETS = {"/bot_token": "xoxb-" + "7" * 50, "/oauth/client_secret": "s" * 64}
_READ = "SELECT integration_key, tenant_id, encrypted_config FROM tenant_integration_configs ORDER BY 1, 2"
_WRITE = "UPDATE tenant_integration_configs SET encrypted_config = {p} WHERE integration_key = {p} AND tenant_id = {p}"


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``rotation.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rotation")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    stamped = stamp()
    found = []
    for label, places in _places(chosen.only, chosen.versions):
        with places() as (ours, floor):
            found.append(_measure(label, ours, floor, chosen.rows, chosen.rounds))
    save("rotation", {"stamp": stamped, "rows": chosen.rows, "databases": found}, chosen.out)
    rows = [
        [each["label"], way, f"{each['rows_per_s'][way]:,.0f}", f"{each['ratios'][way]:.2f}"]
        for each in found
        for way in each["ratios"]
    ]
    show(f"rotation of {chosen.rows:,} rows", ("database", "", "rows/s", "x floor"), rows)
    show("goals", ("", "measured", "goal", ""), [goal_cells(each["goal"]) for each in found])


def _measure(label: str, ours: str, floor: str, rows: int, rounds: int) -> dict[str, Any]:
    engine = sa.create_engine(ours)
    _fill(engine, rows)
    _fill_bare(floor, rows)
    seconds: dict[str, list[float]] = {"floor": [], "new data keys": [], "rewrap only": []}
    for number in range(rounds + 1):
        to = "k2" if number % 2 == 0 else "k1"
        back = "k1" if to == "k2" else "k2"
        spent = {
            "floor": _timed(partial(_rotate_bare, floor, _KEYS[back], _KEYS[to])),
            "new data keys": _timed(partial(_rotated, engine, to, rewrap_only=False)),
            "rewrap only": _timed(partial(_rotated, engine, back, rewrap_only=True)),
        }
        _rotated(engine, to, rewrap_only=True)  # where the next round begins
        if number:  # the first warms up
            for way, one in spent.items():
                seconds[way].append(one)
    with engine.connect() as connection:
        counted = count_keys(connection)
    if counted.total != rows or len(counted.rows) != 1:
        raise AssertionError(f"{label}: {counted}")
    engine.dispose()
    ratios = {way: ratio(each, seconds["floor"]) for way, each in seconds.items()}
    return {
        "label": label,
        "seconds": seconds,
        "rows_per_s": {way: rows / median(each) for way, each in seconds.items()},
        "ratios": ratios,
        "goal": goal(
            f"{label}: rotation, to the bare primitive and one UPDATE per row", ratios["new data keys"], ALLOWED
        ),
    }


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- ours ------------------------------------------------------------------------------------------------------------


def _rotated(engine: Engine, to: str, *, rewrap_only: bool) -> None:
    report = rotate(engine, KeyRing(_KEYS, to), rewrap_only=rewrap_only, batch_size=_BATCH)
    if not report.ok or report.rotated != report.found:
        raise AssertionError(str(report))


def _fill(engine: Engine, rows: int) -> None:
    upgrade(engine)
    offer(engine)
    ring = KeyRing(_KEYS, "k1")
    values = [
        {
            "integration_key": "slack",
            "tenant_id": f"t{number:06}",
            "encrypted_config": seal_secrets(
                Hidden(dict(_SECRETS)), ring, Binding.of_config(f"t{number:06}", "slack", 1)
            ),
            "secret_version": 1,
        }
        for number in range(rows)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(CONFIGS), values)


# --- by hand ---------------------------------------------------------------------------------------------------------


def _sealed_bare(key: bytes, tenant: str, plaintext: bytes) -> bytes:
    data_key, nonce, other = os.urandom(32), os.urandom(12), os.urandom(12)
    wrapped = nonce + AESGCM(key).encrypt(nonce, data_key, tenant.encode())
    return wrapped + other + AESGCM(data_key).encrypt(other, plaintext, tenant.encode())


def _opened_bare(key: bytes, tenant: str, blob: bytes) -> bytes:
    data_key = AESGCM(key).decrypt(blob[:12], blob[12:60], tenant.encode())
    return AESGCM(data_key).decrypt(blob[60:72], blob[72:], tenant.encode())


def _rotate_bare(url: str, old: bytes, new: bytes) -> None:
    with _driver(url) as (execute, commit, mark):
        rows = execute(_READ, ()).fetchall()
        for start in range(0, len(rows), _BATCH):
            for integration, tenant, blob in rows[start : start + _BATCH]:
                plaintext = _opened_bare(old, tenant, bytes(blob))
                sealed = _sealed_bare(new, tenant, plaintext)
                if _opened_bare(new, tenant, sealed) != plaintext:
                    raise AssertionError(tenant)
                execute(_WRITE.format(p=mark), (sealed, integration, tenant))
            commit()


def _fill_bare(url: str, rows: int) -> None:
    engine = sa.create_engine(url)
    upgrade(engine)
    offer(engine)
    plaintext = str(_SECRETS).encode()
    tenants = [f"t{number:06}" for number in range(rows)]
    values = [
        {"integration_key": "slack", "tenant_id": each, "encrypted_config": _sealed_bare(_KEYS["k1"], each, plaintext)}
        for each in tenants
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(CONFIGS), values)
    engine.dispose()


@contextmanager
def _driver(url: str) -> Iterator[tuple[Any, Callable[[], None], str]]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(sa.make_url(url).database or "")) as file:
            yield file.execute, file.commit, "?"
    else:
        with psycopg.connect(libpq(url)) as connection:
            yield connection.execute, connection.commit, "%s"


# --- where -----------------------------------------------------------------------------------------------------------


def _places(only: str | None, versions: Sequence[int]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if only != "postgresql":
        yield f"SQLite {sqlite3.sqlite_version}", _files
    if only != "sqlite":
        for version in versions:
            yield f"PostgreSQL {version}", lambda version=version: _server(version)


@contextmanager
def _files() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        urls = [f"sqlite:///{Path(folder) / name}" for name in ("ours.sqlite3", "floor.sqlite3")]
        for url in urls:
            with closing(sqlite3.connect(sa.make_url(url).database or "")) as file:
                file.execute("PRAGMA journal_mode=WAL")
        yield urls[0], urls[1]


@contextmanager
def _server(version: int) -> Iterator[tuple[str, str]]:
    with server(version) as started:
        with psycopg.connect(libpq(started.url()), autocommit=True) as connection:
            connection.execute("CREATE DATABASE floor")
        yield started.url(), started.url("floor")


if __name__ == "__main__":
    main()
