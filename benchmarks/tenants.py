"""Databases at head that hold the data set of the decision benchmarks."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from benchmarks.common import server
from benchmarks.truth import Truth
from tests.support.postgres import PostgresServer
from tierwright.migrations import upgrade
from tierwright.services.catalog_version import bump_catalog
from tierwright.types import uuid7

_TYPES = ("boolean", "integer", "string")


@dataclass(frozen=True)
class Place:
    """A database that holds the data set.

    Attributes:
        label: its name in tables.
        url: where it is, for SQLAlchemy.
        server: the PostgreSQL server, if it is one.
    """

    label: str
    url: str
    server: PostgresServer | None = None


@contextmanager
def sqlite(truth: Truth, journal: str = "wal") -> Iterator[Place]:
    """Yield a SQLite file."""
    with tempfile.TemporaryDirectory(prefix="tierwright-bench-") as folder:
        path = Path(folder) / "decisions.sqlite3"
        engine = sa.create_engine(f"sqlite:///{path}")
        fill(engine, truth)
        engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ANALYZE")
            connection.execute(f"PRAGMA journal_mode={journal}")
        yield Place(f"SQLite {sqlite3.sqlite_version}, {journal}", f"sqlite:///{path}")


def postgresql(version: int) -> Callable[[Truth], AbstractContextManager[Place]]:
    """Return a function like :func:`sqlite`, on a server of its own that listens on a socket file too."""

    @contextmanager
    def opened(truth: Truth) -> Iterator[Place]:
        started = server(version)
        started.settings["unix_socket_directories"] = str(started.folder)
        with started:
            engine = sa.create_engine(started.url())
            fill(engine, truth)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM (ANALYZE)")
                connection.exec_driver_sql("CHECKPOINT")
            engine.dispose()
            yield Place(f"PostgreSQL {version}", started.url(), started)

    return opened


def socket_url(started: PostgresServer) -> str:
    """Return the URL of a server through its socket file."""
    return f"postgresql+psycopg://postgres@/postgres?host={started.folder}&port={started.port}"


def fill(engine: Engine, truth: Truth) -> None:
    """Migrate a database to head and write the data set; every tier says something about every feature."""
    upgrade(engine)
    tables = SQLModel.metadata.tables
    ids = [uuid7() for _ in truth.tiers]
    id_of = dict(zip(truth.tiers, ids, strict=True))
    with engine.begin() as connection:
        bump_catalog(connection)
        connection.execute(
            tables["feature_registry"].insert(), [_feature(truth, i) for i in range(len(truth.features))]
        )
        tiers = [{"id": ids[i], "tier_key": key, "name": key, "rank": i} for i, key in enumerate(truth.tiers)]
        connection.execute(tables["license_tier"].insert(), tiers)
        cells = [
            {
                "id": uuid7(),
                "license_tier_id": ids[tier],
                "feature_key": truth.features[feature],
                "feature_value": truth.document(tier, feature),
            }
            for tier in range(len(ids))
            for feature in range(len(truth.features))
        ]
        connection.execute(tables["license_tier_features"].insert(), cells)
        held = [{"tenant_id": tenant, "license_tier_id": id_of[truth.tier_of[tenant]]} for tenant in truth.tenants]
        connection.execute(tables["tenant_license"].insert(), held)


def _feature(truth: Truth, number: int) -> dict[str, object]:
    return {
        "id": uuid7(),
        "feature_key": truth.features[number],
        "feature_name": f"Feature {number}",
        "category": f"category_{number % 20}",
        "feature_type": _TYPES[number % 3],
        "default_value": {"enabled": False, "value": (False, 0, "none")[number % 3]},
    }
