"""LiteLLM's price list as features and models: exact decimals, one feature per provider, nothing dropped unseen."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tierwright.tables import FeatureInput, ModelInput

PRICE_LIST = Path(__file__).parent / "data" / "litellm_models.json"
IMPORT_SOURCE = "litellm"


class ProviderCollision(ValueError):
    """Two providers would get the same feature key."""


@dataclass(frozen=True)
class PriceList:
    """What the list holds.

    Attributes:
        models: one per entry that names a provider.
        features: one per provider.
        without_provider: the entries that name none, which are left out.
        without_mode: the models whose type the list does not tell.
    """

    models: tuple[ModelInput, ...]
    features: tuple[FeatureInput, ...]
    without_provider: tuple[str, ...]
    without_mode: tuple[str, ...]


def read_entries(path: Path = PRICE_LIST) -> dict[str, dict[str, Any]]:
    """Return the list as it stands in the file, its numbers as Decimal and int."""
    entries: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    return entries


def price_list(entries: Mapping[str, Mapping[str, Any]], today: date) -> PriceList:
    """Return the models and features of ``entries``.

    Args:
        entries: from :func:`read_entries`.
        today: models whose deprecation date is not after it are deprecated.

    Raises:
        ProviderCollision: two providers' names become the same feature key.
    """
    named = {model_id: entry for model_id, entry in entries.items() if entry.get("litellm_provider")}
    sizes: dict[str, int] = defaultdict(int)
    for entry in named.values():
        sizes[entry["litellm_provider"]] += 1
    keys = feature_keys(sizes)
    return PriceList(
        models=tuple(_model(model_id, entry, keys, today) for model_id, entry in named.items()),
        features=tuple(_feature(keys[provider], provider, sizes[provider]) for provider in sorted(sizes)),
        without_provider=tuple(model_id for model_id in entries if model_id not in named),
        without_mode=tuple(model_id for model_id, entry in named.items() if not entry.get("mode")),
    )


def feature_keys(providers: Iterable[str]) -> dict[str, str]:
    """Return each provider's feature key: ``models.`` and the name in what a key may hold.

    Raises:
        ProviderCollision: two names become one key, or nothing of a name is left.
    """
    owners: dict[str, list[str]] = defaultdict(list)
    for provider in providers:
        owners["models." + re.sub(r"[^a-z0-9_-]+", "-", provider.lower()).strip("-")].append(provider)
    for key, names in owners.items():
        if len(names) > 1 or key == "models.":
            raise ProviderCollision(f"No feature key of its own for {', '.join(sorted(names))}: {key!r}.")
    return {names[0]: key for key, names in owners.items()}


def per_1k(per_token: Decimal | int | None) -> Decimal | None:
    """Return the price of 1,000 tokens, exactly.

    The exponent is moved by hand: ``*`` and ``scaleb`` round to the digits of the decimal context.
    """
    if per_token is None:
        return None
    sign, digits, exponent = Decimal(per_token).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{per_token} is not a price")
    return Decimal((sign, digits, exponent + 3))


def _feature(key: str, provider: str, models: int) -> FeatureInput:
    return FeatureInput(
        feature_key=key,
        feature_name=f"Models of {provider}",
        description=f"Requests per minute to the {models} models that the price list has of {provider}.",
        category="models",
        subcategory=provider,
        feature_type="integer",  # type: ignore[arg-type]  # pydantic turns the text into the enumeration
        default_value={"enabled": False, "value": 0},
        value_schema={"type": "integer", "minimum": 0},
    )


def _model(model_id: str, entry: Mapping[str, Any], keys: Mapping[str, str], today: date) -> ModelInput:
    ends = entry.get("deprecation_date")
    deprecation_date = date.fromisoformat(ends) if ends else None
    return ModelInput(
        provider=entry["litellm_provider"],
        model_id=model_id,
        model_name=model_id.rpartition("/")[2] or model_id,
        model_type=entry.get("mode") or "unknown",
        supports_tools=entry.get("supports_function_calling", False),
        supports_vision=entry.get("supports_vision", False),
        supports_streaming=entry.get("supports_native_streaming", False),
        max_tokens=entry.get("max_output_tokens"),
        context_window=entry.get("max_input_tokens"),
        input_price_per_1k=per_1k(entry.get("input_cost_per_token")),
        output_price_per_1k=per_1k(entry.get("output_cost_per_token")),
        deprecation_date=deprecation_date,
        feature_key=keys[entry["litellm_provider"]],
        import_source=IMPORT_SOURCE,
        is_deprecated=deprecation_date is not None and deprecation_date <= today,
    )
