"""Making way on SQLite: a row of the history whose rowid is -1 keeps every further one out, and is given another.

The guard against REPLACE asks whether the new rowid is there, and SQLite gives -1 as that of every row that has none
yet. Nothing else of the row changes, and the guard against changes, which knows rowids too, is back in the same
transaction.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from tierwright.audit.stored_rows import TABLE
from tierwright.services.catalog_version import lock_file, require_transaction
from tierwright.tables.history_guards import NO_ROWID, NO_UPDATE

_IS_THERE = f"SELECT 1 FROM {TABLE} WHERE _rowid_ = {NO_ROWID}"
#: Above 0: rows to come get the number after the highest, and after -2 that would be -1 again.
_FREE = (
    f"SELECT coalesce((SELECT each._rowid_ + 1 FROM {TABLE} AS each "
    "WHERE each._rowid_ BETWEEN 0 AND 9223372036854775806 "
    f"AND NOT EXISTS (SELECT 1 FROM {TABLE} AS next WHERE next._rowid_ = each._rowid_ + 1) "
    "ORDER BY each._rowid_ DESC LIMIT 1), 1)"
)
_GUARD = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"


def is_in_the_way(connection: Connection) -> bool:
    """Tell whether there is such a row.

    Args:
        connection: to SQLite.
    """
    return connection.exec_driver_sql(_IS_THERE).first() is not None


def make_way(connection: Connection) -> int | None:
    """Give the row another rowid, in the connection's transaction; return that, or None where there is no such row.

    Raises:
        TransactionMissing: the connection has no transactions (AUTOCOMMIT): others could see the history unguarded.
    """
    require_transaction(connection)
    lock_file(connection)
    if not is_in_the_way(connection):
        return None
    guard = connection.exec_driver_sql(_GUARD, (NO_UPDATE,)).scalar()
    free = int(connection.exec_driver_sql(_FREE).scalar_one())
    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {NO_UPDATE}")
    connection.exec_driver_sql(f"UPDATE {TABLE} SET _rowid_ = ? WHERE _rowid_ = ?", (free, NO_ROWID))
    if guard is not None:
        connection.exec_driver_sql(guard)
    return free
