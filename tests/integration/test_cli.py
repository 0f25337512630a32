"""The command: results, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import Result

from tests.support import cli
from tierwright import migrations


def run(*arguments: str, url: str | None = None, answer: str | None = None) -> Result:
    """Run the command as an operator does."""
    return cli.invoke(*arguments, url=url, text=answer)


def test_upgrade_status_doctor_downgrade(database_url: str) -> None:
    upgraded = run("db", "upgrade", url=database_url)
    assert upgraded.exit_code == 0
    assert upgraded.stdout == f"at {migrations.head()}\n"
    assert "idx_feature_audit_key_time" in upgraded.stderr

    status = run("db", "status", "--json", url=database_url)
    assert status.exit_code == 0
    assert json.loads(status.stdout)["current"] == migrations.head()

    doctor = run("doctor", url=database_url)
    assert doctor.exit_code == 0
    assert "healthy" in doctor.stdout
    assert json.loads(run("doctor", "--json", url=database_url).stdout)["ok"] is True

    assert run("db", "repair", url=database_url).stdout == "nothing to repair\n"
    assert run("db", "downgrade", "-1", url=database_url).exit_code == 0
    assert run("db", "status", url=database_url).exit_code == 1
    assert run("doctor", "--schema-only", url=database_url).exit_code == 1


def test_dropping_tables_asks_and_says_what_would_go(migrated_url: str) -> None:
    refused = run("db", "downgrade", "base", url=migrated_url, answer="n\n")
    assert refused.exit_code == 1
    assert "feature_registry: 0 row(s)" in refused.stderr
    assert migrations.current(migrated_url) == migrations.head()
    assert run("db", "downgrade", "base", "--yes", url=migrated_url).stdout == "at base\n"


def test_a_script_is_printed_and_nothing_is_changed(database_url: str) -> None:
    printed = run("db", "upgrade", "--sql", url=database_url)
    assert printed.exit_code == 0
    assert "CREATE TABLE feature_registry" in printed.stdout
    if database_url.startswith("postgresql"):
        assert sa.inspect(sa.create_engine(database_url, poolclass=sa.NullPool)).get_table_names() == []
    else:
        assert not Path(database_url.removeprefix("sqlite:///")).exists()


def test_adopt_after_create_all(engine: sa.Engine) -> None:
    from sqlmodel import SQLModel

    SQLModel.metadata.create_all(engine)
    url = engine.url.render_as_string(hide_password=False)
    assert run("db", "adopt", url=url).stdout == f"adopted at {migrations.head()}\n"
    again = run("db", "adopt", url=url)
    assert (again.exit_code, again.stderr.split(":")[0]) == (1, "migration-error")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "error"),
    [
        (["db", "upgrade"], 2, "database-url-missing"),
        (["db", "upgrade", "--url", "nonsense"], 2, "database-url-invalid"),
        (["db", "upgrade", "--url", "mysql://h/d"], 2, "dialect-unsupported"),
        (["db", "status", "--url", "sqlite:///no/such/folder/x.db"], 3, "database-unreachable"),
        (["db", "upgrade", "--url", "postgresql://someone:secret@127.0.0.1:1/x"], 3, "database-unreachable"),
        (["db", "upgrade", "no_such", "--url", "sqlite:///file.sqlite3"], 1, "revision-unknown"),
    ],
)
def test_an_error_is_one_line_and_a_remedy(
    arguments: list[str],
    exit_code: int,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    failed = run(*arguments)
    assert failed.exit_code == exit_code
    assert failed.stderr.startswith(f"{error}: ")
    assert "Traceback" not in failed.output
    assert "secret" not in failed.output
    assert failed.stdout == ""


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    failed = run("doctor", "--json", url=f"sqlite:///{tmp_path}/none.sqlite3")
    assert failed.exit_code == 3
    assert set(json.loads(failed.stdout)["error"]) == {"code", "message", "remedy", "details"}


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    failed = run("--debug", "db", "status", url=f"sqlite:///{tmp_path}/none.sqlite3")
    assert type(failed.exception).__name__ == "DatabaseUnreachable"


def test_a_value_that_looks_like_markup_is_printed_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    migrations.upgrade(url)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX theirs ON model_registry (model_name) WHERE model_name <> '[/red]'")
    assert "[/red]" in run("doctor", url=url).stdout


def test_the_module_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tierwright", "db", "upgrade", "--url", f"sqlite:///{tmp_path}/x.sqlite3"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (finished.returncode, finished.stdout) == (0, f"at {migrations.head()}\n")


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no', name='typer')")
    finished = subprocess.run(
        [sys.executable, "-c", "from tierwright.cli import main; main()"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert (finished.returncode, finished.stderr) == (2, "The command needs typer: pip install 'tierwright[cli]'\n")


def test_a_mistyped_option_is_wrong_usage(tmp_path: Path) -> None:
    assert run("db", "downgrade", "base", "--yess", url=f"sqlite:///{tmp_path}/x.sqlite3").exit_code == 2
