"""Migrations behind a transaction-pooling proxy are refused, with nothing changed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.pooler import Pooler, Wire
from tierwright import migrations
from tierwright.errors import PoolerDetected


def test_upgrade_refuses_a_transaction_pooler(postgresql_engine: Engine) -> None:
    with Pooler(postgresql_engine.url.port or 5432) as pooler:
        url = postgresql_engine.url.set(port=pooler.port)
        with pytest.raises(PoolerDetected):
            migrations.upgrade(url)
    assert sa.inspect(postgresql_engine).get_table_names() == []


class Fair(Pooler):
    """Gives the server connection that has rested longest, so that a client may meet the same one twice by chance."""

    def _give_back(self, startup: bytes, server: Wire, greeting: bytes) -> None:
        with self.lock:
            self.idle.insert(0, (startup, server, greeting))
        self.places.release()


@pytest.mark.parametrize("clients", [2, 3, 4, 5])
def test_a_pooler_that_takes_turns_is_refused(postgresql_engine: Engine, clients: int) -> None:
    with Fair(postgresql_engine.url.port or 5432) as pooler:
        url = postgresql_engine.url.set(port=pooler.port)
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"client_encoding": "utf8"})
        with ExitStack() as stack:  # so many server connections of the same kind, all in the pool afterwards
            for _ in range(clients):
                stack.enter_context(engine.connect()).exec_driver_sql("SELECT 1")
        with pytest.raises(PoolerDetected):
            migrations.upgrade(url)
    assert sa.inspect(postgresql_engine).get_table_names() == []
