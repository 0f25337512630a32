"""The history in monthly parts on PostgreSQL: no row is written, nothing of the host's is lost, and the way back."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from tests.conftest import CHAIN_SERVERS
from tests.migration import support
from tests.migration.support import HEAD
from tests.support import rows
from tierwright import migrations
from tierwright.audit import Upkeep
from tierwright.audit.maintenance import maintain
from tierwright.audit.months import next_month
from tierwright.doctor import examine
from tierwright.errors import DirtyData, MigrationError
from tierwright.migrations.dialects.postgresql_partitions import partitions

LOG = "feature_audit_log"
BEFORE = "a2b3c4d5e6f7"
NOW = dt.datetime.now(dt.UTC)
one_is_enough = pytest.mark.parametrize("postgresql_kind", CHAIN_SERVERS[-1:], indirect=True)

ADDITIONS = [
    "CREATE TABLE app_tenant (id VARCHAR(255) PRIMARY KEY)",
    "INSERT INTO app_tenant SELECT DISTINCT tenant_id FROM feature_audit_log WHERE tenant_id IS NOT NULL",
    "INSERT INTO app_tenant VALUES ('added')",
    "CREATE TABLE app_seen (what TEXT)",
    "ALTER TABLE feature_audit_log ADD COLUMN app_gone INTEGER",
    "ALTER TABLE feature_audit_log ADD COLUMN app_number BIGSERIAL",
    "ALTER TABLE feature_audit_log ADD COLUMN \"app Odd\" TEXT GENERATED ALWAYS AS (entity_type || '/') STORED",
    "ALTER TABLE feature_audit_log DROP COLUMN app_gone",
    "ALTER TABLE feature_audit_log ADD CONSTRAINT app_check CHECK (action IN ('x', 'y') OR id IS NOT NULL)",
    "ALTER TABLE feature_audit_log ADD CONSTRAINT app_key UNIQUE (app_number, performed_at)",
    "ALTER TABLE feature_audit_log ADD CONSTRAINT app_tenants FOREIGN KEY (tenant_id) REFERENCES app_tenant (id)",
    "CREATE INDEX app_partial ON feature_audit_log (action) WHERE entity_type IN ('tier', 'feature')",
    'CREATE INDEX app_expression ON feature_audit_log (lower(entity_id) COLLATE "C", performed_at DESC NULLS LAST)',
    "CREATE UNIQUE INDEX app_unique ON feature_audit_log (performed_at, id)",
    "CREATE VIEW app_view WITH (security_barrier = true) AS SELECT entity_type, count(*) AS changes "
    "FROM feature_audit_log WHERE action <> 'purged' GROUP BY entity_type",
    "CREATE VIEW app_over_view AS SELECT sum(changes) AS changes FROM app_view",
    "CREATE FUNCTION app_note() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO app_seen VALUES (TG_NAME); RETURN NULL; END $$",
    "CREATE TRIGGER app_row AFTER INSERT ON feature_audit_log FOR EACH ROW EXECUTE FUNCTION app_note()",
    "CREATE TRIGGER app_statement AFTER INSERT ON feature_audit_log EXECUTE FUNCTION app_note()",
    "CREATE TRIGGER app_off AFTER INSERT ON feature_audit_log FOR EACH ROW EXECUTE FUNCTION app_note()",
    "ALTER TABLE feature_audit_log DISABLE TRIGGER app_off",
    "COMMENT ON TABLE feature_audit_log IS 'theirs'",
    "COMMENT ON COLUMN feature_audit_log.app_number IS 'theirs too'",
    "GRANT SELECT, INSERT ON feature_audit_log TO PUBLIC",
    "GRANT UPDATE (reason) ON feature_audit_log TO pg_monitor WITH GRANT OPTION",
    "CREATE POLICY app_policy ON feature_audit_log AS RESTRICTIVE FOR SELECT TO pg_monitor USING (tenant_id = 'a')",
    "CREATE POLICY app_writes ON feature_audit_log FOR INSERT WITH CHECK (action <> 'purged')",
    "ALTER TABLE feature_audit_log ENABLE ROW LEVEL SECURITY",
]
#: What stands in the way, what takes it away again, and what the refusal says.
REFUSED = [
    ("CREATE TABLE app_points (i UUID, p TIMESTAMPTZ, FOREIGN KEY (i, p) REFERENCES feature_audit_log)",
     "DROP TABLE app_points", "foreign key app_points_i_p_fkey of app_points"),
    ("CREATE UNIQUE INDEX app_alone ON feature_audit_log (id)", "DROP INDEX app_alone", "app_alone"),
    ("CREATE MATERIALIZED VIEW app_kept AS SELECT * FROM feature_audit_log",
     "DROP MATERIALIZED VIEW app_kept", "materialized view app_kept"),
    ("CREATE FUNCTION app_count() RETURNS bigint RETURN (SELECT count(*) FROM feature_audit_log)",
     "DROP FUNCTION app_count", "function app_count"),
    ("CREATE FUNCTION app_id(feature_audit_log) RETURNS uuid LANGUAGE SQL RETURN $1.id",
     "DROP FUNCTION app_id", "function app_id"),
    ("CREATE RULE app_rule AS ON DELETE TO feature_audit_log DO INSTEAD NOTHING",
     "DROP RULE app_rule ON feature_audit_log", "rule app_rule"),
    ("ALTER TABLE feature_audit_log ADD CONSTRAINT app_later CHECK (id IS NOT NULL) NOT VALID",
     "ALTER TABLE feature_audit_log DROP CONSTRAINT app_later", "app_later, NOT VALID"),
    ("ALTER TABLE feature_audit_log ADD COLUMN app_id INTEGER GENERATED ALWAYS AS IDENTITY",
     "ALTER TABLE feature_audit_log DROP COLUMN app_id", "identity column app_id"),
    ("CREATE TABLE app_child () INHERITS (feature_audit_log)", "DROP TABLE app_child", "inheritance"),
    ("CREATE PUBLICATION app_published FOR TABLE feature_audit_log",
     "DROP PUBLICATION app_published", "publication app_published"),
    ("CREATE PUBLICATION app_published FOR ALL TABLES", "DROP PUBLICATION app_published", "publication app_published"),
    ("ALTER TABLE feature_audit_log REPLICA IDENTITY FULL",
     "ALTER TABLE feature_audit_log REPLICA IDENTITY DEFAULT", "replica identity"),
    ("CREATE VIEW feature_audit_log_2031_02 AS SELECT 1 AS one",
     "DROP VIEW feature_audit_log_2031_02", "feature_audit_log_2031_02 is taken"),
]  # fmt: skip


@pytest.fixture
def before(postgresql_engine: Engine) -> Engine:
    """Return an engine on the revision before, with rows."""
    migrations.upgrade(postgresql_engine, BEFORE)
    with postgresql_engine.begin() as connection:
        rows.fill(connection)
    return postgresql_engine


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def ask(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar()


def insert(connection: Connection, moment: dt.datetime, **values: Any) -> None:
    given = {"entity_type": "tenant", "entity_id": "x", "action": "updated", "performed_at": moment} | values
    connection.execute(sa.insert(SQLModel.metadata.tables[LOG]).values(id=uuid.uuid4(), **given))


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [each.name for each in partitions(connection, LOG)]


def test_rows_stay_where_they_are_and_what_the_host_added_too(before: Engine) -> None:
    engine = before
    run(engine, *ADDITIONS)
    contents, whole, dumped = rows.contents(engine), support.dump(engine), support.pg_dump_schema(_url(engine))
    file = f"SELECT pg_relation_filenode('{LOG}')"
    was = ask(engine, file)
    migrations.upgrade(engine)
    old = names(engine)[0]
    assert ask(engine, f"SELECT pg_relation_filenode('{old}')") == was
    support.assert_at_head(engine, contents)
    _assert_additions_work(engine, old)
    added = rows.contents(engine)
    migrations.downgrade(engine, BEFORE)
    assert rows.contents(engine) == added
    assert support.dump(engine) == whole
    assert support.pg_dump_schema(_url(engine)) == dumped
    assert ask(engine, file) == was
    migrations.upgrade(engine)
    support.assert_at_head(engine, added)


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _assert_additions_work(engine: Engine, old: str) -> None:
    seen = ask(engine, "SELECT changes FROM app_over_view")
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM app_seen")
        for moment in (NOW, NOW + dt.timedelta(days=45), NOW + dt.timedelta(days=600)):
            insert(connection, moment, tenant_id="added")
        with pytest.raises(IntegrityError, match="app_tenants"), connection.begin_nested():
            insert(connection, NOW, tenant_id="nobody")
    assert ask(engine, "SELECT changes FROM app_over_view") == seen + 3
    assert ask(engine, "SELECT string_agg(what, ',' ORDER BY what) FROM app_seen") == ",".join(
        ["app_row"] * 3 + ["app_statement"] * 3
    )
    for table in names(engine):
        assert ask(engine, f"SELECT relrowsecurity FROM pg_class WHERE relname = '{table}'")
        for role in ("public", "pg_monitor"):
            assert not ask(engine, f"SELECT has_table_privilege('{role}', '{table}', 'SELECT, INSERT')")
            assert not ask(engine, f"SELECT has_any_column_privilege('{role}', '{table}', 'UPDATE')")
    assert ask(engine, f"SELECT has_column_privilege('pg_monitor', '{LOG}', 'reason', 'UPDATE WITH GRANT OPTION')")
    assert ask(engine, f"SELECT has_table_privilege('public', '{LOG}', 'INSERT')")
    assert ask(engine, f"SELECT count(*) FROM pg_policy WHERE polrelid = '{LOG}'::regclass") == 2
    assert ask(engine, f"SELECT pg_get_serial_sequence('{LOG}', 'app_number')").endswith("app_number_seq")


@one_is_enough
def test_what_would_be_lost_is_refused_before_anything_changes(before: Engine) -> None:
    for made, undone, said in REFUSED:
        run(before, made)
        found = support.dump(before)
        with pytest.raises(MigrationError) as caught:
            migrations.upgrade(before)
        assert said in caught.value.message
        assert support.dump(before) == found
        run(before, undone)
    migrations.upgrade(before)
    support.assert_at_head(before, None)


@one_is_enough
def test_a_moment_that_python_does_not_have_is_told_too(before: Engine) -> None:
    run(before, f"INSERT INTO {LOG} (id, entity_type, entity_id, action, performed_at) "
                "VALUES (gen_random_uuid(), 'tenant', 'x', 'updated', 'infinity')")  # fmt: skip
    with pytest.raises(DirtyData, match="/infinity"):
        migrations.upgrade(before)


@one_is_enough
def test_rows_of_a_far_future_are_told_and_those_of_a_near_one_move_the_bound(before: Engine) -> None:
    with before.begin() as connection:
        insert(connection, NOW + dt.timedelta(days=4000))
    found = support.dump(before)
    with pytest.raises(DirtyData, match="far-future") as caught:
        migrations.upgrade(before)
    (listed,) = caught.value.details["findings"]
    assert (listed["problem"], listed["rows"]) == ("far-future", 1)
    assert support.dump(before) == found
    run(before, f"ALTER TABLE {LOG} DISABLE TRIGGER USER", f"DELETE FROM {LOG} WHERE performed_at > now()",
        f"ALTER TABLE {LOG} ENABLE TRIGGER USER")  # fmt: skip
    with before.begin() as connection:
        insert(connection, NOW + dt.timedelta(days=100))
    migrations.upgrade(before)
    with before.connect() as connection:
        first = partitions(connection, LOG)[0]
    assert first.lower is None
    assert first.upper is not None
    assert dt.timedelta(days=130) < first.upper - NOW < dt.timedelta(days=195)


@one_is_enough
@pytest.mark.parametrize("left", ["2020_01", "future"])
def test_a_run_that_was_killed_goes_on_with_a_bound_that_still_serves(before: Engine, left: str) -> None:
    contents = rows.contents(before)
    later = (NOW + dt.timedelta(days=200)).replace(day=1)
    name = f"{later:%Y_%m}" if left == "future" else left
    bound = f"{name.replace('_', '-')}-01 00:00:00+00"
    run(
        before, f"ALTER TABLE {LOG} ADD CONSTRAINT _tierwright_before_{name} CHECK (performed_at < '{bound}') NOT VALID"
    )
    migrations.upgrade(before)
    support.assert_at_head(before, contents)
    assert (names(before)[0] == f"{LOG}_before_{name}") == (left == "future")


def test_every_partition_is_only_added_to_and_no_insert_fails(before: Engine) -> None:
    migrations.upgrade(before)
    with before.begin() as connection:
        for moment in (
            dt.datetime(1990, 1, 1, tzinfo=dt.UTC),
            NOW + dt.timedelta(days=60),
            dt.datetime(9000, 1, 1, tzinfo=dt.UTC),
        ):
            insert(connection, moment)
    found = names(before)
    assert found[-1] == f"{LOG}_default"
    assert len(found) >= 4
    for table in (LOG, *found):
        for statement in (f"TRUNCATE {table}", f"DELETE FROM {table}", f"UPDATE {table} SET reason = 'x'"):
            if ask(before, f"SELECT EXISTS (SELECT FROM {table})") or statement.startswith("TRUNCATE"):
                with before.connect() as connection, pytest.raises(IntegrityError, match="only added to"):
                    connection.exec_driver_sql(statement)


def test_what_is_missing_is_found_and_put_back(before: Engine) -> None:
    migrations.upgrade(before)
    with before.begin() as connection:
        insert(connection, dt.datetime(9000, 1, 1, tzinfo=dt.UTC))  # nobody waits for its month
    last = names(before)[-2]
    run(
        before,
        f"DROP TRIGGER trg_{LOG}_no_truncate ON {last}",
        f"ALTER TABLE {last} DISABLE TRIGGER trg_{LOG}_no_delete",
        "DROP INDEX idx_feature_audit_key_time",
    )
    codes = {(each.code, each.object) for each in examine(before, rows=False).findings}
    assert codes == {
        ("index-missing", f"{LOG}.idx_feature_audit_key_time"),
        ("partition-unguarded", last),
    }
    assert set(migrations.repair(before)) == {"idx_feature_audit_key_time", "monthly_partitions"}
    assert examine(before, rows=False).findings == ()
    assert support.leftovers(before) == []


@one_is_enough
def test_a_plain_history_at_head_is_found_and_partitioned(before: Engine) -> None:
    migrations.upgrade(before)
    contents, whole = rows.contents(before), names(before)
    migrations.downgrade(before, BEFORE)
    run(before, f"UPDATE tierwright_alembic_version SET version_num = '{HEAD}'")
    (found,) = examine(before, rows=False).findings
    assert (found.code, found.remedy) == ("constraint-missing", "Run `tierwright db repair`.")
    assert migrations.repair(before) == ("monthly_partitions",)
    support.assert_at_head(before, contents)
    assert names(before) == whole


@one_is_enough
def test_a_question_about_a_range_reads_its_partitions_only(before: Engine) -> None:
    """The seed's query over 24 months."""
    migrations.upgrade(before)
    run(before, *(
        f"CREATE TABLE {LOG}_{2030 + n // 12}_{n % 12 + 1:02} PARTITION OF {LOG} FOR VALUES FROM "
        f"('{2030 + n // 12}-{n % 12 + 1:02}-01+00') TO ('{2030 + (n + 1) // 12}-{(n + 1) % 12 + 1:02}-01+00')"
        for n in range(24)
    ))  # fmt: skip
    with before.begin() as connection:
        for n in range(24):
            insert(connection, dt.datetime(2030 + n // 12, n % 12 + 1, 15, tzinfo=dt.UTC), feature_key="ai.chat")
    query = (
        f"SELECT * FROM {LOG} WHERE feature_key = 'ai.chat' AND performed_at >= '2030-11-10+00' "
        "AND performed_at < '2031-01-20+00' ORDER BY performed_at DESC LIMIT 50"
    )
    with before.connect() as connection:
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}").scalars())
        assert len(connection.exec_driver_sql(query).all()) == 3
    read = {each for each in names(before) if f" on {each}" in plan}
    assert read == {f"{LOG}_{month}" for month in ("2030_11", "2030_12", "2031_01")}


@one_is_enough
def test_tables_that_create_all_made_are_partitioned_too(postgresql_engine: Engine) -> None:
    engine = postgresql_engine
    SQLModel.metadata.create_all(engine, tables=[SQLModel.metadata.tables[name] for name in migrations.TABLE_NAMES])
    migrations.adopt(engine)
    assert names(engine) == [f"{LOG}_default"]
    assert [(each.code, each.severity) for each in examine(engine).findings] == [("partitions-missing", "info")]
    with engine.begin() as connection:
        insert(connection, NOW)
    assert maintain(engine, Upkeep()).moved == 1
    assert examine(engine).findings == ()
    with engine.begin() as connection:
        insert(connection, dt.datetime(1990, 1, 1, tzinfo=dt.UTC))
    assert [each.code for each in examine(engine).findings] == ["rows-outside-partitions"]
    assert maintain(engine, Upkeep()).partitions == [f"{LOG}_1990_01"]
    assert examine(engine).findings == ()
    coming = next(each for each in names(engine) if each == f"{LOG}_{next_month(NOW):%Y_%m}")
    run(engine, f"DROP TABLE {coming}")
    assert [(each.code, each.severity) for each in examine(engine).findings] == [("partitions-missing", "error")]
    for table in (LOG, *names(engine)):
        with engine.connect() as connection, pytest.raises(IntegrityError, match="only added to"):
            connection.exec_driver_sql(f"TRUNCATE {table}")
    SQLModel.metadata.drop_all(engine, tables=[SQLModel.metadata.tables[name] for name in migrations.TABLE_NAMES])
    assert not [line for line in support.dump(engine) if LOG in line]
