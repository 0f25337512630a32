"""A small catalogue written with plain inserts, so that tests of reading do not depend on the services that write."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.services.catalog_version import bump_catalog
from tierwright.types import uuid7

TABLES = SQLModel.metadata.tables
ON = {"enabled": True}


def feature(connection: Connection, key: str, **values: Any) -> None:
    """Insert a feature that is off by default."""
    row = {"feature_name": key, "category": "test", "feature_type": "integer"}
    row |= {"default_value": {"enabled": False, "value": 0}, "id": uuid7(), "feature_key": key, **values}
    connection.execute(TABLES["feature_registry"].insert().values(**row))


def tier(connection: Connection, key: str, grants: dict[str, Any] | None = None, **values: Any) -> Any:
    """Insert a tier with what it grants, and return its id."""
    tier_id = uuid7()
    connection.execute(TABLES["license_tier"].insert().values(id=tier_id, tier_key=key, name=key, **values))
    for feature_key, value in (grants or {}).items():
        connection.execute(
            TABLES["license_tier_features"]
            .insert()
            .values(id=uuid7(), license_tier_id=tier_id, feature_key=feature_key, feature_value=value)
        )
    return tier_id


def license(connection: Connection, tenant_id: str, tier_id: Any, key: str = "main", **values: Any) -> None:
    """Insert a licence."""
    row = {"tenant_id": tenant_id, "license_key": key, "license_tier_id": tier_id, **values}
    connection.execute(TABLES["tenant_license"].insert().values(**row))


def override(connection: Connection, tenant_id: str, key: str, value: Any, **values: Any) -> None:
    """Insert an override."""
    row = {"tenant_id": tenant_id, "feature_key": key, "feature_value": value, **values}
    connection.execute(TABLES["tenant_feature_override"].insert().values(**row))


def small(engine: Engine, tenants: int = 1) -> None:
    """Write features f.a (tier pro), f.b (nobody), and tenants acme, t1, t2, ... on pro."""
    with engine.begin() as connection:
        bump_catalog(connection)
        feature(connection, "f.a")
        feature(connection, "f.b")
        pro = tier(connection, "pro", {"f.a": {"enabled": True, "value": 5}}, rank=10)
        for number in range(tenants):
            license(connection, f"t{number}" if number else "acme", pro)


def revoke(engine: Engine, tenant_id: str = "acme") -> None:
    """Take a tenant's licences away, as somebody at a database prompt would."""
    with engine.begin() as connection:
        table = TABLES["tenant_license"]
        connection.execute(table.delete().where(table.c.tenant_id == tenant_id))


def notify(engine: Engine, payload: str) -> None:
    """Announce a change, as a session of ours does when it commits."""
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_notify('tierwright', :payload)"), {"payload": payload})


def soon(seconds: float) -> dt.datetime:
    """Return a moment in the near future."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
