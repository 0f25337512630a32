"""The helper layer as Alembic operations: what a revision calls.

Importing this module registers them on ``alembic.op``::

    op.survey(*definitions)             refuse if names are taken or rows break what is missing
    op.ensure(*definitions)             make objects exist exactly as defined
    op.discard(*definitions)            remove them
    op.refuse_taken_names(names)        refuse if tables of these names exist
    op.ensure_index(...)                one object: also _foreign_key, _check, _column, _trigger
    op.discard_index(...)               likewise

Every one is idempotent, compares the whole definition, and raises a typed error where it cannot do as asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations

from tierwright.migrations.definitions import Check, Column, Definition, ForeignKey, Index, Trigger
from tierwright.migrations.dialects.base import Dialect
from tierwright.migrations.dialects.postgresql import PostgresqlDialect
from tierwright.migrations.dialects.sqlite import SqliteDialect
from tierwright.migrations.urls import require_supported

_DIALECTS: dict[str, type[Dialect]] = {"sqlite": SqliteDialect, "postgresql": PostgresqlDialect}


def dialect_of(operations: Operations) -> Dialect:
    """Return the helper layer for the database of a migration.

    Raises:
        DialectUnsupported: neither SQLite nor PostgreSQL.
    """
    name = operations.get_context().dialect.name
    require_supported(name)
    return _DIALECTS[name](operations)


class _OnDefinitions(MigrateOperation):
    """An operation on any number of definitions; ``method`` names what the dialect does with them."""

    method: str

    def __init__(self, definitions: Sequence[Definition]) -> None:
        self.definitions = tuple(definitions)

    def run(self, operations: Operations) -> None:
        """Hand the definitions to the dialect."""
        getattr(dialect_of(operations), self.method)(self.definitions)


@Operations.register_operation("ensure", "all")
@Operations.register_operation("ensure_index", "index")
@Operations.register_operation("ensure_foreign_key", "foreign_key")
@Operations.register_operation("ensure_check", "check")
@Operations.register_operation("ensure_trigger", "trigger")
@Operations.register_operation("ensure_column", "column")
class Ensure(_OnDefinitions):
    """Make objects exist exactly as defined."""

    method = "ensure"

    @classmethod
    def all(cls, operations: Operations, *definitions: Definition) -> None:
        """Make every object exist exactly as defined; on SQLite each table is rebuilt at most once."""
        operations.invoke(cls(definitions))

    @classmethod
    def index(cls, operations: Operations, name: str, table: str, columns: Sequence[str], **options: Any) -> None:
        """Make an index exist: ``columns`` are names or ``"name DESC"``.

        Options are ``unique``, ``where``, and for what one dialect has alone ``only`` and ``using``.
        """
        operations.invoke(cls([Index(name, table, tuple(columns), **options)]))

    @classmethod
    def foreign_key(
        cls,
        operations: Operations,
        name: str,
        table: str,
        columns: Sequence[str],
        referred_table: str,
        referred_columns: Sequence[str],
        **options: Any,
    ) -> None:
        """Make a foreign key exist; the option is ``ondelete`` (RESTRICT unless given)."""
        key = ForeignKey(name, table, tuple(columns), referred_table, tuple(referred_columns), **options)
        operations.invoke(cls([key]))

    @classmethod
    def check(cls, operations: Operations, name: str, table: str, condition: str) -> None:
        """Make a CHECK constraint exist."""
        operations.invoke(cls([Check(name, table, condition)]))

    @classmethod
    def trigger(
        cls, operations: Operations, name: str, table: str, create: dict[str, tuple[str, ...]], **options: Any
    ) -> None:
        """Make a trigger exist; ``create`` holds its statements per dialect, the option is ``body``."""
        operations.invoke(cls([Trigger(name, table, create, **options)]))

    @classmethod
    def column(cls, operations: Operations, table: str, column: Any) -> None:
        """Make a column exist."""
        operations.invoke(cls([Column(table, column)]))


@Operations.register_operation("discard", "all")
@Operations.register_operation("discard_index", "index")
@Operations.register_operation("discard_foreign_key", "foreign_key")
@Operations.register_operation("discard_check", "check")
@Operations.register_operation("discard_trigger", "trigger")
@Operations.register_operation("discard_column", "column")
class Discard(_OnDefinitions):
    """Remove objects; what is not there is no error."""

    method = "discard"

    @classmethod
    def all(cls, operations: Operations, *definitions: Definition) -> None:
        """Remove every object."""
        operations.invoke(cls(definitions))

    @classmethod
    def index(cls, operations: Operations, name: str, table: str) -> None:
        """Remove an index."""
        operations.invoke(cls([Index(name, table, ())]))

    @classmethod
    def foreign_key(cls, operations: Operations, name: str, table: str) -> None:
        """Remove a foreign key."""
        operations.invoke(cls([ForeignKey(name, table, (), "", ())]))

    @classmethod
    def check(cls, operations: Operations, name: str, table: str) -> None:
        """Remove a CHECK constraint."""
        operations.invoke(cls([Check(name, table, "")]))

    @classmethod
    def trigger(cls, operations: Operations, name: str, table: str) -> None:
        """Remove a trigger."""
        operations.invoke(cls([Trigger(name, table, {})]))

    @classmethod
    def column(cls, operations: Operations, table: str, column: Any) -> None:
        """Remove a column."""
        operations.invoke(cls([Column(table, column)]))


@Operations.register_operation("survey", "all")
class Survey(_OnDefinitions):
    """Refuse if names are taken, or if rows break what is missing; changes nothing."""

    method = "survey"

    @classmethod
    def all(cls, operations: Operations, *definitions: Definition) -> None:
        """Refuse before the first change."""
        operations.invoke(cls(definitions))


@Operations.register_operation("refuse_taken_names", "tables")
class RefuseTakenNames(MigrateOperation):
    """Refuse if tables of our names exist."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    @classmethod
    def tables(cls, operations: Operations, names: Sequence[str]) -> None:
        """Refuse before the first table is made."""
        operations.invoke(cls(names))

    def run(self, operations: Operations) -> None:
        """Hand the names to the dialect."""
        dialect_of(operations).refuse_taken_names(self.names)


@Operations.implementation_for(Ensure)
@Operations.implementation_for(Discard)
@Operations.implementation_for(Survey)
@Operations.implementation_for(RefuseTakenNames)
def _run(operations: Operations, operation: Any) -> None:
    operation.run(operations)
