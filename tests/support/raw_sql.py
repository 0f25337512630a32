"""What an application may send past the API to the tables of tenants, for itself or against another tenant."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from tests.support.apart import TABLES

#: insufficient_privilege, which a policy raises; check_violation, which triggers do; COPY FROM is not supported
POLICY, TRIGGER, UNSUPPORTED = "42501", "23514", "0A000"
#: What is not a tenant's id, but looks like it.
FORGED: list[Callable[[str], str]] = [
    str.upper,
    lambda tenant: "",
    lambda tenant: f"{tenant} ",
    lambda tenant: f"{tenant}\n",
    lambda tenant: "%",
    lambda tenant: f"{tenant[:-1]}_",
    lambda tenant: f'"{tenant}"',
    lambda tenant: f"{tenant}' OR ''='",
    lambda tenant: f"{{{tenant}}}",
    lambda tenant: "null",
    lambda tenant: tenant.replace("o", "\u043e"),
    lambda tenant: tenant * 20,
]
_VICTIM: sa.BindParameter[str] = sa.bindparam("victim", type_=sa.String())


@dataclass(frozen=True)
class Statement:
    """A statement about one tenant.

    Attributes:
        name: for people.
        send: sends it, for ``tenant`` against ``victim``, and returns what it shows.
        refused: the SQLSTATEs with which it is refused to whoever works for another tenant than the victim; None
            among them where it may find nothing instead.
        shows: whether it shows the rows that it finds.
    """

    name: str
    send: Callable[[Connection, str, str], list[Any]]
    refused: frozenset[str | None] = frozenset()
    shows: bool = True

    def run(self, connection: Connection, tenant: str, victim: str) -> tuple[str | None, list[Any]]:
        """Return the SQLSTATE with which it was refused, or None, and what it showed; no other error passes."""
        try:
            return None, self.send(connection, tenant, victim)
        except (DBAPIError, psycopg.Error) as error:
            original = error.orig if isinstance(error, DBAPIError) else error
            state = getattr(original, "sqlstate", None)
            if state not in self.refused:
                raise
            return state, [str(original)]


def statements() -> list[Statement]:
    """Return all of them, for each table."""
    return [each for table in TABLES for each in (*_reading(table), *_changing(table), *_adding(table), *_past(table))]


def _reading(table: sa.Table) -> list[Statement]:
    name = table.name
    # A function that fails for the victim's rows would show that there are some, if it were asked before the policy.
    probe = sa.select(table).where(sa.literal_column("1") / sa.case((_is_victim(table), 0), else_=1) == 1)
    return [
        Statement(f"select {name}", _core(sa.select(table))),
        Statement(f"select victim's {name}", _core(sa.select(table).where(_is_victim(table)))),
        Statement(f"count {name}", _core(sa.select(table.c.tenant_id, sa.func.count()).group_by(table.c.tenant_id))),
        Statement(f"lock {name}", _core(sa.select(table).with_for_update())),
        Statement(f"probe {name}", lambda c, tenant, victim: _run(c, probe, "" if tenant == victim else victim)),
        # With policies, COPY reads a partitioned table without its partitions.
        Statement(f"copy {name} to", lambda c, _, __: _copy_to(c, name), shows=name != "feature_audit_log"),
    ]


def _changing(table: sa.Table) -> list[Statement]:
    name = table.name
    column = "reason" if name == "feature_audit_log" else "created_at"
    same = {column: table.c[column]}
    moved = frozenset({TRIGGER, POLICY})
    # Nobody changes the history; where there is none of the victim's to be seen, there is nothing to refuse.
    kept: frozenset[str | None] = frozenset({TRIGGER, None} if name == "feature_audit_log" else ())
    merge = (
        f"MERGE INTO {name} t USING (SELECT CAST(:victim AS text) AS tenant_id) v ON t.tenant_id = v.tenant_id "
        "WHEN MATCHED THEN DELETE"
    )
    return [
        Statement(f"update {name}", _core(sa.update(table).values(same).returning(table)), kept),
        Statement(
            f"update victim's {name}",
            _core(sa.update(table).values(same).where(_is_victim(table)).returning(table)),
            kept,
        ),
        Statement(
            f"give {name} away", _core(sa.update(table).values(tenant_id=_VICTIM, **same).returning(table)), moved
        ),
        Statement(f"delete {name}", _core(sa.delete(table).returning(table)), kept),
        Statement(f"delete victim's {name}", _core(sa.delete(table).where(_is_victim(table)).returning(table)), kept),
        Statement(f"merge {name}", _core(sa.text(merge)), shows=False),
    ]


def _adding(table: sa.Table) -> list[Statement]:
    name, refused = table.name, frozenset({POLICY})
    insert = postgresql.insert(table).values(tenant_id=_VICTIM, **_row(name))
    keys = list(table.primary_key.columns)
    upsert = insert.on_conflict_do_update(index_elements=keys, set_={"tenant_id": _VICTIM})
    return [
        # The key exists: a refusal for that reason would tell so.
        Statement(f"insert {name}", _core(insert.on_conflict_do_nothing().returning(table)), refused),
        Statement(f"insert {name} again", _core(insert), refused),
        Statement(f"upsert {name}", _core(upsert.returning(table)), refused),
        Statement(f"copy {name} from", lambda c, _, victim: _copy_from(c, name, victim), frozenset({UNSUPPORTED})),
    ]


def _past(table: sa.Table) -> list[Statement]:
    name, refused = table.name, frozenset({POLICY})
    statistics = f"SELECT * FROM pg_stats WHERE tablename = '{name}'"

    def without_policies(connection: Connection, tenant: str, victim: str) -> list[Any]:
        connection.exec_driver_sql("SET LOCAL row_security = off")
        return _run(connection, sa.select(table), victim)

    return [
        Statement(f"no policies on {name}", without_policies, refused),
        Statement(f"truncate {name}", _core(sa.text(f"TRUNCATE {name}")), refused),
        Statement(f"open {name}", _core(sa.text(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")), refused),
        Statement(f"statistics of {name}", _core(sa.text(statistics)), shows=False),
    ]


def _is_victim(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.tenant_id == _VICTIM


def _row(table: str) -> dict[str, Any]:
    """Return values of a row that both tenants have already, but for its history."""
    tier = sa.select(SQLModel.metadata.tables["license_tier"].c.id).limit(1).scalar_subquery()
    return {
        "tenant_license": {"license_key": "main", "license_tier_id": tier},
        "tenant_feature_override": {"feature_key": "f.b", "feature_value": {"enabled": False}},
        "tenant_integration_configs": {"integration_key": "chat", "config": {"channel": "#forged"}},
        "feature_audit_log": {
            "id": uuid.UUID(int=1),
            "performed_at": datetime(2026, 1, 1, tzinfo=UTC),
            "entity_type": "tenant",
            "entity_id": "forged",
            "action": "updated",
        },
    }[table]


def _core(statement: Any) -> Callable[[Connection, str, str], list[Any]]:
    return lambda connection, _, victim: _run(connection, statement, victim)


def _run(connection: Connection, statement: Any, victim: str) -> list[Any]:
    result = connection.execute(statement, {"victim": victim})
    return list(result) if result.returns_rows else []


def _copy_to(connection: Connection, table: str) -> list[Any]:
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY {table} TO STDOUT") as copy:
        return [bytes(block).decode() for block in copy]


def _copy_from(connection: Connection, table: str, victim: str) -> list[Any]:
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY {table} (tenant_id) FROM STDIN") as copy:
        copy.write_row((victim,))
    return []
