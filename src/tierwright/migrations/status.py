"""Whether a database is what this release expects; adopting tables that another way made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy.engine import Connection

from tierwright.errors import MigrationError, SchemaDrift, TableNameTaken
from tierwright.migrations import catalog
from tierwright.migrations.catalog import Difference
from tierwright.migrations.names import TABLE_NAMES, VERSION_TABLE
from tierwright.migrations.options import MigrationOptions
from tierwright.migrations.reading import reading_connection
from tierwright.migrations.runner import chain, head, stamp


@dataclass(frozen=True)
class SchemaStatus:
    """Where a database stands.

    Attributes:
        dialect: ``sqlite`` or ``postgresql``.
        current: its revision; None where the chain never ran.
        head: the newest revision of this release.
        pending: the revisions between the two, oldest first; empty where ``current`` is unknown to this release.
        is_known: False for a revision of a later release (or of another project).
        differences: how its tables differ from head; only meaningful at head.
    """

    dialect: str
    current: str | None
    head: str
    pending: tuple[str, ...]
    is_known: bool
    differences: tuple[Difference, ...]

    @property
    def drift(self) -> tuple[Difference, ...]:
        """The differences that break the contract: not what the host added.

        Beyond head, where revisions only expand, these are tables and columns that are missing.
        """
        broken = (difference for difference in self.differences if not difference.is_addition)
        if self.is_known:
            return tuple(broken)
        return tuple(item for item in broken if item.found is None and item.kind in ("table", "columns"))

    @property
    def ok(self) -> bool:
        """True where the application can run: at head or beyond it, without drift."""
        return not self.pending and not self.drift


def status(database: Any, *, schema: str | None = None, version_table: str = VERSION_TABLE) -> SchemaStatus:
    """Return where a database stands; changes nothing, and takes no lock.

    Args and raises: as :func:`tierwright.migrations.current`.
    """
    with reading_connection(database, schema) as connection:
        return read_status(connection, version_table)


def check(database: Any, *, schema: str | None = None, version_table: str = VERSION_TABLE) -> SchemaStatus:
    """Return the status of a database that an application can run on; made for start-up.

    Args: as :func:`status`.

    Raises:
        SchemaDrift: revisions are pending, or the tables are not what the chain made; with the differences.
    """
    found = status(database, schema=schema, version_table=version_table)
    if found.ok:
        return found
    if found.pending:
        raise SchemaDrift(
            f"The database is at {found.current or 'no revision'}; {len(found.pending)} revision(s) are pending.",
            remedy="Run `tierwright db upgrade`.",
            details={"current": found.current, "head": found.head, "pending": list(found.pending)},
        )
    raise SchemaDrift(
        "The tables are not what the chain made: " + "; ".join(str(item) for item in found.drift) + ".",
        remedy="Run `tierwright doctor`: it names a remedy for each difference.",
        details={"differences": [str(item) for item in found.drift]},
    )


def read_status(connection: Connection, version_table: str = VERSION_TABLE) -> SchemaStatus:
    """Return the status of the database behind an open connection."""
    context = MigrationContext.configure(connection, opts={"version_table": version_table})
    heads = context.get_current_heads()
    revisions = [revision.revision for revision in chain().walk_revisions()]  # newest first
    # A host that merged our chain into its own keeps several heads in one table.
    current = next((head for head in heads if head in revisions), heads[0] if heads else None)
    dialect = connection.dialect.name
    return SchemaStatus(
        dialect=dialect,
        current=current,
        head=revisions[0],
        pending=_pending(revisions, current),
        is_known=current is None or current in revisions,
        differences=tuple(catalog.differences(catalog.expected(dialect), catalog.read(connection))),
    )


def adopt(database: Any, *, schema: str | None = None, version_table: str = VERSION_TABLE) -> str:
    """Record head for tables that something else made (``create_all``, a restore), if they equal head.

    Nothing is created, altered or dropped. Returns the revision recorded.

    Args: as :func:`status`.

    Raises:
        MigrationError: the chain ran here already.
        TableNameTaken: the tables differ from head; ``details["differences"]`` says how.
    """
    found = status(database, schema=schema, version_table=version_table)
    if found.current is not None:
        raise MigrationError(
            f"The database is at {found.current} already: there is nothing to adopt.",
            remedy="Run `tierwright db upgrade`.",
            details={"current": found.current},
        )
    refused = [item for item in found.differences if not item.is_addition or item.kind in ("columns", "constraints")]
    if refused:
        raise TableNameTaken(
            "The tables are not those of this release: " + "; ".join(str(item) for item in refused) + ".",
            remedy="Make them equal, or migrate into a schema (PostgreSQL) or file (SQLite) of its own.",
            details={"differences": [str(item) for item in refused], "tables": list(TABLE_NAMES)},
        )
    stamp(database, head(), MigrationOptions(schema=schema, version_table=version_table))
    return head()


def _pending(revisions: list[str], current: str | None) -> tuple[str, ...]:
    if current is None:
        return tuple(reversed(revisions))
    return tuple(reversed(revisions[: revisions.index(current)])) if current in revisions else ()
