"""What PostgreSQL tells those who listen: each change once, with the commit, and without a statement of its own."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.registry import OFF, ON, seed, writer
from tierwright.migrations import upgrade
from tierwright.services.announcing import can_announce
from tierwright.tables import FeatureRegistry, TenantFeatureOverride

OVERRIDES = SQLModel.metadata.tables["tenant_feature_override"]


@pytest.fixture
def engine(postgresql_engine: Engine) -> Engine:
    upgrade(postgresql_engine)
    with Session(postgresql_engine) as session:
        seed(writer(session), "a.one")
        for tenant in ("acme", "globex"):
            writer(session).overrides.set(tenant, "a.one", OFF)
        session.commit()
    return postgresql_engine


@pytest.fixture
def listener(engine: Engine) -> Iterator[psycopg.Connection]:
    with psycopg.connect(engine.url.set(drivername="postgresql").render_as_string(False), autocommit=True) as found:
        found.execute("LISTEN tierwright")
        yield found


def heard(listener: psycopg.Connection) -> list[str]:
    """Return what has been announced by now."""
    # By another connection: what comes in while a statement of its own runs is lost on the listener (psycopg 3.2).
    with psycopg.connect(listener.info.dsn, autocommit=True) as other:
        other.execute("NOTIFY tierwright, 'end'")
    said: list[str] = []
    for each in listener.notifies(timeout=10):
        if each.payload == "end":
            return sorted(said)
        said.append(each.payload)
    raise AssertionError("the listener heard nothing for ten seconds")


def sent(session: Session) -> list[str]:
    """Return a list that fills with the statements of the session's connection."""
    found: list[str] = []
    sa.event.listen(session.connection(), "before_cursor_execute", lambda *given: found.append(given[2]))
    return found


def set_to(session: Session, tenant: str, document: dict[str, bool]) -> None:
    """Change an object, and flush it."""
    row = session.get(TenantFeatureOverride, (tenant, "a.one"))
    assert row is not None
    row.feature_value = document
    session.flush()


def test_an_entry_announces_what_it_tells_and_only_the_commit_tells_it(
    engine: Engine, listener: psycopg.Connection
) -> None:
    with Session(engine) as session:
        statements = sent(session)
        set_to(session, "acme", ON)
        assert heard(listener) == []
        session.commit()
        assert heard(listener) == ["acme"]
        announcing = [each for each in statements if "pg_notify" in each]
        assert [each.split()[:3] for each in announcing] == [["INSERT", "INTO", "feature_audit_log"]]

        session.execute(sa.update(OVERRIDES).where(OVERRIDES.c.tenant_id == "acme").values(feature_value=OFF))
        session.rollback()
        assert heard(listener) == []
        writer(session).overrides.set("globex", "a.one", ON)
        session.commit()
        assert heard(listener) == ["globex"]


def test_many_entries_announce_too(engine: Engine, listener: psycopg.Connection) -> None:
    with Session(engine) as session:
        statements = sent(session)
        for row in session.scalars(sa.select(TenantFeatureOverride)):
            row.feature_value = ON
        session.commit()
        assert heard(listener) == ["acme", "globex"]
        assert len([each for each in statements if "pg_notify" in each]) == 1


def test_what_leaves_no_entry_is_announced_before_the_commit(engine: Engine, listener: psycopg.Connection) -> None:
    with Session(engine) as session:
        set_to(session, "acme", ON)
        session.execute(sa.update(OVERRIDES).where(OVERRIDES.c.tenant_id == "globex").values(created_at=sa.func.now()))
        session.commit()
    assert heard(listener) == [" tenants", "acme"]


def test_a_savepoint_of_the_driver_takes_back_no_earlier_announcement(
    engine: Engine, listener: psycopg.Connection
) -> None:
    with Session(engine) as session:
        set_to(session, "acme", ON)
        driver = session.connection().connection.driver_connection
        assert driver is not None
        driver.execute("SAVEPOINT unheard_of")
        set_to(session, "acme", OFF)
        set_to(session, "globex", ON)
        driver.execute("ROLLBACK TO unheard_of")
        set_to(session, "acme", OFF)
        session.commit()
    assert "acme" in heard(listener)
    with Session(engine) as session:
        driver = session.connection().connection.driver_connection
        assert driver is not None
        driver.execute("SAVEPOINT unheard_of")
        set_to(session, "acme", ON)
        driver.execute("ROLLBACK TO unheard_of")
        driver.execute("SAVEPOINT unheard_of_too")
        session.expire_all()
        set_to(session, "acme", ON)
        driver.execute("RELEASE unheard_of_too")
        session.commit()
    assert heard(listener) == ["acme"]


def test_a_savepoint_of_the_session_takes_back_its_own(engine: Engine, listener: psycopg.Connection) -> None:
    with Session(engine) as session:
        set_to(session, "acme", ON)
        with session.begin_nested() as savepoint:
            set_to(session, "globex", ON)
            savepoint.rollback()
        session.commit()
    assert "acme" in heard(listener)


def test_a_catalogue_write_tells_everybody_once(engine: Engine, listener: psycopg.Connection) -> None:
    with Session(engine) as session:
        writer(session).features.change("a.one", description="new")
        set_to(session, "acme", ON)
        session.execute(sa.update(FeatureRegistry).values(icon="star"))
        session.commit()
    assert heard(listener) == [""]


def test_a_transaction_of_two_phases_announces_nothing_because_it_could_not_be_prepared(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin_twophase(), Session(connection) as session:
        statements = sent(session)
        set_to(session, "acme", ON)
        session.commit()
        assert not can_announce(connection)
        assert [each for each in statements if "pg_notify" in each] == []
        assert [each for each in statements if "INSERT INTO feature_audit_log" in each] != []
