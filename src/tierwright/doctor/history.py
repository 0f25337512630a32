"""What lets the history be changed in spite of its triggers, what blocks it, and what of it cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.audit.entries import NAMES
from tierwright.audit.odd_rowid import is_in_the_way
from tierwright.audit.pages import paged_rows
from tierwright.audit.question import AuditQuestion
from tierwright.audit.reading import UnreadableRow
from tierwright.doctor.report import Finding, Severity
from tierwright.migrations.dialects.sqlite_schema import other_keys
from tierwright.services.history_kept_out import REMEDY
from tierwright.services.statements import STATE
from tierwright.tables.history_guards import NO_ROWID, NO_UPDATE, PASS_KEY

_LOG = "feature_audit_log"
_SHOWN = 20
_FETCHED = 1000
_RULES = f"""
    SELECT rulename, relname FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
    WHERE ev_class = '{_LOG}'::regclass
       OR ev_class IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{_LOG}'::regclass)
    ORDER BY relname, rulename
"""


def history_findings(connection: Connection) -> Iterator[Finding]:
    """Yield what opens the history to changes, or blocks it.

    Args:
        connection: of a database at head.
    """
    if connection.execute(sa.select(STATE.c.key).where(STATE.c.key == PASS_KEY)).first() is not None:
        yield Finding(
            "history-pass-left",
            Severity.ERROR,
            f"tierwright_state.{PASS_KEY}",
            "A transaction that might change the history has committed, and left its pass open.",
            f"DELETE FROM tierwright_state WHERE key = '{PASS_KEY}', and find out who commits inside history_pass.",
        )
    if connection.dialect.name == "postgresql":
        for rule, table in connection.exec_driver_sql(_RULES):
            yield Finding(
                "history-ruled",
                Severity.ERROR,
                f"{table}.{rule}",
                "A rule rewrites what is written into the history, or has it dropped; no trigger is asked.",
                f'DROP RULE "{rule}" ON "{table}", and find out who made it.',
            )
    if connection.dialect.name == "sqlite":
        yield from _kept_out(connection)
        ours = {index.name for index in SQLModel.metadata.tables[_LOG].indexes}  # a wrong one is a finding already
        for key in sorted(set(other_keys(connection, _LOG)) - ours):
            yield Finding(
                "history-replaceable",
                Severity.ERROR,
                f"{_LOG}.{key}",
                "The application made it unique, so REPLACE can delete entries by it, and no trigger is asked.",
                "Make it an index that is not unique.",
            )


def _can_be_read(connection: Connection) -> bool:
    """Tell whether the table and its columns are there; that they are not is a finding already."""
    inspector = sa.inspect(connection)
    return inspector.has_table(_LOG) and {column["name"] for column in inspector.get_columns(_LOG)}.issuperset(NAMES)


def _kept_out(connection: Connection) -> Iterator[Finding]:
    if _can_be_read(connection) and is_in_the_way(connection):
        yield Finding(
            "history-blocked",
            Severity.ERROR,
            _LOG,
            f"A row has the rowid {NO_ROWID}, so the guard against REPLACE takes every new entry for its successor: "
            "all writes are refused.",
            REMEDY,
            f"SELECT * FROM {_LOG} WHERE _rowid_ = {NO_ROWID}",
        )


def unreadable_findings(connection: Connection) -> Iterator[Finding]:
    """Yield which rows of the history cannot be read as entries, by reading all of them.

    Args:
        connection: of a database at head.
    """
    if not _can_be_read(connection):
        return
    first: list[UnreadableRow] = []
    rows, columns = 0, Counter[str]()
    for row in paged_rows(lambda: nullcontext(connection), AuditQuestion(oldest_first=True), _FETCHED):
        if isinstance(row, UnreadableRow):
            rows, first = rows + 1, [*first, row][:_SHOWN]
            columns.update(row.columns)
    if rows:
        listed = ", ".join(f"{name} of {count}" for name, count in sorted(columns.items()))
        yield Finding(
            "history-unreadable",
            Severity.ERROR,
            _LOG,
            f"{rows} row(s) are no entries that could be read: {listed}. Lists leave them out, and no answer of "
            "`tierwright tenant history` that they may concern is proven.",
            "Find out who wrote them past this library"
            + (f" (the query lists the first {_SHOWN})" if rows > _SHOWN else " (the query lists them)")
            + f". To correct them, drop {NO_UPDATE}, and make it again with `tierwright db repair`; else they leave "
            "with their month.",
            f"SELECT * FROM {_LOG} WHERE {' OR '.join(f'({row.where})' for row in first)}",
        )
