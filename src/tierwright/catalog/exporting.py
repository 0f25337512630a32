"""The database's catalogue as a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tierwright.catalog.document import (
    CatalogDocument,
    ComponentEntry,
    FeatureEntry,
    IntegrationEntry,
    ModelEntry,
    TierEntry,
)
from tierwright.services.statements import FEATURES, GRANTS, TIERS
from tierwright.tables.inputs import InputSchema
from tierwright.types import FeatureType

EntryT = TypeVar("EntryT", bound=InputSchema)

_tables = SQLModel.metadata.tables
_BASE = TIERS.alias("base")


def export(connection: Connection | Session) -> CatalogDocument:
    """Return the catalogue of a database, inactive rows included, deleted tiers not.

    It takes what the rows say as it is: what was written past this library is refused when the document is loaded.

    Args:
        connection: a connection or session; the document is what its transaction sees.
    """
    models: dict[str, dict[str, ModelEntry]] = {}
    for (provider, model_id), model in _keyed(
        connection, _tables["model_registry"], ModelEntry, "provider", "model_id"
    ):
        models.setdefault(provider, {})[model_id] = model
    return CatalogDocument.model_construct(
        features=dict(_entries(connection, FEATURES, FeatureEntry)),
        tiers=_tiers(connection),
        models=models,
        components=dict(_entries(connection, _tables["component_registry"], ComponentEntry)),
        integrations=dict(_entries(connection, _tables["integration_registry"], IntegrationEntry)),
    )


def _entries(connection: Connection | Session, table: sa.Table, entry: type[EntryT]) -> Iterator[tuple[str, EntryT]]:
    """Yield the rows of a table with one key, as entries by that key."""
    key = f"{table.name.removesuffix('_registry')}_key"
    for (found,), made in _keyed(connection, table, entry, key):
        yield found, made


def _keyed(
    connection: Connection | Session, table: sa.Table, entry: type[EntryT], *keys: str
) -> Iterator[tuple[tuple[Any, ...], EntryT]]:
    names = list(entry.model_fields)
    statement = sa.select(*(table.c[name] for name in (*keys, *names)))
    for row in connection.execute(statement):
        values = tuple(row)
        yield values[: len(keys)], _made(entry, dict(zip(names, values[len(keys) :], strict=True)))


def _made(entry: type[EntryT], fields: dict[str, Any]) -> EntryT:
    if "feature_type" in fields:
        fields["feature_type"] = FeatureType(fields["feature_type"])
    return cast(EntryT, entry.model_construct(**fields))


def _tiers(connection: Connection | Session) -> dict[str, TierEntry]:
    granted: dict[Any, dict[str, Any]] = {}
    # The same few texts recur in tens of thousands of rows; each is parsed once, and the entries share the outcome.
    parsed: dict[str, Any] = {}
    value_text, id_text = sa.cast(GRANTS.c.feature_value, sa.Text()), sa.cast(GRANTS.c.license_tier_id, sa.Text())
    for tier_id, key, text in connection.execute(sa.select(id_text, GRANTS.c.feature_key, value_text)):
        if text not in parsed:
            parsed[text] = json.loads(text)
        granted.setdefault(tier_id, {})[key] = parsed[text]
    names = [name for name in TierEntry.model_fields if name not in ("base", "features")]
    statement = sa.select(
        sa.cast(TIERS.c.id, sa.Text()), TIERS.c.tier_key, _BASE.c.tier_key, *(TIERS.c[name] for name in names)
    )
    statement = statement.select_from(TIERS.outerjoin(_BASE, TIERS.c.base_tier_id == _BASE.c.id))
    statement = statement.where(TIERS.c.deleted_at.is_(None))
    return {
        key: _made(
            TierEntry, {**dict(zip(names, values, strict=True)), "base": base, "features": granted.get(tier_id, {})}
        )
        for tier_id, key, base, *values in connection.execute(statement)
    }
