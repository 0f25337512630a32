"""What the commands refuse: bad input, hostile names, databases that they cannot use. Never with a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.cli import run, run_json, small_catalogue, url_of
from tierwright import migrations
from tierwright.services.statements import FEATURES, LICENSES, OVERRIDES, TIERS

QUESTIONS = [
    ["evaluate", "acme", "a.b"],
    ["explain", "acme", "a.b"],
    ["tenant", "show", "acme"],
    ["tenants", "--with", "a.b"],
    ["tenants", "--on-tier", "pro"],
    ["tenants", "--expiring", "14d"],
    ["feature", "list"],
    ["feature", "show", "a.b"],
    ["tier", "show", "pro"],
]
WRITES = [
    ["tenant", "trial", "acme", "pro"],
    ["tenant", "purge", "acme", "--yes"],
    ["license", "end", "acme"],
    ["override", "set", "acme", "a.b"],
    ["feature", "retire", "a.b"],
    ["tier", "grant", "pro", "a.b"],
    ["model", "retire", "p", "m"],
    ["component", "retire", "c"],
    ["integration", "retire", "i"],
]
BAD_INPUT = [
    ["evaluate", " acme", "a.b"],
    ["evaluate", "a\x00b", "a.b"],
    ["evaluate", "\udc80", "a.b"],
    ["evaluate", "", "a.b"],
    ["evaluate", "x" * 100_000, "a.b"],
    ["evaluate", "acme", "a.b", "--at", "2020-01-01"],
    ["evaluate", "acme", "a.b", "--at", "yesterday"],
    ["evaluate", "acme", "a.b", "--at", "0001-01-01T00:00+14:00"],
    ["tenants"],
    ["tenants", "--with", "a.b", "--on-tier", "pro"],
    ["tenants", "--expiring", "14"],
    ["tenants", "--expiring", "100000w"],
    ["tenants", "--expiring", "٣d"],
    ["tenants", "--with", "a.b", "--limit", "0"],
    ["tenant", "trial", "acme", "pro", "--days", "0"],
    ["tenant", "trial", "acme", "PRO\x00"],
    ["license", "assign", "acme", "pro", "--expires", "2020-01-01T00:00Z", "--starts", "2021-01-01T00:00Z"],
    ["license", "assign", "acme", "pro", "--expires", "2999-01-01T00:00Z", "--days", "3"],
    ["license", "assign", "acme", "pro", "--license-key", "a\x00"],
    ["license", "assign", "acme", "pro", "--actor", ""],
    ["license", "assign", "acme", "pro", "--actor", "a\udc80"],
    ["license", "assign", "acme", "pro", "--reason", "a\x00"],
    ["override", "set", "acme", "ui.limit", "--value", "many"],
    ["override", "set", "acme", "ui.limit", "--value", "NaN"],
    ["override", "set", "acme", "ui.limit", "--value", "1" * 5000],
    ["override", "set", "acme", "ui.limit", "--value", "[" * 100_000],
    ["override", "set", "acme", "ui.limit", "--value", '"\\ud800"'],
    ["override", "set", "acme", "ui.limit", "--value", "1", "--off"],
    ["override", "set", "acme", "ui.limit", "--value", "1.5"],
    ["override", "set", "acme", "no key"],
    ["feature", "create", "a.b"],
    ["feature", "create", "no key", "--name", "x", "--category", "x"],
    ["feature", "create", "a.b", "--name", "x", "--category", "x", "--type", "colour"],
    ["feature", "create", "a.b", "--name", "x", "--category", "x", "--default", "{}"],
    ["feature", "change", "ui.limit", "--from", "/no/such/file"],
    ["feature", "change", "ui.limit", "--from", "/"],
    ["feature", "change", "ui.limit", "--from", "a\x00"],
    ["tier", "grant", "pro"],
    ["tier", "grant", "pro", "ui.limit", "--unlimited", "--off"],
    ["tier", "change", "pro", "--base", "free", "--no-base"],
    ["model", "create", "p", "m", "--name", "x", "--type", "chat", "--feature", "a.b", "--input-price", "1e-3x"],
    ["nonsense"],
]
BAD_FILES = [
    "",
    "[]",
    "null",
    "{",
    '{"feature_name": 1}',
    '{"no_such_field": 1}',
    '{"actor": "somebody-else"}',
    '{"feature_key": "other.key"}',
    '{"feature_name": "a\\u0000"}',
    '{"feature_name": "\\ud800"}',
    '{"default_value": {"enabled": true, "value": 1e999}}',
    '{"default_value": ' + "[" * 50_000 + "]" * 50_000 + "}",
    '{"description": "' + "x" * 11_000_000 + '"}',
    '{"\\u0000\\u001b[31m": 1}',
]
HOSTILE_KEYS = ["a\x00b", "\udc80", "%s", "'; DROP TABLE feature_registry; --", "[/red]", "é" * 300]


@pytest.mark.parametrize("arguments", [*QUESTIONS, *WRITES], ids=" ".join)
def test_a_missing_file_is_not_created(arguments: list[str], tmp_path: Path) -> None:
    found = run_json(*arguments, url=f"sqlite:///{tmp_path}/none.sqlite3", exit_code=3)
    assert found["error"]["code"] == "database-unreachable"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [*QUESTIONS, *WRITES], ids=" ".join)
def test_a_database_without_tables_is_refused_with_a_remedy(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "empty.sqlite3"
    file.touch()
    refused = 3 if arguments[0] in ("evaluate", "explain") else 1  # there, 1 would mean denied
    failed = run(*arguments, url=f"sqlite:///{file}", exit_code=refused)
    assert failed.stderr.startswith("schema-drift: The tables are at no revision")
    assert "`tierwright db upgrade`" in failed.stderr
    assert failed.stdout == ""


def test_an_old_database_is_refused_on_every_dialect(engine: Engine) -> None:
    for revision in (None, "c4d5e6f7a8b9"):
        if revision is not None:
            migrations.upgrade(engine, revision)
        found = run_json("tenant", "show", "acme", url=url_of(engine), exit_code=1)["error"] if _exists(engine) else {}
        assert not found or (found["code"], found["details"]["current"]) == ("schema-drift", revision)
        if found:
            assert run_json("license", "end", "acme", url=url_of(engine), exit_code=1)["error"]["code"] == found["code"]
    migrations.upgrade(engine)
    run("tenant", "show", "acme", url=url_of(engine))


def test_a_database_that_something_else_made_equal_is_answered_from(engine: Engine) -> None:
    from sqlmodel import SQLModel

    SQLModel.metadata.create_all(engine)
    run("tenant", "show", "acme", url=url_of(engine))


def test_a_newer_database_is_answered_from(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tierwright_alembic_version SET version_num = 'ffffffffffff'")
        connection.exec_driver_sql("ALTER TABLE feature_registry ADD COLUMN later TEXT")
    run("feature", "list", url=url_of(migrated_engine))


def test_bad_input_is_exit_code_2_on_one_line(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    for arguments in BAD_INPUT:  # in one database: making one takes longer than asking it
        failed = run(*arguments, url=url if arguments != ["nonsense"] else None, exit_code=2)
        assert failed.stdout == "", arguments
        assert max(map(len, failed.stderr.splitlines())) <= 500, arguments
        assert "\x00" not in failed.stderr, arguments


def test_a_file_that_is_not_what_it_should_be(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    for text in BAD_FILES:
        failed = run("feature", "change", "ui.limit", "--from", "-", url=url, text=text, exit_code=2)
        assert failed.stderr.startswith("invalid-input: "), text[:80]
        assert "\x1b" not in failed.stderr, text[:80]
        assert "\x00" not in failed.stderr, text[:80]


@pytest.mark.parametrize("word", ["tenants --with", "tenants --on-tier", "feature show", "tier show"])
def test_a_key_that_nothing_can_have_is_not_found(word: str, migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    for hostile in HOSTILE_KEYS:
        question = [*word.split(), hostile]
        assert run_json(*question, url=url, exit_code=1)["error"]["code"] == "not-found"
        assert run(*question, url=url, exit_code=1).stdout == ""


def test_a_hostile_key_is_no_feature_and_no_provider(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    for hostile in HOSTILE_KEYS:
        assert run_json("model", "list", "--provider", hostile, url=url) == {"models": []}
        assert run_json("evaluate", "acme", hostile, url=url, exit_code=1)["reason"] == "FEATURE_NOT_FOUND"
        assert run("evaluate", "acme", hostile, url=url, exit_code=1).stdout.startswith("denied ")


def test_names_are_printed_as_they_are_and_control_nothing(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    name = "[bold red]\x1b[2J\r\n\u202e{who}%s[/]"
    shown = "[bold red]\\x1b[2J\\r\\n\\u202e{who}%s[/]"
    with migrated_engine.begin() as connection:  # past the services, which would refuse some of it
        connection.execute(sa.update(FEATURES).where(FEATURES.c.feature_key == "ui.limit").values(feature_name=name))
        connection.execute(sa.update(TIERS).where(TIERS.c.tier_key == "pro").values(name=name))
        [held] = connection.execute(sa.select(LICENSES).where(LICENSES.c.tenant_id == "acme")).mappings()
        connection.execute(sa.insert(LICENSES).values(**{**held, "tenant_id": "[red]{what}"}))
        connection.execute(sa.update(OVERRIDES).where(OVERRIDES.c.tenant_id == "umbrella").values(reason=name))
    for question in (["feature", "list"], ["feature", "show", "ui.limit"], ["tier", "list"], ["tier", "show", "pro"]):
        assert shown in run(*question, url=url).stdout
    assert shown in run("tenant", "show", "umbrella", url=url).stdout
    assert "[red]{what}  " in run("tenants", "--with", "ui.limit", url=url).stdout
    said = run("explain", "[red]{what}", "ui.limit", url=url).stdout
    assert said.startswith("Tenant [red]{what} may use ui.limit")


def test_a_value_of_any_length_is_shortened_for_people_only(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    default = '{"enabled": false, "value": {}}'
    run("feature", "create", "x.y", "--name=x", "--category=x", "--type=json", "--default", default, url=url)
    run("override", "set", "acme", "x.y", "--value", json.dumps({"list": ["x" * 100] * 500}), url=url)
    assert max(map(len, run("evaluate", "acme", "x.y", url=url).stdout.splitlines())) <= 80
    assert len(run_json("evaluate", "acme", "x.y", url=url)["value"]["list"]) == 500


def test_nobody_can_tell_is_exit_code_3() -> None:
    url = "postgresql://someone:secret@127.0.0.1:1/x"
    for question in (["evaluate", "acme", "a.b"], ["explain", "acme", "a.b"], ["license", "end", "acme"]):
        failed = run(*question, url=url, exit_code=3)
        assert failed.stderr.startswith("database-unreachable: ")
        assert "secret" not in failed.output
    assert run_json("evaluate", "acme", "a.b", url=url, exit_code=3)["error"]["code"] == "database-unreachable"


def test_a_lost_table_is_not_denied_but_unknown(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE tenant_license RENAME COLUMN starts_at TO began_at")
    found = run_json("evaluate", "acme", "a.b", url=url_of(migrated_engine), exit_code=3)["error"]
    assert found["code"] == "schema-drift"
    assert "starts_at" in found["details"]["missing"][0]


def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    migrations.upgrade(url)
    read_only = f"sqlite:///file:{tmp_path}/x.sqlite3?mode=ro&uri=true"
    run("feature", "list", url=read_only)
    found = run_json("feature", "create", "a.b", "--name", "x", "--category", "x", url=read_only, exit_code=3)
    assert found["error"]["code"] == "database-read-only"


def test_a_pipe_that_closes_early_is_no_error_of_ours(migrated_engine: Engine) -> None:
    url = small_catalogue(migrated_engine)
    command = f"{sys.executable} -m tierwright tenants --with help.chat --url '{url}' | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Tenants without any licence")
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_gets_escapes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    migrations.upgrade(url)
    run("feature", "create", "a.b", "--name", "Ключ", "--category", "x", url=url)
    done = subprocess.run(
        [sys.executable, "-m", "tierwright", "feature", "list", "--url", url],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "latin-1:strict"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u041a" in done.stdout


def _exists(engine: Engine) -> bool:
    return engine.dialect.name != "sqlite" or Path(str(engine.url.database)).exists()
