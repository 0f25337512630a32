"""Entries belong to what was written: whatever a host does with its session, and however it finds its databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tests.support.integrations import offer
from tests.support.registry import OFF, ON, seed, writer
from tierwright.integrations import TenantIntegrations
from tierwright.migrations import upgrade
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.statements import STATE
from tierwright.tables import FeatureAuditLog, TenantFeatureOverride
from tierwright.types import AuditAction, AuditEntity

HISTORY = SQLModel.metadata.tables["feature_audit_log"]
ENDS: dict[str, Callable[[Session], Any]] = {
    "rollback": Session.rollback,
    "close": Session.close,
    "invalidate": Session.invalidate,
    "expunge": lambda session: (session.expunge_all(), session.commit()),
}
if hasattr(Session, "reset"):  # SQLAlchemy 2.0.22
    ENDS["reset"] = Session.reset


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    with Session(migrated_engine) as session:
        seed(writer(session), "a.one")
        session.commit()
    return migrated_engine


def overrides(engine: Engine) -> list[tuple[str, str]]:
    """Return what the history says of overrides."""
    statement = sa.select(HISTORY.c.entity_id, HISTORY.c.action).order_by(HISTORY.c.performed_at, HISTORY.c.id)
    with engine.connect() as connection:
        found = connection.execute(statement.where(HISTORY.c.entity_type == AuditEntity.TENANT_OVERRIDE))
        return [(row.entity_id, row.action) for row in found]


def fail_once(session: Session) -> None:
    """Have the next flush refused that has something to write."""

    def refuse(flushed: Session, *_: Any) -> None:
        if flushed.new:
            sa.event.remove(session, "before_flush", refuse)
            raise ZeroDivisionError

    sa.event.listen(session, "before_flush", refuse)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_came_to_nothing_is_not_told_with_the_next_write(engine: Engine, end: Callable[[Session], Any]) -> None:
    with Session(engine) as session:
        fail_once(session)
        with pytest.raises(ZeroDivisionError):
            writer(session).overrides.set("acme", "a.one", ON)
        end(session)
        writer(session).overrides.set("globex", "a.one", ON)
        session.commit()
    assert overrides(engine) == [("globex/a.one", "created")]


def test_what_a_host_commits_after_a_failure_is_told_once(engine: Engine) -> None:
    with Session(engine) as session:
        fail_once(session)
        with pytest.raises(ZeroDivisionError):
            writer(session).overrides.set("acme", "a.one", ON)
        session.commit()  # the object is still in the session
    assert overrides(engine) == [("acme/a.one", "created")]


def test_settings_that_were_stored_before_a_failure_are_told(migrated_engine: Engine) -> None:
    offer(migrated_engine, schema={})
    with Session(migrated_engine) as session:
        AuditContext("tester").attach(session)
        service = TenantIntegrations(session)
        service.configure("acme", "slack", {"channel": "#a"})
        fail_once(session)
        session.add(TenantFeatureOverride(tenant_id="acme", feature_key="integrations.slack", feature_value=ON))
        with pytest.raises(ZeroDivisionError):
            service.configure("globex", "slack", {"channel": "#g"})
        session.commit()
    with migrated_engine.connect() as connection:
        told = sa.select(HISTORY.c.entity_id).where(HISTORY.c.entity_type == AuditEntity.TENANT_INTEGRATION)
        stored = connection.exec_driver_sql("SELECT tenant_id FROM tenant_integration_configs").scalars().all()
        assert sorted(connection.execute(told).scalars()) == sorted(f"{tenant}/slack" for tenant in stored)


def test_a_session_that_finds_its_database_as_sqlalchemy_shows_it_leaves_its_history_there(
    engine: Engine, tmp_path: Path
) -> None:
    offer(engine, schema={})
    follower = sa.create_engine(f"sqlite:///{tmp_path / 'follower.sqlite3'}")
    upgrade(follower)

    class Routing(Session):
        """https://docs.sqlalchemy.org/en/20/orm/persistence_techniques.html#custom-vertical-partitioning"""

        def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Any:
            return engine if self._flushing or isinstance(clause, sa.Update | sa.Delete) else follower

    with Routing() as session:
        AuditContext("tester").attach(session)
        write_audit(session, AuditContext("tester"), AuditEntity.TENANT, "acme", AuditAction.UPDATED)
        session.execute(sa.update(TenantFeatureOverride).values(reason="none is there"))
        session.commit()
    counted = sa.select(sa.func.count()).select_from(HISTORY)
    with engine.connect() as leader, follower.connect() as copy:
        assert leader.scalar(counted.where(HISTORY.c.entity_type == AuditEntity.TENANT)) == 1
        assert copy.scalar(counted) == 0
    follower.dispose()


def test_a_history_in_a_database_of_its_own_is_written_there(engine: Engine, tmp_path: Path) -> None:
    own = sa.create_engine(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    upgrade(own)
    with Session(engine, binds={FeatureAuditLog: own}) as session:
        writer(session).overrides.set("acme", "a.one", OFF)
        session.commit()
    assert overrides(own) == [("acme/a.one", "created")]
    assert overrides(engine) == []
    own.dispose()


def test_each_larger_transaction_gives_the_catalogue_a_version_of_its_own(engine: Engine) -> None:
    versions = []
    with engine.connect() as connection, Session(connection, join_transaction_mode="rollback_only") as session:
        for is_kept in (False, True):
            outer = connection.begin()
            writer(session).features.change("a.one", description=str(is_kept))
            session.commit()
            outer.commit() if is_kept else outer.rollback()
            versions.append(connection.scalar(sa.select(STATE.c.version)))
            connection.rollback()
    assert versions[1] == versions[0] + 1
