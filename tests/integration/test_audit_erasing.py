"""A person is taken out of the history, and what was done stays."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.cli import run, run_json, small_catalogue
from tests.support.registry import feature, writer
from tierwright import Entitlements
from tierwright.audit import AuditLog, erase_person, erasing, tenant_history
from tierwright.errors import HistoryRequired, InvalidInput
from tierwright.services.audit import AuditContext
from tierwright.services.registry import Registry
from tierwright.types import utc_now

BY = AuditContext("privacy", reason="Request 17")
JANE = AuditContext("jane", reason="Ticket 5", ip_address="192.0.2.7", user_agent="console", request_id="r1")


def fill(engine: Engine, entries: int = 5) -> None:
    with Session(engine) as session:
        JANE.attach(session)
        registry = Registry(session)
        registry.features.create(feature("a.b"))
        for number in range(entries - 1):
            registry.overrides.set(f"t{number}", "a.b", {"enabled": True})
        AuditContext("joe", ip_address="192.0.2.7").attach(session)
        registry.features.change("a.b", description="x")
        session.commit()


def said(engine: Engine) -> list[tuple[Any, ...]]:
    with Session(engine) as session:
        return [
            (entry.action, entry.performed_by, entry.ip_address, entry.user_agent, entry.reason, entry.request_id)
            for entry in reversed(list(AuditLog(session).stream()))
        ]


def test_who_it_was_is_gone_and_what_was_done_stays(migrated_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(migrated_engine)
    monkeypatch.setattr(erasing, "_BATCH", 2)
    with Session(migrated_engine) as session:
        moment = utc_now()
        before = tenant_history(session, "t1", moment).sha256
    assert erase_person(migrated_engine, actor="jane", by=BY, dry_run=True).rows["feature_audit_log"] == 5
    assert said(migrated_engine)[0][1] == "jane", "a dry run changes nothing"
    done = erase_person(migrated_engine, actor="jane", by=BY)
    assert dict(done.rows) == {"feature_audit_log": 5, "feature_registry": 1, "tenant_integration_configs": 0}
    gone = ("created", "<erased>", "<erased>", "<erased>", "Ticket 5", "r1")
    assert said(migrated_engine)[:6] == [*[gone] * 5, ("updated", "joe", "192.0.2.7", None, None, None)]
    assert said(migrated_engine)[6:] == [("erased", "privacy", None, None, "Request 17", None)] * 3
    with migrated_engine.connect() as connection:
        everything = [
            str(connection.execute(sa.select(table)).all()) for table in SQLModel.metadata.sorted_tables if table.info
        ]
    assert "jane" not in "".join(everything)
    with Session(migrated_engine) as session:
        assert tenant_history(session, "t1", moment).sha256 == before
        assert tenant_history(session, "t1", utc_now()).is_proven
    assert erase_person(migrated_engine, actor="jane", by=BY).total == 0
    assert len(said(migrated_engine)) == 9, "nothing was erased, and nothing is said about it"


def test_an_address_may_be_that_of_several_persons(migrated_engine: Engine) -> None:
    fill(migrated_engine, 1)
    assert dict(erase_person(migrated_engine, ip_address="192.0.2.7", by=BY).rows) == {"feature_audit_log": 2}
    assert [each[1:4] for each in said(migrated_engine)[:2]] == [
        ("jane", "<erased>", "<erased>"),
        ("joe", "<erased>", None),
    ]


@pytest.mark.parametrize("named", [{}, {"actor": ""}, {"actor": "<erased>"}, {"actor": 5}, {"ip_address": "a\0b"}])
def test_nobody_cannot_be_erased(named: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        erase_person(sa.create_engine("sqlite://"), by=BY, **named)


def test_nobody_erases_themselves(migrated_engine: Engine) -> None:
    """Each entry about it would name them again, and there would be no end."""
    fill(migrated_engine, 1)
    with pytest.raises(InvalidInput, match="again"):
        erase_person(migrated_engine, actor="jane", by=JANE)
    with pytest.raises(InvalidInput, match="again"):
        erase_person(migrated_engine, ip_address="192.0.2.7", by=JANE)
    assert [each[1] for each in said(migrated_engine)] == ["jane", "joe"]


def test_the_command_asks_first(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    before = said(migrated_engine)
    counted = run_json("audit", "erase", "--person", "tester", "--dry-run", url=url)
    assert counted["rows"]["feature_audit_log"] == len(before)
    run("audit", "erase", "--person", "tester", url=url, text="n\n", exit_code=1)
    assert said(migrated_engine) == before
    run("audit", "erase", "--person", "tester", "--yes", "--actor", "privacy", url=url)
    assert {each[1] for each in said(migrated_engine)} == {"<erased>", "privacy"}
    run("audit", "erase", "--person", "tester", "--yes", url=url, exit_code=1)
    run("audit", "erase", "--yes", url=url, exit_code=2)


def test_what_was_deleted_is_not_forgotten_by_a_question_about_yesterday(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        registry.features.create(feature("a.b"))
        session.commit()
        registry.overrides.set("acme", "a.b", {"enabled": True})
        session.commit()
        moment = utc_now()
        assert Entitlements(session).check("acme", "a.b", at=moment)
        registry.purge("acme")
        session.commit()
        with pytest.raises(HistoryRequired):
            Entitlements(session).check("acme", "a.b", at=moment)
        assert not Entitlements(session).check("globex", "a.b", at=moment), "others have lost nothing"
