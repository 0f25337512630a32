"""Random catalogue documents: valid as a whole, and hostile in every text."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tierwright.catalog import CatalogDocument
from tierwright.types import FeatureType

#: A document with something of everything.
FULL = """
features:
  agents.canvas: {feature_type: boolean, default_value: false}
  agents.limit:
    feature_name: How many agents
    feature_type: integer
    default_value: 3
    value_schema: {type: integer, minimum: 0}
    depends_on: [agents.canvas]
tiers:
  free: {is_default: true, features: {agents.canvas: true}}
  pro:
    name: Pro
    base: free
    rank: 10
    features:
      agents.limit: {enabled: true, unlimited: true}
models:
  openai:
    gpt-5: {model_type: chat, feature_key: agents.canvas, input_price_per_1k: 0.00125, deprecation_date: 2026-09-30}
components:
  canvas: {category: agents, feature_key: agents.canvas}
integrations:
  slack:
    category: chat
    feature_key: agents.canvas
    config_schema: {type: object, properties: {token: {type: string, writeOnly: true}}}
"""

#: What YAML, and who writes it, stumbles over.
# fmt: off
_NASTY = st.sampled_from([
    "no", "yes", "on", "null", "~", "012", "1e3", "1_000", "12:30", "2026-01-02", ".nan", "0x1F", "1.2.3", "1,2", ".5",
    "+1", "<<", "*a", "&a", "!tag", "- a", "a: b", "a #b", "#c", "'", '"', "{", "[", "%x", "@x", "`x", "true", "=", "?",
    ":", "-", "a:", "a\tb", "x\u0085y", "x\u2028y", "\ufeffx", "\U0001f600", "é", "a\nb", "a\n\nb\n", "a\n b", "\na",
    "a\n\n", "a \nb", "a\r\nb", "\x7f", "a\n   ", "a\n#b\n", "a\n---\nb", "a|b", "> a", "k" * 1100,
])
# fmt: on
text = st.one_of(_NASTY, st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20))
names = text.filter(lambda value: value == value.strip() and len(value) <= 100)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
floats = st.one_of(
    st.floats(-1e15, 1e15, allow_nan=False), st.sampled_from([1e-7, 5.0, -0.0, 1.5e-300, 123456789012345.0])
)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, text)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
json_objects = st.dictionaries(
    st.one_of(text, st.sampled_from(["enabled", "value", "unlimited"])), json_values, max_size=3
)
prices = st.decimals(0, 10**6, allow_nan=False, places=21) | st.decimals(0, 100, allow_nan=False)

_VALUES: dict[FeatureType, SearchStrategy[Any]] = {
    FeatureType.BOOLEAN: st.booleans(),
    FeatureType.INTEGER: integers,
    FeatureType.NUMBER: integers | floats,
    FeatureType.STRING: text,
    FeatureType.JSON: json_values | json_objects,
}


@st.composite
def value_documents(draw: st.DrawFn, feature_type: FeatureType, *, complete: bool = False) -> dict[str, Any]:
    """Draw a value document of a feature of some type."""
    document: dict[str, Any] = {"enabled": draw(st.booleans())}
    kinds = ["value"] if complete else ["value", "nothing"]
    if feature_type in (FeatureType.INTEGER, FeatureType.NUMBER):
        kinds.append("unlimited")
    kind = draw(st.sampled_from(kinds))
    if kind == "value":
        document["value"] = draw(_VALUES[feature_type])
    elif kind == "unlimited":
        document["unlimited"] = True
    return document


def _optional(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def documents(draw: st.DrawFn) -> CatalogDocument:
    """Draw a valid document; prerequisites only where nothing can break them."""
    keys = draw(
        st.lists(st.sampled_from([f"{a}.{b}" for a in "abn1" for b in ("x", "no", "12")]), unique=True, max_size=5)
    )
    features: dict[str, Any] = {}
    for key in keys:
        kind = draw(st.sampled_from(list(FeatureType)))
        given = draw(
            _optional(
                feature_name=names,
                description=text,
                category=names,
                icon=names,
                is_premium=st.booleans(),
                display_order=st.integers(-5, 5),
                is_active=st.booleans(),
                help_url=st.just("https://x.example/#a"),
                value_schema=st.sampled_from([None, {}, {"description": "no\nyes"}]),
            )
        )
        default = draw(value_documents(kind, complete=True))
        features[key] = {"feature_type": kind, "default_value": default, **given}
    if keys and draw(st.booleans()):
        # Enabled for everybody, so no tier can lack it.
        features["z.z"] = {"feature_type": "boolean", "default_value": {"enabled": True, "value": True}}
        features[keys[0]]["depends_on"] = ["z.z"]
    types = {key: FeatureType(feature["feature_type"]) for key, feature in features.items()}
    tiers: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(["free", "no", "12", "a.b"]), unique=True, max_size=3)):
        granted = draw(st.lists(st.sampled_from(keys), unique=True, max_size=4)) if keys else []
        base = draw(st.sampled_from([None, *tiers]))
        given = draw(_optional(name=names, description=text, rank=st.integers(-5, 5), is_active=st.booleans()))
        values = {feature: draw(value_documents(types[feature])) for feature in granted}
        tiers[key] = {"base": base, "features": values, "is_default": not tiers and draw(st.booleans()), **given}
    return CatalogDocument.model_validate(
        {"features": features, "tiers": tiers, **(draw(_resources(keys)) if keys else {})}
    )


@st.composite
def _resources(draw: st.DrawFn, keys: list[str]) -> dict[str, Any]:
    feature = st.sampled_from(keys)
    required = st.lists(feature, unique=True, max_size=3)
    models = st.fixed_dictionaries(
        {"model_type": st.sampled_from(["chat", "no", "12"]), "feature_key": feature},
        optional={
            "model_name": names,
            "model_family": names,
            "supports_tools": st.booleans(),
            "max_tokens": st.integers(0, 9),
            "input_price_per_1k": prices,
            "output_price_per_1k": prices.map(lambda price: Decimal(price)),
            "deprecation_date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
            "import_source": names,
            "imported": json_objects,
            "is_active": st.booleans(),
        },
    )
    components = st.fixed_dictionaries(
        {"category": names}, optional={"component_name": names, "feature_key": feature, "required_features": required}
    )
    integrations = st.fixed_dictionaries(
        {"category": names, "feature_key": feature},
        optional={
            "integration_name": names,
            "required_features": required,
            "is_beta": st.booleans(),
            "config_schema": st.just({"type": "object", "properties": {"no": {"writeOnly": True}}}),
        },
    )
    few = st.sampled_from(["a", "no", "12", "x.y"])
    return {
        "models": draw(st.dictionaries(names, st.dictionaries(names, models, max_size=2), max_size=2)),
        "components": draw(st.dictionaries(few, components, max_size=2)),
        "integrations": draw(st.dictionaries(few, integrations, max_size=2)),
    }
