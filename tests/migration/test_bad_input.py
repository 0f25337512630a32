"""Everything that the chain refuses: a typed error that says what was found and what to do, and nothing changed."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  our tables, in SQLModel.metadata
from tests.migration import support
from tests.support import rows
from tests.support.pooler import Pooler
from tierwright import errors, migrations
from tierwright.doctor import examine
from tierwright.errors import TierwrightError

ROOT = Path(__file__).parents[2]


@contextmanager
def refused(kind: type[TierwrightError], code: str, *engines: Engine) -> Iterator[Any]:
    """Expect a typed error with all its parts, and that nothing in the databases has changed."""
    before = [(support.dump(engine), _row_counts(engine)) for engine in engines]
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.remedy.endswith(".")
    assert caught.value.message
    assert [(support.dump(engine), _row_counts(engine)) for engine in engines] == before


def _row_counts(engine: Engine) -> dict[str, int]:
    inspector = sa.inspect(engine)
    names = (*inspector.get_table_names(), *inspector.get_view_names())
    with engine.connect() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()
            for name in names
        }


# --- URLs and engines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [migrations.upgrade, migrations.status, migrations.script, migrations.current])
def test_an_unknown_dialect(call: Callable[[Any], object]) -> None:
    with refused(errors.DialectUnsupported, "dialect-unsupported") as caught:
        call("mysql://user:secret@host/database")
    assert caught.value.details == {"dialect": "mysql", "supported": ["sqlite", "postgresql"]}
    assert "secret" not in str(caught.value)


def test_an_engine_of_an_unknown_dialect() -> None:
    mock: Any = sa.create_mock_engine("mssql+pyodbc://", lambda *_: None) if _has("pyodbc") else _OtherEngine()
    with refused(errors.DialectUnsupported, "dialect-unsupported"):
        migrations.upgrade(mock)


class _OtherEngine(Engine):
    """An engine whose dialect is neither of ours; nothing of it may be used but the name."""

    def __init__(self) -> None:
        self.dialect = type("Dialect", (), {"name": "oracle"})()


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("url", ["", "not a url", "postgresql://user:secret@host:port/x", "sqlite://"])
def test_a_malformed_url(url: str) -> None:
    with refused(errors.DatabaseUrlInvalid, "database-url-invalid") as caught:
        migrations.upgrade(url)
    assert "secret" not in f"{caught.value} {caught.value.details}"


def test_no_url_at_all(tmp_path: Path) -> None:
    """The ``alembic`` command with an ini file that names no database."""
    ini = tmp_path / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {ROOT / 'alembic'}\npath_separator = newline\n")
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment["PYTHONPATH"] = str(ROOT / "src")
    result = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert result.returncode != 0
    assert "database-url-missing" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert sorted(os.listdir(tmp_path)) == ["alembic.ini"]


# --- databases that cannot be reached, or not be written --------------------------------------------------------------


@pytest.mark.parametrize("call", [migrations.upgrade, migrations.status])
def test_a_closed_port(call: Callable[[Any], object]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        with refused(errors.DatabaseUnreachable, "database-unreachable") as caught:
            call(f"postgresql://someone:secret@127.0.0.1:{taken.getsockname()[1]}/x")
    assert "secret" not in f"{caught.value} {caught.value.details}"


def test_a_database_that_does_not_exist(postgresql_engine: Engine) -> None:
    with refused(errors.DatabaseUnreachable, "database-unreachable", postgresql_engine):
        migrations.upgrade(postgresql_engine.url.set(database="tw_never_made"))


@pytest.mark.parametrize("call", [migrations.upgrade, migrations.status, migrations.adopt])
def test_a_missing_folder(tmp_path: Path, call: Callable[[Any], object]) -> None:
    with refused(errors.DatabaseUnreachable, "database-unreachable"):
        call(f"sqlite:///{tmp_path}/missing/file.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_a_folder(tmp_path: Path) -> None:
    with refused(errors.DatabaseUnreachable, "database-unreachable"):
        migrations.upgrade(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("call", [migrations.upgrade, migrations.status])
def test_a_file_that_is_no_database(tmp_path: Path, call: Callable[[Any], object]) -> None:
    file = tmp_path / "letter.txt"
    file.write_bytes(b"Dear reader, this is not a database. " * 200)
    digest = hashlib.sha256(file.read_bytes()).digest()
    with refused(errors.DatabaseUnreachable, "database-unreachable"):
        call(f"sqlite:///{file}")
    assert hashlib.sha256(file.read_bytes()).digest() == digest
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("revision", [None, support.FIRST], ids=["empty", "first revision"])
def test_a_read_only_database(database_url: str, revision: str | None) -> None:
    engine = support.plain_engine(database_url)
    if revision:
        support.fill_before_the_optimisation(engine)
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE theirs (a INTEGER)")
    with refused(errors.DatabaseReadOnly, "database-read-only", engine):
        migrations.upgrade(_read_only(database_url))
    assert migrations.status(_read_only(database_url)).current == revision


def _read_only(url: str) -> str:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return f"sqlite:///file:{parsed.database}?mode=ro&uri=true"
    option = parsed.update_query_dict({"options": "-cdefault_transaction_read_only=on"})
    return option.render_as_string(hide_password=False)


def test_a_locked_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite3'}"
    engine = support.plain_engine(url)
    support.fill_before_the_optimisation(engine)
    before = support.dump(engine)
    other = sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with refused(errors.LockNotAcquired, "lock-not-acquired"):
        migrations.upgrade(url, lock_wait=0.2)
    other.rollback()
    other.close()
    assert support.dump(engine) == before


def test_another_migrator_that_does_not_end(postgresql_engine: Engine) -> None:
    before = support.dump(postgresql_engine)
    with migrations.migration_session(postgresql_engine), refused(errors.LockNotAcquired, "lock-not-acquired"):
        migrations.upgrade(postgresql_engine, lock_wait=0.3)
    assert support.dump(postgresql_engine) == before


def test_a_pool_of_one_connection(postgresql_engine: Engine) -> None:
    narrow = sa.create_engine(postgresql_engine.url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    with refused(errors.DatabaseUnreachable, "database-unreachable", postgresql_engine):
        migrations.upgrade(narrow)
    narrow.dispose()


@pytest.mark.parametrize("call", [migrations.upgrade, migrations.status, migrations.adopt])
def test_a_missing_schema(postgresql_engine: Engine, call: Callable[..., object]) -> None:
    with refused(errors.SchemaNotFound, "schema-not-found", postgresql_engine) as caught:
        call(postgresql_engine, schema="nowhere")
    assert caught.value.details == {"schema": "nowhere"}


def test_a_server_without_an_encoding_is_no_bad_input(postgresql_engine: Engine) -> None:
    """Of SQL_ASCII, which initdb makes without a locale, psycopg gives bytes unless it is asked for text."""
    name = f"ascii_{postgresql_engine.url.database}"
    with postgresql_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        url = make_url(postgresql_engine.url).set(database=name).difference_update_query(["options"])
        try:
            migrations.upgrade(url)
            assert migrations.check(url).ok
            assert examine(url).ok
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_names_that_the_server_always_quotes_are_no_bad_input(postgresql_engine: Engine) -> None:
    with postgresql_engine.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    migrations.upgrade(postgresql_engine)
    assert migrations.check(postgresql_engine).ok
    migrations.downgrade(postgresql_engine, support.FIRST)
    migrations.upgrade(postgresql_engine)
    assert migrations.check(postgresql_engine).ok


@pytest.mark.parametrize("call", [migrations.upgrade, migrations.status, migrations.adopt, migrations.repair])
def test_a_schema_that_the_role_may_not_use(postgresql_engine: Engine, call: Callable[..., object]) -> None:
    """PostgreSQL leaves such a schema out of search_path without a word."""
    role = f"role_{make_url(postgresql_engine.url).database}"
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql("CREATE SCHEMA closed")
    try:
        with refused(errors.PrivilegeMissing, "privilege-missing", postgresql_engine) as caught:
            call(postgresql_engine.url.set(username=role), schema="closed")
        assert caught.value.details == {"schema": "closed"}
    finally:
        with postgresql_engine.begin() as connection:
            connection.exec_driver_sql(f"DROP ROLE {role}")


def test_a_search_path_that_names_nothing(postgresql_engine: Engine) -> None:
    lost = postgresql_engine.url.update_query_dict({"options": "-csearch_path=nowhere"})
    with refused(errors.SchemaNotFound, "schema-not-found", postgresql_engine):
        migrations.upgrade(lost)


def test_a_role_that_may_not_create_tables(postgresql_engine: Engine) -> None:
    role = f"role_{make_url(postgresql_engine.url).database}"
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        with refused(errors.PrivilegeMissing, "privilege-missing", postgresql_engine):
            migrations.upgrade(postgresql_engine.url.set(username=role), schema="public")
    finally:
        with postgresql_engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")


@pytest.mark.parametrize("revision", [None, support.FIRST], ids=["empty", "first revision"])
def test_a_transaction_pooling_proxy(postgresql_engine: Engine, revision: str | None) -> None:
    if revision:
        support.fill_before_the_optimisation(postgresql_engine)
    with Pooler(postgresql_engine.url.port or 5432) as pooler:
        with refused(errors.PoolerDetected, "pooler-detected", postgresql_engine):
            migrations.upgrade(postgresql_engine.url.set(port=pooler.port))
        automatic = sa.create_engine(
            postgresql_engine.url.set(port=pooler.port), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with refused(errors.PoolerDetected, "pooler-detected", postgresql_engine):
            migrations.upgrade(automatic)


@pytest.mark.parametrize("name", ["Mixed Case", "dot.ted", "tenant-1", "select", 'quo"ted'])
def test_a_schema_whose_name_needs_quotes_is_no_bad_input(postgresql_engine: Engine, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {quoted}")
    migrations.upgrade(postgresql_engine, schema=name)
    assert migrations.check(postgresql_engine, schema=name).ok
    migrations.downgrade(postgresql_engine, "base", schema=name)
    assert migrations.current(postgresql_engine, schema=name) is None


# --- version tables and tables that are not ours ---------------------------------------------------------------------


@pytest.mark.parametrize("revisions", [["0123456789ab"], ["0123456789ab", support.FIRST]])
def test_another_project_at_our_version_table(engine: Engine, revisions: list[str]) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE tierwright_alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        )
        for revision in revisions:
            connection.exec_driver_sql(f"INSERT INTO tierwright_alembic_version VALUES ('{revision}')")
    for call in (migrations.upgrade, lambda database: migrations.downgrade(database, "base")):
        with refused(errors.RevisionUnknown, "revision-unknown", engine) as caught:
            call(engine)
        assert caught.value.details["unknown"] == ["0123456789ab"]


def test_a_table_of_another_shape_at_our_version_table(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tierwright_alembic_version (something INTEGER)")
    with refused(errors.MigrationFailed, "migration-failed", engine):
        migrations.upgrade(engine)


@pytest.mark.parametrize("revision", ["0123456789ab", "+9", "-1", "tierwright@nowhere"])
def test_an_unknown_target(engine: Engine, revision: str) -> None:
    with refused(errors.RevisionUnknown, "revision-unknown", engine):
        migrations.upgrade(engine, revision)


@pytest.mark.parametrize("revision", ["0123456789ab", "c4d5e6f7a8b9:head"])
def test_an_unknown_target_creates_no_file(tmp_path: Path, revision: str) -> None:
    with refused(errors.RevisionUnknown, "revision-unknown"):
        migrations.upgrade(f"sqlite:///{tmp_path / 'new.sqlite3'}", revision)
    assert list(tmp_path.iterdir()) == []


ONLY_FOR_WHAT_EXISTS: dict[str, Callable[[str], object]] = {
    "downgrade": lambda url: migrations.downgrade(url, "base"),
    "status": migrations.status,
    "check": migrations.check,
    "current": migrations.current,
    "adopt": migrations.adopt,
    "repair": migrations.repair,
}


@pytest.mark.parametrize("name", ONLY_FOR_WHAT_EXISTS)
def test_a_missing_file_is_created_by_an_upgrade_only(tmp_path: Path, name: str) -> None:
    with refused(errors.DatabaseUnreachable, "database-unreachable"):
        ONLY_FOR_WHAT_EXISTS[name](f"sqlite:///{tmp_path / 'missing.sqlite3'}")
    assert list(tmp_path.iterdir()) == []


OBJECTS = {
    "an empty table": ["CREATE TABLE license_tier (a INTEGER)"],
    "a table with rows": ["CREATE TABLE license_tier (a INTEGER)", "INSERT INTO license_tier VALUES (1)"],
    "the last table": ["CREATE TABLE tierwright_state (a INTEGER)"],
    "a view": ["CREATE TABLE theirs (a INTEGER)", "CREATE VIEW feature_audit_log AS SELECT a FROM theirs"],
    "a table in capitals": ["CREATE TABLE LICENSE_TIER (a INTEGER)"],
}


@pytest.mark.parametrize("what", OBJECTS)
def test_a_table_or_view_of_our_name(engine: Engine, what: str) -> None:
    with engine.begin() as connection:
        for statement in OBJECTS[what]:
            connection.exec_driver_sql(statement)
    with refused(errors.TableNameTaken, "table-name-taken", engine) as caught:
        migrations.upgrade(engine)
    (name,) = caught.value.details["tables"]
    assert name in " ".join(OBJECTS[what]).lower()
    with refused(errors.TableNameTaken, "table-name-taken", engine):
        migrations.adopt(engine)


def test_our_own_tables_without_a_version_row(engine: Engine) -> None:
    SQLModel.metadata.create_all(engine)
    with refused(errors.TableNameTaken, "table-name-taken", engine) as caught:
        migrations.upgrade(engine)
    assert set(caught.value.details["tables"]) == set(migrations.TABLE_NAMES)
    assert "adopt" in caught.value.remedy


POSTGRESQL_ONLY = {
    "a materialized view": "CREATE MATERIALIZED VIEW license_tier AS SELECT 1 AS a",
    "a sequence": "CREATE SEQUENCE license_tier",
    "a type": "CREATE TYPE license_tier AS (a INTEGER)",
    "a key's name": "CREATE TABLE theirs (a INTEGER CONSTRAINT pk_license_tier PRIMARY KEY)",
}


@pytest.mark.parametrize("what", POSTGRESQL_ONLY)
def test_other_objects_of_our_names(postgresql_engine: Engine, what: str) -> None:
    """PostgreSQL itself refuses these; the version table must not be left behind."""
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(POSTGRESQL_ONLY[what])
    before = support.dump(postgresql_engine)
    with pytest.raises(errors.MigrationError):
        migrations.upgrade(postgresql_engine)
    assert support.dump(postgresql_engine) == before


def test_an_engine_that_commits_by_itself_leaves_nothing_behind(postgresql_engine: Engine) -> None:
    """A host may run its engine in autocommit mode; a revision must be atomic all the same."""
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (a INTEGER CONSTRAINT pk_tierwright_state PRIMARY KEY)")
    automatic = sa.create_engine(postgresql_engine.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    before = support.dump(postgresql_engine)
    with pytest.raises(errors.MigrationError):
        migrations.upgrade(automatic)
    assert support.dump(postgresql_engine) == before
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE theirs")
    migrations.upgrade(automatic)
    migrations.downgrade(automatic, support.FIRST)
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE tenant_integration_configs ADD CONSTRAINT chk_health_status CHECK (health_status = 'healthy')"
        )
    migrations.upgrade(automatic)
    assert migrations.check(automatic).ok


def test_an_engine_that_translates_schemas(postgresql_engine: Engine) -> None:
    """The engine of our own guide for hosts: its tables and ours must be the same, whatever search_path says."""
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA elsewhere")
    translated = postgresql_engine.execution_options(schema_translate_map={None: "elsewhere"})
    migrations.upgrade(translated, schema="elsewhere")
    assert migrations.check(translated, schema="elsewhere").ok
    migrations.downgrade(translated, "base", schema="elsewhere")
    before = support.dump(postgresql_engine)
    try:
        migrations.upgrade(translated)
    except TierwrightError:
        assert support.dump(postgresql_engine) == before
    else:
        assert migrations.check(postgresql_engine, schema="elsewhere").ok


# --- rows that break what the upgrade adds ---------------------------------------------------------------------------

DIRT = {
    "fk_model_registry_feature": ("model_registry", "UPDATE model_registry SET feature_key = 'no.such'", 3),
    "fk_component_registry_feature": (
        "component_registry",
        "UPDATE component_registry SET feature_key = 'no.component' WHERE feature_key IS NOT NULL",
        1,
    ),
    "fk_integration_registry_feature": (
        "integration_registry",
        "UPDATE integration_registry SET feature_key = 'it''s % \"odd\"'",
        1,
    ),
    "chk_health_status": (
        "tenant_integration_configs",
        "UPDATE tenant_integration_configs SET health_status = 'sick' WHERE tenant_id = 'acme'",
        1,
    ),
    "idx_tier_features_tier_key": ("license_tier_features", "duplicate", 2),
}
KEYS = {
    "fk_model_registry_feature": ["no.such"],
    "fk_component_registry_feature": ["no.component"],
    "fk_integration_registry_feature": ['it\'s % "odd"'],
    "chk_health_status": ["slack/acme"],
    "idx_tier_features_tier_key": [f"{rows.ident(12).hex}/models.openai", f"{rows.ident(12)}/models.openai"],
}


@pytest.fixture
def before(engine: Engine) -> Engine:
    """Return an engine on a database before the optimisation, with rows in every table."""
    support.fill_before_the_optimisation(engine)
    return engine


def soil(engine: Engine, constraint: str) -> None:
    """Make rows that break a constraint of the next revision; the present revision allows them."""
    _, statement, _ = DIRT[constraint]
    with engine.begin() as connection:
        if statement == "duplicate":
            table = SQLModel.metadata.tables["license_tier_features"]
            connection.execute(table.insert().values({**rows.ROWS["license_tier_features"][0], "id": rows.ident(99)}))
        else:
            connection.exec_driver_sql(
                statement.replace("%", "%%") if engine.dialect.name == "postgresql" else statement
            )


@pytest.mark.parametrize("constraint", DIRT)
def test_one_kind_of_dirt(before: Engine, constraint: str) -> None:
    soil(before, constraint)
    contents = rows.contents(before)
    with refused(errors.DirtyData, "dirty-data", before) as caught:
        migrations.upgrade(before)
    _assert_findings(before, caught.value, [constraint])
    assert rows.contents(before) == contents
    assert migrations.current(before) == support.FIRST


def test_all_dirt_at_once(before: Engine) -> None:
    for constraint in DIRT:
        soil(before, constraint)
    contents = rows.contents(before)
    with refused(errors.DirtyData, "dirty-data", before) as caught:
        migrations.upgrade(before)
    _assert_findings(before, caught.value, list(DIRT))
    assert rows.contents(before) == contents


def _assert_findings(engine: Engine, error: TierwrightError, constraints: list[str]) -> None:
    """Assert that every finding says where, what and how many, and that its SQL lists exactly the rows."""
    found = {finding["constraint"]: finding for finding in error.details["findings"]}
    assert set(found) == set(constraints)
    for name in constraints:
        table, _, count = DIRT[name]
        finding = found[name]
        assert (finding["table"], finding["rows"]) == (table, count)
        assert len(finding["keys"]) == 1
        assert finding["keys"][0] in KEYS[name]
        assert finding["sql"] in str(error)
        with engine.connect() as connection:
            listed = connection.exec_driver_sql(finding["sql"]).all()
        assert sum(row.row_count for row in listed) == count
        assert "/".join(str(value) for value in listed[0][:-1]) == finding["keys"][0]


def test_orphans_that_were_there_before_are_refused_with_nothing_changed(tmp_path: Path) -> None:
    """SQLite lets them in while the pragma is off, which is its default; no revision of ours added that key."""
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenant_license SET license_tier_id = 'nobody'")
    with refused(errors.DirtyData, "dirty-data", engine) as caught:
        migrations.upgrade(engine)
    assert caught.value.details["tables"] == {"tenant_license": 1}
