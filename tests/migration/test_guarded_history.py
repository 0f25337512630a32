"""The revision that guards the history: it is only added to, but for two commands, and the triggers last."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import sessionmaker
from sqlmodel import Session, SQLModel

from tests.conftest import POSTGRES
from tests.migration import support
from tests.migration.support import FIRST as FIRST_REVISION
from tests.migration.support import PROTECTED
from tests.migration.test_helper_layer import drift, helpers
from tests.migration.test_protected_rows import filled, run  # noqa: F401  filled is a fixture
from tests.support import rows
from tests.support.isolation import isolated
from tierwright import migrations
from tierwright.audit import erase_person
from tierwright.audit.floor import raise_floor, read_floor
from tierwright.audit.passes import Purpose, history_pass
from tierwright.doctor import examine
from tierwright.errors import (
    HistoryProtected,
    InvalidInput,
    MigrationError,
    PrivilegeMissing,
    SchemaDrift,
    TransactionMissing,
)
from tierwright.isolation import tenant_context
from tierwright.migrations import runner
from tierwright.migrations.location import chain_path
from tierwright.migrations.repair import ensured
from tierwright.services.audit import AuditContext
from tierwright.services.registry.integrity import typed_integrity

LOG = "feature_audit_log"
STATE = SQLModel.metadata.tables["tierwright_state"]
FIRST, SECOND, THIRD = (f"id = '{rows.ident(number).hex}'" for number in (61, 62, 63))
ERASE = f"UPDATE {LOG} SET performed_by = '<erased>'"
GUARDS = [each for each in ensured(support.HEAD) if each.name.startswith(f"trg_{LOG}")]
VALUES = (
    "entity_type, entity_id, action, performed_by, performed_at) SELECT {}, 'feature', 'forged', 'deleted', 'nobody', "
    f"performed_at FROM {LOG} WHERE {FIRST}"
)
CHANGES = [
    ERASE,
    f"UPDATE {LOG} SET reason = 'x'",
    f"UPDATE {LOG} SET reason = reason",
    f"UPDATE {LOG} SET performed_at = '2020-01-01 00:00:00'",
    f"DELETE FROM {LOG}",
    f"DELETE FROM {LOG} WHERE {FIRST}",
    f"INSERT INTO {LOG} (id, {VALUES.format('id')} ON CONFLICT (id, performed_at) DO UPDATE SET action = 'deleted'",
]
CHANGES_OF_POSTGRESQL = [f"TRUNCATE {LOG}", f"TRUNCATE tierwright_state, {LOG} CASCADE"]
CHANGES_OF_SQLITE = [
    f"REPLACE INTO {LOG} (id, {VALUES.format('id')}",
    f"INSERT OR REPLACE INTO {LOG} (rowid, id, {VALUES.format('rowid, hex(randomblob(16))')}",
    f"INSERT OR IGNORE INTO {LOG} (id, {VALUES.format('id')}",
    f"UPDATE OR REPLACE {LOG} SET id = (SELECT id FROM {LOG} WHERE {FIRST}) WHERE {SECOND}",
]


def assert_refused(connection: Connection, statement: str) -> None:
    """Assert that the database refuses a statement by a guard of the history."""
    with pytest.raises(IntegrityError) as caught, connection.begin_nested():
        connection.exec_driver_sql(statement)
    assert isinstance(typed_integrity(caught.value), HistoryProtected), statement


@contextmanager
def passing(engine: Engine, purpose: Purpose) -> Iterator[Connection]:
    """Yield a connection whose transaction may change the history for one purpose."""
    with engine.begin() as connection, history_pass(connection, purpose):
        yield connection


def set_floor(engine: Engine, below: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(STATE).where(STATE.c.key == "audit_floor"))
        connection.execute(STATE.insert().values(key="audit_floor", value={"below": below}))


def people(engine: Engine) -> list[tuple[str | None, ...]]:
    query = f"SELECT performed_by, ip_address, user_agent FROM {LOG} ORDER BY performed_at"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


# --- nothing is changed ----------------------------------------------------------------------------------------------


def test_nothing_recorded_is_changed_or_removed(filled: Engine) -> None:  # noqa: F811
    before = rows.contents(filled)
    is_sqlite = filled.dialect.name == "sqlite"
    with filled.begin() as connection:
        for statement in CHANGES + (CHANGES_OF_SQLITE if is_sqlite else CHANGES_OF_POSTGRESQL):
            assert_refused(connection, statement)
    if is_sqlite:
        with filled.connect() as connection:
            connection.exec_driver_sql("PRAGMA recursive_triggers=ON")
            for statement in CHANGES + CHANGES_OF_SQLITE:
                assert_refused(connection, statement)
    assert rows.contents(filled) == before
    with filled.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO {LOG} (id, {VALUES.format(repr('f' * 32))}")
    assert len(people(filled)) == 4


@pytest.mark.parametrize("is_kept", [False, True])
def test_of_a_refused_statement_what_was_there_stays_as_it_was(tmp_path: Path, is_kept: bool) -> None:
    """SQLite leaves what the statement had added until then: whoever rolls back, as after every error, undoes it."""
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrations.upgrade(engine)
    entry = "(id, entity_type, entity_id, action, performed_at) VALUES"
    run(engine, f"INSERT INTO {LOG} {entry} ('a', 'feature', 'first', 'created', '2026-01-01')")
    both = "('b', 'feature', 'new', 'created', '2026-01-02'), ('a', 'feature', 'forged', 'deleted', '2026-01-01')"
    with engine.connect() as connection:
        with pytest.raises(IntegrityError, match="no_replace"):
            connection.exec_driver_sql(f"INSERT OR REPLACE INTO {LOG} {entry} {both}")
        (connection.commit if is_kept else connection.rollback)()
        found = connection.exec_driver_sql(f"SELECT id, entity_id, action FROM {LOG} ORDER BY id").all()
    assert found == [("a", "first", "created"), *([("b", "new", "created")] if is_kept else [])]


def test_a_pass_for_one_purpose_allows_nothing_else(filled: Engine) -> None:  # noqa: F811
    set_floor(filled, "2020-01-01 00:00:00.000000")
    before = rows.contents(filled)
    changes = [CHANGES[1], *CHANGES[3:]] + (
        CHANGES_OF_SQLITE if filled.dialect.name == "sqlite" else CHANGES_OF_POSTGRESQL
    )
    with passing(filled, Purpose.ERASE) as connection:
        for statement in changes:
            assert_refused(connection, statement)
    with passing(filled, Purpose.MAINTAIN) as connection:
        for statement in [ERASE, *changes]:
            assert_refused(connection, statement)
    assert rows.contents(filled) == before


# --- what erases, and what maintains ---------------------------------------------------------------------------------


def test_persons_can_be_erased_and_nothing_else_with_them(filled: Engine) -> None:  # noqa: F811
    add = f"INSERT INTO {LOG} (id, ip_address, user_agent, {VALUES}"
    run(filled, add.format("'" + "e" * 32 + "', '10.0.0.1', 'curl'"))
    with passing(filled, Purpose.ERASE) as connection:
        for change in (
            "performed_by = 'somebody'",
            "performed_by = NULL",
            "ip_address = '<erased>'",  # three rows have none: nothing is invented
            "performed_by = '<erased>', reason = 'x'",
            "performed_by = '<erased>', old_value = '[]'",
        ):
            assert_refused(connection, f"UPDATE {LOG} SET {change}")
        connection.exec_driver_sql(f"{ERASE} WHERE {FIRST}")
        connection.exec_driver_sql(f"UPDATE {LOG} SET ip_address = '<erased>' WHERE ip_address IS NOT NULL")
    with filled.begin() as connection:
        assert_refused(connection, ERASE)  # the pass ended
    assert sorted(people(filled)) == sorted(
        [("<erased>", None, None), ("nobody", "<erased>", "curl"), *[("someone", None, None)] * 2]
    )


def test_rows_from_before_the_floor_can_be_removed_and_no_later_ones(filled: Engine) -> None:  # noqa: F811
    second = f"DELETE FROM {LOG} WHERE {SECOND}"  # 2026-01-02 03:04:06.678901
    with passing(filled, Purpose.MAINTAIN) as connection:
        assert_refused(connection, second)  # there is no floor
    for floor in ("2026-01-02 03:04:06.678901", "2026-01-02 03:04:06"):
        set_floor(filled, floor)
        with passing(filled, Purpose.MAINTAIN) as connection:
            assert_refused(connection, second)
    set_floor(filled, "2026-01-02 03:04:06.678902")
    with passing(filled, Purpose.MAINTAIN) as connection:
        connection.exec_driver_sql(second)
        assert_refused(connection, f"DELETE FROM {LOG}")
    assert len(people(filled)) == 2


def test_a_row_of_a_whole_second_is_not_before_that_second(filled: Engine) -> None:  # noqa: F811
    """SQLite's CURRENT_TIMESTAMP writes it shorter than SQLAlchemy does."""
    run(filled, f"INSERT INTO {LOG} (id, entity_type, entity_id, action, performed_at) VALUES "
        f"('{'d' * 32}', 'tenant', 'acme', 'purged', '2026-01-01 00:00:00')")  # fmt: skip
    set_floor(filled, "2026-01-01 00:00:00.000000")
    with passing(filled, Purpose.MAINTAIN) as connection:
        assert_refused(connection, f"DELETE FROM {LOG} WHERE action = 'purged'")


def test_a_pass_ends_with_its_block_and_leaves_no_row(filled: Engine) -> None:  # noqa: F811
    with filled.begin() as connection:
        with pytest.raises(ZeroDivisionError), history_pass(connection, Purpose.ERASE):
            1 / 0  # noqa: B018
        assert_refused(connection, ERASE)
    with filled.connect() as connection:
        assert connection.execute(sa.select(STATE.c.key).where(STATE.c.key == "audit_pass")).all() == []
    alone = filled.execution_options(isolation_level="AUTOCOMMIT").connect()
    with alone, pytest.raises(TransactionMissing), history_pass(alone, Purpose.ERASE):
        pass


def test_a_pass_of_another_transaction_opens_nothing(postgresql_engine: Engine) -> None:
    engine = postgresql_engine
    migrations.upgrade(engine)
    with engine.begin() as connection:
        rows.fill(connection)
    with engine.begin() as forger:
        left = {"pass": "erase", "transaction": "3"}
        forger.execute(STATE.insert().values(key="audit_pass", value=left))
    with engine.begin() as connection:
        assert_refused(connection, ERASE)
        connection.exec_driver_sql("CREATE TEMPORARY TABLE tierwright_state (key text, value jsonb)")
        connection.exec_driver_sql(
            "INSERT INTO pg_temp.tierwright_state SELECT 'audit_pass', "
            "jsonb_build_object('pass', 'erase', 'transaction', pg_current_xact_id()::text)"
        )
        assert_refused(connection, ERASE)
    with passing(engine, Purpose.ERASE) as connection:  # what was left is no hindrance
        connection.exec_driver_sql(ERASE)
    assert {name for name, *_ in people(engine)} == {"<erased>"}


def test_the_floor_goes_up_and_never_down(filled: Engine) -> None:  # noqa: F811
    second = rows.NOW + dt.timedelta(seconds=1)
    with filled.begin() as connection:
        assert read_floor(connection) is None
        for below, floor in ((second, second), (rows.NOW, second)):
            assert raise_floor(connection, below.astimezone(dt.timezone(dt.timedelta(hours=5)))) == floor
        assert read_floor(connection) == second
        with pytest.raises(InvalidInput):
            raise_floor(connection, dt.datetime(2026, 1, 1))
    with passing(filled, Purpose.MAINTAIN) as connection:
        connection.exec_driver_sql(f"DELETE FROM {LOG} WHERE {FIRST}")
        assert_refused(connection, f"DELETE FROM {LOG}")
    with filled.begin() as connection:
        raise_floor(connection, rows.NOW.replace(microsecond=0) + dt.timedelta(seconds=3))
    with passing(filled, Purpose.MAINTAIN) as connection:
        assert connection.exec_driver_sql(f"DELETE FROM {LOG}").rowcount == 2


# --- the guards last -------------------------------------------------------------------------------------------------


def test_rebuilds_keep_the_guards(filled: Engine) -> None:  # noqa: F811
    """On SQLite a rebuild drops the table with its triggers; those of the history read another table too."""
    for table, condition in ((LOG, "entity_id <> ''"), ("tierwright_state", "version >= 0")):
        with helpers(filled) as op:
            op.ensure_check("chk_later", table, condition)  # type: ignore[attr-defined]
        with filled.begin() as connection:
            assert_refused(connection, f"DELETE FROM {LOG}")
        with passing(filled, Purpose.ERASE) as connection:
            connection.exec_driver_sql(ERASE)
        with helpers(filled) as op:
            op.discard_check("chk_later", table)  # type: ignore[attr-defined]
    before = rows.contents(filled)
    with filled.begin() as connection:
        for statement in CHANGES + (CHANGES_OF_SQLITE if filled.dialect.name == "sqlite" else CHANGES_OF_POSTGRESQL):
            assert_refused(connection, statement)
    assert rows.contents(filled) == before
    assert drift(filled) == []


def test_guards_that_somebody_took_away_are_told_and_put_back(filled: Engine) -> None:  # noqa: F811
    is_sqlite = filled.dialect.name == "sqlite"
    names = [f"trg_{LOG}_no_{each}" for each in ("delete", "replace" if is_sqlite else "truncate", "update")]
    for name in names:
        run(filled, f"DROP TRIGGER {name}" if is_sqlite else f"DROP TRIGGER {name} ON {LOG}")
    found = examine(filled, rows=False).findings
    assert sorted((each.code, each.object) for each in found) == [
        ("trigger-missing", f"{LOG}.{each}") for each in names
    ]
    assert sorted(migrations.repair(filled)) == names
    assert drift(filled) == []
    if not is_sqlite:
        run(filled, f"ALTER TABLE {LOG} DISABLE TRIGGER ALL")
        assert {each.code for each in examine(filled, rows=False).findings} == {"trigger-disabled"}


def test_a_guard_that_is_there_and_does_nothing_is_told_and_put_right(filled: Engine) -> None:  # noqa: F811
    name = f"trg_{LOG}_no_delete"
    if filled.dialect.name == "sqlite":
        run(
            filled,
            f"DROP TRIGGER {name}",
            f"CREATE TRIGGER {name} BEFORE DELETE ON {LOG} FOR EACH ROW WHEN 0 BEGIN SELECT RAISE(ABORT, 'x'); END",
        )
    else:
        run(filled, f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END'")
    assert {(each.code, each.object) for each in examine(filled, rows=False).findings} == {
        ("trigger-differs", f"{LOG}.{name}")
    }
    with pytest.raises(SchemaDrift):
        migrations.check(filled)
    assert migrations.repair(filled) == (name,)
    assert examine(filled).ok


#: A later revision as somebody might write it: Alembic's own batch makes the table anew, without its triggers.
LATER = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0000000000ff", "{head}", None, None


def reflected():
    table = sa.Table("{log}", sa.MetaData(), autoload_with=op.get_bind())
    for check in table.constraints:
        if isinstance(check, sa.CheckConstraint):  # SQLAlchemy 2.0.20 reads a parenthesis too many
            text = str(check.sqltext)
            check.sqltext = sa.text(text[: len(text) - (text.count(")") - text.count("("))])
    return table


def upgrade():
    with op.batch_alter_table("{log}", copy_from=reflected(), recreate="always") as batch:
        batch.alter_column("reason", nullable=True)
    assert not op.get_bind().exec_driver_sql("SELECT 1 FROM sqlite_master WHERE tbl_name = '{log}' AND type = 'trigger'"
                                             ).all()


def downgrade():
    upgrade()
"""


def test_a_later_revision_that_drops_the_guards_does_not_end_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrations.upgrade(engine)
    with engine.begin() as connection:
        rows.fill(connection)
    folder = Path(shutil.copytree(chain_path(), tmp_path / "chain"))
    (folder / "versions" / "0000000000ff_later.py").write_text(LATER.format(head=support.HEAD, log=LOG))
    monkeypatch.setattr(runner, "chain_path", lambda: folder)
    for run_chain, target in ((migrations.upgrade, "0000000000ff"), (migrations.downgrade, support.HEAD)):
        run_chain(engine, target)
        with engine.begin() as connection:
            for statement in CHANGES + CHANGES_OF_SQLITE:
                assert_refused(connection, statement)


def test_the_way_back_takes_the_guards_away(filled: Engine) -> None:  # noqa: F811
    migrations.downgrade(filled, PROTECTED)
    run(filled, f"UPDATE {LOG} SET reason = 'x'", f"DELETE FROM {LOG}")
    assert [line for line in support.dump(filled) if f"trg_{LOG}" in line] == []
    migrations.upgrade(filled)
    assert drift(filled) == []


# --- what a host can do about them -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE UNIQUE INDEX app_once ON {LOG} (request_id)",
        f"CREATE TABLE {LOG} (id TEXT, performed_at TEXT, request_id TEXT UNIQUE, PRIMARY KEY (id, performed_at))",
    ],
)
def test_sqlite_has_no_other_unique_key_by_which_replace_could_delete(tmp_path: Path, statement: str) -> None:
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrations.upgrade(engine, PROTECTED)
    run(engine, *([f"DROP TABLE {LOG}"] if "TABLE" in statement else []), statement)
    before = support.dump(engine)
    with pytest.raises(MigrationError, match="REPLACE could delete rows") as caught, helpers(engine) as op:
        op.ensure(*GUARDS)  # type: ignore[attr-defined]
    assert support.dump(engine) == before
    assert len(caught.value.details["keys"]) == 1


def test_an_upgrade_over_such_a_key_changes_nothing(tmp_path: Path) -> None:
    engine = support.plain_engine(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    migrations.upgrade(engine, FIRST_REVISION)
    run(engine, f"CREATE UNIQUE INDEX app_once ON {LOG} (request_id)")
    before = support.dump(engine)
    with pytest.raises(MigrationError, match="app_once"):
        migrations.upgrade(engine)
    assert support.dump(engine) == before
    run(engine, "DROP INDEX app_once")
    migrations.upgrade(engine)
    run(engine, f"CREATE UNIQUE INDEX app_once ON {LOG} (request_id)")
    found = {(each.code, each.object) for each in examine(engine, rows=False).findings}
    assert {("history-replaceable", f"{LOG}.app_once"), ("index-added", f"{LOG}.app_once")} <= found


def test_a_pass_that_was_committed_is_told(filled: Engine) -> None:  # noqa: F811
    with filled.connect() as connection:
        with history_pass(connection, Purpose.ERASE):
            connection.commit()
        connection.rollback()
    assert [each.code for each in examine(filled, rows=False).findings] == ["history-pass-left"]
    with filled.begin() as connection, history_pass(connection, Purpose.MAINTAIN):
        pass
    assert examine(filled, rows=False).ok


@pytest.mark.parametrize("database_kind", [list(POSTGRES)[-1]], indirect=True)
def test_a_rule_that_drops_entries_is_told(filled: Engine) -> None:  # noqa: F811
    run(filled, f"CREATE RULE quiet AS ON INSERT TO {LOG} DO INSTEAD NOTHING")
    found = [(each.code, each.object) for each in examine(filled, rows=False).findings]
    assert found == [("history-ruled", f"{LOG}.quiet")]


@pytest.mark.parametrize("database_kind", [list(POSTGRES)[-1]], indirect=True)
def test_a_partition_that_was_detached_is_told(filled: Engine) -> None:  # noqa: F811
    migrations.upgrade(filled)
    with filled.begin() as connection:
        (name, *_) = connection.exec_driver_sql(
            f"SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = oid WHERE inhparent = '{LOG}'::regclass "
            "AND relname ~ 'before'"
        ).scalars()
        connection.exec_driver_sql(f"CREATE TABLE {LOG}_1999_01 (id int)")  # a host may have one
        connection.exec_driver_sql(f"ALTER TABLE {LOG} DETACH PARTITION {name}")
    found = [(each.code, each.object) for each in examine(filled, rows=False).findings if each.code != "table-added"]
    assert ("partition-detached", name) in found
    assert not [each for each in found if "1999" in each[1]]


@pytest.mark.parametrize("database_kind", [list(POSTGRES)[-1]], indirect=True)
def test_with_roles_apart_only_the_owner_can_open_a_pass(engine: Engine) -> None:
    opening = (
        "INSERT INTO tierwright_state (key, value) SELECT 'audit_pass', "
        "jsonb_build_object('pass', '{}', 'transaction', pg_current_xact_id()::text)"
    )
    changes = [ERASE, f"DELETE FROM {LOG}", f"TRUNCATE {LOG}"]
    with isolated(engine) as place:
        with engine.begin() as connection:
            rows.fill(connection)
            connection.exec_driver_sql(
                f"INSERT INTO {LOG} (id, entity_type, entity_id, tenant_id, action, performed_by, performed_at) "
                f"VALUES ('{'c' * 32}', 'tenant', 'acme', 'acme', 'purged', 'someone', '2026-01-01')"
            )
        place.enable()
        set_floor(engine, "2026-02-01 00:00:00.000000")
        before = rows.contents(engine)

        def refused(connection: Connection, statement: str) -> str:
            with pytest.raises(DBAPIError) as caught, connection.begin_nested():
                connection.exec_driver_sql(statement)
            return str(caught.value.orig.sqlstate)  # type: ignore[union-attr]

        denied, guarded = "42501", "23514"
        with Session(place.engine(place.app)) as session, tenant_context(session, "acme"):
            for statement in [*changes, opening.format("erase"), opening.format("maintain")]:
                assert refused(session.connection(), statement) == denied
        place.execute(f'GRANT ALL ON {LOG} TO "{place.app}", "{place.admin}"')  # as hosts do
        with Session(place.engine(place.app)) as session, tenant_context(session, "acme"):
            assert [refused(session.connection(), statement) for statement in changes] == [guarded] * 3
            assert refused(session.connection(), opening.format("erase")) == denied
        for purpose, change in (("erase", ERASE), ("maintain", f"DELETE FROM {LOG}")):
            with engine.connect() as connection:  # the back office may write the state
                connection.exec_driver_sql(f'SET LOCAL ROLE "{place.admin}"')
                connection.exec_driver_sql(opening.format(purpose))
                assert refused(connection, change) == guarded
        with engine.connect() as connection:
            connection.exec_driver_sql(f'SET LOCAL ROLE "{place.admin}"')
            with pytest.raises(PrivilegeMissing, match="owns"):
                erase_person(sessionmaker(connection), actor="someone", by=AuditContext("privacy"))
        assert rows.contents(engine) == before
        for purpose, change in ((Purpose.ERASE, ERASE), (Purpose.MAINTAIN, f"DELETE FROM {LOG}")):
            with place.engine(place.owner).begin() as connection, history_pass(connection, purpose):
                assert connection.exec_driver_sql(change).rowcount == 4  # FORCE, and all of them seen
        assert rows.contents(engine)[LOG][0] == 0
