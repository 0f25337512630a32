"""Findings about the history in monthly parts; SQLite has no parts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from sqlalchemy.engine import Connection

from tierwright.audit.months import next_month
from tierwright.doctor.report import Finding, Severity
from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.dialects.postgresql_moving import rows_outside
from tierwright.migrations.dialects.postgresql_partitions import Partition, partitions, uncovered, unguarded
from tierwright.migrations.names import PARTITIONED_TABLES, is_partition_name, partition_pattern
from tierwright.types import utc_now

#: What ``maintain`` detaches it drops in the same transaction. By the trigger, a table is one of ours and no host's.
_DETACHED = """
    SELECT relname FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'r' AND NOT relispartition
      AND relname ~ %s AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = %s)
    ORDER BY relname
"""
_MAINTAIN = "Run `tierwright audit maintain`, and let something run it every day."


def partition_findings(connection: Connection) -> Iterator[Finding]:
    """Yield what is wrong with the partitions of the history; a plain table is the schema's finding."""
    if connection.dialect.name != "postgresql":
        return
    for table in PARTITIONED_TABLES:
        found = partitions(connection, table)
        if any(is_partition_name(table, each.name) for each in found):  # what the host partitions, it looks after
            yield from _missing(table, found)
            yield from _rows_outside(connection, table, found)
        for name in unguarded(connection, table):
            yield Finding(
                "partition-unguarded",
                Severity.ERROR,
                name,
                "A trigger that keeps the history is missing, or off, on this partition.",
                "Run `tierwright db repair`.",
            )
        for name in connection.exec_driver_sql(
            _DETACHED, (partition_pattern(table), f"trg_{table}_no_truncate")
        ).scalars():
            yield Finding(
                "partition-detached",
                Severity.ERROR,
                name,
                "Somebody detached this partition: its entries are not in the history, and may be changed.",
                "Compare it with its archive or a backup, and ATTACH it again; find out who detached it.",
            )
        for name in uncovered(connection, table):
            yield Finding(
                "partition-uncovered",
                Severity.ERROR,
                name,
                "Row-level security is on for the history, and not for this partition of it.",
                "Run `tierwright db isolation enable` again.",
            )


def _missing(table: str, found: Sequence[Partition]) -> Iterator[Finding]:
    """Yield that the coming month has no partition; a table that ``create_all`` made has none at all, and no hurry."""
    start = next_month(utc_now())
    ranged = [each for each in found if not each.is_default]
    covered = any((each.upper is None or each.upper > start) and _begins(each) <= start for each in ranged)
    if not covered:
        yield Finding(
            "partitions-missing",
            Severity.ERROR if ranged or len(found) != 1 else Severity.INFO,
            table,
            f"There is no partition for {start:%Y-%m}; rows of it go where those of no month go.",
            _MAINTAIN,
        )


def _rows_outside(connection: Connection, table: str, found: Sequence[Partition]) -> Iterator[Finding]:
    if len(found) == 1:
        return  # there are no months at all, which is a finding already
    sql = rows_outside(Partitioning(table, "performed_at"), found)
    rows = 0 if sql is None else connection.exec_driver_sql(sql.replace("*", "count(*)", 1)).scalar_one()
    if rows:
        yield Finding(
            "rows-outside-partitions",
            Severity.ERROR,
            table,
            f"{rows} row(s) are from before or after every month that has a partition.",
            _MAINTAIN,
            sql,
        )


def _begins(each: Partition) -> dt.datetime:
    return each.lower or dt.datetime.min.replace(tzinfo=dt.UTC)
