"""The helper layer: idempotent, and an object of the right name with a wrong definition ends right or is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.engine import Engine

from tests.support import rows
from tierwright import migrations
from tierwright.errors import DialectUnsupported, ForeignKeysEnforced, ObjectNameTaken
from tierwright.migrations.definitions import Check, Column, ForeignKey, Index, Trigger
from tierwright.migrations.operations import dialect_of
from tierwright.migrations.options import OPTIONS_KEY, MigrationOptions

BEFORE = "c4d5e6f7a8b9"
WRONG_INDEXES = {
    "ascending": "CREATE INDEX idx_feature_audit_key_time ON feature_audit_log (feature_key, performed_at)",
    "other columns": "CREATE INDEX idx_feature_audit_key_time ON feature_audit_log (performed_by, performed_at DESC)",
    "unique": "CREATE UNIQUE INDEX idx_feature_audit_key_time ON feature_audit_log (feature_key, performed_at DESC)",
    "partial": "CREATE INDEX idx_feature_audit_key_time ON feature_audit_log (feature_key, performed_at DESC) "
    "WHERE feature_key IS NOT NULL",
    "not unique": "CREATE INDEX idx_tier_features_tier_key ON license_tier_features (license_tier_id, feature_key)",
}
WRONG_CONSTRAINTS = {
    "cascade": (
        "model_registry",
        "CONSTRAINT fk_model_registry_feature FOREIGN KEY (feature_key) "
        "REFERENCES feature_registry (feature_key) ON DELETE CASCADE",
    ),
    "no action": (
        "component_registry",
        "CONSTRAINT fk_component_registry_feature FOREIGN KEY (feature_key) REFERENCES feature_registry (feature_key)",
    ),
    "other values": (
        "tenant_integration_configs",
        "CONSTRAINT chk_health_status CHECK (health_status IN ('healthy', 'sick') OR health_status IS NULL)",
    ),
    "a check by the name of a key": (
        "integration_registry",
        "CONSTRAINT fk_integration_registry_feature CHECK (feature_key <> '')",
    ),
}


@pytest.fixture
def before(engine: Engine) -> Engine:
    """Return an engine on a database before the optimisation, with rows in every table."""
    migrations.upgrade(engine, BEFORE)
    with engine.begin() as connection:
        rows.fill(connection)
    return engine


@contextmanager
def helpers(engine: Engine) -> Iterator[Operations]:
    """Yield Alembic's operations as a revision sees them."""
    with migrations.migration_session(engine) as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                OPTIONS_KEY: MigrationOptions(),
                "transaction_per_migration": engine.dialect.name == "postgresql",
            },
        )
        with context.begin_transaction(_per_migration=True):
            yield Operations(context)


def drift(engine: Engine) -> list[str]:
    """Return how the database differs from head."""
    return [str(item) for item in migrations.status(engine).differences]


@pytest.mark.parametrize("wrong", WRONG_INDEXES)
def test_an_index_with_a_wrong_definition_ends_right(before: Engine, wrong: str) -> None:
    with before.begin() as connection:
        connection.exec_driver_sql(WRONG_INDEXES[wrong])
    contents = rows.contents(before)
    migrations.upgrade(before)
    assert drift(before) == []
    assert rows.contents(before) == contents


@pytest.mark.parametrize("wrong", WRONG_CONSTRAINTS)
def test_a_constraint_with_a_wrong_definition_ends_right(before: Engine, wrong: str) -> None:
    table, clause = WRONG_CONSTRAINTS[wrong]
    add_constraint(before, table, clause)
    contents = rows.contents(before)
    migrations.upgrade(before)
    assert drift(before) == []
    assert rows.contents(before) == contents


def test_a_constraint_inside_a_column_ends_right(tmp_path: Path) -> None:
    """Only SQLite tells a column's constraint from a table's."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}", poolclass=sa.NullPool)
    migrations.upgrade(engine, BEFORE)
    edit_table(
        engine,
        "tenant_integration_configs",
        lambda sql: sql.replace(
            "health_status VARCHAR(20)", "health_status VARCHAR(20) CONSTRAINT chk_health_status CHECK (health_status)"
        ),
    )
    migrations.upgrade(engine)
    assert drift(engine) == []


def test_right_objects_are_left_alone(before: Engine) -> None:
    migrations.upgrade(before)
    identity = objects(before)
    with helpers(before) as op:
        op.ensure(*_head_definitions())  # type: ignore[attr-defined]
    assert objects(before) == identity


def test_ensure_and_discard_can_be_repeated(migrated_engine: Engine) -> None:
    definitions = [
        Column("model_registry", sa.Column("extra", sa.Integer(), nullable=False, server_default="7")),
        Index("idx_extra", "model_registry", ("extra DESC", "provider"), unique=False, where="extra > 1"),
        Check("chk_extra", "model_registry", "extra >= 0"),
        ForeignKey("fk_extra", "model_registry", ("model_family",), "feature_registry", ("feature_key",), "SET NULL"),
        Trigger("trg_extra", "model_registry", TRIGGER),
    ]
    for _ in range(2):
        with helpers(migrated_engine) as op:
            op.ensure(*definitions)  # type: ignore[attr-defined]
    assert len(drift(migrated_engine)) == 5
    for _ in range(2):
        with helpers(migrated_engine) as op:
            op.discard(*reversed(definitions))  # type: ignore[attr-defined]
    assert drift(migrated_engine) == []


def test_the_single_operations_do_the_same(migrated_engine: Engine) -> None:
    with helpers(migrated_engine) as op:
        op.ensure_column("model_registry", sa.Column("extra", sa.Integer()))  # type: ignore[attr-defined]
        op.ensure_index("idx_extra", "model_registry", ["extra"], unique=True)  # type: ignore[attr-defined]
        op.ensure_check("chk_extra", "model_registry", "extra >= 0")  # type: ignore[attr-defined]
        op.ensure_foreign_key(  # type: ignore[attr-defined]
            "fk_extra", "model_registry", ["model_family"], "feature_registry", ["feature_key"], ondelete="CASCADE"
        )
        op.ensure_trigger("trg_extra", "model_registry", TRIGGER)  # type: ignore[attr-defined]
    assert len(drift(migrated_engine)) == 5
    with helpers(migrated_engine) as op:
        op.discard_trigger("trg_extra", "model_registry")  # type: ignore[attr-defined]
        op.discard_foreign_key("fk_extra", "model_registry")  # type: ignore[attr-defined]
        op.discard_check("chk_extra", "model_registry")  # type: ignore[attr-defined]
        op.discard_index("idx_extra", "model_registry")  # type: ignore[attr-defined]
        op.discard_column("model_registry", sa.Column("extra", sa.Integer()))  # type: ignore[attr-defined]
    assert drift(migrated_engine) == []


def test_an_index_name_of_another_table_is_refused_before_anything_changes(before: Engine) -> None:
    with before.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (a INTEGER)")
        connection.exec_driver_sql("CREATE INDEX idx_model_registry_feature ON theirs (a)")
    identity = objects(before)
    with pytest.raises(ObjectNameTaken):
        migrations.upgrade(before)
    assert objects(before) == identity


def test_a_column_of_our_name_and_another_type_is_refused(migrated_engine: Engine) -> None:
    with helpers(migrated_engine) as op, pytest.raises(ObjectNameTaken):
        op.ensure_column("model_registry", sa.Column("provider", sa.Integer()))  # type: ignore[attr-defined]


def test_an_unknown_dialect_is_refused() -> None:
    context = MigrationContext.configure(dialect_name="mysql")
    with pytest.raises(DialectUnsupported):
        dialect_of(Operations(context))


def test_an_invalid_index_and_an_unvalidated_key_end_right(postgresql_engine: Engine) -> None:
    engine = postgresql_engine
    migrations.upgrade(engine, BEFORE)
    with engine.begin() as connection:
        rows.fill(connection)
        connection.exec_driver_sql("CREATE INDEX idx_model_registry_feature ON model_registry (feature_key)")
        connection.exec_driver_sql(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_model_registry_feature'::regclass"
        )
        connection.exec_driver_sql(
            "ALTER TABLE model_registry ADD CONSTRAINT fk_model_registry_feature FOREIGN KEY (feature_key) "
            "REFERENCES feature_registry (feature_key) ON DELETE RESTRICT NOT VALID"
        )
    migrations.upgrade(engine)
    assert drift(engine) == []


def test_a_rebuild_with_enforced_keys_is_refused(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}", poolclass=sa.NullPool)
    migrations.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        op = Operations(MigrationContext.configure(connection))
        with pytest.raises(ForeignKeysEnforced):
            op.ensure_check("chk_new", "license_tier", "rank >= 0")  # type: ignore[attr-defined]


def add_constraint(engine: Engine, table: str, clause: str) -> None:
    """Add a constraint the way somebody without our helpers would."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD {clause}")
    else:
        edit_table(engine, table, lambda sql: sql.rstrip()[:-1] + f", {clause})")


def edit_table(engine: Engine, table: str, edit: Callable[[str], str]) -> None:
    """Change a SQLite table's text in place, as some people do."""
    with engine.begin() as connection:
        sql = connection.execute(sa.text("SELECT sql FROM sqlite_master WHERE name = :n"), {"n": table}).scalar_one()
        version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
        connection.exec_driver_sql("PRAGMA writable_schema=ON")
        connection.execute(
            sa.text("UPDATE sqlite_master SET sql = :s WHERE name = :n AND type = 'table'"),
            {"s": edit(sql), "n": table},
        )
        connection.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
        connection.exec_driver_sql("PRAGMA writable_schema=OFF")


def objects(engine: Engine) -> list[tuple[object, ...]]:
    """Return every object with what changes when it is made anew."""
    query = (
        "SELECT name, rootpage, sql FROM sqlite_master ORDER BY 1"
        if engine.dialect.name == "sqlite"
        else "SELECT relname::text, oid FROM pg_class "
        "WHERE relnamespace = quote_ident(current_schema())::regnamespace "
        "UNION ALL SELECT conname::text, oid FROM pg_constraint "
        "WHERE connamespace = quote_ident(current_schema())::regnamespace ORDER BY 1, 2"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def _head_definitions() -> list[object]:
    from tierwright.migrations.runner import chain

    return [item for revision in chain().walk_revisions() for item in getattr(revision.module, "ENSURES", ())]


TRIGGER = {
    "sqlite": ("CREATE TRIGGER trg_extra BEFORE DELETE ON model_registry BEGIN SELECT RAISE(IGNORE); END",),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION tierwright_trg_extra() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER trg_extra BEFORE DELETE ON model_registry FOR EACH ROW EXECUTE FUNCTION tierwright_trg_extra()",
    ),
}
