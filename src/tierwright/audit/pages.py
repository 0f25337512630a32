"""The rows that a question wants, some at a time: nothing is held open between them, and others may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.audit.archive_lines import forms_of_id
from tierwright.audit.entries import HISTORY, AuditEntry
from tierwright.audit.question import AuditQuestion, Cursor
from tierwright.audit.reading import UnreadableRow, behind, read_rows
from tierwright.services.reading import moment_of

Row = AuditEntry | UnreadableRow


def paged_rows(
    connect: Callable[[], AbstractContextManager[Connection]],
    question: AuditQuestion,
    size: int,
    begins: Cursor | None = None,
) -> Iterator[Row]:
    """Yield the rows that are wanted, those that cannot be read among them.

    Args:
        connect: gives a connection that may read them, for each time.
        question: which.
        size: so many at a time.
        begins: the place behind which they begin; with the first one unless given.
    """
    place: Cursor | UnreadableRow | None = begins
    while True:
        with connect() as connection:
            page = _read(connection, question, size, place)
        yield from page
        if len(page) < size:
            return
        place = page[-1] if isinstance(page[-1], UnreadableRow) else Cursor.of(page[-1])


def _read(
    connection: Connection, question: AuditQuestion, size: int, place: Cursor | UnreadableRow | None
) -> list[Row]:
    conditions = question.conditions()
    if isinstance(place, UnreadableRow):
        conditions.append(behind(place.where, oldest_first=question.oldest_first))
    elif place is not None:
        conditions.append(question.beyond(place, _stored(connection, place)))
    statement = sa.select(HISTORY).where(sa.true(), *conditions).order_by(*question.order()).limit(size)
    return list(read_rows(connection, statement, oldest_first=question.oldest_first))


def _stored(connection: Connection, place: Cursor) -> tuple[str, str] | None:
    """Return the moment and the id of an entry as SQLite stores and sorts them, where others may have written it."""
    if connection.dialect.name != "sqlite":
        return None
    moment, id_ = (sa.type_coerce(column, sa.String()) for column in (HISTORY.c.performed_at, HISTORY.c.id))
    statement = sa.select(moment, id_).where(id_.in_(forms_of_id(place.id)))
    found = ((row[0], row[1]) for row in connection.execute(statement).all() if _is_moment(row[0], place.performed_at))
    return next(found, None)


def _is_moment(stored: Any, moment: datetime) -> bool:
    try:
        return moment_of(stored) == moment
    except (ValueError, TypeError, AttributeError):
        return False
