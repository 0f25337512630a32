"""Migrations behind a transaction-pooling proxy are refused, with nothing changed."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.pooler import Pooler
from tierwright import migrations
from tierwright.errors import PoolerDetected


def test_upgrade_refuses_a_transaction_pooler(postgresql_engine: Engine) -> None:
    with Pooler(postgresql_engine.url.port or 5432) as pooler:
        url = postgresql_engine.url.set(port=pooler.port)
        with pytest.raises(PoolerDetected):
            migrations.upgrade(url)
    assert sa.inspect(postgresql_engine).get_table_names() == []
