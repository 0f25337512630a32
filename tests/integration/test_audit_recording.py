"""THE table of write paths: every table, by every way that a session knows, leaves an entry or is refused.

A table that is added without a line here fails the first test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.registry import ON
from tests.support.rows import fill, ident
from tierwright import tables
from tierwright.errors import Unrecordable
from tierwright.integrations import TenantIntegrations
from tierwright.services.audit import AuditContext
from tierwright.services.recording.described import DESCRIBED
from tierwright.services.registry import Registry

#: The history does not tell of itself, and decisions do not change with our counters.
SILENT = {"feature_audit_log", "tierwright_state"}


@dataclass(frozen=True)
class Line:
    """One table: a row that is new, what changes on it, and the service that makes the same row."""

    model: Any
    new: dict[str, Any]
    name: str
    change: tuple[str, Any]
    service: Callable[[Registry], object]
    tenant: str | None = None

    @property
    def table(self) -> sa.Table:
        table: sa.Table = self.model.__table__
        return table

    @property
    def key(self) -> dict[str, Any]:
        """The primary key of the new row."""
        return {column.name: self.row[column.name] for column in self.table.primary_key.columns}

    @property
    def row(self) -> dict[str, Any]:
        """The new row, with its id."""
        return ({"id": ident(999)} if "id" in self.table.c else {}) | self.new


def _entry(**more: Any) -> dict[str, Any]:
    return {"category": "test", "feature_key": "int.slack", **more}


FEATURE = {
    "feature_key": "new.one",
    "feature_name": "One",
    "category": "test",
    "feature_type": "boolean",
    "default_value": {"enabled": False, "value": True},
}
TIER = {"tier_key": "new", "name": "New", "base_tier_id": ident(11)}
MODEL = _entry(provider="openai", model_id="new", model_name="New", model_type="chat") | {}
MODEL.pop("category")
COMPONENT = _entry(component_key="new", component_name="new", display_name="New")
INTEGRATION = _entry(integration_key="new", integration_name="New")

LINES = {
    line.table.name: line
    for line in (
        Line(
            tables.FeatureRegistry,
            FEATURE | {"created_by": "alice"},
            "new.one",
            ("icon", "star"),
            lambda registry: registry.features.create(FEATURE),
        ),
        Line(tables.LicenseTier, TIER, "new", ("rank", 7), lambda registry: registry.tiers.create(TIER)),
        Line(
            tables.LicenseTierFeatures,
            {"license_tier_id": ident(12), "feature_key": "ui.canvas", "feature_value": ON},
            "pro/ui.canvas",
            ("feature_value", {"enabled": False}),
            lambda registry: registry.tiers.grant("pro", {"ui.canvas": {"enabled": True}}),
        ),
        Line(
            tables.TenantLicense,
            {"tenant_id": "umbrella", "license_key": "main", "license_tier_id": ident(12)},
            "umbrella/main",
            ("license_tier_id", ident(11)),
            lambda registry: registry.licenses.assign("umbrella", "pro"),
            tenant="umbrella",
        ),
        Line(
            tables.TenantFeatureOverride,
            {"tenant_id": "umbrella", "feature_key": "int.slack", "feature_value": ON, "reason": "why"},
            "umbrella/int.slack",
            ("feature_value", {"enabled": False}),
            lambda registry: registry.overrides.set("umbrella", "int.slack", {"enabled": True}),
            tenant="umbrella",
        ),
        Line(
            tables.ModelRegistry,
            MODEL,
            "openai/new",
            ("max_tokens", 5),
            lambda registry: registry.models.create(MODEL),
        ),
        Line(
            tables.ComponentRegistry,
            COMPONENT,
            "new",
            ("icon", "star"),
            lambda registry: registry.components.create(COMPONENT),
        ),
        Line(
            tables.IntegrationRegistry,
            INTEGRATION,
            "new",
            ("icon", "star"),
            lambda registry: registry.integrations.create(INTEGRATION),
        ),
        Line(
            tables.TenantIntegrationConfig,
            {"integration_key": "slack", "tenant_id": "umbrella", "config": {"channel": "#sentinel"}},
            "umbrella/slack",
            ("config", {"channel": "#other-sentinel"}),
            lambda registry: TenantIntegrations(registry.session).configure("umbrella", "slack", {"channel": "#x"}),
            tenant="umbrella",
        ),
    )
}


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with migrated_engine.begin() as connection:
        fill(connection)
        connection.execute(sa.insert(SQLModel.metadata.tables["tenant_license"]).values(_second_license()))
    with Session(migrated_engine) as session:
        AuditContext("alice", "why", request_id="r-1").attach(session)
        yield session


def _second_license() -> dict[str, Any]:
    return {"tenant_id": "globex", "license_key": "main", "license_tier_id": ident(12)}


def entries(session: Session) -> list[tables.FeatureAuditLog]:
    """Return the entries that the test has made."""
    log = tables.FeatureAuditLog
    return list(session.scalars(sa.select(log).where(log.performed_by == "alice").order_by(log.id)))


def said_once(session: Session, line: Line, action: str) -> tables.FeatureAuditLog:
    """Return the one entry about the line's row, and see that it says whose and by whom."""
    (entry,) = entries(session)
    assert (entry.entity_type, entry.entity_id, entry.action) == (DESCRIBED[line.table.name].entity, line.name, action)
    assert (entry.tenant_id, entry.reason, entry.request_id) == (line.tenant, "why", "r-1")
    if "feature_key" in line.new:
        assert entry.feature_key == line.new["feature_key"]
    return entry


def each_line(session: Session, *, is_there: bool = False) -> Iterator[Line]:
    """Yield the lines, each in a database as it was, with or without the line's row."""
    for line in LINES.values():
        if is_there:
            session.connection().execute(sa.insert(line.table).values(line.row))
        yield line
        session.rollback()


def test_every_table_has_a_line() -> None:
    assert set(LINES) == set(tables.TABLE_NAMES) - SILENT
    assert set(DESCRIBED) == set(LINES)


def test_a_service_writes_its_entry_and_no_other(session: Session) -> None:
    for line in each_line(session):
        line.service(Registry(session))
        said_once(session, line, "created")


def test_an_object_that_is_added_is_told_of_as_the_service_tells(session: Session) -> None:
    for line in each_line(session):
        line.service(Registry(session))
        told = said_once(session, line, "created").new_value
        session.rollback()
        session.add(line.model(**line.new))
        session.flush()
        entry = said_once(session, line, "created")
        assert entry.old_value is None
        if line.model is not tables.TenantIntegrationConfig:  # the service knows the names of its settings
            assert entry.new_value == told


def test_an_attribute_that_is_set_is_told_of_before_and_after(session: Session) -> None:
    for line in each_line(session, is_there=True):
        row = session.scalars(sa.select(line.model).filter_by(**line.key)).one()
        session.expire(row)  # what it was is not in memory
        setattr(row, *line.change)
        session.flush()
        _changed(said_once(session, line, "updated"), line)


def test_an_object_that_is_deleted_is_told_of(session: Session) -> None:
    for line in each_line(session, is_there=True):
        session.delete(session.scalars(sa.select(line.model).filter_by(**line.key)).one())
        session.flush()
        entry = said_once(session, line, "deleted")
        assert entry.old_value
        assert entry.new_value is None


@pytest.mark.parametrize("of_core", [False, True])
def test_rows_that_are_inserted_are_told_of(session: Session, of_core: bool) -> None:
    for line in each_line(session):
        target = line.table if of_core else line.model
        for statement, rows in ((sa.insert(target), [line.new]), (sa.insert(target).values(line.new), None)):
            session.execute(statement, rows)
            assert said_once(session, line, "created").old_value is None
            session.rollback()


@pytest.mark.parametrize("of_core", [False, True])
def test_rows_that_a_statement_updates_are_told_of(session: Session, of_core: bool) -> None:
    for line in each_line(session, is_there=True):
        statement = sa.update(line.table if of_core else line.model).values(dict([line.change]))
        session.execute(statement.filter_by(**line.key) if not of_core else _at(statement, line))
        _changed(said_once(session, line, "updated"), line)


def test_rows_that_are_updated_by_their_keys_are_told_of(session: Session) -> None:
    for line in each_line(session, is_there=True):
        session.execute(sa.update(line.model), [{**line.key, **dict([line.change])}])
        _changed(said_once(session, line, "updated"), line)


@pytest.mark.parametrize("of_core", [False, True])
def test_rows_that_a_statement_deletes_are_told_of(session: Session, of_core: bool) -> None:
    for line in each_line(session, is_there=True):
        session.execute(_at(sa.delete(line.table if of_core else line.model), line))
        assert said_once(session, line, "deleted").old_value


def test_what_nobody_could_tell_is_refused_before_it_is_done(session: Session) -> None:
    for line in each_line(session):
        table, name = line.table, line.change[0]
        insert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(table)
        upsert = insert.values(line.row).on_conflict_do_nothing()
        selected = sa.insert(table).from_select([name], sa.select(table.c[name]))
        many = sa.update(table).where(table.c[name] == sa.bindparam("was")).values({name: sa.bindparam("is")})
        gone = sa.delete(table).where(table.c[name] == sa.bindparam("was"))
        for statement, rows in (
            (upsert, None),
            (selected, None),
            (sa.insert(table).prefix_with("OR REPLACE").values(line.row), None),
            (sa.insert(table).values([line.row]), None),
            (many, [{"was": line.change[1], "is": line.change[1]}]),
            (gone, [{"was": line.change[1]}]),
        ):
            with pytest.raises(Unrecordable, match=table.name):
                session.execute(statement, rows)
        assert not entries(session)


#: Which relationships can write rows of other objects, and which rows.
CASCADES = {
    ("LicenseTier", "features"): "license_tier_features",
    ("FeatureRegistry", "models"): "model_registry",
    ("FeatureRegistry", "components"): "component_registry",
    ("FeatureRegistry", "integrations"): "integration_registry",
    ("IntegrationRegistry", "configs"): "tenant_integration_configs",
}


def test_every_relationship_to_many_has_its_line() -> None:
    found = {
        (line.model.__name__, each.key): each.mapper.local_table.name
        for line in LINES.values()
        for each in sa.inspect(line.model).relationships
        if each.uselist
    }
    assert found == CASCADES


@pytest.mark.parametrize("parent", CASCADES)
def test_rows_that_come_with_a_parent_are_told_of(session: Session, parent: tuple[str, str]) -> None:
    name, attribute = parent
    owner = next(line for line in LINES.values() if line.model.__name__ == name)
    line = LINES[CASCADES[parent]]
    (link,) = sa.inspect(owner.model).relationships[attribute].remote_side
    child = line.model(**{key: value for key, value in line.new.items() if key != link.key})
    session.add(owner.model(**owner.new, **{attribute: [child]}))
    session.flush()
    made, came = entries(session)
    assert (made.entity_id, made.action) == (owner.name, "created")
    assert (came.entity_type, came.action) == (DESCRIBED[line.table.name].entity, "created")


@pytest.mark.parametrize("way", ["loaded", "by the database", "statement"])
def test_grants_that_go_with_their_tier_are_told_of(session: Session, way: str) -> None:
    tier, grant = LINES["license_tier"], LINES["license_tier_features"]
    session.connection().execute(sa.insert(tier.table).values(tier.row))
    session.connection().execute(sa.insert(grant.table).values({**grant.row, "license_tier_id": ident(999)}))
    row = session.scalars(sa.select(tier.model).filter_by(tier_key="new")).one()
    if way == "statement":
        session.execute(sa.delete(tier.model).where(tier.table.c.tier_key == "new"))
    else:
        if way == "loaded":
            assert row.features
        session.delete(row)
        session.flush()
    found = {(entry.entity_type, entry.entity_id, entry.action) for entry in entries(session)}
    assert found == {("tier", "new", "deleted"), ("tier_feature", "new/ui.canvas", "deleted")}
    assert len(entries(session)) == 2


def _at(statement: Any, line: Line) -> Any:
    return statement.where(*(line.table.c[name] == value for name, value in line.key.items()))


def _changed(entry: tables.FeatureAuditLog, line: Line) -> None:
    """See that an entry tells of the one change, and of nothing else."""
    name, value = line.change
    if line.model is tables.TenantIntegrationConfig:
        assert entry.old_value is None
        assert entry.new_value == {"config_version": 1, "secret_version": 0, "changed": ["config"]}
        return
    if name == "license_tier_id":
        name, value = "tier_key", "free"
    assert entry.new_value == {name: value}
    assert list(entry.old_value) == [name]
    assert entry.old_value[name] != value
