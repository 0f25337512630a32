"""PostgreSQL's own description of tables in ``current_schema()``, in a form that can be compared and stored."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from tierwright.migrations.dialects.postgresql_catalog import FUNCTION_TEXT, index_body

Description = dict[str, dict[str, str]]

_TABLES = """
    SELECT relname AS "table", 'table' AS kind, relname AS name, '' AS definition FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace
      AND relkind IN ('r', 'p') AND relname = ANY(%(tables)s)
"""
_COLUMNS = """
    SELECT c.relname AS "table", 'columns' AS kind, a.attname AS name,
           format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN ' COLLATE "' || l.collname || '"' ELSE '' END
           || coalesce(CASE WHEN a.attgenerated <> '' THEN ' GENERATED ' ELSE ' DEFAULT ' END
                       || pg_get_expr(d.adbin, d.adrelid), '')
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END AS definition
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
      AND c.relkind IN ('r', 'p') AND c.relname = ANY(%(tables)s)
      AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
# The partition key of a table is told with its constraints.
# NOT NULL is a constraint of its own since PostgreSQL 18; it is said with the column instead.
_CONSTRAINTS = """
    SELECT c.relname AS "table", 'constraints' AS kind, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
      AND c.relname = ANY(%(tables)s)
      AND k.contype NOT IN ('n', 't')
    UNION ALL
    SELECT relname, 'constraints', 'monthly_partitions', 'PARTITION BY ' || pg_get_partkeydef(oid) FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'p' AND relname = ANY(%(tables)s)
    ORDER BY 1, 3
"""
_INDEXES = """
    SELECT c.relname AS "table", 'indexes' AS kind, x.relname AS name,
           pg_get_indexdef(i.indexrelid)
           || CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN '' ELSE ' INVALID' END AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
      AND c.relname = ANY(%(tables)s)
      AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x'))
    ORDER BY c.relname, x.relname
"""
# A trigger of ours has a function of its own name; whoever empties that has disabled the trigger.
_TRIGGERS = f"""
    SELECT c.relname AS "table", 'triggers' AS kind, t.tgname AS name,
           pg_get_triggerdef(t.oid, true)
           || CASE WHEN p.proname = t.tgname THEN ' AS ' || {FUNCTION_TEXT} ELSE '' END
           || CASE WHEN t.tgenabled IN ('O', 'A') THEN '' ELSE ' DISABLED' END AS definition
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
      AND c.relname = ANY(%(tables)s) AND NOT t.tgisinternal
    ORDER BY c.relname, t.tgname
"""


def read_postgresql(connection: Connection, tables: Sequence[str]) -> dict[str, Description]:
    """Return columns, constraints, indexes and triggers of those of ``tables`` that exist."""
    found: dict[str, Description] = {}
    for row in connection.exec_driver_sql(_TABLES, {"tables": list(tables)}):
        found[row.table] = {"columns": {}, "constraints": {}, "indexes": {}, "triggers": {}}
    for query in (_COLUMNS, _CONSTRAINTS, _INDEXES, _TRIGGERS):
        for row in connection.exec_driver_sql(query, {"tables": list(tables)}):
            body = index_body(row.definition) if row.kind == "indexes" else row.definition
            found[row.table][row.kind][row.name] = body
    return {table: found[table] for table in tables if table in found}
