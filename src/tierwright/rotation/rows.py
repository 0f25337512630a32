"""The rows that hold secrets, page by page in the order of their primary key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.secrets.envelope import PREFIX, Binding, beginning_with
from tierwright.services.driver_text import driver_text, schemas_of
from tierwright.services.sealed_column import SEALED

_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
_ROW = _CONFIGS.c
_KEY = (_ROW.integration_key, _ROW.tenant_id)
_BEGINNING = sa.func.substr(SEALED, 1, PREFIX, type_=sa.types.NullType())
#: The parameters of the statement, in their order there.
_SWAPPED = ("new", "of_integration", "of_tenant", "old")
#: Unless somebody wrote the row meanwhile: an envelope is bound to its version, so comparing it compares both.
#: ``updated_at`` is of the settings, which do not change.
_SWAP = (
    sa.update(_CONFIGS)
    .where(
        _ROW.integration_key == sa.bindparam("of_integration"),
        _ROW.tenant_id == sa.bindparam("of_tenant"),
        sa.bindparam("old", type_=sa.types.NullType()) == SEALED,
    )
    .values(encrypted_config=sa.bindparam("new", type_=sa.types.NullType()), updated_at=_ROW.updated_at)
)


@dataclass(slots=True)  # not frozen: making one for every row would cost three times as much
class Sealed:
    """The envelope of one row, and where it belongs."""

    integration_key: str
    tenant_id: str
    secret_version: int
    envelope: bytes = field(repr=False)

    @property
    def binding(self) -> Binding:
        """The place to which the secrets are sealed."""
        return Binding.of_config(self.tenant_id, self.integration_key, self.secret_version)


def beginnings(connection: Connection, size: int) -> Iterator[Sequence[bytes]]:
    """Yield the first bytes of all envelopes, in pages; they are enough for the key id."""
    for page in _pages(connection, _BEGINNING, size):
        yield [row[-1] for row in page]


def counts(connection: Connection, key_id: str) -> tuple[int, int]:
    """Return how many rows have secrets, and how many of these are not under a key."""
    found = sa.select(sa.func.count(), sa.func.count().filter(_is_under_another(key_id)))
    total, due = connection.execute(found.where(_ROW.encrypted_config.is_not(None))).one()
    return total, due


def page_after(connection: Connection, key_id: str, last: tuple[str, str] | None, size: int) -> list[Sealed]:
    """Return the envelopes under other keys than one that follow a primary key; the first ones where there is none."""
    return [Sealed(*row) for row in connection.execute(_after(SEALED, last, size).where(_is_under_another(key_id)))]


def page_under(connection: Connection, key_id: str, size: int) -> list[Sealed]:
    """Return the first envelopes under a key."""
    return [Sealed(*row) for row in connection.execute(_after(SEALED, None, size).where(~_is_under_another(key_id)))]


def swap(connection: Connection, changes: Sequence[tuple[Sealed, bytes]]) -> int:
    """Write new envelopes in place of the old ones, each only where that is still there; return how many were."""
    # Handed to the driver: SQLAlchemy would work out the parameters of each row anew.
    compiled = driver_text(connection.dialect, _SWAP, schemas_of(connection))
    rows: Any = [(new, row.integration_key, row.tenant_id, row.envelope) for row, new in changes]
    if not compiled.positional:
        rows = [dict(zip(_SWAPPED, row, strict=True)) for row in rows]
    return int(connection.exec_driver_sql(str(compiled), rows).rowcount)


def _is_under_another(key_id: str) -> sa.ColumnElement[bool]:
    wanted = beginning_with(key_id)
    begins = sa.func.substr(SEALED, 1, len(wanted), type_=sa.LargeBinary())
    return begins != wanted


def _pages(connection: Connection, column: Any, size: int) -> Iterator[Sequence[Any]]:
    last: tuple[str, str] | None = None
    while page := connection.execute(_after(column, last, size)).all():
        yield page
        last = page[-1][0], page[-1][1]


def _after(column: Any, last: tuple[str, str] | None, size: int) -> sa.Select[Any]:
    statement = sa.select(*_KEY, _ROW.secret_version, column).where(_ROW.encrypted_config.is_not(None))
    if last is not None:
        statement = statement.where(sa.tuple_(*_KEY) > sa.tuple_(*last))
    return statement.order_by(*_KEY).limit(size)
