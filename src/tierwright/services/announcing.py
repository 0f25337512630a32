"""How a change is announced on PostgreSQL: who listens hears of it if the transaction commits, and only then.

An announcement shares the fate of the savepoint in which it is made. So each entry of the history announces, in its own
statement, what the session has written: row, entry and announcement stay together, or go together. What is written
without an entry changes no decision, and is announced before the commit.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, TwoPhaseTransaction

#: The PostgreSQL channel on which changes are announced: a tenant's id, or one of the two below.
CHANNEL = "tierwright"
#: In place of a tenant: everything may have changed.
EVERYTHING = ""
#: In place of a tenant: any tenant may have changed, but not the catalogue. No tenant's id begins with a space.
ALL_TENANTS = " tenants"

#: So many tenants are announced one by one.
_MAX_ANNOUNCED = 100
_WORDS: Any = sa.func.unnest(sa.bindparam("words", type_=postgresql.ARRAY(sa.Text()))).column_valued("word")
#: Announces ``words`` in a statement of its own.
ANNOUNCE = sa.select(sa.func.pg_notify(CHANNEL, _WORDS))
#: One row that announces ``words``, to stand in the FROM of a statement which comes anyway. It must also be in a
#: condition: PostgreSQL does not work out what nobody asks for.
ANNOUNCED = sa.select(sa.func.count(sa.func.pg_notify(CHANNEL, _WORDS)).label("number")).subquery("announced")


def words_of(written: Set[str]) -> frozenset[str]:
    """Return what to announce of what was written: tenants, or a word that stands for more."""
    if EVERYTHING in written:
        return frozenset({EVERYTHING})
    if ALL_TENANTS in written or len(written) > _MAX_ANNOUNCED:
        return frozenset({ALL_TENANTS})
    return frozenset(written)


def can_announce(connection: Connection) -> bool:
    """Tell whether a transaction may announce something: PostgreSQL cannot prepare one that does (two phases)."""
    is_one_phase = not isinstance(connection.get_transaction(), TwoPhaseTransaction)
    return connection.dialect.name == "postgresql" and is_one_phase
