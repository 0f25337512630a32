"""The JSON Schema (2020-12) of a document, for editors that complete and check while one writes."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from tierwright.catalog.document import FOLLOWING, SECTIONS, CatalogDocument

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ENTRIES = {
    "features": "FeatureEntry",
    "tiers": "TierEntry",
    "models": "ModelEntry",
    "components": "ComponentEntry",
    "integrations": "IntegrationEntry",
}
_SECTIONS = {
    "features": "What can be granted, by feature key.",
    "tiers": "What licences refer to, by tier key.",
    "models": "AI models, by provider and then by model id.",
    "components": "Components of the host, by key; without a feature they are public.",
    "integrations": "What tenants can connect to, by key.",
}
_FIELDS = {
    "feature_name": "For people; the key, if it is left out.",
    "category": "Where it is listed; of a feature it is the first part of the key, if it is left out.",
    "feature_type": "What kind of value the feature carries.",
    "default_value": "For tenants whose tiers say nothing about it; it has a value also where it is not enabled.",
    "value_schema": "A JSON Schema (2020-12) that every value of the feature fits.",
    "is_premium": "The default never enables it; any tier may.",
    "requires_setup": "A hint for people.",
    "depends_on": "Keys of the features without which it is denied.",
    "conflicts_with": "Keys of the features beside which it is denied.",
    "is_active": "false retires it.",
    "is_deprecated": "A hint for people; it changes no decision.",
    "name": "For people; the key, if it is left out.",
    "rank": "The tier of the highest rank wins among a tenant's licences.",
    "base": "The key of the tier that it inherits from.",
    "is_default": "For tenants without a valid licence; at most one tier.",
    "features": "What the tier says about features, by feature key.",
    "model_name": "For people; the model id, if it is left out.",
    "input_price_per_1k": "Per 1,000 tokens; exact, as it is written.",
    "output_price_per_1k": "Per 1,000 tokens; exact, as it is written.",
    "feature_key": "The feature that gates it.",
    "imported": "What the importer last wrote, so that changes by hand survive the next import.",
    "component_name": "The key, if it is left out.",
    "display_name": "For people; the key, if it is left out.",
    "required_features": "Keys of further features that it needs.",
    "integration_name": "For people; the key, if it is left out.",
    "config_schema": 'A JSON Schema (2020-12) of its settings; "writeOnly": true marks a secret.',
}
_LONG = {
    "type": "object",
    "description": "Whether the feature is granted, and its value, or unlimited in place of one.",
    "properties": {"enabled": {"type": "boolean"}, "value": True, "unlimited": {"const": True}},
    "required": ["enabled"],
    "additionalProperties": False,
    "not": {"required": ["value", "unlimited"]},
}
#: An object is a value, unless it has parts of a value document only.
_OBJECT = {
    "type": "object",
    "not": {"anyOf": [{"required": ["enabled"]}, {"$ref": "#/$defs/HalfOfAValueDocument"}]},
}
_HALF = {
    "type": "object",
    "minProperties": 1,
    "properties": {"value": True, "unlimited": True},
    "additionalProperties": False,
}
_SHORT = {"type": ["boolean", "number", "string", "array"]}
_PRICE = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?$"},
        {"type": "null"},
    ],
    "default": None,
}
_FEATURE_KEY = {"pattern": r"^[a-z0-9_-]+(\.[a-z0-9_-]+)+$", "maxLength": 255}
_KEY = {"pattern": r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$", "maxLength": 255}
_KEYS: dict[str, dict[str, Any]] = {
    "features": _FEATURE_KEY,
    "tiers": _KEY,
    "models": {"minLength": 1, "maxLength": 255},
    "components": _KEY,
    "integrations": {**_KEY, "maxLength": 100},
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a document; it accepts what :func:`tierwright.catalog.load` accepts, and more.

    References, circles and whether a value fits its feature are beyond it.
    """
    definitions: dict[str, Any] = CatalogDocument.model_json_schema()["$defs"]
    for section, name in _ENTRIES.items():
        _describe(definitions[name], FOLLOWING[section])
    _override(definitions, "TierEntry", "features", _mapping(_FEATURE_KEY, "Value"))
    _override(definitions, "FeatureEntry", "default_value", {"$ref": "#/$defs/Value"})
    for name in ("input_price_per_1k", "output_price_per_1k"):
        _override(definitions, "ModelEntry", name, _PRICE)
    definitions |= {"Value": {"anyOf": [_LONG, _OBJECT, _SHORT]}, "HalfOfAValueDocument": _HALF}
    made: dict[str, Any] = {
        "$schema": _DRAFT,
        "title": "A tierwright catalogue",
        "description": "Features, tiers, models, components and integrations.",
        "type": "object",
        "properties": {"$schema": {"type": "string"}, **{section: _section(section) for section in SECTIONS}},
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }
    return copy.deepcopy(made)  # parts of it are ours


def _section(section: str) -> dict[str, Any]:
    entries = _mapping(_KEYS[section], _ENTRIES[section])
    if section == "models":
        provider = {"minLength": 1, "maxLength": 100}
        entries = {"type": "object", "propertyNames": provider, "additionalProperties": entries}
    return {"description": _SECTIONS[section], **entries}


def _mapping(key: dict[str, Any], definition: str) -> dict[str, Any]:
    return {"type": "object", "propertyNames": key, "additionalProperties": {"$ref": f"#/$defs/{definition}"}}


def _override(definitions: dict[str, Any], name: str, field: str, made: dict[str, Any]) -> None:
    definitions[name]["properties"][field] = {"description": _FIELDS[field], **made}


def _describe(definition: dict[str, Any], following: Container[str]) -> None:
    """Describe the fields of an entry, and require only those that do not follow from its key."""
    definition["required"] = [name for name in definition.get("required", ()) if name not in following]
    for name, field in definition["properties"].items():
        field.pop("title", None)
        if name in _FIELDS:
            field["description"] = _FIELDS[name]
