"""The tenants that the database knows, one after the other, each with what decides about it at one moment."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from datetime import datetime
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.resolution.facts import Override
from tierwright.services.paging import pages
from tierwright.services.reading import grant_of
from tierwright.services.statements import LICENSES, OVERRIDES
from tierwright.services.support import valid_at
from tierwright.services.tenant_scope import require_all_tenants

_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
#: As many keys are named in a statement; where more matter, all rows are read.
_MOST_KEYS = 500
_LICENSE, _OVERRIDE, _CONFIG = 0, 1, 2


class Holder(NamedTuple):
    """A tenant at one moment.

    Attributes:
        tenant_id: the tenant.
        is_known: whether it has a licence or an override, valid or not; else it only has an integration.
        tier_ids: the tiers of its valid licences, sorted.
        overrides: its valid overrides of the features that matter, by key.
        integrations: the integrations that it has enabled, of those that matter.
    """

    tenant_id: str
    is_known: bool
    tier_ids: tuple[Hashable, ...]
    overrides: Mapping[str, Override]
    integrations: tuple[str, ...]


def holders(
    connection: Connection,
    at: datetime,
    keys: Collection[str],
    integrations: Collection[str],
    *,
    all_tenants: bool,
    among: sa.Select[Any] | None = None,
) -> Iterator[Holder]:
    """Yield the tenants by id.

    Args:
        connection: where to read.
        at: the moment at which licences and overrides are valid, or not.
        keys: the features that matter.
        integrations: the integrations that matter.
        all_tenants: whether also those matter that have no licence, and no override of a feature that matters.
        among: selects the tenants that matter; all, unless given.

    Raises:
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    require_all_tenants(connection)
    streams = [_licenses(connection, at, among), _overrides(connection, at, keys, all_tenants, among)]
    if integrations:
        streams.append(_configs(connection, integrations, among))
    for tenant_id, rows in groupby(merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        yield _holder(tenant_id, rows, keys)


def _holder(tenant_id: str, rows: Iterator[tuple[Any, ...]], keys: Collection[str]) -> Holder:
    tiers: set[Any] = set()
    overrides: dict[str, Override] = {}
    integrations: list[str] = []
    is_known = False
    for _, kind, key, is_valid, document in rows:
        is_known = is_known or kind != _CONFIG
        if kind == _CONFIG:
            integrations.append(key)
        elif is_valid and kind == _LICENSE:
            tiers.add(key)
        elif is_valid and key in keys:
            overrides[key] = Override(key, grant_of(document))
    return Holder(tenant_id, is_known, tuple(sorted(tiers)), overrides, tuple(integrations))


def _of(tenant_id: sa.Column[Any], among: sa.Select[Any] | None) -> sa.ColumnElement[bool]:
    return sa.true() if among is None else tenant_id.in_(among)


def _licenses(connection: Connection, at: datetime, among: sa.Select[Any] | None) -> Iterator[tuple[Any, ...]]:
    table = LICENSES.c
    tier_id = sa.cast(table.license_tier_id, sa.Text())  # as the catalogue's facts name it
    # The database compares the moments: reading them costs more than everything else here.
    is_valid = sa.and_(*valid_at(at)).label("is_valid")
    statement = sa.select(table.tenant_id, table.license_key, tier_id, is_valid).where(_of(table.tenant_id, among))
    for tenant_id, _, tier, valid in pages(connection, statement, (table.tenant_id, table.license_key)):
        yield tenant_id, _LICENSE, tier, valid, None


def _overrides(
    connection: Connection, at: datetime, keys: Collection[str], all_tenants: bool, among: sa.Select[Any] | None
) -> Iterator[tuple[Any, ...]]:
    table = OVERRIDES.c
    is_valid = sa.and_(
        sa.or_(table.starts_at.is_(None), table.starts_at <= at),
        sa.or_(table.expires_at.is_(None), table.expires_at > at),
    ).label("is_valid")
    document = sa.cast(table.feature_value, sa.Text())
    statement = sa.select(table.tenant_id, table.feature_key, document, is_valid).where(_of(table.tenant_id, among))
    if not all_tenants and len(keys) <= _MOST_KEYS:
        statement = statement.where(table.feature_key.in_(sorted(keys)))
    for tenant_id, key, text, valid in pages(connection, statement, (table.tenant_id, table.feature_key)):
        yield tenant_id, _OVERRIDE, key, valid, text


def _configs(
    connection: Connection, integrations: Collection[str], among: sa.Select[Any] | None
) -> Iterator[tuple[Any, ...]]:
    table = _CONFIGS.c
    statement = sa.select(table.tenant_id, table.integration_key).where(table.is_enabled, _of(table.tenant_id, among))
    if len(integrations) <= _MOST_KEYS:
        statement = statement.where(table.integration_key.in_(sorted(integrations)))
    for tenant_id, key in pages(connection, statement, (table.tenant_id, table.integration_key)):
        if key in integrations:
            yield tenant_id, _CONFIG, key, True, None
