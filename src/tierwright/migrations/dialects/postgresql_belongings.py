"""What belongs to a table of ours on PostgreSQL beside its columns, and goes along when another takes its place.

Pieces of PL/pgSQL for a block: the first one notes statements in ``made``, the second runs them.
"""

from __future__ import annotations

_ROLE = "CASE {oid} WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid({oid})) END"


def belongings(table: str) -> str:
    """Return PL/pgSQL that notes in ``made`` how to give another table of this name what ``source`` has."""
    return f"""
        SELECT made || format('ALTER TABLE {table} OWNER TO %I', pg_get_userbyid(relowner))
               || CASE WHEN relrowsecurity THEN ARRAY['ALTER TABLE {table} ENABLE ROW LEVEL SECURITY'] ELSE '{{}}' END
               || CASE WHEN relforcerowsecurity THEN ARRAY['ALTER TABLE {table} FORCE ROW LEVEL SECURITY']
                       ELSE '{{}}' END
               || CASE WHEN relacl IS NULL THEN '{{}}'
                       ELSE ARRAY[format('REVOKE ALL ON {table} FROM %I', pg_get_userbyid(relowner))] END
        INTO made FROM pg_class WHERE oid = source;
        FOR each IN
          SELECT 0 AS step,
                 format('ALTER TABLE {table} ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) AS text
          FROM pg_constraint WHERE conrelid = source AND contype = 'f'
            AND (SELECT relkind FROM pg_class WHERE oid = source) = 'r'
          UNION ALL
          SELECT 1, format('GRANT %s ON {table} TO %s%s', privilege_type, {_ROLE.format(oid="grantee")},
                                   CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
          FROM pg_class, aclexplode(relacl) WHERE oid = source
          UNION ALL
          SELECT 2, format('GRANT %s (%I) ON {table} TO %s%s', privilege_type, attname, {_ROLE.format(oid="grantee")},
                           CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
          FROM pg_attribute, aclexplode(attacl) WHERE attrelid = source AND NOT attisdropped
          UNION ALL
          SELECT 3, format('CREATE POLICY %I ON {table} AS %s FOR %s TO %s%s%s', polname,
            CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                        ELSE 'ALL' END,
            (SELECT string_agg({_ROLE.format(oid="role")}, ', ') FROM unnest(polroles) AS role),
            coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', ''),
            coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', ''))
          FROM pg_policy WHERE polrelid = source
          UNION ALL
          SELECT 4, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = source AND NOT tgisinternal
          UNION ALL
          SELECT 5, format('ALTER TABLE {table} %s TRIGGER %I', CASE tgenabled WHEN 'D' THEN 'DISABLE'
            WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, tgname)
          FROM pg_trigger WHERE tgrelid = source AND NOT tgisinternal AND tgenabled <> 'O'
          UNION ALL
          SELECT DISTINCT 6, format('CREATE OR REPLACE VIEW %s%s AS %s', v.oid::regclass,
            ' WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid))
          FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
          JOIN pg_class v ON v.oid = r.ev_class
          WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = source AND v.relkind = 'v'
          UNION ALL
          SELECT 7, format('ALTER SEQUENCE %s OWNED BY {table}.%I', s.oid::regclass, a.attname)
          FROM pg_depend d JOIN pg_class s ON d.classid = 'pg_class'::regclass AND s.oid = d.objid AND s.relkind = 'S'
          JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = source AND d.deptype = 'a'
          UNION ALL
          SELECT 8, format('COMMENT ON TABLE {table} IS %L', obj_description(source, 'pg_class'))
          WHERE obj_description(source, 'pg_class') IS NOT NULL
          ORDER BY 1, 2
        LOOP
          made := made || each.text;
        END LOOP;
    """


def give(table: str) -> str:
    """Return PL/pgSQL that runs what was noted, after it has taken back what default privileges gave away."""
    return close(f"'{table}'") + "FOREACH statement IN ARRAY made LOOP EXECUTE statement; END LOOP;"


def close(name: str) -> str:
    """Return PL/pgSQL that leaves a table to its owner alone."""
    return f"""
        FOR each IN SELECT DISTINCT {_ROLE.format(oid="grantee")} AS role FROM pg_class c, aclexplode(c.relacl)
            WHERE c.relnamespace = space AND c.relname = {name} AND grantee <> c.relowner
        LOOP
          EXECUTE format('REVOKE ALL ON %I FROM %s', {name}, each.role);
        END LOOP;
        FOR each IN SELECT attname, {_ROLE.format(oid="grantee")} AS role FROM pg_attribute a JOIN pg_class c
            ON c.oid = a.attrelid, aclexplode(a.attacl) WHERE c.relnamespace = space AND c.relname = {name}
        LOOP
          EXECUTE format('REVOKE ALL (%I) ON %I FROM %s', each.attname, {name}, each.role);
        END LOOP;
    """
