"""The tables: their catalogue on SQLite, their names under a foreign naming convention, their relationships."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import selectinload
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.elements import conv
from sqlmodel import Session, SQLModel, select

from tierwright import tables
from tierwright.migrations import names
from tierwright.types import uuid7

TABLES = {name: SQLModel.metadata.tables[name] for name in tables.TABLE_NAMES}
PREFIXES = {
    sa.PrimaryKeyConstraint: "pk_",
    sa.UniqueConstraint: "uq_",
    sa.ForeignKeyConstraint: "fk_",
    sa.CheckConstraint: "chk_",
    sa.Index: "idx_",
}
SEED_INDEXES = {
    "idx_tier_features_tier_key": "UNIQUE INDEX {} ON license_tier_features (license_tier_id, feature_key)",
    "idx_tenant_integration_active": "INDEX {} ON tenant_integration_configs (tenant_id, is_enabled)",
    "idx_feature_audit_key_time": "INDEX {} ON feature_audit_log (feature_key, performed_at DESC)",
    "idx_model_registry_feature": "INDEX {} ON model_registry (feature_key)",
    "idx_component_registry_feature": "INDEX {} ON component_registry (feature_key)",
    "idx_integration_registry_feature": "INDEX {} ON integration_registry (feature_key)",
    "idx_license_tier_default": "UNIQUE INDEX {} ON license_tier (is_default) WHERE is_default",
    "idx_license_tier_key": "UNIQUE INDEX {} ON license_tier (tier_key) WHERE (deleted_at IS NULL)",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    made = sa.create_engine("sqlite://")
    sa.event.listen(made, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    SQLModel.metadata.create_all(made, tables=list(TABLES.values()))
    yield made
    made.dispose()


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened
        opened.rollback()


def feature(key: str = "models.x", **changes: Any) -> tables.FeatureRegistry:
    values = {"feature_name": "X", "category": "c", "feature_type": "boolean"}
    return tables.FeatureRegistry(
        **{"feature_key": key, **values, "default_value": {"enabled": False, "value": False}, **changes}
    )


def model(key: str = "models.x", model_id: str = "m") -> tables.ModelRegistry:
    return tables.ModelRegistry(provider="p", model_id=model_id, model_name="M", model_type="chat", feature_key=key)


def integration() -> tables.IntegrationRegistry:
    return tables.IntegrationRegistry(
        integration_key="slack", integration_name="Slack", category="chat", feature_key="models.x"
    )


def named_objects() -> Iterator[tuple[sa.Table, Any]]:
    for table in TABLES.values():
        for thing in (*table.constraints, *table.indexes):
            yield table, thing


def test_the_list_of_tables_is_the_chains_and_can_be_created_in_its_order() -> None:
    assert tables.TABLE_NAMES == names.TABLE_NAMES
    seen: set[str] = set()
    for name, table in TABLES.items():
        seen.add(name)
        assert {key.column.table.name for key in table.foreign_keys} <= seen


def test_every_table_is_marked_and_has_its_own_info() -> None:
    assert all(table.info == {"tierwright": True} for table in TABLES.values())
    assert len({id(table.info) for table in TABLES.values()}) == len(TABLES)


def test_every_name_is_explicit_short_prefixed_unique_and_frozen() -> None:
    found = [thing.name for _, thing in named_objects()]
    assert len(set(found)) == len(found)
    for table, thing in named_objects():
        assert isinstance(thing.name, conv), thing
        assert len(thing.name) <= 60
        assert thing.name.startswith(PREFIXES[type(thing)])
        if isinstance(thing, sa.PrimaryKeyConstraint):
            assert thing.name == f"pk_{table.name}"


def test_every_foreign_key_column_is_led_by_an_index() -> None:
    for table in TABLES.values():
        leading = {next(iter(index.columns)).name for index in table.indexes}
        leading |= {next(iter(c.columns)).name for c in table.constraints if isinstance(c, sa.UniqueConstraint)}
        leading.add(next(iter(table.primary_key.columns)).name)
        assert {key.parent.name for key in table.foreign_keys} <= leading, table.name


def test_not_null_columns_with_a_default_have_it_in_the_database() -> None:
    for table in TABLES.values():
        for column in table.c:
            if not column.nullable and column.default is not None and column.name != "id":
                assert column.server_default is not None, column


def test_python_and_database_defaults_agree(session: Session) -> None:
    session.add(feature())
    session.flush()
    session.connection().execute(sa.insert(TABLES["license_tier"]).values(tier_key="core", name="Core"))
    session.connection().exec_driver_sql(
        "INSERT INTO license_tier (id, tier_key, name) VALUES ('00000000000000000000000000000001', 'raw', 'Raw')"
    )
    session.add(tables.LicenseTier(tier_key="orm", name="ORM"))
    session.flush()
    session.expire_all()
    rows = session.exec(select(tables.LicenseTier)).all()
    assert len({(row.rank, row.is_default, row.is_active, row.base_tier_id) for row in rows}) == 1
    assert all(row.created_at.tzinfo is UTC and row.updated_at.tzinfo is UTC for row in rows)


@pytest.mark.parametrize("dialect", [None, postgresql.dialect()], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("name", SEED_INDEXES)
def test_the_seeds_indexes(name: str, dialect: Any, engine: sa.Engine) -> None:
    found = next(thing for _, thing in named_objects() if thing.name == name)
    sql = str(CreateIndex(found).compile(dialect=dialect or engine.dialect))
    assert sql == "CREATE " + SEED_INDEXES[name].format(name)


@pytest.mark.parametrize("table", ["model_registry", "component_registry", "integration_registry"])
def test_the_seeds_foreign_keys(table: str) -> None:
    name = f"fk_{table.removesuffix('_registry')}_registry_feature"
    sql = str(CreateTable(TABLES[table]).compile(dialect=postgresql.dialect()))
    target = "FOREIGN KEY(feature_key) REFERENCES feature_registry (feature_key) ON DELETE RESTRICT"
    assert f"CONSTRAINT {name} {target}" in sql


def test_key_columns_sort_by_byte_on_postgresql() -> None:
    sql = "\n".join(str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in TABLES.values())
    for column in ("feature_key", "tier_key", "tenant_id", "license_key", "component_key", "integration_key", "key"):
        lines = [line for line in sql.splitlines() if line.strip().startswith(f"{column} ")]
        assert lines
        assert all('COLLATE "C"' in line for line in lines)


@pytest.mark.filterwarnings(
    "ignore:Skipped unsupported reflection of expression-based index idx_tenant_integration_region"
)
def test_autogenerate_sees_no_difference(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        ours = sa.MetaData()
        for table in TABLES.values():
            table.to_metadata(ours)
        assert compare_metadata(context, ours) == []


def refused(session: Session, row: Any, act: Callable[[Session, Any], None] = Session.add) -> bool:
    """Say whether the database refuses what ``act`` does with the row, and leave the session usable."""
    try:
        with session.begin_nested():
            act(session, row)
            session.flush()
    except sa.exc.IntegrityError:
        return True
    return False


class TestTheDatabaseRefuses:
    @pytest.fixture(autouse=True)
    def _a_feature_and_a_tier(self, session: Session) -> None:
        self.tier = tables.LicenseTier(tier_key="pro", name="Pro")
        session.add_all([feature(), self.tier])
        session.flush()
        session.add(integration())
        session.flush()

    def test_wrong_keys_and_takes_null_for_public(self, session: Session) -> None:
        def component(key: str | None) -> tables.ComponentRegistry:
            return tables.ComponentRegistry(
                component_key=str(uuid7()), component_name="c", display_name="c", category="c", feature_key=key
            )

        assert refused(session, model("models.typo"))
        assert refused(session, component("models.typo"))
        assert not refused(session, component(None))
        assert not refused(session, component("models.x"))
        wrong = integration()
        wrong.feature_key, wrong.integration_key = "models.typo", "other"
        assert refused(session, wrong)

    def test_values_outside_the_closed_lists(self, session: Session) -> None:
        def config(tenant: str, status: str | None) -> tables.TenantIntegrationConfig:
            return tables.TenantIntegrationConfig(integration_key="slack", tenant_id=tenant, health_status=status)

        for number, status in enumerate(("healthy", "degraded", "unhealthy", None)):
            assert not refused(session, config(str(number), status))
        assert refused(session, config("x", "HEALTHY"))
        assert refused(session, feature("a.b", feature_type="text"))
        assert refused(session, tables.FeatureAuditLog(entity_type="user", entity_id="1", action="created"))
        assert refused(session, tables.FeatureAuditLog(entity_type="feature", entity_id="1", action="touched"))

    def test_empty_windows(self, session: Session) -> None:
        early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

        def both(starts: datetime | None, expires: datetime | None) -> list[bool]:
            window = {"tenant_id": "t", "starts_at": starts, "expires_at": expires}
            license_ = tables.TenantLicense(license_key=str(uuid7()), license_tier_id=self.tier.id, **window)
            override = tables.TenantFeatureOverride(feature_key="models.x", feature_value={"enabled": True}, **window)
            answers = [refused(session, license_), refused(session, override)]
            session.connection().execute(sa.delete(TABLES["tenant_feature_override"]))
            session.expunge_all()
            return answers

        assert both(late, early) == both(early, early) == [True, True]
        for window in ((early, late), (None, early), (early, None), (None, None)):
            assert both(*window) == [False, False]

    def test_a_second_default_tier_and_a_tier_on_itself(self, session: Session) -> None:
        def tier(key: str, **changes: Any) -> tables.LicenseTier:
            return tables.LicenseTier(tier_key=key, name=key, **changes)

        own = uuid7()
        assert refused(session, tier("self", id=own, base_tier_id=own))
        assert refused(session, tier("pro"))
        assert not refused(session, tier("free", is_default=True))
        assert refused(session, tier("other", is_default=True))
        assert not refused(session, tier("third"))

    def test_a_second_value_per_tier_and_feature(self, session: Session) -> None:
        def grant() -> tables.LicenseTierFeatures:
            return tables.LicenseTierFeatures(
                license_tier_id=self.tier.id, feature_key="models.x", feature_value={"enabled": True}
            )

        assert not refused(session, grant())
        assert refused(session, grant())

    def test_deleting_a_feature_in_use_even_through_the_orm(self, session: Session) -> None:
        session.add(model())
        session.flush()
        row = session.exec(select(tables.FeatureRegistry)).one()
        assert refused(session, row, Session.delete)
        assert session.exec(select(tables.ModelRegistry)).one().feature_key == "models.x"


def test_relationships(session: Session) -> None:
    base = tables.LicenseTier(tier_key="free", name="Free")
    pro = tables.LicenseTier(tier_key="pro", name="Pro", base_tier=base)
    pro.features.append(tables.LicenseTierFeatures(feature=feature(), feature_value={"enabled": True}))
    session.add(pro)
    session.flush()
    session.add_all([model(), integration()])
    session.flush()
    session.add(tables.TenantIntegrationConfig(integration_key="slack", tenant_id="t"))
    session.flush()
    session.expire_all()
    back = session.exec(select(tables.LicenseTier).where(tables.LicenseTier.tier_key == "pro")).one()
    assert back.base_tier is base
    granted = back.features[0].feature
    assert [m.model_id for m in granted.models] == ["m"]
    assert granted.components == []
    assert granted.integrations[0].feature is granted
    with pytest.raises(sa.exc.InvalidRequestError, match="lazy='raise'"):
        _ = granted.integrations[0].configs
    mine = selectinload(tables.IntegrationRegistry.configs.and_(tables.TenantIntegrationConfig.tenant_id == "t"))
    session.expire_all()
    assert [c.tenant_id for c in session.exec(select(tables.IntegrationRegistry).options(mine)).one().configs] == ["t"]


def test_deleting_a_tier_takes_its_features_along(session: Session) -> None:
    tier = tables.LicenseTier(tier_key="pro", name="Pro")
    tier.features.append(tables.LicenseTierFeatures(feature=feature(), feature_value={"enabled": True}))
    session.add(tier)
    session.flush()
    session.expire_all()
    session.delete(tier)
    session.flush()
    assert session.exec(select(tables.LicenseTierFeatures)).all() == []


def test_updated_at_moves_with_an_update(session: Session) -> None:
    tier = tables.LicenseTier(tier_key="pro", name="Pro", updated_at=datetime(2020, 1, 1, tzinfo=UTC))
    session.add(tier)
    session.flush()
    tier.name = "Professional"
    session.flush()
    session.expire_all()
    assert tier.updated_at > datetime(2025, 1, 1, tzinfo=UTC)


def test_schema_translate_map_reaches_every_statement() -> None:
    statement = select(tables.LicenseTier).where(tables.LicenseTier.tier_key == "pro")
    sql = str(
        statement.compile(
            dialect=postgresql.dialect(), schema_translate_map={None: "app"}, render_schema_translate=True
        )
    )
    assert "FROM app.license_tier" in sql


# In a process of its own, because SQLModel.metadata and the class registry are global.
HOST = """
import sqlalchemy as sa
from sqlmodel import Field, SQLModel, Session, select

SQLModel.metadata.naming_convention = {
    "ix": "host_ix_%(column_0_label)s", "uq": "host_uq_%(table_name)s_%(column_0_name)s",
    "ck": "host_ck_%(table_name)s_%(constraint_name)s", "pk": "host_pk_%(table_name)s",
    "fk": "host_fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
}

class Decoy(SQLModel, table=True):
    # a table and a schema whose names are the first word of our module paths
    __tablename__ = "tierwright"
    __table_args__ = {"schema": "tierwright"}
    id: int | None = Field(default=None, primary_key=True)

def hosts_own(prefix):
    names = ["FeatureRegistry", "LicenseTier", "LicenseTierFeatures", "ModelRegistry", "ComponentRegistry",
             "IntegrationRegistry", "TenantIntegrationConfig", "FeatureAuditLog"]
    for name in names:
        fields = {"__annotations__": {"id": int | None}, "id": Field(default=None, primary_key=True),
                  "__tablename__": prefix + name.lower(), "__module__": __name__ + prefix}
        type(SQLModel)(name, (SQLModel,), fields, table=True)

hosts_own("before")
import tierwright.tables as ours
hosts_own("after")
sa.orm.configure_mappers()

wrong = [thing.name for name in ours.TABLE_NAMES for table in [SQLModel.metadata.tables[name]]
         for thing in (*table.constraints, *table.indexes) if "host" in str(thing.name)]
assert not wrong, wrong
engine = sa.create_engine("sqlite://")
SQLModel.metadata.create_all(engine, tables=[SQLModel.metadata.tables[name] for name in ours.TABLE_NAMES])
with engine.connect() as connection:
    sql = " ".join(row[0] for row in connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
assert "host_" not in sql
for name in ("pk_feature_registry", "uq_feature_registry_key", "fk_tier_features_tier", "chk_health_status"):
    assert f"CONSTRAINT {name} " in sql, name
with Session(engine) as session:
    tier = ours.LicenseTier(tier_key="a", name="A")
    session.add(tier)
    session.flush()
    assert tier.features == [] and type(tier).features.property.mapper.class_ is ours.LicenseTierFeatures
"""


def test_a_host_with_a_naming_convention_and_classes_of_our_names_does_no_harm() -> None:
    # SAWarnings about double names would be errors too; the host's two sets of classes differ in module.
    run = subprocess.run(
        [sys.executable, "-W", "error::sqlalchemy.exc.SAWarning", "-c", HOST],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
