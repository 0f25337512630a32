"""Findings about deleted tiers that somebody has given away past this library; what they give counts meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.doctor.report import Finding, Severity

_COLUMNS = {
    "license_tier": {"id", "tier_key", "base_tier_id", "deleted_at"},
    "tenant_license": {"tenant_id", "license_key", "license_tier_id", "created_at"},
}
_HEIRS = (
    "SELECT t.tier_key, b.tier_key AS base FROM license_tier t JOIN license_tier b ON b.id = t.base_tier_id "
    "WHERE t.deleted_at IS NULL AND b.deleted_at IS NOT NULL ORDER BY t.tier_key"
)
_GIVEN = (
    "SELECT l.tenant_id, l.license_key, t.tier_key "
    "FROM tenant_license l JOIN license_tier t ON t.id = l.license_tier_id "
    "WHERE t.deleted_at < l.created_at ORDER BY l.tenant_id, l.license_key"
)
_MOST_NAMED = 5


def deleted_tier_findings(connection: Connection) -> Iterator[Finding]:
    """Yield who got a deleted tier; tables or columns that are missing are left to the schema's findings."""
    inspector = sa.inspect(connection)
    existing = set(inspector.get_table_names())
    for table, needed in _COLUMNS.items():
        if table not in existing or not needed <= {column["name"] for column in inspector.get_columns(table)}:
            return
    yield from _finding(
        connection,
        "tier-base-deleted",
        "license_tier.base_tier_id",
        "tier(s) inherit from a deleted one",
        "Give them another base, Registry.tiers.set_base, or bring that one back, `tierwright tier undelete`.",
        _HEIRS,
    )
    yield from _finding(
        connection,
        "tier-given-deleted",
        "tenant_license.license_tier_id",
        "licence(s) were made for a tier that had been deleted",
        "Move their tenants, `tierwright tier move`, or bring the tier back, `tierwright tier undelete`.",
        _GIVEN,
    )


def _finding(connection: Connection, code: str, about: str, what: str, remedy: str, sql: str) -> Iterator[Finding]:
    rows = connection.exec_driver_sql(f"{sql} LIMIT {_MOST_NAMED}").all()
    if rows:
        count = connection.exec_driver_sql(f"SELECT count(*) FROM ({sql}) AS found").scalar_one()
        some = ", ".join("/".join(map(str, row)) for row in rows)
        rest = ", ..." if count > len(rows) else ""
        yield Finding(code, Severity.ERROR, about, f"{count} {what}: {some}{rest}.", remedy, sql)
