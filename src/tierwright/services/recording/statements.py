"""ORM statements for many rows, recorded exactly or refused: their rows are read and locked before, and read after.

An update or a delete is narrowed to the rows that were read, so that none changes of which nobody would know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Result
from sqlalchemy.orm import ORMExecuteState

from tierwright.errors import Unrecordable
from tierwright.services.audit import check_context, note_all
from tierwright.services.catalog_version import lock_file
from tierwright.services.key_lists.checking import refuse_bad_lists
from tierwright.services.recording.deleted_tiers import given_rows, is_concerned, refuse_deleted, seen_rows
from tierwright.services.recording.described import DESCRIBED, Described, Identity, Seen
from tierwright.services.recording.disguises import plain_table
from tierwright.services.recording.flushes import grants_of
from tierwright.services.recording.named_rows import named_row
from tierwright.services.recording.written_lists import lists_changed, lists_made, plain_value, set_in, values_of
from tierwright.types import uuid7

#: What a statement may write at most: it is held in memory, and named in a condition.
MOST_ROWS = 10_000
_DEFAULTS: Mapping[str, Callable[[], Any]] = {"id": uuid7, "license_key": lambda: "main"}
_GRANTS = DESCRIBED["license_tier_features"]

Run = Callable[[], Result[Any]]


def recorder(state: ORMExecuteState) -> Run:
    """Return what runs an INSERT, UPDATE or DELETE on a table of ours, and records what it does; runs no SQL itself.

    Raises:
        Unrecordable: nobody could tell what it does.
    """
    described = _described(state)
    check_context(state.session)  # afterwards the rows would be written, and the host could commit them
    if isinstance(state.statement, sa.Insert):
        return _inserting(state, described)
    return _changing(state, described)


@contextmanager
def _or_nothing(state: ORMExecuteState) -> Iterator[None]:
    """Roll the transaction back, as a flush does, where what a statement did cannot be told."""
    try:
        yield
    except BaseException:
        state.session.rollback()
        raise


def _described(state: ORMExecuteState) -> Described:
    statement: Any = state.statement
    described = DESCRIBED[plain_table(statement.table).name]
    if statement.table != described.table:  # not `is`: that of an ORM statement is annotated
        raise _refused(described, "it names a copy of the table")
    if "schema_translate_map" in state.execution_options:
        raise _refused(described, "it brings a schema_translate_map of its own")
    return described


# --- INSERT ----------------------------------------------------------------------------------------------------------


def _inserting(state: ORMExecuteState, described: Described) -> Run:
    statement: Any = state.statement
    # SQLAlchemy tells these by no public name; they are the same in 2.0 and 2.1.
    if statement.select is not None:
        raise _refused(described, "it inserts what another statement selects")
    if statement._post_values_clause is not None or statement._prefixes:
        raise _refused(described, "it does something else where a row is there already")
    if statement._multi_values:
        raise _refused(described, "its rows are in values(); pass them as parameters: execute(insert(...), rows)")
    own = {getattr(name, "key", name): getattr(value, "value", value) for name, value in values_of(statement)}
    parameters: Any = state.parameters
    given = list(parameters) if state.is_executemany else [parameters or {}]
    rows = [{**own, **row} for row in given]
    _refuse_many(described, len(rows))
    missing = [_missing(described, row) for row in rows]
    identities = [_identity(described, {**row, **more}) for row, more in zip(rows, missing, strict=True)]
    written = lists_made(described, rows)
    plain = ({name: plain_value(value, row) for name, value in row.items()} for row in rows)
    tiers = given_rows(described, [None] * len(rows), list(plain)) if is_concerned(described) else []

    def run() -> Result[Any]:
        refuse_bad_lists(_connection(state), written)
        if tiers:
            refuse_deleted(_connection(state), described, tiers)
        if state.is_executemany:
            result = state.invoke_statement(params=missing)
        else:
            result = state.invoke_statement(statement=statement.values(**missing[0]) if missing[0] else statement)
        with _or_nothing(state):
            found = described.read(_connection(state), identities)
            if len(found) < len(identities):
                raise _refused(described, "a row is not there by its key: look for a trigger that changes or drops it")
            note_all(state.session, [entry for seen in found.values() for entry in described.changes(None, seen)])
        return result

    return run


def _missing(described: Described, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a primary key that the database, or the table, would make up."""
    names = [column.name for column in described.primary_key() if row.get(column.name) is None]
    return {name: _DEFAULTS[name]() for name in names if name in _DEFAULTS}


def _identity(described: Described, row: Mapping[str, Any]) -> tuple[Any, ...]:
    identity = tuple(row.get(column.name) for column in described.primary_key())
    if any(part is None or isinstance(part, sa.ClauseElement) for part in identity):
        raise _refused(described, "only the database would know the primary key")
    return identity


# --- UPDATE and DELETE -----------------------------------------------------------------------------------------------


def _changing(state: ORMExecuteState, described: Described) -> Run:
    statement: Any = state.statement
    if not state.is_executemany:
        _refuse_new_key(described, statement, state.parameters)
        return lambda: _run_narrowed(state, described)
    if not state.is_orm_statement or statement.whereclause is not None or not isinstance(statement, sa.Update):
        raise _refused(described, "it is run for many parameters; update by primary key: execute(update(Model), rows)")
    rows: Any = state.parameters
    _refuse_many(described, len(rows))
    identities = [_identity(described, row) for row in rows]
    return lambda: _run_by_key(state, described, identities)


def _run_narrowed(state: ORMExecuteState, described: Described) -> Result[Any]:
    statement: Any = state.statement
    if state.is_orm_statement and state.session.autoflush:
        state.session.flush()  # what SQLAlchemy would do next; what is pending has its own entries
    connection = _connection(state)
    lock_file(connection)
    identity = named_row(described, statement, state.parameters)
    before = _matching(connection, state, described) if identity is None else described.locked_one(connection, identity)
    _refuse_bad(connection, state, described, before)
    if identity is None or not before:
        statement = statement.where(described.is_one_of([_key(described, seen) for seen in before]))
    return _recorded(state, connection, described, before, statement)


def _matching(connection: Connection, state: ORMExecuteState, described: Described) -> list[Seen]:
    statement: Any = state.statement
    where = described.select().select_from(described.table)
    if statement.whereclause is not None:
        where = where.where(statement.whereclause)
    before = described.locked(connection, where.limit(MOST_ROWS + 1), state.parameters)
    _refuse_many(described, len(before))
    return before


def _run_by_key(state: ORMExecuteState, described: Described, identities: list[tuple[Any, ...]]) -> Result[Any]:
    if state.session.autoflush:
        state.session.flush()
    connection = _connection(state)
    lock_file(connection)
    before = described.locked(connection, described.select().where(described.is_one_of(identities)))
    _refuse_bad(connection, state, described, before)
    return _recorded(state, connection, described, before, state.statement)


def _refuse_bad(connection: Connection, state: ORMExecuteState, described: Described, before: list[Seen]) -> None:
    """Refuse what breaks the catalogue, before it is written."""
    refuse_bad_lists(connection, lists_changed(state, described, before))
    if not is_concerned(described):
        return
    is_going = isinstance(state.statement, sa.Delete)
    rows = (
        seen_rows((seen, None) for seen in before)
        if is_going
        else given_rows(described, before, set_in(state, described, before))
    )
    refuse_deleted(connection, described, rows)


def _recorded(
    state: ORMExecuteState, connection: Connection, described: Described, before: list[Seen], statement: Any
) -> Result[Any]:
    keys = [_key(described, seen) for seen in before]
    is_cascade = isinstance(statement, sa.Delete) and described.table.name == "license_tier"
    grants = grants_of(connection, keys) if is_cascade and keys else []
    result = state.invoke_statement(statement=statement)
    with _or_nothing(state):
        entries = _entries(connection, described, before) + _entries(connection, _GRANTS, grants)
        if entries:
            note_all(state.session, entries)
    return result


def _entries(connection: Connection, described: Described, before: list[Seen]) -> list[dict[str, Any]]:
    rows: dict[Identity, Seen] = {seen.identity: seen for seen in before}
    found = described.read(connection, [_key(described, seen) for seen in rows.values()])
    return [entry for key, seen in rows.items() for entry in described.changes(seen, found.get(key))]


def _key(described: Described, seen: Seen) -> tuple[Any, ...]:
    return tuple(seen.values[column.name] for column in described.primary_key())


def _connection(state: ORMExecuteState) -> Connection:
    return state.session.connection(bind_arguments=dict(state.bind_arguments))


def _refuse_new_key(described: Described, statement: Any, parameters: Any) -> None:
    """Refuse what would give a row another primary key: it could not be found again to tell how it is."""
    if isinstance(statement, sa.Update):
        given = {getattr(name, "key", name) for name, _ in values_of(statement)}.union(parameters or ())
        if not given.isdisjoint(column.name for column in described.primary_key()):
            raise _refused(described, "it changes a primary key; delete the row, and insert the other one")


def _refuse_many(described: Described, count: int) -> None:
    if count > MOST_ROWS:
        raise _refused(described, f"it writes more than {MOST_ROWS} rows; write in parts")


def _refused(described: Described, why: str) -> Unrecordable:
    return Unrecordable(
        f"The history could not tell what the statement does to {described.table.name}: {why}.",
        remedy="Write through Registry, the catalogue, or objects in the session; or in another form of the statement.",
        details={"table": described.table.name},
    )
