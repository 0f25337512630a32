"""The revision that protects tenants' rows: triggers, a longer list of actions, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

import tierwright.tables
from tests.migration import support
from tests.migration.support import FIRST, OPTIMISED, PROTECTED
from tests.migration.test_helper_layer import add_constraint, drift, edit_table, helpers
from tests.support import rows
from tierwright import migrations
from tierwright.doctor import examine
from tierwright.errors import DirtyData, InvalidInput, ObjectNameTaken
from tierwright.services.registry.integrity import typed_integrity
from tierwright.types import AuditAction

TABLES = [SQLModel.metadata.tables[name] for name in tierwright.tables.TABLE_NAMES]
GUARDED = ["tenant_license", "tenant_feature_override", "tenant_integration_configs"]
TRIGGER = "trg_tenant_license_keeps_tenant"
OLD_LIST = "action IN ('created', 'updated', 'deleted', 'enabled', 'disabled', 'imported', 'purged', 'rotated')"
OWN_FUNCTION = f"CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"


@pytest.fixture
def filled(migrated_engine: Engine) -> Engine:
    """Return an engine on a database at head with rows in every table."""
    with migrated_engine.begin() as connection:
        rows.fill(connection)
    return migrated_engine


def refused(engine: Engine, statement: str) -> IntegrityError:
    """Return the database's refusal of a statement."""
    with engine.begin() as connection, pytest.raises(IntegrityError) as caught, connection.begin_nested():
        connection.exec_driver_sql(statement)
    return caught.value


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


# --- a row stays with its tenant -------------------------------------------------------------------------------------


def test_a_row_stays_with_its_tenant(filled: Engine) -> None:
    before = rows.contents(filled)
    for table in GUARDED:
        for value in ("'somebody'", "upper(tenant_id)", "tenant_id || ' '"):
            error = typed_integrity(refused(filled, f"UPDATE {table} SET tenant_id = {value}"))
            assert isinstance(error, InvalidInput)
            assert error.details == {"constraint": f"trg_{table}_keeps_tenant"}
        run(filled, f"UPDATE {table} SET tenant_id = tenant_id, updated_at = updated_at")
    assert rows.contents(filled) == before


def test_an_upsert_stays_with_its_tenant(filled: Engine) -> None:
    upsert = (
        "INSERT INTO tenant_license (tenant_id, license_key, license_tier_id) "
        "SELECT tenant_id, license_key, license_tier_id FROM tenant_license WHERE true "
        "ON CONFLICT (tenant_id, license_key) DO UPDATE SET tenant_id = "
    )
    run(filled, f"{upsert} excluded.tenant_id")
    refused(filled, f"{upsert} 'globex'")


def test_a_rebuild_keeps_the_trigger(filled: Engine) -> None:
    """On SQLite it drops the table with its triggers, and makes them anew."""
    for change in ("ensure_check", "discard_check"):
        with helpers(filled) as op:
            condition = ["license_key <> ''"] if change == "ensure_check" else []
            getattr(op, change)("chk_later", "tenant_license", *condition)
        refused(filled, "UPDATE tenant_license SET tenant_id = 'globex'")
    assert drift(filled) == []


def test_another_trigger_of_the_host_cannot_move_a_row(postgresql_engine: Engine) -> None:
    engine = postgresql_engine
    migrations.upgrade(engine)
    with engine.begin() as connection:
        rows.fill(connection)
    run(
        engine,
        "CREATE FUNCTION app_move() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.tenant_id = 'globex'; RETURN NEW; END $$",
        "CREATE TRIGGER app_move BEFORE UPDATE ON tenant_license FOR EACH ROW EXECUTE FUNCTION app_move()",
    )
    refused(engine, "UPDATE tenant_license SET is_active = false")
    assert migrations.check(engine).ok


# --- what somebody changed is told, and put right --------------------------------------------------------------------

SPOILED_POSTGRESQL = {
    f"ALTER TABLE tenant_license DISABLE TRIGGER {TRIGGER}": "trigger-disabled",
    f"ALTER TABLE tenant_license ENABLE REPLICA TRIGGER {TRIGGER}": "trigger-disabled",
    f"DROP TRIGGER {TRIGGER} ON tenant_license": "trigger-missing",
    OWN_FUNCTION: "trigger-differs",
    f"ALTER FUNCTION {TRIGGER}() SECURITY DEFINER": "trigger-differs",
    f"CREATE OR REPLACE TRIGGER {TRIGGER} AFTER DELETE ON tenant_license FOR EACH ROW "
    f"EXECUTE FUNCTION {TRIGGER}()": "trigger-differs",
}
SPOILED_SQLITE = {
    f"DROP TRIGGER {TRIGGER}": "trigger-missing",
    f"DROP TRIGGER {TRIGGER};; CREATE TRIGGER {TRIGGER} BEFORE UPDATE ON tenant_license "
    "BEGIN SELECT RAISE(IGNORE); END": "trigger-differs",
}


def test_a_trigger_that_somebody_changed_is_told_and_put_right(filled: Engine) -> None:
    spoiled = SPOILED_SQLITE if filled.dialect.name == "sqlite" else SPOILED_POSTGRESQL
    for statements, code in spoiled.items():
        run(filled, *statements.split(";; "))
        found = examine(filled, rows=False).findings
        assert [(each.code, each.object) for each in found] == [(code, f"tenant_license.{TRIGGER}")], statements
        assert "repair" in found[0].remedy
        assert migrations.repair(filled) == (TRIGGER,)
        refused(filled, "UPDATE tenant_license SET tenant_id = 'globex'")
        assert drift(filled) == []


def test_the_shorter_list_of_before_is_put_right(filled: Engine) -> None:
    """Two revisions define the constraint: what holds is the later one."""
    if filled.dialect.name == "postgresql":
        run(filled, "ALTER TABLE feature_audit_log DROP CONSTRAINT chk_feature_audit_action")
        add_constraint(filled, "feature_audit_log", f"CONSTRAINT chk_feature_audit_action CHECK ({OLD_LIST})")
    else:
        newer = ", 'revealed', 'restored', 'archived', 'erased'"
        edit_table(filled, "feature_audit_log", lambda sql: sql.replace(newer, ""))
    assert len(drift(filled)) == 1
    assert migrations.repair(filled) == ("chk_feature_audit_action",)
    assert drift(filled) == []


def test_a_function_of_the_host_with_our_name_is_never_replaced(postgresql_engine: Engine) -> None:
    engine = postgresql_engine
    migrations.upgrade(engine, OPTIMISED)
    run(engine, OWN_FUNCTION)
    before = support.dump(engine)
    with pytest.raises(ObjectNameTaken, match="function"):
        migrations.upgrade(engine)
    url = engine.url.render_as_string(hide_password=False)
    script = support.psql(url, migrations.script(url, f"{OPTIMISED}:head"))
    assert script.returncode != 0
    assert f"a function {TRIGGER}() exists that is not ours" in script.stderr
    assert support.dump(engine) == before
    run(engine, f"DROP FUNCTION {TRIGGER}()")
    migrations.upgrade(engine)
    run(engine, f"DROP TRIGGER {TRIGGER} ON tenant_license")  # our function alone, as a killed upgrade leaves it
    migrations.repair(engine)
    assert migrations.check(engine).ok


# --- the list of actions ---------------------------------------------------------------------------------------------


def log(engine: Engine, action: str) -> None:
    """Write a line of history past the services."""
    with engine.begin() as connection:
        table = SQLModel.metadata.tables["feature_audit_log"]
        connection.execute(table.insert().values(entity_type="tenant", entity_id="acme", action=action))


def test_every_action_can_be_written_and_no_other(migrated_engine: Engine) -> None:
    for action in AuditAction:
        log(migrated_engine, action)
    with pytest.raises(IntegrityError):
        log(migrated_engine, "shredded")


@pytest.mark.parametrize("target", [OPTIMISED, FIRST])
def test_a_history_with_newer_actions_holds_up_the_way_back(engine: Engine, target: str) -> None:
    migrations.upgrade(engine)
    with engine.begin() as connection:
        rows.fill(connection)
    log(engine, "revealed")
    before = support.dump(engine), rows.contents(engine)
    with pytest.raises(DirtyData) as caught:
        migrations.downgrade(engine, target)
    [found] = caught.value.details["findings"]
    assert (found["table"], found["rows"]) == ("feature_audit_log", 1)
    assert (support.dump(engine), rows.contents(engine)) == before
    with engine.connect() as connection:
        assert len(connection.exec_driver_sql(found["sql"]).all()) == 1
    migrations.downgrade(engine, PROTECTED)  # there the history is not guarded yet
    run(engine, "DELETE FROM feature_audit_log WHERE action = 'revealed'")
    migrations.downgrade(engine, target)
    with pytest.raises(IntegrityError):
        log(engine, "revealed")
    if target == OPTIMISED:
        run(engine, "UPDATE tenant_license SET tenant_id = 'globex'")


def test_a_history_that_is_dropped_anyway_holds_up_nothing(engine: Engine) -> None:
    empty = support.dump(engine)
    migrations.upgrade(engine)
    log(engine, "revealed")
    migrations.downgrade(engine, "base")
    assert support.dump(engine) == empty


def test_new_rows_are_guarded_at_every_moment(postgresql_engine: Engine) -> None:
    """The old list holds until the new one is valid, and takes its place in one statement; rows are read online."""
    engine = postgresql_engine
    migrations.upgrade(engine, OPTIMISED)
    statements: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ALTER TABLE feature_audit_log" in statement:
            statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", listen)
    migrations.upgrade(engine, PROTECTED)
    added, validated, swapped = statements
    assert "chk_feature_audit_action" not in added + validated
    assert added.endswith("NOT VALID")
    assert "VALIDATE CONSTRAINT" in validated
    assert "DROP CONSTRAINT chk_feature_audit_action; " in swapped
    assert "TO chk_feature_audit_action; END" in swapped
    assert support.leftovers(engine) == []


def test_a_row_that_slips_in_leaves_the_constraint_of_before(postgresql_engine: Engine) -> None:
    """Between the survey and the constraint somebody writes what the shorter list does not have."""
    engine = postgresql_engine
    migrations.upgrade(engine)
    log(engine, "erased")
    before = support.dump(engine)
    with helpers(engine) as op, pytest.raises(DirtyData):
        op.ensure_check("chk_feature_audit_action", "feature_audit_log", OLD_LIST)  # type: ignore[attr-defined]
    assert support.dump(engine) == before
    assert migrations.check(engine).ok


# --- tables that create_all makes ------------------------------------------------------------------------------------


def test_create_all_and_drop_all_leave_nothing_out_and_nothing_behind(engine: Engine) -> None:
    empty = support.dump(engine)
    SQLModel.metadata.create_all(engine, tables=TABLES)
    assert drift(engine) == []
    with engine.begin() as connection:
        rows.fill(connection)
    refused(engine, "UPDATE tenant_license SET tenant_id = 'globex'")
    SQLModel.metadata.drop_all(support.plain_engine(engine.url), tables=TABLES)  # SQLite: without foreign keys
    assert support.dump(engine) == empty


@pytest.mark.parametrize("schema", ["elsewhere", 'Odd "%(name)s" {x}'])
def test_create_all_in_another_schema(postgresql_engine: Engine, schema: str) -> None:
    run(postgresql_engine, 'CREATE SCHEMA "{}"'.format(schema.replace('"', '""').replace("%", "%%")))
    empty = support.dump(postgresql_engine)
    translated = postgresql_engine.execution_options(schema_translate_map={None: schema})
    SQLModel.metadata.create_all(translated, tables=TABLES)
    assert migrations.status(postgresql_engine, schema=schema).differences == ()
    assert migrations.adopt(postgresql_engine, schema=schema) == migrations.head()
    SQLModel.metadata.drop_all(translated, tables=TABLES)
    left = [line for line in support.dump(postgresql_engine) if "tierwright_alembic_version" not in line]
    assert left == empty


def test_a_dump_of_create_all_has_the_triggers(tmp_path: Path) -> None:
    """``create_mock_engine`` prints what it would do; it has no connection to ask."""
    for url, triggers in (("sqlite://", 6), ("postgresql://", 7)):  # one of them for the first partition
        said: list[str] = []
        mock: Any = sa.create_mock_engine(url, lambda element, *_, said=said, **__: said.append(str(element)))
        SQLModel.metadata.create_all(mock, tables=TABLES)
        assert sum("CREATE TRIGGER" in line for line in said) == triggers
