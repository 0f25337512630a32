"""PostgreSQL statements of the helper layer, for live runs and for ``--sql`` scripts.

A script starts from the preceding released revision, so it compares nothing; each statement of it can still be run
again after a failure, because what it adds it first drops.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from alembic.operations import Operations
from sqlalchemy.schema import CreateColumn

from tierwright.migrations import preflight
from tierwright.migrations.definitions import Check, Column, Constraint, Definition, ForeignKey, Index, Trigger


def index_definition(index: Index) -> str:
    """Return what ``pg_get_indexdef`` says of the index after its name and table."""
    where = f" WHERE {index.where}" if index.where else ""
    return f"{'UNIQUE ' if index.unique else ''}btree ({', '.join(index.columns)}){where}"


def create_index(index: Index, guard: str = "") -> str:
    """Return the statement that builds the index without blocking writers; ``guard`` may be ``IF NOT EXISTS``."""
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {index.where}" if index.where else ""
    columns = ", ".join(index.columns)
    return f"CREATE {unique}INDEX CONCURRENTLY {guard}{index.name} ON {index.table} ({columns}){where}"


def create_index_only(index: Index) -> str:
    """Return the statement that makes the index of a partitioned table, without those of its partitions."""
    return create_index(index).replace(" CONCURRENTLY ", " ").replace(f" ON {index.table} ", f" ON ONLY {index.table} ")


def add_constraint(constraint: Constraint) -> str:
    """Return the statement that enforces the constraint for new rows only."""
    return f"ALTER TABLE {constraint.table} ADD CONSTRAINT {constraint.name} {constraint.clause} NOT VALID"


def validate_constraint(constraint: Constraint) -> str:
    """Return the statement that checks the rows that were there before."""
    return f"ALTER TABLE {constraint.table} VALIDATE CONSTRAINT {constraint.name}"


def drop_constraint(constraint: Constraint) -> str:
    """Return the statement that removes the constraint if it is there."""
    return f"ALTER TABLE {constraint.table} DROP CONSTRAINT IF EXISTS {constraint.name}"


def folded(sql: str) -> str:
    """Return ``sql`` without differences of case and space."""
    return re.sub(r"\s+", " ", sql).strip().lower()


def ensure(operations: Operations, definitions: Sequence[Definition]) -> None:
    """Write the statements that add ``definitions``, each outside of a transaction."""
    with operations.get_context().autocommit_block():
        for definition in definitions:
            for statement in _ensure_statements(operations, definition):
                operations.execute(statement)


def discard(operations: Operations, definitions: Sequence[Definition]) -> None:
    """Write the statements that remove ``definitions``, each outside of a transaction."""
    with operations.get_context().autocommit_block():
        for definition in definitions:
            operations.execute(_drop_statement(definition))


def survey(operations: Operations, definitions: Sequence[Definition]) -> None:
    """Write a block that stops the script if rows break ``definitions``."""
    for definition in definitions:
        query = _survey_query(definition)
        if query is None:
            continue
        message = (
            f"tierwright: rows in {definition.table} break {definition.name}; nothing was changed by this revision"
        )
        hint = f"List them: {query}"
        operations.execute(
            f"DO $tierwright$ BEGIN IF EXISTS ({query}) THEN "
            f"RAISE EXCEPTION USING MESSAGE = {_literal(message)}, HINT = {_literal(hint)}, "
            "ERRCODE = 'check_violation'; END IF; END $tierwright$"
        )


def _ensure_statements(operations: Operations, definition: Definition) -> list[str]:
    if isinstance(definition, Column):
        dialect = operations.get_context().dialect
        column = CreateColumn(definition.column).compile(dialect=dialect)
        return [f"ALTER TABLE {definition.table} ADD COLUMN IF NOT EXISTS {column}"]
    if isinstance(definition, Index):
        # CONCURRENTLY waits for old transactions, and nobody waits for it: it needs no lock_timeout.
        # The DROP removes an invalid index of a failed run, which IF NOT EXISTS alone would take for a good one.
        build = create_index(definition, guard="IF NOT EXISTS ")
        return ["SET lock_timeout = 0", _drop_statement(definition), build, "SET lock_timeout = '2s'"]
    if isinstance(definition, Trigger):
        return [_drop_statement(definition), *definition.create["postgresql"]]
    return [drop_constraint(definition), add_constraint(definition), validate_constraint(definition)]


def _drop_statement(definition: Definition) -> str:
    if isinstance(definition, Index):
        return f"DROP INDEX CONCURRENTLY IF EXISTS {definition.name}"
    if isinstance(definition, Trigger):
        return f"DROP TRIGGER IF EXISTS {definition.name} ON {definition.table}"
    if isinstance(definition, Column):
        return f"ALTER TABLE {definition.table} DROP COLUMN IF EXISTS {definition.name}"
    return drop_constraint(definition)


def _survey_query(definition: Definition) -> str | None:
    if isinstance(definition, ForeignKey):
        return preflight.orphan_query(definition)
    if isinstance(definition, Check):
        return f"SELECT 1 FROM {definition.table} WHERE NOT ({definition.condition})"
    if isinstance(definition, Index) and definition.unique:
        return preflight.duplicate_query(definition)
    return None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
