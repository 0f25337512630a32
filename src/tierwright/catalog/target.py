"""The catalogue as it will be: the document, and what the database has besides, retired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tierwright.catalog.document import CatalogDocument, TierEntry
from tierwright.tables.inputs import InputSchema
from tierwright.types import AuditEntity

EntryT = TypeVar("EntryT", bound=InputSchema)
#: By kind of thing and key: what refers to it, for a sentence.
Referring = Mapping[tuple[AuditEntity, str], str]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What the database has and the document has not."""

    features: frozenset[str]
    tiers: frozenset[str]
    integrations: frozenset[str]

    @classmethod
    def of(cls, old: CatalogDocument, wanted: CatalogDocument) -> Leftovers:
        """Return what ``old`` has and ``wanted`` has not, of the things that others may refer to."""
        return cls(
            frozenset(old.features.keys() - wanted.features.keys()),
            frozenset(old.tiers.keys() - wanted.tiers.keys()),
            frozenset(old.integrations.keys() - wanted.integrations.keys()),
        )


@dataclass(frozen=True, slots=True)
class Target:
    """The catalogue as it will be.

    Attributes:
        document: all of it.
        kept: what left the document and cannot be deleted, with what refers to it; empty unless that was asked for.
    """

    document: CatalogDocument
    kept: Referring = field(default_factory=dict)


def retiring(old: CatalogDocument, wanted: CatalogDocument) -> Target:
    """Return the document with everything else retired."""
    return Target(_merged(old, wanted, old))


def pruning(old: CatalogDocument, wanted: CatalogDocument, referring: Referring) -> Target:
    """Return the document with everything else deleted, or retired where something refers to it.

    Args:
        old: the catalogue as it is.
        wanted: the document.
        referring: what the tenants refer to.
    """
    leftovers = Leftovers.of(old, wanted)
    kept = dict(referring)
    waiting = list(kept)
    while waiting:
        for needed, by in _needed(waiting.pop(), old, leftovers):
            if needed not in kept:
                kept[needed] = by
                waiting.append(needed)
    staying = CatalogDocument.model_construct(
        features={key: entry for key, entry in old.features.items() if (AuditEntity.FEATURE, key) in kept},
        tiers={key: entry for key, entry in old.tiers.items() if (AuditEntity.TIER, key) in kept},
        integrations={key: entry for key, entry in old.integrations.items() if (AuditEntity.INTEGRATION, key) in kept},
        models={},
        components={},
    )
    return Target(_merged(old, wanted, staying), kept)


def _needed(
    thing: tuple[AuditEntity, str], old: CatalogDocument, leftovers: Leftovers
) -> Iterator[tuple[tuple[AuditEntity, str], str]]:
    """Yield what a thing that stays refers to and that left the document too, with the words for it."""
    entity, key = thing
    features: Iterable[str] = ()
    if entity is AuditEntity.TIER:
        tier = old.tiers[key]
        features = tier.features
        if tier.base in leftovers.tiers:
            yield (AuditEntity.TIER, str(tier.base)), f"the tier {key}"
    elif entity is AuditEntity.FEATURE:
        features = (*old.features[key].depends_on, *old.features[key].conflicts_with)
    elif entity is AuditEntity.INTEGRATION:
        features = (old.integrations[key].feature_key, *old.integrations[key].required_features)
    for feature in features:
        if feature in leftovers.features:
            yield (AuditEntity.FEATURE, feature), f"the {entity} {key}"


def _merged(old: CatalogDocument, wanted: CatalogDocument, staying: CatalogDocument) -> CatalogDocument:
    has_default = any(tier.is_default for tier in wanted.tiers.values())
    models = {
        provider: _with_retired(found, wanted.models.get(provider, {})) for provider, found in staying.models.items()
    }
    return CatalogDocument.model_construct(
        features=_with_retired(staying.features, wanted.features),
        tiers={key: _closed(tier, has_default) for key, tier in staying.tiers.items()} | wanted.tiers,
        models={**wanted.models, **models},
        components=_with_retired(staying.components, wanted.components),
        integrations=_with_retired(staying.integrations, wanted.integrations),
    )


def _with_retired(old: Mapping[str, EntryT], wanted: Mapping[str, EntryT]) -> dict[str, EntryT]:
    retired = {key: _retired(entry) for key, entry in old.items() if key not in wanted}
    return {**retired, **wanted}


def _retired(entry: EntryT) -> EntryT:
    is_active: bool = getattr(entry, "is_active", False)
    return entry.model_copy(update={"is_active": False}) if is_active else entry


def _closed(tier: TierEntry, has_default: bool) -> TierEntry:
    # Only one tier can be the default, and the document's is.
    loses_default = tier.is_default and has_default
    tier = _retired(tier)
    return tier.model_copy(update={"is_default": False}) if loses_default else tier
