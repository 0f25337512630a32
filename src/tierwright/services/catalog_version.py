"""The version of the catalogue: what a store compares, and the row that is the lock of all catalogue writes."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tierwright.errors import TransactionMissing
from tierwright.services.statements import CATALOG_KEY, STATE
from tierwright.types import utc_now

_NOTHING = sa.delete(STATE).where(STATE.c.key == "")


def lock_catalog(connection: Connection) -> None:
    """Let nobody else write the catalogue until the transaction ends; the version stays as it is.

    It comes before everything that is read to check a write, so that two halves of a cycle cannot both be right.

    Raises:
        TransactionMissing: the connection has no transactions, so the lock would be gone at once.
    """
    require_transaction(connection)
    connection.execute(_lock(connection.dialect.name))


def bump_catalog(connection: Connection) -> None:
    """Give the catalogue a new version, under the same lock."""
    # The token tells two histories apart that have counted to the same number, as after a restore.
    value = {"token": secrets.token_hex(8), "changed_at": utc_now().isoformat()}
    connection.execute(_bump(connection.dialect.name), {"new": value})


def lock_file(connection: Connection) -> None:
    """Take the write lock of a SQLite file, so that what is read now still holds when it is written; else nothing."""
    if connection.dialect.name == "sqlite":
        connection.execute(_NOTHING)  # matches no row, and locks all the same


def commits_by_itself(connection: Connection) -> bool:
    """Tell whether every statement is a transaction of its own (the isolation level AUTOCOMMIT)."""
    # Read off the driver: SQLAlchemy asks the server, and this is asked for every row.
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver = getattr(driver, "_conn", driver)  # aiosqlite hides the attribute that came with Python 3.12
        # With BEGIN sent by the host, it is in a transaction.
        is_plain = driver.isolation_level is None and not driver.in_transaction
        return bool(is_plain or getattr(driver, "autocommit", None) is True)
    return getattr(connection.connection.dbapi_connection, "autocommit", False) is True


def require_transaction(connection: Connection) -> None:
    """Refuse a connection on which several statements cannot be one change.

    Raises:
        TransactionMissing: every statement is committed by itself.
    """
    if commits_by_itself(connection):
        raise TransactionMissing(
            "The session's connection commits every statement by itself (AUTOCOMMIT).",
            remedy="Give the session an engine, or a connection, with transactions.",
        )


@cache
def _lock(dialect: str) -> sa.Insert:
    return _upsert(dialect, {"version": 0}, {"version": STATE.c.version})


@cache
def _bump(dialect: str) -> sa.Insert:
    value = sa.bindparam("new", type_=STATE.c.value.type)
    return _upsert(dialect, {"version": 1, "value": value}, {"version": STATE.c.version + 1, "value": value})


def _upsert(dialect: str, new: dict[str, Any], existing: dict[str, Any]) -> sa.Insert:
    # The two dialects share the syntax, but not a class.
    insert = postgresql.insert(STATE) if dialect == "postgresql" else sqlite.insert(STATE)
    statement = insert.values(key=CATALOG_KEY, **new)
    return statement.on_conflict_do_update(index_elements=[STATE.c.key], set_=existing)
