"""A plain table of ours becomes a partitioned one without a row being written, and a plain one again.

1. ``promise``: a CHECK that is not validated, that all rows are from before a coming month; new ones have to be.
2. ``prove``: it is validated, which reads the rows, and blocks neither readers nor writers.
3. ``swap``: in one transaction the table gets another name, a partitioned one takes its own, with all that belongs to
   it, and the old one becomes its first partition. Thanks to the CHECK, PostgreSQL reads no row.

Killed anywhere, the next run goes on. https://www.postgresql.org/docs/current/ddl-partitioning.html
"""

from __future__ import annotations

from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.dialects.postgresql_belongings import belongings, close, give
from tierwright.migrations.dialects.postgresql_partitions import block, default_name

_PROMISE = "_tierwright_before_"
#: For so long the promise refuses no row of today, should the run be killed and nobody come back to it.
_MARGIN, _STALE = "31 days", "7 days"
_FIND_PLAIN = (
    "SELECT oid INTO source FROM pg_class WHERE relnamespace = space AND relname = '{table}' AND relkind = 'r'; "
    "IF source IS NULL THEN RETURN; END IF;"
)
_FIND_PROMISE = (
    "SELECT conname, make_timestamptz(substr(conname, {at}, 4)::int, substr(conname, {at} + 5, 2)::int, 1, 0, 0, 0, "
    "'UTC') AS upper, convalidated INTO promise FROM pg_constraint WHERE conrelid = source "
    r"AND conname ~ '^{promise}\d{{4}}_\d\d$' ORDER BY conname DESC LIMIT 1;"
).replace("{at}", str(len(_PROMISE) + 1))


#: Waits for a vacuum or another migrator with nobody behind it: the strong lock then has only writers to wait for.
_QUIET = "LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE;"


def promise(wanted: Partitioning) -> str:
    """Return the block that promises that all rows are from before the first of a coming month."""
    table, column = wanted.table, wanted.column
    return block(
        "source oid; promise record; latest timestamptz; until timestamp; name text;",
        f"""
        {_FIND_PLAIN.format(table=table)}
        {_FIND_PROMISE.format(promise=_PROMISE)}
        IF promise.upper > now() + interval '{_STALE}' THEN RETURN; END IF;
        SELECT greatest(max({column}), now()) INTO latest FROM {table};
        until := date_trunc('month', latest AT TIME ZONE 'UTC' + interval '{_MARGIN}') + interval '1 month';
        name := '{_PROMISE}' || to_char(until, 'YYYY_MM');
        {_QUIET.format(table=table)}
        IF promise.conname IS NOT NULL THEN
          EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', promise.conname);
        END IF;
        EXECUTE format('ALTER TABLE {table} ADD CONSTRAINT %I CHECK ({column} < %L::timestamptz) NOT VALID',
                       name, until AT TIME ZONE 'UTC');
        """,
    )


def prove(wanted: Partitioning) -> str:
    """Return the block that validates the promise."""
    return block(
        "source oid; promise record;",
        f"""
        {_FIND_PLAIN.format(table=wanted.table)}
        {_FIND_PROMISE.format(promise=_PROMISE)}
        IF NOT promise.convalidated THEN
          EXECUTE format('ALTER TABLE {wanted.table} VALIDATE CONSTRAINT %I', promise.conname);
        END IF;
        """,
    )


def withdraw(wanted: Partitioning) -> str:
    """Return the block that takes a promise back."""
    return block(
        "source oid; promise record;",
        f"""
        {_FIND_PLAIN.format(table=wanted.table)}
        {_FIND_PROMISE.format(promise=_PROMISE)}
        IF promise.conname IS NOT NULL THEN
          EXECUTE format('ALTER TABLE {wanted.table} DROP CONSTRAINT %I', promise.conname);
        END IF;
        """,
    )


def swap(wanted: Partitioning) -> str:
    """Return the block that puts a partitioned table in the place of the plain one, which becomes its partition."""
    table = wanted.table
    return block(
        "source oid; promise record; each record; made text[] := '{}'; named text[] := '{}'; statement text; "
        "former text; suffix text;",
        f"""
        {_FIND_PLAIN.format(table=table)}
        {_QUIET.format(table=table)}
        {_FIND_PROMISE.format(promise=_PROMISE)}
        suffix := '_before_' || to_char(promise.upper AT TIME ZONE 'UTC', 'YYYY_MM');
        former := '{table}' || suffix;
        {belongings(table)}
        LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
        {_DROP_TRIGGERS.format(table=table, condition="AND tgtype & 33 <> 32")}
        {_make_room(table)}
        EXECUTE format('CREATE TABLE {table} (LIKE %I INCLUDING ALL EXCLUDING STATISTICS) PARTITION BY {wanted.key}',
                       former);
        EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', promise.conname);
        {_name_indexes(table)}
        {give(table)}
        EXECUTE format('ALTER TABLE {table} ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                       former, promise.upper);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', former, promise.conname);
        {close("former")}
        """,
    )


def join(wanted: Partitioning) -> str:
    """Return the block that makes the table a plain one again: the largest partition, with the rows of the others.

    What the host had partitioned itself stays so, without the triggers that we gave to its partitions.
    """
    table = wanted.table
    return block(
        "source oid; base record; each record; made text[] := '{}'; named text[] := '{}'; statement text; listed text;",
        f"""
        SELECT oid INTO source FROM pg_class WHERE relnamespace = space AND relname = '{table}' AND relkind = 'p';
        IF source IS NULL THEN RETURN; END IF;
        IF NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = source AND c.relname = '{default_name(table)}') THEN
          FOR each IN SELECT t.tgname, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
              JOIN pg_trigger t ON t.tgrelid = c.oid JOIN pg_trigger o ON o.tgrelid = source AND o.tgname = t.tgname
              WHERE i.inhparent = source AND t.tgtype & 33 = 32 AND NOT t.tgisinternal
          LOOP
            EXECUTE format('DROP TRIGGER %I ON %I', each.tgname, each.relname);
          END LOOP;
          RETURN;
        END IF;
        LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
        SELECT c.oid, c.relname AS name INTO base FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = source ORDER BY pg_relation_size(c.oid) DESC, c.oid LIMIT 1;
        {_names_of_base(table)}
        {belongings(table)}
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO listed FROM pg_attribute
        WHERE attrelid = source AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
        EXECUTE format('ALTER TABLE {table} DETACH PARTITION %I', base.name);
        FOR each IN SELECT tgname FROM pg_trigger WHERE tgrelid = base.oid AND NOT tgisinternal LOOP
          EXECUTE format('DROP TRIGGER %I ON %I', each.tgname, base.name);
        END LOOP;
        FOR each IN SELECT polname FROM pg_policy WHERE polrelid = base.oid LOOP
          EXECUTE format('DROP POLICY %I ON %I', each.polname, base.name);
        END LOOP;
        EXECUTE format('ALTER TABLE %1$I NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', base.name);
        EXECUTE format('INSERT INTO %I (%s) SELECT %s FROM {table}', base.name, listed, listed);
        ALTER TABLE {table} RENAME TO _tierwright_partitioned;
        EXECUTE format('ALTER TABLE %I RENAME TO {table}', base.name);
        {give(table)}
        DROP TABLE _tierwright_partitioned;
        FOREACH statement IN ARRAY named LOOP EXECUTE statement; END LOOP;
        """,
    )


def _make_room(table: str) -> str:
    """Return PL/pgSQL that gives ``source``, its indexes and its keys other names: those belong to the schema."""
    return f"""
        FOR each IN SELECT x.relname AS name, k.oid IS NOT NULL AS is_key,
            CASE WHEN octet_length(x.relname || suffix) > 63 THEN 'idx_' || md5(x.relname) ELSE x.relname END || suffix
              AS other
            FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
            LEFT JOIN pg_constraint k ON k.conindid = x.oid AND k.conrelid = source AND k.contype IN ('p', 'u')
            WHERE i.indrelid = source ORDER BY x.oid
        LOOP
          named := named || each.name;
          EXECUTE format(CASE WHEN each.is_key THEN 'ALTER TABLE {table} RENAME CONSTRAINT %I TO %I'
                              ELSE 'ALTER INDEX %I RENAME TO %I' END, each.name, each.other);
        END LOOP;
        EXECUTE format('ALTER TABLE {table} RENAME TO %I', former);
    """


def _name_indexes(table: str) -> str:
    """Return PL/pgSQL that gives the indexes of the new table the names that those of ``source`` had.

    They were copied, not made from a text: PostgreSQL may read its own text of a predicate as another one, and would
    then build an index for the partition. Copies come in the order of the originals, which is that of their numbers.
    """
    return f"""
        FOR each IN
          WITH known AS (SELECT i.*, x.relname, row_number() OVER (PARTITION BY indrelid ORDER BY indexrelid) AS place,
                                pg_get_expr(indpred, indrelid) AS predicate,
                                ARRAY(SELECT pg_get_indexdef(indexrelid, n, false) FROM generate_series(1, indnatts) n)
                                  AS terms
                         FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                         WHERE indrelid IN (source, '{table}'::regclass))
          SELECT n.relname AS name, named[n.place] AS wanted,
                 EXISTS (SELECT FROM pg_constraint WHERE conindid = n.indexrelid AND conrelid = n.indrelid) AS is_key,
                 (n.indoption::text, n.indclass::text, n.indisunique, n.predicate, n.terms)
                 IS NOT DISTINCT FROM
                 (o.indoption::text, o.indclass::text, o.indisunique, o.predicate, o.terms) AS is_copy
          FROM known n JOIN known o ON o.place = n.place AND o.indrelid = source WHERE n.indrelid <> source
        LOOP
          IF NOT each.is_copy THEN RAISE EXCEPTION '% is no copy of %: run it again', each.name, each.wanted; END IF;
          EXECUTE format(CASE WHEN each.is_key THEN 'ALTER TABLE {table} RENAME CONSTRAINT %I TO %I'
                              ELSE 'ALTER INDEX %I RENAME TO %I' END, each.name, each.wanted);
        END LOOP;
    """


def _names_of_base(table: str) -> str:
    """Return PL/pgSQL that notes how the constraints and indexes of ``base`` are called on the table."""
    return f"""
        FOR each IN SELECT o.conname AS name, k.conname AS wanted FROM pg_constraint o
            JOIN pg_constraint k ON k.oid = o.conparentid WHERE o.conrelid = base.oid AND o.conname <> k.conname
        LOOP
          named := named || format('ALTER TABLE {table} RENAME CONSTRAINT %I TO %I', each.name, each.wanted);
        END LOOP;
        FOR each IN SELECT o.relname AS name, w.relname AS wanted FROM pg_index i
            JOIN pg_class o ON o.oid = i.indexrelid
            JOIN pg_inherits h ON h.inhrelid = o.oid JOIN pg_class w ON w.oid = h.inhparent
            WHERE i.indrelid = base.oid AND o.relname <> w.relname
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = o.oid AND contype IN ('p', 'u'))
        LOOP
          named := named || format('ALTER INDEX %I RENAME TO %I', each.name, each.wanted);
        END LOOP;
    """


_DROP_TRIGGERS = """
    FOR each IN SELECT tgname FROM pg_trigger WHERE tgrelid = source AND NOT tgisinternal {condition} LOOP
      EXECUTE format('DROP TRIGGER %I ON {table}', each.tgname);
    END LOOP;
"""
