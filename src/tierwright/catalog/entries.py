"""What a document says of one feature, tier, model, component or integration; its key stands above it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from tierwright.catalog.value_forms import long_default, long_form
from tierwright.catalog.written import WrittenDay, WrittenPrice
from tierwright.tables.inputs import (
    Count,
    FeatureKey,
    FeatureKeys,
    InputSchema,
    Int32,
    JsonObject,
    ModelTypeName,
    Name,
    Prose,
    ResourceKey,
    ShortName,
    TypeOfFeature,
    Url,
    ValueDocument,
)
from tierwright.tables.json_rules import check_value_document

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
        # The type is not there if it was refused; what is complete is not known without it.
        type_ = info.data.get("feature_type")
        checked: dict[str, Any] = check_value_document(default, type_, complete=type_ is not None)
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
