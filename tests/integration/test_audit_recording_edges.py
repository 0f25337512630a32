"""What is easily got wrong in recording what hosts write themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker
from sqlmodel import Session

from tests.support.asynchronous import run_async
from tests.support.registry import OFF, feature, history, writer
from tests.support.rows import fill, ident
from tierwright.errors import AuditContextMissing, InvalidInput, Unrecordable
from tierwright.services.audit import AuditContext, require_context
from tierwright.services.recording import statements
from tierwright.services.recording.described import DESCRIBED
from tierwright.tables import (
    FeatureAuditLog,
    FeatureRegistry,
    LicenseTier,
    LicenseTierFeatures,
    TenantFeatureOverride,
    TenantIntegrationConfig,
    TenantLicense,
)

FEATURES = FeatureRegistry.__table__  # type: ignore[attr-defined]  # made by the metaclass


@pytest.fixture
def filled(migrated_engine: Engine) -> Engine:
    with migrated_engine.begin() as connection:
        fill(connection)
    return migrated_engine


@pytest.fixture
def session(filled: Engine) -> Iterator[Session]:
    with Session(filled) as session:
        yield session


def canvas(session: Session) -> FeatureRegistry:
    return session.scalars(sa.select(FeatureRegistry).filter_by(feature_key="ui.canvas")).one()


def said(session: Session) -> list[Any]:
    """Return what the history says beyond the rows that are there from the start."""
    return history(session, after=3)


def test_without_a_context_nobody_is_named(session: Session) -> None:
    canvas(session).icon = "star"
    session.commit()
    last = session.scalars(sa.select(FeatureAuditLog).order_by(FeatureAuditLog.id.desc())).first()
    assert last is not None
    assert (last.entity_id, last.performed_by) == ("ui.canvas", None)


def test_a_host_may_ask_for_a_context(filled: Engine) -> None:
    sessions = sessionmaker(filled, class_=Session, info={"hosts": 1})
    require_context(sessions)
    with sessions() as session:
        assert session.info["hosts"] == 1
        canvas(session).icon = "star"
        with pytest.raises(AuditContextMissing):
            session.commit()
        session.rollback()
        with pytest.raises(AuditContextMissing):
            session.execute(sa.update(FeatureRegistry).values(icon="star"))
        session.rollback()
        AuditContext("alice").attach(session)
        canvas(session).icon = "star"
        session.commit()
        assert [entry[1:] for entry in said(session)] == [("ui.canvas", "updated", {"icon": None}, {"icon": "star"})]


def test_a_context_that_cannot_be_stored_is_refused_with_the_write(session: Session) -> None:
    AuditContext("a\x00").attach(session)
    canvas(session).icon = "star"
    with pytest.raises(InvalidInput, match="audit entry"):
        session.commit()


def test_what_is_rolled_back_was_not(session: Session) -> None:
    row = canvas(session)
    with session.begin_nested() as inner:
        row.icon = "inner"
        session.flush()
        inner.rollback()
    row.icon = "outer"
    session.add(TenantLicense(tenant_id="new", license_tier_id=ident(12)))
    session.flush()
    savepoint = session.begin_nested()
    session.add(LicenseTier(tier_key="pro", name="Twice"))
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    savepoint.rollback()
    session.commit()
    assert [entry[1] for entry in said(session)] == ["ui.canvas", "new/main"]
    assert said(session)[0][4] == {"icon": "outer"}


def test_what_was_before_is_what_the_database_had(session: Session, filled: Engine) -> None:
    row = canvas(session)
    assert row.icon is None
    session.commit()
    session.refresh(row)
    session.commit()
    row.icon  # noqa: B018  loaded
    session.connection().execute(sa.update(FEATURES).values(icon="theirs"))
    row.icon = "ours"
    session.commit()
    assert said(session)[-1][3:] == ({"icon": "theirs"}, {"icon": "ours"})


def test_what_does_not_change_is_not_told(session: Session) -> None:
    row = canvas(session)
    row.icon = row.icon
    row.depends_on = list(row.depends_on)
    session.flush()
    session.execute(sa.update(FeatureRegistry).values(is_active=True))
    session.commit()
    assert said(session) == []


def test_a_row_that_is_called_otherwise_is_told_of_under_both_names(session: Session) -> None:
    session.scalars(sa.select(LicenseTier).filter_by(tier_key="pro")).one().tier_key = "plus"
    row = session.scalars(sa.select(TenantLicense)).one()
    row.license_key = "second"
    session.commit()
    changed = {"tier_key": "pro"}, {"tier_key": "plus"}
    moved = {"license_key": "main"}, {"license_key": "second"}
    assert sorted(entry[1:] for entry in said(session)) == sorted(
        [
            ("pro", "updated", *changed),
            ("plus", "updated", *changed),
            ("acme/main", "updated", *moved),
            ("acme/second", "updated", *moved),
        ]
    )


def test_settings_are_told_of_by_name_and_health_not_at_all(session: Session) -> None:
    row = session.scalars(sa.select(TenantIntegrationConfig).filter_by(tenant_id="acme")).one()
    row.config, row.encrypted_config, row.config_version = {"channel": "#sentinel"}, b"sentinel", 2
    session.flush()
    row.is_enabled = False
    session.flush()
    row.health_status, row.failure_count = "unhealthy", 3
    session.flush()
    session.execute(sa.update(TenantIntegrationConfig).values(health_status="degraded"))
    session.delete(row)
    session.commit()
    versions = {"config_version": 2, "secret_version": 0}
    assert [entry[2:] for entry in said(session)] == [
        ("updated", {"config_version": 1}, {**versions, "changed": ["config", "encrypted_config"]}),
        ("disabled", {"is_enabled": True}, {**versions, "is_enabled": False}),
        ("deleted", {**versions, "is_enabled": False}, None),
    ]
    assert "sentinel" not in repr(session.execute(sa.select(FeatureAuditLog.__table__)).all())  # type: ignore[attr-defined]


def test_what_a_host_has_pending_is_told_of_once_and_before_what_the_service_does(session: Session) -> None:
    canvas(session).icon = "star"
    writer(session).features.create(feature("a.one"))
    session.commit()
    assert [entry[1:3] for entry in said(session)] == [("ui.canvas", "updated"), ("a.one", "created")]


def test_a_statement_that_writes_too_much_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MOST_ROWS", 2)
    rows = [{"tenant_id": str(number), "license_tier_id": ident(12)} for number in range(3)]
    for statement, parameters in (
        (sa.update(FeatureRegistry).values(icon="star"), None),
        (sa.insert(TenantLicense), rows),
        (sa.update(FeatureRegistry), [{"id": ident(number), "icon": "star"} for number in (1, 2, 3)]),
    ):
        with pytest.raises(Unrecordable, match="2 rows"):
            session.execute(statement, parameters)
    session.commit()
    assert said(session) == []
    assert canvas(session).icon is None


def test_many_pairs_are_named_in_parts() -> None:
    """PostgreSQL goes as deep into a list of pairs as it is long: 10,000 of them are deeper than its stack."""
    licenses = DESCRIBED["tenant_license"]
    named = [(str(number), "main") for number in range(statements.MOST_ROWS)]
    assert str(licenses.is_one_of(named)).count(" IN ") == statements.MOST_ROWS / 500
    assert str(licenses.is_one_of([])) == "false"


def test_a_statement_is_narrowed_to_what_was_read(session: Session) -> None:
    """Conditions over other tables, parameters, and none at all."""
    of_tier = sa.select(LicenseTier.id).where(LicenseTier.tier_key == sa.bindparam("key"))
    statement = sa.update(TenantLicense).where(TenantLicense.license_tier_id.in_(of_tier)).values(is_active=False)
    result: Any = session.execute(statement, {"key": "pro"})
    assert result.rowcount == 1
    assert session.execute(statement, {"key": "free"}).rowcount == 0  # type: ignore[attr-defined]
    session.execute(sa.delete(TenantIntegrationConfig))
    session.commit()
    assert [entry[1:3] for entry in said(session)] == [
        ("acme/main", "updated"),
        ("acme/slack", "deleted"),
        ("globex/slack", "deleted"),
    ]


def test_a_statement_may_name_its_row_by_the_primary_key(session: Session) -> None:
    """With parameters or without, with more conditions, of the ORM or of the table; and where the row is not there."""
    of_acme = (TenantLicense.tenant_id == "acme", TenantLicense.license_key == sa.bindparam("key"))
    statement = sa.update(TenantLicense).where(*of_acme).values(is_active=False)
    ways: list[tuple[Any, str]] = [
        (statement, "other"),
        (statement.where(TenantLicense.is_active.is_(False)), "main"),
        (statement, "main"),
    ]
    found: list[Any] = [session.execute(way, {"key": key}) for way, key in ways]
    assert [each.rowcount for each in found] == [0, 0, 1]
    table = TenantLicense.__table__  # type: ignore[attr-defined]  # made by the metaclass
    session.execute(sa.delete(table).where(table.c.tenant_id == "acme", table.c.license_key == "main"))
    session.commit()
    assert [entry[1:3] for entry in said(session)] == [("acme/main", "updated"), ("acme/main", "deleted")]


def test_a_statement_does_not_give_a_row_another_primary_key(session: Session) -> None:
    with pytest.raises(Unrecordable, match="primary key"):
        session.execute(sa.update(TenantLicense).where(TenantLicense.tenant_id == "acme").values(tenant_id="zeta"))
    session.commit()
    assert said(session) == []


def test_rows_that_are_given_back_are_those_of_the_statement(session: Session) -> None:
    made = session.scalars(sa.insert(LicenseTier).returning(LicenseTier), [{"tier_key": "new", "name": "New"}]).one()
    assert made.tier_key == "new"
    changed = session.scalars(
        sa.update(LicenseTier).where(LicenseTier.tier_key == "new").values(rank=3).returning(LicenseTier.rank)
    ).all()
    assert list(changed) == [3]
    session.commit()
    assert [entry[1:3] for entry in said(session)] == [("new", "created"), ("new", "updated")]


@pytest.mark.parametrize("method", ["bulk_save_objects", "bulk_insert_mappings", "bulk_update_mappings"])
def test_the_legacy_bulk_methods_are_refused(session: Session, method: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "bulk_save_objects": ([LicenseTier(tier_key="new", name="New")],),
        "bulk_insert_mappings": (LicenseTier, [{"tier_key": "new", "name": "New"}]),
        "bulk_update_mappings": (LicenseTier, [{"id": ident(12), "name": "New"}]),
    }
    with pytest.raises(Unrecordable, match="license_tier"):
        getattr(session, method)(*arguments[method])
    session.rollback()
    canvas(session).icon = "star"  # and the session goes on
    session.commit()
    assert [entry[1] for entry in said(session)] == ["ui.canvas"]


def test_an_asynchronous_session_records_with_its_context(filled: Engine) -> None:
    async def work(session: Any) -> None:
        AuditContext("alice").attach(session)
        row = (await session.scalars(sa.select(FeatureRegistry).filter_by(feature_key="ui.canvas"))).one()
        await session.commit()
        row.icon = "star"  # expired: what it was is read in the flush
        await session.commit()
        await session.execute(sa.update(FeatureRegistry).where(FEATURES.c.feature_key == "int.slack").values(icon="x"))
        await session.commit()

    run_async(filled, work)
    with Session(filled) as session:
        assert [entry[1:] for entry in said(session)] == [
            ("ui.canvas", "updated", {"icon": None}, {"icon": "star"}),
            ("int.slack", "updated", {"icon": None}, {"icon": "x"}),
        ]


def test_a_process_that_imports_nothing_but_the_tables_records_too(filled: Engine) -> None:
    url = filled.url.render_as_string(hide_password=False)
    script = """
import sys, sqlalchemy as sa
from sqlmodel import Session
from tierwright.tables import FeatureRegistry, LicenseTier
with Session(sa.create_engine(sys.argv[1])) as session:
    session.execute(sa.update(FeatureRegistry).where(FeatureRegistry.feature_key == "ui.canvas").values(icon="star"))
    session.add(LicenseTier(tier_key="new", name="New"))
    session.commit()
"""
    subprocess.run([sys.executable, "-c", script, url], check=True, timeout=60)
    with Session(filled) as session:
        assert [entry[1:3] for entry in said(session)] == [("ui.canvas", "updated"), ("new", "created")]


def test_a_row_that_is_deleted_and_added_anew_was_changed(session: Session) -> None:
    """SQLAlchemy makes one UPDATE of the two."""
    session.delete(session.scalars(sa.select(TenantFeatureOverride)).one())
    session.add(TenantFeatureOverride(tenant_id="acme", feature_key="ui.canvas", feature_value=OFF, reason="trial"))
    session.commit()
    changed = {"feature_value": {"enabled": True, "value": 5}}, {"feature_value": OFF}
    assert [entry[1:] for entry in said(session)] == [("acme/ui.canvas", "updated", *changed)]


def test_what_listeners_of_the_host_change_is_told_of(session: Session) -> None:
    def stamp(_mapper: Any, _connection: Any, target: FeatureRegistry) -> None:
        target.icon = "late"

    def grant(session: Any, *_: Any) -> None:
        for row in [row for row in session.new if isinstance(row, FeatureRegistry)]:
            session.add(LicenseTierFeatures(license_tier_id=ident(12), feature_key=row.feature_key, feature_value=OFF))

    sa.event.listen(FeatureRegistry, "before_update", stamp)
    sa.event.listen(session, "before_flush", grant)
    try:
        row = canvas(session)
        row.description = row.description  # nothing is modified, and SQLAlchemy looks all the same
        writer(session).features.create(feature("a.one"))
        session.commit()
    finally:
        sa.event.remove(FeatureRegistry, "before_update", stamp)
    assert [entry[1:3] for entry in said(session)] == [
        ("ui.canvas", "updated"),
        ("a.one", "created"),
        ("pro/a.one", "created"),
    ]


def test_a_class_of_the_host_on_a_table_of_ours_is_heard(session: Session) -> None:
    base: Any = sa.orm.declarative_base()

    class Mine(base):  # type: ignore[misc]  # made at run time
        __table__ = FEATURES

    session.scalars(sa.select(Mine).filter_by(feature_key="ui.canvas")).one().icon = "star"
    session.flush()
    session.add(Mine(**feature("a.one")))
    session.commit()
    session.delete(session.scalars(sa.select(Mine).filter_by(feature_key="a.one")).one())
    session.commit()
    assert [entry[1:3] for entry in said(session)] == [
        ("ui.canvas", "updated"),
        ("a.one", "created"),
        ("a.one", "deleted"),
    ]


def test_what_writes_our_tables_in_disguise_is_refused(session: Session) -> None:
    alias, overrides = sa.orm.aliased(FeatureRegistry), TenantFeatureOverride.__table__  # type: ignore[attr-defined]
    reflected = sa.Table("feature_registry", sa.MetaData(), autoload_with=session.connection())
    statements = [
        sa.update(alias).values(icon="x"),
        sa.update(FEATURES.alias("f")).values(icon="x"),
        sa.update(reflected).values(icon="x"),
        sa.delete(sa.table("tenant_feature_override")),
        sa.update(overrides).values(feature_key="int.slack"),
        sa.update(TenantLicense).values({TenantLicense.license_key: "x"}),
        sa.select(FeatureRegistry).from_statement(
            sa.update(FeatureRegistry).values(icon="x").returning(FeatureRegistry)
        ),
        sa.lambda_stmt(lambda: sa.update(FeatureRegistry).values(icon="x")),
    ]
    if session.get_bind().dialect.name == "postgresql":
        hidden = sa.update(FEATURES).values(icon="x").returning(FEATURES.c.id).cte()
        statements += [
            sa.select(hidden.c.id),
            sa.select(sa.literal(1)).add_cte(hidden),
            sa.select(LicenseTier).where(LicenseTier.id.in_(sa.select(hidden.c.id))),
            sa.update(LicenseTier).values(rank=3).where(sa.exists(sa.select(hidden.c.id))),
        ]
    for statement in [*statements, *statements]:  # what was looked through once is remembered
        with pytest.raises(Unrecordable):
            session.execute(statement)
    with pytest.raises(Unrecordable):
        session.execute(sa.update(overrides), {"feature_key": "int.slack"})
    session.commit()
    assert said(session) == []
    assert canvas(session).icon is None


def test_statements_of_every_kind_that_are_not_ours_go_through(session: Session) -> None:
    number = sa.select(sa.literal(2).label("number")).cte()
    kinds: list[Any] = [
        sa.text("SELECT 2"),
        sa.select(sa.func.max(number.c.number)),
        sa.union(sa.select(sa.literal(2)), sa.select(sa.literal(2))),
        sa.lambda_stmt(lambda: sa.select(sa.literal(2))),
    ]
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.schema.CreateSequence(sa.Sequence("host_numbers", start=2)))
        kinds.append(sa.Sequence("host_numbers"))
    assert [session.scalar(kind) for kind in kinds] == [2] * len(kinds)
    assert session.scalar(kinds[1]) == 2


def test_a_flush_that_came_to_nothing_does_not_open_the_door(session: Session) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not today")

    sa.event.listen(session, "before_flush", refuse)
    session.add(LicenseTier(tier_key="new", name="New"))
    with pytest.raises(ValueError, match="today"):
        session.flush()
    sa.event.remove(session, "before_flush", refuse)
    session.expunge_all()
    with pytest.raises(Unrecordable):
        session.bulk_update_mappings(LicenseTier, [{"id": ident(12), "name": "New"}])  # type: ignore[arg-type]


#: A trigger of the host's that takes away what was inserted.
SWALLOWS = {
    "sqlite": [
        "CREATE TRIGGER host AFTER INSERT ON license_tier BEGIN DELETE FROM license_tier WHERE id = new.id; END"
    ],
    "postgresql": [
        "CREATE FUNCTION host() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN new.id := gen_random_uuid(); RETURN new; END'",
        "CREATE TRIGGER host BEFORE INSERT ON license_tier FOR EACH ROW EXECUTE FUNCTION host()",
    ],
}


def test_what_cannot_be_told_after_all_is_rolled_back(session: Session, filled: Engine) -> None:
    with filled.begin() as connection:
        for statement in SWALLOWS[filled.dialect.name]:
            connection.exec_driver_sql(statement)
    session.add(LicenseTier(tier_key="new", name="New"))
    with pytest.raises(Unrecordable):
        session.flush()
    session.rollback()
    canvas(session).icon = "star"
    with pytest.raises(Unrecordable):
        session.execute(sa.insert(LicenseTier), [{"tier_key": "new", "name": "New"}])
    session.commit()  # as a host that goes on
    assert said(session) == []
    assert canvas(session).icon is None
    assert session.scalars(sa.select(LicenseTier.tier_key).filter_by(name="New")).all() == []


@pytest.mark.parametrize("level", ["default", "AUTOCOMMIT"])
def test_a_context_is_asked_for_before_anything_is_written(filled: Engine, level: str) -> None:
    engine = filled if level == "default" else filled.execution_options(isolation_level=level)
    with Session(engine) as session:
        require_context(session)
        with pytest.raises(AuditContextMissing):
            session.execute(sa.update(FeatureRegistry).values(icon="star"))
        session.commit()  # as a host that goes on
        canvas(session).icon = "star"
        with pytest.raises(AuditContextMissing):
            session.flush()
        session.rollback()
        assert canvas(session).icon is None


def test_what_is_not_ours_is_not_looked_at(filled: Engine) -> None:
    base: Any = sa.orm.declarative_base()

    class Thing(base):  # type: ignore[misc]  # made at run time
        __tablename__ = "hosts_thing"
        name = sa.Column(sa.String, primary_key=True)

    base.metadata.create_all(filled)
    with Session(filled) as session:
        session.bulk_insert_mappings(Thing, [{"name": "a"}])
        session.add(Thing(name="b"))
        session.execute(sa.insert(Thing), [{"name": "c"}])
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Thing)) == 3
        assert said(session) == []
    base.metadata.drop_all(filled)
