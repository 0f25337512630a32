"""An integration to configure, tenants that may use it, and keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.registry import ON, seed, writer
from tierwright.integrations import TenantIntegrations
from tierwright.secrets import KeyRing
from tierwright.services.audit import AuditContext

CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
KEY_1, KEY_2 = b"1" * 32, b"2" * 32
KEYS = KeyRing({"k1": KEY_1}, "k1")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "channel": {"type": "string"},
        "region": {"enum": ["eu", "us"]},
        "bot_token": {"type": "string", "minLength": 3, "writeOnly": True},
        "oauth": {
            "type": "object",
            "properties": {"client": {"type": "string"}, "client_secret": {"type": "string", "writeOnly": True}},
        },
    },
    "required": ["channel", "bot_token"],
    "additionalProperties": {"type": ["string", "integer"]},
}


def offer(engine: Engine, key: str = "slack", schema: dict[str, Any] | None = None) -> None:
    """Put an integration into the registry, and give the tenants acme and globex the feature that it needs."""
    with Session(engine) as session:
        registry = writer(session)
        seed(registry, f"integrations.{key}", **{f"tier-{key}": {f"integrations.{key}": ON}})
        registry.integrations.create(
            {
                "integration_key": key,
                "integration_name": key.title(),
                "category": "chat",
                "feature_key": f"integrations.{key}",
                "config_schema": SCHEMA if schema is None else schema,
            }
        )
        for tenant in ("acme", "globex"):
            registry.licenses.assign(tenant, f"tier-{key}", license_key=key)
        session.commit()


def service(session: Session, keys: Any = KEYS) -> TenantIntegrations:
    """Return the calls of a session that says who makes them."""
    AuditContext("tester").attach(session)
    return TenantIntegrations(session, keys=keys)
