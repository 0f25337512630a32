"""What ``create_all`` has to make beside a table: its triggers.

The chain makes the same in the revision ``e0f1a2b3c4d5`` (a row stays with its tenant) and in later ones, and a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

_GUARDED = ("tenant_license", "tenant_feature_override", "tenant_integration_configs")
#: The names under which a database tells that a row was to be given to another tenant.
TENANT_GUARDS = frozenset(f"trg_{table}_keeps_tenant" for table in _GUARDED)

_SQLITE = (
    "CREATE TRIGGER {prefix}{name} BEFORE UPDATE OF tenant_id ON {table} FOR EACH ROW "
    "WHEN new.tenant_id IS NOT old.tenant_id BEGIN SELECT RAISE(ABORT, 'constraint failed: {name}'); END",
)
_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION {prefix}{name}() RETURNS trigger LANGUAGE plpgsql AS $tierwright$BEGIN "
    "RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME, "
    "SCHEMA = TG_TABLE_SCHEMA, COLUMN = 'tenant_id', MESSAGE = 'A row of ' || TG_TABLE_NAME || ' stays with its "
    "tenant.', HINT = 'Delete it, and make it anew under the other tenant.'; END$tierwright$",
    "CREATE TRIGGER {name} BEFORE UPDATE ON {prefix}{table} FOR EACH ROW WHEN (new.tenant_id::text IS DISTINCT FROM "
    "old.tenant_id::text) EXECUTE FUNCTION {prefix}{name}()",
)
_DROP = {"postgresql": ("DROP FUNCTION IF EXISTS {prefix}{name}()",)}


def keep_tenant(model: Any) -> None:
    """Let ``create_all`` make the trigger with the table of a model, and ``drop_all`` drop its function."""
    add_guard(model, f"trg_{model.__table__.name}_keeps_tenant", {"sqlite": _SQLITE, "postgresql": _POSTGRESQL})


def add_guard(model: Any, name: str, create: Mapping[str, tuple[str, ...]]) -> None:
    """Let ``create_all`` make a trigger with the table of a model, and ``drop_all`` drop the function of its name.

    Args:
        model: the mapped class.
        name: the trigger's.
        create: the statements by dialect, with ``{prefix}`` for a schema and its dot, ``{name}`` and ``{table}``.
    """
    drop = {dialect: statements for dialect, statements in _DROP.items() if dialect in create}
    for moment, statements in (("after_create", create), ("after_drop", drop)):
        add_statements(model, moment, name, statements)


def add_statements(model: Any, moment: str, name: str, statements: Mapping[str, tuple[str, ...]]) -> None:
    """Let ``create_all`` or ``drop_all`` run statements at a moment, as :func:`add_guard` does."""
    sa.event.listen(model.__table__, moment, _listener(name, statements), propagate=True)


def _listener(name: str, statements: Mapping[str, tuple[str, ...]]) -> Any:
    def run(table: sa.Table, connection: sa.Connection, **_: Any) -> None:
        schema = connection.schema_for_object(table)
        prefix = '"' + schema.replace('"', '""') + '".' if schema else ""
        for statement in statements.get(connection.dialect.name, ()):
            text = statement.format(prefix=prefix, name=name, table=table.name)
            # DDL fills in %(...)s, which a schema may happen to contain.
            connection.execute(sa.DDL(text.replace("%", "%%")))  # type: ignore[no-untyped-call]

    return run
