"""Hosts with an Alembic chain of their own on ``SQLModel.metadata``: beside ours, and with ours merged into it.

The host runs in a process of its own, because it sets a naming convention before our tables are imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.engine import Engine

from tests.migration import support
from tests.support import rows
from tierwright import migrations
from tierwright.errors import RevisionCollision

ROOT = Path(__file__).parents[2]
OWN_TABLES = {"acme_feature", "acme_tier", "acme_model"}
LINKED_TABLES = {"acme_subscription", "acme_announcement"}


def host(url: str, *steps: str, env: str = "plain", **switches: str) -> list[Any]:
    """Run steps of the host application; return what each of them found."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "ACME_URL": url,
        "ACME_ENV": env,
        **{f"ACME_{name.upper()}": value for name, value in switches.items()},
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.migration.host_apps.acme.app", *steps],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout.splitlines()[-1]))


def table_names(engine: Engine) -> set[str]:
    """Return the tables of the database."""
    return set(sa.inspect(engine).get_table_names())


# --- beside ----------------------------------------------------------------------------------------------------------


def test_autogenerate_is_empty_before_and_after_our_upgrade(database_url: str) -> None:
    assert host(database_url, "own", "diff", "ours", "diff") == [None, [], None, []]
    engine = support.plain_engine(database_url)
    assert migrations.check(engine).differences == ()
    assert table_names(engine) >= OWN_TABLES | {"alembic_version", "tierwright_alembic_version"}


def test_autogenerate_is_empty_with_tables_that_refer_to_ours(database_url: str) -> None:
    found = host(database_url, "ours", "own", "linked", "diff", "ours-diff", linked="1")
    assert found == [None, None, None, [], []]
    assert table_names(support.plain_engine(database_url)) >= OWN_TABLES | LINKED_TABLES


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_host_without_tables_whose_warnings_are_errors_can_autogenerate(engine: Engine) -> None:
    migrations.upgrade(engine)
    filters = migrations.autogenerate_filters()
    with engine.connect() as connection:  # Alembic then reads the indexes of all tables, also of those left out
        context = MigrationContext.configure(connection, opts=dict(filters))
        assert compare_metadata(context, sa.MetaData()) == []


def test_without_the_filters_autogenerate_is_not_empty(database_url: str) -> None:
    """So the two tests above can fail."""
    _, before, _, after = host(database_url, "own", "diff", "ours", "diff", env="unfiltered")
    assert any("add_table" in item and "license_tier" in item for item in before)
    assert any("remove_table" in item and "tierwright_alembic_version" in item for item in after)


def test_autogenerate_sees_a_missing_table_of_the_host(database_url: str) -> None:
    """The filters hide ours, not the host's."""
    only_the_first = str(Path(__file__).parent / "host_apps" / "acme" / "chain" / "versions")
    _, _, found = host(database_url, "ours", "own", "diff", linked="1", versions=only_the_first)
    assert sorted(item for item in found if "add_table" in item) == sorted(found)
    assert len(found) == 2


# --- merged ----------------------------------------------------------------------------------------------------------


def test_merged_with_our_session(database_url: str) -> None:
    found = host(database_url, "heads", "diff", "ours-diff", env="session", linked="1", merged="1", foreign_keys="1")
    assert found == [None, [], []]
    engine = support.plain_engine(database_url)
    assert migrations.status(engine).differences == ()
    assert table_names(engine) >= OWN_TABLES | LINKED_TABLES
    assert "tierwright_alembic_version" not in table_names(engine)
    with engine.begin() as connection:
        rows.fill(connection)
    assert host(database_url, "back", env="session", linked="1", merged="1", foreign_keys="1") == [None]
    assert table_names(engine) == {"alembic_version"}


def test_merged_with_a_plain_environment(database_url: str) -> None:
    found = host(database_url, "heads", "diff", "ours-diff", linked="1", merged="1")
    assert found == [None, [], []]
    engine = support.plain_engine(database_url)
    assert migrations.status(engine).differences == ()
    assert support.leftovers(engine) == []


def test_merged_with_a_plain_environment_over_data(database_url: str) -> None:
    """From our first revision, with rows, recorded in the host's version table."""
    engine = support.plain_engine(database_url)
    before = support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE tierwright_alembic_version RENAME TO alembic_version")
    assert host(database_url, "heads", "diff", linked="1", merged="1") == [None, []]
    assert rows.contents(engine) == before
    assert migrations.status(engine).differences == ()


def test_merged_with_foreign_keys_on_and_no_session_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'host.sqlite3'}"
    engine = support.plain_engine(url)
    contents = support.fill_before_the_optimisation(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE tierwright_alembic_version RENAME TO alembic_version")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('a1')")
    before = support.dump(engine)
    (error,) = host(url, "heads", linked="1", merged="1", foreign_keys="1")
    assert error["code"] == "foreign-keys-enforced"
    assert support.dump(engine) == before
    assert rows.contents(engine) == contents


def test_a_revision_of_the_host_with_an_id_of_ours(tmp_path: Path) -> None:
    (tmp_path / "c4_theirs.py").write_text(f"revision = '{support.FIRST}'\ndown_revision = None\n")
    (error,) = host(f"sqlite:///{tmp_path / 'x.sqlite3'}", "heads", env="session", merged="1", versions=str(tmp_path))
    assert error["code"] == "revision-collision"
    assert not (tmp_path / "x.sqlite3").exists()
    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(tmp_path))
    with pytest.raises(RevisionCollision) as caught:
        migrations.merge_into(config)
    assert list(caught.value.details["collisions"]) == [support.FIRST]
