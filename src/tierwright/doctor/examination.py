"""The examination as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import Connection, Engine

from tierwright.doctor.clear_secrets import clear_secret_findings
from tierwright.doctor.deleted_tiers import deleted_tier_findings
from tierwright.doctor.history import history_findings, unreadable_findings
from tierwright.doctor.key_lists import key_list_findings
from tierwright.doctor.partitions import partition_findings
from tierwright.doctor.report import Finding, Report, Severity
from tierwright.doctor.rows import row_definitions, row_findings
from tierwright.doctor.schema import schema_findings
from tierwright.isolation import isolation_findings
from tierwright.migrations import VERSION_TABLE, catalog
from tierwright.migrations.reading import reading_connection
from tierwright.migrations.status import read_status
from tierwright.services.key_lists.rules import LISTS


def examine(
    database: Any, *, schema: str | None = None, version_table: str = VERSION_TABLE, rows: bool = True
) -> Report:
    """Compare a database with what this release's chain makes, and look for rows that break its constraints.

    Changes nothing, takes no lock, and works on a standby.

    Args:
        database: a URL, or the host's own engine: only that shows whether the host enforces SQLite's foreign keys.
        schema: PostgreSQL schema; the connection's ``current_schema()`` unless given.
        version_table: the table that records the revision.
        rows: whether to read the rows too; on years of data that takes a while.

    Raises:
        ConfigurationError: bad URL or unsupported dialect.
        DatabaseUnreachable: no connection.
    """
    with reading_connection(database, schema) as connection:
        status = read_status(connection, version_table)
        definitions = row_definitions() if rows else []
        found = [
            *schema_findings(status),
            *(history_findings(connection) if status.current == status.head else ()),
            *_setting_findings(connection, is_host_engine=isinstance(database, Engine)),
            *_isolation_findings(connection),
            *partition_findings(connection),
            *row_findings(connection, definitions),
            *(key_list_findings(connection) if rows else ()),
            *(deleted_tier_findings(connection) if rows else ()),
            *(clear_secret_findings(connection) if rows else ()),
            *(unreadable_findings(connection) if rows and status.current == status.head else ()),
        ]
    expected = catalog.expected(status.dialect)
    checked = {"tables": len(expected)}
    checked |= {kind: sum(len(table[kind]) for table in expected.values()) for kind in catalog.KINDS}
    checked["row rules"] = len(definitions)
    checked["lists of keys"] = sum(map(len, LISTS.values())) if rows else 0
    return Report(
        dialect=status.dialect,
        current=status.current,
        head=status.head,
        checked=checked,
        findings=tuple(sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)),
    )


def _isolation_findings(connection: Connection) -> Iterator[Finding]:
    for found in isolation_findings(connection):
        yield Finding(found.code, Severity.ERROR, found.object, found.message, found.remedy)


def _setting_findings(connection: Connection, *, is_host_engine: bool) -> Iterator[Finding]:
    """Yield whether SQLite enforces foreign keys: each connection has to ask for it."""
    if connection.dialect.name != "sqlite" or connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one():
        return
    where = "on this engine" if is_host_engine else "on this command's own connection; the application's may differ"
    yield Finding(
        "foreign-keys-not-enforced",
        Severity.ERROR if is_host_engine else Severity.INFO,
        "PRAGMA foreign_keys",
        f"It is OFF {where}.",
        "Set it on every connection: listen to the engine's 'connect' event and execute PRAGMA foreign_keys=ON.",
    )
