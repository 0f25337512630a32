"""From a document and a database to what would change: the same work for a plan and, under the lock, for its apply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from tierwright.catalog.comparison import Comparison
from tierwright.catalog.differences import Change, differences
from tierwright.catalog.document import CatalogDocument, IntegrationEntry
from tierwright.catalog.effect import Effect, Needs, effect_of, no_effect
from tierwright.catalog.facts import changed_facts
from tierwright.catalog.references import referring
from tierwright.catalog.rules import check_document_alone, check_held, check_tiers
from tierwright.catalog.target import Leftovers, Target, pruning, retiring
from tierwright.catalog.warnings import warnings_of
from tierwright.services.reading import read_catalog
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.types import AuditEntity

#: What decisions depend on.
_DECIDING = {AuditEntity.FEATURE, AuditEntity.TIER, AuditEntity.TIER_FEATURE}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a document would change.

    Attributes:
        old: the catalogue as it is.
        target: the catalogue as it would be.
        changes: what leads from one to the other.
        comparison: what decisions that can change; None where none can.
        effect: on the tenants.
        warnings: what the writer should know, each a sentence.
    """

    old: CatalogDocument
    target: Target
    changes: tuple[Change, ...]
    comparison: Comparison | None
    effect: Effect
    warnings: tuple[str, ...]


def prepare(
    connection: Connection, old: CatalogDocument, wanted: CatalogDocument, *, prune: bool, at: datetime, sample: int
) -> Prepared:
    """Return what a document would change, checked by all rules.

    Args:
        connection: the database.
        old: its catalogue.
        wanted: the document.
        prune: whether what left the document is deleted, where nothing refers to it.
        at: the moment of the effect.
        sample: how many of everything are named.

    Raises:
        WriteRefused, InvalidInput, DependencyMissing, PrivilegeMissing: as :func:`tierwright.catalog.plan.plan` says.
    """
    require_all_tenants(connection)
    target = pruning(old, wanted, referring(connection, Leftovers.of(old, wanted))) if prune else retiring(old, wanted)
    changes = tuple(map(_told, differences(old, target.document)))
    if not changes:
        return Prepared(old, target, (), None, no_effect(at), warnings_of(connection, old, target, (), no_effect(at)))
    check_document_alone(old, wanted, changes)
    check_held(connection, wanted, target.document, changes)
    comparison, effect = None, no_effect(at)
    needs = _changed_needs(old, target.document, changes)
    if needs or any(change.entity in _DECIDING for change in changes):
        before = read_catalog(connection).snapshot
        after = changed_facts(before, target.document, changes)
        comparison = Comparison(before, after, {*_said(changes), *_keys(needs)})
        check_tiers(wanted, before, after, comparison.keys)
        needs = {**_needs_of(old, target.document, comparison.keys), **needs}
        if not _keys(needs) <= comparison.keys:
            comparison = Comparison(before, after, {*comparison.keys, *_keys(needs)})
        effect = effect_of(connection, comparison, needs.values(), at, sample)
    warnings = warnings_of(connection, old, target, changes, effect)
    return Prepared(old, target, changes, comparison, effect, warnings)


def _told(change: Change) -> Change:
    """Return a change by its name: to become inactive is to be retired, also among other changes."""
    if change.kind != "change" or change.new is None or "is_active" not in change.new:
        return change
    return replace(change, kind="restore" if change.new["is_active"] else "retire")


def _said(changes: Iterable[Change]) -> set[str]:
    """Return the features that changes name; to Python a value of 1 is one of True, and would not differ."""
    keys = {change.key for change in changes if change.entity is AuditEntity.FEATURE}
    return keys | {change.key.partition("/")[2] for change in changes if change.entity is AuditEntity.TIER_FEATURE}


def _changed_needs(old: CatalogDocument, new: CatalogDocument, changes: Iterable[Change]) -> dict[str, Needs]:
    """Return the integrations that would need other features."""
    keys = {change.key for change in changes if change.entity is AuditEntity.INTEGRATION}
    found = (_needs(key, old, new) for key in sorted(keys))
    return {each.integration_key: each for each in found if each is not None and each.before != each.after}


def _needs_of(old: CatalogDocument, new: CatalogDocument, keys: frozenset[str]) -> dict[str, Needs]:
    """Return the integrations that need some of ``keys``."""
    found = (_needs(key, old, new) for key in sorted(old.integrations))
    return {each.integration_key: each for each in found if each is not None and not keys.isdisjoint(each.after)}


def _needs(key: str, old: CatalogDocument, new: CatalogDocument) -> Needs | None:
    before, after = old.integrations.get(key), new.integrations.get(key)
    if before is None or after is None or not (before.is_active and after.is_active):
        return None
    return Needs(key, _features(before), _features(after))


def _features(entry: IntegrationEntry) -> tuple[str, ...]:
    return tuple(sorted({entry.feature_key, *entry.required_features}))


def _keys(needs: dict[str, Needs]) -> set[str]:
    return {key for each in needs.values() for key in (*each.before, *each.after)}
