"""The version of the catalogue: what a store compares, and the lock under which the catalogue is written."""

from __future__ import annotations

import secrets

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tierwright.services.statements import CATALOG_KEY, STATE
from tierwright.types import utc_now


def bump_catalog(connection: Connection) -> None:
    """Give the catalogue a new version; from here to the end of the transaction nobody else can.

    It comes before everything that is read to check a write, so that two halves of a cycle cannot both be right.
    """
    values = {"key": CATALOG_KEY, "version": 1, "value": _state_value()}
    # The two dialects share the syntax, but not a class.
    insert = postgresql.insert(STATE) if connection.dialect.name == "postgresql" else sqlite.insert(STATE)
    connection.execute(
        insert.values(values).on_conflict_do_update(
            index_elements=[STATE.c.key], set_={"version": STATE.c.version + 1, "value": insert.excluded.value}
        )
    )


def _state_value() -> dict[str, str]:
    # The token tells two histories apart that have counted to the same number, as after a restore.
    return {"token": secrets.token_hex(8), "changed_at": utc_now().isoformat()}
