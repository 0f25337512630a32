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

from tierwright.errors import Unrecordable
from tierwright.services.audit import check_context, note_all
from tierwright.services.catalog_version import commits_by_itself, lock_file
from tierwright.services.key_lists.checking import refuse_bad_lists
from tierwright.services.key_lists.rules import LISTS, Written
from tierwright.services.recording.deleted_tiers import is_concerned, refuse_deleted, seen_rows
from tierwright.services.recording.described import DESCRIBED, Described, Identity, Seen
from tierwright.services.session_state import is_own_write, is_told_of

_TOUCHED = "tierwright.touched"
_KNOWN = "tierwright.known"
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


def refuse_nobody(connection: Connection, target: Any) -> None:
    """Refuse a row that would be committed before the history could say who wrote it (AUTOCOMMIT).

    Raises:
        AuditContextMissing, InvalidInput: as for :func:`tierwright.services.audit.check_context`.
    """
    session = _session_of(target)
    if session is not None and commits_by_itself(connection):
        check_context(session)


def replacing(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note a row, as it is, that is deleted and added anew in one flush: SQLAlchemy updates it instead."""
    session = _session_of(target)
    if session is None:
        return
    there = session.identity_map.get(mapper.identity_key_from_instance(target))
    if there is not None and there is not target:
        identity = tuple(mapper.primary_key_from_instance(target))
        _touch_locked(session, _described(mapper), connection, identity, target)


def making(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
    """Note that a row was inserted."""
    session = _session_of(target)
    if session is not None:
        _touch(session, _Touched(_described(mapper), connection, None, target, ()))


def changing(mapper: Mapper[Any], connection: Connection, target: Any, *, is_going: bool = False) -> None:
    """Note a row, as it is, that will be updated or deleted."""
    session = _session_of(target)
    if session is None:
        return  # also where nothing is modified yet: a listener of the host's may come later
    described = _described(mapper)
    identity = sa.inspect(target).identity or tuple(mapper.primary_key_from_instance(target))
    _touch_locked(session, described, connection, identity, None if is_going else target)
    if is_going and described.table.name == "license_tier":
        for touched in grants_of(connection, [identity]):
            _touch(session, _Touched(_GRANTS, connection, touched, None, _primary_key(touched)))


def flushed(session: Session) -> None:
    """Look at what a flush has done, and write the entries about it.

    Raises:
        InvalidInput, WriteRefused: lists of feature keys break the catalogue, or a deleted tier is given to somebody;
            the flush is rolled back.
    """
    touched: list[_Touched] = session.info.pop(_TOUCHED, [])
    session.info.pop(_KNOWN, None)
    groups: defaultdict[tuple[Described, Connection], list[_Touched]] = defaultdict(list)
    for each in touched:
        groups[each.described, each.connection].append(each)
    changes = {group: _changes(*group, rows) for group, rows in groups.items()}
    _check_lists(changes)
    for (described, connection), pairs in changes.items():
        if is_concerned(described):
            refuse_deleted(connection, described, seen_rows(pairs))
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
    session.info.pop(_KNOWN, None)


def begun(session: Session) -> None:
    """Note what a service flushes; what listeners of the host add to that, the service does not know."""
    if is_own_write(session):
        session.info[_KNOWN] = set(map(id, (*session.new, *session.dirty, *session.deleted)))


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
    lost = next((key for key, before in firsts.items() if before is None and key not in found), None)
    if lost is not None:
        raise Unrecordable(
            f"A row of {described.table.name} was written, and is not there by its key.",
            remedy="Look for a trigger that changes or drops it, or for row-level security that hides it.",
            details={"table": described.table.name},
        )
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
    # A class of the host's may map a table of ours, beside others.
    return next(DESCRIBED[table.name] for table in mapper.tables if is_told_of(table))


def _session_of(target: Any) -> Session | None:
    """Return the session whose history has to tell of an object; None where a service does."""
    session = object_session(target)
    if session is None or (is_own_write(session) and id(target) in session.info.get(_KNOWN, ())):
        return None
    return session


def _touch_locked(
    session: Session, described: Described, connection: Connection, identity: tuple[Any, ...], target: Any
) -> None:
    lock_file(connection)
    for seen in described.locked_one(connection, identity):
        _touch(session, _Touched(described, connection, seen, target, identity))


def _touch(session: Session, touched: _Touched) -> None:
    session.info.setdefault(_TOUCHED, []).append(touched)
