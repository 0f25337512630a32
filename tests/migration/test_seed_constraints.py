"""Every index, foreign key and CHECK of the seed, proven by what the database does."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from tests.support import rows

TABLES = SQLModel.metadata.tables
SEED_INDEXES = {
    "idx_tier_features_tier_key": ("license_tier_features", [("license_tier_id", False), ("feature_key", False)], True),
    "idx_tenant_integration_active": (
        "tenant_integration_configs",
        [("tenant_id", False), ("is_enabled", False)],
        False,
    ),
    "idx_feature_audit_key_time": ("feature_audit_log", [("feature_key", False), ("performed_at", True)], False),
    "idx_model_registry_feature": ("model_registry", [("feature_key", False)], False),
    "idx_component_registry_feature": ("component_registry", [("feature_key", False)], False),
    "idx_integration_registry_feature": ("integration_registry", [("feature_key", False)], False),
}
#: Every table that refers to a feature, children before parents.
REFERRING = [
    "tenant_integration_configs",
    "integration_registry",
    "component_registry",
    "model_registry",
    "license_tier_features",
    "tenant_feature_override",
]
GATED = ["model_registry", "component_registry", "integration_registry"]


@pytest.fixture
def filled(migrated_engine: Engine) -> Engine:
    """Return an engine on a database at head with a few rows in every table."""
    with migrated_engine.begin() as connection:
        rows.fill(connection)
    return migrated_engine


@pytest.mark.parametrize("table", GATED)
def test_an_unknown_feature_key_is_refused(filled: Engine, table: str) -> None:
    with filled.begin() as connection, pytest.raises(IntegrityError), connection.begin_nested():
        connection.execute(TABLES[table].update().values(feature_key="no.such"))


def test_a_component_without_feature_key_is_allowed(filled: Engine) -> None:
    table = TABLES["component_registry"]
    with filled.begin() as connection:
        connection.execute(table.update().values(feature_key=None))
        assert connection.execute(sa.select(table.c.feature_key)).scalars().all() == [None, None]


@pytest.mark.parametrize("table", GATED)
def test_a_feature_in_use_cannot_be_deleted(filled: Engine, table: str) -> None:
    """Everything else that refers to it is deleted first, so that only this table's key can refuse."""
    features = TABLES["feature_registry"]
    with filled.begin() as connection:
        key = connection.execute(sa.select(sa.func.max(TABLES[table].c.feature_key))).scalar_one()
        for other in REFERRING:
            if other != table:
                connection.execute(TABLES[other].delete())
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(features.delete().where(features.c.feature_key == key))


@pytest.mark.parametrize("status", ["healthy", "degraded", "unhealthy", None])
def test_a_listed_health_status_is_allowed(filled: Engine, status: str | None) -> None:
    with filled.begin() as connection:
        connection.execute(TABLES["tenant_integration_configs"].update().values(health_status=status))


@pytest.mark.parametrize("status", ["Healthy", "", "unknown", "healthy "])
def test_another_health_status_is_refused(filled: Engine, status: str) -> None:
    with filled.begin() as connection, pytest.raises(IntegrityError), connection.begin_nested():
        connection.execute(TABLES["tenant_integration_configs"].update().values(health_status=status))


def test_a_tier_has_a_feature_once(filled: Engine) -> None:
    row = {**rows.ROWS["license_tier_features"][0], "id": rows.ident(99)}
    with filled.begin() as connection, pytest.raises(IntegrityError), connection.begin_nested():
        connection.execute(TABLES["license_tier_features"].insert().values(**row))


@pytest.mark.parametrize("name", SEED_INDEXES)
def test_the_catalogue_has_the_index_with_its_directions(migrated_engine: Engine, name: str) -> None:
    table, columns, unique = SEED_INDEXES[name]
    with migrated_engine.connect() as connection:
        read = _sqlite_index if connection.dialect.name == "sqlite" else _postgresql_index
        assert read(connection, name) == (table, columns, unique)


def _sqlite_index(connection: Connection, name: str) -> tuple[str, list[tuple[str, bool]], bool]:
    table = connection.execute(sa.text("SELECT tbl_name FROM sqlite_master WHERE name = :n"), {"n": name}).scalar_one()
    columns = connection.exec_driver_sql(f"PRAGMA index_xinfo({name})").all()
    (unique,) = [row.unique for row in connection.exec_driver_sql(f"PRAGMA index_list({table})") if row.name == name]
    return table, [(row.name, bool(row.desc)) for row in columns if row.key], bool(unique)


def _postgresql_index(connection: Connection, name: str) -> tuple[str, list[tuple[str, bool]], bool]:
    found = connection.execute(
        sa.text(
            "SELECT t.relname, i.indisunique, i.indisvalid, "
            "ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) n) AS columns, "
            "ARRAY(SELECT (i.indoption[n - 1] & 1) = 1 FROM generate_series(1, i.indnkeyatts) n) AS descending "
            "FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
            "WHERE x.relname = :name AND x.relnamespace = quote_ident(current_schema())::regnamespace"
        ),
        {"name": name},
    ).one()
    assert found.indisvalid
    return found.relname, list(zip(found.columns, found.descending, strict=True)), found.indisunique
