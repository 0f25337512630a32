"""The schema of our tables as the database itself describes it, and how two such descriptions differ.

Alembic's autogenerate sees neither DESC, nor a partial index's predicate, nor the text of a CHECK; so drift is
found by comparing raw catalogues.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import cast

from sqlalchemy.engine import Connection

from tierwright.migrations.dialects.postgresql_schema import read_postgresql
from tierwright.migrations.dialects.sqlite_schema import read_sqlite
from tierwright.migrations.names import TABLE_NAMES
from tierwright.migrations.urls import require_supported

#: table -> kind ("columns", "constraints", "indexes", "triggers") -> name -> definition
Catalog = dict[str, dict[str, dict[str, str]]]
KINDS = ("columns", "constraints", "indexes", "triggers")
_SINGULAR = {"columns": "column", "constraints": "constraint", "indexes": "index", "triggers": "trigger"}
_READERS = {"sqlite": read_sqlite, "postgresql": read_postgresql}


@dataclass(frozen=True)
class Difference:
    """One object that is not as expected.

    Attributes:
        table, kind, name: which; ``kind`` is ``table`` where the whole table is missing.
        expected: its definition at head; None for an object that head does not have (the host added it).
        found: its definition in the database; None where it is missing.
    """

    table: str
    kind: str
    name: str
    expected: str | None
    found: str | None

    @property
    def is_addition(self) -> bool:
        """True for what the host added to our tables: allowed, and kept by every revision."""
        return self.expected is None

    def __str__(self) -> str:
        where = self.table if self.kind == "table" else f"{self.table}: {_SINGULAR[self.kind]} {self.name}"
        if self.found is None:
            return f"{where} is missing (expected: {self.expected})"
        if self.expected is None:
            return f"{where} was added ({self.found})"
        return f"{where} is {self.found}, expected {self.expected}"


def read(connection: Connection, tables: Sequence[str] = TABLE_NAMES) -> Catalog:
    """Return the catalogue of those of ``tables`` that exist in the connection's schema.

    Raises:
        DialectUnsupported: neither SQLite nor PostgreSQL.
    """
    require_supported(connection.dialect.name)
    return _READERS[connection.dialect.name](connection, tables)


def expected(dialect: str) -> Catalog:
    """Return the catalogue of head on ``dialect``, as this release was tested with."""
    require_supported(dialect)
    text = resources.files(__package__).joinpath("expected", f"{dialect}.json").read_text("utf-8")
    return cast(Catalog, json.loads(text))


def differences(wanted: Catalog, found: Catalog) -> list[Difference]:
    """Return how ``found`` differs from ``wanted``, table by table."""
    return [difference for table in wanted for difference in _table_differences(table, wanted, found)]


def _table_differences(table: str, wanted: Catalog, found: Catalog) -> Iterator[Difference]:
    if table not in found:
        yield Difference(table, "table", table, "a table", None)
        return
    for kind in KINDS:
        want, have = wanted[table][kind], found[table][kind]
        for name in [*want, *(name for name in have if name not in want)]:
            if want.get(name) != have.get(name):
                yield Difference(table, kind, name, want.get(name), have.get(name))
