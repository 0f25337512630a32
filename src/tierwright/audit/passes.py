"""What the history lets pass: the two purposes for which it may be changed, each within one transaction.

Triggers of the revision ``f1a2b3c4d5e6`` look for the row that is written here. It is gone before the transaction ends,
so that nobody else ever sees it; on PostgreSQL it also names the transaction, and does nothing in another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from tierwright.services.catalog_version import require_transaction
from tierwright.services.statements import STATE
from tierwright.tables.history_guards import PASS_KEY

_CLOSE = sa.delete(STATE).where(STATE.c.key == PASS_KEY)
_TRANSACTION = sa.select(sa.cast(sa.func.pg_current_xact_id(), sa.Text()))


class Purpose(StrEnum):
    """For what the history may be changed."""

    ERASE = "erase"
    MAINTAIN = "maintain"


@contextmanager
def history_pass(connection: Connection, purpose: Purpose) -> Iterator[None]:
    """Let the connection's transaction change the history for one purpose, and for nothing else.

    ``erase`` may put ``<erased>`` in the place of an actor, an address and a user agent; ``maintain`` may delete rows
    from before the recorded floor. Of two at once, the second waits for the first one's transaction.

    Args:
        connection: whose transaction; it needs to write ``tierwright_state``.
        purpose: what for.

    Raises:
        TransactionMissing: the connection has no transactions (AUTOCOMMIT): everybody would see the pass.
    """
    require_transaction(connection)
    connection.execute(_CLOSE)
    document = {"pass": str(purpose)}
    if connection.dialect.name == "postgresql":
        document["transaction"] = connection.execute(_TRANSACTION).scalar_one()
    connection.execute(sa.insert(STATE).values(key=PASS_KEY, value=document))
    try:
        yield
    except BaseException:
        with suppress(DBAPIError, InvalidRequestError):  # a failed transaction is rolled back, and the pass with it
            connection.execute(_CLOSE)
        raise
    connection.execute(_CLOSE)
