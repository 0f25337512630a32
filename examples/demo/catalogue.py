"""The catalogue of the demo: one hand-written document, and the models of a price list merged into it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlmodel import SQLModel

from tierwright import catalog
from tierwright.catalog.document import CatalogDocument, TierEntry
from tierwright.catalog.importers import ImportResult
from tierwright.catalog.importers.litellm import UNKNOWN, LiteLLM

DATA = Path(__file__).parent / "data"
PRICE_LIST = DATA / "litellm_models.json"
#: What a tier says about every provider with at least so many models: requests per minute; None is no limit.
MODEL_GRANTS: dict[str, tuple[int, int | None]] = {"pro": (4, 120), "enterprise": (1, None)}
#: Column values by table class, parents before children.
Rows = dict[type[SQLModel], list[dict[str, Any]]]


@dataclass(frozen=True)
class Catalogue:
    """What there is to sell.

    Attributes:
        document: all of it.
        prices: what the importer made of the price list.
        settings: example settings of each integration, made-up secrets included.
    """

    document: CatalogDocument
    prices: ImportResult
    settings: dict[str, dict[str, Any]]

    @property
    def models(self) -> int:
        """How many models there are."""
        return sum(map(len, self.document.models.values()))

    def counted(self, **fields: Any) -> int:
        """Return how many models have these values in these fields."""
        models = (model for listed in self.document.models.values() for model in listed.values())
        return sum(all(getattr(model, name) == value for name, value in fields.items()) for model in models)

    @property
    def without_mode(self) -> int:
        """How many models there are whose type the list does not tell."""
        return self.counted(model_type=UNKNOWN)


def data(name: str) -> Any:
    """Return what a hand-written JSON file holds."""
    return json.loads((DATA / f"{name}.json").read_text("utf-8"))


def digest() -> str:
    """Return the SHA-256 of all data files: what tells one edition of the demo from another."""
    total = hashlib.sha256()
    for path in sorted((*DATA.glob("*.json"), *DATA.glob("*.yaml"))):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def build(today: date) -> Catalogue:
    """Return the catalogue; ``today`` decides which models are deprecated already.

    Raises:
        InvalidInput: the price list cannot be read.
        DocumentInvalid: the hand-written document breaks a rule.
    """
    prices = LiteLLM(today).read(PRICE_LIST)
    document = catalog.import_models(catalog.load(DATA / "catalogue.yaml"), prices, LiteLLM.name)
    tiers = {key: _with_models(tier, MODEL_GRANTS.get(key), document) for key, tier in document.tiers.items()}
    return Catalogue(document.model_copy(update={"tiers": tiers}), prices, data("settings"))


def public_settings(settings: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an integration's settings without the secrets (``"writeOnly": true``)."""
    properties = schema["properties"]
    return {name: value for name, value in settings.items() if not properties[name].get("writeOnly")}


def _with_models(tier: TierEntry, grant: tuple[int, int | None] | None, document: CatalogDocument) -> TierEntry:
    if grant is None:
        return tier
    at_least, rate = grant
    value = {"enabled": True, "unlimited": True} if rate is None else {"enabled": True, "value": rate}
    sizes = Counter(model.feature_key for listed in document.models.values() for model in listed.values())
    granted = {key: value for key, size in sorted(sizes.items()) if size >= at_least}
    return tier.model_copy(update={"features": {**tier.features, **granted}})
