"""What it would do to tenants to be moved from one tier to another: who gains and who loses what.

To move everybody who holds a tier is as if that tier said what the other one says, and stood where that stands. So the
effect is worked out as that of a change of the catalogue; heirs of the tier, and those for whom it is the default, keep
what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tierwright.catalog.comparison import Comparison
from tierwright.catalog.effect import Effect, Needs, effect_of, outcomes_of
from tierwright.catalog.outcome import TenantOutcome
from tierwright.catalog.plan import connection_for
from tierwright.errors import InvalidInput, TierClosed
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.reading import keys_of, read_catalog
from tierwright.services.registry.live_tiers import NamedTier, find_tier
from tierwright.services.statements import LICENSES
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.types import to_utc, utc_now

_INTEGRATIONS = SQLModel.metadata.tables["integration_registry"].c


@dataclass(frozen=True, slots=True)
class Move:
    """What a move of tenants would do.

    Attributes:
        source: the tier that they hold.
        target: the tier that they would get.
        licenses: how many licences would be moved: all that have not ended, also those that begin later or are
            suspended.
        effect: who gains, who loses, whose value changes, of the tenants that hold the tier; by what is valid at the
            moment ``effect.at``.
    """

    source: NamedTier
    target: NamedTier
    licenses: int
    effect: Effect
    _comparison: Comparison = field(repr=False, compare=False)

    def iterate(self, session: Session | Connection) -> Iterator[TenantOutcome]:
        """Yield every decision that would change, by tenant and feature, reading the tenants as it goes."""
        connection = connection_for(session)
        return outcomes_of(connection, self._comparison, self.effect.at, among=_tenants(self.source, self.effect.at))

    def to_json(self) -> dict[str, Any]:
        """Return the move as plain JSON, with samples of the decisions that would change."""
        tiers = {"from": self.source, "to": self.target}
        named = {name: {"id": str(tier.id), "tier_key": tier.key} for name, tier in tiers.items()}
        named["from"]["is_deleted"] = self.source.is_deleted  # type: ignore[assignment]  # the only one that may be
        return {**named, "licenses": self.licenses, "effect": self.effect.to_json()}


def plan_move(
    session: Session | Connection,
    source: str,
    target: str,
    *,
    is_deleted: bool = False,
    tier_id: UUID | None = None,
    at: datetime | None = None,
    sample: int = 20,
) -> Move:
    """Return what it would do to move the tenants that hold one tier to another; nothing is written.

    Args:
        session: a session or connection.
        source: the key of the tier that they hold.
        target: the key of the tier that they would get.
        is_deleted: whether the deleted tier of the key ``source`` is meant.
        tier_id: which one, where several deleted tiers had the key.
        at: the moment of the effect, the present one by default.
        sample: how many decisions of each kind, and tenants of each locked integration, are named.

    Raises:
        NotFound: there is no such tier.
        TierDeleted: the source was deleted, and ``is_deleted`` does not say so; or the target was.
        TierClosed: the target is retired.
        InvalidInput: both are the same tier; or several deleted tiers had the key.
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    connection = connection_for(session)
    require_all_tenants(connection)
    moment = utc_now() if at is None else to_utc(at)
    held = find_tier(connection, source, is_deleted=is_deleted, tier_id=tier_id)
    wanted = open_tier(connection, target)
    if held.id == wanted.id:
        raise InvalidInput("Both are the same tier.", remedy="Name another tier to move to.")
    comparison, needs = _compared(connection, held, wanted)
    due = sa.select(sa.func.count()).select_from(LICENSES).where(*not_ended(held, utc_now()))
    return Move(
        held,
        wanted,
        connection.execute(due).scalar_one(),
        effect_of(connection, comparison, needs, moment, sample, among=_tenants(held, moment)),
        comparison,
    )


def open_tier(connection: Connection, tier_key: str) -> NamedTier:
    """Return the tier with a key, if it takes new tenants.

    Raises:
        NotFound, TierDeleted: there is none, or not any more.
        TierClosed: it is retired.
    """
    tier = find_tier(connection, tier_key)
    if not tier.is_active:
        raise TierClosed(
            f"The tier {tier_key} takes no new tenants.",
            remedy="Choose another tier, or restore this one.",
            details={"tier_key": tier_key},
        )
    return tier


def not_ended(tier: NamedTier, at: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions under which a licence is for a tier and counts, or can count later."""
    ends = LICENSES.c.expires_at
    return LICENSES.c.license_tier_id == tier.id, sa.or_(ends.is_(None), ends > at)


def _tenants(tier: NamedTier, at: datetime) -> sa.Select[Any]:
    return sa.select(LICENSES.c.tenant_id).where(*not_ended(tier, at))


def _compared(connection: Connection, held: NamedTier, wanted: NamedTier) -> tuple[Comparison, list[Needs]]:
    before = read_catalog(connection).snapshot
    after = _with_moved(before, _id_in(before, held), _id_in(before, wanted))
    comparison = Comparison(before, after)
    needs = [each for each in _needs(connection) if not comparison.keys.isdisjoint(each.after)]
    also = {key for each in needs for key in each.after}
    return (comparison if also <= comparison.keys else Comparison(before, after, also)), needs


def _with_moved(before: CatalogSnapshot, source_id: Any, target_id: Any) -> CatalogSnapshot:
    """Return the catalogue in which a tier is as another one, but not for its heirs, nor as the default."""
    kept = replace(before.tiers[source_id], id=f"still {source_id}")  # no id looks like this
    moved = replace(before.tiers[target_id], id=source_id, is_default=False)
    tiers = [kept, moved, *(tier for tier in before.tiers.values() if tier.id != source_id)]
    based = (replace(tier, base_id=kept.id) if tier.base_id == source_id else tier for tier in tiers)
    return CatalogSnapshot(before.features.values(), based)


def _id_in(snapshot: CatalogSnapshot, tier: NamedTier) -> Any:
    return next(tier_id for tier_id in snapshot.tiers if UUID(str(tier_id)) == tier.id)


def _needs(connection: Connection) -> Iterator[Needs]:
    required = sa.cast(_INTEGRATIONS.required_features, sa.Text())
    statement = sa.select(_INTEGRATIONS.integration_key, _INTEGRATIONS.feature_key, required)
    for key, feature_key, text in connection.execute(statement.where(_INTEGRATIONS.is_active)):
        features = tuple(sorted({feature_key, *keys_of(text)}))
        yield Needs(key, features, features)
