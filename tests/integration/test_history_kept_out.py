"""SQLite: an entry whose rowid is -1 is for the guard against REPLACE the one that every further one would replace."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from tests.support.cli import run, run_json, url_of
from tests.support.registry import ON, seed, writer
from tierwright.audit import Upkeep, maintain, restore_archive
from tierwright.audit.odd_rowid import make_way
from tierwright.doctor import examine
from tierwright.errors import HistoryProtected, TransactionMissing
from tierwright.tables import AuditInput

LOG = "feature_audit_log"
CHANGES = (f"UPDATE {LOG} SET reason = 'x'", f"UPDATE {LOG} SET _rowid_ = 9 WHERE _rowid_ = 1", f"DELETE FROM {LOG}")
LARGEST = 2**63 - 1
ENTRY = {"entity_type": "tenant", "entity_id": "acme", "tenant_id": "acme", "action": "updated"}
INSERT = (
    f"INSERT INTO {LOG} ({{}}id, entity_type, entity_id, action, performed_at) "
    "VALUES ({}hex(randomblob(16)), 'tenant', 'acme', 'updated', '2020-02-03 04:05:06')"
)


@pytest.fixture
def database_kind() -> str:
    """Name SQLite alone: PostgreSQL has no rowids, and needs no such guard."""
    return "sqlite"


def add(engine: Engine, rowid: int | None = None) -> None:
    names, values = ("", "") if rowid is None else ("_rowid_, ", f"{rowid}, ")
    with engine.begin() as connection:
        connection.exec_driver_sql(INSERT.format(names, values))


def rowids(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(f"SELECT _rowid_ FROM {LOG} ORDER BY 1").scalars())


def guards(engine: Engine) -> list[tuple[str, ...]]:
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY 1"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.mark.parametrize("others", [(), (1, 2), (LARGEST,), (0,), (-2, -3), (LARGEST - 1, LARGEST)])
def test_it_is_told_and_mended_and_nothing_else_of_it_changes(migrated_engine: Engine, others: tuple[int, ...]) -> None:
    for rowid in (*others, -1):
        add(migrated_engine, rowid)
    known = guards(migrated_engine)
    with pytest.raises(IntegrityError):
        add(migrated_engine)
    (found,) = examine(migrated_engine).findings
    assert (found.code, found.remedy.split(":")[0]) == ("history-blocked", "Run `tierwright audit maintain`")
    with migrated_engine.connect() as connection:
        (before,) = connection.exec_driver_sql(str(found.sql)).all()
    assert maintain(migrated_engine, Upkeep(dry_run=True)).freed == 1
    assert -1 in rowids(migrated_engine)
    assert maintain(migrated_engine, Upkeep()).freed == 1
    assert maintain(migrated_engine, Upkeep()).freed == 0
    assert guards(migrated_engine) == known
    assert examine(migrated_engine).ok
    with migrated_engine.connect() as connection:
        assert before in connection.exec_driver_sql(f"SELECT * FROM {LOG}").all()
    for _ in range(5):
        add(migrated_engine)
    assert -1 not in rowids(migrated_engine)
    assert set(others) <= set(rowids(migrated_engine))


def test_other_odd_rowids_are_in_nobodys_way(migrated_engine: Engine) -> None:
    for rowid in (0, LARGEST, -LARGEST - 1, 5):
        add(migrated_engine, rowid)
    for _ in range(5):
        add(migrated_engine)
    assert len(rowids(migrated_engine)) == 9
    assert examine(migrated_engine).ok


def test_a_refused_write_says_what_to_do(migrated_engine: Engine, tmp_path: Path) -> None:
    url = url_of(migrated_engine)
    with Session(migrated_engine) as session:
        seed(writer(session), "a.one")
        session.commit()
    report = maintain(migrated_engine, Upkeep(keep_months=1, folder=tmp_path))
    assert report.archives == []
    add(migrated_engine)
    (archive,) = maintain(migrated_engine, Upkeep(keep_months=1, folder=tmp_path)).archives
    add(migrated_engine, -1)
    with Session(migrated_engine) as session:
        with pytest.raises(HistoryProtected, match="rowid is -1") as caught:
            writer(session).overrides.set("acme", "a.one", ON)
        assert "audit maintain" in caught.value.remedy
        session.rollback()
        with pytest.raises(HistoryProtected, match="rowid is -1"):
            restore_archive(session, tmp_path / str(archive.file))
        session.rollback()
        session.add(AuditInput(**ENTRY).to_row())
        with pytest.raises(IntegrityError):
            session.commit()
    error = run_json("override", "set", "acme", "a.one", "--actor", "joe", url=url, exit_code=1)["error"]
    assert (error["code"], error["details"]["constraint"]) == ("history-protected", f"trg_{LOG}_no_replace")
    assert "would be given another rowid" in run("audit", "maintain", "--dry-run", url=url).stdout
    assert "was given another rowid" in run("audit", "maintain", "--actor", "joe", url=url).stdout
    run("override", "set", "acme", "a.one", "--actor", "joe", url=url)
    entry = run_json("audit", "list", "--by", "joe", "--entity", "catalog", url=url)["entries"][0]
    assert (entry["action"], entry["old_value"], list(entry["new_value"])) == ("updated", {"rowid": -1}, ["rowid"])


def test_the_history_is_not_unguarded_for_anybody(migrated_engine: Engine) -> None:
    """Not for others, who see the trigger until the commit, nor afterwards, nor where no transaction holds it."""
    add(migrated_engine, -1)
    known = guards(migrated_engine)
    with migrated_engine.connect() as connection:
        assert make_way(connection) == 1
        assert guards(migrated_engine) == known
        for change in CHANGES:
            with pytest.raises(IntegrityError):
                connection.exec_driver_sql(change)
        connection.rollback()
    assert (guards(migrated_engine), rowids(migrated_engine)) == (known, [-1])
    alone = migrated_engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection, pytest.raises(TransactionMissing):
        make_way(connection)
    assert (guards(migrated_engine), rowids(migrated_engine)) == (known, [-1])
