"""Findings about secrets in the clear: a config_schema has marked them since, or SQL wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

from tierwright.config_schema import ConfigSchema
from tierwright.doctor.report import Finding, Severity
from tierwright.errors import DependencyMissing, InvalidInput
from tierwright.services.paging import pages

_REGISTRY = SQLModel.metadata.tables["integration_registry"].c
_CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"].c
_COLUMNS = {
    "integration_registry": {"integration_key", "config_schema"},
    "tenant_integration_configs": {"integration_key", "tenant_id", "config"},
}
_MOST_NAMED = 5
_ROW_SQL = "SELECT tenant_id FROM tenant_integration_configs WHERE integration_key = '{key}'"


def clear_secret_findings(connection: Connection) -> Iterator[Finding]:
    """Yield which integrations have secrets in ``config``; their values are in no finding.

    Tables or columns that are missing are left to the schema's findings.
    """
    inspector = sa.inspect(connection)
    existing = set(inspector.get_table_names())
    for table, needed in _COLUMNS.items():
        if table not in existing or not needed <= {column["name"] for column in inspector.get_columns(table)}:
            return
    schemas = sa.select(_REGISTRY.integration_key, sa.cast(_REGISTRY.config_schema, sa.Text()))
    for key, text in connection.execute(schemas.order_by(_REGISTRY.integration_key)).all():
        if '"writeOnly"' in (text or ""):
            yield from _of_integration(connection, key, text)


def _of_integration(connection: Connection, key: str, text: str) -> Iterator[Finding]:
    about = f"integration_registry.{key}"
    try:
        schema = ConfigSchema.of(json.loads(text))
    except DependencyMissing as error:
        yield Finding("secrets-not-examined", Severity.INFO, about, str(error), error.remedy)
        return
    except (InvalidInput, ValueError, AttributeError) as error:  # not written by this library
        remedy = "Write a config_schema that can be used: Registry.integrations.change."
        yield Finding("config-schema-invalid", Severity.ERROR, about, f"Nobody can use it: {error}", remedy)
        return
    count, named = 0, list[str]()
    for tenant_id, names in _in_clear(connection, key, schema):
        count += 1
        if len(named) < _MOST_NAMED:
            named.append(f"{tenant_id}: {', '.join(names)}")
    if count:
        yield Finding(
            "secret-in-clear",
            Severity.ERROR,
            f"tenant_integration_configs.{key}",
            f"{count} tenant(s) have in the clear what the config_schema marks as secret: "
            f"{'; '.join(named)}{'; ...' if count > len(named) else ''}.",
            "Configure them again (TenantIntegrations.configure seals), with new secrets: backups have the old ones.",
            _ROW_SQL.format(key=key.replace("'", "''")),
        )


def _in_clear(connection: Connection, key: str, schema: ConfigSchema) -> Iterator[tuple[str, tuple[str, ...]]]:
    statement = sa.select(_CONFIGS.tenant_id, sa.cast(_CONFIGS.config, sa.Text())).where(
        _CONFIGS.integration_key == key
    )
    for tenant_id, text in pages(connection, statement, (_CONFIGS.tenant_id,)):
        if names := schema.secret_names(_document(text)):
            yield tenant_id, names


def _document(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:  # SQLite keeps what it is given; whoever reads it is told
        return {}
    return found if isinstance(found, dict) else {}
