"""The lists of feature keys that a statement for many rows writes: known before it runs, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import ORMExecuteState

from tierwright.errors import InvalidInput
from tierwright.services.key_lists.rules import LISTS, Written, key_column
from tierwright.services.recording.described import Described, Seen


def lists_made(described: Described, rows: Iterable[Mapping[str, Any]]) -> list[Written]:
    """Return the rows that an INSERT makes.

    Raises:
        InvalidInput: a list, or the key beside it, is an expression that only the database can work out.
    """
    table = described.table.name
    if table not in LISTS:
        return []
    return [Written(table, None, _plain(described, row, row)) for row in rows]


def lists_changed(state: ORMExecuteState, described: Described, before: Sequence[Seen]) -> list[Written]:
    """Return the rows that an UPDATE or DELETE writes, as they are and as they will be.

    Args:
        state: the statement.
        described: its table.
        before: the rows that it is about.

    Raises:
        InvalidInput: as for :func:`lists_made`.
    """
    table = described.table.name
    if table not in LISTS:
        return []
    if isinstance(state.statement, sa.Delete):
        return [Written(table, seen.values, None) for seen in before]
    given = _given(state, described, _plain)
    return [Written(table, seen.values, {**seen.values, **given(seen)}) for seen in before]


def set_in(state: ORMExecuteState, described: Described, before: Sequence[Seen]) -> list[Mapping[str, Any]]:
    """Return the columns that an UPDATE sets in each row, plain values as they are."""
    given = _given(state, described, _all)
    return [given(seen) for seen in before]


def values_of(statement: Any) -> Iterable[tuple[Any, Any]]:
    """Return what a statement sets in values(), by column or by name."""
    # SQLAlchemy tells these by no public name; they are the same in 2.0 and 2.1.
    return getattr(statement, "_ordered_values", None) or (getattr(statement, "_values", None) or {}).items()


def _given(state: ORMExecuteState, described: Described, of_interest: Any) -> Any:
    """Return a function from a row to the columns of interest that the statement sets in it."""
    parameters: Any = state.parameters or {}
    if state.is_executemany:
        by_key = {_identity(described, row): of_interest(described, row, row) for row in parameters}
        return lambda seen: by_key[seen.identity]
    own = {getattr(name, "key", name): value for name, value in values_of(state.statement)}
    plain = of_interest(described, {**parameters, **own}, parameters)
    return lambda _seen: plain


def _identity(described: Described, row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[column.name]) for column in described.primary_key())


def _plain(described: Described, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lists and the key among some values, by column."""
    table = described.table.name
    names = (key_column(table), *LISTS[table])
    return {name: _value(table, name, values[name], parameters) for name in names if name in values}


def _all(_described: Described, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain_value(value, parameters) for name, value in values.items()}


def plain_value(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Return what a statement sets, where that is a value: as it is, or as a parameter."""
    return parameters.get(value.key, value.effective_value) if isinstance(value, sa.BindParameter) else value


def _value(table: str, name: str, value: Any, parameters: Mapping[str, Any]) -> Any:
    value = plain_value(value, parameters)
    if isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__"):
        raise InvalidInput(
            f"What {name} of {table} would be is for the database to work out, so nobody can check it.",
            remedy="Give it as a plain value, or change objects in the session.",
            details={"table": table, "column": name},
        )
    return value
