"""Statements that name one row by its primary key: the common ones, which need not be narrowed to what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList

from tierwright.services.recording.described import Described


def named_row(described: Described, statement: Any, parameters: Any) -> tuple[Any, ...] | None:
    """Return the primary key of the only row that a statement can change; None where its WHERE does not name one.

    Args:
        described: the statement's table.
        statement: an UPDATE or DELETE.
        parameters: what it is run with.
    """
    named = dict(_equal_to(described, statement.whereclause, parameters or {}))
    identity = tuple(named.get(column.name) for column in described.primary_key())
    return None if None in identity else identity


def _equal_to(described: Described, clause: Any, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the columns that a condition holds to one plain value each."""
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _equal_to(described, part, parameters)
    elif isinstance(clause, sa.BinaryExpression) and clause.operator is operators.eq:
        column, value = clause.left, clause.right
        # Not `is`: a column of an ORM statement is annotated.
        if isinstance(column, sa.Column) and column.table == described.table and isinstance(value, sa.BindParameter):
            yield column.name, parameters.get(value.key, value.effective_value)
