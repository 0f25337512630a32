"""Two documents compared: what is created, changed and deleted between them, entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tierwright.catalog.document import CatalogDocument, plain_json
from tierwright.tables.inputs import InputSchema
from tierwright.types import AuditEntity

#: A plan says ``retire`` and ``restore`` where a thing becomes inactive or active; documents alone do not use them.
ChangeKind = Literal["create", "change", "retire", "restore", "delete"]
Fields = Mapping[str, Any]

#: The entities in the order in which changes are told, parents before children.
ENTITIES = (
    AuditEntity.FEATURE,
    AuditEntity.TIER,
    AuditEntity.TIER_FEATURE,
    AuditEntity.MODEL,
    AuditEntity.COMPONENT,
    AuditEntity.INTEGRATION,
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        kind: what happens.
        entity: what kind of thing it happens to, by the name that the audit log has for it.
        key: its natural key, as the audit log has it: ``tier/feature`` and ``provider/model`` of what has two.
        old: the fields as they were, as plain JSON; of a change, only those that differ; None of what is new.
        new: the fields as they will be, likewise; None of what is deleted.
    """

    kind: ChangeKind
    entity: AuditEntity
    key: str
    old: Fields | None
    new: Fields | None


def differences(old: CatalogDocument, new: CatalogDocument) -> tuple[Change, ...]:
    """Return what makes one document into another, by entity and then by key.

    What a tier says about a feature is an entity of its own. A tier that is deleted takes these along without a word.

    Args:
        old: the catalogue as it is.
        new: the catalogue as it will be.
    """
    return tuple(change for entity in ENTITIES for change in _changes(entity, old, new))


def entries(document: CatalogDocument, entity: AuditEntity) -> dict[str, Mapping[str, Any]]:
    """Return all things of one kind in a document by their keys, each with its fields as Python values."""
    if entity is AuditEntity.TIER_FEATURE:
        return {
            f"{tier_key}/{feature_key}": {"feature_value": value}
            for tier_key, tier in document.tiers.items()
            for feature_key, value in tier.features.items()
        }
    if entity is AuditEntity.MODEL:
        return {
            f"{provider}/{model_id}": _fields(model)
            for provider, models in document.models.items()
            for model_id, model in models.items()
        }
    if entity is AuditEntity.TIER:
        return {
            key: {name: value for name, value in _fields(tier).items() if name != "features"}
            for key, tier in document.tiers.items()
        }
    section: Mapping[str, InputSchema] = getattr(document, f"{entity}s")
    return {key: _fields(entry) for key, entry in section.items()}


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same JSON: ``1`` is not ``true``, and ``5`` is ``5.0``."""
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        # Python writes true and 1 differently too, and faster; what it writes differently may be the same JSON yet.
        return repr(one) == repr(other) or json.dumps(plain_json(one)) == json.dumps(plain_json(other))
    return bool(one == other)


def _changes(entity: AuditEntity, old: CatalogDocument, new: CatalogDocument) -> Iterator[Change]:
    before, after = entries(old, entity), entries(new, entity)
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            if entity is not AuditEntity.TIER_FEATURE or key.partition("/")[0] in new.tiers:
                yield Change("delete", entity, key, _plain(before[key]), None)
        elif key not in before:
            yield Change("create", entity, key, None, _plain(after[key]))
        elif changed := [name for name, value in after[key].items() if not same(before[key][name], value)]:
            yield Change("change", entity, key, _plain(before[key], changed), _plain(after[key], changed))


def _fields(entry: InputSchema) -> Mapping[str, Any]:
    return entry.__dict__


def _plain(fields: Mapping[str, Any], names: list[str] | None = None) -> Fields:
    return {name: plain_json(value) for name, value in fields.items() if names is None or name in names}
