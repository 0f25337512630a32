"""``--sql`` scripts: applied with the databases' own shells they give what the live run gives, or stop in time."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url

from tests.migration import support
from tests.migration.support import FIRST, HEAD, Copies
from tests.support import rows
from tierwright import migrations

STEP = f"{FIRST}:{HEAD}"
#: Rules of squawk that warn of a script of ours, each with the reason for which we accept it.
ACCEPTED_WARNINGS = {
    "prefer-text-field": "the lengths of keys and names are part of the schema's contract; nothing widens one later",
    "prefer-bigint-over-int": "ranks, versions and token limits are bounded; the counters that grow are BIGINT",
    "ban-drop-constraint": "DROP CONSTRAINT IF EXISTS before each ADD, so that a script that stopped can run again",
}


@pytest.fixture
def databases(postgresql_engine: Engine, tmp_path: Path) -> Iterator[Copies]:
    """Yield a way to make PostgreSQL databases like the test's own, which is empty."""
    url = postgresql_engine.url.render_as_string(hide_password=False)
    copies = Copies(url, tmp_path)
    yield copies
    copies.drop_all()


def _live(databases: Copies, *, filled: bool) -> str:
    url = databases.make(empty=True)
    if filled:
        support.fill_before_the_optimisation(support.plain_engine(url))
    migrations.upgrade(url)
    return url


def _assert_same(script_url: str, live_url: str) -> None:
    by_script, live = support.plain_engine(script_url), support.plain_engine(live_url)
    assert support.read_catalog(by_script) == support.read_catalog(live)
    assert support.dump(by_script) == support.dump(live)
    assert support.pg_dump_schema(script_url) == support.pg_dump_schema(live_url)
    assert migrations.check(script_url).differences == ()
    assert support.leftovers(by_script) == []


def test_psql_on_an_empty_database(databases: Copies) -> None:
    url = databases.make(empty=True)
    result = support.psql(url, migrations.script(url))
    assert result.returncode == 0, result.stderr
    _assert_same(url, _live(databases, filled=False))


def test_psql_on_the_preceding_revision(databases: Copies) -> None:
    url = databases.make(empty=True)
    before = support.fill_before_the_optimisation(support.plain_engine(url))
    result = support.psql(url, migrations.script(url, STEP))
    assert result.returncode == 0, result.stderr
    assert rows.contents(support.plain_engine(url)) == before
    _assert_same(url, _live(databases, filled=True))


@pytest.mark.parametrize(
    "dirt",
    [
        "UPDATE model_registry SET feature_key = 'no.such'",
        "UPDATE component_registry SET feature_key = 'no.such' WHERE feature_key IS NOT NULL",
        "UPDATE integration_registry SET feature_key = 'no.such'",
        "UPDATE tenant_integration_configs SET health_status = 'sick'",
        "INSERT INTO license_tier_features SELECT gen_random_uuid(), license_tier_id, feature_key, feature_value "
        "FROM license_tier_features",
    ],
)
def test_dirt_stops_the_script_with_nothing_changed(postgresql_engine: Engine, dirt: str) -> None:
    engine = postgresql_engine
    support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(dirt)
    before, contents = support.dump(engine), rows.contents(engine)
    url = engine.url.render_as_string(hide_password=False)
    result = support.psql(url, migrations.script(url, STEP))
    assert result.returncode != 0
    assert "tierwright: rows in " in result.stderr
    assert "List them: SELECT" in result.stderr
    assert support.dump(engine) == before
    assert rows.contents(engine) == contents
    assert migrations.current(url) == FIRST


def test_a_script_for_one_revision_refuses_a_database_at_another(databases: Copies) -> None:
    """Twice the same script, or the step on an empty database: it stops, and nothing has changed."""
    url = databases.make(empty=True)
    assert support.psql(url, migrations.script(url)).returncode == 0
    engine = support.plain_engine(url)
    before = support.dump(engine)
    assert support.psql(url, migrations.script(url)).returncode != 0
    assert support.dump(engine) == before
    empty = databases.make(empty=True)
    untouched = support.dump(support.plain_engine(empty))
    assert support.psql(empty, migrations.script(empty, STEP)).returncode != 0
    assert support.dump(support.plain_engine(empty)) == untouched


def test_a_script_that_was_stopped_can_be_run_again(databases: Copies, postgresql_kind: str) -> None:
    """After each of its statements in turn (every third, to save time; elsewhere than on the newest every ninth)."""
    template = databases.make(empty=True)
    script = migrations.script(template, STEP)
    statements = [part for part in script.split(";\n") if part.strip()]
    live = _live(databases, filled=True)
    for stop in range(1, len(statements), 3 if postgresql_kind in ("pg", "pg18") else 9):
        url = databases.make(empty=True)
        before = support.fill_before_the_optimisation(support.plain_engine(url))
        support.psql(url, ";\n".join(statements[:stop]) + ";\n")
        was_done = migrations.current(url) == HEAD
        result = support.psql(url, script)
        assert result.returncode == 0 or was_done, (statements[stop - 1], result.stderr)
        assert not was_done or "this script was run already" in result.stderr
        assert rows.contents(support.plain_engine(url)) == before
        assert support.read_catalog(support.plain_engine(url)) == support.read_catalog(support.plain_engine(live))
        assert support.leftovers(support.plain_engine(url)) == []


@pytest.mark.parametrize("schema", ["elsewhere", "Mixed Case"])
def test_everything_lands_in_the_schema(databases: Copies, schema: str) -> None:
    url, live = databases.make(empty=True), databases.make(empty=True)
    for database in (url, live):
        with support.plain_engine(database).begin() as connection:
            connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
    result = support.psql(url, migrations.script(url, schema=schema))
    assert result.returncode == 0, result.stderr
    with support.plain_engine(url).connect() as connection:
        places = connection.exec_driver_sql(
            "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class WHERE relkind IN ('r', 'i', 'S', 'v') "
            "AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'pg_toast', 'information_schema')"
        ).scalars()
        assert [place.strip('"') for place in places] == [schema]
    migrations.upgrade(live, schema=schema)
    assert support.pg_dump_schema(url) == support.pg_dump_schema(live)
    assert migrations.check(url, schema=schema).ok


@pytest.mark.parametrize("revision", ["head", STEP])
def test_squawk_has_no_complaint(tmp_path: Path, revision: str) -> None:
    file = tmp_path / "script.sql"
    file.write_text(migrations.script("postgresql://nobody@nowhere/nothing", revision))
    program = shutil.which("squawk", path=sysconfig.get_path("scripts"))
    assert program, "squawk-cli is a test dependency"
    result = subprocess.run([program, "--reporter", "json", str(file)], capture_output=True, text=True)
    found = json.loads(result.stdout)
    assert [item for item in found if item["level"].lower() == "error"] == []
    unexpected = {item["rule_name"]: item["line"] for item in found if item["rule_name"] not in ACCEPTED_WARNINGS}
    assert unexpected == {}


# --- SQLite ----------------------------------------------------------------------------------------------------------


def _executescript(file: str, script: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(script)


def _shell(file: str, script: str) -> None:
    result = subprocess.run(["sqlite3", "-bail", file], input=script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    # INSERT ... RETURNING shows the revision; foreign_key_check must list nothing.
    assert set(result.stdout.split()) <= {FIRST, HEAD}, result.stdout


RUNNERS = {"executescript": _executescript, **({"shell": _shell} if shutil.which("sqlite3") else {})}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "first revision"])
def test_the_sqlite_script(tmp_path: Path, runner: str, filled: bool) -> None:
    url, live = f"sqlite:///{tmp_path / 'script.sqlite3'}", f"sqlite:///{tmp_path / 'live.sqlite3'}"
    engine = support.plain_engine(url)
    before = None
    for database in (url, live) if filled else ():
        before = support.fill_before_the_optimisation(support.plain_engine(database))
    RUNNERS[runner](str(make_url(url).database), migrations.script(url, STEP if filled else "head"))
    migrations.upgrade(live)
    assert support.read_catalog(engine) == support.read_catalog(support.plain_engine(live))
    assert support.dump(engine) == support.dump(support.plain_engine(live))
    support.assert_at_head(engine, before)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_sqlite_script_for_another_revision_changes_nothing(tmp_path: Path, runner: str) -> None:
    url = f"sqlite:///{tmp_path / 'script.sqlite3'}"
    engine = support.plain_engine(url)
    migrations.upgrade(engine)
    before = support.dump(engine)
    with pytest.raises((sqlite3.OperationalError, AssertionError)):
        RUNNERS[runner](str(make_url(url).database), migrations.script(url))
    assert support.dump(engine) == before
    assert sa.inspect(engine).get_table_names()


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("broken", "dirt"),
    [
        ("fk_model_registry_feature", "UPDATE model_registry SET feature_key = 'no.such'"),
        ("chk_health_status", "UPDATE tenant_integration_configs SET health_status = 'sick'"),
        (
            "idx_tier_features_tier_key",
            "CREATE TEMP TABLE again AS SELECT * FROM license_tier_features; "
            "UPDATE again SET id = lower(hex(randomblob(16))); INSERT INTO license_tier_features SELECT * FROM again",
        ),
    ],
)
def test_dirt_stops_the_sqlite_script_with_nothing_changed(tmp_path: Path, runner: str, broken: str, dirt: str) -> None:
    url = f"sqlite:///{tmp_path / 'script.sqlite3'}"
    engine = support.plain_engine(url)
    support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        for statement in dirt.split("; "):
            connection.exec_driver_sql(statement)
    before, contents = support.dump(engine), rows.contents(engine)
    with pytest.raises((sqlite3.Error, AssertionError), match=f"CHECK constraint failed: {broken}"):
        RUNNERS[runner](str(make_url(url).database), migrations.script(url, STEP))
    assert support.dump(engine) == before
    assert rows.contents(engine) == contents
