"""Lists of what the registries hold, and the fields of one entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import typer
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.cli import database, output
from tierwright.errors import NotFound
from tierwright.services import near_keys
from tierwright.tables import FeatureRegistry
from tierwright.tables.inputs import InputSchema
from tierwright.types import text_problem

#: Column values by field.
Fields = dict[str, Any]
Adapt = Callable[[Connection, Fields], None]


def list_entries(
    name: str,
    row: type[SQLModel],
    schema: type[InputSchema],
    key: tuple[str, ...],
    cells: Callable[[Fields], tuple[object, ...]],
    widths: tuple[int, ...],
    *,
    database_of: tuple[str | None, str | None],
    as_json: bool,
    only: Mapping[str, str] | None = None,
    where: Sequence[sa.ColumnElement[bool]] = (),
    more: Sequence[str] = (),
    adapt: Adapt | None = None,
) -> None:
    """Print all entries of a registry, by key.

    Args:
        name: what the list is called in JSON.
        row, schema: the table, and the fields of it that are shown.
        key: the columns by which entries are told apart.
        cells: the cells of an entry's line, for people.
        widths: of the first cells.
        database_of: URL and PostgreSQL schema.
        as_json: for machines.
        only: entries with these values.
        where: entries that meet these conditions.
        more: columns that are shown beside the fields.
        adapt: changes the fields of one entry as they were read.
    """
    with output.reported_errors(as_json=as_json), database.reading(*database_of) as connection:
        found = _entries(connection, row, schema, key, only or {}, where, more)
        if adapt is not None:
            for entry in found:
                adapt(connection, entry)
    if as_json:
        output.print_json({name: found})
        return
    for entry in found:
        output.line(*cells(entry), widths=widths)
    if not found:
        typer.echo("none", err=True)


def one(connection: Connection, row: type[SQLModel], schema: type[InputSchema], key: str, value: str) -> Fields:
    """Return the fields of one entry.

    Raises:
        NotFound: there is none with this key.
    """
    found = _entries(connection, row, schema, (key,), {key: value})
    if not found:
        noun = key.removesuffix("_key")
        remedy = f"`tierwright {noun} list` names them."
        if row is FeatureRegistry:
            remedy = near_keys.asked(connection, remedy, [value])
        raise NotFound(f"There is no {noun} {value[:255]!a}.", remedy=remedy)
    return found[0]


def where(
    connection: Connection, row: type[SQLModel], schema: type[InputSchema], condition: sa.ColumnElement[bool]
) -> Fields:
    """Return the fields of the one entry that meets a condition."""
    return _entries(connection, row, schema, (), {}, (condition,))[0]


def print_fields(entry: Mapping[str, Any]) -> None:
    """Print the fields that say something, one in a line."""
    for name, value in entry.items():
        if value not in (None, [], {}):
            output.line(name, output.literal(value) if isinstance(value, dict | list | bool) else value, widths=(20,))


def state(entry: Mapping[str, Any]) -> str:
    """Return whether an entry is in use, in a word."""
    if entry.get("deleted_at"):
        return "deleted"
    if not entry["is_active"]:
        return "retired"
    return "deprecated" if entry.get("is_deprecated") else "active"


def _entries(
    connection: Connection,
    row: type[SQLModel],
    schema: type[InputSchema],
    key: tuple[str, ...],
    only: Mapping[str, str],
    where: Sequence[sa.ColumnElement[bool]] = (),
    more: Sequence[str] = (),
) -> list[Fields]:
    if any(text_problem(value) for value in only.values()):
        return []  # no database has a row with it, and PostgreSQL would not even be asked
    columns = row.__table__.c  # type: ignore[attr-defined]  # made by the metaclass
    names = [*(name for name, field in schema.model_fields.items() if not field.exclude), *more]
    statement = sa.select(*(columns[name] for name in names)).order_by(*(columns[name] for name in key))
    statement = statement.where(*where, *(columns[name] == value for name, value in only.items()))
    return [dict(found) for found in connection.execute(statement).mappings()]
