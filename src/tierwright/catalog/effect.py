"""What a change of the catalogue does to the tenants: counted, with samples, and in full as a stream.

The effect is that of one moment. Licences and overrides that begin later, or have ended, count as they do for every
decision at that moment: not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.catalog.comparison import Comparison
from tierwright.catalog.holders import Holder, holders
from tierwright.catalog.outcome import LESS, Outcome, OutcomeKind, TenantOutcome, outcome_of
from tierwright.catalog.tally import Count, Tally

_COUNTS = ("gains", "losses", "value_changes", "lowered", "less")


@dataclass(frozen=True, slots=True)
class Effect:
    """Who gains, who loses and whose value changes.

    Attributes:
        at: the moment at which licences and overrides are valid, or not.
        tenants: how many tenants were looked at: those with a licence or an override here, if anything can change.
        gains: the features that tenants get: how many decisions, and of how many tenants.
        losses: the features that tenants lose.
        value_changes: the values that change of features which stay enabled.
        lowered: those of them where a limit falls.
        less: losses and lowered limits together.
        by_feature: for each feature how many tenants notice something, by the kind of it.
        elsewhere: what changes for every tenant that has neither a licence nor an override here: the host may have
            such tenants, and nobody can count them.
        samples: a few of the decisions of each kind, by tenant.
        locked: by integration and the features that are then missing: how many tenants have it enabled, and could use
            it so far; with a few of them.
    """

    at: datetime
    tenants: int
    gains: Count
    losses: Count
    value_changes: Count
    lowered: Count
    less: Count
    by_feature: dict[str, dict[OutcomeKind, int]]
    elsewhere: tuple[Outcome, ...]
    samples: tuple[TenantOutcome, ...]
    locked: tuple[Locked, ...]

    @property
    def takes_away(self) -> bool:
        """Whether anybody would have less than before: a feature lost, or a limit that falls."""
        return self.less.decisions > 0 or any(outcome.kind in LESS for outcome in self.elsewhere)

    def to_json(self) -> dict[str, Any]:
        """Return the effect as plain JSON."""
        return {
            "at": self.at.isoformat(),
            "tenants": self.tenants,
            **{name: getattr(self, name)._asdict() for name in _COUNTS},
            "by_feature": {key: {str(kind): n for kind, n in found.items()} for key, found in self.by_feature.items()},
            "elsewhere": [outcome.to_json() for outcome in self.elsewhere],
            "samples": [each.to_json() for each in self.samples],
            "locked": [each.to_json() for each in self.locked],
        }

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> Effect:
        """Return the effect that :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        return cls(
            at=datetime.fromisoformat(shown["at"]),
            tenants=shown["tenants"],
            **{name: Count(**shown[name]) for name in _COUNTS},
            by_feature={
                key: {OutcomeKind(kind): number for kind, number in found.items()}
                for key, found in shown["by_feature"].items()
            },
            elsewhere=tuple(map(outcome_of, shown["elsewhere"])),
            samples=tuple(TenantOutcome(each["tenant_id"], outcome_of(each)) for each in shown["samples"]),
            locked=tuple(
                Locked(each["integration_key"], tuple(each["missing"]), each["tenants"], tuple(each["samples"]))
                for each in shown["locked"]
            ),
        )


@dataclass(frozen=True, slots=True)
class Locked:
    """An integration that tenants have enabled and could then not use any more."""

    integration_key: str
    missing: tuple[str, ...]
    tenants: int
    samples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "integration_key": self.integration_key,
            "missing": list(self.missing),
            "tenants": self.tenants,
            "samples": list(self.samples),
        }


@dataclass(frozen=True, slots=True)
class Needs:
    """The features that an integration needs, before and after."""

    integration_key: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def effect_of(
    connection: Connection,
    comparison: Comparison,
    needs: Iterable[Needs],
    at: datetime,
    sample: int,
    *,
    among: sa.Select[Any] | None = None,
) -> Effect:
    """Return the effect on all tenants; the memory it takes does not grow with tenants times features.

    Args:
        connection: where the tenants are.
        comparison: of the catalogue as it is with that which it would be.
        needs: the integrations whose tenants may be locked out.
        at: the moment.
        sample: how many decisions of each kind, and tenants of each locked integration, are named.
        among: selects the tenants that are looked at; all, unless given.
    """
    if not comparison.keys:
        return no_effect(at)
    by_key = {each.integration_key: each for each in needs}
    elsewhere = tuple(comparison.outcomes(()).values())
    tally = Tally(comparison, sample)
    locked: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    for holder in _holders(connection, comparison, by_key, at, among):
        if holder.is_known:
            tally.add(holder)
        for key in holder.integrations:
            missing = _newly_missing(comparison, by_key[key], holder)
            if missing:
                found = locked.setdefault((key, missing), [0, []])
                found[0] += 1
                if len(found[1]) < sample:
                    found[1].append(holder.tenant_id)
    counts, by_feature = tally.counted()
    return Effect(
        at=at,
        tenants=tally.tenants,
        **counts,
        by_feature=by_feature,
        elsewhere=elsewhere,
        samples=tally.samples(),
        locked=tuple(
            Locked(key, missing, count, tuple(named)) for (key, missing), (count, named) in sorted(locked.items())
        ),
    )


def no_effect(at: datetime) -> Effect:
    """Return the effect of a change that no tenant notices."""
    none = Count(0, 0)
    return Effect(at, 0, none, none, none, none, none, {}, (), (), ())


def outcomes_of(
    connection: Connection, comparison: Comparison, at: datetime, *, among: sa.Select[Any] | None = None
) -> Iterator[TenantOutcome]:
    """Yield every decision that changes, by tenant and feature; only a page of tenants is kept in memory.

    Args:
        connection: where the tenants are.
        comparison: as for :func:`effect_of`.
        at: the moment.
        among: as for :func:`effect_of`.
    """
    for holder in _holders(connection, comparison, {}, at, among) if comparison.keys else ():
        outcomes = comparison.outcomes(holder.tier_ids)
        if holder.overrides:
            keys, own = comparison.overridden(holder.tier_ids, holder.overrides)
            rest = {key: outcome for key, outcome in outcomes.items() if key not in keys}
            outcomes = dict(sorted((rest | dict(own)).items()))
        for outcome in outcomes.values():
            yield TenantOutcome(holder.tenant_id, outcome)


def _holders(
    connection: Connection,
    comparison: Comparison,
    needs: dict[str, Needs],
    at: datetime,
    among: sa.Select[Any] | None,
) -> Iterator[Holder]:
    all_tenants = bool(comparison.outcomes(()))
    return holders(connection, at, comparison.keys, needs.keys(), all_tenants=all_tenants, among=among)


def _newly_missing(comparison: Comparison, needs: Needs, holder: Holder) -> tuple[str, ...]:
    """Return what a tenant lacks for an integration that it could use so far; () where it can, or could not."""
    missing = comparison.lacking(needs.after, holder.tier_ids, holder.overrides)
    if not missing or comparison.lacked(needs.before, holder.tier_ids, holder.overrides):
        return ()
    return missing
