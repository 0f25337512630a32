"""Ways round the policies that the application's roles may have: privileges, partitions, views and a tenant by default.

TRUNCATE and REFERENCES do not ask policies, a trigger runs as whoever fires it, a partition asks its own policies
instead of its parent's, and a view reads as its owner (https://www.postgresql.org/docs/current/ddl-rowsecurity.html,
https://www.postgresql.org/docs/current/sql-createview.html). Functions with SECURITY DEFINER are not looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.services.row_security import SETTING, TENANT_TABLES

_OURS = """
WITH RECURSIVE ours AS (
    SELECT oid FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname = ANY(:tables)
), roles AS (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY(:roles) AND NOT rolsuper)
"""
_PRIVILEGES = f"""{_OURS}
SELECT roles.rolname, ours.oid::regclass::text FROM roles, ours
WHERE has_table_privilege(roles.oid, ours.oid, 'TRUNCATE, TRIGGER, REFERENCES') ORDER BY 1, 2
"""
_PARTITIONS = f"""{_OURS}, parts AS (
    SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent IN (SELECT oid FROM ours)
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN parts ON i.inhparent = parts.oid
)
SELECT roles.rolname, c.oid::regclass::text FROM roles, parts JOIN pg_class c ON c.oid = parts.oid
WHERE NOT c.relrowsecurity AND (has_table_privilege(roles.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                                OR has_any_column_privilege(roles.oid, c.oid, 'SELECT, INSERT, UPDATE'))
ORDER BY 1, 2
"""
_VIEWS = f"""{_OURS}, readers AS (
    SELECT oid FROM ours
    UNION SELECT r.ev_class FROM readers JOIN pg_depend d ON d.refobjid = readers.oid
    JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass
)
SELECT roles.rolname, c.oid::regclass::text FROM roles, readers JOIN pg_class c ON c.oid = readers.oid
WHERE c.relkind IN ('v', 'm')
  AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
                  WHERE option_name = 'security_invoker' AND option_value::boolean)
  AND (has_table_privilege(roles.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
       OR has_any_column_privilege(roles.oid, c.oid, 'SELECT, INSERT, UPDATE'))
ORDER BY 1, 2
"""
# ALTER ROLE ... SET and ALTER DATABASE ... SET: whoever says no tenant would be that one.
_DEFAULTS = f"""{_OURS}
SELECT DISTINCT roles.rolname, roles.rolname::text FROM roles
JOIN pg_db_role_setting s ON s.setrole IN (0, roles.oid), unnest(s.setconfig) AS said
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND lower(split_part(said, '=', 1)) = '{SETTING}' AND said NOT LIKE '%=' ORDER BY 1
"""
_WAYS = {
    "privilege-too-wide": (
        _PRIVILEGES,
        "{role} has TRUNCATE, TRIGGER or REFERENCES, which do not ask policies.",
        "REVOKE TRUNCATE, TRIGGER, REFERENCES; `tierwright db grants` prints what the role needs.",
    ),
    "partition-not-isolated": (
        _PARTITIONS,
        "{role} may use this partition, which does not ask its parent's policies.",
        "Revoke what the role has on the partition: through the parent it needs nothing there.",
    ),
    "view-not-isolated": (
        _VIEWS,
        "{role} may use this view, which shows it what the view's owner sees: the rows of all tenants.",
        "ALTER VIEW ... SET (security_invoker = true), or revoke it from the role.",
    ),
    "tenant-by-default": (
        _DEFAULTS,
        "{role} works for a tenant that was set for its connections, where nobody has said for which one.",
        f"ALTER ROLE ... RESET {SETTING}, or ALTER DATABASE ... RESET {SETTING}.",
    ),
}


def ways_round(connection: Connection, roles: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield code, object, message and remedy of each way round the policies that one of ``roles`` has."""
    names = {"tables": list(TENANT_TABLES), "roles": list(roles)}
    for code, (query, message, remedy) in _WAYS.items():
        for role, thing in connection.execute(sa.text(query), names):
            yield code, thing, message.format(role=role), remedy
