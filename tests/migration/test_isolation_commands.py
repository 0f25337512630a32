"""Row-level security, switched on and off under the chain: as an ordinary owner, on odd tables, killed."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.conftest import POSTGRES
from tests.migration import support
from tests.support import rows
from tests.support.cli import run
from tests.support.isolation import Isolated, isolated
from tierwright import isolation, migrations
from tierwright.doctor import examine
from tierwright.errors import IsolationRefused, LockNotAcquired, MigrationFailed, PrivilegeMissing

#: A schema other than public, where it matters little which version the server has.
ONE = pytest.mark.parametrize("database_kind", [list(POSTGRES)[-1]], indirect=True)
_POLICIES = (
    "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, polname, pg_get_expr(polqual, polrelid), "
    "polroles::regrole[]::text FROM pg_class c LEFT JOIN pg_policy ON polrelid = c.oid "
    "WHERE c.relkind IN ('r', 'p') AND NOT relispartition "
    "AND relnamespace = quote_ident(current_schema())::regnamespace ORDER BY 1, 4"
)


@pytest.fixture
def place(engine: Engine) -> Iterator[Isolated]:
    """Yield a database at head with rows in every table, of an owner who is no superuser."""
    with isolated(engine) as made:
        with engine.begin() as connection:
            rows.fill(connection)
        yield made


def policies(place: Isolated) -> list[Any]:
    """Return the switches and policies of all tables."""
    with place.root.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(_POLICIES)]


def codes(place: Isolated) -> set[str]:
    """Return what the doctor finds as the owner."""
    return {each.code for each in examine(place.url(place.owner), schema=place.schema).findings}


def found_by(place: Isolated, *statements: str) -> set[str]:
    """Return what the superuser's doctor finds after statements; the owner may see too little then."""
    for statement in statements:
        place.execute(statement)
    return {each.code for each in examine(place.root, schema=place.schema, rows=False).findings}


# --- the chain -------------------------------------------------------------------------------------------------------


def test_the_chain_goes_down_and_up_and_back_to_nothing(postgresql_engine: Engine) -> None:
    """As the owner, who sees the rows by the policy alone."""
    with isolated(postgresql_engine) as place:
        with postgresql_engine.begin() as connection:
            rows.fill(connection)
        place.enable()
        url, contents, switched = place.url(place.owner), rows.contents(place.root), policies(place)
        for target in (support.OPTIMISED, support.FIRST):
            migrations.downgrade(url, target, schema=place.schema)
            assert (rows.contents(place.root), policies(place)) == (contents, switched)
        migrations.upgrade(url, schema=place.schema)
        assert (rows.contents(place.root), policies(place)) == (contents, switched)
        assert rows.contents(place.engine(place.owner)) == contents
        assert codes(place) == set()
        migrations.downgrade(url, "base", schema=place.schema)
        assert policies(place) == []
        migrations.upgrade(url, schema=place.schema)
        with place.root.connect() as connection:
            assert not isolation.read_isolation(connection).is_on


@ONE
def test_an_owner_who_does_not_see_the_rows_may_not_migrate(place: Isolated) -> None:
    """A survey would find nothing wrong in rows that it does not see."""
    place.enable()
    place.execute(f'REVOKE "{place.admin}" FROM "{place.owner}" CASCADE')
    before, url = support.dump(place.root), place.url(place.owner)
    assert "owner-sees-nothing" in found_by(place)
    for target in (support.OPTIMISED, "base"):
        with pytest.raises(PrivilegeMissing) as caught:
            migrations.downgrade(url, target, schema=place.schema)
    assert "isolation status" in caught.value.remedy
    assert set(caught.value.details["tables"]) == {row[0] for row in policies(place) if row[1]}
    place.execute(f'DROP INDEX idx_tier_features_tier_key; GRANT "{place.admin}" TO "{place.owner}" WITH INHERIT FALSE')
    with pytest.raises(PrivilegeMissing):
        migrations.repair(url, schema=place.schema)
    isolation.enable(place.root, [place.app], admin=place.admin, schema=place.schema)  # makes the owner inherit
    migrations.repair(url, schema=place.schema)
    assert support.dump(place.root) == before
    assert codes(place) == set()


# --- switching -------------------------------------------------------------------------------------------------------


@ONE
def test_names_that_need_quotes(place: Isolated, engine: Engine) -> None:
    app, admin = 'We"ird %(app)s {0}', "ad'min%s; --"
    quoted = ['"' + name.replace('"', '""') + '"' for name in (app, admin)]
    url = engine.url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {quoted[0]}"))
    before = policies(place)
    try:
        isolation.enable(engine, [app], admin=admin, schema=place.schema)
        switched = policies(place)
        isolation.disable(engine, schema=place.schema)
        of = ("--app", app, "--admin", admin, "--schema", place.schema)
        printed = run("db", "isolation", "enable", *of, "--print", url=url).stdout
        for script in (f"SET search_path = public;\n{printed}", run("db", "grants", *of).stdout):
            applied = support.psql(url, script)
            assert applied.returncode == 0, applied.stderr
        assert policies(place) == switched
        with engine.connect() as connection:
            state = isolation.read_isolation(connection)
        assert (state.roles_of("tierwright_tenant"), state.roles_of("tierwright_admin")) == ((app,), (admin,))
        assert found_by(place) == set()
        isolation.disable(engine, schema=place.schema)
        assert policies(place) == before
    finally:
        with engine.begin() as connection:
            for role in quoted:
                connection.execute(sa.text(f"DROP OWNED BY {role}"))
                connection.execute(sa.text(f"DROP ROLE {role}"))


@ONE
def test_what_somebody_took_away_is_put_back(place: Isolated) -> None:
    place.enable()
    right = policies(place)
    place.execute(
        """DROP POLICY tierwright_tenant ON tenant_license;
        DROP POLICY tierwright_admin ON tenant_license;
        ALTER POLICY tierwright_tenant ON tenant_feature_override TO PUBLIC USING (true);
        ALTER TABLE feature_audit_log DISABLE ROW LEVEL SECURITY;
        ALTER TABLE tenant_integration_configs NO FORCE ROW LEVEL SECURITY"""
    )
    assert codes(place) >= {"policy-missing", "policy-differs", "policy-public", "row-security-off"}
    place.enable()
    assert policies(place) == right
    assert codes(place) == set()


@ONE
def test_the_application_can_check_its_database_and_write_no_licence(place: Isolated) -> None:
    place.enable()
    assert migrations.check(place.url(place.app), schema=place.schema).ok
    granted = sorted({line.partition(" ON ")[0] for line in isolation.grants(["a"], admin=None).splitlines()})
    assert granted == [
        "GRANT SELECT",
        "GRANT SELECT, INSERT",
        "GRANT SELECT, INSERT, UPDATE, DELETE",
        "GRANT USAGE",
    ]


@ONE
def test_it_waits_its_turn_and_changes_nothing_if_that_never_comes(place: Isolated) -> None:
    before = policies(place)
    automatic = sa.create_engine(place.url(place.owner), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    of: dict[str, Any] = {"admin": place.admin, "schema": place.schema, "lock_timeout": 0.02}
    with place.root.connect() as busy:
        busy.exec_driver_sql("SELECT count(*) FROM feature_audit_log")
        with pytest.raises(LockNotAcquired):
            isolation.enable(automatic, [place.app], lock_wait=0.3, **of)
        assert policies(place) == before
    isolation.enable(automatic, [place.app], **of)
    assert codes(place) == set()


@ONE
def test_an_engine_that_commits_by_itself_gets_all_or_nothing(place: Isolated) -> None:
    """The last statements fail: those before them are undone, though the engine is in autocommit mode."""
    before = policies(place)
    place.execute(
        """CREATE FUNCTION public.no_force() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN IF current_query() LIKE '%%audit_log FORCE%%' THEN RAISE EXCEPTION 'no'; END IF; END $$;
        CREATE EVENT TRIGGER no_force ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
        EXECUTE FUNCTION public.no_force()"""
    )
    automatic = sa.create_engine(place.url(place.owner), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with pytest.raises(MigrationFailed):
        isolation.enable(automatic, [place.app], admin=place.admin, schema=place.schema)
    assert policies(place) == before


# --- kill -9 ---------------------------------------------------------------------------------------------------------


@ONE
def test_a_killed_switch_leaves_all_or_nothing(place: Isolated) -> None:
    off = policies(place)
    place.enable()
    on = policies(place)
    isolation.disable(place.root, schema=place.schema)
    statements = [text for text in _statements(place) if text.startswith(("LOCK", "CREATE", "ALTER", "GRANT"))]
    assert len(statements) >= 17
    seen = []
    for moment in ("LOCK", "CREATE POLICY tierwright_tenant ON tenant_feature_override", statements[-1], "COMMIT"):
        process = support.processes().Process(target=_enable_and_die, args=(_arguments(place), moment))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        seen.append(_settled(place, (off, on)))
        assert seen[-1] == off
    place.enable()
    assert policies(place) == on


def _settled(place: Isolated, either: Sequence[list[Any]]) -> list[Any]:
    """Return the policies once the dead client's server process has let go of the tables."""
    with place.root.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE tenant_license IN ACCESS SHARE MODE")
    found = policies(place)
    assert found in either
    return found


def _arguments(place: Isolated) -> tuple[str, str, str, str]:
    return place.url(place.owner), place.app, place.admin, place.schema


def _statements(place: Isolated) -> list[str]:
    with place.root.connect() as connection:
        return isolation.enable_sql(connection, [place.app], admin=place.admin)


def _enable_and_die(arguments: tuple[str, str, str, str], moment: str) -> None:
    """Enable row-level security, and die just after a statement, or just before the commit."""

    def strike(text: str) -> None:
        if text.startswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(Engine, "after_cursor_execute", lambda _c, _cursor, statement, *_: strike(statement))
    sa.event.listen(Engine, "commit", lambda _c: strike("COMMIT"))
    url, app, admin, schema = arguments
    isolation.enable(url, [app], admin=admin, schema=schema)


# --- ways round the policies -----------------------------------------------------------------------------------------


@ONE
def test_the_doctor_finds_ways_round_the_policies(place: Isolated) -> None:
    place.enable()
    app = f'"{place.app}"'
    assert found_by(place) == set()
    for privilege in ("TRUNCATE ON tenant_license", "TRIGGER ON tenant_feature_override"):
        assert found_by(place, f"GRANT {privilege} TO {app}") == {"privilege-too-wide"}
        assert found_by(place, f"REVOKE {privilege} FROM {app}") == set()
    view = "CREATE VIEW app_view WITH (security_invoker = {}) AS SELECT * FROM tenant_license"
    over = "CREATE VIEW app_over AS SELECT count(*) AS licences FROM app_view"
    assert found_by(place, view.format("on"), f"GRANT SELECT ON app_view TO {app}") == set()
    assert found_by(place, over) == set(), "nobody may read it"
    assert found_by(place, f"GRANT SELECT (licences) ON app_over TO {app}") == {"view-not-isolated"}
    assert found_by(place, "ALTER VIEW app_over SET (security_invoker = true)") == set()
    assert found_by(place, "ALTER VIEW app_view SET (security_invoker = off)") == {"view-not-isolated"}
    assert found_by(place, "DROP VIEW app_view CASCADE") == set()
    assert found_by(place, f"ALTER ROLE {app} SET tierwright.tenant_id = 'acme'") == {"tenant-by-default"}
    assert found_by(place, f"ALTER ROLE {app} SET tierwright.tenant_id = ''") == set()
    database = f'ALTER DATABASE "{place.root.url.database}"'
    assert found_by(place, f"{database} SET tierwright.tenant_id = 'acme'") == {"tenant-by-default"}
    assert found_by(place, f"{database} RESET tierwright.tenant_id") == set()


@ONE
def test_a_history_that_the_host_has_partitioned(place: Isolated) -> None:
    """Through the parent its policies hold; a partition has none, so it shows nothing to who names it."""
    url = place.url(place.owner)
    owner = place.engine(place.owner)
    migrations.downgrade(url, support.FIRST, schema=place.schema)
    with owner.begin() as connection:
        for statement in (*PARTITIONED, "INSERT INTO feature_audit_log SELECT * FROM app_old", "DROP TABLE app_old"):
            connection.exec_driver_sql(statement)
    migrations.upgrade(url, schema=place.schema)
    contents = rows.contents(place.root)
    place.enable()
    assert codes(place) == set()
    assert rows.contents(owner) == contents
    with place.engine(place.app).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM feature_audit_log").scalar() == 0
    assert found_by(place, f'GRANT SELECT ON app_rest TO "{place.app}"') == set()  # it is closed to everybody
    opened = {"partition-not-isolated", "partition-uncovered"}
    assert found_by(place, "ALTER TABLE app_rest DISABLE ROW LEVEL SECURITY") == opened


PARTITIONED = [
    "ALTER TABLE feature_audit_log RENAME TO app_old",
    "ALTER TABLE app_old RENAME CONSTRAINT pk_feature_audit_log TO app_old_key",
    "CREATE TABLE feature_audit_log (LIKE app_old INCLUDING DEFAULTS INCLUDING CONSTRAINTS, "
    "CONSTRAINT pk_feature_audit_log PRIMARY KEY (id, performed_at)) PARTITION BY RANGE (performed_at)",
    "CREATE TABLE app_rest PARTITION OF feature_audit_log DEFAULT",
    "CREATE INDEX idx_feature_audit_key_time ON feature_audit_log (feature_key, performed_at DESC)",
    "CREATE INDEX idx_feature_audit_tenant_time ON feature_audit_log (tenant_id, performed_at DESC)",
    "CREATE INDEX idx_feature_audit_entity_time ON feature_audit_log (entity_type, entity_id, performed_at DESC)",
    "CREATE INDEX idx_feature_audit_time ON feature_audit_log (performed_at DESC, id DESC)",
]


@ONE
def test_roles_that_can_become_somebody_else_are_refused(place: Isolated) -> None:
    other = f"{place.owner}_ops"
    place.execute(f'CREATE ROLE "{other}" BYPASSRLS; GRANT "{other}" TO "{place.app}" WITH INHERIT FALSE')
    try:
        with pytest.raises(IsolationRefused, match=f"{place.app} belongs to {other}"):
            place.enable()
        for names in ([], ["nobody at all"], [place.app, "nobody at all"], ["public"], "web"):
            with pytest.raises(IsolationRefused):
                isolation.enable(place.root, names, admin=place.admin, schema=place.schema)
    finally:
        place.execute(f'DROP ROLE "{other}"')
    with pytest.raises(IsolationRefused, match="not there"):
        isolation.enable(place.root, [place.app], schema="pg_catalog")
    assert {row[3] for row in policies(place)} == {None}
    assert list(itertools.chain.from_iterable(row[1:3] for row in policies(place) if row[1])) == []
