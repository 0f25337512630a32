"""Putting right what somebody changed after the chain ran."""

from __future__ import annotations

from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.engine import Connection

from tierwright.errors import MigrationError
from tierwright.migrations import environment
from tierwright.migrations.definitions import Definition
from tierwright.migrations.names import VERSION_TABLE
from tierwright.migrations.operations import dialect_of
from tierwright.migrations.options import OPTIONS_KEY, MigrationOptions, Progress
from tierwright.migrations.reading import refuse_missing_file
from tierwright.migrations.runner import chain
from tierwright.migrations.session import migration_session
from tierwright.migrations.urls import migration_engine


def repair(
    database: Any,
    *,
    schema: str | None = None,
    version_table: str = VERSION_TABLE,
    lock_timeout: float = MigrationOptions.lock_timeout,
    lock_wait: float = MigrationOptions.lock_wait,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Make every index, foreign key and CHECK of the applied revisions be as they define it; return what was wrong.

    Only what revisions *ensure* can be repaired: a lost table or column needs a backup. Idempotent, and as safe as an
    upgrade: rows that would break a constraint are found first.

    Args: as :func:`tierwright.migrations.upgrade`.

    Raises:
        MigrationError: the chain never ran here; others as :func:`tierwright.migrations.upgrade`.
    """
    options = MigrationOptions(schema, version_table, lock_timeout, lock_wait, progress)
    engine = migration_engine(database)
    refuse_missing_file(engine)
    with migration_session(engine, options) as connection:
        definitions = ensured(_current(connection, options))
        online = connection.dialect.name == "postgresql"
        context = MigrationContext.configure(
            connection, opts={OPTIONS_KEY: options, "transaction_per_migration": online, "transactional_ddl": True}
        )
        with context.begin_transaction(_per_migration=online):
            dialect = dialect_of(Operations(context))
            wrong = tuple(definition.name for definition in dialect.missing(definitions))
            dialect.survey(definitions)
            dialect.ensure(definitions)
    return wrong


def ensured(revision: str) -> list[Definition]:
    """Return what the revisions up to ``revision`` ensure; where two define the same object, as the later one does."""
    return environment.ensured(chain(), revision)


def _current(connection: Connection, options: MigrationOptions) -> str:
    context = MigrationContext.configure(connection, opts={"version_table": options.version_table})
    heads = context.get_current_heads()
    revisions = {revision.revision for revision in chain().walk_revisions()}
    ours = [head for head in heads if head in revisions]  # beside them, the heads of a host that merged our chain
    environment.refuse_unknown(chain(), ours or heads)
    if connection.dialect.name == "postgresql":
        connection.commit()
    if not ours:
        raise MigrationError("The chain never ran on this database.", remedy="Run `tierwright db upgrade`.")
    return ours[0]
