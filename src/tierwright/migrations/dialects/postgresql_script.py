"""PostgreSQL statements of the helper layer, for live runs and for ``--sql`` scripts.

A script starts from the preceding released revision, so it compares nothing; each statement of it can still be run
again after a failure, because what it adds it first drops.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from alembic.operations import Operations
from sqlalchemy.schema import CreateColumn

from tierwright.migrations import preflight
from tierwright.migrations.definitions import (
    Check,
    Column,
    Constraint,
    Definition,
    ForeignKey,
    Index,
    Partitioning,
    Trigger,
)
from tierwright.migrations.dialects import postgresql_partitioning as partitioning
from tierwright.migrations.dialects import postgresql_partitions as partitions
from tierwright.migrations.dialects.postgresql_refusals import refusals

#: What the new one of two constraints or indexes is called until it is valid; a killed run leaves it to the next one.
REPLACEMENT = "_tierwright_replacement"


def index_definition(index: Index) -> str:
    """Return what ``pg_get_indexdef`` says of the index after its name and table."""
    where = f" WHERE {index.where}" if index.where else ""
    return f"{'UNIQUE ' if index.unique else ''}{index.using} ({', '.join(index.columns)}){where}"


def create_index(index: Index, guard: str = "") -> str:
    """Return the statement that builds the index without blocking writers; ``guard`` may be ``IF NOT EXISTS``."""
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {index.where}" if index.where else ""
    using = "" if index.using == "btree" else f"USING {index.using} "
    columns = ", ".join(index.columns)
    return f"CREATE {unique}INDEX CONCURRENTLY {guard}{index.name} ON {index.table} {using}({columns}){where}"


def create_index_only(index: Index) -> str:
    """Return the statement that makes the index of a partitioned table, without those of its partitions."""
    return create_index(index).replace(" CONCURRENTLY ", " ").replace(f" ON {index.table} ", f" ON ONLY {index.table} ")


def swap_index(index: Index) -> str:
    """Return the statement that puts the index :data:`REPLACEMENT` in the place of the one of this name, if any."""
    return (
        f"DO $tierwright$ BEGIN DROP INDEX IF EXISTS {index.name}; "
        f"ALTER INDEX {REPLACEMENT} RENAME TO {index.name}; END $tierwright$"
    )


def add_constraint(constraint: Constraint) -> str:
    """Return the statement that enforces the constraint for new rows only."""
    return f"ALTER TABLE {constraint.table} ADD CONSTRAINT {constraint.name} {constraint.clause} NOT VALID"


def replace_constraint(constraint: Constraint) -> str:
    """Return the statement that does the same where one of that name may stand, which goes at the same moment."""
    return (
        f"ALTER TABLE {constraint.table} DROP CONSTRAINT IF EXISTS {constraint.name}, "
        f"ADD CONSTRAINT {constraint.name} {constraint.clause} NOT VALID"
    )


def swap_constraint(constraint: Constraint) -> str:
    """Return the statement that puts the constraint :data:`REPLACEMENT` in the place of the one of this name."""
    table = f"ALTER TABLE {constraint.table}"
    return (
        f"DO $tierwright$ BEGIN {table} DROP CONSTRAINT {constraint.name}; "
        f"{table} RENAME CONSTRAINT {REPLACEMENT} TO {constraint.name}; END $tierwright$"
    )


def validate_constraint(constraint: Constraint) -> str:
    """Return the statement that checks the rows that were there before."""
    return f"ALTER TABLE {constraint.table} VALIDATE CONSTRAINT {constraint.name}"


def drop_constraint(constraint: Constraint) -> str:
    """Return the statement that removes the constraint if it is there."""
    return f"ALTER TABLE {constraint.table} DROP CONSTRAINT IF EXISTS {constraint.name}"


def create_trigger(trigger: Trigger) -> list[str]:
    """Return the statements that make the trigger, and its function if it has one of its own.

    They replace what has the trigger's name, and turn on one that was disabled.
    """
    function = (
        f"CREATE OR REPLACE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$tierwright${trigger.body}$tierwright$"
    )
    *before, create = trigger.create["postgresql"]
    replace = create.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1)
    return [*([function] if trigger.body else []), *before, replace]


def drop_trigger(trigger: Trigger) -> str:
    """Return the statement that removes the trigger if it is there."""
    return f"DROP TRIGGER IF EXISTS {trigger.name} ON {trigger.table}"


def drop_function(trigger: Trigger) -> str:
    """Return the statement that removes the function of the trigger's own name if it is there."""
    return f"DROP FUNCTION IF EXISTS {trigger.name}()"


def folded(sql: str) -> str:
    """Return ``sql`` without differences of case and space."""
    return re.sub(r"\s+", " ", sql).strip().lower()


def ensure(operations: Operations, definitions: Sequence[Definition]) -> None:
    """Write the statements that add ``definitions``, each outside of a transaction.

    A table is partitioned in the transaction that records the revision: what stands before it in the script cannot be
    run again afterwards, because CONCURRENTLY does not work on it any more.
    """
    with operations.get_context().autocommit_block():
        for definition in definitions:
            for statement in _ensure_statements(operations, definition):
                operations.execute(statement)
    for definition in definitions:
        if isinstance(definition, Partitioning):
            operations.execute(partitioning.swap(definition))
            operations.execute(partitions.months_ahead(definition))


def discard(operations: Operations, definitions: Sequence[Definition]) -> None:
    """Write the statements that remove ``definitions``, each outside of a transaction."""
    with operations.get_context().autocommit_block():
        for definition in definitions:
            for statement in _drop_statements(definition):
                operations.execute(statement)


def survey(operations: Operations, definitions: Sequence[Definition]) -> None:
    """Write a block that stops the script if rows break ``definitions``.

    Of a table to which a column is added nothing is asked: run again, the script finds the column there already.
    """
    growing = {definition.table for definition in definitions if isinstance(definition, Column)}
    for definition in definitions:
        query = _survey_query(definition)
        if query is None or definition.table in growing:
            continue
        message = f"tierwright: {_problem(definition)}; nothing was changed by this revision"
        operations.execute(
            f"DO $tierwright$ BEGIN IF EXISTS ({query}) THEN "
            f"RAISE EXCEPTION USING MESSAGE = {_literal(message)}, HINT = {_literal(f'List them: {query}')}, "
            "ERRCODE = 'check_violation'; END IF; END $tierwright$"
        )


def _problem(definition: Definition) -> str:
    if isinstance(definition, Trigger):
        return f"a function {definition.name}() exists that is not ours"
    if isinstance(definition, Partitioning):
        return f"{definition.table} cannot be partitioned as it is"
    return f"rows in {definition.table} break {definition.name}"


def _ensure_statements(operations: Operations, definition: Definition) -> list[str]:
    if isinstance(definition, Column):
        dialect = operations.get_context().dialect
        column = CreateColumn(definition.column).compile(dialect=dialect)
        return [f"ALTER TABLE {definition.table} ADD COLUMN IF NOT EXISTS {column}"]
    if isinstance(definition, Index):
        # CONCURRENTLY waits for old transactions, and nobody waits for it: it needs no lock_timeout.
        # The DROP removes an invalid index of a failed run, which IF NOT EXISTS alone would take for a good one.
        if not definition.unique:
            build = create_index(definition, guard="IF NOT EXISTS ")
            return ["SET lock_timeout = 0", *_drop_statements(definition), build, "SET lock_timeout = '2s'"]
        # One of its name may keep duplicates out, and does until the new one is there.
        made = replace(definition, name=REPLACEMENT)
        replaced = [*_drop_statements(made), create_index(made, guard="IF NOT EXISTS ")]
        return ["SET lock_timeout = 0", *replaced, "SET lock_timeout = '2s'", swap_index(definition)]
    if isinstance(definition, Trigger):
        return create_trigger(definition)
    if isinstance(definition, Partitioning):
        return [partitioning.promise(definition), partitioning.prove(definition)]
    return [replace_constraint(definition), validate_constraint(definition)]


def _drop_statements(definition: Definition) -> list[str]:
    if isinstance(definition, Index):
        return [f"DROP INDEX CONCURRENTLY IF EXISTS {definition.name}"]
    if isinstance(definition, Trigger):
        return [drop_trigger(definition), *([drop_function(definition)] if definition.body else [])]
    if isinstance(definition, Column):
        return [f"ALTER TABLE {definition.table} DROP COLUMN IF EXISTS {definition.name}"]
    if isinstance(definition, Partitioning):
        return [partitioning.withdraw(definition), partitioning.join(definition)]
    return [drop_constraint(definition)]


def _survey_query(definition: Definition) -> str | None:
    if isinstance(definition, ForeignKey):
        return preflight.orphan_query(definition)
    if isinstance(definition, Check):
        return f"SELECT 1 FROM {definition.table} WHERE NOT ({definition.condition})"
    if isinstance(definition, Index) and definition.unique:
        return preflight.duplicate_query(definition)
    if isinstance(definition, Partitioning):
        return f"SELECT * FROM ({refusals(definition)}) AS refused"
    if isinstance(definition, Trigger) and definition.body:
        return (
            f"SELECT oid::regprocedure FROM pg_proc WHERE proname = '{definition.name}' AND pronargs = 0 "
            "AND pronamespace = quote_ident(current_schema())::regnamespace "
            f"AND md5(prosrc) <> '{hashlib.md5(definition.body.encode(), usedforsecurity=False).hexdigest()}'"
        )
    return None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
