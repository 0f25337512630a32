"""The floor of the history: how far it was archived, below which ``maintain`` may delete."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tierwright.errors import InvalidInput
from tierwright.services.statements import STATE
from tierwright.tables.history_guards import FLOOR_KEY

_ROW = sa.select(STATE.c.value, STATE.c.version).where(STATE.c.key == FLOOR_KEY)


def read_floor(connection: Connection) -> datetime | None:
    """Return the moment before which the history was archived; None where it never was.

    Args:
        connection: of a database at ``f1a2b3c4d5e6`` or later.
    """
    row = connection.execute(_ROW).one_or_none()
    return None if row is None else _moment(row.value)


def raise_floor(connection: Connection, below: datetime) -> datetime:
    """Record that the history before a moment was archived; the floor never goes down.

    Args:
        connection: whose transaction, which keeps others from raising it meanwhile.
        below: the moment, with a time zone.

    Returns:
        The floor that now holds.

    Raises:
        InvalidInput: the moment has no time zone.
    """
    if below.tzinfo is None:
        raise InvalidInput("A floor without a time zone is no moment.", remedy="Give it one, such as UTC.")
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(STATE).values(key=FLOOR_KEY, value={}, version=0).on_conflict_do_nothing())
    row = connection.execute(_ROW.with_for_update()).one()
    floor = _moment(row.value)
    if floor is not None and floor >= below:
        return floor
    value = {**row.value, "below": _text(below)}
    new = {"value": value, "version": row.version + 1}
    connection.execute(sa.update(STATE).where(STATE.c.key == FLOOR_KEY).values(new))
    return below


def _text(moment: datetime) -> str:
    """Return a moment as SQLite stores it, and compares it as text: always with its microseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _moment(value: Any) -> datetime | None:
    text = value.get("below") if isinstance(value, dict) else None
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)
