"""What is done wrong first is refused where it is done, and the error says what to do."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tierwright import (
    AsyncEntitlements,
    Entitlements,
    Registry,
    SnapshotStore,
    catalog,
    run_in_transaction,
    run_in_transaction_async,
)
from tierwright.audit import AsyncAuditLog, AuditLog, tenant_history
from tierwright.errors import (
    ConfigurationError,
    DocumentInvalid,
    FeatureDenied,
    InvalidInput,
    SchemaDrift,
    SessionMissing,
    TierwrightError,
)
from tierwright.integrations import AsyncTenantIntegrations, TenantIntegrations
from tierwright.migrations import upgrade
from tierwright.services.registry.integrity import typed_writes
from tierwright.testing import MemoryStore
from tierwright.types import utc_now

OLD = "c4d5e6f7a8b9"


def refused(error: type[TierwrightError], call: Any) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


# --- a database that was not migrated --------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [None, OLD])
def test_a_database_that_was_not_migrated_is_named_as_such(engine: Engine, revision: str | None) -> None:
    if revision:
        upgrade(engine, revision)
    for ask in (
        lambda session: Entitlements(session).check("acme", "limits.seats"),
        lambda session: Entitlements(session).evaluate_all("acme"),
        lambda session: Registry(session, actor="me").tiers.create({"tier_key": "pro", "name": "Pro"}),
    ):
        with Session(engine) as session:
            assert "tierwright db upgrade" in refused(SchemaDrift, lambda: ask(session))  # noqa: B023  called at once


def test_a_store_says_in_its_log_that_the_database_was_not_migrated(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tierwright.store"), SnapshotStore(engine, background=False) as store:
        found = Entitlements(store=store).explain("acme", "limits.seats")
    assert "tierwright db upgrade" in caplog.text
    assert "migrated" in found.remedy


def test_a_table_of_the_host_that_is_missing_is_the_hosts_business(migrated_engine: Engine) -> None:
    with migrated_engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="theirs"), typed_writes():
        connection.execute(sa.text("SELECT * FROM theirs"))


# --- what is passed --------------------------------------------------------------------------------------------------


def test_what_is_no_session_is_refused_where_it_is_passed() -> None:
    engine = sa.create_engine("sqlite://")
    for make in (Entitlements, lambda given: Registry(given, actor="me"), TenantIntegrations):
        assert refused(SessionMissing, lambda: make(engine)).startswith("An Engine is no Session.")  # noqa: B023
        assert "A sessionmaker is" in refused(SessionMissing, lambda: make(sessionmaker(engine)))  # noqa: B023
    assert "Call it first" in refused(SessionMissing, lambda: Entitlements(scoped_session(sessionmaker(engine))))  # type: ignore[arg-type]  # the mistake
    for wrong in (AsyncEntitlements, AsyncTenantIntegrations, AsyncAuditLog):
        assert "Session is no AsyncSession. Use " in refused(SessionMissing, lambda: wrong(Session(engine)))  # noqa: B023
        assert "Pass an AsyncSession" in refused(SessionMissing, lambda: wrong(engine))  # noqa: B023


def test_a_session_of_a_scope_may_write() -> None:
    scoped: Any = scoped_session(sessionmaker(sa.create_engine("sqlite://"), class_=Session))
    assert Registry(scoped, actor="me").session is scoped


def test_an_asynchronous_session_is_told_where_to_go() -> None:
    session: Any = AsyncSession(create_async_engine("sqlite+aiosqlite://"))
    assert "AsyncEntitlements" in refused(SessionMissing, lambda: Entitlements(session))
    assert "run_in_transaction_async" in refused(SessionMissing, lambda: Registry(session))
    assert "AsyncTenantIntegrations" in refused(SessionMissing, lambda: TenantIntegrations(session))
    assert "AsyncAuditLog" in refused(SessionMissing, lambda: AuditLog(session))
    assert "run_sync(tenant_history" in refused(SessionMissing, lambda: tenant_history(session, "acme", utc_now()))


def test_what_is_no_store_is_refused_where_it_is_passed() -> None:
    engine: Any = sa.create_engine("sqlite://")
    for make in (Entitlements, AsyncEntitlements):
        assert "SnapshotStore(engine)" in refused(ConfigurationError, lambda: make(store=engine))  # noqa: B023


def test_a_store_takes_a_url(migrated_url: str) -> None:
    with SnapshotStore(migrated_url) as store:
        assert not Entitlements(store=store).check("acme", "limits.seats")
        assert store.refresh("acme")


# --- a coroutine in the place of a function --------------------------------------------------------------------------


async def coroutine(session: Session) -> None:
    raise AssertionError("it is never begun")


def test_work_that_is_a_coroutine_is_refused_and_not_taken_for_done(migrated_engine: Engine) -> None:
    assert "`def`" in refused(
        ConfigurationError, lambda: run_in_transaction(sessionmaker(migrated_engine, class_=Session), coroutine)
    )


def test_asynchronous_work_is_a_plain_function_too() -> None:
    async def run() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        await run_in_transaction_async(async_sessionmaker(engine, class_=AsyncSession), coroutine)

    assert "`def`" in refused(ConfigurationError, lambda: asyncio.run(run()))


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_value_in_the_place_of_a_value_document_is_answered_with_how_to_write_it(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        overrides, features = Registry(session, actor="me").overrides, Registry(session, actor="me").features
        assert '{"enabled": true' in refused(InvalidInput, lambda: overrides.set("acme", "limits.seats", 5))
        assert "str, int or UUID" in refused(
            InvalidInput, lambda: overrides.set(True, "limits.seats", {"enabled": True})
        )
        grant = Registry(session, actor="me").tiers.grant
        assert "like agents.canvas" in refused(InvalidInput, lambda: grant("pro", {"Seats": {"enabled": True}}))
        missing = refused(InvalidInput, lambda: features.create({"key": "agents.canvas"}))
        assert missing.startswith("The feature key is missing.")
        assert "feature_key" in missing


def test_a_word_that_a_test_document_does_not_know_is_named() -> None:
    wrong = {"tenants": {"acme": {"licences": ["pro"]}}}
    assert "unknown keys: licences" in refused(InvalidInput, lambda: MemoryStore(wrong))
    assert "it is a list" in refused(InvalidInput, lambda: MemoryStore([]))  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"tenants": {"acme": {"licenses": ["por"]}}}, "por"),
        ({"tenants": {"acme": {"overrides": {"agents.canvs": True}}}}, "agents.canvs"),
        ({"tiers": {"pro": {"base": "fre"}}}, "fre"),
        ({"tiers": {"pro": {"features": {"agents.canvs": True}}}}, "agents.canvs"),
    ],
)
def test_a_store_in_memory_refuses_a_key_that_its_document_does_not_describe(document: Any, key: str) -> None:
    assert repr(key) in refused(InvalidInput, lambda: MemoryStore({"features": {"agents.canvas": False}, **document}))


def test_a_catalogue_that_is_not_there_is_said_not_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        catalog.load(tmp_path / "catalog")
    assert "No such file" in str(caught.value.details)


def test_a_feature_without_a_type_is_one_problem() -> None:
    with pytest.raises(DocumentInvalid) as caught:
        catalog.parse("features: {agents.canvas: {default_value: false}}")
    assert [each["problem"] for each in caught.value.details["problems"]] == ["this field is required"]


# --- a key that does not exist ---------------------------------------------------------------------------------------


def test_nobody_is_sent_to_a_tier_for_a_feature_that_does_not_exist() -> None:
    entitlements = Entitlements(store=MemoryStore({"features": {"agents.canvas": False}}))
    assert "Check the key" in refused(FeatureDenied, lambda: entitlements.require("acme", "agents.canvs"))
    assert "Offer the tier" in refused(FeatureDenied, lambda: entitlements.require("acme", "agents.canvas"))
