"""Running the chain from Python: what hosts and the command line call."""

from __future__ import annotations

import io
import re
import threading
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tierwright.migrations.environment import ENGINE_KEY
from tierwright.migrations.failures import typed_errors
from tierwright.migrations.location import chain_path
from tierwright.migrations.names import VERSION_TABLE
from tierwright.migrations.options import OPTIONS_KEY, MigrationOptions, Progress
from tierwright.migrations.reading import reading_connection, refuse_missing_file
from tierwright.migrations.urls import migration_engine, migration_url

# alembic.command keeps its context in module globals: two threads would run each other's migrations.
_ONE_AT_A_TIME = threading.RLock()


def upgrade(
    database: Any,
    revision: str = "head",
    *,
    schema: str | None = None,
    version_table: str = VERSION_TABLE,
    lock_timeout: float = MigrationOptions.lock_timeout,
    lock_wait: float = MigrationOptions.lock_wait,
    progress: Progress | None = None,
) -> None:
    """Bring a database to ``revision``; safe to call from many processes at once, and after a crash.

    Args:
        database: a URL, an ``Engine`` or an ``AsyncEngine``, of SQLite or PostgreSQL.
        revision: an id of the chain, ``head``, or a relative one such as ``+1``.
        schema: PostgreSQL schema; the connection's ``current_schema()`` unless given.
        version_table: the table that records the revision.
        lock_timeout: seconds that one statement may wait for its lock and stall others behind it (PostgreSQL).
        lock_wait: seconds to go on waiting for other migrators and locks.
        progress: called with a line for each step that may take long.

    Raises:
        ConfigurationError: bad URL, unsupported dialect, driver not installed.
        DatabaseError: unreachable, read-only, no such schema, behind a transaction-pooling proxy.
        MigrationError: refused (taken names, dirty data, unknown revision, lock not acquired), or failed; everything
            was undone, but for revisions and online steps that PostgreSQL had completed, from where a rerun goes on.
    """
    options = MigrationOptions(schema, version_table, lock_timeout, lock_wait, progress)
    _command(command.upgrade, database, options, revision)


def downgrade(
    database: Any,
    revision: str,
    *,
    schema: str | None = None,
    version_table: str = VERSION_TABLE,
    lock_timeout: float = MigrationOptions.lock_timeout,
    lock_wait: float = MigrationOptions.lock_wait,
    progress: Progress | None = None,
) -> None:
    """Bring a database back to ``revision``; ``base`` drops every table of ours **with its rows**.

    Args and raises: as :func:`upgrade`.
    """
    options = MigrationOptions(schema, version_table, lock_timeout, lock_wait, progress)
    engine = migration_engine(database)
    refuse_missing_file(engine)
    _command(command.downgrade, engine, options, revision)


def script(
    database: Any, revision: str = "head", *, schema: str | None = None, version_table: str = VERSION_TABLE
) -> str:
    """Return the SQL that would bring a database to ``revision``, for its dialect; nothing is connected to.

    Args:
        database: a URL or engine that names the dialect.
        revision: a target, or ``FROM:TO`` to start from a released revision.
        schema, version_table: as :func:`upgrade`.

    Raises:
        ConfigurationError: bad URL or unsupported dialect.
        RevisionUnknown: no such revision.
    """
    url = migration_url(database) if isinstance(database, str) else database.url
    config = _config(url.render_as_string(hide_password=False), MigrationOptions(schema, version_table))
    config.output_buffer = buffer = io.StringIO()
    with _ONE_AT_A_TIME, typed_errors():
        command.upgrade(config, revision, sql=True)
    return buffer.getvalue()


def current(database: Any, *, schema: str | None = None, version_table: str = VERSION_TABLE) -> str | None:
    """Return the revision of a database, or None where the chain never ran; changes nothing.

    Args and raises: as :func:`upgrade`. A revision of a later release is returned as it stands.
    """
    with reading_connection(database, schema) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": version_table})
        heads = context.get_current_heads()
    ours = {revision.revision for revision in chain().walk_revisions()}
    return next((revision for revision in heads if revision in ours), heads[0] if heads else None)


def drops_tables(
    database: Any, revision: str, *, schema: str | None = None, version_table: str = VERSION_TABLE
) -> bool:
    """Tell whether a downgrade to ``revision`` would drop tables, and their rows; changes nothing.

    Args and raises: as :func:`downgrade`.
    """
    found = current(database, schema=schema, version_table=version_table)
    if found is None:
        return False
    with typed_errors():
        steps = chain()._downgrade_revs(revision, found)
    return any(getattr(step.revision.module, "CREATES", ()) for step in steps)


def head() -> str:
    """Return the newest revision of this release."""
    (revision,) = chain().get_heads()
    return revision


def chain() -> ScriptDirectory:
    """Return the chain as Alembic's script directory.

    Raises:
        ChainNotFound: the installation is damaged.
    """
    return ScriptDirectory(str(chain_path()))


def stamp(database: Any, revision: str, options: MigrationOptions) -> None:
    """Record ``revision`` without running anything."""
    _command(command.stamp, database, options, revision)


def _command(run: Any, database: Any, options: MigrationOptions, revision: str) -> None:
    config = _config(migration_engine(database), options)
    with _ONE_AT_A_TIME, typed_errors():
        _refuse_unknown(revision)
        run(config, revision)


def _refuse_unknown(revision: str) -> None:
    """Look up a target before anything is opened: SQLite creates the file that it opens."""
    if not re.search(r"[+-]\d+$", revision):  # a relative one depends on where the database stands
        chain().get_revisions(revision)


def _config(database: Any, options: MigrationOptions) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(chain_path()).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes[ENGINE_KEY] = database
    config.attributes[OPTIONS_KEY] = options
    return config
