"""What the ORM flushes of our rows, told by the rows themselves: read and locked before, and read again after.

What an object remembers of its row may be out of date, and what is set on it need not be what is stored. So nothing is
taken from objects: not after a lost update, nor with SQL expressions, server defaults or rows that go in a cascade.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session, object_session

from tierwright.services.audit import note_all
from tierwright.services.catalog_version import lock_file
from tierwright.services.key_lists.checking import refuse_bad_lists
from tierwright.services.key_lists.rules import LISTS, Written
from tierwright.services.recording.described import DESCRIBED, Described, Identity, Seen
from tierwright.services.session_state import is_own_write

_TOUCHED = "tierwright.touched"
_GRANTS = DESCRIBED["license_tier_features"]
#: A row before and after.
Change = tuple[Seen | None, Seen | None]


class _Touched(NamedTuple):
    """A row that the flush under way writes."""

    described: Described
    connection: Connection
    before: Seen | None
    #: whose primary key it is afterwards; None where it goes
    target: Any
    identity: tuple[Any, ...]


def making(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note that a row was inserted."""
    session = _session_of(target)
    if session is not None:
        _touch(session, _Touched(_described(mapper), connection, None, target, ()))


def changing(mapper: Mapper[Any], connection: Connection, target: Any, *, is_going: bool = False) -> None:
    """Note a row, as it is, that will be updated or deleted."""
    session = _session_of(target)
    if session is None or not (is_going or session.is_modified(target, include_collections=False)):
        return
    described = _described(mapper)
    identity = sa.inspect(target).identity or tuple(mapper.primary_key_from_instance(target))
    lock_file(connection)
    for seen in described.locked_one(connection, identity):
        _touch(session, _Touched(described, connection, seen, None if is_going else target, identity))
    if is_going and described.table.name == "license_tier":
        for touched in grants_of(connection, [identity]):
            _touch(session, _Touched(_GRANTS, connection, touched, None, _primary_key(touched)))


def flushed(session: Session) -> None:
    """Look at what a flush has done, and write the entries about it.

    Raises:
        InvalidInput, WriteRefused: lists of feature keys break the catalogue; the flush is rolled back.
    """
    touched: list[_Touched] = session.info.pop(_TOUCHED, [])
    groups: defaultdict[tuple[Described, Connection], list[_Touched]] = defaultdict(list)
    for each in touched:
        groups[each.described, each.connection].append(each)
    changes = {group: _changes(*group, rows) for group, rows in groups.items()}
    _check_lists(changes)
    entries = [
        entry
        for (described, _), pairs in changes.items()
        for before, after in pairs
        for entry in described.changes(before, after)
    ]
    if entries:
        note_all(session, entries)


def forget(session: Session) -> None:
    """Forget what a flush has done that was rolled back."""
    session.info.pop(_TOUCHED, None)


def grants_of(connection: Connection, tiers: list[tuple[Any, ...]]) -> list[Seen]:
    """Return what tiers grant: the rows that the database deletes with them."""
    table = _GRANTS.table.c
    condition = table.license_tier_id.in_([identity[0] for identity in tiers])
    return _GRANTS.locked(connection, _GRANTS.select().where(condition))


def _primary_key(grant: Seen) -> tuple[Any, ...]:
    return (grant.values["id"],)


def _changes(described: Described, connection: Connection, rows: list[_Touched]) -> list[Change]:
    """Return each row as it was before the flush, and as it is now."""
    mapper: Any = None
    wanted: list[tuple[tuple[Any, ...], Seen | None]] = []
    for row in rows:
        mapper = sa.inspect(row.target).mapper if row.target is not None else mapper
        key = row.identity if row.target is None else tuple(mapper.primary_key_from_instance(row.target))
        wanted.append((key, row.before))
    found = described.read(connection, [key for key, _ in wanted])
    firsts: dict[Identity, Seen | None] = {}
    for key, before in wanted:
        firsts.setdefault(tuple(map(str, key)), before)  # an object may be written twice in one flush
    return [(before, found.get(key)) for key, before in firsts.items()]


def _check_lists(changes: dict[tuple[Described, Connection], list[Change]]) -> None:
    """Hold the lists to their rules: as they are stored, whatever the objects or the listeners of a host say."""
    written: defaultdict[Connection, list[Written]] = defaultdict(list)
    for (described, connection), pairs in changes.items():
        if described.table.name in LISTS:
            written[connection] += [
                Written(described.table.name, _values(before), _values(after)) for before, after in pairs
            ]
    for connection, rows in written.items():
        refuse_bad_lists(connection, rows)


def _values(seen: Seen | None) -> Mapping[str, Any] | None:
    return None if seen is None else seen.values


def _described(mapper: Mapper[Any]) -> Described:
    return DESCRIBED[mapper.local_table.name]  # type: ignore[attr-defined]  # ours are tables


def _session_of(target: Any) -> Session | None:
    session = object_session(target)
    return None if session is None or is_own_write(session) else session


def _touch(session: Session, touched: _Touched) -> None:
    session.info.setdefault(_TOUCHED, []).append(touched)
