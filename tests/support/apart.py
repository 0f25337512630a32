"""A database with row-level security on, that tests of a module share: each takes tenants of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.postgres import Databases
from tests.support.registry import ON, feature, seed, writer
from tierwright import isolation

#: The tables whose rows belong to tenants.
TABLES = [
    SQLModel.metadata.tables[name]
    for name in ("tenant_license", "tenant_feature_override", "tenant_integration_configs", "feature_audit_log")
]
_SCHEMA = {
    "type": "object",
    "properties": {"channel": {"type": "string"}, "token": {"type": "string", "writeOnly": True}},
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Apart:
    """A database with row-level security on.

    Attributes:
        root: an engine of the superuser, who owns the tables and sees every row.
        app: an engine of the application, whose pool has one connection. The role may do everything that privileges
            can allow: nothing but policies keeps tenants apart.
        app_role, admin_role: the roles; who belongs to the second sees every row.
    """

    root: Engine
    app: Engine
    app_role: str
    admin_role: str

    def engine(self, **options: Any) -> Engine:
        """Return another engine of the application."""
        return sa.create_engine(self.app.url, **options)

    def switch(self, on: bool) -> None:
        """Switch row-level security on or off."""
        if on:
            isolation.enable(self.root, [self.app_role], admin=self.admin_role)
        else:
            isolation.disable(self.root)


def stock(engine: Engine) -> None:
    """Fill the catalogue: three features, the tiers basic (f.a) and pro (f.a and f.chat), the integration chat."""
    with Session(engine) as session:
        registry = writer(session)
        seed(registry, "f.a", "f.b", feature("f.chat"), basic={"f.a": ON}, pro={"f.a": ON, "f.chat": ON})
        registry.integrations.create(
            {
                "integration_key": "chat",
                "integration_name": "Chat",
                "category": "chat",
                "feature_key": "f.chat",
                "config_schema": _SCHEMA,
            }
        )
        session.commit()


@contextmanager
def apart(databases: Databases, template: str, schema: str | None) -> Iterator[Apart]:
    """Yield a copy of a migrated database with row-level security on and a catalogue in it; it is dropped at the end.

    Args:
        databases: of the server.
        template: a database at head.
        schema: where the tables are; None is public.
    """
    name = databases.create(template, schema)
    tag = secrets.token_hex(4)
    app_role, admin_role = f"tw_app_{tag}", f"tw_admin_{tag}"
    root = sa.create_engine(databases.address(name), poolclass=sa.NullPool)
    place = schema or "public"
    with root.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {app_role} LOGIN PASSWORD 'of-the-tests'")
        connection.exec_driver_sql(f"CREATE ROLE {admin_role}")
        for role in (app_role, admin_role):
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {place} TO {role}")
            rights = "SELECT, INSERT, UPDATE, DELETE"
            connection.exec_driver_sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA {place} TO {role}")
    url = root.url.set(username=app_role, password="of-the-tests")
    made = Apart(root, sa.create_engine(url, pool_size=1, max_overflow=0), app_role, admin_role)
    try:
        stock(root)
        made.switch(on=True)
        yield made
    finally:
        made.app.dispose()
        databases.drop(name)
        with sa.create_engine(databases.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as last:
            for role in (app_role, admin_role):
                last.exec_driver_sql(f"DROP ROLE IF EXISTS {role}")


def rows_of(engine: Engine, tenant_id: str) -> dict[str, list[str]]:
    """Return all rows of a tenant, its history too."""
    with engine.connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(table.select().where(table.c.tenant_id == tenant_id))))
            for table in TABLES
        }


def setting(connection: sa.Connection) -> str | None:
    """Return for which tenant a transaction works."""
    found: str | None = connection.exec_driver_sql("SELECT current_setting('tierwright.tenant_id', true)").scalar()
    return found
