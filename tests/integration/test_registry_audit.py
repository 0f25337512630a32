"""Who wrote, and why; and what the database itself refuses."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, SQLModel, select

from tests.support.registry import ON, feature, seed, writer
from tests.support.rows import ROWS, fill
from tierwright import tables
from tierwright.errors import AlreadyExists, InvalidInput, ReferenceUnknown, RetryTransaction
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.registry import Registry
from tierwright.services.registry.integrity import typed_writes
from tierwright.services.transactions import is_retry, typed_retries
from tierwright.types import AuditAction, AuditEntity, uuid7


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


def entries(session: Session) -> list[tables.FeatureAuditLog]:
    return list(session.exec(select(tables.FeatureAuditLog).order_by(tables.FeatureAuditLog.id)))


def test_an_entry_says_who_and_why_and_from_where(session: Session) -> None:
    AuditContext("alice", "ticket 7", "2001:db8::1", "curl/8", "req-1").attach(session)
    registry = Registry(session)
    seed(registry, "a.one")
    registry.overrides.set("acme", "a.one", ON, actor="bob", reason="ticket 8")
    first, second = entries(session)
    said = ("performed_by", "reason", "ip_address", "user_agent", "request_id", "tenant_id", "feature_key")
    assert [getattr(first, name) for name in said] == [
        "alice", "ticket 7", "2001:db8::1", "curl/8", "req-1", None, "a.one",
    ]  # fmt: skip
    assert [getattr(second, name) for name in said] == [
        "bob", "ticket 8", "2001:db8::1", "curl/8", "req-1", "acme", "a.one",
    ]  # fmt: skip
    assert first.performed_at.tzinfo is not None


def test_arguments_are_enough(session: Session) -> None:
    Registry(session).features.create(feature("a.one"), actor="alice", reason="because")
    assert [(each.performed_by, each.reason) for each in entries(session)] == [("alice", "because")]


@pytest.mark.parametrize(
    "context",
    [
        AuditContext(""),
        AuditContext("a\x00"),
        AuditContext("x" * 256),
        AuditContext("alice", "\ud800"),
        AuditContext("alice", ip_address="not one"),
        AuditContext(5),  # type: ignore[arg-type]  # wrong on purpose
    ],
)
def test_a_context_that_cannot_be_stored_is_refused(session: Session, context: AuditContext) -> None:
    context.attach(session)
    with pytest.raises(InvalidInput, match="audit entry"):
        Registry(session).features.create(feature("a.one"))


def test_the_history_holds_what_two_full_documents_need(session: Session) -> None:
    """Each column may hold 64 KiB, 32 deep; an entry holds several."""
    deep: Any = "x" * 30_000
    for _ in range(31):
        deep = [deep]
    document = {"enabled": True, "value": deep[0]}
    registry = writer(session)
    big = feature("a.one", feature_type="json", default_value=document, description="d" * 60_000)
    assert registry.features.create(big).changed
    assert registry.features.change("a.one", default_value={"enabled": True, "value": 1}, description=None).changed
    assert entries(session)[1].old_value == {"default_value": document, "description": "d" * 60_000}


def test_anything_can_be_noted(session: Session) -> None:
    context = AuditContext("alice")
    write_audit(session, context, AuditEntity.CATALOG, "catalog", AuditAction.IMPORTED, new={"features": 3})
    session.flush()
    assert (entries(session)[0].entity_type, entries(session)[0].new_value) == ("catalog", {"features": 3})


def test_a_context_survives_pickling() -> None:
    context = AuditContext("alice", "why")
    assert pickle.loads(pickle.dumps(context)) == context


def _insert(session: Session, table: str, **changes: Any) -> None:
    with typed_writes():
        session.execute(SQLModel.metadata.tables[table].insert().values(**{**ROWS[table][-1], **changes}))


@pytest.mark.parametrize(
    ("table", "changes", "error", "said"),
    [
        ("feature_registry", {"id": uuid7()}, AlreadyExists, "feature"),
        ("license_tier", {"id": uuid7()}, AlreadyExists, "tier"),
        ("license_tier", {"id": uuid7(), "tier_key": "new", "is_default": True}, AlreadyExists, "default"),
        ("model_registry", {"id": uuid7()}, AlreadyExists, "model"),
        ("component_registry", {"id": uuid7()}, AlreadyExists, "component"),
        ("integration_registry", {"id": uuid7()}, AlreadyExists, "integration"),
        ("license_tier_features", {"id": uuid7()}, RetryTransaction, "came first"),
        ("tenant_license", {}, RetryTransaction, "came first"),
        ("tenant_feature_override", {}, RetryTransaction, "came first"),
        ("tenant_license", {"tenant_id": "new", "license_tier_id": uuid7()}, ReferenceUnknown, "does not exist"),
        (
            "component_registry",
            {"id": uuid7(), "component_key": "x", "feature_key": "no.no"},
            ReferenceUnknown,
            "does not exist",
        ),
        ("feature_registry", {"id": uuid7(), "feature_key": "x.x", "feature_type": "?"}, InvalidInput, "chk_feature"),
    ],
)
def test_a_constraint_has_a_meaning(
    session: Session, table: str, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    fill(session.connection())
    with pytest.raises(error, match=said):
        _insert(session, table, **changes)


def test_constraints_of_the_host_pass_unchanged(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        session.execute(sa.text("CREATE TABLE host (name VARCHAR PRIMARY KEY, CONSTRAINT chk_host CHECK (name <> ''))"))
        session.execute(sa.text("INSERT INTO host VALUES ('one')"))
        session.commit()
        for name in ("one", ""):
            with pytest.raises(IntegrityError), typed_writes():
                session.execute(sa.text("INSERT INTO host VALUES (:name)"), {"name": name})
            session.rollback()


@pytest.mark.parametrize(("state", "expected"), [("40001", True), ("40P01", True), ("55P03", True), ("42601", False)])
def test_retries_are_told_by_the_code(state: str, expected: bool) -> None:
    class Lost(Exception):
        sqlstate = state

    error = DBAPIError("SELECT 1", {}, Lost("database is locked; deadlock detected"))
    assert is_retry(error) is expected
    with pytest.raises(RetryTransaction if expected else DBAPIError), typed_retries():
        raise error
