"""The version of the catalogue: what a store compares, and the row that is the lock of all catalogue writes."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tierwright.services.statements import CATALOG_KEY, STATE
from tierwright.types import utc_now


def lock_catalog(connection: Connection) -> None:
    """Let nobody else write the catalogue until the transaction ends; the version stays as it is.

    It comes before everything that is read to check a write, so that two halves of a cycle cannot both be right.
    """
    _upsert(connection, {"version": 0}, {"version": STATE.c.version})


def bump_catalog(connection: Connection) -> None:
    """Give the catalogue a new version, under the same lock."""
    # The token tells two histories apart that have counted to the same number, as after a restore.
    value = {"token": secrets.token_hex(8), "changed_at": utc_now().isoformat()}
    _upsert(connection, {"version": 1, "value": value}, {"version": STATE.c.version + 1, "value": value})


def _upsert(connection: Connection, new: dict[str, Any], existing: dict[str, Any]) -> None:
    # The two dialects share the syntax, but not a class.
    insert = postgresql.insert(STATE) if connection.dialect.name == "postgresql" else sqlite.insert(STATE)
    statement = insert.values(key=CATALOG_KEY, **new)
    connection.execute(statement.on_conflict_do_update(index_elements=[STATE.c.key], set_=existing))
