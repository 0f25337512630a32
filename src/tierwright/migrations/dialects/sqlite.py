"""The helper layer on SQLite: constraints by rebuilding the table once, everything else in place.

The procedure is the one of https://www.sqlite.org/lang_altertable.html#otheralter, with the table's own text edited
rather than reflected (see :mod:`tierwright.migrations.dialects.sqlite_sql`), so that a host's additions survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tierwright.errors import ForeignKeysEnforced, MigrationError, OfflineUnsupported, RebuildUnsafe
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
from tierwright.migrations.dialects import sqlite_sql
from tierwright.migrations.dialects.base import Dialect, name_taken
from tierwright.migrations.dialects.sqlite_schema import dependents, other_keys

#: The names of a hidden rowid, which external-content FTS tables of a host refer to; a column may hide each of them.
ROWID_ALIASES = ("rowid", "_rowid_", "oid")


class SqliteDialect(Dialect):
    """SQLite: one transaction, each table rebuilt at most once per call."""

    def ensure(self, definitions: Sequence[Definition]) -> None:
        self._refuse_offline()
        missing = self.missing(self.lasting(definitions))
        for column in missing:
            if isinstance(column, Column):
                self.operations.add_column(column.table, column.column)
        for table, constraints in _by_table(missing).items():
            self._rebuild(table, drop=constraints, add=constraints)
        for definition in missing:
            if isinstance(definition, Index | Trigger):
                self._discard_object(definition)
                self._create_object(definition)

    def discard(self, definitions: Sequence[Definition]) -> None:
        self._refuse_offline()
        for definition in self.possible(definitions):
            if isinstance(definition, Index | Trigger):
                self._discard_object(definition)
        for table, constraints in _by_table(definitions).items():
            self._rebuild(table, drop=constraints, add=[])
        for definition in self.lasting(definitions):  # else its index, which was not put back, is in the way
            if isinstance(definition, Column) and not self.missing_column(definition):
                self.operations.drop_column(definition.table, definition.name)

    def missing(self, definitions: Iterable[Definition]) -> list[Definition]:
        return [definition for definition in self.possible(definitions) if not self._exists(definition)]

    def folded_name(self, name: str) -> str:
        return name.lower()

    def render_survey(self, definitions: Sequence[Definition]) -> None:
        self._refuse_offline()

    def dependents(self, tables: Sequence[str]) -> list[str]:
        return dependents(self.connection, tables)

    def refuse_hidden_rows(self, tables: Sequence[str]) -> None:
        """SQLite hides nothing."""

    def refuse_impossible(self, missing: Sequence[Definition]) -> None:
        """Everything is possible: a table is rebuilt."""

    def _exists(self, definition: Definition) -> bool:
        if isinstance(definition, Column):
            return not self.missing_column(definition)
        if isinstance(definition, Partitioning):
            return True  # SQLite has no partitions, and misses none
        if isinstance(definition, ForeignKey | Check):
            sql = self._table_sql(definition.table)
            clause = sqlite_sql.named_constraints(sql).get(definition.name) if sql else None
            return clause is not None and clause.text == sqlite_sql.folded(definition.clause)
        found = self._object_sql(definition)
        return found is not None and sqlite_sql.folded(found) == sqlite_sql.folded(_create_sql(definition))

    def _object_sql(self, definition: Index | Trigger) -> str | None:
        kind = "index" if isinstance(definition, Index) else "trigger"
        found = self.connection.exec_driver_sql(
            "SELECT type, tbl_name, sql FROM sqlite_master WHERE lower(name) = ?", (definition.name,)
        ).one_or_none()
        if found is None:
            return None
        if found.type != kind or found.tbl_name.lower() != definition.table:
            raise name_taken(kind, definition.name, f"a {found.type} of that name belongs to {found.tbl_name}")
        return str(found.sql)

    def _table_sql(self, table: str) -> str | None:
        found = self.connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = ?", (table,)
        ).scalar_one_or_none()
        return None if found is None else str(found)

    def _create_object(self, definition: Index | Trigger) -> None:
        if isinstance(definition, Trigger) and definition.needs_sole_key:
            self._refuse_other_keys(definition)
        self.options.announce(f"creating {definition.name} on {definition.table}")
        self.connection.exec_driver_sql(_create_sql(definition))

    def _refuse_other_keys(self, trigger: Trigger) -> None:
        """REPLACE deletes by any unique key of the table, and asks no trigger about the rows that go."""
        keys = other_keys(self.connection, trigger.table)
        if keys:
            raise MigrationError(
                f"REPLACE could delete rows of {trigger.table} by {', '.join(keys)}: {trigger.name} cannot prevent it.",
                remedy="Make it an index that is not unique (DROP INDEX, CREATE INDEX), or rebuild the table without "
                "that UNIQUE; then run it again.",
                details={"table": trigger.table, "keys": keys},
            )

    def _discard_object(self, definition: Index | Trigger) -> None:
        if self._object_sql(definition) is not None:
            kind = "INDEX" if isinstance(definition, Index) else "TRIGGER"
            self.connection.exec_driver_sql(f"DROP {kind} {definition.name}")

    def _rebuild(self, table: str, drop: Sequence[Constraint], add: Sequence[Constraint]) -> None:
        """Replace the table by one whose text lacks the constraints ``drop`` and has ``add``; all else is kept."""
        before = self._table_sql(table)
        if before is None:
            return
        sql = before
        for constraint in drop:
            sql = sqlite_sql.without_constraint(sql, constraint.name)
        for constraint in add:
            sql = sqlite_sql.with_constraint(sql, constraint.name, constraint.clause)
        if sql == before:
            return
        self._refuse_enforced_keys(table)
        self.options.announce(f"rebuilding {table}")
        with self._atomic():
            self._replace(table, sql)

    def _replace(self, table: str, sql: str) -> None:
        run = self.connection.exec_driver_sql
        temporary = f"_tierwright_rebuild_{table}"
        columns = self._copied_columns(table, sql)
        attached = self._attached_objects(table)
        statistics = self._statistics(table)
        run(sqlite_sql.renamed(sql, temporary))
        copied = run(f"INSERT INTO {temporary} ({columns}) SELECT {columns} FROM {table}").rowcount
        self._refuse_loss(table, copied)
        run(f"DROP TABLE {table}")
        run(f"ALTER TABLE {temporary} RENAME TO {table}")
        for statement in attached:
            run(statement)
        for statement, values in statistics:
            run(statement, values)

    def _copied_columns(self, table: str, sql: str) -> str:
        """Return the columns to copy: all but generated ones, and the rowid where rows have a hidden one."""
        info = self.connection.exec_driver_sql(f"PRAGMA table_xinfo({table})").all()
        names = ['"' + column.name.replace('"', '""') + '"' for column in info if column.hidden == 0]
        has_own_rowid = any(column.pk and column.type.upper() == "INTEGER" for column in info)
        if not has_own_rowid and not sqlite_sql.is_without_rowid(sql):
            taken = {column.name.lower() for column in info}
            names[:0] = [alias for alias in ROWID_ALIASES if alias not in taken][:1]
        return ", ".join(names)

    def _statistics(self, table: str) -> list[tuple[str, tuple[Any, ...]]]:
        """Return what ANALYZE knows of the table, as statements with their values: DROP TABLE forgets it."""
        run = self.connection.exec_driver_sql
        kept = []
        for statistics in run(
            "SELECT name FROM sqlite_master WHERE name IN ('sqlite_stat1', 'sqlite_stat4')"
        ).scalars():
            rows = run(f"SELECT * FROM {statistics} WHERE lower(tbl) = ?", (table,)).all()
            kept += [(f"INSERT INTO {statistics} VALUES ({', '.join('?' * len(row))})", tuple(row)) for row in rows]
        return kept

    def _attached_objects(self, table: str) -> list[str]:
        """Return the statements of the table's indexes and triggers: the rebuild drops them."""
        rows = self.connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE lower(tbl_name) = ? AND type IN ('index', 'trigger') "
            "AND sql IS NOT NULL ORDER BY rowid",
            (table,),
        )
        return [str(row.sql) for row in rows]

    def _refuse_loss(self, table: str, copied: int) -> None:
        expected = self.connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
        if copied != expected:
            raise RebuildUnsafe(
                f"The rebuild of {table} copied {copied} of {expected} rows.",
                remedy="Nothing was changed; please report this with the output of .schema for the table.",
                details={"table": table, "copied": copied, "expected": expected},
            )

    def _refuse_enforced_keys(self, table: str) -> None:
        """Dropping a parent while foreign keys are enforced deletes its children, silently."""
        if self.connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one():
            raise ForeignKeysEnforced(
                f"{table} must be rebuilt, and PRAGMA foreign_keys is ON: its children would be deleted.",
                remedy="Run the chain through tierwright.migrations.upgrade(), or open the connection of your env.py "
                "with tierwright.migrations.migration_session(engine).",
                details={"table": table},
            )

    def _refuse_offline(self) -> None:
        if self.context.as_sql:
            raise OfflineUnsupported(
                "A SQLite script needs the tables as they stand before each revision.",
                remedy="Render it with tierwright's own environment: `tierwright db upgrade --sql`.",
            )

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        """Make a rebuild all or nothing, also where the driver commits before each DDL statement.

        ``legacy_alter_table`` keeps the RENAME from looking into views and other tables' references.
        """
        run = self.connection.exec_driver_sql
        legacy = run("PRAGMA legacy_alter_table").scalar_one()
        run("SAVEPOINT tierwright_rebuild")
        run("PRAGMA legacy_alter_table=ON")
        try:
            yield
        except BaseException:
            if self._in_transaction():  # a full disk makes SQLite roll back all by itself
                run("ROLLBACK TO tierwright_rebuild")
            raise
        finally:
            if self._in_transaction():
                run("RELEASE tierwright_rebuild")
            run(f"PRAGMA legacy_alter_table={int(legacy)}")

    def _in_transaction(self) -> bool:
        return bool(getattr(self.connection.connection.dbapi_connection, "in_transaction", True))


def _by_table(definitions: Iterable[Definition]) -> dict[str, list[Constraint]]:
    grouped: dict[str, list[Constraint]] = {}
    for definition in definitions:
        if isinstance(definition, ForeignKey | Check):
            grouped.setdefault(definition.table, []).append(definition)
    return grouped


def _create_sql(definition: Index | Trigger) -> str:
    if isinstance(definition, Trigger):
        return definition.create["sqlite"][-1]
    unique = "UNIQUE " if definition.unique else ""
    where = f" WHERE {definition.where}" if definition.where else ""
    columns = ", ".join(definition.columns)
    return f"CREATE {unique}INDEX {definition.name} ON {definition.table} ({columns}){where}"
