"""Which tenants have a feature, are on a tier, or are about to lose something.

Everything is read in pages, each beginning behind the last row of the one before, so that a million tenants need no
more memory than a few thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.errors import NotFound
from tierwright.resolution.decision import Decision
from tierwright.resolution.facts import License, Override
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services import near_keys
from tierwright.services.paging import pages
from tierwright.services.reading import grant_of, read_catalog
from tierwright.services.registry.live_tiers import find_tier
from tierwright.services.statements import LICENSES, OVERRIDES, TIERS
from tierwright.services.support import SELECT_LICENSES, HeldLicense, valid_at
from tierwright.services.tenant_scope import require_all_tenants

#: As many overrides of linked features are asked for by key; where more are linked, all are read.
_MOST_KEYS = 500


@dataclass(frozen=True, slots=True)
class Ending:
    """A licence or override that ends.

    Attributes:
        expires_at: when.
        tenant_id: whose it is.
        kind: ``license`` or ``override``.
        key: the licence's key, or the overridden feature.
        tier_key: the licence's tier.
    """

    expires_at: datetime
    tenant_id: str
    kind: str
    key: str
    tier_key: str | None


def on_tier(
    connection: Connection, tier_key: str, at: datetime, *, is_deleted: bool = False, tier_id: UUID | None = None
) -> Iterator[tuple[str, list[HeldLicense]]]:
    """Return the tenants that hold a tier at a moment, by id, each with its valid licences for it.

    Args:
        connection: where to read.
        tier_key: the key of the tier.
        at: the moment.
        is_deleted, tier_id: as for :func:`tierwright.services.registry.live_tiers.find_tier`.

    Raises:
        NotFound, TierDeleted, InvalidInput: there is no such tier.
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    require_all_tenants(connection)
    tier = find_tier(connection, tier_key, is_deleted=is_deleted, tier_id=tier_id)
    valid = SELECT_LICENSES.where(LICENSES.c.license_tier_id == tier.id, *valid_at(at))
    rows = (HeldLicense(*row) for row in pages(connection, valid, (LICENSES.c.tenant_id, LICENSES.c.license_key)))
    return ((tenant_id, list(held)) for tenant_id, held in groupby(rows, key=lambda each: each.tenant_id))


class FeatureSearch:
    """Which tenants may use a feature.

    Args:
        connection: where to read; the catalogue is read and compiled at once.
        feature_key: the feature.
        at: the moment.

    Attributes:
        elsewhere: the decision about every tenant without any row here. Where it is enabled, the feature is on for
            everybody by default, and :meth:`tenants` can only list those whom the database knows.

    Raises:
        NotFound: there is no such feature.
        PrivilegeMissing: row-level security hides tenants from the current role.
    """

    def __init__(self, connection: Connection, feature_key: str, at: datetime) -> None:
        require_all_tenants(connection)
        self._connection = connection
        self._key = feature_key
        self._at = at
        self._snapshot: CatalogSnapshot = read_catalog(connection).snapshot
        if feature_key not in self._snapshot.features:
            remedy = near_keys.asked_of(self._snapshot.features, "`tierwright feature list` names them.", [feature_key])
            raise NotFound(f"There is no feature {feature_key[:255]!r}.", remedy=remedy)
        self.elsewhere = self._decide((), ())

    def tenants(self) -> Iterator[tuple[str, Decision]]:
        """Yield the tenants with a licence or override here that may use the feature, by id, each with the decision."""
        if not self._snapshot.features[self._key].is_active:
            return
        # Tenants with the same licences and no override, which is nearly all of them, are decided about once.
        decide = lru_cache(maxsize=4096)(lambda licenses: self._decide(licenses, ()))
        rows = merge(self._licenses(), self._overrides(), key=itemgetter(0))
        for tenant_id, facts in groupby(rows, key=itemgetter(0)):
            held = [fact for _, fact in facts]
            licenses = tuple(fact for fact in held if isinstance(fact, License))
            overrides = [fact for fact in held if isinstance(fact, Override)]
            decision = self._decide(licenses, overrides) if overrides else decide(licenses)
            if decision.enabled:
                yield tenant_id, decision

    def _decide(self, licenses: Iterable[License], overrides: Iterable[Override]) -> Decision:
        return self._snapshot.resolve(licenses, overrides, self._at).decisions[self._key]

    def _licenses(self) -> Iterator[tuple[str, License]]:
        table = LICENSES.c
        tier_id = sa.cast(table.license_tier_id, sa.Text())  # as the catalogue's facts name it
        statement = sa.select(table.tenant_id, table.license_key, tier_id, table.starts_at, table.expires_at)
        for row in pages(self._connection, statement.where(table.is_active), (table.tenant_id, table.license_key)):
            yield row[0], License(*row[2:])

    def _overrides(self) -> Iterator[tuple[str, Override]]:
        table = OVERRIDES.c
        document = sa.cast(table.feature_value, sa.Text())
        statement = sa.select(table.tenant_id, table.feature_key, document, table.starts_at, table.expires_at)
        # Where nobody has it by default, only these can give it to a tenant without a licence.
        keys = {self._key} | self._snapshot.graph.linked({self._key})
        if not self.elsewhere.enabled and len(keys) <= _MOST_KEYS:
            statement = statement.where(table.feature_key.in_(sorted(keys)))
        for row in pages(self._connection, statement, (table.tenant_id, table.feature_key)):
            yield row[0], Override(row[1], grant_of(row[2]), row[3], row[4])


def ending(connection: Connection, after: datetime, until: datetime) -> Iterator[Ending]:
    """Yield the active licences and the overrides that end after one moment and before another, the next one first.

    Raises:
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    require_all_tenants(connection)
    licenses = _ending(LICENSES, "license", LICENSES.c.license_key, TIERS.c.tier_key, after, until)
    licenses = licenses.join(TIERS, TIERS.c.id == LICENSES.c.license_tier_id).where(LICENSES.c.is_active)
    no_tier = sa.cast(sa.null(), sa.Text())
    overrides = _ending(OVERRIDES, "override", OVERRIDES.c.feature_key, no_tier, after, until)
    both = sa.union_all(licenses, overrides).subquery()
    columns = both.c
    for row in pages(connection, sa.select(both), (columns.expires_at, columns.tenant_id, columns.kind, columns.key)):
        yield Ending(*row)


def _ending(
    table: sa.Table,
    kind: str,
    key: sa.ColumnElement[Any],
    tier_key: sa.ColumnElement[Any],
    after: datetime,
    until: datetime,
) -> sa.Select[Any]:
    columns = table.c
    literal = sa.literal_column(f"'{kind}'", sa.Text())
    return sa.select(
        columns.expires_at, columns.tenant_id, literal.label("kind"), key.label("key"), tier_key.label("tier_key")
    ).where(columns.expires_at > after, columns.expires_at < until)
