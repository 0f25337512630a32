"""The demo's catalogue: complete, exact, valid, and free of contradictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from examples.demo.catalogue import Catalogue, build, digest, public_config, records, tier_values
from examples.demo.prices import ProviderCollision, feature_keys, per_1k, price_list, read_entries
from tierwright.tables import (
    ComponentRegistry,
    FeatureRegistry,
    IntegrationRegistry,
    LicenseTierFeatures,
    ModelRegistry,
)

TODAY = date(2026, 6, 1)
INTEGRATIONS = records("integrations")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Return the whole catalogue."""
    return build(TODAY)


def test_every_model_that_names_a_provider_is_there_and_the_other_is_reported(catalogue: Catalogue) -> None:
    entries = read_entries()
    assert len(entries) == 4552
    assert len(catalogue.rows[ModelRegistry]) == 4551
    assert catalogue.prices.without_provider == ("fallback_generalizations",)
    assert {row["model_id"] for row in catalogue.rows[ModelRegistry]} == entries.keys() - {"fallback_generalizations"}


def test_every_price_is_a_thousand_times_the_listed_one() -> None:
    entries = read_entries()
    with localcontext(Context(prec=3, rounding=ROUND_DOWN)):  # a hostile context must change nothing
        models = price_list(entries, TODAY).models
    for model in models:
        entry = entries[model.model_id]
        for price, listed in (
            (model.input_price_per_1k, entry.get("input_cost_per_token")),
            (model.output_price_per_1k, entry.get("output_cost_per_token")),
        ):
            if listed is None:
                assert price is None
            else:
                assert isinstance(price, Decimal)
                assert Fraction(price) == Fraction(listed) * 1000


@pytest.mark.parametrize(
    ("per_token", "expected"),
    [
        (0, "0"),
        (2, "2000"),
        (Decimal("1e-24"), "0.000000000000000000001"),
        (Decimal("0.123456789012345678901234567890123456789"), "123.456789012345678901234567890123456789"),
    ],
)
def test_per_1k_is_exact(per_token: Decimal | int, expected: str) -> None:
    assert format(per_1k(per_token), "f") == expected


def test_what_the_list_says_of_a_model_arrives() -> None:
    entries = {
        "x/some-model": {
            "litellm_provider": "x",
            "mode": "chat",
            "max_input_tokens": 10,
            "max_output_tokens": 5,
            "supports_function_calling": True,
            "supports_vision": True,
            "supports_native_streaming": True,
            "deprecation_date": "2026-06-01",
        },
        "bare": {"litellm_provider": "x"},
    }
    found = price_list(entries, TODAY)
    full, bare = found.models
    assert (full.model_name, full.model_type, full.context_window, full.max_tokens) == ("some-model", "chat", 10, 5)
    assert (full.supports_tools, full.supports_vision, full.supports_streaming) == (True, True, True)
    assert (full.deprecation_date, full.is_deprecated) == (TODAY, True)
    assert (bare.model_type, bare.deprecation_date, bare.is_deprecated) == ("unknown", None, False)
    assert found.without_mode == ("bare",)


def test_models_without_a_mode_are_counted(catalogue: Catalogue) -> None:
    unknown = [row for row in catalogue.rows[ModelRegistry] if row["model_type"] == "unknown"]
    assert len(unknown) == len(catalogue.prices.without_mode) == 10


def test_every_provider_has_a_feature(catalogue: Catalogue) -> None:
    providers = {entry["litellm_provider"] for entry in read_entries().values() if entry}
    keys = {row["feature_key"] for row in catalogue.rows[FeatureRegistry] if row["category"] == "models"}
    assert len(providers) == 152
    assert {f"models.{provider}" for provider in providers} == keys - {"finetuning.jobs"}


def test_providers_are_normalised_and_never_merged() -> None:
    assert feature_keys(["Open AI", "x.ai"]) == {"Open AI": "models.open-ai", "x.ai": "models.x-ai"}
    with pytest.raises(ProviderCollision, match="Open AI, open-ai"):
        feature_keys(["open-ai", "Open AI"])
    with pytest.raises(ProviderCollision):
        feature_keys(["…"])


def test_there_are_enough_components_and_some_are_public(catalogue: Catalogue) -> None:
    components = catalogue.rows[ComponentRegistry]
    public = [row for row in components if row["feature_key"] is None and not row["required_features"]]
    assert len(components) >= 25
    assert 3 <= len(public) < len(components)


def test_every_reference_names_a_feature(catalogue: Catalogue) -> None:
    features = {row["feature_key"]: row for row in catalogue.rows[FeatureRegistry]}
    named = {key for row in features.values() for key in (*row["depends_on"], *row["conflicts_with"])}
    for table in (ComponentRegistry, IntegrationRegistry, ModelRegistry, LicenseTierFeatures):
        for row in catalogue.rows[table]:
            named |= {row["feature_key"], *row.get("required_features", ())} - {None}
    assert named <= features.keys()


def test_there_are_enough_integrations() -> None:
    assert len(INTEGRATIONS) >= 12
    assert len({record["integration_key"] for record in INTEGRATIONS}) == len(INTEGRATIONS)


@pytest.mark.parametrize("record", INTEGRATIONS, ids=lambda record: record["integration_key"])
def test_an_integration_has_a_valid_schema_and_example(record: dict[str, Any]) -> None:
    schema = record["config_schema"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    validator.validate(record["example"])
    assert not validator.is_valid({})
    assert not validator.is_valid({**record["example"], "unknown_setting": 1})
    secrets = {name for name, rules in schema["properties"].items() if rules.get("writeOnly")}
    assert secrets & set(schema["required"])
    assert not public_config(record).keys() & secrets


def test_what_tenants_store_is_public_and_valid() -> None:
    schemas = {record["integration_key"]: record["config_schema"] for record in INTEGRATIONS}
    for tenant in records("tenants"):
        for config in tenant["integrations"]:
            Draft202012Validator(without_secrets(schemas[config["integration_key"]])).validate(config["config"])


def test_a_tier_breaks_neither_prerequisite_nor_conflict(catalogue: Catalogue) -> None:
    features = {row["feature_key"]: row for row in catalogue.rows[FeatureRegistry]}
    values = {key: row["default_value"] for key, row in features.items()}
    for record in records("tiers"):  # each is the base of the next
        values |= tier_values(record, catalogue.prices)
        on = {key for key, value in values.items() if value["enabled"]}
        for key in on:
            assert set(features[key]["depends_on"]) <= on, key
            assert not set(features[key]["conflicts_with"]) & on, key


def test_there_are_three_tiers_each_on_the_last() -> None:
    assert [(tier["tier_key"], tier.get("base")) for tier in records("tiers")] == [
        ("free", None),
        ("pro", "free"),
        ("enterprise", "pro"),
    ]


def test_values_fit_the_schemas_of_their_features(catalogue: Catalogue) -> None:
    schemas = {row["feature_key"]: row["value_schema"] for row in catalogue.rows[FeatureRegistry]}
    documents = [(row["feature_key"], row["default_value"]) for row in catalogue.rows[FeatureRegistry]]
    documents += [(row["feature_key"], row["feature_value"]) for row in catalogue.rows[LicenseTierFeatures]]
    for key, document in documents:
        if schemas[key] is not None and "value" in document:
            Draft202012Validator(schemas[key]).validate(document["value"])


def test_the_price_list_names_its_source_and_licence() -> None:
    from examples.demo.catalogue import DATA

    source = (DATA / "SOURCE.md").read_text("utf-8")
    for words in ("BerriAI", "model_prices_and_context_window.json", "MIT License", "WITHOUT WARRANTY", "trimmed"):
        assert words in source


def test_the_digest_is_of_the_data() -> None:
    assert len(digest()) == 64
    assert digest() == digest()


def test_the_catalogue_is_plain_json_and_decimals(catalogue: Catalogue) -> None:
    for row in catalogue.rows[ModelRegistry]:
        assert not any(isinstance(value, float) for value in row.values())
    json.dumps([row["config_schema"] for row in catalogue.rows[IntegrationRegistry]], allow_nan=False)


def without_secrets(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the public part of an integration's settings."""
    public = {name: rules for name, rules in schema["properties"].items() if not rules.get("writeOnly")}
    return {**schema, "properties": public, "required": [name for name in schema["required"] if name in public]}
