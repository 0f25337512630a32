"""The transaction-pooling proxy of the tests does what PgBouncer does."""

from __future__ import annotations

import psycopg
from sqlalchemy.engine import Engine

from tests.support.pooler import Pooler


def test_two_clients_share_a_server_process_between_transactions(postgresql_engine: Engine) -> None:
    url = postgresql_engine.url
    with Pooler(url.port or 5432) as pooler:
        address = f"postgresql://{url.username}@127.0.0.1:{pooler.port}/{url.database}"
        with psycopg.connect(address, autocommit=True) as one, psycopg.connect(address) as other:
            pid = one.execute("SELECT pg_backend_pid()").fetchone()
            assert other.execute("SELECT pg_backend_pid()").fetchone() == pid
            assert one.execute("SELECT pg_backend_pid(), %s::int", (1,)).fetchone() != pid  # the other holds it
            other.commit()
