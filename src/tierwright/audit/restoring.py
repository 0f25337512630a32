"""An archive goes back into a history: every row as it was, and none twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from tierwright.audit.archive_files import read_lines, verify_archive
from tierwright.audit.archive_lines import stored_value, values_of
from tierwright.audit.archive_manifest import Manifest, damaged, read_manifest
from tierwright.audit.archives import read_archives
from tierwright.audit.stored_rows import POSTGRESQL_MOMENT, TABLE, Column, stored_columns
from tierwright.errors import ArchiveNotRestored
from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.dialects.postgresql_locks import LOCK_NOT_AVAILABLE, sqlstate
from tierwright.migrations.dialects.postgresql_partitions import months_ahead
from tierwright.services.catalog_version import lock_file
from tierwright.services.history_kept_out import kept_out
from tierwright.services.session_state import connection_of
from tierwright.services.tenant_scope import require_all_tenants

_BATCH = 1000
_LOG = Partitioning(TABLE, "performed_at")
#: Others hold the table, rows of the month are in the partition of everything else, something has its name, or the role
#: may make no tables.
_IN_THE_WAY = frozenset({LOCK_NOT_AVAILABLE, "23514", "42P07", "42501"})
_IS_OWN = (
    f"SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE relname = '{TABLE}' "
    "AND relnamespace = quote_ident(current_schema())::regnamespace"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of an archive.

    Attributes:
        manifest: of it.
        rows: that were written.
        present: rows of it that were there already, and stay as they are.
    """

    manifest: Manifest
    rows: int
    present: int


def restore_archive(session: Session, path: Path) -> Restored:
    """Write the rows of an archive into the history, in the session's transaction; it is verified first.

    It may come from SQLite or PostgreSQL. Triggers of the application on the history are asked, as for any row.

    Args:
        session: of a role that sees every tenant's rows.
        path: of the archive; its manifest lies beside it.

    Raises:
        ArchiveDamaged: it is not what its manifest says, or not the one that the database recorded under its name.
        ArchiveNotRestored: it has columns that the history here has not, or rows that do not fit it: PostgreSQL takes
            no ``\\u0000`` in JSON, and SQLite does.
        HistoryProtected: SQLite: a row of an odd number keeps others out.
        PrivilegeMissing: row-level security hides rows from the current role.
    """
    manifest = verify_archive(path)
    connection = connection_of(session, writing=True)
    require_all_tenants(connection)
    lock_file(connection)
    _refuse_another(connection, path, manifest)
    columns = {column.name: column for column in stored_columns(connection)}
    unknown = [name for name in manifest.columns if name not in columns]
    if unknown:
        raise ArchiveNotRestored(
            f"The archive {path.name!a} has columns that {TABLE} has not: {', '.join(unknown)}.",
            remedy="Add them to the table, as they were where it was made, and restore it again.",
            details={"file": str(path), "columns": unknown},
        )
    listed = [columns[name] for name in manifest.columns]
    written, lines = 0, read_lines(path)
    while batch := list(islice(lines, _BATCH)):
        try:
            written += _write(connection, listed, [values_of(line) for line in batch])
        except ValueError as error:
            raise damaged(path, "a line of it is no row") from error
        except (DataError, IntegrityError) as error:
            blocked = kept_out(error) if isinstance(error, IntegrityError) else None
            raise (blocked or _misfit(path, error)) from error
    return Restored(manifest, written, manifest.rows - written)


def make_room(engine: Engine, path: Path) -> None:
    """Make the partition of an archive's month, if it can be made at once; without it, rows go where those of none go.

    Args:
        engine: with the schema, if any, on its ``search_path``. SQLite has no partitions.
        path: of the archive.

    Raises:
        ArchiveDamaged: its manifest is none.
    """
    month = date.fromisoformat(f"{read_manifest(path).month}-01")
    if engine.dialect.name != "postgresql":
        return
    try:
        with engine.begin() as connection:
            if connection.exec_driver_sql(_IS_OWN).scalar():
                connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
                connection.exec_driver_sql(months_ahead(_LOG, 0, month).replace("%", "%%"))
    except DBAPIError as error:
        if sqlstate(error) not in _IN_THE_WAY:
            raise


def _refuse_another(connection: Connection, path: Path, manifest: Manifest) -> None:
    """Refuse an archive of a name that was recorded with other bytes: somebody has changed it, or it is another's."""
    recorded = [each.sha256 for each in read_archives(connection) if each.file == manifest.file]
    if recorded and manifest.sha256 not in recorded:
        raise damaged(path, "the database recorded another one of this name")


def _misfit(path: Path, error: DBAPIError) -> ArchiveNotRestored:
    problem = str(getattr(getattr(error.orig, "diag", None), "message_primary", None) or error.orig)
    return ArchiveNotRestored(
        f"A row of the archive {path.name!a} does not fit the history here: {problem}.",
        remedy="Restore it into a database of the kind that it comes from.",
        details={"file": str(path)},
    )


def _write(connection: Connection, columns: Sequence[Column], batch: list[dict[str, str | bytes]]) -> int:
    """Write what is not there yet; a trigger would refuse a statement for one row that is."""
    names = [column.name for column in columns]
    is_postgresql = connection.dialect.name == "postgresql"
    marks = [f"CAST(%s AS {column.type})" if is_postgresql else "?" for column in columns]
    rows = [tuple(_value(row, name, is_postgresql) for name in names) for row in batch]
    id_, moment = names.index("id"), names.index("performed_at")
    there = _there(connection, marks[id_], [row[id_] for row in rows], is_postgresql)
    new = [row for row in rows if (row[id_], _key(row[moment])) not in there]
    if new:
        listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names).replace(
            "%", "%%" if is_postgresql else "%"
        )
        connection.exec_driver_sql(f"INSERT INTO {TABLE} ({listed}) VALUES ({', '.join(marks)})", new)
    return len(new)


def _there(connection: Connection, mark: str, ids: list[Any], is_postgresql: bool) -> set[tuple[Any, Any]]:
    """Return the keys of rows that have one of some ids."""
    moment = POSTGRESQL_MOMENT if is_postgresql else "performed_at"
    marks = ", ".join([mark] * len(ids))
    query = f"SELECT {'id::text' if is_postgresql else 'id'}, {moment} FROM {TABLE} WHERE id IN ({marks})"
    return {(row[0], _key(row[1])) for row in connection.exec_driver_sql(query, tuple(ids))}


def _key(moment: Any) -> Any:
    """Return a moment in one form: SQLite may have it with and without its microseconds."""
    return moment.replace(".000000", "") if isinstance(moment, str) else moment


def _value(row: dict[str, str | bytes], name: str, is_postgresql: bool) -> Any:
    value = row.get(name)
    return value if value is None or is_postgresql else stored_value(name, value)
