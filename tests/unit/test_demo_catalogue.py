"""The demo's catalogue: complete, valid, and free of contradictions. What the importer does is tested beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from examples.demo.catalogue import DATA, PRICE_LIST, Catalogue, build, data, digest, public_settings

TODAY = date(2026, 6, 1)
SETTINGS = data("settings")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Return the whole catalogue."""
    return build(TODAY)


def test_every_model_that_names_a_provider_is_there_and_the_other_is_reported(catalogue: Catalogue) -> None:
    entries = json.loads(PRICE_LIST.read_text("utf-8"))
    assert len(entries) == 4552
    assert catalogue.models == 4551
    assert [key for key, _ in catalogue.prices.reported] == ["fallback_generalizations"]
    there = {model_id for listed in catalogue.document.models.values() for model_id in listed}
    assert there == entries.keys() - {"fallback_generalizations"}


def test_models_without_a_mode_are_counted(catalogue: Catalogue) -> None:
    assert catalogue.without_mode == 10
    assert 0 < catalogue.counted(is_deprecated=True) < catalogue.models


def test_every_provider_has_a_feature(catalogue: Catalogue) -> None:
    keys = {key for key, feature in catalogue.document.features.items() if feature.category == "models"}
    assert len(catalogue.document.models) == 152
    assert {f"models.{provider}" for provider in catalogue.document.models} == keys - {"finetuning.jobs"}


def test_there_are_enough_components_and_some_are_public(catalogue: Catalogue) -> None:
    components = catalogue.document.components.values()
    public = [entry for entry in components if entry.feature_key is None and not entry.required_features]
    assert len(components) >= 25
    assert 3 <= len(public) < len(components)


def test_every_reference_names_a_feature(catalogue: Catalogue) -> None:
    document = catalogue.document
    named = {key for feature in document.features.values() for key in (*feature.depends_on, *feature.conflicts_with)}
    named |= {key for tier in document.tiers.values() for key in tier.features}
    for entry in (*document.components.values(), *document.integrations.values()):
        named |= {entry.feature_key, *entry.required_features} - {None}  # type: ignore[arg-type]
    named |= {model.feature_key for listed in document.models.values() for model in listed.values()}
    assert named <= document.features.keys()


def test_there_are_enough_integrations(catalogue: Catalogue) -> None:
    assert len(catalogue.document.integrations) >= 12
    assert SETTINGS.keys() == catalogue.document.integrations.keys()


@pytest.mark.parametrize("key", SETTINGS)
def test_an_integration_has_a_valid_schema_and_example(key: str, catalogue: Catalogue) -> None:
    schema, example = catalogue.document.integrations[key].config_schema, SETTINGS[key]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    validator.validate(example)
    assert not validator.is_valid({})
    assert not validator.is_valid({**example, "unknown_setting": 1})
    secrets = {name for name, rules in schema["properties"].items() if rules.get("writeOnly")}
    assert secrets & set(schema["required"])
    assert not public_settings(example, schema).keys() & secrets


def test_what_tenants_store_is_public_and_valid(catalogue: Catalogue) -> None:
    for tenant in data("tenants"):
        for config in tenant["integrations"]:
            schema = catalogue.document.integrations[config["integration_key"]].config_schema
            Draft202012Validator(without_secrets(schema)).validate(config["config"])


def test_a_tier_breaks_neither_prerequisite_nor_conflict(catalogue: Catalogue) -> None:
    features = catalogue.document.features
    values = {key: feature.default_value for key, feature in features.items()}
    for tier in catalogue.document.tiers.values():  # each is the base of the next
        values |= tier.features
        on = {key for key, value in values.items() if value["enabled"]}
        for key in on:
            assert set(features[key].depends_on) <= on, key
            assert not set(features[key].conflicts_with) & on, key


def test_there_are_three_tiers_each_on_the_last(catalogue: Catalogue) -> None:
    tiers = catalogue.document.tiers
    assert [(key, tier.base) for key, tier in tiers.items()] == [
        ("free", None),
        ("pro", "free"),
        ("enterprise", "pro"),
    ]
    assert tiers["free"].features["models.gemini"] == {"enabled": True, "value": 10}
    assert tiers["pro"].features["models.openai"] == {"enabled": True, "value": 120}
    granted = {key for key, value in tiers["enterprise"].features.items() if value.get("unlimited")}
    assert {f"models.{provider}" for provider in catalogue.document.models} <= granted


def test_values_fit_the_schemas_of_their_features(catalogue: Catalogue) -> None:
    features = catalogue.document.features
    documents = [(key, feature.default_value) for key, feature in features.items()]
    documents += [item for tier in catalogue.document.tiers.values() for item in tier.features.items()]
    for key, document in documents:
        schema = features[key].value_schema
        if schema is not None and "value" in document:
            Draft202012Validator(schema).validate(document["value"])


def test_the_price_list_names_its_source_and_licence() -> None:
    source = (DATA / "SOURCE.md").read_text("utf-8")
    for words in ("BerriAI", "model_prices_and_context_window.json", "MIT License", "WITHOUT WARRANTY", "trimmed"):
        assert words in source
    for path in DATA.glob("*.*"):
        assert path.name in source or path.name == "SOURCE.md"


def test_the_digest_is_of_the_data() -> None:
    assert len(digest()) == 64
    assert digest() == digest()


def without_secrets(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the public part of an integration's settings."""
    public = {name: rules for name, rules in schema["properties"].items() if not rules.get("writeOnly")}
    return {**schema, "properties": public, "required": [name for name in schema["required"] if name in public]}
