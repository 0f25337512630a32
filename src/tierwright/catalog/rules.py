"""What must hold in the catalogue as it will be: the rules of the single writes, about the whole at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.catalog.differences import Change
from tierwright.catalog.document import CatalogDocument
from tierwright.config_schema import check_config_schema
from tierwright.errors import AlreadyExists, ReferenceUnknown
from tierwright.resolution.graph import find_cycle
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.resolution.values import check_document, check_schema
from tierwright.services import near_keys
from tierwright.services.input_errors import typed_input
from tierwright.services.registry.catalogue import Catalogue
from tierwright.services.registry.held_values import refuse_held, unfit
from tierwright.services.registry.rules import cycle_through, refuse_cycle, refuse_new_breaks
from tierwright.services.statements import GRANTS, OVERRIDES, TIERS
from tierwright.tables import FeatureInput, check_value_document
from tierwright.types import AuditEntity, utc_now

_MOST_NAMED = 5


def check_document_alone(old: CatalogDocument, wanted: CatalogDocument, changes: Iterable[Change]) -> None:
    """Refuse a document that contradicts itself; runs no SQL.

    What was wrong in the database before, because it was written past the services, does not stand in the way.

    Args:
        old: the catalogue as it is.
        wanted: the document.
        changes: all that it would change.

    Raises:
        InvalidInput: a value does not fit its feature's type or schema.
        ReferenceUnknown: something refers to what is not in the document.
        CycleRefused: prerequisites or base tiers run in a circle.
        AlreadyExists: two tiers are the default.
        DependencyMissing: there is a schema to check, and the package jsonschema is not installed.
    """
    if defaults := sorted(key for key, tier in wanted.tiers.items() if tier.is_default)[1:]:
        raise AlreadyExists(
            f"The tier {defaults[0]} is the default, and another one is too.",
            remedy="Only one tier can be the default.",
            details={"tier_key": defaults[0]},
        )
    changed = [change for change in changes if change.kind != "delete"]
    features = {change.key for change in changed if change.entity is AuditEntity.FEATURE}
    _refuse_unknown(old, wanted)
    _refuse_circles(old, wanted, features)
    for key in sorted(features & wanted.features.keys()):
        _check_feature(feature_input(key, wanted))
    _check_grants(wanted, changed)
    for change in changed:
        if change.entity is AuditEntity.INTEGRATION and change.new and change.new.get("config_schema"):
            check_config_schema(change.new["config_schema"], f"config_schema of {change.key}")


def check_tiers(wanted: CatalogDocument, before: CatalogSnapshot, after: CatalogSnapshot, keys: frozenset[str]) -> None:
    """Refuse a document in which a tier newly grants what it cannot keep.

    Tiers and features that left the document are not its business any more; what their holders lose, the effect says.

    Args:
        wanted: the document.
        before: the compiled catalogue as it is.
        after: the compiled catalogue as it would be.
        keys: all features whose decisions can differ, in whole groups.

    Raises:
        PrerequisiteBroken: a tier would grant a feature without its prerequisites.
        ConflictRefused: a tier would grant features that exclude each other.
    """
    linked = {key for key in keys if key in before.graph.groups or key in after.graph.groups}
    if linked:
        features = {key: feature for key, feature in after.features.items() if key in wanted.features}
        tiers = {tier.id: tier for tier in after.tiers.values() if tier.key in wanted.tiers and not tier.is_deleted}
        refuse_new_breaks(Catalogue(before.features, before.tiers), Catalogue(features, tiers), linked)


def check_held(
    connection: Connection, wanted: CatalogDocument, target: CatalogDocument, changes: Iterable[Change]
) -> None:
    """Refuse a new type or schema of a feature that does not allow what tenants, or retired or deleted tiers, hold.

    Args:
        connection: where the tenants are.
        wanted: the document.
        target: the catalogue as it would be.
        changes: all that it would change.

    Raises:
        StillInUse: somebody holds such a value.
    """
    for change in changes:
        if change.entity is not AuditEntity.FEATURE or change.kind == "create" or not change.new:
            continue
        if change.key not in wanted.features or not change.new.keys() & {"feature_type", "value_schema"}:
            continue
        feature = feature_input(change.key, wanted)
        # What the document's own tiers say was checked already.
        kept = (
            (tier_key, tier.features[change.key])
            for tier_key, tier in target.tiers.items()
            if tier_key not in wanted.tiers and change.key in tier.features
        )
        held = (*kept, *connection.execute(_deleted_tiers_on(change.key)))
        refuse_held(change.key, unfit(feature, held), unfit(feature, connection.execute(_overrides_of(change.key))))


def feature_input(key: str, document: CatalogDocument) -> FeatureInput:
    """Return a feature of a document as the registry takes it.

    Raises:
        InvalidInput: it refers to itself, or its default does not fit its type.
    """
    with typed_input(f"feature {key}"):
        return FeatureInput(feature_key=key, **document.features[key].__dict__)


def _overrides_of(feature_key: str) -> sa.Select[tuple[str, Any]]:
    ends = OVERRIDES.c.expires_at
    statement = sa.select(OVERRIDES.c.tenant_id, OVERRIDES.c.feature_value)
    return statement.where(OVERRIDES.c.feature_key == feature_key, sa.or_(ends.is_(None), ends > utc_now()))


def _deleted_tiers_on(feature_key: str) -> sa.Select[tuple[str, Any]]:
    statement = sa.select(TIERS.c.tier_key, GRANTS.c.feature_value).join(GRANTS, GRANTS.c.license_tier_id == TIERS.c.id)
    return statement.where(GRANTS.c.feature_key == feature_key, TIERS.c.deleted_at.is_not(None))


def _check_feature(feature: FeatureInput) -> None:
    if feature.value_schema is not None:
        check_schema(feature.value_schema, f"value_schema of {feature.feature_key}")
        check_document(feature.default_value, feature.value_schema, f"default_value of {feature.feature_key}")


def _check_grants(wanted: CatalogDocument, changed: Iterable[Change]) -> None:
    """Refuse values of tiers that do not fit their features, where either is changed."""
    retyped = {
        change.key
        for change in changed
        if change.entity is AuditEntity.FEATURE
        and change.kind != "create"
        and change.new
        and change.new.keys() & {"feature_type", "value_schema"}
    }
    pairs = {change.key for change in changed if change.entity is AuditEntity.TIER_FEATURE}
    fitting: set[tuple[str, str]] = set()  # the same few documents recur in many tiers
    for tier_key, tier in sorted(wanted.tiers.items()):
        for key, document in sorted(tier.features.items()):
            if key in retyped or f"{tier_key}/{key}" in pairs:
                feature = wanted.features[key]
                known = (repr(document), feature.feature_type)
                if known in fitting and feature.value_schema is None:
                    continue
                with typed_input(f"value of {key} in the tier {tier_key}"):
                    check_value_document(document, feature.feature_type)
                check_document(document, feature.value_schema, f"value of {key} in the tier {tier_key}")
                fitting.add(known)


def _refuse_unknown(old: CatalogDocument, wanted: CatalogDocument) -> None:
    """Refuse references to features and tiers that are not in the document."""
    before = {(what, place): keys for what, place, keys in _references(old)}
    for what, place, keys in _references(wanted):
        known, existed = (
            (wanted.features, old.features) if what == "feature" else (wanted.tiers, old.tiers)  # two types
        )
        missing = [key for key in keys if key not in known]
        # What referred to nothing before, and still does, is not this document's fault.
        dangling = {key for key in before.get((what, place), ()) if key not in existed} if missing else set()
        if unknown := sorted(set(missing) - dangling):
            named = ", ".join(unknown[:_MOST_NAMED]) + (" and others" if len(unknown) > _MOST_NAMED else "")
            remedy = "Add it to the document, or correct the key."
            raise ReferenceUnknown(
                f"The {place} refers to the {what} {named}, which the document does not have.",
                remedy=near_keys.asked_of(wanted.features, remedy, unknown) if what == "feature" else remedy,
                details={"unknown": unknown, "place": place},
            )


def _references(document: CatalogDocument) -> Iterator[tuple[str, str, Iterable[str]]]:
    """Yield what every thing refers to: the kind of it, the thing, and the keys."""
    for key, feature in document.features.items():
        if feature.depends_on or feature.conflicts_with:
            yield "feature", f"feature {key}", (*feature.depends_on, *feature.conflicts_with)
    for key, tier in document.tiers.items():
        yield "feature", f"tier {key}", tier.features
        if tier.base is not None:
            yield "tier", f"tier {key}", (tier.base,)
    for provider, models in document.models.items():
        for model_id, model in models.items():
            yield "feature", f"model {provider}/{model_id}", (model.feature_key,)
    for key, component in document.components.items():
        own = () if component.feature_key is None else (component.feature_key,)
        yield "feature", f"component {key}", (*own, *component.required_features)
    for key, integration in document.integrations.items():
        yield "feature", f"integration {key}", (integration.feature_key, *integration.required_features)


def _refuse_circles(old: CatalogDocument, wanted: CatalogDocument, features: Iterable[str]) -> None:
    needed = {key: entry.depends_on for key, entry in wanted.features.items() if entry.depends_on}
    if find_cycle(needed):
        was = {key: set(entry.depends_on) for key, entry in old.features.items()}
        _refuse_new_circle("Prerequisites", needed, was, features)
    bases = {key: [tier.base] for key, tier in wanted.tiers.items() if tier.base is not None}
    if find_cycle(bases):
        had = {key: {tier.base} for key, tier in old.tiers.items() if tier.base is not None}
        _refuse_new_circle("Base tiers", bases, had, bases)


def _refuse_new_circle(
    what: str, edges: Mapping[str, list[str]], old: Mapping[str, set[str]], changed: Iterable[str]
) -> None:
    """Refuse a circle that runs through a link which is new."""
    for key in sorted(changed):
        if set(edges.get(key, ())) - old.get(key, set()):
            refuse_cycle(what, cycle_through(key, edges))
