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
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from tierwright.catalog.value_forms import long_default, long_form
from tierwright.refused import RefusedValue
from tierwright.tables.inputs import (
    Count,
    FeatureKey,
    FeatureKeys,
    InputSchema,
    Int32,
    IntegrationKey,
    JsonObject,
    ModelTypeName,
    Name,
    Price,
    Prose,
    ResourceKey,
    ShortName,
    TypeOfFeature,
    Url,
    ValueDocument,
)
from tierwright.tables.json_rules import check_value_document
from tierwright.types import text_problem

#: The sections of a document, in the order in which they are written.
SECTIONS = ("features", "tiers", "models", "components", "integrations")

_LONGEST_CATEGORY = 100


class WrittenFloat(float):
    """A float that remembers how it was written: a price is taken from the text, which a float may not hold."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> Self:
        """Return the float nearest to a decimal text."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str


def _written(value: Any) -> Any:
    if not isinstance(value, WrittenFloat):
        return value
    try:
        return Decimal(value.text)
    except ArithmeticError:  # an exponent of twenty digits
        raise RefusedValue("The decimal has more than 1,000 digits.", remedy="Write a smaller number.") from None


def _only_a_date(value: Any) -> Any:
    # Otherwise a number would be taken for seconds since 1970.
    if type(value) is not date and not isinstance(value, str):
        raise RefusedValue("it is not a date", remedy="Write it like 2026-01-31.")
    return value


WrittenPrice = Annotated[Price, BeforeValidator(_written)]
WrittenDay = Annotated[date, Field(strict=False), BeforeValidator(_only_a_date)]
TierValue = Annotated[ValueDocument, BeforeValidator(long_form)]


class FeatureEntry(InputSchema):
    """A feature, without its key."""

    feature_name: Name
    description: Prose | None = None
    category: ShortName
    subcategory: ShortName | None = None
    feature_type: TypeOfFeature
    default_value: JsonObject
    value_schema: JsonObject | None = None
    is_premium: bool = False
    requires_setup: bool = False
    depends_on: FeatureKeys = Field(default_factory=list)
    conflicts_with: FeatureKeys = Field(default_factory=list)
    display_order: Int32 = 0
    icon: Name | None = None
    help_url: Url | None = None
    is_active: bool = True
    is_deprecated: bool = False
    deprecated_message: Prose | None = None

    @field_validator("default_value", mode="before")
    @classmethod
    def _long_default(cls, given: Any, info: ValidationInfo) -> Any:
        return long_default(given, info.data.get("feature_type"))

    @field_validator("default_value")
    @classmethod
    def _default_fits(cls, default: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        # The type is not there if it was refused.
        checked: dict[str, Any] = check_value_document(default, info.data.get("feature_type"), complete=True)
        return checked

    @field_validator("conflicts_with")
    @classmethod
    def _no_conflict_is_needed(cls, conflicts: list[str], info: ValidationInfo) -> list[str]:
        if both := sorted({*info.data.get("depends_on", ())} & {*conflicts}):
            raise ValueError(f"a prerequisite is a conflict as well: {', '.join(both)}")
        return conflicts


class TierEntry(InputSchema):
    """A tier, without its key; ``base`` is the key of the tier that it inherits from."""

    name: Name
    description: Prose | None = None
    rank: Int32 = 0
    base: ResourceKey | None = None
    is_default: bool = False
    is_active: bool = True
    features: dict[FeatureKey, TierValue] = Field(default_factory=dict)


class ModelEntry(InputSchema):
    """An AI model, without its provider and id; ``imported`` is what an importer last wrote."""

    model_name: Name
    model_type: ModelTypeName
    model_family: ShortName | None = None
    supports_tools: bool = False
    supports_vision: bool = False
    supports_streaming: bool = False
    max_tokens: Count | None = None
    context_window: Count | None = None
    input_price_per_1k: WrittenPrice | None = None
    output_price_per_1k: WrittenPrice | None = None
    deprecation_date: WrittenDay | None = None
    feature_key: FeatureKey
    import_source: Name | None = None
    imported: JsonObject | None = None
    is_active: bool = True
    is_deprecated: bool = False


class ComponentEntry(InputSchema):
    """A component, without its key; without a feature and required features it is public."""

    component_name: Name
    display_name: Name
    description: Prose | None = None
    category: ShortName
    subcategory: ShortName | None = None
    feature_key: FeatureKey | None = None
    required_features: FeatureKeys = Field(default_factory=list)
    icon: Name | None = None
    documentation_url: Url | None = None
    is_beta: bool = False
    is_active: bool = True


class IntegrationEntry(InputSchema):
    """An integration, without its key."""

    integration_name: Name
    description: Prose | None = None
    category: ShortName
    feature_key: FeatureKey
    config_schema: JsonObject = Field(default_factory=dict)
    required_features: FeatureKeys = Field(default_factory=list)
    icon: Name | None = None
    documentation_url: Url | None = None
    setup_guide_url: Url | None = None
    is_active: bool = True
    is_beta: bool = False


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


def plain_json(value: Any) -> Any:
    """Return a value, or an entry, as plain JSON types with sorted keys; equal values become equal JSON text."""
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
