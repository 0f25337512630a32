"""Writes of models, components and integrations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.support.registry import everything, history, seed, version, writer
from tierwright import tables
from tierwright.errors import AlreadyExists, InvalidInput, NotFound, ReferenceUnknown
from tierwright.services.registry import Registry, WriteResult

MODEL = {
    "provider": "openai",
    "model_id": "gpt/x",
    "model_name": "GPT",
    "model_type": "chat",
    "feature_key": "a.one",
    "input_price_per_1k": "0.000000000000000000001",
}
COMPONENT = {
    "component_key": "canvas",
    "component_name": "canvas",
    "display_name": "Canvas",
    "category": "ui",
    "required_features": ["a.one"],
}
INTEGRATION = {
    "integration_key": "slack",
    "integration_name": "Slack",
    "category": "chat",
    "feature_key": "a.one",
    "config_schema": {"type": "object", "properties": {"token": {"type": "string", "writeOnly": True}}},
}
KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...], type[Any], str]] = {
    "models": (MODEL, ("openai", "gpt/x"), tables.ModelInput, "model"),
    "components": (COMPONENT, ("canvas",), tables.ComponentInput, "component"),
    "integrations": (INTEGRATION, ("slack",), tables.IntegrationInput, "integration"),
}


@pytest.fixture
def session(migrated_engine: Engine) -> Iterator[Session]:
    with Session(migrated_engine) as session:
        yield session


@pytest.fixture
def registry(session: Session) -> Registry:
    registry = writer(session)
    seed(registry, "a.one", "a.two")
    return registry


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_is_created_changed_retired_and_restored(session: Session, registry: Registry, kind: str) -> None:
    fields, key, schema, entity = KINDS[kind]
    service = getattr(registry, kind)
    start, before = len(history(session)), version(session)
    for write, changes in (
        (lambda: service.create(schema(**fields)), True),
        (lambda: service.change(*key, feature_key="a.two"), True),
        (lambda: service.change(*key, feature_key="a.two"), False),
        (lambda: service.retire(*key), True),
        (lambda: service.retire(*key), False),
        (lambda: service.restore(*key), True),
    ):
        session.commit()
        assert write() == WriteResult(changes)
    entries = history(session, after=start)
    assert [(each[0], each[1], each[2]) for each in entries] == [
        (entity, "/".join(key), action) for action in ("created", "updated", "disabled", "enabled")
    ]
    assert entries[1][3:] == ({"feature_key": fields.get("feature_key")}, {"feature_key": "a.two"})
    assert version(session) == before + 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_entry_names_must_make_sense(session: Session, registry: Registry, kind: str) -> None:
    fields, key, _, _ = KINDS[kind]
    own = next(iter(fields))
    service = getattr(registry, kind)
    with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
        service.create({**fields, "feature_key": "a.nowhere"})
    with pytest.raises(NotFound):
        service.retire(*key)
    service.create(fields)
    before = everything(session)
    with pytest.raises(AlreadyExists):
        service.create(fields)
    with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
        service.change(*key, feature_key="a.nowhere")
    if kind != "models":
        with pytest.raises(ReferenceUnknown, match=r"a\.nowhere"):
            service.change(*key, required_features=["a.one", "a.nowhere"])
    with pytest.raises(InvalidInput, match="cannot be changed"):
        service.change(*key, **{own: fields[own]})
    assert everything(session) == before


def test_a_component_may_be_public(registry: Registry) -> None:
    registry.components.create(COMPONENT)
    assert registry.components.change("canvas", required_features=[]).changed


def test_prices_and_days_are_exact_in_the_history(session: Session, registry: Registry) -> None:
    registry.models.create(MODEL)
    registry.models.change("openai", "gpt/x", input_price_per_1k=Decimal("0.00015"), deprecation_date=date(2026, 1, 2))
    assert history(session)[-1][3:] == (
        {"input_price_per_1k": "0.000000000000000000001", "deprecation_date": None},
        {"input_price_per_1k": "0.00015", "deprecation_date": "2026-01-02"},
    )
    session.expire_all()
    assert session.exec(select(tables.ModelRegistry)).one().input_price_per_1k == Decimal("0.00015")


def test_a_config_schema_is_a_json_schema(registry: Registry) -> None:
    for schema in ({"type": "objekt"}, {"$ref": "https://example.com/"}):
        with pytest.raises(InvalidInput, match="config_schema"):
            registry.integrations.create({**INTEGRATION, "config_schema": schema})
    registry.integrations.create({**INTEGRATION, "config_schema": {}})
    with pytest.raises(InvalidInput, match="config_schema"):
        registry.integrations.change("slack", config_schema={"type": "objekt"})
