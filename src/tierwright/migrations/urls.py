"""Database URLs: which database is meant, and the driver through which it is migrated."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from tierwright.errors import DatabaseUrlInvalid, DialectUnsupported, DriverMissing

SUPPORTED = ("sqlite", "postgresql")
# Drivers that cannot run the chain (asynchronous), or that nobody chose (SQLAlchemy's default for the bare name).
_MIGRATES_THROUGH = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "postgresql+psycopg_async": "postgresql+psycopg",
    "sqlite+aiosqlite": "sqlite",
}


def migration_url(url: str | URL) -> URL:
    """Return ``url`` with the synchronous driver through which the chain runs.

    Raises:
        DatabaseUrlInvalid: the text is not a database URL.
        DialectUnsupported: it names neither SQLite nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password: neither message nor details repeat it.
        raise DatabaseUrlInvalid(
            "The database URL cannot be parsed.",
            remedy="Write it like sqlite:///file.db or postgresql://user@host/database.",
        ) from error
    parsed = parsed.set(drivername=_MIGRATES_THROUGH.get(parsed.drivername, parsed.drivername))
    require_supported(parsed.get_backend_name())
    return parsed


def require_supported(dialect: str) -> None:
    """Refuse a database that the chain was not made for.

    Raises:
        DialectUnsupported: ``dialect`` is neither ``sqlite`` nor ``postgresql``.
    """
    if dialect not in SUPPORTED:
        raise DialectUnsupported(
            f"The chain does not run on {dialect!r}.",
            remedy="Use SQLite or PostgreSQL.",
            details={"dialect": dialect, "supported": list(SUPPORTED)},
        )


def migration_engine(database: Any) -> Engine:
    """Return an engine that can run the chain on ``database``.

    Args:
        database: a URL as text or :class:`~sqlalchemy.engine.URL`, an ``Engine`` (used as it is), or an
            ``AsyncEngine`` (its URL is opened through a synchronous driver).

    Raises:
        DatabaseUrlInvalid, DialectUnsupported: see :func:`migration_url`.
        DriverMissing: the driver is not installed.
    """
    if isinstance(database, Engine):
        require_supported(database.dialect.name)
        return database
    target = database if isinstance(database, str | URL) else database.sync_engine.url
    url = _refuse_memory(_libpq_arguments(migration_url(target)))
    try:
        return sa.create_engine(url, poolclass=NullPool, connect_args=_text_arguments(url))
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise DriverMissing(
            f"The driver of {url.drivername!r} is not installed.",
            remedy="Install it: pip install 'tierwright[postgres]' brings psycopg.",
            details={"drivername": url.drivername},
        ) from error


def _libpq_arguments(url: URL) -> URL:
    """Translate asyncpg's ``ssl=`` into libpq's ``sslmode=``: the same words mean the same."""
    if url.get_backend_name() != "postgresql" or "ssl" not in url.query:
        return url
    return url.update_query_dict({"sslmode": url.query["ssl"]}).difference_update_query(["ssl"])


def _text_arguments(url: URL) -> dict[str, str]:
    """Ask psycopg for text: of a server in SQL_ASCII, which initdb makes without a locale, it would get bytes."""
    asked = url.drivername != "postgresql+psycopg" or "client_encoding" in url.query
    return {} if asked else {"client_encoding": "utf8"}


def _refuse_memory(url: URL) -> URL:
    """Refuse a URL whose database would vanish with our own connection; an ``Engine`` on one is fine."""
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise DatabaseUrlInvalid(
            "An in-memory SQLite database cannot be reached through its URL: each connection has its own.",
            remedy="Pass the synchronous Engine itself (with StaticPool), or name a file.",
        )
    return url
