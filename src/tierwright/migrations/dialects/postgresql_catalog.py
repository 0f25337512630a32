"""What PostgreSQL's catalogue says of single objects in ``current_schema()``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tierwright.migrations.definitions import Check, Constraint
from tierwright.migrations.names import ADMIN_POLICY

#: SQL for the source of the function ``p``; with what a trigger's function of ours has not, so that it differs then.
FUNCTION_TEXT = (
    "p.prosrc || CASE WHEN p.prosecdef THEN ' SECURITY DEFINER' ELSE '' END || coalesce(' ' || p.proconfig::text, '') "
    "|| CASE WHEN p.prorettype = 'trigger'::regtype THEN '' ELSE ' RETURNS ' || p.prorettype::regtype END"
)
_KINDS = {"i": "index", "I": "index", "r": "table", "p": "table", "v": "view", "m": "view", "S": "sequence"}


@dataclass(frozen=True)
class Relation:
    """A relation of some name: an index with its table, definition and validity, or something else."""

    kind: str
    table: str | None
    definition: str
    valid: bool
    constraint: str | None
    partitioned: bool


def relation(connection: Connection, name: str) -> Relation | None:
    """Return the relation called ``name``, or None."""
    found = connection.exec_driver_sql(
        """
        SELECT c.relkind, t.relname AS "table", pg_get_indexdef(i.indexrelid) AS definition,
               coalesce(i.indisvalid AND i.indisready AND i.indislive, false) AS valid,
               (SELECT conname FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x')) AS conname
        FROM pg_class c
        LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = %s
        """,
        (name,),
    ).one_or_none()
    if found is None:
        return None
    kind = _KINDS.get(found.relkind, "relation")
    return Relation(
        kind=kind,
        table=found.table,
        definition=index_body(found.definition or ""),
        valid=found.valid,
        constraint=found.conname,
        partitioned=found.relkind in ("I", "p"),
    )


def is_partitioned(connection: Connection, table: str) -> bool:
    """Tell whether a table is the parent of partitions."""
    found = relation(connection, table)
    return found is not None and found.partitioned


def dependents(connection: Connection, tables: Sequence[str]) -> list[str]:
    """Return the foreign keys and views on ``tables`` that stand outside of them."""
    rows = connection.exec_driver_sql(
        """
        WITH ours AS (SELECT oid FROM pg_class
                      WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname = ANY(%(tables)s))
        SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass AS found FROM pg_constraint
        WHERE contype = 'f' AND confrelid IN (SELECT oid FROM ours) AND conrelid NOT IN (SELECT oid FROM ours)
        UNION
        SELECT 'view ' || r.ev_class::regclass FROM pg_depend d
        JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM ours)
          AND r.ev_class NOT IN (SELECT oid FROM ours)
        ORDER BY 1
        """,
        {"tables": list(tables)},
    )
    return [str(row.found) for row in rows]


def quoted(name: str) -> str:
    """Return a name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def index_body(definition: str) -> str:
    """Return ``pg_get_indexdef`` from USING on, with UNIQUE before it, without storage parameters."""
    unique = "UNIQUE " if definition.startswith("CREATE UNIQUE") else ""
    body = definition.partition(" USING ")[2]
    return unique + re.sub(r" WITH \([^)]*\)", "", body)


def constraint(connection: Connection, table: str, name: str) -> str | None:
    """Return the definition of a constraint of ``table``; one that is not validated says NOT VALID."""
    found = connection.exec_driver_sql(
        """
        SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint
        WHERE conrelid = (SELECT oid FROM pg_class
                          WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname = %s)
          AND conname = %s
        """,
        (table, name),
    ).one_or_none()
    return None if found is None else str(found.definition)


def trigger(connection: Connection, table: str, name: str) -> str | None:
    """Return the definition of an enabled trigger of ``table``; one that never fires counts as missing."""
    found = connection.exec_driver_sql(
        """
        SELECT pg_get_triggerdef(oid, true) AS definition FROM pg_trigger
        WHERE tgrelid = (SELECT oid FROM pg_class
                         WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname = %s)
          AND tgname = %s AND tgenabled IN ('O', 'A')
        """,
        (table, name),
    ).one_or_none()
    return None if found is None else str(found.definition)


def function(connection: Connection, name: str) -> str | None:
    """Return the source of the function ``name()``, with what is unusual for a trigger's; None if there is none."""
    found = connection.exec_driver_sql(
        f"SELECT {FUNCTION_TEXT} AS source FROM pg_proc p "
        "WHERE pronamespace = quote_ident(current_schema())::regnamespace AND proname = %s AND pronargs = 0",
        (name,),
    ).one_or_none()
    return None if found is None else str(found.source)


def runs_own_function(connection: Connection, table: str, name: str) -> bool:
    """Tell whether ``table`` has the trigger ``name`` and it runs the function of the same name beside it."""
    found = connection.exec_driver_sql(
        """
        SELECT 1 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = %s AND t.tgname = %s
          AND p.pronamespace = c.relnamespace AND p.proname = t.tgname
        """,
        (table, name),
    )
    return found.first() is not None


def hidden_tables(connection: Connection, tables: Sequence[str]) -> list[str]:
    """Return those of ``tables`` of which row-level security may hide rows from the current role.

    It hides none from a role that inherits one of the policy for administrators, unless somebody restricts that too.
    """
    rows = connection.exec_driver_sql(
        """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = ANY(%(tables)s)
          AND row_security_active(c.oid)
          AND (EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive)
               OR NOT EXISTS (SELECT FROM pg_policy p, unnest(p.polroles) AS role
                              WHERE p.polrelid = c.oid AND p.polname = %(policy)s AND p.polpermissive
                                AND p.polcmd = '*' AND pg_has_role(role, 'USAGE')))
        ORDER BY c.relname
        """,
        {"tables": list(tables), "policy": ADMIN_POLICY},
    )
    return [str(row.relname) for row in rows]


def canonical(connection: Connection, wanted: Constraint) -> str:
    """Return how PostgreSQL itself writes ``wanted``: it rewrites a CHECK, IN (...) for example.

    The condition is asked of an empty copy of the table, made and undone within a savepoint.
    """
    if not isinstance(wanted, Check):
        return wanted.clause
    probe = "_tierwright_probe"
    run = connection.exec_driver_sql
    savepoint = connection.begin_nested()
    try:
        run(f"CREATE TABLE {probe} (LIKE {wanted.table})")
        run(f"ALTER TABLE {probe} ADD CONSTRAINT {wanted.name} {wanted.clause}")
        found = constraint(connection, probe, wanted.name)
    finally:
        savepoint.rollback()
    return str(found)
