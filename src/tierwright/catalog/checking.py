"""What must hold in a document as a whole: references, circles, values that fit, tiers that keep what they promise.

The rules are those of the write services; here they are asked of everything at once, and all answers are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from tierwright.catalog.document import CatalogDocument, FeatureEntry
from tierwright.catalog.positions import Flaw, Path
from tierwright.catalog.problems import printable, said, suggestion
from tierwright.config_schema import check_config_schema
from tierwright.errors import InvalidInput
from tierwright.resolution.decision import Reason
from tierwright.resolution.facts import Feature, Grant, Tier
from tierwright.resolution.graph import Graph, find_cycle
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.resolution.values import check_document, check_schema
from tierwright.tables import check_value_document

_MOST_NAMED = 5


def flaws_in(document: CatalogDocument) -> Iterator[Flaw]:
    """Yield what is wrong with a document whose every part is valid on its own.

    Raises:
        DependencyMissing: it has a JSON Schema, and the package jsonschema is not installed.
    """
    found = [*_model_keys(document), *_references(document), *_circles(document), *_values(document)]
    yield from found
    if not found:  # what a tier grants is not known before its references are
        yield from _breaks(document)


def _model_keys(document: CatalogDocument) -> Iterator[Flaw]:
    """Yield models that everything which names a model by ``provider/model_id`` would take for another one."""
    seen: dict[str, str] = {}
    for provider, models in document.models.items():
        for model_id in models:
            key = f"{provider}/{model_id}"
            if key in seen:
                problem = f"{printable(key)} is also a model of the provider {printable(seen[key])}"
                yield Flaw(("models", provider, model_id), problem)
            seen[key] = provider


def _references(document: CatalogDocument) -> Iterator[Flaw]:
    known = document.features.keys()
    for key, feature in document.features.items():
        yield from _unknown(("features", key, "depends_on"), feature.depends_on, known)
        yield from _unknown(("features", key, "conflicts_with"), feature.conflicts_with, known)
        if key in feature.conflicts_with:
            yield Flaw(("features", key, "conflicts_with"), "a feature cannot exclude itself")
    for key, tier in document.tiers.items():
        for granted in tier.features:
            yield from _unknown_key(("tiers", key, "features", granted), granted, known, at_key=True)
        if tier.base is not None and tier.base not in document.tiers:
            near = suggestion(tier.base, document.tiers)
            yield Flaw(("tiers", key, "base"), f"there is no tier {printable(tier.base)} in the document{near}")
    for provider, models in document.models.items():
        for model_id, model in models.items():
            yield from _unknown_key(("models", provider, model_id, "feature_key"), model.feature_key, known)
    for section in ("components", "integrations"):
        for key, entry in getattr(document, section).items():
            if entry.feature_key is not None:
                yield from _unknown_key((section, key, "feature_key"), entry.feature_key, known)
            yield from _unknown((section, key, "required_features"), entry.required_features, known)


def _unknown(path: Path, keys: Iterable[str], known: Iterable[str]) -> Iterator[Flaw]:
    for number, key in enumerate(keys):
        yield from _unknown_key((*path, number), key, known)


def _unknown_key(path: Path, key: str, known: Any, *, at_key: bool = False) -> Iterator[Flaw]:
    if key not in known:
        problem = f"there is no feature {printable(key)} in the document"
        yield Flaw(path, f"{problem}{suggestion(key, known)}", at_key=at_key)


def _circles(document: CatalogDocument) -> Iterator[Flaw]:
    needed = {key: sorted(feature.depends_on) for key, feature in document.features.items()}
    if cycle := find_cycle(needed):
        yield Flaw(("features", cycle[0], "depends_on"), f"prerequisites run in a circle: {_named(cycle, ' → ')}")
    bases = {key: [tier.base] for key, tier in document.tiers.items() if tier.base is not None}
    if cycle := find_cycle(bases):
        yield Flaw(("tiers", cycle[0], "base"), f"base tiers run in a circle: {_named(cycle, ' → ')}")
    defaults = [key for key, tier in document.tiers.items() if tier.is_default]
    for other in defaults[1:]:
        yield Flaw(("tiers", other, "is_default"), f"the tier {defaults[0]} is the default already")


def _values(document: CatalogDocument) -> Iterator[Flaw]:
    unusable = set()
    for key, feature in document.features.items():
        if feature.value_schema is None:
            continue
        path = ("features", key)
        flaws = list(_refused((*path, "value_schema"), partial(check_schema, feature.value_schema)))
        if flaws:
            unusable.add(key)
            yield from flaws
        else:
            fits = partial(check_document, feature.default_value, feature.value_schema, "default_value")
            yield from _refused((*path, "default_value"), fits)
    for key, tier in document.tiers.items():
        for granted, value in tier.features.items():
            if granted in document.features and granted not in unusable:
                fits = partial(_check_value, value, document.features[granted], granted)
                yield from _refused(("tiers", key, "features", granted), fits)
    for key, integration in document.integrations.items():
        usable = partial(check_config_schema, integration.config_schema)
        yield from _refused(("integrations", key, "config_schema"), usable)


def _check_value(value: dict[str, Any], feature: FeatureEntry, key: str) -> None:
    check_value_document(value, feature.feature_type)
    check_document(value, feature.value_schema, f"value of {key}")


def _refused(path: Path, check: Callable[[], Any]) -> Iterator[Flaw]:
    try:
        check()
    except InvalidInput as error:
        yield Flaw(path, printable(said(error)))


def _breaks(document: CatalogDocument) -> Iterator[Flaw]:
    """Yield what tiers grant and cannot keep, as if no feature were switched off: a kill switch is for an hour."""
    linked = Graph(
        {key: feature.depends_on for key, feature in document.features.items()},
        {key: feature.conflicts_with for key, feature in document.features.items()},
    ).groups.keys()
    if not linked:
        return
    features = [_fact(key, feature) for key, feature in document.features.items() if key in linked]
    tiers = [
        Tier(key, key, _grants(tier.features, linked), rank=tier.rank, base_id=tier.base)
        for key, tier in document.tiers.items()
    ]
    snapshot = CatalogSnapshot(features, tiers, max_tables=1)
    for key, tier in document.tiers.items():
        for granted, decision in snapshot.table((key,)).items():
            if decision.reason not in (Reason.PREREQUISITE_NOT_MET, Reason.CONFLICT):
                continue
            path: Path = ("tiers", key, "features")
            others = _named(decision.blocked_by)
            rule = "without what it needs" if decision.reason == Reason.PREREQUISITE_NOT_MET else "together with"
            exclude = "" if decision.reason == Reason.PREREQUISITE_NOT_MET else ", which exclude each other"
            at = (*path, granted) if granted in tier.features else path
            yield Flaw(at, f"the tier would grant {granted} {rule}: {others}{exclude}")


def _fact(key: str, feature: FeatureEntry) -> Feature:
    default = Grant.from_document(feature.default_value)
    return Feature(key, default, feature.is_premium, True, tuple(feature.depends_on), tuple(feature.conflicts_with))


def _grants(values: Mapping[str, dict[str, Any]], keys: Iterable[str]) -> dict[str, Grant]:
    return {key: Grant.from_document(values[key]) for key in keys if key in values}


def _named(keys: Iterable[str], joined: str = ", ") -> str:
    some = list(keys)
    rest = len(some) - _MOST_NAMED
    return printable(joined.join(some if rest <= 1 else [*some[:_MOST_NAMED], f"{rest} more"]))
