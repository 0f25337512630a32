"""Turning driver errors into typed ones, by error code and never by message text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tierwright.errors import (
    DatabaseReadOnly,
    DatabaseUnreachable,
    LockNotAcquired,
    MigrationFailed,
    PrivilegeMissing,
    RevisionUnknown,
    TierwrightError,
)
from tierwright.migrations.dialects.postgresql_locks import LOCK_NOT_AVAILABLE, sqlstate

_NO_PRIVILEGE = "42501"
_READ_ONLY_STATES = {"25006"}  # read_only_sql_transaction
_UNREACHABLE_STATES = ("08", "28", "3D", "57P")  # connection, authorization, no such database, shutdown
_SQLITE_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_SQLITE_UNREACHABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@contextmanager
def typed_errors() -> Iterator[None]:
    """Raise every failure of a driver or of Alembic as one of ours, with the original as its cause.

    Raises:
        DatabaseUnreachable, DatabaseReadOnly, LockNotAcquired, MigrationFailed: the database said no.
        RevisionUnknown: Alembic does not know a revision.
    """
    try:
        yield
    except DBAPIError as error:
        raise typed(error) from error
    except sqlite3.Error as error:  # from the statements that go past SQLAlchemy, to the driver
        raise _typed_sqlite(error, {"driver_error": _said(error), "statement": None}) from error
    except PoolTimeout as error:
        raise DatabaseUnreachable(
            "The engine's pool gave no connection in time; a migration on PostgreSQL needs two.",
            remedy="Pass a URL, or an engine whose pool allows two connections.",
        ) from error
    except CommandError as error:
        raise RevisionUnknown(
            f"{error}.", remedy="Name a revision that `tierwright db status` lists, or install the release that has it."
        ) from error


def typed(error: DBAPIError) -> TierwrightError:
    """Return the typed error for a driver's error."""
    details = {"driver_error": _said(error.orig), "statement": error.statement}
    if isinstance(error.orig, sqlite3.Error):
        return _typed_sqlite(error.orig, details)
    state = sqlstate(error)
    if state in _READ_ONLY_STATES:
        return _read_only(details)
    if state == LOCK_NOT_AVAILABLE:
        return LockNotAcquired(
            "Another session kept a lock for too long.", remedy="Run the upgrade again.", details=details
        )
    if state == _NO_PRIVILEGE:
        return PrivilegeMissing(
            f"The database role lacks a privilege: {details['driver_error']}.",
            remedy="Grant it; the operator's guide lists what migrations, doctor and the application need.",
            details=details,
        )
    # libpq reports a failed connection without a SQLSTATE
    if error.connection_invalidated or state is None or state.startswith(_UNREACHABLE_STATES):
        return _unreachable(details)
    return _failed(details)


def _said(error: BaseException | None) -> str:
    """Return what the driver says of the error, without the excerpt of the statement that PostgreSQL adds."""
    return str(error).partition("\nLINE ")[0].strip()


def _typed_sqlite(error: sqlite3.Error, details: dict[str, str | None]) -> TierwrightError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; the rest is the extended one
    if code in _SQLITE_READ_ONLY:
        return _read_only(details)
    if code in _SQLITE_UNREACHABLE:
        return _unreachable(details)
    if code in _SQLITE_BUSY:
        return LockNotAcquired(
            "Another process kept the SQLite file locked for too long.",
            remedy="End it, or raise lock_wait, then run the upgrade again.",
            details=details,
        )
    return _failed(details)


def _read_only(details: dict[str, str | None]) -> DatabaseReadOnly:
    return DatabaseReadOnly(
        "The database does not accept writes.",
        remedy="Connect to the primary (PostgreSQL), or make the file and its folder writable (SQLite).",
        details=details,
    )


def _unreachable(details: dict[str, str | None]) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        f"The database cannot be reached: {details['driver_error']}.",
        remedy="Check the URL, the server or file, and the permissions.",
        details=details,
    )


def _failed(details: dict[str, str | None]) -> MigrationFailed:
    return MigrationFailed(
        f"The database refused a statement: {details['driver_error']}.",
        remedy="The revision was undone (SQLite) or goes on where it stopped (PostgreSQL) when you run it again; "
        "remove what stands in its way first.",
        details=details,
    )
