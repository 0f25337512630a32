"""Lists of feature keys that a host writes itself, past the services, are held to the same rules as theirs.

Only what the write changes is looked at: a list that raw SQL has broken does not stand in the way of other writes. The
lock of the catalogue is held, so what is read here still holds when the transaction commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.errors import StillInUse, TransactionMissing
from tierwright.services.catalog_version import commits_by_itself
from tierwright.services.key_lists.rules import (
    FEATURES,
    LISTS,
    Written,
    key_column,
    kind_of,
    named_in,
    refuse_malformed,
)
from tierwright.services.reading import keys_of
from tierwright.services.registry.rows import refuse_unknown
from tierwright.services.registry.rules import cycle_through, named, refuse_cycle

_tables = SQLModel.metadata.tables
#: By the key of a row: its lists, by column.
_Lists = dict[str, Mapping[str, Any]]


def refuse_bad_lists(connection: Connection, written: Iterable[Written]) -> None:
    """Refuse rows whose lists break the catalogue, and to take away features that lists name.

    Args:
        connection: where the features are, before or after the rows are written.
        written: all rows of one flush, or of one statement.

    Raises:
        InvalidInput, CycleRefused: as for :func:`tierwright.services.key_lists.rules.refuse_malformed`.
        ReferenceUnknown: a list newly names a feature that does not exist.
        CycleRefused: features would need each other.
        StillInUse: a list names a feature that goes, or that is called otherwise from now on.
    """
    rows = [row for row in written if row.table in LISTS]
    refuse_malformed(rows)
    wanted = {key for row in rows for key in row.newly_named()}
    of_features = [row for row in rows if row.table == FEATURES]
    gone = {str(row.old_key()) for row in of_features if row.before is not None and row.old_key() != row.new_key()}
    if not wanted and not gone:
        return
    known = _after(connection, FEATURES, rows)
    refuse_unknown(sorted(wanted - known.keys()), known)
    edges = {key: tuple(named_in(lists["depends_on"])) for key, lists in known.items()}
    for row in of_features:
        if row.newly_named():
            refuse_cycle("Prerequisites", cycle_through(str(row.new_key()), edges))
    if left := gone - known.keys():
        _refuse_named(connection, left, rows)


def refuse_by_itself(connection: Connection, target: Any, *, is_going: bool = False) -> None:
    """Refuse an object with lists on a connection that commits it before the lists can be looked at.

    Args:
        connection: the one that is about to write it.
        target: a row of ours.
        is_going: whether it will be deleted.

    Raises:
        TransactionMissing: the lists matter, and every statement is committed by itself.
    """
    state = sa.inspect(target)
    name = next((table.name for table in state.mapper.tables if table.name in LISTS), "")
    columns = LISTS.get(name)
    if columns is None or not commits_by_itself(connection):
        return
    changed = any(state.attrs[name].history.added not in ((), [[]]) for name in columns if name in state.attrs)
    if changed or (is_going and name == FEATURES):
        raise TransactionMissing(
            "Lists of feature keys are written on a connection that commits every statement by itself (AUTOCOMMIT).",
            remedy="Give the session an engine, or a connection, with transactions.",
        )


def stored_lists(connection: Connection, table: str) -> Iterator[tuple[str, dict[str, tuple[str, ...]]]]:
    """Yield the rows of a registry: the key, and its lists by column; of what is no list, a key that no feature has."""
    columns = _tables[table].c
    key = columns[key_column(table)]
    texts = [sa.cast(columns[name], sa.Text()) for name in LISTS[table]]
    for row in connection.execute(sa.select(key, *texts)):
        yield row[0], {name: keys_of(text) for name, text in zip(LISTS[table], row[1:], strict=True)}


def _after(connection: Connection, table: str, written: Iterable[Written]) -> _Lists:
    """Return the lists of all rows of a registry as they will be."""
    found: _Lists = dict(stored_lists(connection, table))
    rows = [row for row in written if row.table == table]
    for row in rows:
        found.pop(str(row.old_key()), None)
    found.update((str(row.new_key()), row.lists()) for row in rows if row.after is not None)
    return found


def _refuse_named(connection: Connection, gone: set[str], rows: Iterable[Written]) -> None:
    """Refuse to take features away that a list names."""
    found = {
        f"the {kind_of(table)} {key}"
        for table in LISTS
        for key, lists in _after(connection, table, rows).items()
        if any(not gone.isdisjoint(named_in(keys)) for keys in lists.values())
    }
    if found:
        raise StillInUse(
            f"Lists name features that are to go ({named(gone)}): those of {named(found)}.",
            remedy="Take them out of these lists first, or retire the features instead.",
            details={"features": sorted(gone), "named_by": sorted(found)},
        )
