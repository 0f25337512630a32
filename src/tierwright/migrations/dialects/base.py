"""What the helper layer asks of a dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection

from tierwright.errors import MigrationError, ObjectNameTaken, TableNameTaken
from tierwright.migrations import preflight
from tierwright.migrations.definitions import Column, Definition, for_dialect
from tierwright.migrations.options import DROPPED_KEY, SURVEYED_KEY, MigrationOptions, options_of


class Dialect(ABC):
    """The helper layer on one kind of database, within one migration.

    Every method compares with what is there, so each can run again after a crash. None swallows an exception.
    """

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.context: MigrationContext = operations.get_context()
        self.options: MigrationOptions = options_of(self.context.opts)

    @property
    def connection(self) -> Connection:
        """The connection of the migration (Alembic swaps it inside an autocommit block)."""
        connection = self.context.connection
        assert connection is not None  # noqa: S101  Alembic has none under --sql only, which every caller asked first
        return connection

    @abstractmethod
    def ensure(self, definitions: Sequence[Definition]) -> None:
        """Make every object exist exactly as defined, replacing what has its name and another definition."""

    @abstractmethod
    def discard(self, definitions: Sequence[Definition]) -> None:
        """Remove every object; what is not there is no error."""

    def possible(self, definitions: Iterable[Definition]) -> list[Definition]:
        """Return those of ``definitions`` that exist on this dialect."""
        return for_dialect(definitions, self.context.dialect.name)

    @abstractmethod
    def missing(self, definitions: Iterable[Definition]) -> list[Definition]:
        """Return the definitions that the database does not have, or has otherwise.

        Raises:
            ObjectNameTaken: a name belongs to something else, which is never touched.
        """

    def survey(self, definitions: Sequence[Definition]) -> None:
        """Refuse if an object's name is taken, or if rows break what is still missing; changes nothing.

        What the look-ahead of this same transaction has surveyed is not read again: on 10^6 rows that is a tenth of
        the upgrade.

        Raises:
            ObjectNameTaken: see :meth:`missing`.
            MigrationError: see :meth:`refuse_impossible`.
            PrivilegeMissing: see :meth:`refuse_hidden_rows`.
            DirtyData: rows break a constraint.
        """
        if self.context.as_sql:
            self.render_survey(definitions)
            return
        surveyed = self.context.opts.get(SURVEYED_KEY, ())
        unseen = [wanted for wanted in self.lasting(definitions) if not any(wanted is seen for seen in surveyed)]
        self.refuse_hidden_rows([definition.table for definition in unseen])
        missing = self.missing(unseen)
        self.refuse_impossible(missing)
        preflight.refuse(preflight.findings(self.connection, missing))

    def lasting(self, definitions: Sequence[Definition]) -> list[Definition]:
        """Return those of ``definitions`` whose table this run does not drop in a later step.

        Rows that are about to go with their table must not hold up the way down, nor be copied for it.
        """
        dropped = self.context.opts.get(DROPPED_KEY, ())
        return [definition for definition in definitions if definition.table not in dropped]

    @abstractmethod
    def refuse_hidden_rows(self, tables: Sequence[str]) -> None:
        """Refuse if the database hides rows of ``tables`` from us: a survey would find nothing, and say all is well.

        Raises:
            PrivilegeMissing: with the tables.
        """

    @abstractmethod
    def refuse_impossible(self, missing: Sequence[Definition]) -> None:
        """Refuse what :meth:`ensure` could not make on the tables as they are.

        Raises:
            MigrationError: with what to do by hand.
        """

    @abstractmethod
    def render_survey(self, definitions: Sequence[Definition]) -> None:
        """Write the survey into a ``--sql`` script."""

    def refuse_taken_names(self, names: Iterable[str]) -> None:
        """Refuse if a table or view of one of ``names`` exists.

        Raises:
            TableNameTaken: with the names, and what stands there.
        """
        if self.context.as_sql:
            return
        inspector = sa.inspect(self.connection)
        present = {self.folded_name(name) for name in (*inspector.get_table_names(), *inspector.get_view_names())}
        taken = [name for name in names if name in present]
        if taken:
            raise TableNameTaken(
                f"Tables of our names exist already, and no revision of ours made them: {', '.join(taken)}.",
                remedy="If they equal this release's tables, `tierwright db adopt` stamps them; otherwise rename "
                "them, or migrate into a schema (PostgreSQL) or file (SQLite) of its own.",
                details={"tables": taken},
            )

    @abstractmethod
    def dependents(self, tables: Sequence[str]) -> list[str]:
        """Return what the host has that refers to ``tables`` from outside of ours: foreign keys and views."""

    def refuse_dependents(self, tables: Sequence[str]) -> None:
        """Refuse to drop tables that the host's foreign keys or views need.

        PostgreSQL would refuse it half-way down; SQLite would drop them, and the host could not write its rows.

        Raises:
            MigrationError: with what refers to them.
        """
        if self.context.as_sql or not tables:
            return
        found = self.dependents(tables)
        if found:
            raise MigrationError(
                f"Tables that this downgrade drops are referred to by the application: {', '.join(found)}.",
                remedy="Drop these foreign keys (SQLite: their tables) and views first, then run the downgrade again.",
                details={"dependents": found},
            )

    def folded_name(self, name: str) -> str:
        """Return ``name`` so that names which the database takes for the same are equal."""
        return name

    def missing_column(self, wanted: Column) -> bool:
        """Tell whether a column is missing; a column of that name and another type or nullability is refused.

        Raises:
            ObjectNameTaken: the host added another column of that name.
        """
        inspector = sa.inspect(self.connection)
        if not inspector.has_table(wanted.table):  # an earlier revision, which is pending too, makes it
            return True
        found = {column["name"]: column for column in inspector.get_columns(wanted.table)}.get(wanted.name)
        if found is None:
            return True
        dialect = self.connection.dialect
        have = f"{found['type'].compile(dialect)} {'NULL' if found['nullable'] else 'NOT NULL'}"
        want = f"{wanted.column.type.compile(dialect)} {'NULL' if wanted.column.nullable else 'NOT NULL'}"
        if have != want:
            raise name_taken("column", f"{wanted.table}.{wanted.name}", f"it is {have}, not {want}")
        return False


def name_taken(kind: str, name: str, found: str) -> ObjectNameTaken:
    """Return the error for an object of ours whose name belongs to something else."""
    return ObjectNameTaken(
        f"The {kind} {name} cannot be made: {found}.",
        remedy="Rename what the application has under that name, then run the upgrade again.",
        details={"kind": kind, "name": name, "found": found},
    )
