"""What a tenant could use, from the history alone: the same as it was told then, and proven."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.cli import run, run_json, small_catalogue, url_of
from tests.support.registry import OFF, ON, feature, integer, seed, tier, writer
from tierwright import Entitlements
from tierwright.audit import Upkeep, archives_needed, maintain, tenant_history
from tierwright.audit.archives import ARCHIVES_KEY
from tierwright.errors import InvalidInput, TierwrightError
from tierwright.services.history_rows import insert_entries
from tierwright.tables import FeatureRegistry, LicenseTier, LicenseTierFeatures, TenantFeatureOverride, TenantLicense
from tierwright.types import utc_now

TABLES = SQLModel.metadata.tables
LICENSE = sa.select(TenantLicense)
KEYS = ["a.one", "a.two", "b.limit", "c.new"]
TIERS = ["free", "pro", "max"]


def live(session: Session, tier_key: str) -> LicenseTier:
    """Return the tier with a key that is not deleted."""
    return session.scalars(sa.select(LicenseTier).filter_by(tier_key=tier_key, deleted_at=None)).one()


def one_write(registry: Any, session: Session, chance: random.Random) -> None:
    """Do something, often what is refused."""
    key, tier_key, tenant = chance.choice(KEYS), chance.choice(TIERS), chance.choice(["acme", "globex"])
    amount = {"enabled": True, "value": chance.randrange(9)} if key == "b.limit" else chance.choice([ON, OFF])
    soon = utc_now() + timedelta(seconds=chance.choice([-1, 3600]))
    writes = [
        lambda: registry.features.create(feature("c.new")),
        lambda: registry.features.change(key, is_premium=chance.random() < 0.5, description=str(chance.random())),
        lambda: registry.features.change(key, depends_on=[chance.choice(KEYS)]),
        lambda: registry.features.change(key, conflicts_with=chance.sample(KEYS, 1)),
        lambda: registry.features.retire("c.new"),
        lambda: registry.features.restore(key),
        lambda: registry.tiers.create(tier("max", rank=20), base=chance.choice(TIERS)),
        lambda: registry.tiers.change(tier_key, rank=chance.randrange(30)),
        lambda: registry.tiers.change("free", is_default=chance.random() < 0.7),
        lambda: registry.tiers.set_base(tier_key, chance.choice([None, *TIERS])),
        lambda: registry.tiers.grant(tier_key, {key: amount}),
        lambda: registry.tiers.revoke(tier_key, [key]),
        lambda: registry.licenses.assign(tenant, tier_key, license_key=chance.choice("mn"), expires_at=soon),
        lambda: registry.licenses.assign(tenant, tier_key),
        lambda: registry.licenses.end(tenant),
        lambda: registry.overrides.set(tenant, key, amount, expires_at=chance.choice([None, soon])),
        lambda: registry.overrides.remove(tenant, key),
        lambda: registry.purge(tenant),
        # past the services
        lambda: setattr(session.get(TenantFeatureOverride, (tenant, key)), "feature_value", amount),
        lambda: session.execute(sa.update(LicenseTier).values(description=str(chance.random()))),
        lambda: session.execute(sa.delete(TenantFeatureOverride).where(sa.column("feature_key") == key)),
        lambda: session.execute(sa.update(FeatureRegistry).values(is_active=True)),
        lambda: registry.tiers.delete(tier_key),
        lambda: registry.tiers.undelete(tier_key, new_key=chance.choice([None, *TIERS])),
        lambda: setattr(live(session, tier_key), "tier_key", chance.choice(TIERS)),
        lambda: setattr(session.get(TenantFeatureOverride, (tenant, key)), "feature_key", chance.choice(KEYS)),
    ]
    chance.choice(writes)()


@pytest.mark.parametrize("seed_of_chance", range(2))
def test_every_decision_is_what_it_was_then(migrated_engine: Engine, seed_of_chance: int) -> None:
    chance = random.Random(seed_of_chance)
    known: list[tuple[datetime, dict[str, Any], dict[str, Any]]] = []
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", feature("a.two", depends_on=["a.one"]), integer("b.limit"))
        registry.tiers.create(tier("free", is_default=True))
        registry.tiers.create(tier("pro", rank=10), base="free")
        registry.tiers.grant("free", {"a.one": ON})
        registry.tiers.grant("pro", {"a.two": ON, "b.limit": {"enabled": True, "value": 3}})
        session.commit()
        for _ in range(100):
            try:
                one_write(registry, session, chance)
                session.commit()
            except (
                TierwrightError,
                AttributeError,
                TypeError,
                sa.exc.IntegrityError,
                sa.exc.NoResultFound,
            ):  # refused, or nothing there to set
                session.rollback()
            asked = Entitlements(session)
            known.append((utc_now(), *(dict(asked.evaluate_all(tenant)) for tenant in ("acme", "globex"))))
            session.rollback()
        for moment, acme, globex in chance.sample(known, 12):
            for tenant, wanted in (("acme", acme), ("globex", globex)):
                found = tenant_history(session, tenant, moment)
                assert (found.gaps, dict(found.decisions)) == ((), wanted)
        assert len({str(each[1:]) for each in known}) > 8, "much has changed"


def test_the_proof_is_the_rows_and_stays_the_same(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", pro={"a.one": ON})
        registry.licenses.assign("acme", "pro")
        session.commit()
        moment = utc_now()
        lines: list[str] = []
        first = tenant_history(session, "acme", moment, evidence=lines.append)
        assert first.decisions["a.one"].tier_key == "pro"
        assert hashlib.sha256("".join(lines).encode()).hexdigest() == first.sha256
        kinds = [json.loads(line)["entity_type"] for line in lines]
        assert (first.rows, kinds) == (4, ["feature", "tier", "tier_feature", "tenant_license"])
        assert "tester" not in "".join(lines), "persons may be erased; the proof must not change with that"
        registry.licenses.end("acme")
        registry.licenses.assign("globex", "pro")
        registry.features.retire("a.one")
        session.commit()
        again = tenant_history(session, "acme", moment)
        assert (again.sha256, again.decisions) == (first.sha256, first.decisions)
        assert not tenant_history(session, "acme", utc_now()).decisions["a.one"].enabled


def test_what_was_archived_is_asked_for_and_proves_the_same(
    migrated_engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", pro={"a.one": ON})
        registry.licenses.assign("acme", "pro")
        session.commit()
        moment = utc_now()
        before = tenant_history(session, "acme", moment)
    later = utc_now() + timedelta(days=100)
    monkeypatch.setattr("tierwright.audit.upkeep.utc_now", lambda: later)
    report = maintain(migrated_engine, Upkeep(keep_months=1, folder=tmp_path))
    (path,) = tmp_path.glob("*.gz")
    with Session(migrated_engine) as session:
        blind = tenant_history(session, "acme", moment)
        assert not blind.is_proven
        assert blind.gaps[0] == f"the archive {path.name} is needed"
        whole = tenant_history(session, "acme", moment, archives=[path])
        assert (whole.gaps, whole.sha256, whole.decisions) == ((), before.sha256, before.decisions)
        session.execute(sa.delete(TABLES["tierwright_state"]).where(sa.column("key") == ARCHIVES_KEY))
        foreign = tenant_history(session, "acme", moment, archives=[path])
        assert foreign.gaps == (f"the archive {path.name} is not of this history",), "whoever made it"
    assert report.removed == 4


def test_what_the_history_does_not_explain_is_told(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", "a.two", pro={"a.one": ON})
        registry.licenses.assign("acme", "pro")
        session.commit()
    with migrated_engine.begin() as connection:  # as somebody in psql does
        of_two = sa.column("feature_key") == "a.two"
        connection.execute(sa.update(TABLES["feature_registry"]).values(is_premium=True).where(of_two))
        connection.execute(sa.delete(TABLES["tenant_license"]))
    with Session(migrated_engine) as session:
        found = tenant_history(session, "acme", utc_now())
        assert not found.is_proven
        assert [gap.partition(":")[0] for gap in found.gaps] == ["feature a.two", "licences"]
        assert tenant_history(session, "globex", utc_now()).gaps == found.gaps[:1]


def test_what_is_called_otherwise_is_followed(migrated_engine: Engine) -> None:
    """Past the services: keys that change, and a licence of a deleted tier, whose key another one has by then."""
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one", "a.two", pro={"a.one": ON}, free={})
        known = []

        def now() -> None:
            session.commit()
            known.append((utc_now(), dict(Entitlements(session).evaluate_all("acme"))))

        registry.licenses.assign("acme", "pro")
        registry.overrides.set("acme", "a.two", ON)
        now()
        live(session, "pro").tier_key = "plus"
        now()
        session.scalars(sa.select(LicenseTierFeatures)).one().license_tier_id = live(session, "free").id
        now()
        session.scalars(sa.select(LicenseTierFeatures)).one().license_tier_id = live(session, "plus").id
        override, license = session.get(TenantFeatureOverride, ("acme", "a.two")), session.scalars(LICENSE).one()
        assert override is not None
        override.feature_key, license.license_key = "a.one", "other"
        now()
        registry.tiers.delete("plus")
        registry.tiers.create(tier("plus"))
        registry.tiers.grant("plus", {"a.two": ON})
        registry.overrides.remove("acme", "a.one")
        now()
        session.scalars(LICENSE).one().license_tier_id = live(session, "plus").id
        now()
        deleted = session.scalars(sa.select(LicenseTier).where(sa.column("deleted_at").is_not(None))).one()
        session.execute(sa.delete(TABLES["tenant_license"]))
        session.delete(deleted)
        now()
        assert len({str(decisions) for _, decisions in known}) > 4, "much has changed"
        for moment, decisions in known:
            found = tenant_history(session, "acme", moment)
            assert (found.gaps, dict(found.decisions)) == ((), decisions)


def test_what_is_written_meanwhile_is_no_gap(migrated_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one")
        session.commit()

        def meanwhile(connection: Any) -> Any:
            with Session(migrated_engine) as other:
                writer(other).overrides.set("acme", "a.one", ON)
                other.commit()
            return archives_needed(connection)

        monkeypatch.setattr(import_module("tierwright.audit.tenant_history"), "archives_needed", meanwhile)
        found = tenant_history(session, "acme", utc_now())
        assert (found.gaps, found.rows) == ((), 1)


def test_nobody_hides_an_entry_behind_another_one_of_its_id(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one")
        registry.overrides.set("acme", "a.one", ON)
        session.commit()
        moment, log = utc_now(), TABLES["feature_audit_log"]
        row = session.execute(sa.select(log).where(log.c.tenant_id == "acme")).one()._asdict()
        row |= {"performed_at": row["performed_at"] - timedelta(microseconds=1), "entity_type": "tenant_integration"}
        session.connection().execute(sa.insert(log).values(row))
        session.commit()
        found = tenant_history(session, "acme", moment)
        assert (found.gaps, found.rows) == ((), 3)
        assert found.decisions["a.one"].enabled


def test_what_was_written_over_since_is_told_as_well(migrated_engine: Engine) -> None:
    """An entry says how it was before; where that is not what the history has left, something is missing."""
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one")
        registry.overrides.set("acme", "a.one", ON)
        session.commit()
        moments = [utc_now()]
        override = TABLES["tenant_feature_override"]
        session.connection().execute(sa.update(override).values(feature_value=OFF))  # as somebody in psql does
        session.commit()
        moments.append(utc_now())
        registry.overrides.set("acme", "a.one", {"enabled": True, "value": True})
        session.commit()
        moments.append(utc_now())
        session.execute(sa.delete(override))
        session.commit()
        session.connection().execute(
            sa.insert(override).values(tenant_id="acme", feature_key="a.one", feature_value=ON)
        )
        session.commit()
        moments.append(utc_now())
        session.execute(sa.delete(override))
        session.commit()
        moments.append(utc_now())
        gaps = [tenant_history(session, "acme", moment).gaps for moment in moments]
    assert [len(found) for found in gaps] == [1, 1, 0, 1, 0]
    assert "feature_value had another value" in gaps[0][0]
    assert "tenant_override acme/a.one" in gaps[0][0]
    assert "it was there" in gaps[3][0]


@pytest.mark.parametrize("at", [datetime(2026, 1, 1), datetime(9000, 1, 1, tzinfo=UTC)])
def test_a_moment_that_is_none_of_the_past_is_refused(at: datetime) -> None:
    with Session(sa.create_engine("sqlite://")) as session, pytest.raises(InvalidInput):
        tenant_history(session, "acme", at)


def test_the_command_prints_decisions_and_writes_the_proof(migrated_engine: Engine, tmp_path: Any) -> None:
    url = small_catalogue(migrated_engine)
    moment = utc_now().isoformat()
    run("license", "end", "acme", url=url)
    file = tmp_path / "proof.jsonl"
    found = run_json("tenant", "history", "acme", "--at", moment, "--evidence", str(file), url=url)
    assert found["proven"] is True
    assert found["decisions"]["ui.limit"]["value"] == 25
    assert hashlib.sha256(file.read_bytes()).hexdigest() == found["sha256"]
    shown = run("tenant", "history", "acme", "--at", moment, url=url).stdout
    assert found["sha256"] in shown
    assert "ui.limit" in shown
    run("tenant", "history", "acme", "--at", moment, "--evidence", str(file), url=url, exit_code=2)
    with migrated_engine.begin() as connection:
        connection.execute(sa.delete(TABLES["tenant_feature_override"]))
    result = run("tenant", "history", "hooli", "--at", moment, url=url_of(migrated_engine), exit_code=1)
    assert "override of ui.limit" in result.stderr


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_indexes_find_what_a_tenant_could_use_in_a_history_of_others(
    migrated_engine: Engine, is_analyzed: bool
) -> None:
    """ANALYZE tells SQLite how many entries a kind of thing has on the average, which is true of none of them."""
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "a.one")
        registry.overrides.set("acme", "a.one", ON)
        session.commit()
        entry = {"entity": "tenant_override", "action": "updated", "feature_key": "a.one", "new": {"n": 1}}
        others = [{**entry, "entity_id": f"t{n % 500}/a.one", "tenant_id": f"t{n % 500}"} for n in range(20_000)]
        insert_entries(session.connection(), {"performed_at": utc_now()}, others)
        session.commit()
        if is_analyzed:
            session.connection().exec_driver_sql("ANALYZE feature_audit_log")
            session.commit()
        plans: list[str] = []
        sa.event.listen(migrated_engine, "before_cursor_execute", lambda *given: plans.append(explained(*given)))
        found = tenant_history(session, "acme", utc_now())
    assert (found.gaps, found.rows) == ((), 2)
    (plan,) = filter(None, plans)
    assert "idx_feature_audit_entity_time" in plan
    assert "idx_feature_audit_tenant_time" in plan
    for whole in ("SCAN feature_audit_log", "Seq Scan on feature_audit_log_before", "idx_feature_audit_time"):
        assert whole not in plan


def explained(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> str:
    """Return the plan of a question to the history; of another statement, nothing."""
    if "feature_audit_log" not in statement or "ORDER BY" not in statement:
        return ""
    own = connection.connection.driver_connection.cursor()
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    own.execute(f"{explain} {statement}", parameters)
    return "\n".join(str(row) for row in own.fetchall())
