"""The database that the behaviour suite runs on: empty before and after each test, and reached in both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.errors import DriverMissing

_ASYNC = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
_TABLES = [
    SQLModel.metadata.tables[name]
    for name in (
        "tenant_feature_override",
        "tenant_license",
        "license_tier_features",
        "license_tier",
        "feature_registry",
    )
]


@contextmanager
def emptied(engine: Engine) -> Iterator[None]:
    """Refuse a database with rows in it; empty the tables at the end.

    Raises:
        RuntimeError: there are rows, which the suite would delete.
    """
    with engine.connect() as connection:
        for table in _TABLES:
            if connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one():
                raise RuntimeError(f"The table {table.name} has rows: the suite needs an empty database.")
    try:
        yield
    finally:
        tiers = SQLModel.metadata.tables["license_tier"]
        with engine.begin() as connection:
            connection.execute(sa.update(tiers).values(base_tier_id=None))
            for table in _TABLES:
                connection.execute(sa.delete(table))


def async_engine_for(engine: Engine) -> Any:
    """Return an AsyncEngine on the same database, without a pool: it outlives no event loop.

    Raises:
        DriverMissing: greenlet, or the asynchronous driver, is not installed.
    """
    url = engine.url.set(drivername=_ASYNC[engine.dialect.name])
    try:
        from sqlalchemy.ext.asyncio import create_async_engine

        return create_async_engine(url, poolclass=NullPool, execution_options=engine.get_execution_options())
    except ImportError as error:
        raise DriverMissing(
            f"{url.drivername} cannot be used asynchronously.",
            remedy="Install aiosqlite or psycopg, and greenlet; or define the fixture tierwright_async_engine.",
        ) from error
