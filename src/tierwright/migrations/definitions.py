"""What a revision can ask the helper layer for: small frozen descriptions, the same for every dialect.

A definition is compared with the database as a whole. An object of the right name and another definition is
put right or refused, never taken for the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class Index:
    """An index: its columns in order, each a name or ``"name DESC"``, and its predicate if it is partial.

    One that only one dialect has (``only``) may also have expressions and operator classes, as that dialect writes
    them, and another access method (``using``); the other dialect goes without it.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    unique: bool = False
    where: str | None = None
    using: str = "btree"
    only: str | None = None

    def is_for(self, dialect: str) -> bool:
        """Tell whether the index exists on ``dialect``."""
        return self.only in (None, dialect)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns without their direction."""
        return tuple(column.split()[0] for column in self.columns)


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of one table on another, with its delete action."""

    name: str
    table: str
    columns: tuple[str, ...]
    referred_table: str
    referred_columns: tuple[str, ...]
    ondelete: str = "RESTRICT"

    @property
    def clause(self) -> str:
        """The constraint as a table-level SQL clause, without its name."""
        return (
            f"FOREIGN KEY ({', '.join(self.columns)}) "
            f"REFERENCES {self.referred_table}({', '.join(self.referred_columns)}) ON DELETE {self.ondelete}"
        )


@dataclass(frozen=True)
class Check:
    """A CHECK constraint: a condition that every row fulfils (or leaves NULL)."""

    name: str
    table: str
    condition: str

    @property
    def clause(self) -> str:
        """The constraint as a table-level SQL clause, without its name."""
        return f"CHECK ({self.condition})"


@dataclass(frozen=True)
class Trigger:
    """A trigger, with one complete list of statements that create it per dialect.

    ``create`` maps ``"sqlite"`` and ``"postgresql"`` to statements; a dialect that it leaves out has no such trigger,
    and without any it only names one to remove. The last statement is the ``CREATE TRIGGER``, which PostgreSQL is given
    as ``pg_get_triggerdef`` writes it. ``body`` is the PL/pgSQL of the PostgreSQL function of the trigger's own name,
    which is then made, compared and dropped with it. ``needs_sole_key`` says that it guards rows by their primary key
    from SQLite's REPLACE, and that the table must have no other unique one.
    """

    name: str
    table: str
    create: Mapping[str, tuple[str, ...]]
    body: str = ""
    needs_sole_key: bool = False

    def is_for(self, dialect: str) -> bool:
        """Tell whether ``dialect`` has this trigger."""
        return not self.create or dialect in self.create


@dataclass(frozen=True)
class Column:
    """A column added to an existing table; NOT NULL needs a ``server_default``."""

    table: str
    column: sa.Column[object]

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name


@dataclass(frozen=True)
class Partitioning:
    """A table in monthly parts by the moment in a column, on PostgreSQL; SQLite has no such thing."""

    table: str
    column: str

    @property
    def name(self) -> str:
        """What a description of the table calls it."""
        return "monthly_partitions"

    @property
    def key(self) -> str:
        """The partition key, as ``pg_get_partkeydef`` writes it."""
        return f"RANGE ({self.column})"

    def is_for(self, dialect: str) -> bool:
        """Tell whether ``dialect`` has partitions."""
        return dialect == "postgresql"


Constraint = ForeignKey | Check
Definition = Index | ForeignKey | Check | Trigger | Column | Partitioning


def for_dialect(definitions: Iterable[Definition], dialect: str) -> list[Definition]:
    """Return those of ``definitions`` that ``dialect`` has."""
    limited = Trigger | Index | Partitioning
    return [each for each in definitions if not isinstance(each, limited) or each.is_for(dialect)]
