"""What a database says of row-level security on the tables of tenants, and of the roles that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.errors import DialectUnsupported
from tierwright.services.row_security import ADMIN_POLICY, SETTING, TENANT_TABLES

TENANT_POLICY = "tierwright_tenant"
#: What a tenant's policy compares, as it is written and as PostgreSQL gives it back, white space aside.
TENANT_RULE = f"tenant_id = (SELECT NULLIF(current_setting('{SETTING}', true), ''))"
_TENANT_RULE_BACK = (
    f"((tenant_id)::text = ( SELECT NULLIF(current_setting('{SETTING}'::text, true), ''::text) AS \"nullif\"))"
)
RULES = {TENANT_POLICY: _TENANT_RULE_BACK, ADMIN_POLICY: "true"}
PUBLIC = "public"

_TABLES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner)
FROM pg_class c WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = ANY(:tables)
"""
_POLICIES = """
SELECT c.relname, p.polname, p.polcmd = '*' AND p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
       pg_get_expr(p.polwithcheck, p.polrelid),
       ARRAY(SELECT CASE role WHEN 0 THEN 'public' ELSE pg_get_userbyid(role)::text END FROM unnest(p.polroles) role)
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname = ANY(:tables)
ORDER BY c.relname, p.polname
"""
_ROLES = """
SELECT r.rolname, r.rolsuper, r.rolbypassrls,
       ARRAY(SELECT o.rolname::text FROM pg_roles o
             WHERE o.rolname = ANY(:others) AND pg_has_role(r.oid, o.oid, 'MEMBER')),
       ARRAY(SELECT o.rolname::text FROM pg_roles o
             WHERE o.rolname = ANY(:others) AND pg_has_role(r.oid, o.oid, 'USAGE')),
       ARRAY(SELECT o.rolname::text FROM pg_roles o
             WHERE (o.rolsuper OR o.rolbypassrls) AND NOT r.rolsuper AND o.oid <> r.oid
               AND pg_has_role(r.oid, o.oid, 'MEMBER'))
FROM pg_roles r WHERE r.rolname = ANY(:roles)
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy on a table.

    Attributes:
        name: of it.
        is_whole: whether it is for all commands, and permissive.
        using, checking: its conditions, as PostgreSQL writes them.
        roles: whom it is for.
    """

    name: str
    is_whole: bool
    using: str | None
    checking: str | None
    roles: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        """Whether it bears one of our names."""
        return self.name in RULES

    @property
    def is_right(self) -> bool:
        """Whether it says what we write under its name."""
        rule = RULES.get(self.name)
        return self.is_whole and self.using == rule and self.checking == rule


@dataclass(frozen=True, slots=True)
class TableState:
    """One of the tables of tenants."""

    name: str
    is_on: bool
    is_forced: bool
    owner: str
    policies: tuple[Policy, ...]

    def policy(self, name: str) -> Policy | None:
        """Return the policy with a name."""
        return next((policy for policy in self.policies if policy.name == name), None)


@dataclass(frozen=True, slots=True)
class Role:
    """A role, as far as row-level security minds.

    Attributes:
        name: of it.
        is_superuser: no policy holds for it.
        bypasses: BYPASSRLS: likewise.
        belongs_to: of the roles that were asked about, those that it is a member of; itself as well.
        inherits: those whose policies hold for it without SET ROLE.
        unbound: roles that it can become, and for which no policy holds.
    """

    name: str
    is_superuser: bool
    bypasses: bool
    belongs_to: frozenset[str]
    inherits: frozenset[str]
    unbound: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IsolationState:
    """Row-level security on the tables of tenants.

    Attributes:
        tables: by name; those of another dialect, or that are not there, are missing.
    """

    tables: dict[str, TableState] = field(default_factory=dict)

    @property
    def is_on(self) -> bool:
        """Whether anything of it is on, on any table."""
        return any(table.is_on or any(policy.is_ours for policy in table.policies) for table in self.tables.values())

    @property
    def owners(self) -> tuple[str, ...]:
        """Who owns the tables, sorted."""
        return tuple(sorted({table.owner for table in self.tables.values()}))

    def roles_of(self, policy: str) -> tuple[str, ...]:
        """Return whom a policy of ours is for, on any table, sorted."""
        found = (table.policy(policy) for table in self.tables.values())
        return tuple(sorted({role for each in found if each is not None for role in each.roles}))


def quoted(name: str) -> str:
    """Return a name as an identifier of PostgreSQL; a driver's own quoting also doubles per cent signs."""
    return '"' + name.replace('"', '""') + '"'


def require_postgresql(dialect: str) -> None:
    """Refuse a database that has no row-level security.

    Raises:
        DialectUnsupported: it is not PostgreSQL.
    """
    if dialect != "postgresql":
        raise DialectUnsupported(
            "Row-level security is PostgreSQL's; SQLite has no roles.",
            remedy="Give each process that must not see all tenants a file of its own, or use PostgreSQL.",
        )


def read_isolation(connection: Connection) -> IsolationState:
    """Return what a PostgreSQL database says of row-level security on the tables of tenants.

    Raises:
        DialectUnsupported: it is another database.
    """
    require_postgresql(connection.dialect.name)
    names = {"tables": list(TENANT_TABLES)}
    policies: dict[str, list[Policy]] = {}
    for table, name, is_whole, using, checking, roles in connection.execute(sa.text(_POLICIES), names):
        policies.setdefault(table, []).append(Policy(name, is_whole, using, checking, tuple(roles)))
    return IsolationState(
        {
            name: TableState(name, is_on, is_forced, owner, tuple(policies.get(name, ())))
            for name, is_on, is_forced, owner in connection.execute(sa.text(_TABLES), names)
        }
    )


def read_roles(connection: Connection, names: Iterable[str], others: Iterable[str]) -> dict[str, Role]:
    """Return the roles that exist among ``names``, and which of ``others`` each belongs to."""
    found = connection.execute(sa.text(_ROLES), {"roles": list(names), "others": list(others)})
    return {
        name: Role(name, superuser, bypasses, frozenset(belongs), frozenset(inherits), tuple(unbound))
        for name, superuser, bypasses, belongs, inherits, unbound in found
    }
