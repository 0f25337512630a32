"""How each database is asked: through the library, and by its driver alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from benchmarks.common import libpq
from tierwright.services.statements import EVERYTHING, TENANT, Kind
from tierwright.store import SnapshotStore

#: One row by the primary key: what an application would ask at the very least.
ONE_ROW = (
    "SELECT license_tier_id, starts_at, expires_at FROM tenant_license WHERE tenant_id = {p} AND license_key = {p}"
)


@dataclass(frozen=True)
class Driver:
    """A held connection of a driver, in autocommit mode, that prepares what it is asked.

    Attributes:
        rows: runs a statement and returns its rows.
        one_row: asks :data:`ONE_ROW`, given its two parameters.
        explain: returns the plans of a statement about a tenant, as text.
    """

    rows: Callable[[str, Any], list[Any]]
    one_row: Callable[[tuple[str, str]], Any]
    explain: Callable[[str, Any], str]


@contextmanager
def driver(url: str) -> Iterator[Driver]:
    """Open a connection of the driver itself."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(sa.make_url(url).database or "", isolation_level=None)) as connection:
            yield _sqlite(connection)
    else:
        with psycopg.connect(libpq(url), autocommit=True) as server:
            yield _postgresql(server)


def _sqlite(connection: sqlite3.Connection) -> Driver:
    execute, one = connection.execute, ONE_ROW.format(p="?")

    def explain(text: str, parameters: Any) -> str:
        return "\n".join(row[3] for row in execute(f"EXPLAIN QUERY PLAN {text}", parameters))

    return Driver(
        lambda text, parameters: execute(text, parameters).fetchall(),
        lambda parameters: execute(one, parameters).fetchone(),
        explain,
    )


def _postgresql(connection: psycopg.Connection[Any]) -> Driver:
    cursor, one = connection.cursor(), ONE_ROW.format(p="%s")
    execute, fetchone, fetchall = cursor.execute, cursor.fetchone, cursor.fetchall

    def rows(text: str, parameters: Any) -> list[Any]:
        execute(text, parameters, prepare=True)
        return fetchall()

    def one_row(parameters: tuple[str, str]) -> Any:
        execute(one, parameters, prepare=True)
        return fetchone()

    def explain(text: str, parameters: Any) -> str:
        """Return both plans: with the tenant known, and the one that a prepared statement ends with."""
        found = []
        for mode in ("force_custom_plan", "force_generic_plan"):
            execute(f"SET plan_cache_mode = {mode}")
            execute(f"PREPARE planned (varchar) AS {text % {'tenant_id': '$1'}}")
            execute(f"EXPLAIN (COSTS OFF) EXECUTE planned ('{parameters['tenant_id']}')")
            found += [mode, *(row[0] for row in fetchall())]
            execute("DEALLOCATE planned")
        execute("RESET plan_cache_mode")
        return "\n".join(found)

    return Driver(rows, one_row, explain)


class Statement:
    """A statement of the library as the driver takes it.

    Args:
        statement: which.
        engine: whose dialect.
    """

    def __init__(self, statement: sa.CompoundSelect[Any], engine: Engine) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self.text = str(compiled)
        self._places = len(compiled.positiontup or ()) if compiled.positional else None

    @classmethod
    def tenant(cls, engine: Engine) -> Statement:
        """Return what the store asks about a tenant that it does not know."""
        return cls(TENANT[engine.dialect.name], engine)

    @classmethod
    def everything(cls, engine: Engine) -> Statement:
        """Return what is asked without a store."""
        return cls(EVERYTHING[engine.dialect.name], engine)

    def parameters(self, tenant: str) -> Any:
        """Return the parameters in the driver's style."""
        return {"tenant_id": tenant} if self._places is None else (tenant,) * self._places


def decoded(rows: Sequence[Any]) -> dict[str, tuple[bool, Any]]:
    """Return what the rows say by feature, as one would by hand: a tier's document over the registry's default."""
    found: dict[str, tuple[bool, Any]] = {}
    granted: dict[str, tuple[bool, Any]] = {}
    for row in rows:
        kind = row[0]
        if kind == Kind.FEATURE:
            document = json.loads(row[3])
            found[row[1]] = (document["enabled"], document.get("value"))
        elif kind == Kind.GRANT:
            document = json.loads(row[3])
            granted[row[1]] = (document["enabled"], document.get("value"))
    found.update(granted)
    return found


def statements_of_store(url: str, server_log: Path | None, ask: Callable[[SnapshotStore], None]) -> list[str]:
    """Return every statement that reaches the database while ``ask`` uses a store, transaction control included.

    SQLite tells the driver; PostgreSQL writes them into its log, whatever the driver says it has sent.
    """
    engine = sa.create_engine(url)
    found: list[str] = []
    if server_log is None:
        sa.event.listen(engine, "connect", lambda connection, _: connection.set_trace_callback(found.append))
    else:
        options = {"options": "-c log_statement=all -c log_min_messages=log -c application_name=counted"}
        engine = sa.create_engine(url, connect_args=options)
        before = server_log.stat().st_size
    with SnapshotStore(engine, poll_interval=1000, background=False) as store:
        ask(store)
    engine.dispose()
    if server_log is not None:
        text = server_log.read_bytes()[before:].decode()
        found = [line for line in text.splitlines() if "LOG:  execute" in line or "LOG:  statement:" in line]
    return found
