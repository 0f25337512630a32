"""A history that grows: months ahead, archives that were read back, and only then fewer rows; and the way back."""

from __future__ import annotations

import datetime as dt
import errno
import gzip
import json
import os
import shutil
import signal
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from tests.conftest import SERVERS, host_engine
from tests.migration.support import processes
from tests.support.cli import run as run_cli
from tests.support.cli import run_json
from tests.support.isolation import isolated
from tierwright import isolation, migrations
from tierwright.audit import (
    AuditLog,
    AuditQuestion,
    Upkeep,
    archives_needed,
    erase_person,
    maintenance_postgresql,
    maintenance_sqlite,
    read_archive,
    read_archives,
    restore_archive,
    upkeep,
    verify_archive,
)
from tierwright.audit.maintenance import maintain
from tierwright.audit.maintenance_postgresql import PostgresqlWork
from tierwright.audit.months import months_after
from tierwright.doctor import examine
from tierwright.errors import ArchiveDamaged, ArchiveNotRestored, ArchiveNotWritten, InvalidInput, LockNotAcquired
from tierwright.migrations.dialects.postgresql_partitions import partitions
from tierwright.services import audit
from tierwright.services.audit import AuditContext, write_audit
from tierwright.types import AuditAction, AuditEntity

LOG = "feature_audit_log"
#: More than a year from now: what the revision made the first partition of is over then.
NOW = months_after(dt.datetime.now(dt.UTC), 13)
#: The last one has no partition when its rows come.
MONTHS = ("2025-11", "2025-12", "2026-02", f"{months_after(NOW, -3):%Y-%m}")
VALUES = (
    "null",
    '{"price": 1.00, "big": 123456789012345678901234567890.5, "text": "a\\nb\\u2028 %s é 😀"}',
    "[]",
    None,
)
UPKEEP = Upkeep(keep_months=2)
ONE_POSTGRESQL = SERVERS[-1]
one_of_each = pytest.mark.parametrize("database_kind", ["sqlite", ONE_POSTGRESQL], indirect=True)
one_postgresql = pytest.mark.parametrize("postgresql_kind", [ONE_POSTGRESQL], indirect=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch.setattr)


def set_clock(set_attribute: Callable[[Any, str, Any], None]) -> None:
    """Let it be later, also for the entries that are written."""
    set_attribute(upkeep, "utc_now", lambda: NOW)
    set_attribute(audit, "utc_now", lambda: NOW)


@pytest.fixture
def old(migrated_engine: Engine, clock: None) -> Engine:
    """Return an engine on a history of months that are long over, with every kind of value."""
    fill(migrated_engine)
    return migrated_engine


def fill(engine: Engine, months: tuple[str, ...] = MONTHS, each: int = 4) -> None:
    json_type = "jsonb" if engine.dialect.name == "postgresql" else "text"
    statement = sa.text(
        f"INSERT INTO {LOG} (id, entity_type, entity_id, tenant_id, action, old_value, new_value, performed_at, "
        "reason) "
        f"VALUES (:id, 'tenant', :entity, :tenant, 'updated', CAST(:old AS {json_type}), CAST(:new AS {json_type}), "
        ":at, :reason)"
    ).bindparams(sa.bindparam("at", type_=sa.DateTime(timezone=True)), sa.bindparam("id", type_=sa.Uuid()))
    with engine.begin() as connection:
        for number, month in enumerate(months):
            for row in range(each):
                at = dt.datetime.fromisoformat(f"{month}-{1 + row * 9:02}").replace(tzinfo=dt.UTC, microsecond=row * 7)
                connection.execute(statement, {
                    "id": uuid.uuid4(), "entity": f"{number}/{row}\n😀\"", "tenant": None if row else "acme", "at": at,
                    "old": VALUES[row % 4], "new": VALUES[(row + 1) % 4], "reason": None if row == 1 else "",
                })  # fmt: skip


def stored(engine: Engine, condition: str = "action = 'updated'") -> list[tuple[Any, ...]]:
    """Return the rows as the database itself writes them."""
    texts = (
        "*" if engine.dialect.name == "sqlite" else f"{LOG}::text, old_value::text, new_value::text, old_value IS NULL"
    )
    with engine.connect() as connection:
        return sorted(map(tuple, connection.exec_driver_sql(f"SELECT {texts} FROM {LOG} WHERE {condition}")), key=str)


def recorded(engine: Engine) -> list[tuple[str, int, str | None, int, bool]]:
    with engine.connect() as connection:
        return [(each.month, each.part, each.file, each.rows, each.is_complete) for each in read_archives(connection)]


def empty_copy(engine: Engine, tmp_path: Path) -> Engine:
    """Return an engine on an empty database of the same kind: for PostgreSQL, a schema of its own."""
    if engine.dialect.name == "sqlite":
        made = host_engine(f"sqlite:///{tmp_path / f'{uuid.uuid4().hex}.sqlite3'}")
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA app_restored")
        made = host_engine(engine.url.update_query_dict({"options": "-c search_path=app_restored"}).render_as_string(
            hide_password=False))  # fmt: skip
    migrations.upgrade(made)
    return made


def restore(engine: Engine, files: list[Path]) -> list[tuple[int, int]]:
    found = []
    with Session(engine) as session, session.begin():
        for path in files:
            done = restore_archive(session, path)
            found.append((done.rows, done.present))
    return found


def test_archived_verified_gone_and_restored_as_it_was(old: Engine, tmp_path: Path) -> None:
    before = stored(old)
    folder = tmp_path / "archive"
    folder.mkdir()
    report = maintain(old, replace(UPKEEP, folder=folder))
    assert report.ok
    assert [each[:1] + each[3:] for each in recorded(old)] == [(month, 4, True) for month in MONTHS]
    assert stored(old) == []
    assert [(each.entity_id, each.action) for each in AuditLog(Session(old)).page().entries] == [(LOG, "archived")] * 4
    files = [folder / each.file for each in report.archives if each.file is not None]
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == sorted(
        [path.name for path in files] + [f"{path.name}.manifest.json" for path in files]
    )
    manifests = [verify_archive(path) for path in files]
    assert (manifests[0].first, manifests[0].last) == ("2025-11-01T00:00:00.000000Z", "2025-11-28T00:00:00.000021Z")
    assert [len(list(read_archive(path))) for path in files] == [4] * 4
    with old.connect() as connection:
        later = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        assert [each.month for each in archives_needed(connection, since=later)] == ["2026-02", MONTHS[-1]]
        assert [each.month for each in archives_needed(connection, until=later)] == ["2025-11", "2025-12"]
    other = empty_copy(old, tmp_path)
    assert restore(other, files) == [(4, 0)] * 4
    assert stored(other) == before
    assert restore(other, files) == [(0, 4)] * 4
    _assert_the_same_on_sqlite(files, manifests, tmp_path)
    assert maintain(old, replace(UPKEEP, folder=folder)).removed == 0
    other.dispose()


def _assert_the_same_on_sqlite(files: list[Path], manifests: list[Any], tmp_path: Path) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    migrations.upgrade(engine)
    restore(engine, files)
    again = tmp_path / "again"
    again.mkdir()
    maintain(engine, replace(UPKEEP, folder=again))
    assert [verify_archive(again / path.name).content_sha256 for path in files] == [
        each.content_sha256 for each in manifests
    ]


@one_of_each
def test_nothing_leaves_without_an_archive_unless_it_is_said_in_so_many_words(old: Engine, tmp_path: Path) -> None:
    before = stored(old)
    report = maintain(old, UPKEEP)
    assert (report.due, report.removed, report.ok) == (16, 0, False)
    dry = maintain(old, replace(UPKEEP, folder=tmp_path, dry_run=True))
    assert [(each.month, each.rows) for each in dry.archives] == [(month, 4) for month in MONTHS]
    assert [path for path in tmp_path.iterdir() if LOG in path.name] == []
    with pytest.raises(InvalidInput):
        maintain(old, replace(UPKEEP, folder=tmp_path / "missing"))
    assert maintain(old, Upkeep(keep_months=1200, folder=tmp_path)).removed == 0
    assert stored(old) == before
    report = maintain(old, replace(UPKEEP, drop_unarchived=True))
    assert (report.removed, stored(old)) == (16, [])
    assert {each[2] for each in recorded(old)} == {None}


@one_of_each
def test_rows_that_come_after_the_archive_stay_for_the_next_one(
    old: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(old)
    write = upkeep.write_archive

    def write_late(*arguments: Any) -> Any:
        manifest = write(*arguments)
        if arguments[1] == "2025-12":
            fill(old, ("2025-12",), each=1)
        return manifest

    monkeypatch.setattr(upkeep, "write_archive", write_late)
    report = maintain(old, replace(UPKEEP, folder=tmp_path))
    assert (report.left > 0, report.ok) == (True, False)
    assert {path.name for path in tmp_path.glob("*.gz")} == {each[2] for each in recorded(old)}
    monkeypatch.setattr(upkeep, "write_archive", write)
    assert maintain(old, replace(UPKEEP, folder=tmp_path)).ok
    assert stored(old) == []
    other = empty_copy(old, tmp_path)
    restore(other, [tmp_path / each[2] for each in recorded(old) if each[2] is not None])
    assert len(stored(other)) == len(before) + 1
    assert set(before) < set(stored(other))
    fill(old, ("2025-11",), each=2)  # its month has left long ago
    assert maintain(old, replace(UPKEEP, folder=tmp_path)).removed == 2
    assert [each[:2] for each in recorded(old)][:2] == [("2025-11", 1), ("2025-11", 2)]
    other.dispose()


@one_of_each
def test_who_is_erased_after_the_archive_was_written_is_not_deleted_with_it(
    old: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(old) as session, monkeypatch.context() as patch:
        patch.setattr(audit, "utc_now", lambda: dt.datetime(2025, 12, 24, tzinfo=dt.UTC))
        write_audit(session, AuditContext("jane"), AuditEntity.TENANT, "acme", AuditAction.CREATED)
        session.commit()
    write = upkeep.write_archive

    def write_and_erase(*arguments: Any) -> Any:
        manifest = write(*arguments)
        if arguments[1] == "2025-12":
            erase_person(old, actor="jane", by=AuditContext("privacy"))
        return manifest

    monkeypatch.setattr(upkeep, "write_archive", write_and_erase)
    assert not maintain(old, replace(UPKEEP, folder=tmp_path)).ok
    with Session(old) as session:
        people = {
            each.performed_by
            for each in AuditLog(session).page(AuditQuestion(entity="tenant", entity_id="acme")).entries
        }
    assert people == {"<erased>"}
    monkeypatch.setattr(upkeep, "write_archive", write)
    maintain(old, replace(UPKEEP, folder=tmp_path))
    last = [tmp_path / str(each[2]) for each in recorded(old) if each[0] == "2025-12"][-1]
    assert {each.performed_by for each in read_archive(last) if each.entity_id == "acme"} == {"<erased>"}


@one_of_each
def test_a_folder_that_takes_nothing_costs_no_row(old: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(old)

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ArchiveNotWritten, match="No space left"):
            maintain(old, replace(UPKEEP, folder=tmp_path))
    assert [path for path in tmp_path.iterdir() if LOG in path.name] == []
    assert stored(old) == before
    taken = tmp_path / f"{LOG}_2025_11.jsonl.gz"
    taken.write_bytes(b"an archive, as far as anybody knows")
    (tmp_path / f".{LOG}_2025_11.jsonl.gz.1.tmp").write_bytes(b"half")
    assert maintain(old, replace(UPKEEP, folder=tmp_path)).removed == 16
    assert taken.read_bytes() == b"an archive, as far as anybody knows"
    assert verify_archive(tmp_path / f"{LOG}_2025_11.2.jsonl.gz").rows == 4
    assert [path for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_file_system_may_know_no_locks_and_no_sync_of_folders(
    tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrations.upgrade(engine)
    fill(engine, MONTHS[:1])
    sync = os.fsync

    def unable(file: Any, lock: int = 0) -> None:
        if lock or stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.ENOTSUP, "Operation not supported")
        sync(file)

    monkeypatch.setattr(os, "fsync", unable)
    monkeypatch.setattr("fcntl.flock", unable)
    assert maintain(engine, replace(UPKEEP, folder=tmp_path)).removed == 4


def test_databases_that_share_a_folder_keep_each_others_archives(tmp_path: Path, clock: None) -> None:
    engines = [host_engine(f"sqlite:///{tmp_path / name}.sqlite3") for name in "ab"]
    before = []
    for engine in engines:
        migrations.upgrade(engine)
        fill(engine, MONTHS[:1])
        before.append(stored(engine))
        assert maintain(engine, replace(UPKEEP, folder=tmp_path)).removed == 4
    [first], [second] = map(recorded, engines)
    assert first[:3] == (MONTHS[0], 1, f"{LOG}_2025_11.jsonl.gz")
    assert second[:3] == (MONTHS[0], 2, f"{LOG}_2025_11.2.jsonl.gz")
    assert restore(engines[0], [tmp_path / str(first[2])]) == [(4, 0)]
    assert stored(engines[0]) == before[0]


@one_of_each
def test_of_two_at_once_one_is_refused(old: Engine, tmp_path: Path) -> None:
    refused = []

    def second(_line: str) -> None:
        with pytest.raises(LockNotAcquired) as caught:
            maintain(old, replace(UPKEEP, folder=tmp_path))
        refused.append(caught.value.code)

    assert maintain(old, replace(UPKEEP, folder=tmp_path), second).removed == 16
    assert set(refused) == {"lock-not-acquired"}


def _damage(path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    manifest = Path(f"{path}.manifest.json")
    rows = gzip.decompress(path.read_bytes()).replace(b"acme", b"evil")
    said = json.loads(manifest.read_text())
    yield "bytes", lambda: path.write_bytes(gzip.compress(rows))
    yield "bytes", lambda: path.write_bytes(path.read_bytes()[:-9])
    yield "manifest", manifest.unlink
    yield "manifest", lambda: manifest.write_text("{}")
    yield "manifest", lambda: manifest.write_text(json.dumps(said | {"rows": "4"}))
    yield "lines", lambda: manifest.write_text(json.dumps(said | {"rows": 5}))
    yield "read", path.unlink


def test_an_archive_that_was_changed_is_told_and_not_restored(tmp_path: Path, clock: None) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrations.upgrade(engine)
    fill(engine, MONTHS[:1])
    maintain(engine, replace(UPKEEP, folder=tmp_path))
    whole = tmp_path / f"{LOG}_2025_11.jsonl.gz"
    folder = tmp_path / "changed"
    path = folder / whole.name
    for number in range(7):
        folder.mkdir()
        shutil.copy(whole, path)
        shutil.copy(f"{whole}.manifest.json", folder)
        said, damage = list(_damage(path))[number]
        damage()
        with pytest.raises(ArchiveDamaged, match=said):
            verify_archive(path)
        with pytest.raises(ArchiveDamaged), Session(engine) as session:
            restore_archive(session, path)
        shutil.rmtree(folder)
    fill(engine, MONTHS[:1])
    maintain(engine, replace(UPKEEP, folder=tmp_path))
    other = tmp_path / f"{LOG}_2025_11.2.jsonl.gz"
    other.rename(whole)  # whole by itself, under the name of one that the database knows
    manifest = json.loads(Path(f"{other}.manifest.json").read_text())
    Path(f"{whole}.manifest.json").write_text(json.dumps(manifest | {"file": whole.name, "part": 1}))
    assert verify_archive(whole).rows == 4
    with pytest.raises(ArchiveDamaged, match="recorded another one"):
        restore(engine, [whole])
    assert stored(engine) == []


def test_an_archive_that_was_lost_before_its_rows_were_deleted_keeps_them(tmp_path: Path, clock: None) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrations.upgrade(engine)
    fill(engine, MONTHS[:1], each=4)
    process = processes().Process(
        target=_die, args=(str(engine.url), str(tmp_path), "DELETE FROM feature_audit_log", 2)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (len(stored(engine)), recorded(engine)[0][4]) == (3, False)
    path = tmp_path / f"{LOG}_2025_11.jsonl.gz"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ArchiveDamaged):
        maintain(engine, replace(UPKEEP, folder=tmp_path))
    assert len(stored(engine)) == 3
    path.write_bytes(data)
    assert maintain(engine, replace(UPKEEP, folder=tmp_path)).removed == 3
    assert [each[4] for each in recorded(engine)] == [True]


def _die(url: str, folder: str, statement: str, times: int) -> None:
    """Maintain, and be killed before some statement is sent for the n-th time."""
    set_clock(setattr)
    engine = host_engine(url)
    seen = [0]

    def kill(_connection: Any, _cursor: Any, sent: str, *_: Any) -> None:
        seen[0] += sent.startswith(statement)
        if seen[0] == times:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(engine, "before_cursor_execute", kill)
    maintain(engine, replace(UPKEEP, folder=Path(folder), batch_size=1))


@one_of_each
def test_a_run_that_is_killed_anywhere_loses_nothing(old: Engine, tmp_path: Path) -> None:
    before = stored(old)
    url = old.url.render_as_string(hide_password=False)
    old.dispose()
    for statement, times in (
        ("INSERT INTO tierwright_state", 1),
        ("UPDATE tierwright_state", 2),
        ("DELETE FROM feature_audit_log", 3),
        ("ALTER TABLE feature_audit_log DETACH", 1),
        ("DROP TABLE", 2),
    ):
        process = processes().Process(target=_die, args=(url, str(tmp_path), statement, times))
        process.start()
        process.join(60)
        archived = [tmp_path / str(each[2]) for each in recorded(old)]
        kept = {entry.id for path in archived for entry in read_archive(path)}
        with Session(old) as session:
            kept |= {each.id for each in AuditLog(session).page(limit=100).entries if each.action == "updated"}
        assert len(kept) == len(before)
    maintain(old, replace(UPKEEP, folder=tmp_path))
    other = empty_copy(old, tmp_path)
    restore(other, [tmp_path / str(each[2]) for each in recorded(old)])
    assert stored(other) == before
    other.dispose()


def test_of_two_with_folders_of_their_own_one_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrations.upgrade(engine)
    fill(engine, MONTHS[:1])
    write, other = upkeep.write_archive, tmp_path / "other"
    other.mkdir()

    def write_and_be_overtaken(*arguments: Any) -> Any:
        manifest = write(*arguments)
        monkeypatch.setattr(upkeep, "write_archive", write)
        assert maintain(engine, replace(UPKEEP, folder=other)).removed == 4
        return manifest

    monkeypatch.setattr(upkeep, "write_archive", write_and_be_overtaken)
    with pytest.raises(LockNotAcquired):
        maintain(engine, replace(UPKEEP, folder=tmp_path))
    assert [each[:2] for each in recorded(engine)] == [(MONTHS[0], 1)]
    assert verify_archive(other / f"{LOG}_2025_11.jsonl.gz").rows == 4
    assert not list(tmp_path.glob("*.gz*"))


def test_between_batches_the_file_is_left_to_others(
    tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrations.upgrade(engine)
    fill(engine, MONTHS[:1])
    came = []

    def write(seconds: float) -> None:
        came.append(seconds)
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            connection.exec_driver_sql("UPDATE tierwright_state SET version = version")

    monkeypatch.setattr(maintenance_sqlite, "sleep", write)
    assert maintain(engine, replace(UPKEEP, folder=tmp_path, batch_size=1)).removed == 4
    assert len(came) == 4


@one_postgresql
def test_a_late_writer_is_let_through_before_its_partition_goes(
    postgresql_engine: Engine, clock: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.upgrade(postgresql_engine)
    fill(postgresql_engine, MONTHS[:1])
    with postgresql_engine.begin() as connection:
        name = partitions(connection, LOG)[0].name
        connection.execute(sa.text(f'ALTER TABLE {name} RENAME TO "app\'s ""Odd"" 100%"'))
    take_off, writers = PostgresqlWork._take_off, []

    def take_off_while_one_waits(work: PostgresqlWork, connection: Any, name: str) -> None:
        if not writers:
            writers.append(Thread(target=fill, args=(postgresql_engine, MONTHS[:1], 1)))
            writers[0].start()
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = %s::regclass AND NOT granted)"
            while not connection.exec_driver_sql(waits, (name.replace("%%", "%"),)).scalar_one():
                sleep(0.01)
        take_off(work, connection, name)

    monkeypatch.setattr(PostgresqlWork, "_take_off", take_off_while_one_waits)
    report = maintain(postgresql_engine, replace(UPKEEP, folder=tmp_path, lock_wait=60))
    writers[0].join()
    assert (report.removed, report.left) == (0, 5)  # it was not kept waiting for a minute
    assert maintain(postgresql_engine, replace(UPKEEP, folder=tmp_path)).removed == 5


@one_postgresql
def test_by_a_clock_that_is_wrong_nothing_goes(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    migrations.upgrade(postgresql_engine)
    fill(postgresql_engine, MONTHS[:1])
    monkeypatch.setattr(upkeep, "utc_now", lambda: NOW)
    monkeypatch.setattr(maintenance_postgresql, "utc_now", lambda: NOW)
    with pytest.raises(InvalidInput, match="on the server"):
        maintain(postgresql_engine, replace(UPKEEP, folder=tmp_path))
    assert len(stored(postgresql_engine)) == 4


@one_postgresql
def test_time_limits_of_the_role_do_not_stop_it(postgresql_engine: Engine, clock: None, tmp_path: Path) -> None:
    migrations.upgrade(postgresql_engine)
    fill(postgresql_engine, MONTHS[:1])
    limits = "-c statement_timeout=60000 -c idle_in_transaction_session_timeout=60000"
    engine = host_engine(f"{postgresql_engine.url.render_as_string(hide_password=False)}?options={quote(limits)}")
    seen = set()

    def look(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if LOG in statement:
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                seen.add(cursor.connection.execute(f"SHOW {name}").fetchone()[0])

    sa.event.listen(engine, "before_cursor_execute", look)
    assert maintain(engine, replace(UPKEEP, folder=tmp_path)).removed == 4
    assert seen == {"0"}
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "1min"
    engine.dispose()


@one_postgresql
def test_what_postgresql_cannot_hold_is_told(postgresql_engine: Engine, clock: None, tmp_path: Path) -> None:
    engine = host_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {LOG} (id, entity_type, entity_id, action, performed_at, new_value) VALUES "
            f"('{uuid.uuid4().hex}', 'tenant', 'x', 'updated', '2025-11-05 00:00:00', '{{\"a\": \"\\u0000\"}}')"
        )
    maintain(engine, replace(UPKEEP, folder=tmp_path))
    migrations.upgrade(postgresql_engine)
    with pytest.raises(ArchiveNotRestored, match="Unicode"):
        restore(postgresql_engine, [tmp_path / f"{LOG}_2025_11.jsonl.gz"])


@one_postgresql
def test_rows_without_a_month_get_one(postgresql_engine: Engine, clock: None) -> None:
    migrations.upgrade(postgresql_engine)
    fill(postgresql_engine, (*MONTHS, "9999-01"))
    before = stored(postgresql_engine)
    engine = postgresql_engine
    assert maintain(engine, Upkeep(most_moved=1)).ok is False
    report = maintain(engine, Upkeep())
    assert report.ok
    with engine.connect() as connection:
        outside = connection.exec_driver_sql(f"SELECT count(*) FROM {LOG}_default").scalar_one()
    assert (stored(engine), outside > 0) == (before, True)  # nobody makes months for the year 9999
    assert f"{LOG}_{MONTHS[-1].replace('-', '_')}" in report.partitions


@one_postgresql
def test_with_row_level_security_on(postgresql_engine: Engine, clock: None, tmp_path: Path) -> None:
    """The owner obeys the policies; the application's role sees no row through a partition, whatever it was granted."""
    with isolated(postgresql_engine) as place:
        fill(postgresql_engine)
        before = stored(postgresql_engine)
        place.execute(f'ALTER DEFAULT PRIVILEGES FOR ROLE "{place.owner}" GRANT ALL ON TABLES TO "{place.app}"')
        place.enable()
        owner = place.engine(place.owner)
        assert maintain(owner, Upkeep()).ok
        with postgresql_engine.connect() as connection:
            names = [each.name for each in partitions(connection, LOG)]
        for name in names:
            with place.engine(place.app).connect() as connection, pytest.raises(ProgrammingError, match="denied"):
                connection.exec_driver_sql(f'SELECT * FROM "{name}"')
        place.execute(f'GRANT SELECT ON {", ".join(names)} TO "{place.app}"')
        for name in names:
            for role in (place.app, place.owner):
                with place.engine(role).connect() as connection:
                    connection.exec_driver_sql("SELECT set_config('tierwright.tenant_id', 'acme', false)")
                    assert connection.exec_driver_sql(f'SELECT * FROM "{name}"').all() == []
        assert {each.code for each in examine(postgresql_engine, schema=place.schema, rows=False).findings} <= {
            "partition-not-isolated"
        }
        place.execute(f'REVOKE SELECT ON {", ".join(names)} FROM "{place.app}"')
        assert maintain(owner, replace(UPKEEP, folder=tmp_path)).removed == 16
        restore(owner, sorted(tmp_path.glob("*.gz")))
        assert stored(postgresql_engine) == before
        with place.engine(place.app).begin() as connection:
            connection.exec_driver_sql("SELECT set_config('tierwright.tenant_id', 'acme', true)")
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {LOG}").scalar_one() == 4
        isolation.disable(place.url(place.owner), schema=place.schema)
        assert examine(place.url(place.owner), schema=place.schema, rows=False).ok


@one_of_each
def test_the_commands(old: Engine, tmp_path: Path) -> None:
    url = old.url.render_as_string(hide_password=False)
    maintained = run_cli("audit", "maintain", "--keep-months", "2", url=url, exit_code=1)
    assert "16 rows are older" in maintained.stderr
    report = run_json("audit", "maintain", "--keep-months", "2", "--archive", str(tmp_path), "--actor", "me", url=url)
    assert (report["ok"], report["removed"]) == (True, 16)
    files = [str(tmp_path / each["file"]) for each in report["archives"]]
    assert "4 rows" in run_cli("audit", "verify", *files).stdout
    restored = run_json("audit", "restore", files[0], url=url)
    assert restored["restored"] == [{"file": Path(files[0]).name, "rows": 4, "present": 0}]
    if old.dialect.name == "postgresql":  # a month of its own, so that nobody has to move the rows
        with old.connect() as connection:
            assert partitions(connection, LOG)[0].name == f"{LOG}_2025_11"
        with old.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {LOG}_2025_12 ()")  # then there is none for this month
    assert run_json("audit", "restore", files[1], url=url)["restored"][0]["rows"] == 4
    Path(files[0]).write_bytes(b"x")
    damaged = run_cli("audit", "verify", files[0], "--json", exit_code=1)
    assert json.loads(damaged.stdout)["error"]["code"] == "archive-damaged"
