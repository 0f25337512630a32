"""The statements that also tell where a PostgreSQL server stands: of a primary, and of its replicas."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement

from tierwright.services.row_security import Regclass
from tierwright.services.statements import STATE, TENANT, Kind, as_text, tagged

_SPACE: ColumnElement[str] = sa.literal_column("' '")


def _one(column: str, function: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column of the one row that a function gives."""
    chosen: ColumnElement[Any] = sa.literal_column(column)
    return sa.select(chosen).select_from(function).scalar_subquery()


def _place(lsn: ColumnElement[Any], timeline: ColumnElement[Any], mark: ColumnElement[Any]) -> sa.Select[Any]:
    """Return where a PostgreSQL server stands in the write-ahead log, as one row.

    Args:
        lsn: the position; NULL where the server is not what it is taken for.
        timeline: the number of its history, in hexadecimal.
        mark: what it is to be recognised by.
    """
    databases = sa.table("pg_database", sa.column("oid"), sa.column("datname"), schema="pg_catalog").c
    cluster = sa.func.concat_ws(
        _SPACE,
        _one("system_identifier", sa.func.pg_control_system()),
        sa.select(databases.oid).where(databases.datname == sa.func.current_database()).scalar_subquery(),
        sa.cast(Regclass(STATE.name), postgresql.OID()),
    )
    start: ColumnElement[Any] = sa.literal_column("'0/0'::pg_lsn")
    return tagged(
        Kind.PLACE,
        key=cluster,
        document=mark,
        number=sa.cast(sa.func.pg_wal_lsn_diff(lsn, start), sa.BigInteger()),
        more=sa.func.concat_ws(_SPACE, timeline, sa.func.current_setting(sa.literal_column("'wal_block_size'"))),
    )


def _place_of_primary() -> sa.Select[Any]:
    """Return the position behind everything that is committed; NULL on a server that is in recovery.

    It is the insert position: what was committed asynchronously is visible before it is written.
    """
    lsn = sa.case((sa.not_(sa.func.pg_is_in_recovery()), sa.func.pg_current_wal_insert_lsn()))
    timeline = sa.func.substr(sa.func.pg_walfile_name(lsn), sa.literal_column("1"), sa.literal_column("8"))
    return _place(lsn, timeline, as_text(sa.func.pg_current_snapshot()))


def _place_of_replica() -> sa.Select[Any]:
    """Return the position up to which everything is replayed; NULL on a server that is not, or no longer, a replica."""
    lsn = sa.case((sa.func.pg_is_in_recovery(), sa.func.pg_last_wal_replay_lsn()))
    timelines = (
        _one("timeline_id", sa.func.pg_control_checkpoint()),
        _one("min_recovery_end_timeline", sa.func.pg_control_recovery()),
    )
    process = sa.func.concat_ws(_SPACE, sa.func.pg_postmaster_start_time(), sa.func.pg_backend_pid())
    return _place(lsn, sa.func.to_hex(sa.func.greatest(*timelines)), process)


#: Of a primary and of a replica: where the server stands, and what one tenant holds. The place comes first, because a
#: primary that reads a table may tidy it, which it writes to the log.
TENANT_ON_PRIMARY: sa.CompoundSelect[Any] = sa.union_all(_place_of_primary(), *TENANT["postgresql"].selects)
TENANT_ON_REPLICA: sa.CompoundSelect[Any] = sa.union_all(_place_of_replica(), *TENANT["postgresql"].selects)
