"""What all tables share: the columns that recur, names that nobody can change, relationships found by path."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import TypeEngine
from sqlmodel import Field

from tierwright.types import UtcDateTime, json_type, key_type, utc_now, uuid7

#: Marks a table as ours; the filters for a host's autogenerate look for it.
INFO = {"tierwright": True}


def column(
    type_: TypeEngine[Any] | type[TypeEngine[Any]],
    *,
    nullable: bool = False,
    server_default: Any = None,
    insert_default: Callable[[], Any] | None = None,
    onupdate: Callable[[], Any] | None = None,
    **field: Any,
) -> Any:
    """Return a SQLModel field over an explicit column.

    Args:
        type_: the column's type.
        nullable: whether NULL is allowed; a nullable field defaults to None.
        server_default: the default inside the database.
        insert_default: what a Core insert without a value writes.
        onupdate: what an update without a value writes.
        **field: handed on to ``sqlmodel.Field`` (``default``, ``default_factory``, ``repr``).

    Returns:
        The field.
    """
    if nullable:
        field.setdefault("default", None)
    made: sa.Column[Any] = sa.Column(
        type_, nullable=nullable, default=insert_default, server_default=server_default, onupdate=onupdate
    )
    return Field(sa_column=made, **field)


def over(made: sa.Column[Any], **field: Any) -> Any:
    """Return a SQLModel field over a column that was made before, for use in an index expression."""
    return Field(sa_column=made, **field)


def id_column() -> Any:
    """Return the surrogate key: a UUIDv7 made by the client."""
    return column(sa.Uuid(), insert_default=uuid7, default_factory=uuid7)


def key(length: int = 255, *, nullable: bool = False, **field: Any) -> Any:
    """Return a key column, which sorts in byte order everywhere."""
    return column(key_type(length), nullable=nullable, **field)


def text(length: int | None = None, *, nullable: bool = False) -> Any:
    """Return a text column for people to read: VARCHAR(length), or TEXT."""
    return column(sa.Text() if length is None else sa.String(length), nullable=nullable)


def flag(default: bool) -> Any:
    """Return a boolean column with a default."""
    return column(sa.Boolean(), server_default=sa.true() if default else sa.false(), default=default)


def number(default: int, type_: type[TypeEngine[Any]] = sa.Integer) -> Any:
    """Return an integer column with a default."""
    return column(type_(), server_default=sa.text(str(default)), default=default)


def document(*, nullable: bool = False) -> Any:
    """Return a JSON column without a default."""
    return column(json_type(), nullable=nullable)


def key_list() -> Any:
    """Return a JSON column for a list of feature keys, empty by default."""
    return column(json_type(), server_default=sa.text("'[]'"), insert_default=list, default_factory=list)


def options(**field: Any) -> Any:
    """Return a JSON column for an object, empty by default."""
    return column(json_type(), server_default=sa.text("'{}'"), insert_default=dict, default_factory=dict, **field)


def moment() -> Any:
    """Return a nullable moment."""
    return column(UtcDateTime(), nullable=True)


def created_at() -> Any:
    """Return the moment of the insert."""
    return column(
        UtcDateTime(), server_default=sa.func.current_timestamp(), insert_default=utc_now, default_factory=utc_now
    )


def updated_at() -> Any:
    """Return the moment of the last write."""
    return column(
        UtcDateTime(),
        server_default=sa.func.current_timestamp(),
        insert_default=utc_now,
        onupdate=utc_now,
        default_factory=utc_now,
    )


def primary_key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    """Return the primary key ``pk_<table>``."""
    return sa.PrimaryKeyConstraint(*columns, name=conv(f"pk_{table}"))


def unique(name: str, *columns: str) -> sa.UniqueConstraint:
    """Return a unique constraint of exactly this name."""
    return sa.UniqueConstraint(*columns, name=conv(name))


def foreign_key(name: str, column_name: str, target: str, ondelete: str = "RESTRICT") -> sa.ForeignKeyConstraint:
    """Return a foreign key of exactly this name on ``target`` (``table.column``)."""
    return sa.ForeignKeyConstraint([column_name], [target], name=conv(name), ondelete=ondelete)


def check(name: str, condition: str) -> sa.CheckConstraint:
    """Return a check of exactly this name."""
    return sa.CheckConstraint(condition, name=conv(name))


def window(name: str) -> sa.CheckConstraint:
    """Return the check that a window which is closed on both sides is not empty."""
    return check(name, "starts_at IS NULL OR expires_at IS NULL OR starts_at < expires_at")


def one_of(name: str, column_name: str, *values: str) -> sa.CheckConstraint:
    """Return the check that a column holds one of ``values``."""
    return check(name, f"{column_name} IN ({', '.join(repr(str(value)) for value in values)})")


def index(name: str, *columns: Any, **kwargs: Any) -> sa.Index:
    """Return an index of exactly this name."""
    return sa.Index(conv(name), *columns, **kwargs)


def later(path: str) -> Callable[[], Any]:
    """Return a function that finds a class by module and name, for relationships.

    A string would be looked up among the host's classes, tables and schemas too: a host with a schema named
    ``tierwright`` in its metadata would break it. The module is imported when the mappers are configured.
    """
    module, name = path.rsplit(".", 1)
    return lambda: getattr(importlib.import_module(module), name)
