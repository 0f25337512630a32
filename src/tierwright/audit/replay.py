"""What was so at a moment, worked out from the history alone: each entry changes what the ones before it have left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tierwright.audit.entries import AuditEntry
from tierwright.resolution.decision import Decision
from tierwright.resolution.facts import Feature, Grant, License, Override, Tier
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.types import AuditAction, AuditEntity

Fields = dict[str, Any]

_KINDS = (
    AuditEntity.FEATURE,
    AuditEntity.TIER,
    AuditEntity.TIER_FEATURE,
    AuditEntity.TENANT_LICENSE,
    AuditEntity.TENANT_OVERRIDE,
)
#: The field that holds the last part of an entity's key, where a change of it gives the entity another one.
#: Stands in no key.
_DELETED_AT = " deleted "
_KEY_FIELDS = {AuditEntity.FEATURE: "feature_key", AuditEntity.TIER: "tier_key"}
#: Decisions do not follow from anything else.
CATALOGUE = (AuditEntity.FEATURE, AuditEntity.TIER, AuditEntity.TIER_FEATURE)


class Facts(NamedTuple):
    """What decisions follow from; tiers have their keys in the place of ids."""

    features: list[Feature]
    tiers: list[Tier]
    licenses: list[License]
    overrides: list[Override]


@dataclass
class Replay:
    """What the entries that were played so far have left.

    Attributes:
        things: by kind and natural key, the fields of what is there.
        gaps: what the entries are about, but do not begin with: its first entry is missing.
    """

    things: dict[AuditEntity, dict[str, Fields]] = field(default_factory=lambda: {kind: {} for kind in _KINDS})
    gaps: list[str] = field(default_factory=list)

    def play(self, entries: Iterable[AuditEntry]) -> None:
        """Go on with more entries.

        Args:
            entries: of the catalogue and of one tenant, the oldest first.
        """
        for entry in entries:
            self._play(entry)

    def decide(self, at: datetime) -> Mapping[str, Decision]:
        """Return the decisions by feature key, as they follow from what is there."""
        facts = self.facts()
        return CatalogSnapshot(facts.features, facts.tiers).resolve(facts.licenses, facts.overrides, at).all()

    def facts(self) -> Facts:
        """Return what is there as a resolution takes it."""
        return Facts(self._features(), self._tiers(), self._licenses(), self._overrides())

    def _play(self, entry: AuditEntry) -> None:
        if entry.entity_type == AuditEntity.TENANT and entry.action == AuditAction.PURGED:
            self.things[AuditEntity.TENANT_LICENSE].clear()
            self.things[AuditEntity.TENANT_OVERRIDE].clear()
            return
        if entry.entity_type not in _KINDS:
            return
        kind = AuditEntity(entry.entity_type)
        there = self.things[kind]
        if kind is AuditEntity.TIER and entry.action == AuditAction.RESTORED:
            self._restore(entry.entity_id, entry.old_value or {}, entry.new_value or {})
        elif entry.action == AuditAction.DELETED:
            there.pop(entry.entity_id, None)
            if kind is AuditEntity.TIER:  # what it grants goes with it
                grants = self.things[AuditEntity.TIER_FEATURE]
                for key in [key for key in grants if key.rpartition("/")[0] == entry.entity_id]:
                    del grants[key]
        elif entry.old_value is None:
            there[entry.entity_id] = dict(entry.new_value or {})
        else:
            self._change(kind, entry)
        if kind is AuditEntity.TIER and entry.action == AuditAction.ARCHIVED:
            self._rename(entry.entity_id, _deleted_key(entry.entity_id, entry.new_value))

    def _restore(self, key: str, old: Fields, new: Fields) -> None:
        """Bring a deleted tier back; one that is called otherwise is told of twice."""
        deleted, wanted = _deleted_key(old.get("tier_key", key), old), new.get("tier_key", key)
        self._rename(deleted, wanted)
        if wanted in self.things[AuditEntity.TIER]:
            self.things[AuditEntity.TIER][wanted].update(new)

    def _rename(self, old: str, new: str) -> None:
        """Give a tier another name wherever it is named: the key of a deleted one is free for its successor."""
        tiers, grants = self.things[AuditEntity.TIER], self.things[AuditEntity.TIER_FEATURE]
        if old not in tiers:
            return
        tiers[new] = tiers.pop(old)
        for pair in [pair for pair in grants if pair.rpartition("/")[0] == old]:
            grants[f"{new}/{pair.rpartition('/')[2]}"] = grants.pop(pair)
        for things, name in ((tiers, "base"), (self.things[AuditEntity.TENANT_LICENSE], "tier_key")):
            for fields in things.values():
                if fields.get(name) == old:
                    fields[name] = new

    def _change(self, kind: AuditEntity, entry: AuditEntry) -> None:
        there, new = self.things[kind], entry.new_value or {}
        key = new.get(_KEY_FIELDS.get(kind, ""), entry.entity_id)
        if entry.entity_id not in there and key not in there:
            self.gaps.append(f"{kind} {entry.entity_id}: the entry that it was created is missing")
            there[key] = {}
        fields = there.pop(entry.entity_id) if entry.entity_id in there else there[key]
        there[key] = {**fields, **new}

    def _features(self) -> list[Feature]:
        return [
            Feature(
                key,
                Grant.from_document(fields.get("default_value")),
                fields.get("is_premium") is not False,
                fields.get("is_active") is True,
                tuple(fields.get("depends_on") or ()),
                tuple(fields.get("conflicts_with") or ()),
            )
            for key, fields in self.things[AuditEntity.FEATURE].items()
        ]

    def _tiers(self) -> list[Tier]:
        granted: dict[str, dict[str, Grant]] = {}
        for pair, fields in self.things[AuditEntity.TIER_FEATURE].items():
            tier_key, _, feature_key = pair.rpartition("/")
            granted.setdefault(tier_key, {})[feature_key] = Grant.from_document(fields.get("feature_value"))
        return [
            Tier(
                key,
                key.partition(_DELETED_AT)[0],
                granted.get(key, {}),
                fields.get("rank", 0),
                fields.get("base"),
                fields.get("is_default") is True,
                fields.get("is_active") is True,
                fields.get("deleted_at") is not None,
            )
            for key, fields in self.things[AuditEntity.TIER].items()
        ]

    def _licenses(self) -> list[License]:
        return [
            License(fields.get("tier_key"), _moment(fields, "starts_at"), _moment(fields, "expires_at"))
            for fields in self.things[AuditEntity.TENANT_LICENSE].values()
            if fields.get("is_active") is True
        ]

    def _overrides(self) -> list[Override]:
        return [
            Override(
                pair.rpartition("/")[2],
                Grant.from_document(fields.get("feature_value")),
                _moment(fields, "starts_at"),
                _moment(fields, "expires_at"),
            )
            for pair, fields in self.things[AuditEntity.TENANT_OVERRIDE].items()
        ]


def _deleted_key(tier_key: str, said: Fields | None) -> str:
    """Return what a deleted tier is called here, which no other one is."""
    return f"{tier_key}{_DELETED_AT}{(said or {}).get('deleted_at')}"


def _moment(fields: Fields, name: str) -> datetime | None:
    text = fields.get(name)
    return None if text is None else datetime.fromisoformat(text)
