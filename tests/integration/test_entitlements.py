"""The questions of a host, on every database: values, errors, other moments, resources, sentences."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support import catalogue
from tests.support.catalogue import TABLES
from tierwright import Availability, Entitlements, Reason, SnapshotStore, Source
from tierwright.errors import EntitlementsUnavailable, FeatureDenied, HistoryRequired, InvalidInput
from tierwright.migrations import upgrade
from tierwright.services.catalog_version import bump_catalog
from tierwright.types import uuid7

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Return a database with one feature for each way to be granted or denied."""
    with migrated_engine.begin() as connection:
        bump_catalog(connection)
        for key, values in {
            "f.granted": {},
            "f.denied": {},
            "f.default": {"default_value": {"enabled": True, "value": 1}},
            "f.off": {"is_active": False},
            "f.needs": {"depends_on": ["f.denied"]},
            "f.left": {"conflicts_with": ["f.right"]},
            "f.right": {},
            "f.base": {},
            "f.override": {},
            "f.json": {"feature_type": "json", "default_value": {"enabled": False, "value": {}}},
        }.items():
            catalogue.feature(connection, key, **values)
        base = catalogue.tier(connection, "basic", {"f.base": {"enabled": True, "value": 2}})
        on = {"enabled": True, "value": 5}
        grants = {
            "f.granted": on,
            "f.needs": on,
            "f.left": on,
            "f.right": on,
            "f.off": on,
            "f.denied": {"enabled": False},
        }
        grants["f.json"] = {"enabled": True, "value": {"colours": ["red"]}}
        pro = catalogue.tier(connection, "pro", grants, rank=10, base_tier_id=base)
        catalogue.license(connection, "acme", pro)
        catalogue.override(connection, "acme", "f.override", {"enabled": True, "unlimited": True})
        resources(connection)
    return migrated_engine


def resources(connection: sa.Connection) -> None:
    """Insert models, components and integrations of every availability."""
    insert = {name: TABLES[name].insert() for name in TABLES}
    for model_id, key, active in (("m1", "f.granted", True), ("m2", "f.denied", True), ("m3", "f.granted", False)):
        names = {"provider": "acme-ai", "model_id": model_id, "model_name": model_id, "model_type": "chat"}
        row = {"id": uuid7(), "feature_key": key, "is_active": active, **names}
        connection.execute(insert["model_registry"].values(**row))
    for key, feature_key, required in (
        ("public", None, []),
        ("gated", "f.granted", []),
        ("half", "f.granted", ["f.denied", "f.unknown"]),
        ("only-required", None, ["f.base"]),
    ):
        names = {"component_key": key, "component_name": key, "display_name": key, "category": "test"}
        row = {"id": uuid7(), "feature_key": feature_key, "required_features": required, **names}
        connection.execute(insert["component_registry"].values(**row))
    for key, feature_key, config in (
        ("locked", "f.denied", {"is_enabled": True}),
        ("unconfigured", "f.granted", None),
        ("off", "f.granted", {"is_enabled": False}),
        ("sick", "f.granted", {"is_enabled": True, "health_status": "unhealthy"}),
        ("slow", "f.granted", {"is_enabled": True, "health_status": "degraded"}),
        ("new", "f.granted", {"is_enabled": True}),
    ):
        names = {"integration_key": key, "integration_name": key, "category": "test", "feature_key": feature_key}
        connection.execute(insert["integration_registry"].values(id=uuid7(), **names))
        if config is not None:
            row = {"integration_key": key, "tenant_id": "acme", **config}
            connection.execute(insert["tenant_integration_configs"].values(**row))
    somebody = {"integration_key": "unconfigured", "tenant_id": "globex", "is_enabled": True}
    connection.execute(insert["tenant_integration_configs"].values(**somebody))


@pytest.fixture(params=["session", "store"])
def entitlements(request: pytest.FixtureRequest, engine: Engine) -> Any:
    """Yield entitlements that read the database, and ones that read the store."""
    with Session(engine) as session:
        if request.param == "session":
            yield Entitlements(session)
            return
        with SnapshotStore(engine, background=False) as store:
            yield Entitlements(session, store=store)


REASONS = {
    "f.granted": Reason.GRANTED,
    "f.denied": Reason.NOT_GRANTED,
    "f.default": Reason.GRANTED,
    "f.off": Reason.DISABLED,
    "f.needs": Reason.PREREQUISITE_NOT_MET,
    "f.left": Reason.CONFLICT,
    "f.right": Reason.CONFLICT,
    "f.base": Reason.GRANTED,
    "f.override": Reason.GRANTED,
    "f.json": Reason.GRANTED,
}


def test_every_reason_is_given_one_by_one_and_all_together(entitlements: Entitlements) -> None:
    for key, reason in REASONS.items():
        decision = entitlements.evaluate("acme", key)
        assert (decision.reason, decision.enabled) == (reason, reason is Reason.GRANTED), key
        assert entitlements.check("acme", key) is decision.enabled
    found = entitlements.evaluate_all("acme")
    assert {key: decision.reason for key, decision in found.items()} == REASONS
    assert entitlements.evaluate("acme", "f.unknown").reason is Reason.FEATURE_NOT_FOUND
    assert entitlements.evaluate("acme", "f.base").source is Source.BASE_TIER
    assert entitlements.evaluate("nobody", "f.granted").source is Source.REGISTRY_DEFAULT


def test_nobody_can_change_what_everybody_shares(entitlements: Entitlements) -> None:
    found: Any = entitlements.evaluate_all("acme")
    with pytest.raises(TypeError):
        found["f.granted"] = None
    value = entitlements.value("acme", "f.json")
    with pytest.raises(TypeError):
        value["colours"].append("blue")
    with pytest.raises(AttributeError):
        found["f.granted"].enabled = False  # type: ignore[misc]
    assert entitlements.value("acme", "f.json") == {"colours": ["red"]}


def test_a_value_needs_a_grant_or_a_default(entitlements: Entitlements) -> None:
    assert entitlements.value("acme", "f.granted") == 5
    assert entitlements.value("acme", "f.override") is None
    assert entitlements.value("acme", "f.denied", default=7) == 7
    assert entitlements.value("acme", "f.denied", default=None) is None
    with pytest.raises(FeatureDenied) as caught:
        entitlements.value("acme", "f.denied")
    assert caught.value.details["reason"] == "NOT_GRANTED"


def test_require_returns_the_decision_or_says_why_not(entitlements: Entitlements) -> None:
    assert entitlements.require("acme", "f.granted").value == 5
    with pytest.raises(FeatureDenied) as caught:
        entitlements.require("acme", "f.needs")
    assert caught.value.code == "feature-denied"
    assert caught.value.details["blocked_by"] == ["f.denied"]


def test_a_limit_is_asked_of_the_decision(entitlements: Entitlements) -> None:
    assert entitlements.evaluate("acme", "f.granted").allows(5)
    assert not entitlements.evaluate("acme", "f.granted").allows(6)
    assert entitlements.evaluate("acme", "f.override").allows(10**12)
    assert not entitlements.evaluate("acme", "f.denied").allows(0)


def test_models_are_locked_or_available(entitlements: Entitlements) -> None:
    found = {model.key: model for model in entitlements.models("acme")}
    assert {key: model.availability for key, model in found.items()} == {
        "acme-ai/m1": Availability.AVAILABLE,
        "acme-ai/m2": Availability.LOCKED,
    }
    assert found["acme-ai/m2"].blocked_by == ("f.denied",)
    assert entitlements.models("acme", provider="somebody") == ()
    assert len(entitlements.models("acme", provider="acme-ai")) == 2


def test_components_without_features_are_public(entitlements: Entitlements) -> None:
    found = {component.key: component for component in entitlements.components("acme")}
    assert {key: component.availability.value for key, component in found.items()} == {
        "public": "available",
        "gated": "available",
        "half": "locked",
        "only-required": "available",
    }
    assert found["half"].blocked_by == ("f.denied", "f.unknown")
    nobody = {component.key: component.availability.value for component in entitlements.components("nobody")}
    assert nobody == {"public": "available", "gated": "locked", "half": "locked", "only-required": "locked"}


def test_integrations_say_what_stands_in_the_way_first(entitlements: Entitlements) -> None:
    found = {integration.key: integration.availability.value for integration in entitlements.integrations("acme")}
    assert found == {
        "locked": "locked",
        "unconfigured": "needs_configuration",
        "off": "needs_configuration",
        "sick": "unhealthy",
        "slow": "available",
        "new": "available",
    }


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("f.granted", "Tenant acme may use f.granted with the value 5: its tier pro grants it."),
        ("f.override", "Tenant acme may use f.override without limit: an override for this tenant grants it."),
        (
            "f.base",
            "Tenant acme may use f.base with the value 2: tier basic, from which its own inherits, grants it.",
        ),
        ("f.denied", "Tenant acme may not use f.denied: its tier pro denies it."),
        ("f.off", "f.off is switched off for everybody."),
        ("f.unknown", "There is no feature f.unknown, so nobody may use it."),
        (
            "f.needs",
            "Tenant acme may not use f.needs: its tier pro grants it, but it needs f.denied, which the tenant does not "
            "have.",
        ),
        (
            "f.left",
            "Tenant acme may not use f.left: its tier pro grants it, but f.right is granted too, and they exclude each "
            "other, so neither is given.",
        ),
    ],
)
def test_every_reason_is_one_plain_sentence(entitlements: Entitlements, key: str, sentence: str) -> None:
    explanation = entitlements.explain("acme", key)
    assert explanation.sentence == sentence
    assert bool(explanation.remedy) is not explanation.decision.enabled


def test_hostile_names_do_not_break_a_sentence(entitlements: Entitlements) -> None:
    found = entitlements.explain("{who} {0} %s", "f.granted")
    assert "{who} {0} %s" in found.sentence


# --- other moments -----------------------------------------------------------------------------------------------


def test_another_moment_is_answered_by_todays_rows(engine: Engine) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=10)
    with engine.begin() as connection:
        catalogue.override(connection, "acme", "f.denied", {"enabled": True, "value": 1}, starts_at=later)
    with Session(engine) as session:
        entitlements = Entitlements(session)
        assert not entitlements.check("acme", "f.denied")
        assert entitlements.check("acme", "f.denied", at=later)
        assert not entitlements.check("acme", "f.denied", at=later - dt.timedelta(microseconds=1))
        with pytest.raises(InvalidInput):
            entitlements.check("acme", "f.denied", at=dt.datetime(2030, 1, 1))


def test_a_moment_before_the_newest_change_needs_the_history(engine: Engine) -> None:
    with Session(engine) as session:
        with pytest.raises(HistoryRequired) as caught:
            Entitlements(session).check("acme", "f.granted", at=LONG_AGO)
        newest = dt.datetime.fromisoformat(caught.value.details["newest_change"])
        assert Entitlements(session).check("acme", "f.granted", at=newest)
    with engine.begin() as connection:  # everything is old but the moment of the last catalogue write
        for name in ("feature_registry", "license_tier", "license_tier_features", "tenant_license"):
            connection.execute(TABLES[name].update().values(updated_at=LONG_AGO))
        connection.execute(TABLES["tenant_feature_override"].delete())
    with Session(engine) as session:
        with pytest.raises(HistoryRequired):
            Entitlements(session).check("acme", "f.granted", at=LONG_AGO)
        session.execute(TABLES["tierwright_state"].delete())
        assert Entitlements(session).check("acme", "f.granted", at=LONG_AGO)
        session.rollback()


# --- hooks and schemas -------------------------------------------------------------------------------------------


def test_the_hook_hears_of_every_decision_and_of_no_other(engine: Engine) -> None:
    heard: list[Any] = []
    with SnapshotStore(engine, background=False) as store:
        entitlements = Entitlements(store=store, on_decision=lambda tenant, decision: heard.append((tenant, decision)))
        entitlements.check("acme", "f.granted")
        entitlements.evaluate("acme", "f.denied")
        with pytest.raises(FeatureDenied):
            entitlements.require("acme", "f.off")
        entitlements.evaluate_all("acme")
    assert [(tenant, decision.feature_key) for tenant, decision in heard] == [
        ("acme", "f.granted"),
        ("acme", "f.denied"),
        ("acme", "f.off"),
    ]


def test_translated_schemas_reach_session_and_store(postgresql_engine: Engine) -> None:
    from tierwright.migrations import upgrade

    with postgresql_engine.begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Other One"')
    upgrade(postgresql_engine, schema="Other One")
    translated = postgresql_engine.execution_options(schema_translate_map={None: "Other One"})
    catalogue.small(translated)
    with SnapshotStore(translated, background=False) as store, Session(translated) as session:
        assert Entitlements(session).check("acme", "f.a")
        assert Entitlements(store=store).check("acme", "f.a")


def test_the_tenants_query_does_not_scan_what_tiers_grant(engine: Engine) -> None:
    from tierwright.services.statements import EVERYTHING

    with engine.begin() as connection:  # enough rows for the planner to mind
        for number in range(40):
            catalogue.tier(connection, f"tier-{number}", {key: {"enabled": True} for key in REASONS})
        for number in range(300):
            catalogue.feature(connection, f"g.f{number}")
        [tier_ids] = [connection.scalars(sa.select(TABLES["license_tier"].c.id)).all()]
        rows = [
            {
                "id": uuid7(),
                "license_tier_id": tier_id,
                "feature_key": f"g.f{number}",
                "feature_value": {"enabled": True},
            }
            for tier_id in tier_ids
            for number in range(300)
        ]
        connection.execute(TABLES["license_tier_features"].insert(), rows)
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        compiled = EVERYTHING[engine.dialect.name].compile(dialect=engine.dialect)
        explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        parameters: Any = ("acme",) * len(compiled.positiontup or ()) if compiled.positional else {"tenant_id": "acme"}
        plan = "\n".join(str(row) for row in connection.exec_driver_sql(explain + str(compiled), parameters))
    assert (
        "USING INDEX idx_tier_features_tier_key" in plan
        or "Scan using idx_tier_features_tier_key" in plan
        or ("Bitmap Index Scan on idx_tier_features_tier_key" in plan)
    ), plan
    assert "Seq Scan on license_tier_features" not in plan
    assert "SCAN license_tier_features" not in plan


def test_unavailable_is_an_error_where_a_mapping_is_asked_for(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.sqlite3'}")
    with SnapshotStore(engine, background=False) as store, pytest.raises(EntitlementsUnavailable):
        Entitlements(store=store).evaluate_all("acme")


def test_what_fails_while_rows_are_fetched_is_an_error_of_sqlalchemy(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.sqlite3'}")
    upgrade(engine)
    with engine.begin() as connection:
        catalogue.feature(connection, "f.one")
        catalogue.override(connection, "acme", "f.one", {"enabled": True})
        connection.exec_driver_sql("UPDATE tenant_feature_override SET feature_value = CAST(x'ff' AS TEXT)")
    with Session(engine) as session:
        with pytest.raises(sa.exc.OperationalError, match="UTF-8"):
            Entitlements(session).check("acme", "f.one")
        assert not Entitlements(session).check("globex", "f.one"), "the connection is as good as before"
    engine.dispose()
