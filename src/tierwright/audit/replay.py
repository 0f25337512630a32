"""What was so at a moment, worked out from the history alone: each entry changes what the ones before it have left.

An entry also says how it was before. Where that is not what the entries before it have left, something is missing from
the history between the two, or their order is not that of the writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tierwright.audit.entries import AuditEntry
from tierwright.audit.replayed_facts import DELETED_AT, KINDS, Facts, Fields, Things, facts_of, is_readable
from tierwright.resolution.decision import Decision
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.recording.described import GONE
from tierwright.services.registry.rows import same
from tierwright.types import AuditAction, AuditEntity

#: The fields from which decisions follow; of others it does not matter what they were.
_DECIDING = {
    AuditEntity.FEATURE: {"default_value", "is_premium", "is_active", "depends_on", "conflicts_with"},
    AuditEntity.TIER: {"rank", "base", "is_default", "is_active", "deleted_at"},
    AuditEntity.TIER_FEATURE: {"feature_value"},
    AuditEntity.TENANT_LICENSE: {"tier_key", "starts_at", "expires_at", "is_active"},
    AuditEntity.TENANT_OVERRIDE: {"feature_value", "starts_at", "expires_at"},
}
#: The fields that are the last part of an entity's key, and the part before it.
_LAST = {
    AuditEntity.FEATURE: "feature_key",
    AuditEntity.TIER: "tier_key",
    AuditEntity.TIER_FEATURE: "feature_key",
    AuditEntity.TENANT_LICENSE: "license_key",
    AuditEntity.TENANT_OVERRIDE: "feature_key",
}
_FIRST = {AuditEntity.TIER_FEATURE: "tier_key"}
_TENANTS = (AuditEntity.TENANT_LICENSE, AuditEntity.TENANT_OVERRIDE)


@dataclass
class Replay:
    """What the entries that were played so far have left.

    Attributes:
        things: by kind and natural key, the fields of what is there; a deleted tier has a key that no other one has.
        gaps: what the entries are about, but do not begin with: its first entry is missing.
        contradictions: entries since :meth:`doubt` that say it was otherwise before than what was left then.
    """

    things: Things = field(default_factory=lambda: {kind: {} for kind in KINDS})
    gaps: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    #: What was told of since: kind, key and field. Before that, what an entry tells was known again from there on.
    _told: set[tuple[str, str, str]] | None = None

    def play(self, entries: Iterable[AuditEntry]) -> None:
        """Go on with more entries.

        Args:
            entries: of the catalogue and of one tenant, the oldest first.
        """
        for entry in entries:
            self._play(entry)

    def doubt(self) -> None:
        """From here on, see whether entries agree with what was left up to here."""
        self._told = set()

    def decide(self, at: datetime) -> Mapping[str, Decision]:
        """Return the decisions by feature key, as they follow from what is there."""
        facts = self.facts()
        return CatalogSnapshot(facts.features, facts.tiers).resolve(facts.licenses, facts.overrides, at).all()

    def facts(self) -> Facts:
        """Return what is there as a resolution takes it."""
        return facts_of(self.things)

    def _play(self, entry: AuditEntry) -> None:
        if entry.entity_type == AuditEntity.TENANT and entry.action == AuditAction.PURGED:
            self._purge(entry)
        if entry.entity_type not in KINDS:
            return
        kind = AuditEntity(entry.entity_type)
        old, new = (self._readable(entry, value) for value in (entry.old_value, entry.new_value))
        new = self._with_tiers(entry, new)
        if kind is AuditEntity.TIER and entry.action == AuditAction.RESTORED:
            self._restore(entry, old, new)
        elif entry.action == AuditAction.DELETED:
            self._delete(kind, entry, old)
        elif entry.action in (AuditAction.CREATED, AuditAction.IMPORTED):
            self._create(kind, entry, new)  # without an old value alone, only contents were changed
        else:
            self._change(kind, entry, old, new)
        # The key of a tier may be that of another one by then, so what is said of it is doubted each time.
        if self._told is not None and kind not in (AuditEntity.TIER, AuditEntity.TIER_FEATURE):
            self._told.update((entry.entity_type, entry.entity_id, name) for name in ("", *old, *new))

    def _purge(self, entry: AuditEntry) -> None:
        counts = self._readable(entry, entry.new_value)
        for kind, table in zip(_TENANTS, ("tenant_license", "tenant_feature_override"), strict=True):
            if counts.get(table, len(self.things[kind])) != len(self.things[kind]):
                self._contradict(entry, f"it took {counts[table]} rows of {table}")
            self.things[kind].clear()

    def _create(self, kind: AuditEntity, entry: AuditEntry, new: Fields) -> None:
        name = self._meant(kind, entry)
        if name in self.things[kind]:
            self._contradict(entry, "it was not there")
        self.things[kind][name] = new

    def _delete(self, kind: AuditEntity, entry: AuditEntry, old: Fields) -> None:
        name = self._meant(kind, entry, old)
        fields = self.things[kind].pop(name, None)
        grants = self.things[AuditEntity.TIER_FEATURE]
        if fields is not None:
            self._compare(kind, entry, fields, old)
        elif kind is not AuditEntity.TIER_FEATURE or name.rpartition("/")[0] in self.things[AuditEntity.TIER]:
            self._contradict(entry, "it was there")  # a grant may be told of after its tier, which took it along
        if kind is AuditEntity.TIER:  # what it grants goes with it
            for key in [key for key in grants if key.rpartition("/")[0] == name]:
                del grants[key]

    def _restore(self, entry: AuditEntry, old: Fields, new: Fields) -> None:
        """Bring a deleted tier back; one that is called otherwise is told of twice."""
        tiers, wanted = self.things[AuditEntity.TIER], new.get("tier_key", entry.entity_id)
        deleted = deleted_name(old.get("tier_key", entry.entity_id), old.get("deleted_at"))
        if deleted in tiers:
            self._compare(AuditEntity.TIER, entry, tiers[deleted], old)
            if wanted in tiers:
                self._contradict(entry, f"there was no {wanted}")
            self._rename(deleted, wanted)
        elif wanted not in tiers or wanted == old.get("tier_key", wanted):
            self._begin(AuditEntity.TIER, entry, wanted)
        tiers[wanted].update(new)

    def _change(self, kind: AuditEntity, entry: AuditEntry, old: Fields, new: Fields) -> None:
        there, name = self.things[kind], self._meant(kind, entry, old)
        after, is_told = _renamed(kind, name, old, new)
        if is_told and name in there:
            return  # what is called otherwise has an entry under each name, the old one first
        if name in there:
            self._compare(kind, entry, there[name], old)
        else:
            self._begin(kind, entry, name)
        there[name] = {**there[name], **new}
        if kind is AuditEntity.TIER and entry.action == AuditAction.ARCHIVED:
            after = deleted_name(after, new.get("deleted_at"))
        if after == name:
            return
        if after in there:
            self._contradict(entry, f"there was no {shown(after)}")
        if kind is AuditEntity.TIER:
            self._rename(name, after)
        else:
            there[after] = there.pop(name)

    def _rename(self, old: str, new: str) -> None:
        """Give a tier another name wherever it is named: the key of a deleted one is free for its successor."""
        tiers, grants = self.things[AuditEntity.TIER], self.things[AuditEntity.TIER_FEATURE]
        tiers[new] = tiers.pop(old)
        for pair in [pair for pair in grants if pair.rpartition("/")[0] == old]:
            grants[f"{new}/{pair.rpartition('/')[2]}"] = grants.pop(pair)
        for things, name in ((tiers, "base"), (self.things[AuditEntity.TENANT_LICENSE], "tier_key")):
            for fields in things.values():
                if fields.get(name) == old:
                    fields[name] = new

    def _meant(self, kind: AuditEntity, entry: AuditEntry, old: Fields | None = None) -> str:
        """Return what the thing is called here."""
        if kind is AuditEntity.TIER_FEATURE:
            tier, _, feature = entry.entity_id.rpartition("/")
            return f"{self._tier(entry, tier)}/{feature}"
        if kind is not AuditEntity.TIER or old is None:
            return entry.entity_id
        # The key may be that of a deleted tier, and of its successor.
        tiers = self.things[kind]
        names = [name for name in tiers if shown(name) == entry.entity_id]
        names.sort(key=lambda name: (bool(self._differing(kind, tiers[name], old)), name))
        return names[0] if names else entry.entity_id

    def _tier(self, entry: AuditEntry, key: Any) -> Any:
        """Return what a tier that an entry refers to is called here."""
        if not isinstance(key, str) or not key.endswith(GONE):
            return key
        plain = key.removesuffix(GONE)
        names = [name for name in self.things[AuditEntity.TIER] if name.startswith(plain + DELETED_AT)]
        if len(names) != 1 and (names or entry.action != AuditAction.DELETED):  # else it is gone, and its grants follow
            self.gaps.append(f"{entry.entity_type} {entry.entity_id}: which deleted tier {plain} is meant is not told")
        return names[0] if names else key

    def _with_tiers(self, entry: AuditEntry, new: Fields) -> Fields:
        return {
            name: self._tier(entry, value) if name in ("base", "tier_key") else value for name, value in new.items()
        }

    def _readable(self, entry: AuditEntry, value: Any) -> Fields:
        """Return what an entry says, without what no write of ours says: anybody who may add entries can add such."""
        if value is None:
            return {}
        fields = value if isinstance(value, dict) else {}
        unreadable = [name for name in fields if not is_readable(name, fields[name])]
        if unreadable or not isinstance(value, dict):
            moment, what = entry.performed_at.isoformat(), ", ".join(unreadable) or "what was changed"
            self.gaps.append(f"{entry.entity_type} {entry.entity_id}: {what} in the entry of {moment} cannot be read")
        return {name: each for name, each in fields.items() if name not in unreadable}

    def _begin(self, kind: AuditEntity, entry: AuditEntry, name: str) -> None:
        self.gaps.append(f"{kind} {entry.entity_id}: the entry that it was created is missing")
        self.things[kind][name] = {}

    def _compare(self, kind: AuditEntity, entry: AuditEntry, fields: Fields, old: Fields) -> None:
        for name in self._differing(kind, fields, old):
            self._contradict(entry, f"{name} had another value", name)

    def _differing(self, kind: AuditEntity, fields: Fields, old: Fields) -> list[str]:
        known = [name for name in old if name in fields and name in _DECIDING[kind]]
        return [name for name in known if not same(shown(fields[name]), shown(old[name]))]

    def _contradict(self, entry: AuditEntry, said: str, name: str = "") -> None:
        if self._told is not None and (entry.entity_type, entry.entity_id, name) not in self._told:
            moment = entry.performed_at.isoformat()
            self.contradictions.append(f"{entry.entity_type} {entry.entity_id}: before the entry of {moment}, {said}")


def deleted_name(tier_key: str, deleted_at: Any) -> str:
    """Return what a deleted tier is called here, which no other one is."""
    return f"{tier_key}{DELETED_AT}{deleted_at}"


def shown(name: Any) -> Any:
    """Return what people call a tier that is called so here; any other value as it is."""
    return name.partition(DELETED_AT)[0].removesuffix(GONE) if isinstance(name, str) else name


def _renamed(kind: AuditEntity, name: str, old: Fields, new: Fields) -> tuple[str, bool]:
    """Return what a thing is called after a change, and whether the entry is the one under that name."""
    first, slash, last = name.rpartition("/")
    parts, is_told = [first, last], False
    for place, part in ((0, _FIRST.get(kind)), (1, _LAST[kind])):
        if part in old and part in new:
            is_told = is_told or shown(parts[place]) == shown(new[part])
            suffix = name.partition(DELETED_AT)[1:] if kind is AuditEntity.TIER else ()  # a deleted one stays so
            parts[place] = new[part] + "".join(suffix)
    return (name if is_told else slash.join(parts)), is_told
