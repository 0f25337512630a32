"""A row of the history in SQLite that keeps every further one out, and how to make way."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from tierwright.errors import HistoryProtected
from tierwright.tables.history_guards import NO_REPLACE, NO_ROWID

REMEDY = "Run `tierwright audit maintain`: it gives the row another rowid, and changes nothing else of it."


def kept_out(error: IntegrityError) -> HistoryProtected | None:
    """Return what it means that entries with new ids were refused; None where it was not the guard of the history.

    Args:
        error: of an INSERT that names no rowid.
    """
    if not str(error.orig).endswith(NO_REPLACE):
        return None
    return HistoryProtected(
        f"A row of the history whose rowid is {NO_ROWID} keeps every further entry out, and so every write.",
        remedy=REMEDY,
        details={"constraint": NO_REPLACE, "sql": f"SELECT * FROM feature_audit_log WHERE _rowid_ = {NO_ROWID}"},
    )
