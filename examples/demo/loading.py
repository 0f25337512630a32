"""Whose rows a database holds, and how the demo's get in: one transaction, and nothing that was there is touched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import SQLModel, col

from examples.demo.catalogue import Catalogue, Rows, build, digest
from examples.demo.history import ACTOR, MARKER, audit_rows, marker
from examples.demo.tenants import tenant_rows
from tierwright import catalog
from tierwright.services.audit import AuditContext
from tierwright.services.catalog_version import lock_catalog
from tierwright.tables import TABLE_NAMES, FeatureAuditLog, LicenseTier, TierwrightState
from tierwright.types import utc_now

_LOG = str(FeatureAuditLog.__tablename__)
_ELSEWHERE = "Name an empty database with --url, or an empty PostgreSQL schema with --schema."


class DemoRefused(Exception):
    """The demo will not touch this database; the message says what to do."""


@dataclass(frozen=True)
class Loaded:
    """What is in the database now.

    Attributes:
        counts: rows by table.
        at: when the demo loaded them.
        catalogue: what was loaded; None where an earlier run did it.
    """

    counts: dict[str, int]
    at: datetime
    catalogue: Catalogue | None


def find(connection: Connection, schema: str | None = None) -> Loaded | None:
    """Return what an earlier run loaded; None where our tables are empty or absent.

    Raises:
        DemoRefused: there are rows that this edition of the demo did not write.
    """
    counts = _counts(connection, schema)
    if not counts:
        return None
    mark = _marker(connection) if _LOG in counts else None
    if mark is None or mark.new_value.get("rows") != counts:
        found = ", ".join(f"{table} ({count:,})" for table, count in counts.items())
        raise DemoRefused(
            f"The database holds rows that are not the demo's: {found}. Nothing was changed. {_ELSEWHERE}"
        )
    if mark.new_value.get("digest") != digest():
        raise DemoRefused(f"Another edition of the demo loaded this database. Nothing was changed. {_ELSEWHERE}")
    return Loaded(counts, mark.performed_at, None)


def load(engine: Engine, schema: str | None = None) -> Loaded:
    """Return what is loaded, after loading it if the tables are empty.

    Raises:
        DemoRefused: see :func:`find`; or somebody else wrote at the same time.
    """
    now = utc_now()
    try:
        with engine.begin() as connection:
            lock_catalog(connection)
            if found := find(connection, schema):
                connection.rollback()  # gives the lock back
                return found
            catalogue = build(now.date())
            _apply(connection, catalogue)
            rows = tenant_rows(catalogue, _tiers(connection), now)
            rows[FeatureAuditLog] = audit_rows(rows, now)
            _insert(connection, rows)
            counts = _counts(connection, schema)
            counts[_LOG] += 1
            _insert(connection, {FeatureAuditLog: [marker(counts, now).row_values()]})
    except IntegrityError as error:
        raise DemoRefused("Another session wrote at the same time. Nothing was changed. Run the demo again.") from error
    _analyse(engine, counts)
    return Loaded(counts, now, catalogue)


def _apply(connection: Connection, catalogue: Catalogue) -> None:
    """Write the catalogue as `tierwright catalog apply` does: planned, with an entry in the history for each thing."""
    with Session(connection) as session:
        AuditContext(ACTOR, "the demo's catalogue").attach(session)
        catalog.apply(session, catalog.plan(session, catalogue.document))
        session.commit()


def _tiers(connection: Connection) -> dict[str, UUID]:
    tier = LicenseTier
    found = connection.execute(sa.select(col(tier.tier_key), col(tier.id)))
    return {str(key): tier_id for key, tier_id in found}


def _insert(connection: Connection, rows: Rows) -> None:
    for name in TABLE_NAMES:  # parents before children
        for table, values in rows.items():
            if table.__tablename__ == name:
                connection.execute(sa.insert(table), values)


def _counts(connection: Connection, schema: str | None) -> dict[str, int]:
    """Count the rows of each of our tables that exists and is not empty; the library's own counters aside."""
    present = set(sa.inspect(connection).get_table_names(schema))
    counts = {}
    for name in TABLE_NAMES:
        if name in present and name != TierwrightState.__tablename__:
            table = SQLModel.metadata.tables[name]
            counts[name] = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    return {name: count for name, count in counts.items() if count}


def _marker(connection: Connection) -> sa.Row[tuple[dict[str, object], datetime]] | None:
    log = FeatureAuditLog
    statement = (
        sa.select(col(log.new_value), col(log.performed_at))
        .where(col(log.entity_type) == "catalog", col(log.entity_id) == MARKER, col(log.action) == "imported")
        .order_by(col(log.performed_at).desc())
        .limit(1)
    )
    return connection.execute(statement).first()


def _analyse(engine: Engine, tables: Iterable[str]) -> None:
    """Tell the planner what the tables hold now; PostgreSQL would find out by itself a minute later."""
    with engine.begin() as connection:
        for table in tables:
            statement = sa.DDL("ANALYZE %(fullname)s")  # type: ignore[no-untyped-call]  # SQLAlchemy left it open
            connection.execute(statement.against(SQLModel.metadata.tables[table]))
