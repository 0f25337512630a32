"""Rows that something past the library has put into the history, and nobody can read: told, and in nobody's way."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.asynchronous import run_async
from tests.support.cli import run, run_json, small_catalogue, url_of
from tests.support.registry import ON, seed, writer
from tierwright.audit import (
    AsyncAuditLog,
    AuditLog,
    AuditQuestion,
    UnreadableRow,
    Upkeep,
    erase_person,
    maintain,
    read_archive,
    tenant_history,
)
from tierwright.audit.entries import HISTORY
from tierwright.audit.months import months_after
from tierwright.doctor import examine
from tierwright.errors import HistoryUnreadable
from tierwright.services.audit import AuditContext
from tierwright.services.history_rows import insert_entries
from tierwright.types import AuditAction, AuditEntity, utc_now

ID, MOMENT = "hex(randomblob(16))", "'2020-02-03 04:05:06'"
DIGITS, DEEP = f"'{{\"a\": {'1' * 5000}}}'", f"'{'[' * 3000}{']' * 3000}'"
#: The id, the moment and the new value in SQL, and what of the three cannot be read; by the kind of database.
BAD: dict[str, list[tuple[str, str, str, str]]] = {
    "sqlite": [
        ("'not-an-id'", MOMENT, "NULL", "id"),
        ("x'00ff'", MOMENT, "NULL", "id"),
        ("CAST(x'c3c3' AS TEXT)", MOMENT, "NULL", "id"),
        (ID, "'yesterday'", "NULL", "performed_at"),
        (ID, "'2020-13-01 00:00:00'", "NULL", "performed_at"),
        (ID, "'2020-02-31 00:00:00'", "NULL", "performed_at"),
        (ID, "'2020-02-03T04:05:06+02:00'", "NULL", "performed_at"),
        (ID, "''", "NULL", "performed_at"),
        (ID, "2020", "NULL", "performed_at"),
        (ID, "x'00'", "NULL", "performed_at"),
        (ID, "CAST(x'c3c3' AS TEXT)", "NULL", "performed_at"),
        (ID, MOMENT, "'{oops'", "new_value"),
        (ID, MOMENT, "''", "new_value"),
        (ID, MOMENT, "x'7b7d'", "new_value"),
        (ID, MOMENT, "CAST(x'22c322' AS TEXT)", "new_value"),
        (ID, MOMENT, DIGITS, "new_value"),
        (ID, MOMENT, DEEP, "new_value"),
        ("'nobody'", "'never'", "'nothing'", "id, performed_at, new_value"),
    ],
    "postgresql": [
        ("gen_random_uuid()", "'infinity'", "NULL", "performed_at"),
        ("gen_random_uuid()", "'-infinity'", "NULL", "performed_at"),
        ("gen_random_uuid()", "'0044-03-15 12:00 BC'", "NULL", "performed_at"),
        ("gen_random_uuid()", "'12026-01-01'", "NULL", "performed_at"),
        ("gen_random_uuid()", "'2026-02-03'", DIGITS, "new_value"),
        ("gen_random_uuid()", "'2026-02-03'", DEEP, "new_value"),
        ("gen_random_uuid()", "'infinity'", DIGITS, "performed_at, new_value"),
    ],
}
#: What others write may look otherwise than what we do, and be read all the same.
ODD = {
    "sqlite": [(ID, "CURRENT_TIMESTAMP"), (f"lower({ID})", "'2020-02-03T04:05:06.5'")]
    + [(f"'{'0' * 8}-ABCD-0000-0000-{'0' * 11}{number}'", MOMENT) for number in range(3)],
    "postgresql": [("gen_random_uuid()", "now()")] * 5,
}
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add(engine: Engine, id_: str, moment: str, value: str = "NULL", kind: str = "tenant", person: str = "NULL") -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO feature_audit_log (id, entity_type, entity_id, tenant_id, action, performed_at, new_value, "
            f"performed_by) VALUES ({id_}, '{kind}', 'acme', 'acme', 'updated', {moment}, {value}, {person})"
        )


def bad(engine: Engine) -> list[tuple[str, str, str, str]]:
    return BAD[engine.dialect.name]


def spoil(engine: Engine, person: str = "NULL") -> list[str]:
    """Add every bad row among good ones, and return what of each cannot be read."""
    for number, (id_, moment, value, _) in enumerate(bad(engine)):
        add(engine, id_, moment, value, person=person)
        entry = {"entity": AuditEntity.TENANT, "entity_id": "acme", "action": AuditAction.UPDATED, "tenant_id": "acme"}
        with engine.begin() as connection:
            insert_entries(connection, {"performed_at": START + timedelta(days=number)}, [{**entry, "new": {"n": 1}}])
    for id_, moment in ODD[engine.dialect.name]:
        add(engine, id_, moment)
    return sorted(each[3] for each in bad(engine))


def told(rows: Any) -> list[str]:
    return sorted(", ".join(row.columns) for row in rows)


def test_everything_else_is_listed_and_each_of_them_is_told_once(migrated_engine: Engine) -> None:
    wanted, good = spoil(migrated_engine), len(bad(migrated_engine)) + len(ODD[migrated_engine.dialect.name])
    with Session(migrated_engine) as session:
        log = AuditLog(session)
        for oldest_first in (False, True):
            for asked in ({}, {"tenant": "acme"}):
                question = AuditQuestion(oldest_first=oldest_first, **asked)
                whole = log.page(question, limit=1000)
                assert (told(whole.unreadable), len({entry.id for entry in whole.entries})) == (wanted, good)
                for limit in (1, 2, 7):
                    entries, unreadable, cursor = [], [], None
                    for _ in range(good):
                        page = log.page(question, limit=limit, cursor=cursor)
                        entries += page.entries
                        unreadable += page.unreadable
                        cursor = page.next
                        if cursor is None:
                            break
                    assert (tuple(entries), tuple(unreadable)) == (whole.entries, whole.unreadable)
                    assert cursor is None


def test_the_query_shows_the_row(migrated_engine: Engine) -> None:
    spoil(migrated_engine)
    with Session(migrated_engine) as session:
        for row in AuditLog(session).page(limit=1000).unreadable:
            count = str(row.sql).replace("*", "count(*)", 1)
            assert session.connection().exec_driver_sql(count.replace("%", "%%")).scalar_one() == 1, row


@pytest.mark.parametrize("held", [2, 5])
def test_a_stream_tells_of_them_or_ends(migrated_engine: Engine, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr("tierwright.audit.log._STREAMED", held)
    wanted, good = spoil(migrated_engine), len(bad(migrated_engine)) + len(ODD[migrated_engine.dialect.name])
    with Session(migrated_engine) as session:
        for oldest_first in (False, True):
            question, unreadable = AuditQuestion(oldest_first=oldest_first), list[UnreadableRow]()
            found = list(AuditLog(session).stream(question, unreadable=unreadable.append))
            assert (len(found), len({entry.id for entry in found}), told(unreadable)) == (good, good, wanted)
            with pytest.raises(HistoryUnreadable) as caught:
                list(AuditLog(session).stream(question))
            assert caught.value.details["sql"]


def test_an_async_session_is_told_alike(migrated_engine: Engine) -> None:
    wanted, found = spoil(migrated_engine), list[str]()

    async def ask(session: Any) -> None:
        found.extend(told((await AsyncAuditLog(session).page(limit=1000)).unreadable))

    run_async(migrated_engine, ask)
    assert found == wanted


def test_an_error_of_the_database_is_none_of_a_row(migrated_engine: Engine) -> None:
    with migrated_engine.connect() as connection:
        connection.exec_driver_sql("DROP TABLE feature_audit_log")
        with pytest.raises((sa.exc.OperationalError, sa.exc.ProgrammingError)):
            AuditLog(Session(connection)).page()
        connection.rollback()


def test_the_commands_list_the_rest(migrated_engine: Engine, tmp_path: Path) -> None:
    url = small_catalogue(migrated_engine)
    before = run_json("audit", "list", "--limit", "1000", url=url)
    assert before["unreadable"] == []
    spoil(migrated_engine)
    amount = len(bad(migrated_engine))
    found = run_json("audit", "list", "--limit", "1000", url=url)
    assert len(found["unreadable"]) == amount
    assert {each["id"] for each in before["entries"]} < {each["id"] for each in found["entries"]}
    shown = run("audit", "list", "--limit", "1000", url=url).stderr
    assert shown.count("cannot be read: SELECT * FROM feature_audit_log WHERE") == 5
    assert f"left out: {amount} rows; `tierwright doctor` says more" in shown
    tail = run("audit", "tail", "-n", "1000", url=url)
    assert (tail.stderr.count("cannot be read"), len(tail.stdout.splitlines())) == (amount, len(found["entries"]))
    for format_ in ("jsonl", "csv"):
        file = tmp_path / format_
        result = run("audit", "export", "--format", format_, "--to", str(file), url=url, exit_code=1)
        assert f"left out: {amount} rows" in result.stderr
    assert len((tmp_path / "jsonl").read_text().splitlines()) == len(found["entries"])
    with (tmp_path / "csv").open(newline="") as opened:
        assert len(list(csv.DictReader(opened))) == len(found["entries"])
    only = run("audit", "list", "--until", "0001-01-02T00:00Z", url=url)
    assert "none" not in only.stderr, "there are rows, from before any time"


def test_a_tail_that_follows_goes_on(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    command = [sys.executable, "-m", "tierwright", "audit", "tail", "-n", "1", "-f", "--json", "--url", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        now = utc_now().replace(tzinfo=None).isoformat(" ")
        add(migrated_engine, ID if "sqlite" in url else "gen_random_uuid()", f"'{now}'", DIGITS)
        assert "new_value of a row cannot be read" in process.stderr.readline()
        with Session(migrated_engine) as session:
            writer(session).overrides.set("late", "ui.canvas", ON)
            session.commit()
        assert json.loads(process.stdout.readline())["tenant_id"] == "late"
    finally:
        process.kill()
        _, rest = process.communicate()
    assert rest == "", "each is told once"


def test_the_history_of_a_tenant_is_not_proven_by_what_cannot_be_read(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one")
        registry.overrides.set("acme", "a.one", ON)
        session.commit()
        before = tenant_history(session, "acme", utc_now())
        session.rollback()
        spoil(migrated_engine)
        found = tenant_history(session, "acme", utc_now())
        assert sorted(gap.partition(" of a row cannot")[0] for gap in found.gaps) == sorted(
            each[3] for each in bad(migrated_engine)
        )
        assert found.decisions == before.decisions
        assert tenant_history(session, "globex", utc_now()).is_proven, "they are not about it"
        id_, moment, value, _ = bad(migrated_engine)[-1]
        session.rollback()
        add(migrated_engine, id_.replace("nobody", "somebody"), moment, value, kind="feature")
        assert len(tenant_history(session, "globex", utc_now()).gaps) == 1
    run("tenant", "history", "acme", "--at", utc_now().isoformat(), url=url_of(migrated_engine), exit_code=1)


def test_the_doctor_counts_them_and_shows_them(migrated_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierwright.doctor.history._FETCHED", 3)
    assert examine(migrated_engine).ok
    wanted = spoil(migrated_engine)
    for _ in range(20):
        add(migrated_engine, *bad(migrated_engine)[-3 if migrated_engine.dialect.name == "postgresql" else 3][:3])
    (found,) = examine(migrated_engine).findings
    assert (found.code, found.object) == ("history-unreadable", "feature_audit_log")
    assert f"{len(wanted) + 20} row(s)" in found.message
    assert "the first 20" in found.remedy
    with migrated_engine.connect() as connection:
        count = connection.exec_driver_sql(str(found.sql).replace("*", "count(*)", 1)).scalar_one()
    assert count == 20
    assert examine(migrated_engine, rows=False).ok


def test_the_doctor_says_that_a_column_is_missing_and_goes_on(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE feature_audit_log RENAME COLUMN user_agent TO agent")
    assert "column-missing" in {found.code for found in examine(migrated_engine).findings}


def test_they_leave_with_their_month_as_they_are(
    migrated_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = months_after(utc_now(), 13)
    monkeypatch.setattr("tierwright.audit.upkeep.utc_now", lambda: later)
    monkeypatch.setattr("tierwright.services.audit.utc_now", lambda: later)
    wanted = spoil(migrated_engine)
    with Session(migrated_engine) as session:
        before = tenant_history(session, "acme", utc_now()).gaps
    report = maintain(migrated_engine, Upkeep(keep_months=1, folder=tmp_path))
    assert report.left == 0
    unreadable: list[UnreadableRow] = []
    archives = sorted(tmp_path.glob("*.gz"))
    entries = [entry for path in archives for entry in read_archive(path, unreadable=unreadable.append)]
    assert len(entries) + len(unreadable) == report.removed
    with pytest.raises(HistoryUnreadable):
        [list(read_archive(path)) for path in archives]
    with Session(migrated_engine) as session:
        kept = AuditLog(session).page(limit=1000)
        after = tenant_history(session, "acme", utc_now(), archives=archives)
    assert told([*unreadable, *kept.unreadable]) == wanted, "what has no month stays"
    assert len(unreadable) > len(kept.unreadable)
    assert {entry.action for entry in kept.entries} == {"archived"}
    assert len(after.gaps) == len(before)
    again = maintain(migrated_engine, Upkeep(keep_months=1, folder=tmp_path))
    assert (again.archives, again.left) == ([], 0)


def test_a_person_is_erased_from_them_too(migrated_engine: Engine) -> None:
    spoil(migrated_engine, "'joe'")
    assert erase_person(migrated_engine, actor="joe", by=AuditContext("office")).rows[HISTORY.name] == len(
        bad(migrated_engine)
    )
    with migrated_engine.connect() as connection:
        left = sa.select(sa.func.count()).select_from(HISTORY).where(HISTORY.c.performed_by == "joe")
        assert connection.execute(left).scalar_one() == 0
