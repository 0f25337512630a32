"""Rendering the chain as a script (``--sql``).

PostgreSQL: the helpers write statements for the preceding released state. SQLite: a rebuild needs the table as it
stands, so the chain runs on an in-memory database, from the starting revision on, and its statements are recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from tierwright.migrations import preflight
from tierwright.migrations.definitions import Column, Partitioning, for_dialect
from tierwright.migrations.names import TABLE_NAMES
from tierwright.migrations.options import OPTIONS_KEY, MigrationOptions
from tierwright.migrations.session import migration_session
from tierwright.migrations.urls import migration_url


def render(context: Any, database: Any, options: MigrationOptions) -> None:
    """Write the script for what the ``alembic`` command asked, for the dialect of ``database``."""
    url = migration_url(database if isinstance(database, str) else database.url)
    if url.get_backend_name() == "sqlite":
        _render_sqlite(context, options)
    else:
        _render_postgresql(context, options)


def _render_postgresql(context: Any, options: MigrationOptions) -> None:
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # any other doubles the per cent signs
        literal_binds=True,
        version_table=options.version_table,
        transaction_per_migration=True,
        **{OPTIONS_KEY: options},
    )
    migration: MigrationContext = context.get_context()
    output = migration.impl.static_output
    output("-- Run it with psql -v ON_ERROR_STOP=1 on a direct connection (no transaction-pooling proxy).")
    if options.schema:
        quoted = options.schema.replace('"', '""')
        output(f'SET search_path = "{quoted}";')
    output("SET client_min_messages = warning;")
    output("SET statement_timeout = 0;")
    # New in PostgreSQL 17; nothing where the setting is not known.
    output("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout';")
    output("SET lock_timeout = '2s';\n")
    output(_guard_against_repeats(context, migration.get_current_revision(), options))
    with context.begin_transaction():
        context.run_migrations()


def _guard_against_repeats(context: Any, start: str | None, options: MigrationOptions) -> str:
    """Return a block that stops a script that has partitioned a table before; live runs know where they stand.

    A script from the beginning on stops by itself: the tables are there.
    """
    if start is None:
        return ""
    done: list[str] = []
    for revision in reversed(list(context.script.iterate_revisions("head", start))):
        if done or any(isinstance(each, Partitioning) for each in getattr(revision.module, "ENSURES", ())):
            done.append(revision.revision)
    if not done:
        return ""
    listed = ", ".join(f"'{revision}'" for revision in done)
    return (
        f"DO $tierwright$ BEGIN IF EXISTS (SELECT FROM {options.version_table} WHERE version_num IN ({listed})) THEN "
        "RAISE EXCEPTION 'tierwright: this script was run already; nothing was changed' USING HINT = "
        "'Write one that starts at the revision of the database.'; END IF; END $tierwright$;\n"
    )


def _render_sqlite(context: Any, options: MigrationOptions) -> None:
    context.configure(dialect_name="sqlite", literal_binds=True, version_table=options.version_table)
    migration: MigrationContext = context.get_context()
    output = migration.impl.static_output
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    with migration_session(engine, options) as connection:
        start = migration.get_current_revision()
        if start is not None:
            _run(connection, options, lambda heads, _context: context.script._upgrade_revs(start, heads))
        output("-- Run it with the sqlite3 shell and -bail, on a database that nothing else writes to.")
        output("PRAGMA foreign_keys=OFF;\nBEGIN IMMEDIATE;\n")
        if start is not None:
            output(_guard_against_additions(connection))
        steps = list(migration.opts["fn"](migration.get_current_heads(), migration))
        output(_guard_against_dirt(connection, steps))
        with _recorded(connection, output):
            _run(connection, options, lambda _heads, _context: iter(steps))
        output("\nCOMMIT;\nPRAGMA foreign_key_check;\nPRAGMA foreign_keys=ON;")


def _run(connection: Connection, options: MigrationOptions, plan: Any) -> None:
    """Run a plan of Alembic's on the in-memory database, outside of the command's own context."""
    shadow = MigrationContext.configure(
        connection, opts={"fn": plan, "version_table": options.version_table, OPTIONS_KEY: options}
    )
    with Operations.context(shadow):
        shadow.run_migrations()


def _guard_against_additions(connection: Connection) -> str:
    """Return statements that fail where a table of ours is not as released: the script would drop what was added."""
    objects = "SELECT sql FROM sqlite_master WHERE tbl_name = '{}' AND sql IS NOT NULL ORDER BY type, name"
    lines = [
        "-- Fails here if the application added anything to these tables: a live upgrade keeps it, a script cannot.",
        "CREATE TEMP TABLE tierwright_guard (as_released INTEGER CHECK (as_released));",
    ]
    for table in sorted(set(sa.inspect(connection).get_table_names()).intersection(TABLE_NAMES)):
        released = "\n".join(connection.exec_driver_sql(objects.format(table)).scalars()).replace("'", "''")
        lines.append(
            f"INSERT INTO tierwright_guard SELECT group_concat(sql, char(10)) = '{released}' "
            f"FROM ({objects.format(table)});"
        )
    return "\n".join([*lines, "DROP TABLE tierwright_guard;\n"])


def _guard_against_dirt(connection: Connection, steps: Sequence[Any]) -> str:
    """Return statements that fail where rows break what the script adds; SQLite's message names the constraint.

    Only tables that stand before the script can hold rows.
    """
    tables = set(sa.inspect(connection).get_table_names())
    ensured = [found for step in steps if step.is_upgrade for found in getattr(step.revision.module, "ENSURES", ())]
    definitions = for_dialect(ensured, "sqlite")
    added = [definition for definition in definitions if isinstance(definition, Column)]
    queries = {
        definition.name: preflight.violation_query(connection, definition, added)
        for definition in definitions
        if definition.table in tables
    }
    lines = []
    for name, query in queries.items():
        if query is not None:
            lines += [
                f"-- Fails here if rows break {name}. To list them: {query};",
                f"CREATE TEMP TABLE tierwright_guard ({name} INTEGER CHECK ({name}));",
                f"INSERT INTO tierwright_guard SELECT NOT EXISTS ({query});",
                "DROP TABLE tierwright_guard;\n",
            ]
    return "\n".join(lines)


@contextmanager
def _recorded(connection: Connection, output: Any) -> Iterator[None]:
    """Write every statement that changes the schema or the version table, and no question."""

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        text = statement.strip().rstrip(";")
        question = text.upper().startswith("SELECT") or (text.upper().startswith("PRAGMA") and "=" not in text)
        if not question:
            output(f"{text};\n")

    sa.event.listen(connection, "before_cursor_execute", record)
    try:
        yield
    finally:
        sa.event.remove(connection, "before_cursor_execute", record)
