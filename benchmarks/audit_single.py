"""One recorded change, in all the ways to make it, beside the same by hand; a part of :mod:`benchmarks.audit`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from benchmarks import audit_orm
from benchmarks.audit_floor import Floor, value_of
from benchmarks.common import median
from benchmarks.rounds import goal
from tierwright.integrations import TenantIntegrations
from tierwright.services.audit import AuditContext
from tierwright.services.registry import Registry
from tierwright.tables import TenantFeatureOverride

#: By dialect: the most that it may take in terms of the driver committing both rows.
MOST = {"sqlite": 1.6, "postgresql": 2.8}
_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
_OVERRIDES = SQLModel.metadata.tables["tenant_feature_override"]


def measured(engine: Engine, driver: Floor, count: int, database: str) -> dict[str, Any]:
    """Return how long each way takes, and what that is in terms of the floor.

    Args:
        engine: of a migrated database.
        driver: the same database, by hand.
        count: how often.
        database: as it is called in goals.
    """
    _one_override(engine)
    recorded: dict[str, Callable[[int], None]] = {
        "object": lambda value: _set_object(engine, value),
        "statement": lambda value: _run_statement(engine, TenantFeatureOverride, value),
        "statement of the table": lambda value: _run_statement(engine, _OVERRIDES, value),
        "an integration switched off": lambda _: _switch_off(engine),
        "Registry, an override": lambda value: _call_registry(engine, value),
    }
    ways: dict[str, Callable[[int], None]] = {
        "floor": driver.change,
        "Core, an entry added": lambda value: audit_orm.execute(engine, value, reads=False),
        "Core, and two reads": lambda value: audit_orm.execute(engine, value, reads=True),
        "ORM, nothing recorded": lambda value: audit_orm.change(engine, value),
        "ORM, an entry added": lambda value: audit_orm.change_and_add(engine, value),
        **recorded,
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(count + 20):
        for at, (way, change) in enumerate(ways.items()):
            if way == "an integration switched off":
                _switch_on(engine)
            spent = _timed(change, number * len(ways) + at + 10)
            if number >= 20:
                seconds[way].append(spent)
    ratios = {way: median(each) / median(seconds["floor"]) for way, each in seconds.items()}
    name, most = f"{database}: one recorded change", MOST[engine.dialect.name]
    return {
        "ms": {way: median(each) * 1000 for way, each in seconds.items()},
        "ratios": ratios,
        "goals": [goal(f"{name}, {way}", ratios[way], most) for way in recorded],
        "recorded": list(recorded),
    }


def _one_override(engine: Engine) -> None:
    with Session(engine) as session:
        registry = Registry(session, actor="benchmark")
        feature = {"feature_key": "a.b", "feature_name": "x", "category": "c", "feature_type": "integer"}
        registry.features.create({**feature, "default_value": {"enabled": True, "value": 1}})
        registry.overrides.set("t1", "a.b", value_of(1))
        registry.integrations.create(
            {"integration_key": "chat", "integration_name": "Chat", "category": "c", "feature_key": "a.b"}
        )
        TenantIntegrations(session).configure("t1", "chat", {"url": "x"})
        session.commit()


def _set_object(engine: Engine, value: int) -> None:
    with _session(engine) as session:
        row = session.get(TenantFeatureOverride, ("t1", "a.b"))
        assert row is not None
        row.feature_value = value_of(value)
        session.commit()


def _run_statement(engine: Engine, changed: Any, value: int) -> None:
    column = getattr(changed, "c", changed)
    statement = sa.update(changed).where(column.tenant_id == "t1", column.feature_key == "a.b")
    with _session(engine) as session:
        session.execute(statement.values(feature_value=value_of(value)))
        session.commit()


def _call_registry(engine: Engine, value: int) -> None:
    with _session(engine) as session:
        Registry(session).overrides.set("t1", "a.b", value_of(value))
        session.commit()


def _switch_off(engine: Engine) -> None:
    with _session(engine) as session:
        TenantIntegrations(session).disable("t1", "chat")
        session.commit()


def _switch_on(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(_CONFIGS).values(is_enabled=True))


def _session(engine: Engine) -> Session:
    session = Session(engine)
    AuditContext("benchmark").attach(session)
    return session


def _timed(change: Callable[[int], None], value: int) -> float:
    start = time.perf_counter()
    change(value)
    return time.perf_counter() - start
