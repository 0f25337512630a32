"""The catalogue as a document: features, tiers, models, components and integrations, without the rows' ids and times.

A document is the whole catalogue: what it refers to is in it, and what the database has besides is retired when the
document is applied. Names that are left out follow from the keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tierwright.catalog.entries import ComponentEntry, FeatureEntry, IntegrationEntry, ModelEntry, TierEntry
from tierwright.tables.inputs import FeatureKey, InputSchema, IntegrationKey, Name, ResourceKey, ShortName
from tierwright.types import text_problem

__all__ = [
    "FOLLOWING",
    "SECTIONS",
    "CatalogDocument",
    "ComponentEntry",
    "FeatureEntry",
    "IntegrationEntry",
    "ModelEntry",
    "TierEntry",
    "plain_json",
]

#: The sections of a document, in the order in which they are written.
SECTIONS = ("features", "tiers", "models", "components", "integrations")

_LONGEST_CATEGORY = 100


def _named(key: Any) -> str:
    """Return the name that follows from a key; where the key is refused anyway, one that is not refused as well."""
    usable = isinstance(key, str) and key and len(key) <= 255 and key == key.strip() and not text_problem(key)
    return key if usable else "?"


def _category(key: Any) -> str:
    return _named(_named(key).partition(".")[0][:_LONGEST_CATEGORY])


#: Fields that may be left out of an entry, with what they are then.
FOLLOWING: dict[str, dict[str, Callable[[Any], str]]] = {
    "features": {"feature_name": _named, "category": _category},
    "tiers": {"name": _named},
    "models": {"model_name": _named},
    "components": {"component_name": _named, "display_name": _named},
    "integrations": {"integration_name": _named},
}


def _completed(section: str) -> BeforeValidator:
    """Return a validator that gives each entry of a section the names that follow from its key."""
    following = FOLLOWING[section].items()

    def complete(entries: Any) -> Any:
        if not isinstance(entries, dict):
            return entries
        return {
            key: {**{field: of_key(key) for field, of_key in following}, **entry} if isinstance(entry, dict) else entry
            for key, entry in entries.items()
        }

    return BeforeValidator(complete)


Models = Annotated[dict[Name, ModelEntry], _completed("models")]


class CatalogDocument(InputSchema):
    """The whole catalogue; ``models`` is by provider and then by model id.

    Two documents are equal if their canonical forms are, so ``1`` and ``true`` differ, and ``5`` and ``5.0`` do not.
    """

    features: Annotated[dict[FeatureKey, FeatureEntry], _completed("features")] = Field(default_factory=dict)
    tiers: Annotated[dict[ResourceKey, TierEntry], _completed("tiers")] = Field(default_factory=dict)
    models: dict[ShortName, Models] = Field(default_factory=dict)
    components: Annotated[dict[ResourceKey, ComponentEntry], _completed("components")] = Field(default_factory=dict)
    integrations: Annotated[dict[IntegrationKey, IntegrationEntry], _completed("integrations")] = Field(
        default_factory=dict
    )

    def canonical(self) -> dict[str, Any]:
        """Return everything as plain JSON: defaults filled in, keys sorted, decimals and dates as text."""
        # Providers without models say nothing.
        models = {provider: models for provider, models in self.models.items() if models}
        sections: dict[str, Any] = {name: getattr(self, name) for name in SECTIONS} | {"models": models}
        found: dict[str, Any] = plain_json(sections)
        return found

    def hash(self) -> str:
        """Return the SHA-256 of the canonical form, in hexadecimal."""
        text = json.dumps(self.canonical(), ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CatalogDocument) and (self is other or self.hash() == other.hash())

    def __hash__(self) -> int:
        return hash(self.hash())


_PLAIN = frozenset({str, int, bool})


def plain_json(value: Any) -> Any:
    """Return a value, or an entry, as plain JSON types with sorted keys; equal values become equal JSON text."""
    if value is None or type(value) in _PLAIN:  # nearly everything
        return value
    if isinstance(value, InputSchema):
        value = value.__dict__
    if isinstance(value, dict):
        return {key: plain_json(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(value)  # JSONB may turn 1e2 into 100, and -0.0 into 0.0
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    return str.__str__(value) if isinstance(value, str) else value
