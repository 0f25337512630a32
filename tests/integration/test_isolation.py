"""Row-level security: what one tenant does is nothing to another, through the API and past it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlmodel import Session

from tests.support.cli import run, run_json
from tests.support.integrations import KEYS, offer, service
from tests.support.isolation import Isolated, isolated
from tests.support.registry import OFF, ON, writer
from tierwright import Entitlements, Reason, Registry, SnapshotStore
from tierwright.doctor import examine
from tierwright.errors import (
    EntitlementsUnavailable,
    IsolationRefused,
    PrivilegeMissing,
    TierwrightError,
)
from tierwright.isolation import tenant_context
from tierwright.rotation import count_keys, rotate
from tierwright.services.tenant_search import on_tier
from tierwright.types import utc_now

TENANTS = ("acme", "globex")
DOCUMENT = {"channel": "#a", "bot_token": "xoxb-1"}
FEATURE = "integrations.slack"


@pytest.fixture
def place(postgresql_engine: Engine) -> Iterator[Isolated]:
    """Yield a database with row-level security on, in which both tenants may use and have configured slack."""
    with isolated(postgresql_engine) as made:
        fill(made.engine(made.owner))
        made.enable()
        yield made


def fill(engine: Engine) -> None:
    """Give both tenants a licence, an override, settings and a history."""
    offer(engine)
    with Session(engine) as session:
        registry, calls = writer(session), service(session)
        registry.features.create(
            {
                "feature_key": "ui.theme",
                "feature_name": "Theme",
                "category": "ui",
                "feature_type": "boolean",
                "default_value": {"enabled": False, "value": True},
            }
        )
        for tenant in TENANTS:
            registry.overrides.set(tenant, "ui.theme", ON)
            calls.configure(tenant, "slack", DOCUMENT)
            calls.enable(tenant, "slack")
        session.commit()
    engine.dispose()


def observed(engine: Engine, tenant: str) -> dict[str, Any]:
    """Return everything that a tenant can see through the API."""
    with Session(engine) as session:
        asked, calls = Entitlements(session), service(session)
        decisions = dict(asked.evaluate_all(tenant))
        found = calls.list(tenant)
        opened = [dict(calls.reveal(tenant, each.integration_key)) for each in found]
        integrations = asked.integrations(tenant)
        session.rollback()
        return {"decisions": decisions, "settings": found, "secrets": opened, "integrations": integrations}


# --- through the API, on every database ------------------------------------------------------------------------------

ACTIONS: dict[str, Callable[[Registry, str], Any]] = {
    "override": lambda registry, tenant: registry.overrides.set(tenant, "ui.theme", OFF),
    "remove override": lambda registry, tenant: registry.overrides.remove(tenant, "ui.theme"),
    "licence": lambda registry, tenant: registry.licenses.trial(tenant, "tier-slack", days=3),
    "end licence": lambda registry, tenant: registry.licenses.end(tenant, license_key="slack"),
    "purge": lambda registry, tenant: registry.purge(tenant),
    "configure": lambda registry, tenant: service(registry.session).configure(
        tenant, "slack", {**DOCUMENT, "bot_token": "xoxb-2"}
    ),
    "forget": lambda registry, tenant: service(registry.session).configure(
        tenant, "slack", {"channel": "#b"}, forget=["bot_token"]
    ),
    "replace": lambda registry, tenant: service(registry.session).configure(tenant, "slack", DOCUMENT, replace=True),
    "disable": lambda registry, tenant: service(registry.session).disable(tenant, "slack"),
    "enable": lambda registry, tenant: service(registry.session).enable(tenant, "slack"),
    "remove": lambda registry, tenant: service(registry.session).remove(tenant, "slack"),
    "reveal": lambda registry, tenant: service(registry.session).reveal(tenant, "slack"),
}


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=6), st.sampled_from(TENANTS))
def test_whatever_a_tenant_does_another_sees_no_change(migrated_engine: Engine, actions: list[str], actor: str) -> None:
    with migrated_engine.connect() as connection:
        if not connection.exec_driver_sql("SELECT count(*) FROM integration_registry").scalar():
            fill(migrated_engine)
    other = next(tenant for tenant in TENANTS if tenant != actor)
    before = observed(migrated_engine, other)
    for action in actions:
        with Session(migrated_engine) as session:
            try:
                ACTIONS[action](writer(session), actor)
            except TierwrightError:  # such as enabling what was removed: also that must be nothing to others
                session.rollback()
            session.commit()
    assert observed(migrated_engine, other) == before


# --- past it, as the role of the application -------------------------------------------------------------------------

TABLES = ("tenant_license", "tenant_feature_override", "tenant_integration_configs", "feature_audit_log")


def in_context(connection: Connection, tenant: str) -> None:
    connection.execute(sa.select(sa.func.set_config("tierwright.tenant_id", tenant, True)))


def everything(place: Isolated) -> dict[str, Any]:
    """Return all rows, as the superuser sees them."""
    with place.root.connect() as connection:
        return {table: connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2").all() for table in TABLES}


def test_raw_sql_without_the_right_context_finds_nothing(place: Isolated) -> None:
    for context in (None, "", "nobody", "acme' OR '1'='1", "ACME", "acme "):
        with place.engine(place.app).connect() as connection:
            if context is not None:
                in_context(connection, context)
            for table in TABLES:
                assert connection.exec_driver_sql(f"SELECT * FROM {table}").all() == [], context


REFUSED = [
    "UPDATE tenant_integration_configs SET tenant_id = 'globex'",
    "INSERT INTO tenant_integration_configs (integration_key, tenant_id) VALUES ('slack', 'globex')",
    "INSERT INTO tenant_integration_configs (integration_key, tenant_id) VALUES ('slack', 'globex') "
    "ON CONFLICT (integration_key, tenant_id) DO UPDATE SET is_enabled = false",
    "INSERT INTO tenant_license (tenant_id, license_tier_id) SELECT 'acme', id FROM license_tier LIMIT 1",
    "UPDATE tenant_feature_override SET feature_value = '{\"enabled\": true}'",
    "DELETE FROM tenant_license",
    "UPDATE feature_audit_log SET reason = 'x'",
    "DELETE FROM feature_audit_log",
    "UPDATE feature_registry SET is_active = false",
    "UPDATE tierwright_state SET version = 0",
    "ALTER TABLE tenant_integration_configs DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tierwright_tenant ON tenant_integration_configs",
    "TRUNCATE tenant_integration_configs",
    "COPY tenant_integration_configs TO PROGRAM 'cat'",
]


def test_raw_sql_in_a_tenant_s_context_reaches_that_tenant_only(place: Isolated) -> None:
    before = everything(place)
    engine = place.engine(place.app, pool_size=1, max_overflow=0)
    for statement in REFUSED:
        with engine.connect() as connection:
            in_context(connection, "acme")
            with pytest.raises(DBAPIError):
                connection.exec_driver_sql(statement)
    assert everything(place) == before
    with engine.begin() as connection:
        in_context(connection, "acme")
        for table in TABLES:
            found = connection.exec_driver_sql(f"SELECT tenant_id FROM {table}").scalars().all()
            assert set(found) == {"acme"}, table
        changed = "UPDATE tenant_integration_configs SET is_enabled = false RETURNING tenant_id"
        assert connection.exec_driver_sql(changed).scalars().all() == ["acme"]
        taken = "DELETE FROM tenant_integration_configs WHERE tenant_id = 'globex' RETURNING tenant_id"
        assert connection.exec_driver_sql(taken).all() == []
    with engine.begin() as connection:  # the same connection of the pool
        assert connection.exec_driver_sql("SELECT count(*) FROM tenant_integration_configs").scalar() == 0
    after = everything(place)
    kept = [row for row in before["tenant_integration_configs"] if "globex" in row]
    assert [row for row in after["tenant_integration_configs"] if "globex" in row] == kept
    engine.dispose()


def test_the_api_finds_its_tenant_through_a_pool_that_is_shared(place: Isolated) -> None:
    engine = place.engine(place.app, pool_size=1, max_overflow=0)
    expected = {tenant: observed(place.root, tenant) for tenant in TENANTS}
    for tenant in (*TENANTS, *TENANTS):
        assert observed(engine, tenant) == expected[tenant]
    with Session(engine) as session, tenant_context(session, "acme"):
        assert Entitlements(session).check("globex", "ui.theme")
        assert service(session).get("globex", "slack").tenant_id == "globex"
        service(session).configure("globex", "slack", {"channel": "#new"})
        rows = session.connection().exec_driver_sql("SELECT tenant_id FROM tenant_integration_configs").scalars().all()
        assert rows == ["acme"], "the host's own context is back"
        session.commit()
        rows = session.connection().exec_driver_sql("SELECT tenant_id FROM tenant_integration_configs").scalars().all()
        assert rows == ["acme"], "in the next transaction too"
    with Session(engine) as session:
        found = session.connection().exec_driver_sql("SELECT tenant_id FROM tenant_integration_configs").all()
        assert found == []
        assert service(session).get("globex", "slack").config == {"channel": "#new"}
    engine.dispose()


def test_a_temporary_table_that_was_left_on_a_connection_tells_the_next_tenant_nothing(place: Isolated) -> None:
    pool = place.engine(place.app, pool_size=1, max_overflow=0)  # every session has the same connection
    with pool.begin() as connection:
        in_context(connection, "acme")
        connection.exec_driver_sql("CREATE TEMP TABLE tenant_license AS SELECT * FROM tenant_license")
        connection.exec_driver_sql("UPDATE tenant_license SET tenant_id = 'globex'")
    with Session(pool) as session:
        with pytest.raises(EntitlementsUnavailable):
            Entitlements(session).evaluate_all("globex")
        session.rollback()
        with pytest.raises(IsolationRefused):
            service(session).list("globex")
        session.rollback()
        session.connection().exec_driver_sql("DROP TABLE pg_temp.tenant_license")
        assert Entitlements(session).evaluate_all("globex")
        assert service(session).list("globex") is not None
    pool.dispose()


def test_a_store_never_takes_hidden_rows_for_no_licence(place: Isolated) -> None:
    engine = place.engine(place.app)
    with SnapshotStore(engine, poll_interval=0.05, background=False) as store:
        asked = Entitlements(store=store)
        wrong: list[str] = []

        def ask(tenant: str) -> None:
            for _ in range(30):
                decision = asked.evaluate(tenant, FEATURE)
                if not decision.enabled:
                    wrong.append(f"{tenant}: {decision.reason}")

        threads = [threading.Thread(target=ask, args=(tenant,)) for tenant in TENANTS * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert asked.evaluate("initech", FEATURE).reason is Reason.NOT_GRANTED
    engine.dispose()


def test_switched_on_under_a_running_store_and_off_again(postgresql_engine: Engine) -> None:
    with isolated(postgresql_engine) as place:
        fill(place.engine(place.owner))
        from tierwright.isolation import disable, grants

        place.execute(grants([place.app], admin=None, schema=place.schema))
        engine = place.engine(place.app)
        with SnapshotStore(engine, poll_interval=1000, background=False) as store:
            asked = Entitlements(store=store)
            assert asked.check("acme", FEATURE)
            place.enable()
            for tenant in TENANTS:
                store.forget()
                assert asked.check(tenant, FEATURE)
            disable(place.url(place.owner), schema=place.schema)
            store.forget()
            assert asked.check("acme", FEATURE)
        engine.dispose()


def test_without_transactions_nobody_can_tell(place: Isolated) -> None:
    engine = place.engine(place.app, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with Session(engine) as session:
        assert Entitlements(session).evaluate("acme", FEATURE).reason is Reason.UNAVAILABLE
        with pytest.raises(EntitlementsUnavailable):
            Entitlements(session).evaluate_all("acme")
    engine.dispose()


def test_what_is_about_all_tenants_needs_the_admin_role(place: Isolated) -> None:
    app, owner = place.engine(place.app), place.engine(place.owner)
    with app.connect() as connection:
        for work in (count_keys, lambda found: list(on_tier(found, "tier-slack", utc_now()))):
            with pytest.raises(PrivilegeMissing):
                work(connection)
    with pytest.raises(PrivilegeMissing):
        rotate(app, KEYS)
    with owner.connect() as connection:
        assert count_keys(connection).total == 2
    assert rotate(owner, KEYS).current == 2
    app.dispose()
    owner.dispose()


# --- the commands, and the doctor ------------------------------------------------------------------------------------


def codes(place: Isolated, role: str | None = None) -> set[str]:
    report = examine(place.url(role or place.owner), schema=place.schema)
    return {finding.code for finding in report.findings if finding.severity == "error"}


def test_the_doctor_finds_what_would_let_tenants_meet(place: Isolated) -> None:
    assert codes(place) == set()
    assert run("db", "isolation", "status", "--schema", place.schema, url=place.url(place.owner)).output.count("on") > 3
    broken = {
        "row-security-not-forced": "ALTER TABLE tenant_license NO FORCE ROW LEVEL SECURITY",
        "row-security-off": "ALTER TABLE feature_audit_log DISABLE ROW LEVEL SECURITY",
        "policy-missing": "DROP POLICY tierwright_tenant ON tenant_feature_override",
        "policy-differs": "ALTER POLICY tierwright_tenant ON tenant_license USING (true)",
        "policy-added": "CREATE POLICY mine ON tenant_integration_configs USING (true)",
        "role-not-isolated": f'ALTER ROLE "{place.app}" BYPASSRLS',
    }
    for statement in broken.values():
        place.execute(statement)
    assert codes(place) == set(broken)
    found = run_json("db", "isolation", "status", "--schema", place.schema, url=place.url(place.owner), exit_code=1)
    assert {each["code"] for each in found["findings"]} == set(broken)


@pytest.mark.parametrize("made", ["SUPERUSER", "owner", "admin"])
def test_the_doctor_finds_roles_for_which_no_policy_holds(place: Isolated, made: str) -> None:
    belongs = {"owner": place.owner, "admin": place.admin}
    place.execute(
        f'GRANT "{belongs[made]}" TO "{place.app}"' if made in belongs else f'ALTER ROLE "{place.app}" {made}'
    )
    assert codes(place) == {"role-not-isolated"}
    with pytest.raises(IsolationRefused):
        place.enable()
    place.execute(
        f'REVOKE "{belongs[made]}" FROM "{place.app}"' if made in belongs else f'ALTER ROLE "{place.app}" NOSUPERUSER'
    )


def test_rows_that_this_role_cannot_see_are_told(place: Isolated) -> None:
    place.execute(isolation_read(place))
    assert "rows-hidden" in codes(place, place.app)


def isolation_read(place: Isolated) -> str:
    return f'GRANT SELECT ON ALL TABLES IN SCHEMA {place.schema} TO "{place.app}"'


def test_switching_is_repeatable_refused_where_unsafe_and_leaves_nothing(postgresql_engine: Engine) -> None:
    with isolated(postgresql_engine) as place:
        fill(place.engine(place.owner))
        url, rows = place.url(place.owner), everything(place)
        dump = policies(place)
        of = ("db", "isolation", "enable", "--admin", place.admin, "--schema", place.schema)
        for app in ("no such role", place.owner, "postgres"):
            run(*of, "--app", app, url=url, exit_code=2)
        printed = run(*of, "--app", place.app, "--print", url=url).output
        assert "FORCE ROW LEVEL SECURITY" in printed
        assert policies(place) == dump
        for _ in range(2):
            run(*of, "--app", place.app, url=url)
        assert everything(place) == rows
        assert len(policies(place)) == 8
        run("db", "isolation", "disable", "--schema", place.schema, url=url)
        run("db", "isolation", "disable", "--schema", place.schema, url=url)
        assert policies(place) == dump
        place.execute("CREATE POLICY mine ON tenant_license USING (true)")
        run(*of, "--app", place.app, url=url, exit_code=2)
        place.execute("DROP POLICY mine ON tenant_license")
        place.execute("ALTER TABLE tenant_license ENABLE ROW LEVEL SECURITY")
        run(*of, "--app", place.app, url=url, exit_code=2)


def policies(place: Isolated) -> list[Any]:
    with place.root.connect() as connection:
        return list(connection.exec_driver_sql("SELECT tablename, policyname FROM pg_policies ORDER BY 1, 2").all())


def test_migrations_go_up_and_down_as_an_ordinary_owner_and_lose_nothing(place: Isolated) -> None:
    from tierwright import migrations

    url, before = place.url(place.owner), everything(place)
    migrations.downgrade(url, "d8e9f0a1b2c3", schema=place.schema)
    migrations.upgrade(url, schema=place.schema)
    assert everything(place) == before
    assert codes(place) == set()
    place.execute(f'REVOKE "{place.admin}" FROM "{place.owner}" CASCADE')
    if migrations.current(url, schema=place.schema):
        with pytest.raises(PrivilegeMissing):
            migrations.downgrade(url, "d8e9f0a1b2c3", schema=place.schema)
    assert everything(place) == before


def test_sqlite_has_no_roles(tmp_path: Any) -> None:
    from tierwright.migrations import upgrade

    url = f"sqlite:///{tmp_path / 'app.sqlite3'}"
    upgrade(url)
    for command in (["enable", "--app", "app"], ["disable"], ["status"]):
        assert "dialect-unsupported" in run("db", "isolation", *command, url=url, exit_code=2).output
    assert "GRANT USAGE" in run("db", "grants", "--app", "app").output
