"""Questions that look into JSON columns: what needs a feature, and which tenants have a setting.

PostgreSQL answers both through GIN indexes. SQLite has an index for the setting ``region``, reads the settings for
others, and reads the registries, which are small, for lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.errors import InvalidInput
from tierwright.services.paging import pages
from tierwright.services.reading import keys_of
from tierwright.services.registry.rows import same
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.tables import check_json
from tierwright.tables.dialect_indexes import setting_sql
from tierwright.types import is_feature_key

_tables = SQLModel.metadata.tables
_CONFIGS = _tables["tenant_integration_configs"].c
_MODELS = _tables["model_registry"].c
_LISTED = {"component": _tables["component_registry"].c, "integration": _tables["integration_registry"].c}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_DEEPEST = 16


class Needing(NamedTuple):
    """Something that nobody can use without a feature.

    Attributes:
        kind: ``component``, ``integration`` or ``model``.
        key: its key; of a model ``provider/model_id``.
        is_gate: whether the feature gates it; else it is one of those that it needs besides.
        is_active: whether it is on offer.
    """

    kind: str
    key: str
    is_gate: bool
    is_active: bool


class WithSetting(NamedTuple):
    """A tenant that has a setting.

    Attributes:
        tenant_id: the tenant.
        integration_key: of what it is a setting.
        is_enabled: whether the tenant has switched the integration on.
    """

    tenant_id: str
    integration_key: str
    is_enabled: bool


def needing(connection: Connection, feature_key: str) -> list[Needing]:
    """Return the components, integrations and models that need a feature, by kind and key, retired ones too.

    Args:
        connection: where to read.
        feature_key: the feature; one that does not exist is needed by what names it all the same.
    """
    if not is_feature_key(feature_key):
        return []
    found = [each for kind in _LISTED for each in _listed(connection, kind, feature_key)]
    models = sa.select(_MODELS.provider, _MODELS.model_id, _MODELS.is_active)
    models = models.where(_MODELS.feature_key == feature_key).order_by(_MODELS.provider, _MODELS.model_id)
    rows = connection.execute(models)
    return [*found, *(Needing("model", f"{row.provider}/{row.model_id}", True, row.is_active) for row in rows)]


def tenants_with_setting(
    connection: Connection, path: str, value: str | int | float | bool, *, integration_key: str | None = None
) -> Iterator[WithSetting]:
    """Return the tenants that have a setting in the clear, such as ``region`` = ``eu``, by integration and tenant.

    Secrets are never looked at.

    Args:
        connection: where to read.
        path: the name of the setting; within others with points between, such as ``limits.daily``.
        value: what it is: text, a number, true or false; ``1`` is not ``true``.
        integration_key: of one integration only.

    Raises:
        InvalidInput: this is no such path or value.
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    names = _names(path)
    if not isinstance(check_json(value), str | int | float):
        raise InvalidInput("The value of a setting is text, a number, true or false.", remedy="Give one of these.")
    require_all_tenants(connection)
    return _tenants(connection, setting_statement(connection.dialect.name, names, value, integration_key), names, value)


def setting_statement(
    dialect: str, names: tuple[str, ...], value: str | int | float | bool, integration_key: str | None
) -> sa.Select[Any]:
    """Return the statement that finds the rows, perhaps among others that only look alike."""
    text = sa.cast(_CONFIGS.config, sa.Text()).label("config_text")
    statement = sa.select(_CONFIGS.integration_key, _CONFIGS.tenant_id, _CONFIGS.is_enabled, text)
    if integration_key is not None:
        statement = statement.where(_CONFIGS.integration_key == integration_key)
    if dialect == "postgresql":
        wanted: Any = value
        for name in reversed(names):
            wanted = {name: wanted}
        return statement.where(sa.type_coerce(_CONFIGS.config, postgresql.JSONB()).contains(wanted))
    # Written out, as the index has it: an expression with a parameter in it is another one to SQLite.
    return statement.where(sa.literal_column(setting_sql("config", *names)) == sa.literal(value))


def list_statement(dialect: str, kind: str, feature_key: str) -> sa.Select[Any]:
    """Return the statement that finds the rows of a registry that a feature gates, or that have it in their list."""
    table = _LISTED[kind]
    key, required = table[f"{kind}_key"], table.required_features
    if dialect == "postgresql":
        named: sa.ColumnElement[bool] = sa.type_coerce(required, postgresql.JSONB()).contains([feature_key])
    else:
        each = sa.func.json_each(sa.case((sa.func.json_valid(required) == 1, required), else_="[]"))
        values: Any = each.table_valued("value")
        named = sa.exists(sa.select(values.c.value).where(values.c.value == feature_key))
    statement = sa.select(key, table.feature_key, sa.cast(required, sa.Text()), table.is_active)
    return statement.where(sa.or_(table.feature_key == feature_key, named)).order_by(key)


def _listed(connection: Connection, kind: str, feature_key: str) -> Iterator[Needing]:
    statement = list_statement(connection.dialect.name, kind, feature_key)
    for key, gate, required, is_active in connection.execute(statement):
        if gate == feature_key or feature_key in keys_of(required):
            yield Needing(kind, key, gate == feature_key, is_active)


def _tenants(
    connection: Connection, statement: sa.Select[Any], names: tuple[str, ...], value: Any
) -> Iterator[WithSetting]:
    for key, tenant_id, is_enabled, text in pages(
        connection, statement, (_CONFIGS.integration_key, _CONFIGS.tenant_id)
    ):
        if _has(text, names, value):
            yield WithSetting(tenant_id, key, is_enabled)


def _has(text: str, names: tuple[str, ...], value: Any) -> bool:
    """Tell whether a document has exactly this setting: to SQLite true is 1, and so it is in what it finds."""
    try:
        found = json.loads(text)
    except ValueError:  # written past the library
        return False
    for name in names:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return not isinstance(found, dict | list) and same(found, value)


def _names(path: str) -> tuple[str, ...]:
    names = tuple(path.split(".")) if isinstance(path, str) else ()
    if not 1 <= len(names) <= _DEEPEST or not all(_NAME.fullmatch(name) for name in names):
        raise InvalidInput(
            "This is not the name of a setting.", remedy="Write it like region, or limits.daily: letters, digits, _, -."
        )
    return names
