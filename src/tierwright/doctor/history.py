"""What lets the history be changed in spite of its triggers."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.doctor.report import Finding, Severity
from tierwright.migrations.dialects.sqlite_schema import other_keys
from tierwright.services.statements import STATE
from tierwright.tables.history_guards import PASS_KEY

_LOG = "feature_audit_log"
_RULES = f"""
    SELECT rulename, relname FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
    WHERE ev_class = '{_LOG}'::regclass
       OR ev_class IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{_LOG}'::regclass)
    ORDER BY relname, rulename
"""


def history_findings(connection: Connection) -> Iterator[Finding]:
    """Yield what opens the history to changes.

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
        ours = {index.name for index in SQLModel.metadata.tables[_LOG].indexes}  # a wrong one is a finding already
        for key in sorted(set(other_keys(connection, _LOG)) - ours):
            yield Finding(
                "history-replaceable",
                Severity.ERROR,
                f"{_LOG}.{key}",
                "The application made it unique, so REPLACE can delete entries by it, and no trigger is asked.",
                "Make it an index that is not unique.",
            )
