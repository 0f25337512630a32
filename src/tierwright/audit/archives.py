"""Which parts of the history are archived, as the database remembers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tierwright.audit.months import month_start
from tierwright.services.statements import STATE

#: The row that lists the archives: ``{"archives": [...]}``, each as an ``Archive``.
ARCHIVES_KEY = "audit_archives"
_ROW = sa.select(STATE.c.value, STATE.c.version).where(STATE.c.key == ARCHIVES_KEY)


@dataclass(frozen=True, slots=True)
class Archive:
    """Rows of a month that left the history, or are leaving it.

    Attributes:
        month: such as ``2026-01``.
        part: 1, or more where rows of the month came after it was archived.
        file: the archive's name; None where the operator had them dropped without one.
        rows: how many there were.
        sha256: of the file.
        is_complete: False while rows of it may still be in the database.
    """

    month: str
    part: int
    file: str | None
    rows: int
    sha256: str | None
    is_complete: bool = True


def read_archives(connection: Connection) -> tuple[Archive, ...]:
    """Return what has left the history, the oldest month first; empty where nothing has."""
    value = connection.execute(_ROW.with_only_columns(STATE.c.value)).scalar()
    return _parsed(value)


def archives_needed(
    connection: Connection, since: datetime | None = None, until: datetime | None = None
) -> tuple[Archive, ...]:
    """Return the archives without which the history between two moments is not whole, the oldest first.

    What a tenant could use at a moment is replayed from the beginning: it needs all that are until then, and to be
    compared with what is there now, all of them. One whose ``file`` is None cannot be had any more.

    Args:
        connection: of a database at ``f1a2b3c4d5e6`` or later.
        since: the first moment that matters; from the beginning unless given.
        until: the last one; until now unless given.
    """
    first = f"{month_start(since):%Y-%m}" if since is not None else ""
    last = f"{month_start(until):%Y-%m}" if until is not None else "9999-12"
    return tuple(each for each in read_archives(connection) if first <= each.month <= last)


def add_archives(connection: Connection, *new: Archive) -> None:
    """Record what leaves the history with this transaction."""
    _change(connection, lambda known: (*known, *new))


def complete_archive(connection: Connection, done: Archive) -> None:
    """Record that no row of an archive is in the database any more."""
    _change(
        connection, lambda known: tuple(replace(each, is_complete=True) if each == done else each for each in known)
    )


def next_part(known: tuple[Archive, ...], month: str) -> int:
    """Return the number of the next archive of a month."""
    return 1 + max((each.part for each in known if each.month == month), default=0)


def _change(connection: Connection, change: Callable[[tuple[Archive, ...]], tuple[Archive, ...]]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(STATE).values(key=ARCHIVES_KEY, value={}, version=0).on_conflict_do_nothing())
    row = connection.execute(_ROW.with_for_update()).one()
    archives = sorted(change(_parsed(row.value)), key=lambda each: (each.month, each.part))
    value = {"archives": [asdict(each) for each in archives]}
    connection.execute(sa.update(STATE).where(STATE.c.key == ARCHIVES_KEY).values(value=value, version=row.version + 1))


def _parsed(value: Any) -> tuple[Archive, ...]:
    listed = value.get("archives", ()) if isinstance(value, dict) else ()
    return tuple(Archive(**each) for each in listed)
