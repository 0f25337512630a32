"""The statements of a resolution, built once: making one costs more than running it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.services.row_security import current_tenant, hides, is_shadowed
from tierwright.types import AuditEntity, UtcDateTime

_tables = SQLModel.metadata.tables
STATE = _tables["tierwright_state"]
FEATURES = _tables["feature_registry"]
TIERS = _tables["license_tier"]
GRANTS = _tables["license_tier_features"]
LICENSES = _tables["tenant_license"]
OVERRIDES = _tables["tenant_feature_override"]
HISTORY = _tables["feature_audit_log"]

CATALOG_KEY = "catalog"
#: What entries about a tenant are about where its decisions change with them.
_DECIDING = (AuditEntity.TENANT_LICENSE, AuditEntity.TENANT_OVERRIDE, AuditEntity.TENANT)
_FIRST, _LAST = "0001-01-02", "9999-12-30"
_IS_CATALOG = STATE.c.key == sa.literal_column(f"'{CATALOG_KEY}'")
_TENANT_ID = sa.bindparam("tenant_id", type_=sa.String())


class Kind(IntEnum):
    """What a tagged row is; the first of its columns."""

    STATE = 0
    FEATURE = 1
    TIER = 2
    GRANT = 3
    LICENSE = 4
    OVERRIDE = 5
    PLACE = 6


def _window(table: Any, dialect: str) -> dict[str, ColumnElement[Any]]:
    """Return the ends of a window; on PostgreSQL within the years that Python knows, which leaves out infinity."""
    ends = {"starts_at": table.starts_at, "expires_at": table.expires_at}
    if dialect != "postgresql":
        return ends
    first, last = (sa.literal_column(f"TIMESTAMPTZ '{day} UTC'", UtcDateTime()) for day in (_FIRST, _LAST))
    # LEAST and GREATEST leave NULLs out, and NULL is no end.
    return {
        name: sa.case((column.is_not(None), sa.func.least(sa.func.greatest(column, first), last)))
        for name, column in ends.items()
    }


def as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column as text."""
    return sa.cast(column, sa.Text())


def tagged(kind: Kind, **columns: ColumnElement[Any]) -> sa.Select[Any]:
    """Return a select of the columns that all kinds share; those not named are NULL."""
    shared: dict[str, sa.types.TypeEngine[Any]] = {
        "key": sa.Text(),
        "reference": sa.Text(),
        "document": sa.Text(),
        "first_flag": sa.Boolean(),
        "second_flag": sa.Boolean(),
        "number": sa.BigInteger(),
        "more": sa.Text(),
        "starts_at": UtcDateTime(),
        "expires_at": UtcDateTime(),
    }
    # As the driver gives them: nearly all are NULL or text, and a conversion of each value costs more than the query.
    chosen = [
        sa.type_coerce(columns.get(name, sa.cast(sa.null(), type_)), sa.types.NullType()).label(name)
        for name, type_ in shared.items()
    ]
    tag: sa.ColumnElement[Any] = sa.literal_column(str(int(kind)), sa.Integer()).label("kind")
    return sa.select(*[tag, *chosen])


def _state() -> sa.Select[Any]:
    rows = tagged(Kind.STATE, key=STATE.c.key, document=as_text(STATE.c.value), number=STATE.c.version)
    return rows.where(_IS_CATALOG)


def _state_for_tenant(dialect: str, *, is_shared: bool) -> sa.Select[Any]:
    """Return the state, and whether row-level security may hide what a tenant holds: ``reference`` is not NULL then.

    It is there whatever the tables hold, and tells for which tenant the transaction works instead.

    Args:
        dialect: of the database.
        is_shared: whether others run SQL on the connection too, and may have left temporary tables. The store's own
            runs none but ours, and what looks for them would cost a quarter of the question.
    """
    if dialect != "postgresql":
        return _state()
    is_hidden = hides(_TENANT_ID, LICENSES.name, OVERRIDES.name)
    if is_shared:
        is_hidden = sa.or_(is_hidden, is_shadowed())
    instead = sa.case((is_hidden, sa.func.coalesce(current_tenant(), sa.literal_column("''"))))
    rows = tagged(
        Kind.STATE, key=STATE.c.key, reference=instead, document=as_text(STATE.c.value), number=STATE.c.version
    )
    always = sa.select(sa.literal_column("1")).subquery("always")
    return rows.select_from(always.outerjoin(STATE, _IS_CATALOG))


def _features() -> sa.Select[Any]:
    table = FEATURES.c
    return tagged(
        Kind.FEATURE,
        key=table.feature_key,
        reference=as_text(table.depends_on),
        document=as_text(table.default_value),
        first_flag=table.is_premium,
        second_flag=table.is_active,
        more=as_text(table.conflicts_with),
    )


def _tiers() -> sa.Select[Any]:
    table = TIERS.c
    return tagged(
        Kind.TIER,
        key=table.tier_key,
        reference=as_text(table.id),
        document=as_text(table.base_tier_id),
        first_flag=table.is_default,
        second_flag=table.is_active,
        number=table.rank,
        more=as_text(table.deleted_at),
    )


def _grants(table: Any = GRANTS) -> sa.Select[Any]:
    columns = table.c
    return tagged(
        Kind.GRANT,
        key=columns.feature_key,
        reference=as_text(columns.license_tier_id),
        document=as_text(columns.feature_value),
    )


def _grants_of_held_tiers(dialect: str) -> sa.Select[Any]:
    """Return the grants of the tiers that can matter to a tenant, tier by tier through the index.

    Neither planner can know how few tiers those are, and both like to read the whole table instead. On PostgreSQL
    OFFSET 0 keeps the inner query as it is written; on SQLite the left side of an outer join is the outer loop. A
    tier that grants nothing gives a row of NULLs.
    """
    held = _held_tiers()
    if dialect == "postgresql":
        of_one = sa.select(GRANTS.c.license_tier_id, GRANTS.c.feature_key, GRANTS.c.feature_value)
        of_one = of_one.where(GRANTS.c.license_tier_id == held.c.id).offset(sa.literal_column("0"))
        lateral = of_one.lateral("grants")
        return _grants(lateral).select_from(held.join(lateral, sa.true()))
    return _grants().select_from(held.outerjoin(GRANTS, GRANTS.c.license_tier_id == held.c.id))


def _licenses(dialect: str) -> sa.Select[Any]:
    table = LICENSES.c
    rows = tagged(
        Kind.LICENSE,
        key=table.license_key,
        reference=as_text(table.license_tier_id),
        **_window(table, dialect),
    )
    return rows.where(table.tenant_id == _TENANT_ID, table.is_active)


def _overrides(dialect: str) -> sa.Select[Any]:
    table = OVERRIDES.c
    rows = tagged(
        Kind.OVERRIDE,
        key=table.feature_key,
        document=as_text(table.feature_value),
        **_window(table, dialect),
    )
    return rows.where(table.tenant_id == _TENANT_ID)


def _held_tiers() -> sa.CTE:
    """Return the ids of the tiers that can matter to a tenant: those it holds, the default, and their bases."""
    own = sa.select(LICENSES.c.license_tier_id.label("id")).where(
        LICENSES.c.tenant_id == _TENANT_ID, LICENSES.c.is_active
    )
    first = sa.union_all(own, sa.select(TIERS.c.id).where(TIERS.c.is_default)).subquery("first")
    held = sa.select(first.c.id).cte("held", recursive=True)
    # UNION, not UNION ALL: a circle of bases ends where it meets itself.
    bases = sa.select(TIERS.c.base_tier_id).join(held, TIERS.c.id == held.c.id).where(TIERS.c.base_tier_id.is_not(None))
    return held.union(bases)


def _moment(column: ColumnElement[Any], document: ColumnElement[Any] | None = None) -> sa.Select[Any]:
    return sa.select(
        column.label("moment"), (sa.cast(sa.null(), sa.Text()) if document is None else document).label("document")
    )


def _changed() -> sa.CompoundSelect[Any]:
    catalog = [_moment(sa.func.max(table.c.updated_at)) for table in (FEATURES, TIERS, GRANTS)]
    tenant = [
        _moment(sa.func.max(table.c.updated_at)).where(table.c.tenant_id == _TENANT_ID)
        for table in (LICENSES, OVERRIDES)
    ]
    # What was deleted, by a purge for instance, is in the history alone; an index has it in this order.
    log = HISTORY.c
    gone = (
        _moment(log.performed_at)
        .where(log.tenant_id == _TENANT_ID, log.entity_type.in_(_DECIDING))
        .order_by(log.performed_at.desc())
        .limit(1)
    )
    state = _moment(sa.cast(sa.null(), UtcDateTime()), as_text(STATE.c.value)).where(STATE.c.key == CATALOG_KEY)
    return sa.union_all(*catalog, *tenant, sa.select(gone.subquery()), state)


def _held(dialect: str, *, is_shared: bool) -> sa.CompoundSelect[Any]:
    return sa.union_all(_state_for_tenant(dialect, is_shared=is_shared), _licenses(dialect), _overrides(dialect))


#: The whole catalogue and its version.
CATALOG = sa.union_all(_state(), _features(), _tiers(), _grants())
#: By dialect: what one tenant holds, and the version of the catalogue, on connections of the store's own.
TENANT = {dialect: _held(dialect, is_shared=False) for dialect in ("sqlite", "postgresql")}
#: The same on connections that others use too.
TENANT_FOR_SESSION = {dialect: _held(dialect, is_shared=True) for dialect in ("sqlite", "postgresql")}
#: By dialect: what one tenant holds, with all of the catalogue that can matter to it.
EVERYTHING = {
    dialect: sa.union_all(
        _state_for_tenant(dialect, is_shared=True),
        _features(),
        _tiers(),
        _grants_of_held_tiers(dialect),
        _licenses(dialect),
        _overrides(dialect),
    )
    for dialect in ("sqlite", "postgresql")
}
#: When anything that a resolution of one tenant reads was last changed.
CHANGED = _changed()
