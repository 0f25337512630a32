"""What a PostgreSQL connection says of row-level security, as SQL that statements carry along.

Policies compare ``tenant_id`` with a setting of the transaction. Where that names another tenant, or none, a question
about a tenant finds nothing, and no error: so a statement has to tell by itself that rows were hidden from it.
https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel

from tierwright.tables import TABLE_NAMES

#: The setting that names the tenant; NULL or empty is none.
SETTING = "tierwright.tenant_id"
#: Who belongs to a role of this policy sees the rows of all tenants.
ADMIN_POLICY = "tierwright_admin"
#: The tables whose rows belong to tenants.
TENANT_TABLES = ("tenant_license", "tenant_feature_override", "tenant_integration_configs", "feature_audit_log")

_NAME = sa.literal_column(f"'{SETTING}'", sa.Text())


class Regclass(FunctionElement[Any]):
    """The table of a name, wherever the connection finds our tables (``schema_translate_map``, ``search_path``)."""

    inherit_cache = True
    type = sa.types.NullType()

    def __init__(self, name: str) -> None:
        super().__init__(sa.literal_column(name))  # an argument, so that it is a part of SQLAlchemy's cache key
        self.table = SQLModel.metadata.tables[name]


@compiles(Regclass)
def _regclass(element: Regclass, compiler: SQLCompiler, **_: Any) -> str:
    # The schema is put in when the statement is run, so nothing can be quoted before: PostgreSQL's dollars need none.
    return f"$table${compiler.preparer.format_table(element.table)}$table$::regclass"


def is_active(*names: str) -> ColumnElement[bool]:
    """Return whether policies decide which rows of any of these tables the current role sees."""
    return sa.or_(*(sa.func.row_security_active(Regclass(name), type_=sa.Boolean()) for name in names))


def is_shadowed() -> ColumnElement[bool]:
    """Return whether a temporary table of this connection may stand before one of ours.

    PostgreSQL looks among those first, whatever the ``search_path`` says, unless that names ``pg_temp``. One that was
    left behind on a connection of a pool would tell the next tenant what another one wrote into it.
    """
    tables = sa.table("pg_class", *map(sa.column, ("relnamespace", "relname")), schema="pg_catalog").c
    ours = sa.exists().where(
        tables.relnamespace == sa.func.pg_my_temp_schema(),
        tables.relname.in_([sa.literal_column(f"'{name}'") for name in TABLE_NAMES]),
    )
    # A connection that never made a temporary table has no such schema, and asks nothing further.
    return sa.case((sa.func.pg_my_temp_schema() == sa.literal_column("0"), sa.false()), else_=ours)


def current_tenant() -> ColumnElement[str | None]:
    """Return the tenant that the transaction is about."""
    return sa.func.current_setting(_NAME, sa.literal_column("true"), type_=sa.Text())


#: Makes the transaction one about the tenant of the parameter ``tenant_id``, until it ends; "" is about none.
CHANGE = sa.select(sa.func.set_config(_NAME, sa.bindparam("tenant_id", type_=sa.String()), sa.literal_column("true")))


def hides(tenant_id: ColumnElement[str], *names: str) -> ColumnElement[bool]:
    """Return whether a tenant's rows in any of these tables may be hidden: the transaction is about another one."""
    return sa.and_(is_active(*names), current_tenant().is_distinct_from(tenant_id))


def unseen(name: str) -> ColumnElement[str | None]:
    """Return the table's name if the current role does not see the rows of all tenants in it, else NULL."""
    policies = sa.table(
        "pg_policy", *map(sa.column, ("polrelid", "polname", "polroles", "polqual")), schema="pg_catalog"
    ).c
    role = sa.func.unnest(policies.polroles).column_valued("role")
    belongs = sa.func.pg_has_role(role, sa.literal_column("'USAGE'"))
    admits = sa.exists().where(
        policies.polrelid == Regclass(name),
        policies.polname == sa.literal_column(f"'{ADMIN_POLICY}'"),
        sa.func.pg_get_expr(policies.polqual, policies.polrelid) == sa.literal_column("'true'"),
        sa.exists(sa.select(role).where(belongs)),
    )
    return sa.case((sa.and_(is_active(name), ~admits), sa.literal_column(f"'{name}'", sa.Text())))
