"""Making a connection that belongs to the store alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool


def open_connection(engine: Engine, pool: Pool, timeout: float) -> Any:
    """Return a new connection of the driver, made as the engine makes its own, in autocommit mode.

    Args:
        engine: whose driver, arguments and event listeners are used.
        pool: ``engine.pool.recreate()``: the same way of connecting, with nothing of the host's in it.
        timeout: seconds for which SQLite waits for a file that a writer has locked.
    """
    proxied = pool.connect()
    connection: Any = proxied.dbapi_connection
    proxied.detach()  # from here on nobody but us resets or closes it
    if engine.dialect.name == "sqlite":
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
    else:
        # One statement is one transaction; BEGIN and ROLLBACK would cost two more round trips.
        engine.dialect.set_isolation_level(connection, "AUTOCOMMIT")
    return connection
