"""The history, asked: what is wanted, all of it, in its order, and no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.asynchronous import run_async
from tierwright.audit import AsyncAuditLog, AuditEntry, AuditLog, AuditQuestion
from tierwright.audit.entries import HISTORY
from tierwright.errors import InvalidInput
from tierwright.services.history_rows import insert_entries
from tierwright.types import AuditAction, AuditEntity, uuid7

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Several entries have the same moment, as those of one import.
MOMENTS = [START + timedelta(minutes=number // 3) for number in range(30)]


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        for number, moment in enumerate(MOMENTS):
            tenant = f"t{number % 4}"
            shared = {"performed_at": moment, "performed_by": f"user {number % 2}", "reason": f"n{number}"}
            entry = {
                "entity": AuditEntity.TENANT_OVERRIDE if number % 5 else AuditEntity.FEATURE,
                "entity_id": f"{tenant}/a.b" if number % 5 else "a.b",
                "action": AuditAction.CREATED if number % 3 else AuditAction.DELETED,
                "old": None,
                "new": {"n": number},
                "tenant_id": tenant if number % 5 else None,
                "feature_key": "a.b" if number % 2 else "c.d",
            }
            insert_entries(connection, shared, [entry])


def numbers(entries: Any) -> list[int]:
    return [entry.new_value["n"] for entry in entries]


QUESTIONS: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda n: True),
    ({"feature": "a.b"}, lambda n: n % 2),
    ({"tenant": "t1"}, lambda n: n % 4 == 1 and n % 5),
    ({"entity": "feature"}, lambda n: n % 5 == 0),
    ({"entity": AuditEntity.TENANT_OVERRIDE, "entity_id": "t2/a.b"}, lambda n: n % 4 == 2 and n % 5),
    ({"actor": "user 1", "feature": "a.b"}, lambda n: n % 2),
    ({"actions": "deleted"}, lambda n: n % 3 == 0),
    ({"actions": ["deleted", "updated"], "tenant": "t3"}, lambda n: n % 3 == 0 and n % 4 == 3 and n % 5),
    ({"since": MOMENTS[9], "until": MOMENTS[15]}, lambda n: 9 <= n < 15),
    ({"since": MOMENTS[9], "feature": "c.d"}, lambda n: n >= 9 and n % 2 == 0),
    ({"feature": "no.such"}, lambda n: False),
    ({"tenant": "t1' OR 1=1 --"}, lambda n: False),
]


def test_a_question_is_answered_with_all_that_is_wanted_in_pages_and_as_a_stream(migrated_engine: Engine) -> None:
    fill(migrated_engine)
    with Session(migrated_engine) as session:
        log = AuditLog(session)
        for asked, is_wanted in QUESTIONS:
            for oldest_first in (False, True):
                question = AuditQuestion(**asked, oldest_first=oldest_first)
                wanted = {number for number in range(30) if is_wanted(number)}
                entries = list(log.stream(question))
                assert set(numbers(entries)) == wanted, asked
                moments = [(entry.performed_at, entry.id) for entry in entries]
                assert moments == sorted(moments, reverse=not oldest_first)
                assert in_pages(log, question, size=4) == entries


def in_pages(log: AuditLog, question: AuditQuestion, size: int) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    cursor: str | None = None
    while True:
        page = log.page(question, limit=size, cursor=cursor)
        found += page.entries
        cursor = page.next
        assert len(page.entries) == size or cursor is None
        if cursor is None:
            return found


def test_an_entry_says_what_was_recorded(migrated_engine: Engine) -> None:
    fill(migrated_engine)
    with Session(migrated_engine) as session:
        (entry,) = AuditLog(session).page(AuditQuestion(since=MOMENTS[-1], feature="a.b"), limit=1).entries
    assert (entry.performed_at, entry.entity_type, entry.entity_id) == (MOMENTS[-1], "tenant_override", "t1/a.b")
    assert (entry.action, entry.old_value, entry.new_value) == ("created", None, {"n": 29})
    assert (entry.tenant_id, entry.feature_key) == ("t1", "a.b")
    assert (entry.performed_by, entry.reason, entry.request_id) == ("user 1", "n29", None)


def test_what_is_recorded_between_two_pages_moves_none_of_them(migrated_engine: Engine) -> None:
    fill(migrated_engine)
    with Session(migrated_engine) as session:
        first = AuditLog(session).page(limit=20)
        session.rollback()
        with migrated_engine.begin() as connection:
            entry = {"entity": AuditEntity.FEATURE, "entity_id": "a.b", "action": AuditAction.UPDATED, "new": {"n": 99}}
            insert_entries(connection, {"performed_at": MOMENTS[-1] + timedelta(hours=1)}, [entry])
        second = AuditLog(session).page(limit=20, cursor=first.next)
    assert sorted(numbers(first.entries) + numbers(second.entries)) == list(range(30))


def test_entries_that_the_database_dated_are_in_every_page_once(migrated_engine: Engine) -> None:
    """SQLite writes no fraction of a second for CURRENT_TIMESTAMP, and we do: the two sort as text."""
    moments = ["CURRENT_TIMESTAMP", *[f"'2026-01-01 00:00:0{second}'" for second in (0, 0, 1, 1, 2)]]
    rows = ", ".join(f"('{uuid7().hex}', 'tenant', 'a', 'purged', {moment})" for moment in moments)
    with migrated_engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO feature_audit_log (id, entity_type, entity_id, action, performed_at) VALUES {rows}"
        )
    with Session(migrated_engine) as session:
        log, second = AuditLog(session), datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
        for limit in (1, 2):
            for is_first in (False, True):
                seen, cursor = [], None
                for _ in moments:
                    page = log.page(AuditQuestion(oldest_first=is_first), limit=limit, cursor=cursor)
                    seen += [entry.id for entry in page.entries]
                    cursor = page.next
                    if cursor is None:
                        break
                assert len(seen) == len(set(seen)) == len(moments)
                assert cursor is None
        found = log.page(AuditQuestion(since=second, until=second + timedelta(seconds=1))).entries
        assert [entry.performed_at for entry in found] == [second] * 2


def test_an_async_session_is_asked_alike(migrated_engine: Engine) -> None:
    fill(migrated_engine)

    found: list[int] = []

    async def ask(session: Any) -> None:
        found.extend(numbers((await AsyncAuditLog(session).page(AuditQuestion(tenant="t1"))).entries))

    run_async(migrated_engine, ask)
    assert found == [29, 21, 17, 13, 9, 1]


@pytest.mark.parametrize(
    "asked",
    [
        {"entity": "tiers"},
        {"entity_id": "pro"},
        {"actions": "erased everything"},
        {"tenant": ""},
        {"feature": ""},
        {"feature": "a\0b"},
        {"actor": 5},
        {"since": datetime(2026, 1, 1)},
        {"entity": "tier", "entity_id": "x" * 601},
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        AuditQuestion(**asked)


@pytest.mark.parametrize(
    "given", [{"limit": 0}, {"limit": 1001}, {"limit": True}, {"cursor": "x"}, {"cursor": "ü"}, {"cursor": ""}]
)
def test_a_page_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with Session(sa.create_engine("sqlite://")) as session, pytest.raises(InvalidInput):
        AuditLog(session).page(**given)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"feature": "a.b"}, "idx_feature_audit_key_time"),
        ({"tenant": "t1"}, "idx_feature_audit_tenant_time"),
        ({"entity": "tier", "entity_id": "pro"}, "idx_feature_audit_entity_time"),
        ({}, "idx_feature_audit_time"),
        ({"since": START}, "idx_feature_audit_time"),
    ],
)
def test_an_index_finds_and_sorts(migrated_engine: Engine, asked: dict[str, Any], index: str) -> None:
    question = AuditQuestion(**asked)
    statement = sa.select(HISTORY).where(sa.true(), *question.conditions()).order_by(*question.order()).limit(5)
    fill(migrated_engine)
    with migrated_engine.begin() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:  # of so few rows none is too many
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        text = str(statement.compile(migrated_engine, compile_kwargs={"literal_binds": True}))
        plan = connection.exec_driver_sql(
            ("EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN ") + text.replace("%", "%%")
        )
        shown = "\n".join(map(str, plan))
    assert index in shown
    assert "TEMP B-TREE FOR ORDER BY" not in shown
