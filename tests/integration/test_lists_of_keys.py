"""Every list of feature keys holds keys that exist, whoever writes it; what raw SQL breaks is denied, and told of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.conftest import SERVERS
from tests.support.registry import ON, everything, feature, history, seed, writer
from tierwright import Entitlements
from tierwright.doctor import examine
from tierwright.errors import CycleRefused, InvalidInput, ReferenceUnknown, StillInUse, TransactionMissing
from tierwright.resolution.decision import Reason
from tierwright.tables import ComponentRegistry, FeatureRegistry, IntegrationRegistry
from tierwright.types import uuid7

TABLES = SQLModel.metadata.tables
MODELS = {"feature": FeatureRegistry, "component": ComponentRegistry, "integration": IntegrationRegistry}
#: The row that is there from the start, and one of its lists.
ROWS = {
    "feature": ("a.plain", "depends_on"),
    "component": ("canvas", "required_features"),
    "integration": ("slack", "required_features"),
}
MALFORMED = ("a.one", ["a.one", 7])


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    """Yield a session on a database where a.two needs a.one."""
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), "a.plain", "a.spare")
        gate = {"category": "test", "feature_key": "a.plain"}
        registry.components.create(
            {"component_key": "canvas", "component_name": "c", "display_name": "C", **gate, "required_features": []}
        )
        registry.integrations.create({"integration_key": "slack", "integration_name": "Slack", **gate})
        session.commit()
        yield session


def the(session: Session, kind: str, key: str | None = None) -> Any:
    column = TABLES[f"{kind}_registry"].c[f"{kind}_key"]
    return session.scalars(sa.select(MODELS[kind]).where(column == (key or ROWS[kind][0]))).one()


def new(kind: str, keys: Any) -> dict[str, Any]:
    """Return a row that nobody has, with a list."""
    if kind == "feature":
        return {"id": uuid7(), **feature("a.new"), "depends_on": keys}
    names = {f"{kind}_key": "new", f"{kind}_name": "New", "category": "test", "feature_key": "a.plain"}
    shown = {"display_name": "New"} if kind == "component" else {"config_schema": {}}
    return {"id": uuid7(), **names, **shown, "required_features": keys}


# --- the ways to write a list past the services ----------------------------------------------------------------------


def by_object(session: Session, kind: str, keys: Any) -> None:
    setattr(the(session, kind), ROWS[kind][1], keys)
    session.flush()


def by_new_object(session: Session, kind: str, keys: Any) -> None:
    session.add(MODELS[kind](**new(kind, keys)))
    session.flush()


def by_merge(session: Session, kind: str, keys: Any) -> None:
    session.merge(MODELS[kind](**{**new(kind, keys), "id": the(session, kind).id, f"{kind}_key": ROWS[kind][0]}))
    session.flush()


def by_update(session: Session, kind: str, keys: Any) -> None:
    column = TABLES[f"{kind}_registry"].c[f"{kind}_key"]
    session.execute(sa.update(MODELS[kind]).where(column == ROWS[kind][0]).values({ROWS[kind][1]: keys}))


def by_parameters(session: Session, kind: str, keys: Any) -> None:
    row = {"id": the(session, kind).id, ROWS[kind][1]: keys}
    session.execute(sa.update(MODELS[kind]), [row])


def by_insert(session: Session, kind: str, keys: Any) -> None:
    session.execute(sa.insert(MODELS[kind]), [new(kind, keys)])


def by_insert_of_values(session: Session, kind: str, keys: Any) -> None:
    session.execute(sa.insert(MODELS[kind]).values(**new(kind, keys)))


def by_core_parameters(session: Session, kind: str, keys: Any) -> None:
    table = TABLES[f"{kind}_registry"]
    where = table.c[f"{kind}_key"] == ROWS[kind][0]
    session.execute(sa.update(table).where(where).values({ROWS[kind][1]: sa.bindparam("keys")}), {"keys": keys})


WAYS: tuple[Callable[[Session, str, Any], None], ...] = (
    by_object,
    by_new_object,
    by_merge,
    by_update,
    by_parameters,
    by_insert,
    by_insert_of_values,
    by_core_parameters,
)


@pytest.mark.parametrize("kind", MODELS)
def test_no_way_of_writing_gets_a_bad_list_past(session: Session, kind: str) -> None:
    before = everything(session)
    for way in WAYS:
        for keys in MALFORMED:
            with pytest.raises(InvalidInput):
                way(session, kind, keys)
            session.rollback()
        with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
            way(session, kind, ["a.one", "a.nowhere"])
        session.rollback()
    assert everything(session) == before


@pytest.mark.parametrize("kind", MODELS)
def test_a_good_list_is_written_every_way_and_told_of(session: Session, kind: str) -> None:
    for way in WAYS:
        told = len(history(session))
        way(session, kind, ["a.one", "a.spare"])
        assert len(history(session)) == told + 1, way
        session.rollback()


def test_a_statement_is_refused_before_it_runs_so_the_transaction_goes_on(session: Session) -> None:
    the(session, "feature").icon = "star"
    for statement in (
        sa.update(FeatureRegistry).values(depends_on=["a.nowhere"]),
        sa.update(FeatureRegistry).values(depends_on=None),
        sa.update(FeatureRegistry).values(depends_on=sa.literal_column("'[]'")),
        sa.update(FeatureRegistry).values(feature_key=FeatureRegistry.feature_name),
        sa.delete(FeatureRegistry).where(TABLES["feature_registry"].c.feature_key == "a.one"),
    ):
        with pytest.raises((InvalidInput, ReferenceUnknown, StillInUse)):
            session.execute(statement)
    session.commit()
    assert the(session, "feature").icon == "star"
    assert the(session, "feature", "a.two").depends_on == ["a.one"]


def test_features_cannot_be_made_to_need_each_other(session: Session) -> None:
    with pytest.raises(CycleRefused, match=r"a\.one → a\.two → a\.one"):
        by_update_of(session, "a.one", depends_on=["a.two"])
    the(session, "feature", "a.one").depends_on = ["a.two"]
    with pytest.raises(CycleRefused, match=r"a\.one → a\.two → a\.one"):
        session.flush()
    session.rollback()
    for changes in ({"depends_on": ["a.one"]}, {"conflicts_with": ["a.one"]}):
        with pytest.raises((CycleRefused, InvalidInput)):
            by_update_of(session, "a.one", **changes)
    with pytest.raises(InvalidInput, match="needs what it excludes"):
        by_update_of(session, "a.two", conflicts_with=["a.one"])
    # The other way round, in one flush, is no circle.
    one, two = the(session, "feature", "a.one"), the(session, "feature", "a.two")
    one.depends_on, two.depends_on = ["a.two"], []
    session.flush()


def by_update_of(session: Session, key: str, **values: Any) -> None:
    session.execute(sa.update(FeatureRegistry).where(TABLES["feature_registry"].c.feature_key == key).values(**values))


def test_features_made_together_may_name_each_other(session: Session) -> None:
    session.add_all([FeatureRegistry(**feature("b.top", depends_on=["b.low"])), FeatureRegistry(**feature("b.low"))])
    session.flush()
    rows = [{"id": uuid7(), **feature("c.top"), "depends_on": ["c.low"]}]
    rows.append({"id": uuid7(), **feature("c.low"), "depends_on": []})
    session.execute(sa.insert(FeatureRegistry), rows)
    session.commit()
    with pytest.raises(CycleRefused):
        session.execute(
            sa.insert(FeatureRegistry),
            [{"id": uuid7(), **feature(key), "depends_on": [other]} for key, other in (("d.a", "d.b"), ("d.b", "d.a"))],
        )


def test_a_feature_that_a_list_names_neither_goes_nor_changes_its_name(session: Session) -> None:
    the(session, "component").required_features = ["a.spare"]
    session.commit()
    for key, by in (("a.one", "the feature a.two"), ("a.spare", "the component canvas")):
        session.delete(the(session, "feature", key))
        with pytest.raises(StillInUse, match=by):
            session.flush()
        session.rollback()
        with pytest.raises(StillInUse, match=by):
            by_update_of(session, key, feature_key="z.new")
    # With whoever names it, or after it was taken out, it goes.
    session.delete(the(session, "feature", "a.two"))
    session.delete(the(session, "feature", "a.one"))
    the(session, "component").required_features = []
    the(session, "feature", "a.spare").feature_key = "z.new"
    session.commit()
    assert set(session.scalars(sa.select(TABLES["feature_registry"].c.feature_key))) == {"a.plain", "z.new"}


def test_what_raw_sql_has_broken_does_not_stand_in_the_way_of_other_writes(session: Session) -> None:
    raw(session, "component", "canvas", required_features='["a.nowhere"]')
    row = the(session, "component")
    row.icon = "star"
    row.required_features = ["a.nowhere", "a.one"]  # only what is new is this write's
    session.commit()
    row.required_features = ["a.one"]
    session.commit()


def test_on_a_connection_that_commits_by_itself_lists_are_refused(migrated_engine: Engine, session: Session) -> None:
    by_itself = migrated_engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(by_itself) as other:
        other.add(FeatureRegistry(**feature("b.empty")))
        other.commit()
        other.add(FeatureRegistry(**feature("b.full", depends_on=["a.nowhere"])))
        with pytest.raises(TransactionMissing):
            other.commit()
        other.rollback()
        other.delete(the(other, "feature", "a.one"))
        with pytest.raises(TransactionMissing):
            other.commit()
    found = set(session.scalars(sa.select(TABLES["feature_registry"].c.feature_key)))
    assert found == {"a.one", "a.two", "a.plain", "a.spare", "b.empty"}


@pytest.mark.parametrize("database_kind", [SERVERS[-1]], indirect=True)
def test_two_halves_of_a_circle_are_not_both_written(session: Session, migrated_engine: Engine) -> None:
    """A row waits for the lock of the catalogue before it is written, and what follows sees what came first."""
    the(session, "feature", "a.spare").depends_on = ["a.plain"]
    session.flush()
    refused: list[Exception] = []

    def other_half() -> None:
        with Session(migrated_engine) as other:
            the(other, "feature", "a.plain").depends_on = ["a.spare"]
            try:
                other.commit()
            except CycleRefused as error:
                refused.append(error)

    thread = Thread(target=other_half)
    thread.start()
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with migrated_engine.connect() as watching:
        while thread.is_alive() and not watching.execute(waiting).scalar():
            watching.rollback()
    session.commit()
    thread.join()
    assert len(refused) == 1


# --- what raw SQL breaks ---------------------------------------------------------------------------------------------


def raw(session: Session, kind: str, key: str, **columns: str) -> None:
    """Write JSON texts past everything."""
    for name, text in columns.items():
        cast = "::jsonb" if session.get_bind().dialect.name == "postgresql" else ""
        session.connection().exec_driver_sql(
            f"UPDATE {kind}_registry SET {name} = '{text}'{cast} WHERE {kind}_key = '{key}'"
        )
    session.commit()


def test_the_doctor_names_every_broken_list_and_decisions_deny_meanwhile(session: Session) -> None:
    registry = writer(session)
    keys = [f"x.{name}" for name in ("unknown", "self", "loop1", "loop2", "object", "numbers", "both", "excl")]
    seed(registry, *keys, pro=dict.fromkeys(keys, ON) | {"a.plain": ON, "a.one": ON, "a.spare": ON})
    registry.licenses.assign("acme", "pro")
    registry.models.create(
        {"provider": "p", "model_id": "m", "model_name": "M", "model_type": "chat", "feature_key": "x.unknown"}
    )
    session.commit()
    assert examine(session.get_bind()).ok
    raw(session, "feature", "x.unknown", depends_on='["x.nowhere"]')
    raw(session, "feature", "x.self", depends_on='["x.self"]')
    raw(session, "feature", "x.loop1", depends_on='["x.loop2"]')
    raw(session, "feature", "x.loop2", depends_on='["x.loop1"]')
    raw(session, "feature", "x.object", depends_on='{"a.one": 1}')
    raw(session, "feature", "x.numbers", conflicts_with="[1, 2]")
    raw(session, "feature", "x.both", depends_on='["a.one"]', conflicts_with='["a.one"]')
    raw(session, "feature", "x.excl", conflicts_with='["x.excl"]')
    raw(session, "component", "canvas", required_features='["x.nowhere"]')
    raw(session, "integration", "slack", required_features='"a.one"')

    found = {(each.code, each.object) for each in examine(session.get_bind()).findings}
    assert found >= {
        ("keys-unknown", "feature_registry.depends_on"),
        ("keys-self", "feature_registry.depends_on"),
        ("keys-self", "feature_registry.conflicts_with"),
        ("keys-cycle", "feature_registry.depends_on"),
        ("keys-unreadable", "feature_registry.depends_on"),
        ("keys-unreadable", "feature_registry.conflicts_with"),
        ("keys-contradiction", "feature_registry.conflicts_with"),
        ("keys-unknown", "component_registry.required_features"),
        ("keys-unreadable", "integration_registry.required_features"),
    }
    for each in examine(session.get_bind()).findings:
        assert each.remedy
        if each.code.startswith("keys-"):
            assert session.connection().exec_driver_sql(str(each.sql)).all()
    session.rollback()

    asked = Entitlements(session)
    decisions = asked.evaluate_all("acme")
    assert {key: decisions[key].enabled for key in keys} == dict.fromkeys(keys, False)
    assert decisions["x.unknown"].reason is Reason.PREREQUISITE_NOT_MET
    assert decisions["a.plain"].enabled
    assert [(each.availability, each.blocked_by) for each in asked.models("acme")] == [("locked", ("x.unknown",))]
    assert [(each.availability, each.blocked_by) for each in asked.components("acme")] == [("locked", ("x.nowhere",))]
    assert [each.availability for each in asked.integrations("acme")] == ["locked"]


def test_text_that_is_no_json_denies_too(tmp_path: Any, migrated_engine: Engine) -> None:
    if migrated_engine.dialect.name != "sqlite":
        with migrated_engine.connect() as connection, pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("SELECT 'oops'::jsonb")
        return
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", pro={"a.one": ON})
        registry.components.create(
            {"component_key": "canvas", "component_name": "c", "display_name": "C", "category": "test"}
        )
        registry.licenses.assign("acme", "pro")
        session.commit()
        raw(session, "feature", "a.one", depends_on="oops")
        raw(session, "component", "canvas", required_features="oops")
        assert not Entitlements(session).check("acme", "a.one")
        assert [each.availability for each in Entitlements(session).components("acme")] == ["locked"]
    found = {each.code for each in examine(migrated_engine).findings if each.severity == "error"}
    assert found == {"keys-unreadable"}
