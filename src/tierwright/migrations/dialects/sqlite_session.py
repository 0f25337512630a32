"""A SQLite connection on which tables can be rebuilt without losing their children.

``PRAGMA foreign_keys`` does nothing inside a transaction, and Python's driver opens and commits transactions of its
own accord: so the pragma and ``BEGIN IMMEDIATE`` go to the driver's connection, before SQLAlchemy sees a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection, Engine

from tierwright.errors import DirtyData
from tierwright.migrations.names import TABLE_NAMES
from tierwright.migrations.options import MigrationOptions


@contextmanager
def sqlite_session(engine: Engine, options: MigrationOptions) -> Iterator[Connection]:
    """Run the block in one immediate transaction with foreign keys off; commit only if every key of ours holds."""
    with engine.connect() as connection:
        connection.begin()  # a host's "begin" listener may send BEGIN here; the next line undoes it
        driver: Any = connection.connection.dbapi_connection
        with _plain_transactions(driver), _pragmas(driver, options):
            driver.execute("BEGIN IMMEDIATE")
            before = _schema_version(driver)
            try:
                yield connection
                if _schema_version(driver) != before:  # reading years of rows for a run that did nothing helps nobody
                    _refuse_orphans(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()


@contextmanager
def _plain_transactions(driver: Any) -> Iterator[None]:
    """Take the driver's own BEGIN and COMMIT out of the way, in both of its modes."""
    driver.rollback()
    autocommit = getattr(driver, "autocommit", None)  # Python 3.12 and later
    if autocommit is not None:
        driver.autocommit = sqlite3.LEGACY_TRANSACTION_CONTROL  # type: ignore[attr-defined, unused-ignore]
        driver.rollback()
    isolation_level, driver.isolation_level = driver.isolation_level, None
    try:
        yield
    finally:
        driver.isolation_level = isolation_level
        if autocommit is not None:
            driver.autocommit = autocommit


@contextmanager
def _pragmas(driver: Any, options: MigrationOptions) -> Iterator[None]:
    """Turn foreign keys off and wait for other migrators, for the length of the block."""
    wanted = {"foreign_keys": 0, "busy_timeout": int(options.lock_wait * 1000)}
    before = {name: driver.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
    for name, value in wanted.items():
        driver.execute(f"PRAGMA {name}={value}")
    try:
        yield
    finally:
        for name, value in before.items():
            driver.execute(f"PRAGMA {name}={value}")


def _schema_version(driver: Any) -> int:
    return int(driver.execute("PRAGMA schema_version").fetchone()[0])


def _refuse_orphans(connection: Connection) -> None:
    """Check what SQLite did not check while foreign keys were off: our tables, not the host's."""
    present = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    broken: dict[str, int] = {}
    for table in sorted(present.intersection(TABLE_NAMES)):
        rows = connection.exec_driver_sql(f"PRAGMA foreign_key_check({table})").all()
        if rows:
            broken[table] = len(rows)
    if broken:
        listed = ", ".join(f"{table} ({rows} row(s))" for table, rows in broken.items())
        raise DirtyData(
            f"Foreign keys do not hold: {listed}.",
            remedy="`PRAGMA foreign_key_check(<table>)` lists the rows; correct or delete them and run it again.",
            details={"tables": broken},
        )
