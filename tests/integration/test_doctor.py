"""The doctor finds every kind of damage, names the remedy, and the remedy works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlmodel import Session, SQLModel

from tests.migration.test_helper_layer import edit_table
from tests.support import rows
from tests.support.integrations import offer, service
from tests.support.registry import writer
from tierwright import migrations
from tierwright.doctor import Report, Severity, examine
from tierwright.migrations.dialects import sqlite_sql

TABLES = SQLModel.metadata.tables
REPAIR = "Run `tierwright db repair`."


@pytest.fixture
def filled(migrated_engine: Engine) -> Engine:
    """Return an engine on a database at head with a few rows in every table."""
    with migrated_engine.begin() as connection:
        rows.fill(connection)
    return migrated_engine


def errors(report: Report) -> set[tuple[str, str]]:
    """Return code and object of every finding that needs a remedy."""
    return {(finding.code, finding.object) for finding in report.findings if finding.severity is Severity.ERROR}


def damage_index(engine: Engine, name: str, sql: str | None) -> None:
    """Replace an index by another definition, or by none."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP INDEX {name}")
        if sql:
            connection.exec_driver_sql(sql)


def damage_constraint(engine: Engine, table: str, name: str, clause: str | None) -> None:
    """Replace a constraint by another definition, or by none."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            if clause:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {clause}")
        return

    def edit(sql: str) -> str:
        without = sqlite_sql.without_constraint(sql, name)
        return sqlite_sql.with_constraint(without, name, clause) if clause else without

    edit_table(engine, table, edit)


def test_a_healthy_database_has_no_finding_and_much_was_checked(filled: Engine) -> None:
    report = examine(filled)
    is_sqlite = filled.dialect.name == "sqlite"
    assert report.ok
    assert report.findings == ()
    assert report.checked == {
        "tables": 11,
        "columns": 137,
        "constraints": 32 if is_sqlite else 33,  # the partition key is one
        "indexes": 16 if is_sqlite else 18,
        "triggers": 6,
        "row rules": 24,
        "lists of keys": 4,
    }


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        (None, "missing"),
        ("CREATE INDEX idx_feature_audit_key_time ON feature_audit_log (feature_key, performed_at)", "differs"),
        ("CREATE INDEX idx_feature_audit_key_time ON feature_audit_log (performed_at DESC)", "differs"),
        (
            "CREATE UNIQUE INDEX idx_feature_audit_key_time ON feature_audit_log (feature_key, performed_at DESC)",
            "differs",
        ),
    ],
)
def test_a_damaged_index_is_found_and_repaired(filled: Engine, sql: str | None, state: str) -> None:
    damage_index(filled, "idx_feature_audit_key_time", sql)
    report = examine(filled)
    assert errors(report) == {(f"index-{state}", "feature_audit_log.idx_feature_audit_key_time")}
    assert report.findings[0].remedy == REPAIR
    assert migrations.repair(filled) == ("idx_feature_audit_key_time",)
    assert examine(filled).ok


@pytest.mark.parametrize(
    ("table", "name", "clause", "code"),
    [
        ("model_registry", "fk_model_registry_feature", None, "foreign-key-missing"),
        (
            "component_registry",
            "fk_component_registry_feature",
            "FOREIGN KEY (feature_key) REFERENCES feature_registry (feature_key) ON DELETE CASCADE",
            "foreign-key-differs",
        ),
        ("tenant_integration_configs", "chk_health_status", None, "check-missing"),
        ("tenant_integration_configs", "chk_health_status", "CHECK (health_status <> 'x')", "check-differs"),
    ],
)
def test_a_damaged_constraint_is_found_and_repaired(
    filled: Engine, table: str, name: str, clause: str | None, code: str
) -> None:
    contents = rows.contents(filled)
    damage_constraint(filled, table, name, clause)
    report = examine(filled)
    assert errors(report) == {(code, f"{table}.{name}")}
    assert report.findings[0].remedy == REPAIR
    assert migrations.repair(filled) == (name,)
    assert examine(filled).ok
    assert rows.contents(filled) == contents


def test_an_invalid_index_and_an_unvalidated_key_are_found(postgresql_engine: Engine) -> None:
    migrations.upgrade(postgresql_engine)
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_model_registry_feature'::regclass"
        )
        connection.exec_driver_sql("ALTER TABLE model_registry DROP CONSTRAINT fk_model_registry_feature")
        connection.exec_driver_sql(
            "ALTER TABLE model_registry ADD CONSTRAINT fk_model_registry_feature FOREIGN KEY (feature_key) "
            "REFERENCES feature_registry (feature_key) ON DELETE RESTRICT NOT VALID"
        )
    assert errors(examine(postgresql_engine)) == {
        ("index-invalid", "model_registry.idx_model_registry_feature"),
        ("foreign-key-not-validated", "model_registry.fk_model_registry_feature"),
    }
    migrations.repair(postgresql_engine)
    assert examine(postgresql_engine).ok


def test_what_no_revision_ensures_needs_a_backup(filled: Engine) -> None:
    with filled.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE model_registry DROP COLUMN context_window")
    report = examine(filled)
    assert errors(report) == {("column-missing", "model_registry.context_window")}
    assert "backup" in report.findings[0].remedy


def without_enforcement(connection: Connection) -> None:
    """Let this connection write what foreign keys forbid, as a careless import does."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    else:
        connection.exec_driver_sql("SET session_replication_role = replica")


def orphan_model(connection: Connection) -> None:
    connection.execute(TABLES["model_registry"].update().values(feature_key="no.such"))


def orphan_tier(connection: Connection) -> None:
    connection.execute(TABLES["tenant_license"].update().values(license_tier_id=rows.ident(99)))


@pytest.mark.parametrize(
    ("write", "found", "count"),
    [
        (orphan_model, "model_registry.fk_model_registry_feature", 3),
        (orphan_tier, "tenant_license.fk_tenant_license_tier", 1),
    ],
)
def test_orphans_are_found_with_a_query_that_lists_them(
    filled: Engine, write: Callable[[Connection], None], found: str, count: int
) -> None:
    with filled.connect() as connection:
        without_enforcement(connection)
        write(connection)
        connection.commit()
    report = examine(filled)
    assert errors(report) == {("rows-orphan", found)}
    assert str(count) in report.findings[0].message
    with filled.connect() as connection:
        assert len(connection.execute(sa.text(str(report.findings[0].sql))).all()) == 1


def test_duplicates_behind_a_lost_unique_index_are_found(filled: Engine) -> None:
    damage_index(filled, "idx_tier_features_tier_key", None)
    with filled.begin() as connection:
        row = {**rows.ROWS["license_tier_features"][0], "id": rows.ident(99)}
        connection.execute(TABLES["license_tier_features"].insert().values(**row))
    assert errors(examine(filled)) == {
        ("index-missing", "license_tier_features.idx_tier_features_tier_key"),
        ("rows-duplicate", "license_tier_features.idx_tier_features_tier_key"),
    }
    assert {code for code, _ in errors(examine(filled, rows=False))} == {"index-missing"}


def test_what_the_host_added_is_information(filled: Engine) -> None:
    with filled.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE model_registry ADD COLUMN theirs INTEGER")
        connection.exec_driver_sql("CREATE INDEX theirs_too ON model_registry (theirs)")
    report = examine(filled)
    assert report.ok
    assert {finding.code for finding in report.findings} == {"column-added", "index-added"}


def test_an_older_revision_is_one_finding(engine: Engine) -> None:
    migrations.upgrade(engine, "c4d5e6f7a8b9")
    report = examine(engine)
    assert errors(report) == {("revision-pending", "c4d5e6f7a8b9")}
    assert report.findings[0].remedy == "Run `tierwright db upgrade`."


def test_an_empty_database_is_one_finding(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (id INTEGER)")
    report = examine(engine)
    assert errors(report) == {("revision-pending", "no revision")}
    assert report.findings[0].remedy == "Run `tierwright db upgrade`."


def test_tables_that_create_all_made_are_sent_to_adopt(engine: Engine) -> None:
    """An upgrade would refuse them: no revision of ours made them."""
    SQLModel.metadata.create_all(engine)
    report = examine(engine)
    assert errors(report) == {("revision-pending", "no revision")}
    assert "`tierwright db adopt`" in report.findings[0].remedy


def test_a_later_revision_is_information(filled: Engine) -> None:
    with filled.begin() as connection:
        connection.exec_driver_sql("UPDATE tierwright_alembic_version SET version_num = 'from_the_future'")
    report = examine(filled)
    assert report.ok
    assert [finding.code for finding in report.findings] == ["revision-newer"]


def test_another_projects_version_table_is_not_a_healthy_database_of_ours(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tierwright_alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO tierwright_alembic_version VALUES ('0123456789ab')")
    report = examine(engine)
    assert errors(report) == {("table-missing", name) for name in migrations.TABLE_NAMES}
    assert all("--version-table" in item.remedy for item in report.findings if item.severity is Severity.ERROR)


def test_a_hosts_own_head_beside_ours_does_not_keep_from_repairing(filled: Engine) -> None:
    """A host that merged the chain into its own has both in one version table."""
    damage_index(filled, "idx_feature_audit_key_time", None)
    with filled.begin() as connection:
        connection.exec_driver_sql("INSERT INTO tierwright_alembic_version VALUES ('0123456789ab')")
    assert errors(examine(filled)) == {("index-missing", "feature_audit_log.idx_feature_audit_key_time")}
    assert migrations.repair(filled) == ("idx_feature_audit_key_time",)
    assert examine(filled).ok


def test_a_host_engine_without_foreign_keys_is_an_error_and_a_bare_url_is_not(migrated_url: str) -> None:
    careless = sa.create_engine(migrated_url, poolclass=sa.NullPool)
    expected = {("foreign-keys-not-enforced", "PRAGMA foreign_keys")} if careless.dialect.name == "sqlite" else set()
    assert errors(examine(careless)) == expected
    assert examine(migrated_url).ok


def test_secrets_in_the_clear_are_found_and_not_shown(migrated_engine: Engine) -> None:
    offer(migrated_engine, schema={"properties": {"pin": {"type": "string"}}})
    with Session(migrated_engine) as session:
        for tenant in ("acme", "globex"):
            service(session).configure(tenant, "slack", {"pin": "hunter2"} if tenant == "acme" else {"other": 1})
        session.commit()
    assert errors(examine(migrated_engine)) == set()
    with Session(migrated_engine) as session:
        writer(session).integrations.change("slack", config_schema={"properties": {"pin": {"writeOnly": True}}})
        session.commit()
    [found] = examine(migrated_engine).findings
    assert (found.code, found.object) == ("secret-in-clear", "tenant_integration_configs.slack")
    assert "1 tenant(s)" in found.message
    assert "acme: /pin." in found.message
    assert "hunter2" not in str(examine(migrated_engine).as_dict())
    with Session(migrated_engine) as session:
        assert found.sql is not None
        assert sorted(session.connection().exec_driver_sql(found.sql).scalars()) == ["acme", "globex"]
        service(session).configure("acme", "slack", {"pin": "other"})
        session.commit()
    assert examine(migrated_engine).ok


def test_a_config_schema_that_nobody_can_use_is_found(migrated_engine: Engine) -> None:
    offer(migrated_engine)
    with migrated_engine.begin() as connection:
        schema = {"allOf": [{"properties": {"pin": {"writeOnly": True}}}]}
        connection.execute(sa.update(TABLES["integration_registry"]).values(config_schema=schema))
    assert errors(examine(migrated_engine)) == {("config-schema-invalid", "integration_registry.slack")}
