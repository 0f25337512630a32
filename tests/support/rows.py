"""At least one row in every table, with what a migration could spoil: exact prices, JSON, bytes, NULLs, times."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlmodel import SQLModel

import tierwright.tables as tables
from tierwright.audit.passes import Purpose, history_pass

#: What the first revision did not have.
LATER = {"deleted_at"}
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)


def ident(number: int) -> uuid.UUID:
    """Return a fixed id."""
    return uuid.UUID(int=number)


def fill(connection: Connection) -> None:
    """Insert rows into every table; works at every revision that has the tables."""
    for table, rows in ROWS.items():
        for row in rows:
            connection.execute(SQLModel.metadata.tables[table].insert().values(**row))


def remove_all(connection: Connection, tables_: Iterable[sa.Table]) -> None:
    """Delete the rows of tables, of the history too: it lets go of what is from before its floor."""
    state = SQLModel.metadata.tables["tierwright_state"]
    connection.execute(state.insert().values(key="audit_floor", value={"below": "9999-12-31 00:00:00.000000"}))
    with history_pass(connection, Purpose.MAINTAIN):
        for table in tables_:
            connection.execute(table.delete())
    connection.execute(state.delete().where(state.c.key == "audit_floor"))


def contents(engine: Engine) -> dict[str, tuple[int, str]]:
    """Return the number of rows and a hash of the rows of every table; columns of later revisions are left out."""
    found = {}
    with engine.connect() as connection:
        for name in tables.TABLE_NAMES:
            table = SQLModel.metadata.tables[name]
            columns = [column for column in table.columns if column.name not in LATER]
            rows = connection.execute(sa.select(*columns).order_by(*table.primary_key.columns)).all()
            found[name] = (len(rows), hashlib.sha256(repr(rows).encode()).hexdigest())
    return found


_TIMES = {"created_at": NOW, "updated_at": NOW}
_VALUE = {"enabled": True, "value": 5}
ROWS = {
    "feature_registry": [
        {
            "id": ident(n),
            "feature_key": key,
            "feature_name": key,
            "category": "test",
            "feature_type": "integer",
            "default_value": {"enabled": False, "value": 0},
            "depends_on": [],
            **_TIMES,
        }
        for n, key in enumerate(("models.openai", "ui.canvas", "int.slack"), 1)
    ],
    "license_tier": [
        {"id": ident(11), "tier_key": "free", "name": "Free", "rank": 0, "is_default": True, **_TIMES},
        {"id": ident(12), "tier_key": "pro", "name": "Pro", "rank": 1, "base_tier_id": ident(11), **_TIMES},
    ],
    "license_tier_features": [
        {
            "id": ident(21),
            "license_tier_id": ident(12),
            "feature_key": "models.openai",
            "feature_value": _VALUE,
            **_TIMES,
        },
    ],
    "tenant_license": [
        {"tenant_id": "acme", "license_key": "main", "license_tier_id": ident(12), "starts_at": NOW, **_TIMES},
    ],
    "tenant_feature_override": [
        {"tenant_id": "acme", "feature_key": "ui.canvas", "feature_value": _VALUE, "reason": "trial", **_TIMES},
    ],
    "model_registry": [
        {
            "id": ident(31 + n),
            "provider": "openai",
            "model_id": f"model-{n}",
            "model_name": "A model",
            "model_type": "chat",
            "input_price_per_1k": Decimal("0.000000000000000000001"),
            "feature_key": "models.openai",
            **_TIMES,
        }
        for n in range(3)
    ],
    "component_registry": [
        {
            "id": ident(41 + n),
            "component_key": f"component-{n}",
            "component_name": "c",
            "display_name": "C",
            "category": "test",
            "feature_key": key,
            **_TIMES,
        }
        for n, key in enumerate(("ui.canvas", None))
    ],
    "integration_registry": [
        {
            "id": ident(51),
            "integration_key": "slack",
            "integration_name": "Slack",
            "category": "chat",
            "feature_key": "int.slack",
            "config_schema": {"type": "object"},
            **_TIMES,
        },
    ],
    "tenant_integration_configs": [
        {
            "integration_key": "slack",
            "tenant_id": tenant,
            "config": {"channel": "#x"},
            "encrypted_config": b"\x00\xff",
            "health_status": health,
            "is_enabled": True,
            **_TIMES,
        }
        for tenant, health in (("acme", "healthy"), ("globex", None))
    ],
    "feature_audit_log": [
        {
            "id": ident(61 + n),
            "entity_type": "feature",
            "entity_id": "models.openai",
            "feature_key": "models.openai",
            "action": "updated",
            "performed_by": "someone",
            "performed_at": NOW + dt.timedelta(seconds=n),
        }
        for n in range(3)
    ],
    "tierwright_state": [{"key": "catalog", "value": {"hash": "x"}, "version": 7}],
}
