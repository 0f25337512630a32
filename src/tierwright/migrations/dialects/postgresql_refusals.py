"""What stands in the way of partitioning a table on PostgreSQL: nothing of the host's may be lost.

What can go along goes along (:mod:`tierwright.migrations.dialects.postgresql_belongings`); the rest is named before
anything changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.names import partition_pattern


def refusals(wanted: Partitioning) -> str:
    """Return the query for what stands in the way of partitioning the table: nothing of the host's may be lost."""
    table, column = wanted.table, wanted.column
    ours = [f"{kind}_{table.removesuffix('_log')}_" for kind in ("idx", "chk")]
    parts: Sequence[str] = (
        # what it is
        f"SELECT 'it is partitioned already, ' || pg_get_partkeydef(oid) FROM log WHERE relkind = 'p' "
        f"AND pg_get_partkeydef(oid) <> '{wanted.key}'",
        "SELECT 'it is unlogged' FROM log WHERE relkind = 'r' AND relpersistence <> 'p'",
        "SELECT 'it is of a composite type' FROM log WHERE relkind = 'r' AND reloftype <> 0",
        "SELECT 'its replica identity is not the default' FROM log WHERE relkind = 'r' AND relreplident <> 'd'",
        "SELECT 'inheritance: ' || inhparent::regclass || ', ' || inhrelid::regclass FROM pg_inherits, log "
        "WHERE relkind = 'r' AND oid IN (inhparent, inhrelid)",
        # what it has
        "SELECT 'identity column ' || attname FROM pg_attribute, plain WHERE attrelid = oid AND attidentity <> '' "
        "AND NOT attisdropped",
        f"SELECT 'unique index without {column}: ' || indexrelid::regclass FROM pg_index, plain WHERE indrelid = oid "
        "AND indisunique AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = indrelid "
        f"AND attname = '{column}' AND attnum = ANY(indkey[0:indnkeyatts - 1]))",
        # Ours are made valid by the revisions that ensure them, which may be pending.
        "SELECT 'index that is not valid: ' || indexrelid::regclass FROM pg_index, plain WHERE indrelid = oid "
        "AND NOT (indisvalid AND indisready AND indislive) "
        f"AND NOT starts_with(indexrelid::regclass::text, '{ours[0]}')",
        "SELECT 'constraint ' || conname || CASE WHEN contype = 'x' THEN ', an exclusion' WHEN connoinherit THEN "
        "', NO INHERIT' ELSE ', NOT VALID' END FROM pg_constraint k, plain WHERE conrelid = plain.oid "
        f"AND NOT starts_with(conname, '_tierwright_') AND NOT starts_with(conname, '{ours[1]}') "
        "AND contype IN ('c', 'f', 'x') "
        "AND (contype = 'x' OR NOT convalidated OR (contype = 'c' AND connoinherit))",
        "SELECT 'trigger with a transition table: ' || tgname FROM pg_trigger, plain WHERE tgrelid = plain.oid "
        "AND tgtype & 1 = 1 AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL)",
        "SELECT 'rule ' || rulename FROM pg_rewrite, plain WHERE ev_class = plain.oid",
        # who refers to it
        "SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint, plain "
        "WHERE confrelid = plain.oid AND contype = 'f'",
        # The views are made anew over the partitioned table; whatever else depends on it would go on with the old rows.
        "SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d, plain "
        "WHERE ((d.refclassid = 'pg_class'::regclass AND d.refobjid = plain.oid) "
        "       OR (d.refclassid = 'pg_type'::regclass "
        "           AND d.refobjid IN (reltype, (SELECT typarray FROM pg_type WHERE oid = reltype))))"
        "  AND d.deptype IN ('n', 'a') AND NOT (d.classid = 'pg_class'::regclass AND d.objid = plain.oid)"
        "  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE d.classid = 'pg_constraint'::regclass AND o.oid = d.objid "
        "                  AND plain.oid IN (o.conrelid, o.confrelid))"
        "  AND NOT EXISTS (SELECT FROM pg_trigger o WHERE d.classid = 'pg_trigger'::regclass AND o.oid = d.objid "
        "                  AND o.tgrelid = plain.oid)"
        "  AND NOT EXISTS (SELECT FROM pg_policy o WHERE d.classid = 'pg_policy'::regclass AND o.oid = d.objid "
        "                  AND o.polrelid = plain.oid)"
        "  AND NOT EXISTS (SELECT FROM pg_attrdef o WHERE d.classid = 'pg_attrdef'::regclass AND o.oid = d.objid "
        "                  AND o.adrelid = plain.oid)"
        "  AND NOT EXISTS (SELECT FROM pg_index o WHERE d.classid = 'pg_class'::regclass AND o.indexrelid = d.objid "
        "                  AND o.indrelid = plain.oid)"
        "  AND NOT EXISTS (SELECT FROM pg_class o WHERE d.classid = 'pg_class'::regclass AND o.oid = d.objid "
        "                  AND o.relkind = 'S')"
        "  AND NOT EXISTS (SELECT FROM pg_rewrite o JOIN pg_class v ON v.oid = o.ev_class "
        "                  WHERE d.classid = 'pg_rewrite'::regclass AND o.oid = d.objid "
        "                  AND (o.ev_class = plain.oid OR (v.relkind = 'v' AND o.rulename = '_RETURN')))"
        "  AND d.classid NOT IN ('pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass)",
        # A subscriber has no tables of the partitions' names.
        "SELECT 'publication ' || pubname FROM pg_publication p, log WHERE relkind = 'r' AND (EXISTS (SELECT FROM "
        "pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = log.oid) OR (NOT pubviaroot AND "
        "(puballtables OR EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname "
        "AND t.schemaname = current_schema() AND t.tablename = log.relname))))",
        # what has the names that the partitions will have
        "SELECT 'the name ' || c.relname || ' is taken' FROM pg_class c "
        "WHERE c.relnamespace = quote_ident(current_schema())::regnamespace "
        f"AND c.relname ~ '{partition_pattern(table)}' "
        f"AND NOT EXISTS (SELECT FROM pg_inherits i, log WHERE i.inhparent = log.oid AND i.inhrelid = c.oid)",
    )
    return (
        "WITH log AS (SELECT * FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace "
        f"AND relname = '{table}'), plain AS (SELECT * FROM log WHERE relkind = 'r') "
        "SELECT DISTINCT hindrance FROM (" + " UNION ALL ".join(parts) + ") AS every (hindrance) ORDER BY hindrance"
    )
