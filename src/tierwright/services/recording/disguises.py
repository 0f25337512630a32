"""Statements that write our tables without looking like it: through copies of them, or inside of other statements."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import FromStatement, ORMExecuteState
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import AliasedReturnsRows

from tierwright.errors import Unrecordable
from tierwright.services.recording.described import DESCRIBED
from tierwright.services.session_state import is_told_of
from tierwright.services.statements import STATE

#: Shapes of statements, without their values, in which nothing was found: to look through one takes longer than this.
#: Their hashes, because a shape holds tables and may be large. A shape with a table of ours in it has the hash of no
#: other's, as far as 64 bits go: our tables are there as long as the process.
_HARMLESS: set[int] = set()
_MOST_SHAPES = 10_000


def written_table(state: ORMExecuteState) -> sa.Table | None:
    """Return the table of ours that a statement writes; None where it writes another one.

    Raises:
        Unrecordable: it writes one of ours, and not as ``tierwright.tables`` describes it.
    """
    statement: Any = state.statement
    table = plain_table(statement.table)
    if is_told_of(table):
        return table  # type: ignore[no-any-return]  # it has the mark of ours
    if getattr(table, "name", None) in DESCRIBED and getattr(table, "schema", None) is None and _is_with_ours(state):
        raise _refused(table.name, "it describes the table in its own way, such as table() or a reflected one")
    return None


def refuse_hidden(state: ORMExecuteState) -> None:
    """Refuse an INSERT, UPDATE or DELETE of ours that is part of another statement.

    Raises:
        Unrecordable: there is one.
    """
    if state.is_column_load or state.is_relationship_load:
        return
    statement: Any = state.statement
    if isinstance(statement, sa.StatementLambdaElement):
        statement = statement._resolved  # by no public name; the same in 2.0 and 2.1
        _refuse_inner(statement, "it is in a lambda")
    if isinstance(statement, FromStatement):
        _refuse_inner(statement.element, "it is in select().from_statement(); returning() gives objects too")
    # Nothing is in a Sequence, which is no clause. And SQLite does not know such a WITH.
    if isinstance(statement, sa.ClauseElement) and _dialect_of(state) == "postgresql":
        _refuse_in_with(statement)


def _refuse_in_with(statement: sa.ClauseElement) -> None:
    # SQLAlchemy needs the key anyway, to find what it has compiled, and keeps it with the statement.
    key = statement._generate_cache_key()
    shape = None if key is None else hash(key.key)
    if shape in _HARMLESS:
        return
    for element in visitors.iterate(statement):
        if isinstance(element, sa.CTE):
            _refuse_inner(element.element, "it is in the WITH of another one")
    if shape is not None:
        if len(_HARMLESS) >= _MOST_SHAPES:
            _HARMLESS.clear()
        _HARMLESS.add(shape)


def _refuse_inner(statement: Any, why: str) -> None:
    table = plain_table(statement.table) if isinstance(statement, UpdateBase) else None
    if getattr(table, "name", None) in DESCRIBED:
        raise _refused(table.name, why)  # type: ignore[union-attr]  # it has one


def plain_table(table: Any) -> Any:
    """Return what a table or an alias of one stands for."""
    while isinstance(table, AliasedReturnsRows):
        table = table.element
    return table


def _is_with_ours(state: ORMExecuteState) -> bool:
    """Tell whether the session looks for the table where ours are."""
    try:
        ours = state.session.get_bind(clause=STATE)
        return state.session.get_bind(**state.bind_arguments) is ours
    except UnboundExecutionError:
        return False


def _dialect_of(state: ORMExecuteState) -> str | None:
    try:
        return state.session.get_bind(**state.bind_arguments).dialect.name
    except UnboundExecutionError:
        return None


def _refused(name: str, why: str) -> Unrecordable:
    return Unrecordable(
        f"The history could not tell what the statement does to {name}: {why}.",
        remedy="Execute it by itself, on the tables of tierwright.tables.",
        details={"table": name},
    )
