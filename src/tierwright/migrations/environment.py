"""What ``alembic/env.py`` runs: one path for the ``alembic`` command, ``tierwright db`` and the library.

The host's own environments do not come by here; for them the helpers check their preconditions themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection
from sqlalchemy.schema import MetaData, Table

from tierwright.errors import DatabaseUrlMissing, RevisionUnknown, TierwrightError
from tierwright.migrations import offline
from tierwright.migrations.definitions import Definition, Trigger
from tierwright.migrations.names import TABLE_NAMES
from tierwright.migrations.operations import dialect_of
from tierwright.migrations.options import DROPPED_KEY, OPTIONS_KEY, SURVEYED_KEY, MigrationOptions, options_of
from tierwright.migrations.session import migration_session
from tierwright.migrations.urls import migration_engine

#: The key in ``Config.attributes`` under which the library passes an engine.
ENGINE_KEY = "tierwright_engine"


def run(context: Any) -> None:
    """Run the migrations that the ``alembic`` command or the library asked for.

    Args:
        context: the module ``alembic.context``, as seen by ``env.py``.

    Raises:
        CommandError: under the ``alembic`` command, which prints it without a traceback.
        TierwrightError: under the library; see :func:`tierwright.migrations.upgrade`.
    """
    if OPTIONS_KEY in context.config.attributes:
        _run(context, context.config.attributes[ENGINE_KEY], options_of(context.config.attributes))
        return
    try:
        arguments = context.get_x_argument(as_dictionary=True)
        _run(context, _url(context, arguments), MigrationOptions.from_environment(arguments))
    except TierwrightError as error:
        raise CommandError(f"{error.code}: {error}") from error


def _run(context: Any, database: Any, options: MigrationOptions) -> None:
    if context.is_offline_mode():
        offline.render(context, database, options)
        return
    with migration_session(migration_engine(database), options) as connection:
        _migrate(context, connection, options)


def _url(context: Any, arguments: dict[str, str]) -> str:
    url = arguments.get("url") or os.environ.get("DATABASE_URL") or context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise DatabaseUrlMissing(
            "No database was named.", remedy="Set DATABASE_URL, or pass --url (tierwright) or -x url=... (alembic)."
        )
    return str(url)


def configure(context: Any, connection: Connection, options: MigrationOptions, **settings: Any) -> MigrationContext:
    """Configure Alembic for ``connection`` and return its migration context."""
    context.configure(
        connection=connection,
        version_table=options.version_table,
        transaction_per_migration=connection.dialect.name == "postgresql",
        transactional_ddl=True,
        target_metadata=MetaData(),
        **{OPTIONS_KEY: options},
        **settings,
    )
    migration_context: MigrationContext = context.get_context()
    return migration_context


def _migrate(context: Any, connection: Connection, options: MigrationOptions) -> None:
    migration = configure(context, connection, options)
    heads = migration.get_current_heads()
    refuse_unknown(context.script, heads)
    steps = list(migration.opts["fn"](heads, migration))  # once: some commands print while they plan
    dropped = dropped_tables(steps)
    migration = configure(context, connection, options, **{DROPPED_KEY: dropped})
    surveyed = survey(migration, steps)
    settings: dict[str, Any] = {"fn": lambda _heads, _context: iter(steps), DROPPED_KEY: dropped}
    if connection.dialect.name == "postgresql":
        connection.commit()  # Alembic opens a transaction per revision, and rows may change before each
    else:
        settings[SURVEYED_KEY] = surveyed  # one transaction of ours spans them all: what was seen still holds
    migration = configure(context, connection, options, **settings)
    with context.begin_transaction():
        context.run_migrations()
    if any(isinstance(step, RevisionStep) for step in steps):
        _ensure_triggers(context.script, migration)
    if steps and not migration.get_current_heads():
        _drop_version_table(connection, options)


def refuse_unknown(script: ScriptDirectory, heads: Iterable[str]) -> None:
    """Refuse a database whose version table names a revision that is not ours, or not yet.

    Raises:
        RevisionUnknown: with the revision.
    """
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = [head for head in heads if head not in known]
    if unknown:
        raise RevisionUnknown(
            f"The version table says {', '.join(unknown)}, which this release does not know.",
            remedy="Install the release that made it; or name another version table, if this one is another project's.",
            details={"unknown": unknown, "known": sorted(known)},
        )


def survey(migration: MigrationContext, steps: Sequence[Any]) -> list[Definition]:
    """Look ahead over every step, so that what one of them would refuse is refused before the first change.

    Returns the definitions that nothing stands in the way of.
    """
    dialect = dialect_of(Operations(migration))
    surveyed: list[Definition] = []
    revisions = [step for step in steps if isinstance(step, RevisionStep)]
    if revisions:
        dialect.refuse_hidden_rows(TABLE_NAMES)
    for step in revisions:
        module = step.revision.module
        if step.is_upgrade:
            dialect.refuse_taken_names(getattr(module, "CREATES", ()))
        definitions = getattr(module, "ENSURES" if step.is_upgrade else "RESTORES", ())
        dialect.survey(definitions)
        surveyed.extend(definitions)
    dialect.refuse_dependents(dropped_tables(steps))
    return surveyed


def ensured(script: ScriptDirectory, revision: str) -> list[Definition]:
    """Return what the revisions up to ``revision`` ensure; where two define the same object, as the later one does."""
    applied = reversed(list(script.iterate_revisions(revision, "base")))
    definitions = [definition for step in applied for definition in getattr(step.module, "ENSURES", ())]
    return list({(definition.table, definition.name): definition for definition in definitions}.values())


def dropped_tables(steps: Sequence[Any]) -> tuple[str, ...]:
    """Return the tables that a run drops on its way down."""
    down = [step for step in steps if isinstance(step, RevisionStep) and not step.is_upgrade]
    return tuple(table for step in down for table in getattr(step.revision.module, "CREATES", ()))


def _ensure_triggers(script: ScriptDirectory, migration: MigrationContext) -> None:
    """Put back the triggers that are gone: on SQLite a batch rebuild, of a revision or of the host, drops them."""
    guards = [each for head in migration.get_current_heads() for each in ensured(script, head)]
    dialect = dialect_of(Operations(migration))
    online = migration.dialect.name == "postgresql"
    with migration.begin_transaction(_per_migration=online):
        missing = dialect.missing(each for each in guards if isinstance(each, Trigger))
        dialect.survey(missing)
        dialect.ensure(missing)


def _drop_version_table(connection: Connection, options: MigrationOptions) -> None:
    """Leave no trace after ``downgrade base``."""
    Table(options.version_table, MetaData()).drop(connection, checkfirst=True)
    if connection.dialect.name == "postgresql":
        connection.commit()
