"""For which tenant a transaction works where row-level security is on: set, put back, and never left behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlmodel import Session

from tests.conftest import POSTGRES, SERVERS
from tests.support.apart import TABLES, Apart, apart, setting, stock
from tests.support.cli import run_json, url_of
from tests.support.pooler import Pooler
from tests.support.registry import ON, writer
from tierwright import AsyncEntitlements, Entitlements, Reason, SnapshotStore
from tierwright.catalog import export, plan
from tierwright.errors import (
    EntitlementsUnavailable,
    HistoryRequired,
    InvalidInput,
    NotFound,
    PrivilegeMissing,
    SessionMissing,
    TransactionMissing,
)
from tierwright.isolation import tenant_context
from tierwright.services import support
from tierwright.services.audit import Journal
from tierwright.services.registry.locking import tenant_write
from tierwright.services.tenant_scope import require_all_tenants, tenant_scope
from tierwright.services.tenant_search import FeatureSearch, ending, on_tier
from tierwright.tables import TenantIntegrationConfig, TenantLicense
from tierwright.testing.ground import async_engine_for
from tierwright.types import utc_now


@pytest.fixture(scope="module", params=SERVERS)
def place(request: pytest.FixtureRequest, servers: Any, migrated_templates: Any) -> Iterator[Apart]:
    version, schema = POSTGRES[request.param]
    with apart(servers(version), migrated_templates(request.param), schema) as made:
        yield made


@pytest.fixture
def tenants(place: Apart) -> tuple[str, str]:
    """Return two tenants that both are on the tier pro, which grants f.a and f.chat."""
    made = (f"one-{uuid.uuid4()}", f"other-{uuid.uuid4()}")
    with Session(place.root) as session:
        for tenant in made:
            writer(session).licenses.assign(tenant, "pro")
        session.commit()
    return made


def seen_by(connection: Connection) -> set[str]:
    """Return the tenants whose licences a transaction sees."""
    return set(connection.execute(sa.select(TABLES[0].c.tenant_id)).scalars())


def test_the_command_lists_what_a_tenant_may_use_as_the_application(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    with Session(place.root) as session:
        chat = {"integration_key": "chat", "tenant_id": one, "config": {}, "is_enabled": True}
        session.add(TenantIntegrationConfig(**chat, created_at=utc_now(), updated_at=utc_now()))
        session.commit()
    found = [
        run_json("tenant", "integrations", tenant, url=url_of(place.app))["integrations"][0]
        for tenant in (one, other, "nobody")
    ]
    assert [each["availability"] for each in found] == ["available", "needs_configuration", "locked"]
    assert found[2]["reasons"] == {"f.chat": "NOT_GRANTED"}


# --- the scope of our own calls --------------------------------------------------------------------------------------


def test_scopes_nest_and_what_was_there_comes_back(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    with place.app.connect() as connection:
        assert seen_by(connection) == set()
        with tenant_scope(connection, one):
            assert seen_by(connection) == {one}
            with tenant_scope(connection, other), tenant_scope(connection, other):
                assert seen_by(connection) == {other}
            with pytest.raises(ZeroDivisionError), tenant_scope(connection, other):
                1 / 0  # noqa: B018
            assert seen_by(connection) == {one}
            with connection.begin_nested() as savepoint:
                with tenant_scope(connection, other):
                    assert seen_by(connection) == {other}
                savepoint.rollback()
            assert seen_by(connection) == {one}
        assert seen_by(connection) == set()


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_nothing_stays_on_a_connection_that_is_used_again(place: Apart, tenants: tuple[str, str], end: str) -> None:
    with place.app.connect() as connection:
        process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with tenant_scope(connection, tenants[0]):
            assert seen_by(connection) == {tenants[0]}
            getattr(connection, end)()
    with place.app.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() == process
        assert not setting(connection)
        assert seen_by(connection) == set()


def test_a_transaction_that_failed_tells_its_own_error(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    with place.app.connect() as connection:
        with pytest.raises(DBAPIError, match="no_such_table"), tenant_scope(connection, one):
            connection.exec_driver_sql("SELECT * FROM no_such_table")
        connection.rollback()
        assert not setting(connection)
        with tenant_scope(connection, one):
            savepoint = connection.begin_nested()
            with pytest.raises(DBAPIError, match="no_such_table"), tenant_scope(connection, other):
                connection.exec_driver_sql("SELECT * FROM no_such_table")
            savepoint.rollback()
            assert seen_by(connection) == {one}
    with Session(place.app) as session, tenant_context(session, one):
        session.connection()
        with pytest.raises(DBAPIError, match="no_such_table"), tenant_context(session, other):
            session.execute(sa.text("SELECT * FROM no_such_table"))
        session.rollback()
        assert seen_by(session.connection()) == {one}


def test_a_connection_that_was_lost_tells_its_own_error(place: Apart, tenants: tuple[str, str]) -> None:
    engine = place.engine()
    with engine.connect() as connection:
        process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with pytest.raises(DBAPIError, match="terminat"), tenant_scope(connection, tenants[0]):  # noqa: PT012
            with place.root.begin() as root:
                root.exec_driver_sql(f"SELECT pg_terminate_backend({process})")
            seen_by(connection)
    engine.dispose()


# --- our calls -------------------------------------------------------------------------------------------------------


def test_the_calls_about_a_tenant_answer_whatever_the_session_works_for(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    with Session(place.app) as session:
        asked = Entitlements(session)
        for _ in range(2):
            for tenant in tenants:
                assert asked.check(tenant, "f.a")
                assert asked.evaluate(tenant, "f.b").reason is Reason.NOT_GRANTED
        assert asked.evaluate(one, "f.a", at=utc_now()).enabled
        with pytest.raises(HistoryRequired):
            asked.evaluate(one, "f.a", at=datetime(2001, 1, 1, tzinfo=UTC))
        assert not setting(session.connection())
    with Session(place.app) as session, tenant_context(session, one):
        asked, registry, connection = Entitlements(session), writer(session), session.connection()
        assert asked.check(other, "f.a")
        registry.overrides.set(other, "f.b", ON)
        assert asked.check(other, "f.b")
        assert [each.key for each in asked.integrations(other)] == ["chat"]
        assert [each.tier_key for each in support.licenses_of(connection, other)] == ["pro"]
        assert [each.feature_key for each in support.overrides_of(connection, other)] == ["f.b"]
        assert support.rows_of(connection, other)["tenant_license"] == 1
        with pytest.raises(NotFound):
            registry.overrides.remove(one, "f.b")
        assert seen_by(connection) == {one}
        session.commit()
        assert registry.purge(other).deleted["tenant_feature_override"] == 1
        assert seen_by(session.connection()) == {one}
        assert asked.evaluate(other, "f.a").reason is Reason.NOT_GRANTED


def test_what_the_host_has_pending_is_written_for_whom_it_works(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    with Session(place.app) as session, tenant_context(session, one):
        row = session.get(TenantLicense, (one, "main"))
        assert row is not None
        row.is_active = False
        writer(session).overrides.set(other, "f.b", ON)
        session.commit()
        assert not Entitlements(session).check(one, "f.a")
        assert Entitlements(session).check(other, "f.b")


def test_nobody_switches_it_while_a_tenant_is_written(place: Apart, tenants: tuple[str, str]) -> None:
    locks = "SELECT mode FROM pg_locks WHERE relation = 'tenant_license'::regclass AND pid = pg_backend_pid()"
    with Session(place.app) as session:
        journal = Journal.open(session, "tester", None)
        for _ in range(7):  # as often as psycopg needs to prepare it, and PostgreSQL to keep its plan
            with tenant_write(journal, tenants[0]):
                found = session.connection().exec_driver_sql(locks).scalars().all()
            assert found == ["AccessShareLock"]
            session.rollback()


def test_without_transactions_nobody_can_tell_and_nothing_is_changed(place: Apart, tenants: tuple[str, str]) -> None:
    engine = place.engine(isolation_level="AUTOCOMMIT")
    with Session(engine) as session:
        asked, connection = Entitlements(session), session.connection()
        assert asked.evaluate(tenants[0], "f.a").reason is Reason.UNAVAILABLE
        for question in (asked.evaluate_all, asked.integrations, asked.models):
            with pytest.raises(EntitlementsUnavailable):
                question(tenants[0])
        with pytest.raises(TransactionMissing):
            support.licenses_of(connection, tenants[0])
        with pytest.raises(TransactionMissing):
            writer(session).overrides.set(tenants[0], "f.b", ON)
        with pytest.raises(TransactionMissing), tenant_context(session, tenants[0]):
            session.connection()
        # A context that the host itself has given the whole session is as good as any.
        connection.execute(sa.select(sa.func.set_config("tierwright.tenant_id", tenants[0], False)))
        assert asked.check(tenants[0], "f.a")
        assert asked.evaluate(tenants[1], "f.a").reason is Reason.UNAVAILABLE
    engine.dispose()


def test_a_context_that_a_host_left_on_a_connection_misleads_nobody(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    engine = place.engine(pool_size=1)
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.set_config("tierwright.tenant_id", one, False)))
    with Session(engine) as session:
        asked = Entitlements(session)
        assert asked.check(other, "f.a")
        assert [each.tenant_id for each in support.licenses_of(session.connection(), other)] == [other]
        assert setting(session.connection()) == one
    engine.dispose()


def test_tables_that_only_the_engine_knows_to_find_are_the_same(place: Apart, tenants: tuple[str, str]) -> None:
    with place.app.connect() as connection:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
    elsewhere, where = {"options": "-csearch_path=public"}, {"schema_translate_map": {None: schema}}
    engine = place.engine(connect_args=elsewhere, execution_options=where)
    with Session(engine) as session, SnapshotStore(engine, background=False) as store:
        writer(session).overrides.set(tenants[0], "f.b", ON)
        session.commit()
        for asked in (Entitlements(session), Entitlements(store=store)):
            assert [asked.check(tenant, "f.b") for tenant in tenants] == [True, False]
            assert [asked.check(tenant, "f.a") for tenant in tenants] == [True, True]
        assert Entitlements(session).integrations(tenants[1])[0].key == "chat"
        with pytest.raises(PrivilegeMissing):
            require_all_tenants(session.connection())
    engine.dispose()


def everyones(connection: Connection) -> list[Callable[[], Any]]:
    now = utc_now()
    document = export(connection)
    return [
        lambda: require_all_tenants(connection),
        lambda: list(on_tier(connection, "pro", now)),
        lambda: list(FeatureSearch(connection, "f.a", now).tenants()),
        lambda: list(ending(connection, now, now)),
        lambda: support.licenses_count(connection, "pro", now),
        lambda: support.overrides_count(connection, "f.a"),
        lambda: plan(connection, document),
    ]


def test_questions_about_all_tenants_are_refused_where_some_are_hidden(place: Apart, tenants: tuple[str, str]) -> None:
    with place.app.connect() as connection:
        for question in everyones(connection):
            with pytest.raises(PrivilegeMissing, match="hides tenants"):
                question()
        with tenant_scope(connection, tenants[0]), pytest.raises(PrivilegeMissing):
            require_all_tenants(connection)
        with Session(connection) as session, pytest.raises(PrivilegeMissing):
            writer(session).features.change("f.a", feature_type="integer", default_value={"enabled": False, "value": 0})
    with place.root.connect() as connection:
        for role in (str(connection.exec_driver_sql("SELECT current_user").scalar()), place.admin_role):
            connection.exec_driver_sql(f'SET LOCAL ROLE "{role}"')
            assert tenants[0] in {tenant for tenant, _ in on_tier(connection, "pro", utc_now())}


# --- the context of a host's own statements --------------------------------------------------------------------------


def test_a_context_holds_in_every_transaction_inside_and_in_none_after(place: Apart, tenants: tuple[str, str]) -> None:
    one, other = tenants
    with Session(place.app) as session:
        assert seen_by(session.connection()) == set()
        with tenant_context(session, one):
            assert seen_by(session.connection()) == {one}
            session.commit()
            assert seen_by(session.connection()) == {one}
            with tenant_context(session, other):
                assert seen_by(session.connection()) == {other}
                session.rollback()
                assert seen_by(session.connection()) == {other}
            assert seen_by(session.connection()) == {one}
            with pytest.raises(ZeroDivisionError), tenant_context(session, other):
                1 / 0  # noqa: B018
            assert seen_by(session.connection()) == {one}
        assert seen_by(session.connection()) == set()
        session.commit()
        assert seen_by(session.connection()) == set()
    # A session that is part of a larger transaction gives that back as it found it.
    with place.app.connect() as connection, connection.begin():
        with Session(connection, join_transaction_mode="create_savepoint") as session, tenant_context(session, one):
            assert seen_by(session.connection()) == {one}
            session.commit()
        assert seen_by(connection) == set()


def test_what_is_no_session_or_no_tenant_is_refused(place: Apart) -> None:
    with pytest.raises(SessionMissing):
        tenant_context(scoped_session(sessionmaker(place.app)), "acme")  # type: ignore[arg-type]
    with Session(place.app) as session, pytest.raises(InvalidInput):
        tenant_context(session, " ")


def test_asynchronous_sessions_have_the_same(place: Apart, tenants: tuple[str, str]) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    one, other = tenants

    async def visible(session: AsyncSession) -> set[str]:
        return await session.run_sync(lambda sync: seen_by(sync.connection()))

    async def host() -> None:
        engine = async_engine_for(place.app)
        async with AsyncSession(engine) as session:
            assert await visible(session) == set()
            async with tenant_context(session, one):
                assert await visible(session) == {one}
                await session.commit()
                assert await visible(session) == {one}
                assert await AsyncEntitlements(session).check(other, "f.a")
                await session.run_sync(lambda sync: writer(sync).overrides.set(other, "f.b", ON))
                assert await visible(session) == {one}
            assert await visible(session) == set()
            with pytest.raises(TypeError), tenant_context(session, one):
                pass
        with Session(place.app) as session, pytest.raises(TypeError):
            async with tenant_context(session, one):
                pass
        await engine.dispose()

    asyncio.run(host())


def test_a_proxy_that_pools_transactions_mixes_nobody_up(place: Apart, tenants: tuple[str, str]) -> None:
    with Pooler(place.app.url.port or 5432, size=1) as pooler:
        url = place.app.url.set(port=pooler.port)
        engines = [sa.create_engine(url, connect_args={"prepare_threshold": None}) for _ in tenants]
        for _ in range(3):
            for engine, tenant in zip(engines, tenants, strict=True):
                with Session(engine) as session, tenant_context(session, tenant):
                    assert seen_by(session.connection()) == {tenant}
                with Session(engine) as session:
                    assert seen_by(session.connection()) == set()
                    session.rollback()
                    assert Entitlements(session).check(tenant, "f.a")
                    writer(session).overrides.set(tenant, "f.b", ON)
                    session.commit()
        for engine in engines:
            engine.dispose()


# --- without row-level security --------------------------------------------------------------------------------------


def test_without_it_nothing_more_is_asked(migrated_engine: Engine) -> None:
    stock(migrated_engine)
    sent: list[str] = []
    sa.event.listen(migrated_engine, "before_cursor_execute", lambda *told: sent.append(told[2]))
    with Session(migrated_engine) as session:
        asked = Entitlements(session)
        asked.check("acme", "f.a")
        assert len(sent) == 1
        asked.integrations("acme")
        assert len(sent) == 3
        writer(session).licenses.assign("acme", "pro")
        assert len(sent) == 9
        assert not [text for text in sent if "set_config" in text]
        with tenant_context(session, "globex"):
            session.commit()
            assert asked.check("acme", "f.a")
            assert not asked.check("globex", "f.a")
            assert seen_by(session.connection()) == {"acme"}
