"""What a host added to our tables survives every step of the chain, up and down, on both dialects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from tests.migration import support
from tests.support import rows
from tierwright import migrations
from tierwright.errors import MigrationError

HEALTHY = "health_status IS NULL OR health_status <> 'app'"

#: Statements that mean the same to both databases.
BOTH = [
    "CREATE TABLE app_tenant (id VARCHAR(255) PRIMARY KEY)",
    "INSERT INTO app_tenant VALUES ('acme'), ('globex')",
    "CREATE TABLE app_log (what VARCHAR(255))",
    "ALTER TABLE model_registry ADD COLUMN app_number INTEGER DEFAULT 7",
    "ALTER TABLE model_registry ADD COLUMN app_required VARCHAR(20) DEFAULT 'a, (b' NOT NULL",
    'ALTER TABLE integration_registry ADD COLUMN "app Odd ""Name" INTEGER DEFAULT 3',
    "ALTER TABLE component_registry ADD COLUMN app_tenant VARCHAR(255) REFERENCES app_tenant (id) ON DELETE SET NULL",
    "CREATE INDEX app_plain ON model_registry (model_family)",
    "CREATE INDEX app_desc ON tenant_integration_configs (updated_at DESC, tenant_id)",
    "CREATE UNIQUE INDEX app_partial ON component_registry (display_name) WHERE feature_key IS NOT NULL",
    "CREATE INDEX app_expression ON model_registry (lower(provider), app_number DESC)",
    'CREATE INDEX app_on_added ON integration_registry ("app Odd ""Name")',
    "CREATE VIEW app_models AS SELECT m.model_id, f.feature_name FROM model_registry m "
    "JOIN feature_registry f ON f.feature_key = m.feature_key",
    "CREATE VIEW app_configs AS SELECT c.tenant_id, i.integration_name, c.health_status "
    "FROM tenant_integration_configs c JOIN integration_registry i ON i.integration_key = c.integration_key",
    "CREATE VIEW app_over_view AS SELECT count(*) AS models FROM app_models",
    "CREATE TABLE app_model_note (id INTEGER PRIMARY KEY, provider VARCHAR(100) NOT NULL, model_id VARCHAR(255) NOT "
    "NULL, FOREIGN KEY (provider, model_id) REFERENCES model_registry (provider, model_id) ON DELETE CASCADE)",
    "INSERT INTO app_model_note VALUES (1, 'openai', 'model-0'), (2, 'openai', 'model-1')",
    "CREATE TABLE app_integration_note (id INTEGER PRIMARY KEY, integration_key VARCHAR(100) NOT NULL "
    "REFERENCES integration_registry (integration_key) ON DELETE CASCADE)",
    "INSERT INTO app_integration_note VALUES (1, 'slack')",
    "CREATE TABLE app_component_note (component_key VARCHAR(255) "
    "REFERENCES component_registry (component_key) ON DELETE SET NULL)",
    "INSERT INTO app_component_note VALUES ('component-0')",
]
POSTGRESQL = [
    "ALTER TABLE model_registry ADD COLUMN app_generated TEXT GENERATED ALWAYS AS (provider || '/' || model_id) STORED",
    f"ALTER TABLE tenant_integration_configs ADD CONSTRAINT app_check CHECK ({HEALTHY})",
    "ALTER TABLE tenant_integration_configs ADD CONSTRAINT app_tenant_key FOREIGN KEY (tenant_id) "
    "REFERENCES app_tenant (id) ON DELETE CASCADE",
    "ALTER TABLE integration_registry ADD CONSTRAINT app_unique UNIQUE (integration_name)",
    "CREATE FUNCTION app_note() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO app_log VALUES (TG_TABLE_NAME); RETURN NULL; END $$",
    "CREATE TRIGGER app_trigger AFTER UPDATE ON model_registry FOR EACH ROW EXECUTE FUNCTION app_note()",
    "CREATE TRIGGER app_before_ours BEFORE UPDATE ON tenant_license FOR EACH ROW EXECUTE FUNCTION app_note()",
    "CREATE TRIGGER app_instead INSTEAD OF UPDATE ON app_configs FOR EACH ROW EXECUTE FUNCTION app_note()",
    "CREATE MATERIALIZED VIEW app_materialized AS SELECT * FROM app_models",
]
SQLITE = [
    "ALTER TABLE model_registry ADD COLUMN app_nocase TEXT COLLATE NOCASE DEFAULT 'Mixed'",
    "ALTER TABLE model_registry ADD COLUMN app_generated TEXT AS (provider || '/' || model_id) VIRTUAL",
    "CREATE INDEX app_nocase_index ON model_registry (app_nocase COLLATE NOCASE)",
    "CREATE TRIGGER app_trigger AFTER UPDATE ON model_registry "
    "BEGIN INSERT INTO app_log VALUES ('model_registry'); END",
    "CREATE TRIGGER app_before_ours BEFORE UPDATE OF tenant_id ON tenant_license "
    "BEGIN INSERT INTO app_log VALUES ('tenant_license'); END",
    # On another table, and about ours: a rename must not follow it.
    "CREATE TRIGGER app_trigger_elsewhere AFTER DELETE ON app_log BEGIN "
    "UPDATE model_registry SET app_number = app_number + 1; END",
    "CREATE TRIGGER app_instead INSTEAD OF UPDATE ON app_configs BEGIN INSERT INTO app_log VALUES (new.tenant_id); END",
    "CREATE TRIGGER app_on_delete BEFORE DELETE ON integration_registry BEGIN SELECT RAISE(ABORT, 'kept'); END",
    "DELETE FROM model_registry WHERE model_id = 'model-1'",  # a gap in the rowids
    "DELETE FROM app_model_note WHERE model_id = 'model-1'",
    "CREATE VIRTUAL TABLE app_search USING fts5(model_id, model_name, content='model_registry', content_rowid='rowid')",
    "INSERT INTO app_search (app_search) VALUES ('rebuild')",
]
#: Constraints within CREATE TABLE: what a host gets that rebuilt the table by hand, as SQLite wants it.
INLINE = {
    "tenant_integration_configs": f", CONSTRAINT app_check CHECK ({HEALTHY}), CHECK (failure_count >= 0), "
    "CONSTRAINT app_tenant_key FOREIGN KEY (tenant_id) REFERENCES app_tenant (id) ON DELETE CASCADE",
    "integration_registry": ", CONSTRAINT app_unique UNIQUE (integration_name), UNIQUE (integration_name, category)",
    "model_registry": ", FOREIGN KEY (model_family) REFERENCES app_tenant (id) ON UPDATE CASCADE "
    "-- theirs, (with a comma",
}


@pytest.fixture
def extended(engine: Engine) -> Engine:
    """Return an engine on our first revision, with rows, to which a host has added all that it may."""
    support.fill_before_the_optimisation(engine)
    statements = BOTH + (SQLITE if engine.dialect.name == "sqlite" else POSTGRESQL)
    if engine.dialect.name == "sqlite":
        for table, clauses in INLINE.items():
            _rebuild_by_hand(engine, table, clauses)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    return engine


def _rebuild_by_hand(engine: Engine, table: str, clauses: str) -> None:
    plain = support.plain_engine(engine.url)  # foreign keys off
    with plain.begin() as connection:
        sql = str(
            connection.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE type='table' AND name='{table}'").scalar()
        )
        connection.exec_driver_sql(f"CREATE TABLE by_hand AS SELECT * FROM {table}")
        connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql(sql.rstrip()[:-1].rstrip() + clauses + "\n)")
        connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM by_hand")
        connection.exec_driver_sql("DROP TABLE by_hand")


def test_everything_survives_up_down_and_up(extended: Engine) -> None:
    before = _additions(extended)
    contents = rows.contents(extended)
    for _ in range(2):
        migrations.upgrade(extended)
        assert _additions(extended) == before
        assert rows.contents(extended) == contents
        assert migrations.check(extended).drift == ()
        assert support.leftovers(extended) == []
        migrations.downgrade(extended, "-1")
        assert _additions(extended) == before
        assert rows.contents(extended) == contents
    migrations.upgrade(extended)
    _assert_they_work(extended)


def test_additions_to_head_survive_down_and_up(extended: Engine) -> None:
    migrations.upgrade(extended)
    with extended.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX app_late ON tenant_integration_configs (health_status DESC)")
        connection.exec_driver_sql("ALTER TABLE tenant_integration_configs ADD COLUMN app_late VARCHAR(5) DEFAULT 'x'")
    before = _additions(extended)
    migrations.downgrade(extended, "-1")
    assert _additions(extended) == before
    migrations.upgrade(extended)
    assert _additions(extended) == before
    assert migrations.check(extended).drift == ()


ON_OURS = {
    "foreign key": "CREATE TABLE app_own (feature_key VARCHAR(255) REFERENCES feature_registry (feature_key))",
    "view": "CREATE VIEW app_own AS SELECT count(*) AS models FROM model_registry",
}


@pytest.mark.parametrize("kind", ON_OURS)
def test_tables_that_the_host_refers_to_are_not_dropped(engine: Engine, kind: str) -> None:
    empty = support.dump(engine)
    migrations.upgrade(engine)
    with engine.begin() as connection:
        rows.fill(connection)
        connection.exec_driver_sql(ON_OURS[kind])
    before, contents = support.dump(engine), rows.contents(engine)
    with pytest.raises(MigrationError, match=f"{kind} .*app_own") as caught:
        migrations.downgrade(engine, "base")
    assert caught.value.code == "migration-error"
    assert (support.dump(engine), rows.contents(engine)) == (before, contents)
    migrations.downgrade(engine, "-1")
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP {'VIEW' if kind == 'view' else 'TABLE'} app_own")
    migrations.downgrade(engine, "base")
    assert support.dump(engine) == empty


def test_an_audit_log_that_the_host_has_partitioned(postgresql_engine: Engine) -> None:
    """By month or by year, it stays as the host wants it; its indexes are built one partition after the other."""
    empty = support.dump(postgresql_engine)
    migrations.upgrade(postgresql_engine, support.FIRST)
    with postgresql_engine.begin() as connection:
        for statement in PARTITIONED:
            connection.exec_driver_sql(statement)
    migrations.upgrade(postgresql_engine)
    assert migrations.check(postgresql_engine).ok
    assert support.leftovers(postgresql_engine) == []
    assert not [line for line in support.dump(postgresql_engine) if "feature_audit_log_default" in line]
    with postgresql_engine.begin() as connection:
        rows.fill(connection)
    for table in ("feature_audit_log", "app_rest"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET reason = 'x'", f"TRUNCATE {table}"):
            with postgresql_engine.connect() as connection, pytest.raises(IntegrityError, match="only added to"):
                connection.exec_driver_sql(statement)
    migrations.downgrade(postgresql_engine, support.FIRST)
    with postgresql_engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT relkind::text FROM pg_class WHERE relname = 'feature_audit_log'")
        assert found.scalar_one() == "p"
    migrations.downgrade(postgresql_engine, "base")
    assert support.dump(postgresql_engine) == empty


def test_an_audit_log_that_the_host_has_partitioned_otherwise_is_refused(postgresql_engine: Engine) -> None:
    migrations.upgrade(postgresql_engine, support.FIRST)
    with postgresql_engine.begin() as connection:
        for statement in PARTITIONED:
            connection.exec_driver_sql(statement.replace("RANGE (performed_at)", "LIST (id)"))
    before = support.dump(postgresql_engine)
    with pytest.raises(MigrationError, match=r"it is partitioned already, LIST \(id\)"):
        migrations.upgrade(postgresql_engine)
    assert support.dump(postgresql_engine) == before


PARTITIONED = [
    "ALTER TABLE feature_audit_log RENAME TO app_old",
    "ALTER TABLE app_old RENAME CONSTRAINT pk_feature_audit_log TO app_old_key",
    "CREATE TABLE feature_audit_log (LIKE app_old INCLUDING DEFAULTS INCLUDING CONSTRAINTS, "
    "CONSTRAINT pk_feature_audit_log PRIMARY KEY (id, performed_at)) PARTITION BY RANGE (performed_at)",
    "CREATE TABLE app_rest PARTITION OF feature_audit_log DEFAULT",
    "DROP TABLE app_old",
]


def test_a_view_over_a_rebuilt_table_that_is_broken_already_does_no_harm(tmp_path: Path) -> None:
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    before = support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE app_gone (a INTEGER)")
        connection.exec_driver_sql("CREATE VIEW app_broken AS SELECT a, model_id FROM model_registry, app_gone")
        connection.exec_driver_sql("DROP TABLE app_gone")
    migrations.upgrade(engine)
    support.assert_at_head(engine, before)


def test_a_column_of_the_host_called_rowid(tmp_path: Path) -> None:
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE model_registry ADD COLUMN rowid TEXT")
        connection.exec_driver_sql("UPDATE model_registry SET rowid = 'row ' || model_id")
        connection.exec_driver_sql("DELETE FROM model_registry WHERE model_id = 'model-0'")
        query = "SELECT _rowid_, rowid, model_id FROM model_registry ORDER BY 3"
        rowids = connection.exec_driver_sql(query).all()
    migrations.upgrade(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == rowids


def test_statistics_for_the_planner_survive(tmp_path: Path) -> None:
    """Whoever ran ANALYZE has its plans from sqlite_stat1; DROP TABLE empties it."""
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    support.fill_before_the_optimisation(engine)
    query = "SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY 1, 2"
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
        before = {tuple(row) for row in connection.exec_driver_sql(query)}
    migrations.upgrade(engine)
    with engine.connect() as connection:
        after = {tuple(row) for row in connection.exec_driver_sql(query)}
    # This one is another index by then: of tiers that are not deleted.
    assert {row for row in before if row[1] != "idx_license_tier_key"} <= after


def _additions(engine: Engine) -> dict[str, Any]:
    """Return all that is the host's: its objects, what stands on our tables beside ours, its rows, the rowids."""
    found: dict[str, Any] = {"objects": [line for line in support.dump(engine) if re.match(r"[\w ]*\bapp_", line)]}
    with engine.connect() as connection:
        for table in ("app_tenant", "app_model_note", "app_integration_note", "app_component_note", "app_log"):
            found[table] = sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {table}")))
        for view in ("app_models", "app_configs", "app_over_view"):
            found[view] = sorted(map(str, connection.exec_driver_sql(f"SELECT * FROM {view}")))
        found["model_registry"] = sorted(map(str, connection.exec_driver_sql("SELECT * FROM model_registry")))
        found["integrations"] = sorted(map(str, connection.exec_driver_sql("SELECT * FROM integration_registry")))
        if engine.dialect.name == "sqlite":
            for table in ("model_registry", "component_registry", "integration_registry", "tenant_integration_configs"):
                query = f"SELECT rowid, * FROM {table} ORDER BY rowid"
                found[f"rowids of {table}"] = [str(row) for row in connection.exec_driver_sql(query)]
                for pragma in ("table_xinfo", "foreign_key_list"):
                    columns = connection.exec_driver_sql(f"PRAGMA {pragma}({table})").all()
                    # A foreign key's number changes with the number of keys; ours come and go.
                    kept = [str(row if pragma == "table_xinfo" else row[2:]) for row in columns]
                    found[f"{pragma} {table}"] = sorted(line for line in kept if "feature_registry" not in line)
            found["search"] = connection.exec_driver_sql(
                "SELECT rowid FROM app_search WHERE app_search MATCH 'model' ORDER BY 1"
            ).all()
    found["constraints"] = {
        table: sorted(name for name in kinds["constraints"] if name.startswith(("app_", "(unnamed)")))
        for table, kinds in support.read_catalog(engine).items()
    }
    return found


def _assert_they_work(engine: Engine) -> None:
    """Assert by behaviour that triggers fire, constraints refuse and deletes cascade."""
    with engine.begin() as connection:
        run = connection.exec_driver_sql
        run("UPDATE model_registry SET app_number = 8 WHERE model_id = 'model-0'")
        assert run("SELECT count(*) FROM app_log").scalar_one() == 1
        run("UPDATE app_configs SET health_status = 'healthy' WHERE tenant_id = 'acme'")
        assert run("SELECT count(*) FROM app_log").scalar_one() == 2
        assert (
            run("SELECT app_generated FROM model_registry WHERE model_id = 'model-0'").scalar_one() == "openai/model-0"
        )
    for refused in (
        "INSERT INTO tenant_integration_configs (integration_key, tenant_id) VALUES ('slack', 'nobody')",
        "INSERT INTO app_integration_note VALUES (9, 'no-such-integration')",
    ):
        with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
            connection.exec_driver_sql(refused)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM model_registry WHERE model_id = 'model-0'")
        notes = connection.exec_driver_sql("SELECT model_id FROM app_model_note").scalars().all()
        assert "model-0" not in notes
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("INSERT INTO app_search (app_search) VALUES ('rebuild')")
            connection.exec_driver_sql("INSERT INTO app_search (app_search) VALUES ('integrity-check')")
            connection.exec_driver_sql("DELETE FROM app_log")
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
