"""Questions that look into JSON columns are answered exactly, through an index where the dialect has one for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlmodel import Session, SQLModel

from tests.support.cli import run_json, url_of
from tests.support.registry import seed, writer
from tierwright import migrations
from tierwright.errors import InvalidInput
from tierwright.isolation import enable
from tierwright.services.json_questions import (
    Needing,
    WithSetting,
    list_statement,
    needing,
    setting_statement,
    tenants_with_setting,
)
from tierwright.types import uuid7

TABLES = SQLModel.metadata.tables
CONFIGS = TABLES["tenant_integration_configs"]


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Return an engine on a database with things that need features, and settings."""
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", "a.two", "a.three")
        names = {"display_name": "x", "component_name": "x", "category": "x"}
        for key, gate, required in (("both", "a.one", ["a.two"]), ("listed", None, ["a.one"]), ("other", "a.two", [])):
            component = {"component_key": key, "feature_key": gate, "required_features": required}
            registry.components.create({**names, **component})
        registry.components.retire("listed")
        for key, required in (("slack", ["a.one"]), ("mail", [])):
            integration = {"integration_key": key, "integration_name": key, "category": "x", "feature_key": "a.two"}
            registry.integrations.create({**integration, "required_features": required})
        model = {"model_name": "m", "model_type": "chat", "feature_key": "a.one"}
        registry.models.create({"provider": "p", "model_id": "m", **model})
        session.commit()
    return migrated_engine


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def configure(connection: Connection, **configs: Any) -> None:
    """Write settings of slack, one tenant each."""
    rows = [{"integration_key": "slack", "tenant_id": name, "config": config} for name, config in configs.items()]
    connection.execute(CONFIGS.insert(), rows)


def test_what_needs_a_feature_is_found_in_gates_and_lists(connection: Connection) -> None:
    assert needing(connection, "a.one") == [
        Needing("component", "both", True, True),
        Needing("component", "listed", False, False),
        Needing("integration", "slack", False, True),
        Needing("model", "p/m", True, True),
    ]
    assert [each.key for each in needing(connection, "a.two")] == ["both", "other", "mail", "slack"]
    assert needing(connection, "a.three") == needing(connection, "no feature") == []


def test_lists_that_raw_sql_has_broken_need_nothing_by_name(connection: Connection) -> None:
    texts = ['{"x": "a.one"}', '"a.one"', '["a.one", 7]'] + (["oops"] if connection.dialect.name == "sqlite" else [])
    for text in texts:
        cast = "::jsonb" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(
            f"UPDATE component_registry SET required_features = '{text}'{cast} WHERE component_key = 'listed'"
        )
        assert [each.key for each in needing(connection, "a.one")] == ["both", "slack", "p/m"]


def test_tenants_with_a_setting_are_those_with_exactly_this_value(connection: Connection) -> None:
    configure(
        connection,
        eu={"region": "eu"},
        us={"region": "us"},
        yes={"region": True, "limits": {"daily": 5}},
        one={"region": 1, "limits": {"daily": "5"}},
        listed={"region": ["eu"]},
        deep={"other": {"region": "eu"}},
        none={},
    )
    connection.execute(CONFIGS.insert(), {"integration_key": "mail", "tenant_id": "eu", "config": {"region": "eu"}})

    def found(path: str, value: Any, **only: Any) -> list[str]:
        return [each.tenant_id for each in tenants_with_setting(connection, path, value, **only)]

    assert list(tenants_with_setting(connection, "region", "eu")) == [
        WithSetting("eu", "mail", False),
        WithSetting("eu", "slack", False),
    ]
    assert found("region", "eu", integration_key="slack") == ["eu"]
    assert (found("region", True), found("region", 1), found("region", 1.0)) == (["yes"], ["one"], ["one"])
    assert (found("limits.daily", 5), found("limits.daily", "5")) == (["yes"], ["one"])
    assert found("other.region", "eu") == ["deep"]
    assert found("region", "fr") == found("region", "e\"u'") == found("no-such", "eu") == []
    for path in ("", ".", "a..b", "a'b", 'a"b', "a b", "a.$", "a" * 101, ".".join("a" * 17)):
        with pytest.raises(InvalidInput):
            tenants_with_setting(connection, path, "eu")
    for value in (None, [], {}, float("nan"), 2**63, "\x00"):
        with pytest.raises(InvalidInput):
            tenants_with_setting(connection, "region", value)  # type: ignore[arg-type]  # that is what is tested


def test_settings_that_are_no_json_are_written_and_left_out(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        with pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("SELECT 'oops'::jsonb")
        return
    configure(connection, acme={"region": "eu"}, broken={})
    connection.exec_driver_sql("UPDATE tenant_integration_configs SET config = 'oops' WHERE tenant_id = 'broken'")
    assert [each.tenant_id for each in tenants_with_setting(connection, "region", "eu")] == ["acme"]


# --- plans -----------------------------------------------------------------------------------------------------------


def plan_of(connection: Connection, statement: sa.Select[Any]) -> str:
    prefix = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "

    def explain(_connection: Any, _cursor: Any, text: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return prefix + text, parameters

    sa.event.listen(connection, "before_cursor_execute", explain, retval=True)
    try:
        result: Any = connection.execute(statement)
        return "\n".join(str(row[-1]) for row in result.cursor.fetchall())
    finally:
        sa.event.remove(connection, "before_cursor_execute", explain)


def fill(connection: Connection) -> None:
    """Make enough rows that a planner would rather use an index."""
    rows = [
        {"integration_key": "slack", "tenant_id": f"t{n}", "config": {"region": "eu" if n % 500 == 0 else f"r{n % 50}"}}
        for n in range(3000)
    ]
    connection.execute(CONFIGS.insert(), rows)
    names = {"display_name": "x", "component_name": "x", "category": "x", "feature_key": "a.three"}
    connection.execute(
        TABLES["component_registry"].insert(),
        [
            {"id": uuid7(), "component_key": f"c{n}", "required_features": [f"b.f{n}", f"b.g{n}"], **names}
            for n in range(2000)
        ],
    )
    if (
        connection.dialect.name == "postgresql"
    ):  # as a vacuum would: what waits to be sorted in makes an index look slow
        for index in ("idx_component_registry_required", "idx_tenant_integration_config"):
            connection.exec_driver_sql(f"SELECT gin_clean_pending_list('{index}')")
    connection.exec_driver_sql("ANALYZE")


def test_the_questions_are_answered_through_the_indexes(connection: Connection) -> None:
    fill(connection)
    dialect = connection.dialect.name
    settings = [plan_of(connection, setting_statement(dialect, ("region",), "eu", key)) for key in (None, "slack")]
    components = plan_of(connection, list_statement(dialect, "component", "b.f7"))
    assert [each.key for each in needing(connection, "b.f7")] == ["c7"]
    assert len(list(tenants_with_setting(connection, "region", "eu"))) == 6
    if dialect == "sqlite":
        assert all("USING INDEX idx_tenant_integration_region" in plan for plan in settings), settings
        assert not any("TEMP B-TREE" in plan for plan in settings), settings
        # No index of SQLite looks into a list; the registry is read once, and is small.
        assert "SCAN component_registry" in components
        return
    assert all("idx_tenant_integration_config" in plan for plan in settings), settings
    assert "idx_component_registry_required" in components
    assert "idx_component_registry_feature" in components
    assert "Seq Scan" not in "\n".join([*settings, components])


def test_each_dialect_has_its_indexes_and_misses_none_of_the_other(migrated_engine: Engine) -> None:
    assert migrations.check(migrated_engine).differences == ()
    with migrated_engine.connect() as connection:
        catalogue = migrations.catalog.read(connection)
    names = {name for table in catalogue.values() for name in table["indexes"]}
    gin = {"idx_component_registry_required", "idx_integration_registry_required", "idx_tenant_integration_config"}
    is_sqlite = migrated_engine.dialect.name == "sqlite"
    assert gin.isdisjoint(names) == is_sqlite
    assert ("idx_tenant_integration_region" in names) == is_sqlite


def test_where_rows_are_isolated_the_administrator_asks_through_the_index(postgresql_engine: Engine) -> None:
    migrations.upgrade(postgresql_engine)
    admin = f"tw_admin_{uuid7().hex[:8]}"
    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {admin}")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {connection.dialect.default_schema_name} TO {admin}")
        connection.exec_driver_sql(
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {connection.dialect.default_schema_name} TO {admin}"
        )
    with Session(postgresql_engine) as session:
        registry = writer(session)
        seed(registry, "a.three")
        registry.integrations.create(
            {"integration_key": "slack", "integration_name": "s", "category": "x", "feature_key": "a.three"}
        )
        session.commit()
    app = f"tw_app_{uuid7().hex[:8]}"
    with postgresql_engine.begin() as connection:
        fill(connection)
        connection.exec_driver_sql(f"CREATE ROLE {app}")
    enable(postgresql_engine, [app], admin=admin)
    try:
        with postgresql_engine.connect() as connection:
            connection.exec_driver_sql(f"SET ROLE {admin}")
            # Policies keep statistics from the planner, so on so few rows it must be told that the index is worth it.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = plan_of(connection, setting_statement("postgresql", ("region",), "eu", None))
            assert "idx_tenant_integration_config" in plan
            assert len(list(tenants_with_setting(connection, "region", "eu"))) == 6
            connection.exec_driver_sql("RESET ROLE")
            connection.rollback()
    finally:
        with postgresql_engine.begin() as connection:
            for role in (app, admin):
                connection.exec_driver_sql(f"DROP OWNED BY {role}")
                connection.exec_driver_sql(f"DROP ROLE {role}")


def test_the_command_line_asks_the_same(engine: Engine) -> None:
    with engine.begin() as connection:
        configure(connection, eu={"region": "eu", "level": 3}, us={"region": "us"})
    url = url_of(engine)
    needed = run_json("feature", "needed-by", "a.one", url=url)["needed_by"]
    assert [(each["kind"], each["key"], each["is_gate"]) for each in needed][:2] == [
        ("component", "both", True),
        ("component", "listed", False),
    ]
    for setting in ("region=eu", 'region="eu"', "level=3"):
        found = run_json("tenants", "--setting", setting, "--integration", "slack", url=url)
        assert [each["tenant_id"] for each in found["tenants"]] == ["eu"]
    assert run_json("tenants", "--setting", "region", url=url, exit_code=2)["error"]["code"] == "configuration-error"
