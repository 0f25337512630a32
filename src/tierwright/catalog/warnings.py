"""What the writer of a document should know before it is applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy.engine import Connection

from tierwright.catalog.differences import Change
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.effect import Effect
from tierwright.catalog.references import deleted_keys, enabled_configs, held_though_deleted
from tierwright.catalog.target import Target
from tierwright.services.registry.rules import named
from tierwright.types import AuditEntity


def warnings_of(
    connection: Connection, old: CatalogDocument, target: Target, changes: Iterable[Change], effect: Effect
) -> tuple[str, ...]:
    """Return the warnings about a change of the catalogue, each a sentence.

    Args:
        connection: where the tenants are.
        old: the catalogue as it is.
        target: the catalogue as it would be.
        changes: what leads from one to the other.
        effect: on the tenants.
    """
    changes = list(changes)
    gone = [change for change in changes if change.kind in ("retire", "delete")]
    return (
        *_kept(target),
        *_deleted_tiers(connection, changes, effect.at),
        *_locked(effect),
        *_integrations(connection, gone),
        *_resources({change.key for change in gone if change.entity is AuditEntity.FEATURE}, target.document),
        *_default(old, target.document),
    )


def _kept(target: Target) -> Iterator[str]:
    for (entity, key), by in sorted(target.kept.items()):
        yield f"The {entity} {key} is retired, not deleted, because {by} refers to it."


def _deleted_tiers(connection: Connection, changes: Iterable[Change], at: datetime) -> Iterator[str]:
    """Warn of what documents do not show: deleted tiers that are held, and keys that are used again."""
    for key, count in sorted(held_though_deleted(connection, at).items()):
        yield (
            f"{count} licence{'s are' if count != 1 else ' is'} for the deleted tier {key}: tenants keep what it gives "
            "until they are moved."
        )
    made = {change.key for change in changes if change.entity is AuditEntity.TIER and change.kind == "create"}
    for key in sorted(made & deleted_keys(connection)) if made else ():
        yield f"The tier {key} is another one than the deleted tier that had this key."


def _locked(effect: Effect) -> Iterator[str]:
    for each in effect.locked:
        who = f"{each.tenants} tenants that have enabled" if each.tenants != 1 else "1 tenant that has enabled"
        yield (
            f"{who} the integration {each.integration_key} could not use it any more, without "
            f"{named(each.missing)}: {named(each.samples)}."
        )


def _integrations(connection: Connection, gone: Iterable[Change]) -> Iterator[str]:
    keys = {change.key for change in gone if change.entity is AuditEntity.INTEGRATION}
    for key, count in sorted(enabled_configs(connection, keys).items()):
        yield f"The integration {key} goes, and {count} tenant{'s have' if count != 1 else ' has'} enabled it."


def _resources(features: set[str], document: CatalogDocument) -> Iterator[str]:
    """Warn of what stays on offer and needs a feature that is retired: nobody could use it."""
    if not features:
        return
    models = {
        f"{provider}/{model_id}": {model.feature_key}
        for provider, found in document.models.items()
        for model_id, model in found.items()
        if model.is_active
    }
    components = {
        key: {*component.required_features, *([component.feature_key] if component.feature_key else ())}
        for key, component in document.components.items()
        if component.is_active
    }
    integrations = {
        key: {integration.feature_key, *integration.required_features}
        for key, integration in document.integrations.items()
        if integration.is_active
    }
    for what, found in (("models", models), ("components", components), ("integrations", integrations)):
        stuck = [key for key, needed in found.items() if not features.isdisjoint(needed)]
        if stuck:
            yield f"These {what} stay active, and need a feature that is retired: {named(stuck)}."


def _default(old: CatalogDocument, new: CatalogDocument) -> Iterator[str]:
    had, has = (any(tier.is_default and tier.is_active for tier in document.tiers.values()) for document in (old, new))
    if had and not has:
        yield "No tier is the default any more: tenants without a valid licence have the registry's defaults only."
