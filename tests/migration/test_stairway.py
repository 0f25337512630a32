"""The chain up, down and up again, with data in every table."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel

import tierwright.tables
from tests.support import rows
from tierwright import migrations
from tierwright.errors import TableNameTaken
from tierwright.migrations import catalog
from tierwright.migrations.runner import chain

REVISIONS = [revision.revision for revision in reversed(list(chain().walk_revisions()))]


def test_every_step_down_and_up_again_keeps_every_row(engine: Engine) -> None:
    migrations.upgrade(engine, REVISIONS[0])
    with engine.begin() as connection:
        rows.fill(connection)
    before = rows.contents(engine)
    assert all(count for count, _ in before.values())

    for revision in REVISIONS[1:]:
        migrations.upgrade(engine, revision)
        migrations.downgrade(engine, "-1")
        assert rows.contents(engine) == before
        migrations.upgrade(engine, revision)
        assert rows.contents(engine) == before
    assert migrations.check(engine).current == REVISIONS[-1]


def test_downgrade_restores_the_schema_of_each_revision(engine: Engine) -> None:
    schemas = []
    for revision in REVISIONS:
        migrations.upgrade(engine, revision)
        schemas.append(_catalog(engine))
    for schema in reversed(schemas[:-1]):
        migrations.downgrade(engine, "-1")
        assert catalog.differences(schema, _catalog(engine)) == []


def test_downgrade_to_base_leaves_no_trace(engine: Engine) -> None:
    untouched = _everything(engine)
    migrations.upgrade(engine)
    assert _everything(engine) != untouched
    migrations.downgrade(engine, "base")
    assert _everything(engine) == untouched


def test_head_equals_the_tables_and_the_stored_catalogue(engine: Engine) -> None:
    migrations.upgrade(engine)
    migrated = _catalog(engine)
    migrations.downgrade(engine, "base")
    SQLModel.metadata.create_all(engine)
    assert catalog.differences(_catalog(engine), migrated) == []
    assert catalog.differences(catalog.expected(engine.dialect.name), migrated) == []
    assert set(migrated) == set(tierwright.tables.TABLE_NAMES) == set(migrations.TABLE_NAMES)


def test_upgrade_at_head_changes_nothing(migrated_engine: Engine) -> None:
    before = _everything(migrated_engine)
    migrations.upgrade(migrated_engine)
    assert _everything(migrated_engine) == before


def test_adopt_stamps_tables_that_create_all_made(engine: Engine) -> None:
    SQLModel.metadata.create_all(engine)
    assert migrations.current(engine) is None
    assert migrations.adopt(engine) == migrations.head()
    assert migrations.check(engine).ok
    migrations.upgrade(engine)


@pytest.mark.parametrize(
    "change", ["DROP INDEX idx_feature_audit_key_time", "ALTER TABLE model_registry ADD extra INT"]
)
def test_adopt_refuses_tables_that_differ_and_stamps_nothing(engine: Engine, change: str) -> None:
    SQLModel.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(change)
    before = _everything(engine)
    with pytest.raises(TableNameTaken):
        migrations.adopt(engine)
    assert _everything(engine) == before


def _catalog(engine: Engine) -> catalog.Catalog:
    with engine.connect() as connection:
        return catalog.read(connection)


def _everything(engine: Engine) -> list[str]:
    """Return every object of the database, whoever made it."""
    query = (
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY 1"
        if engine.dialect.name == "sqlite"
        else "SELECT relkind::text || ' ' || relname FROM pg_class "
        "WHERE relnamespace = quote_ident(current_schema())::regnamespace "
        "UNION ALL SELECT 'constraint ' || conname FROM pg_constraint "
        "WHERE connamespace = quote_ident(current_schema())::regnamespace ORDER BY 1"
    )
    with engine.connect() as connection:
        return list(connection.execute(sa.text(query)).scalars())
