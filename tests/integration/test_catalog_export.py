"""The database's catalogue as a document: everything, exactly, in the same order whatever the rows' own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from sqlalchemy.engine import Connection, Engine
from sqlmodel import Session

from tests.support.catalog_documents import documents
from tests.support.catalogue import TABLES, feature, tier
from tierwright.catalog import CatalogDocument, check, dump, export, load, parse
from tierwright.errors import DocumentInvalid
from tierwright.types import uuid7

MODEL = {
    "model_type": "chat",
    "supports_tools": True,
    "context_window": 128000,
    "input_price_per_1k": Decimal("0.000000000000000000001"),
    "output_price_per_1k": Decimal("0.0006"),
    "deprecation_date": date(2026, 9, 30),
    "feature_key": "models.p",
    "imported": {"mode": "chat", "max_tokens": 4096},
}


@pytest.fixture
def connection(migrated_engine: Engine) -> Iterator[Connection]:
    with migrated_engine.connect() as connection:
        yield connection


def insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    # Executemany needs the same columns in all rows.
    for row in rows:
        connection.execute(TABLES[table].insert().values(id=uuid7(), **row))


def store(connection: Connection, document: CatalogDocument, shuffle: random.Random) -> None:
    """Write a document with plain inserts, in any order that the foreign keys allow."""

    def shuffled(section: dict[Any, Any]) -> list[tuple[Any, Any]]:
        return shuffle.sample(list(section.items()), len(section))

    rows = [{"feature_key": key, **entry.row_values()} for key, entry in shuffled(document.features)]
    insert(connection, "feature_registry", rows)
    ids = {key: uuid7() for key in document.tiers}
    for key, entry in document.tiers.items():  # a base comes before its heirs in these documents
        fields = entry.row_values()
        granted, base = fields.pop("features"), fields.pop("base")
        row = {"id": ids[key], "tier_key": key, "base_tier_id": ids.get(base), **fields}
        connection.execute(TABLES["license_tier"].insert().values(**row))
        values = [
            {"license_tier_id": ids[key], "feature_key": each, "feature_value": value}
            for each, value in shuffled(granted)
        ]
        insert(connection, "license_tier_features", values)
    for provider, models in shuffled(document.models):
        rows = [{"provider": provider, "model_id": key, **entry.row_values()} for key, entry in shuffled(models)]
        insert(connection, "model_registry", rows)
    for name in ("component", "integration"):
        entries = shuffled(getattr(document, f"{name}s"))
        rows = [{f"{name}_key": key, **entry.row_values()} for key, entry in entries]
        insert(connection, f"{name}_registry", rows)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(document=documents())
def test_what_is_in_the_database_is_in_the_document(connection: Connection, document: CatalogDocument) -> None:
    texts = set()
    for seed in range(2):
        store(connection, document, random.Random(seed))
        exported = export(connection)
        connection.rollback()
        assert exported == document
        check(exported)
        texts.add(dump(exported))
        assert CatalogDocument.model_validate(exported.canonical()) == document
    assert texts == {dump(document)}
    assert parse(texts.pop()) == document


def test_inactive_rows_are_exported_and_sessions_are_taken(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        connection = session.connection()
        feature(connection, "a.b", is_active=False)
        base = tier(connection, "free", {"a.b": {"enabled": True, "value": 2}}, is_active=False)
        tier(connection, "pro", base_tier_id=base, is_default=True)
        document = export(session)
    assert not document.features["a.b"].is_active
    assert not document.tiers["free"].is_active
    assert (document.tiers["pro"].base, document.tiers["pro"].features) == ("free", {})
    assert document.tiers["free"].features == {"a.b": {"enabled": True, "value": 2}}
    assert "is_active: false" in dump(document)


def test_an_empty_database_is_an_empty_document(connection: Connection) -> None:
    assert export(connection) == CatalogDocument()


def test_what_was_written_past_the_library_is_exported_and_refused_when_it_is_loaded(
    connection: Connection, tmp_path: Any
) -> None:
    feature(connection, "a.b", depends_on=["nothing.there"])
    document = export(connection)
    assert document.features["a.b"].depends_on == ["nothing.there"]
    (tmp_path / "plans.yaml").write_text(dump(document), "utf-8")
    with pytest.raises(DocumentInvalid, match=r"there is no feature nothing\.there"):
        load(tmp_path / "plans.yaml")


def test_four_and_a_half_thousand_models_are_exported_exactly(connection: Connection) -> None:
    feature(connection, "models.p")
    rows = [{"id": uuid7(), "provider": "p", "model_id": f"m{n}", "model_name": f"m{n}", **MODEL} for n in range(4551)]
    connection.execute(TABLES["model_registry"].insert(), rows)
    document = export(connection)
    assert len(document.models["p"]) == 4551
    assert document.models["p"]["m7"].input_price_per_1k == Decimal("0.000000000000000000001")
    assert connection.execute(sa.text("SELECT 1")).scalar() == 1
