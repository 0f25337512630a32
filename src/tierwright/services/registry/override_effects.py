"""What an override does to a tenant's other features, at every moment of its window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from tierwright.errors import ConflictRefused
from tierwright.resolution.decision import Decision, Reason
from tierwright.resolution.facts import License, Override
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.reading import TenantFacts, read_everything
from tierwright.services.registry import catalogue
from tierwright.services.registry.rules import named
from tierwright.types import utc_now

Decisions = Mapping[str, Decision]


@dataclass(frozen=True, slots=True)
class Effects:
    """What a write of overrides would do to one tenant.

    Attributes:
        tenant_id: the tenant.
        written: the overrides, the one that was asked for first.
        pairs: the decisions before and after it, at each moment, as they are; of features that it can change.
        conflicts: the features that would exclude each other, were none switched off, each with its partners.
    """

    tenant_id: str
    written: Sequence[Override]
    pairs: Sequence[tuple[Decisions, Decisions]]
    conflicts: Mapping[str, tuple[str, ...]]

    def refuse_conflicts(self) -> None:
        """Refuse overrides after which features exclude each other that did not before.

        Raises:
            ConflictRefused: there are such features.
        """
        if not self.conflicts:
            return
        main = self.written[0].feature_key
        key = main if main in self.conflicts else min(self.conflicts)
        raise ConflictRefused(
            f"{key} and {named(self.conflicts[key])} exclude each other, and {self.tenant_id} would have both.",
            remedy="Name in deny= what the tenant is to lose.",
            details={"feature_key": key, "blocked_by": list(self.conflicts[key]), "tenant_id": self.tenant_id},
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what the writer should know, each sentence once."""
        own = {override.feature_key for override in self.written}
        said: dict[str, None] = {}
        for before, after in self.pairs:
            for override in self.written:
                if override.grant.enabled and (sentence := _idle(after[override.feature_key])):
                    said[sentence] = None
            said.update(dict.fromkeys(_losses(before, after, own)))
        return tuple(said)


def effects_of(connection: Connection, tenant_id: str, written: Sequence[Override]) -> Effects:
    """Return what overrides would do, at every moment at which something begins or ends within their window.

    Args:
        connection: where the tenant's rows are.
        tenant_id: in its canonical form.
        written: the overrides, all with one window; the one that was asked for first.
    """
    catalog, facts = read_everything(connection, tenant_id)
    own = {override.feature_key for override in written}
    snapshot = catalog.snapshot.around(own)
    rest = [override for override in facts.overrides if override.feature_key not in own]
    moments = _moments(facts, written[0])
    changed = replace(facts, overrides=(*rest, *written))
    pairs, awake = [_pair(snapshot, facts, changed, at) for at in moments], _awake(snapshot)
    awake_pairs = pairs if awake is snapshot else [_pair(awake, facts, changed, at) for at in moments]
    return Effects(tenant_id, written, pairs, _conflicts(awake_pairs, own))


def removal_warnings(connection: Connection, tenant_id: str, feature_key: str, now: datetime) -> tuple[str, ...]:
    """Return what the tenant loses through conflicts and prerequisites when an override ends."""
    catalog, facts = read_everything(connection, tenant_id)
    removed = next((override for override in facts.overrides if override.feature_key == feature_key), None)
    if removed is None:
        return ()
    rest = tuple(override for override in facts.overrides if override.feature_key != feature_key)
    moments = _moments(facts, removed._replace(starts_at=max(now, removed.starts_at or now)))
    snapshot = catalog.snapshot.around({feature_key})
    pairs = [_pair(snapshot, facts, replace(facts, overrides=rest), at) for at in moments]
    return tuple(dict.fromkeys(sentence for pair in pairs for sentence in _losses(*pair, own=set())))


def _moments(facts: TenantFacts, override: Override) -> list[datetime]:
    """Return when the tenant's decisions may change within an override's window, from now on."""
    now = utc_now()
    start = now if override.starts_at is None else max(now, override.starts_at)
    end = override.expires_at
    if end is not None and end <= start:
        return []
    windows: list[License | Override] = [*facts.licenses, *facts.overrides]
    edges = (moment for each in windows for moment in (each.starts_at, each.expires_at))
    within = {moment for moment in edges if moment is not None and start < moment and (end is None or moment < end)}
    return [start, *sorted(within)]


def _pair(
    snapshot: CatalogSnapshot, before: TenantFacts, after: TenantFacts, at: datetime
) -> tuple[Decisions, Decisions]:
    old, new = (snapshot.resolve(facts.licenses, facts.overrides, at).all() for facts in (before, after))
    return old, new


def _awake(snapshot: CatalogSnapshot) -> CatalogSnapshot:
    """Return the snapshot as if no feature were switched off: a conflict must not come back with the switch."""
    if all(feature.is_active for feature in snapshot.features.values()):
        return snapshot
    return CatalogSnapshot(map(catalogue.awake, snapshot.features.values()), snapshot.tiers.values())


def _conflicts(pairs: Iterable[tuple[Decisions, Decisions]], own: set[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for before, after in pairs:
        for key, decision in after.items():
            is_new = key in own or before[key].reason is not Reason.CONFLICT
            if decision.reason is Reason.CONFLICT and is_new:
                found.setdefault(key, decision.blocked_by)
    return found


def _idle(decision: Decision) -> str | None:
    """Say why an override that enables its feature does not."""
    if decision.reason is Reason.DISABLED:
        return f"{decision.feature_key} is retired: the override does nothing until it is restored."
    if decision.reason is Reason.PREREQUISITE_NOT_MET:
        return f"{decision.feature_key} stays off, because it needs {named(decision.blocked_by)}."
    if decision.reason is Reason.CONFLICT:
        return f"{decision.feature_key} stays off, because it excludes {named(decision.blocked_by)}."
    return None


def _losses(before: Decisions, after: Decisions, own: set[str]) -> list[str]:
    """Say which other features the tenant loses."""
    said = []
    for key, decision in after.items():
        if key not in own and before[key].enabled and decision.reason is Reason.PREREQUISITE_NOT_MET:
            said.append(f"{key} goes off with it, because it needs {named(decision.blocked_by)}.")
        if key not in own and before[key].enabled and decision.reason is Reason.CONFLICT:
            said.append(f"{key} goes off, because it excludes {named(decision.blocked_by)}.")
    return said
