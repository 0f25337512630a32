"""Documents: what is written is what is meant, there and back, in every format, exactly and fast."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from tests.support.catalog_documents import FULL, documents
from tierwright.catalog import CatalogDocument, Change, check, diff, dump, load, parse
from tierwright.catalog.schema import schema
from tierwright.catalog.yaml_reading import read_yaml
from tierwright.errors import DependencyMissing, DocumentInvalid, InvalidInput
from tierwright.tables import check_json
from tierwright.types import AuditEntity

DEMO = Path(__file__).parents[2] / "examples/demo/data/catalogue.yaml"
SCHEMA = Draft202012Validator(schema())


def without_models(document: CatalogDocument) -> CatalogDocument:
    return document.model_copy(update={"models": {}})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents())
def test_a_document_reads_back_as_it_was_written(document: CatalogDocument) -> None:
    check(document)
    text = dump(document)
    assert parse(text) == document
    assert dump(parse(text)) == text
    assert parse(dump(document, "json"), "json") == document
    assert CatalogDocument.model_validate(document.canonical()) == document
    assert diff(document, parse(text)) == ()
    SCHEMA.validate(json.loads(dump(document, "json")))
    # Another reader of YAML 1.1 takes it for the same (prices apart, which it rounds).
    there = json.dumps(yaml.load(dump(without_models(document)), Loader=yaml.SafeLoader))
    assert parse(there, "json") == without_models(document)


def test_names_follow_from_keys() -> None:
    document = parse(FULL)
    feature = document.features["agents.canvas"]
    assert (feature.feature_name, feature.category) == ("agents.canvas", "agents")
    assert document.tiers["free"].name == "free"
    assert document.models["openai"]["gpt-5"].model_name == "gpt-5"
    assert document.components["canvas"].display_name == document.components["canvas"].component_name == "canvas"
    assert document.integrations["slack"].integration_name == "slack"
    assert "feature_name: agents.canvas" not in dump(document)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", {"enabled": True}),
        ("false", {"enabled": False}),
        ("5", {"enabled": True, "value": 5}),
        ("1e3", {"enabled": True, "value": 1000.0}),
        ('"1e3"', {"enabled": True, "value": "1e3"}),
        ("text", {"enabled": True, "value": "text"}),
        ("[1, 2]", {"enabled": True, "value": [1, 2]}),
        ("{a: 1}", {"enabled": True, "value": {"a": 1}}),
        ("{}", {"enabled": True, "value": {}}),
        ("{value: 1, a: 2}", {"enabled": True, "value": {"value": 1, "a": 2}}),
        ("{enabled: true, value: null}", {"enabled": True, "value": None}),
        ("{enabled: false, value: {enabled: 1}}", {"enabled": False, "value": {"enabled": 1}}),
    ],
)
def test_a_short_value_stands_for_a_value_document(written: str, meant: dict[str, Any]) -> None:
    text = (
        f"features: {{x.y: {{feature_type: json, default_value: 0}}}}\ntiers: {{t: {{features: {{x.y: {written}}}}}}}\n"
    )
    document = parse(text)
    assert document.tiers["t"].features["x.y"] == meant
    SCHEMA.validate(json.loads(dump(document, "json")))
    SCHEMA.validate(read_yaml(text).value)


def test_a_boolean_default_is_worth_true_so_that_a_tier_may_say_no_more_than_true() -> None:
    document = parse("features: {x.y: {feature_type: boolean, default_value: false}}")
    assert document.features["x.y"].default_value == {"enabled": False, "value": True}
    assert dump(document).count("default_value: false") == 1


@pytest.mark.parametrize("format", ["yaml", "json", "toml"])
@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("0.1", "0.1"),
        ("0.30000000000000004441", "0.30000000000000004441"),
        ("1e-06", "0.000001"),
        ("2.5E-21", "0.0000000000000000000025"),
        ("3", "3"),
        ("3.000", "3"),
        ('"0.000000000000000000001"', "0.000000000000000000001"),
    ],
)
def test_a_price_is_what_is_written(format: Any, written: str, exact: str) -> None:
    entry = {
        "yaml": f"{{model_type: chat, feature_key: a.b, input_price_per_1k: {written}}}",
        "json": f'{{"model_type": "chat", "feature_key": "a.b", "input_price_per_1k": {written}}}',
        "toml": f'model_type = "chat"\nfeature_key = "a.b"\ninput_price_per_1k = {written}',
    }[format]
    text = {
        "yaml": f"features: {{a.b: {{feature_type: boolean, default_value: true}}}}\nmodels: {{p: {{m: {entry}}}}}",
        "json": '{"features": {"a.b": {"feature_type": "boolean", "default_value": true}},'
        f'"models": {{"p": {{"m": {entry}}}}}}}',
        "toml": f'[features."a.b"]\nfeature_type = "boolean"\ndefault_value = true\n[models.p.m]\n{entry}\n',
    }[format]
    document = parse(text, format)
    price = document.models["p"]["m"].input_price_per_1k
    assert isinstance(price, Decimal)
    assert format_of(price) == exact
    assert parse(dump(document)) == document


def format_of(price: Decimal) -> str:
    return format(price, "f")


def test_toml_says_the_same_as_yaml() -> None:
    text = """
[features."agents.canvas"]
feature_type = "boolean"
default_value = false
[tiers.free]
is_default = true
features = { "agents.canvas" = true }
[models.openai.gpt-5]
model_type = "chat"
feature_key = "agents.canvas"
deprecation_date = 2026-09-30
"""
    assert parse(text, "toml") == parse(
        "features: {agents.canvas: {feature_type: boolean, default_value: false}}\n"
        "tiers: {free: {is_default: true, features: {agents.canvas: true}}}\n"
        'models: {openai: {gpt-5: {model_type: chat, feature_key: agents.canvas, deprecation_date: "2026-09-30"}}}\n'
    )


def test_aliases_and_merges_are_read_as_what_they_stand_for() -> None:
    text = """
features:
  a.a: &base {feature_type: integer, default_value: &five 5, description: first}
  a.b: {<<: *base, description: second}
  a.c: {<<: [{description: third}, *base], default_value: *five}
"""
    features = parse(text).features
    assert [feature.description for feature in features.values()] == ["first", "second", "third"]
    assert {json.dumps(feature.default_value) for feature in features.values()} == {'{"enabled": true, "value": 5}'}
    assert "&" not in dump(parse(text))


def test_a_folder_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / ".hidden.yaml").write_text("nonsense: 1")
    (tmp_path / "a.yml").write_text("features: {a.b: {feature_type: boolean, default_value: true}}")
    (tmp_path / "b.toml").write_text('[tiers.free]\nname = "Free"\n')
    for name in ("one", "two"):
        entry = {"p": {name: {"model_type": "chat", "feature_key": "a.b"}}}
        (tmp_path / "models" / f"{name}.json").write_text(json.dumps({"$schema": "x", "models": entry}))
    document = load(tmp_path)
    assert (list(document.features), list(document.tiers), sorted(document.models["p"])) == (
        ["a.b"],
        ["free"],
        ["one", "two"],
    )


def test_a_key_in_two_files_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("tiers:\n  pro: {rank: 1}\n")
    (tmp_path / "b.json").write_text('{"tiers":\n\n  {"pro": {"rank": 1}}}')
    with pytest.raises(DocumentInvalid) as raised:
        load(tmp_path)
    (problem,) = raised.value.details["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == (str(tmp_path / "b.json"), 3, "tiers.pro")
    assert f"{tmp_path / 'a.yaml'}, line 2" in problem["problem"]


def test_all_problems_are_told_at_their_places_and_with_suggestions(tmp_path: Path) -> None:
    path = tmp_path / "plans.yaml"
    path.write_text(
        "tiers:\n  pro:\n    nam: Pro\n    rank: high\n    description: 12\n    features:\n      agents.canvas:\n"
        "feature: {}\n"
    )
    with pytest.raises(DocumentInvalid) as raised:
        load(path)
    assert isinstance(raised.value, InvalidInput)
    assert str(raised.value).splitlines() == [
        "The document has 5 problems:",
        f"  {path}:3:5: tiers.pro.nam: there is no such field; did you mean 'name'?",
        f"  {path}:4:11: tiers.pro.rank: a whole number is expected, and this is text",
        f"  {path}:5:18: tiers.pro.description: text is expected, and this is a number: quote it if it is text",
        f"  {path}:7:21: tiers.pro.features.agents.canvas: there is no value: write true, false, a value, or "
        "{enabled: true, value: null}",
        f"  {path}:8:1: feature: there is no such section; did you mean 'features'? Correct the document.",
    ]


def test_no_more_than_twenty_problems_are_told() -> None:
    with pytest.raises(DocumentInvalid) as raised:
        parse("tiers: {" + ", ".join(f"t{number}: 5" for number in range(50)) + "}")
    assert len(raised.value.details["problems"]) == 20
    assert raised.value.details["count"] == 50
    assert "and 30 more" in raised.value.message


def test_a_file_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plans.txt").write_text("{}")
    with pytest.raises(InvalidInput, match=r"\.yaml, \.yml, \.json or \.toml"):
        load(tmp_path / "plans.txt")
    assert load(tmp_path / "plans.txt", format="json") == CatalogDocument()


def test_a_byte_order_mark_is_no_text() -> None:
    for format in ("yaml", "json"):
        assert parse(b"\xef\xbb\xbf{}", format) == CatalogDocument()  # type: ignore[arg-type]


def test_what_is_written_is_pleasant_to_compare() -> None:
    assert dump(parse(FULL)) == (
        """features:
  agents.canvas:
    feature_type: boolean
    default_value: false

  agents.limit:
    feature_name: How many agents
    feature_type: integer
    default_value: 3
    value_schema:
      minimum: 0
      type: integer
    depends_on: [agents.canvas]

tiers:
  free:
    is_default: true
    features:
      agents.canvas: true

  pro:
    name: Pro
    rank: 10
    base: free
    features:
      agents.limit: {enabled: true, unlimited: true}

models:
  openai:
    gpt-5:
      model_type: chat
      input_price_per_1k: 0.00125
      deprecation_date: 2026-09-30
      feature_key: agents.canvas

components:
  canvas:
    category: agents
    feature_key: agents.canvas

integrations:
  slack:
    category: chat
    feature_key: agents.canvas
    config_schema:
      properties:
        token:
          type: string
          writeOnly: true
      type: object
"""
    )
    assert dump(CatalogDocument()) == "{}\n"


def test_equality_knows_true_from_one() -> None:
    def of(value: Any) -> CatalogDocument:
        feature = {"feature_type": "json", "default_value": {"enabled": True, "value": value}}
        return CatalogDocument.model_validate({"features": {"a.b": feature}})

    assert of({"a": 1, "b": 5}) == of({"b": 5.0, "a": 1})
    assert of({"a": 1}) != of({"a": True})
    assert len({of(1), of(1.0), of(True)}) == 2
    assert diff(of(1), of(True)) == (
        Change(
            "change",
            AuditEntity.FEATURE,
            "a.b",
            {"default_value": {"enabled": True, "value": 1}},
            {"default_value": {"enabled": True, "value": True}},
        ),
    )


def test_the_difference_of_two_documents() -> None:
    text = FULL.replace("depends_on: [agents.canvas]", "depends_on: []")
    old, new = parse(text), parse(text.replace("rank: 10", "rank: 11").replace("{agents.canvas: true}", "{}"))
    changes = diff(old, new)
    assert [(change.kind, change.entity.value, change.key) for change in changes] == [
        ("change", "tier", "pro"),
        ("delete", "tier_feature", "free/agents.canvas"),
    ]
    assert (changes[0].old, changes[0].new) == ({"rank": 10}, {"rank": 11})
    created = diff(CatalogDocument(), old)
    assert {change.kind for change in created} == {"create"}
    assert [change.key for change in created if change.entity == AuditEntity.MODEL] == ["openai/gpt-5"]
    deleted = diff(old, CatalogDocument())
    assert {change.kind for change in deleted} == {"delete"}
    assert AuditEntity.TIER_FEATURE not in {change.entity for change in deleted}


def test_the_schema_is_one_and_accepts_the_full_example() -> None:
    Draft202012Validator.check_schema(schema())
    SCHEMA.validate(json.loads(dump(parse(FULL), "json")))
    for wrong in ({"feature": {}}, {"tiers": {"pro": {"rang": 1}}}, {"features": {"a": {}}}, {"tiers": {"t": None}}):
        assert not SCHEMA.is_valid(wrong), wrong


def test_the_demo_catalogue_fits_the_schema() -> None:
    document = load(DEMO)
    SCHEMA.validate(json.loads(json.dumps(read_yaml(DEMO.read_text("utf-8")).value, default=str)))
    assert parse(dump(document)) == document


def test_four_and_a_half_thousand_models_come_back() -> None:
    model = {
        "model_type": "chat",
        "model_family": "gpt",
        "supports_tools": True,
        "max_tokens": 4096,
        "context_window": 128000,
        "input_price_per_1k": Decimal("0.00015"),
        "output_price_per_1k": Decimal("0.0006"),
        "deprecation_date": "2026-09-30",
        "feature_key": "models.p",
        "import_source": "litellm",
        "imported": {"mode": "chat", "max_tokens": 4096, "input_cost_per_token": "1.5e-07"},
    }
    feature = {"feature_type": "boolean", "default_value": {"enabled": False, "value": True}}
    document = CatalogDocument.model_validate(
        {"features": {"models.p": feature}, "models": {"p": {f"model-{n}": model for n in range(4551)}}}
    )
    text = dump(document)
    assert parse(text) == document


def test_a_shared_container_is_counted_wherever_it_stands() -> None:
    shared: Any = ["x"]
    for _ in range(30):
        shared = [shared, shared]
    wide = ["x" * 30_000] * 60_000
    for bomb in (shared, wide):  # either would run for hours if it were not counted
        with pytest.raises(InvalidInput, match="65536"):
            check_json(bomb)


def test_the_reader_in_pure_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_yaml(FULL).value
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert read_yaml(FULL).value == fast
    assert read_yaml("a: \x01").flaws[0].final
    assert read_yaml("[" * 100_000).flaws[0].final


def test_without_pyyaml_only_yaml_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(DependencyMissing, match=r"tierwright\[catalog\]"):
        parse("{}")
    assert parse("{}", "json") == CatalogDocument()
    assert dump(CatalogDocument()) == "{}\n"


def test_a_document_made_in_python_is_checked_by_its_paths() -> None:
    document = CatalogDocument.model_validate({"tiers": {"pro": {"base": "fre"}, "free": {}}})
    with pytest.raises(DocumentInvalid) as raised:
        check(document)
    problem = "there is no tier fre in the document; did you mean 'free'?"
    assert raised.value.message == f"tiers.pro.base: {problem}"
    assert raised.value.details["problems"] == [
        {"file": None, "line": None, "column": None, "path": "tiers.pro.base", "problem": problem}
    ]
