"""The partitions of a table of ours on PostgreSQL: what they are called, which there are, and making more.

Every statement is one ``DO`` block, which is one transaction: it can be tried again until its locks are free, and it is
the same in a live run and in a ``--sql`` script. It reads the catalogue when it runs, so what a host added is seen.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.names import is_partition_name, partition_pattern

#: Months for which the revision makes partitions, the current one aside.
AHEAD = 3
#: SQL for the partitions of ``$parent``; a bound that is none is infinite.
PARTITIONS = """
    SELECT c.oid, c.relname::text AS name, coalesce(bounds[1], '-infinity')::timestamptz AS lower,
           coalesce(bounds[2], 'infinity')::timestamptz AS upper,
           pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' AS is_default
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, regexp_match(pg_get_expr(c.relpartbound, c.oid),
         '^FOR VALUES FROM \\((?:''([^'']+)''|MINVALUE)\\) TO \\((?:''([^'']+)''|MAXVALUE)\\)$') AS bounds
    WHERE i.inhparent = {parent} AND NOT i.inhdetachpending
"""
_PARENT = (
    "(SELECT oid FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace "
    "AND relname = '{table}' AND relkind = 'p')"
)
#: SQL for the statement triggers against TRUNCATE that ``$parent`` has and the partition ``$child`` has not: those of
#: rows every partition gets by itself.
_MISSING_TRIGGERS = """
    SELECT t.tgname, pg_get_triggerdef(t.oid, true) AS definition FROM pg_trigger t
    WHERE t.tgrelid = {parent} AND NOT t.tgisinternal AND t.tgtype & 33 = 32
      AND NOT EXISTS (SELECT FROM pg_trigger o WHERE o.tgrelid = {child} AND o.tgname = t.tgname)
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table by a moment.

    Attributes:
        name: of the table that it is.
        lower, upper: from when until when; None where it has no such bound, both for the one of everything else.
        is_default: whether it takes what no other one does.
    """

    name: str
    lower: dt.datetime | None
    upper: dt.datetime | None
    is_default: bool


def default_name(table: str) -> str:
    """Return the name of the partition of what no other one takes."""
    return f"{table}_default"


def month_name(table: str, month: dt.datetime) -> str:
    """Return the name of the partition of a month."""
    return f"{table}_{month:%Y_%m}"


def part_name(index: str, partition: str) -> str:
    """Return the name of an index's part on a partition; those that PostgreSQL chooses it may have chosen before."""
    return f"{index[:40]}_{hashlib.sha256(partition.encode()).hexdigest()[:12]}"


def partitions(connection: Connection, table: str) -> list[Partition]:
    """Return the partitions of a table by their bounds, the one of everything else last; none of a plain table."""
    rows = connection.exec_driver_sql(
        "SELECT name, CASE WHEN isfinite(lower) THEN lower END AS lower, CASE WHEN isfinite(upper) THEN upper END AS "
        f"upper, is_default FROM ({PARTITIONS.format(parent=_PARENT.format(table=table))}) AS found "
        "ORDER BY is_default, found.lower"
    )
    return [Partition(row.name, row.lower, row.upper, row.is_default) for row in rows]


def unguarded(connection: Connection, table: str) -> list[str]:
    """Return the partitions that lack a trigger against TRUNCATE, or on which one of the table's is off."""
    parent = _PARENT.format(table=table)
    rows = connection.exec_driver_sql(
        f"SELECT name FROM ({PARTITIONS.format(parent=parent)}) AS found WHERE EXISTS "
        f"({_MISSING_TRIGGERS.format(parent=parent, child='found.oid')}) "
        "OR EXISTS (SELECT FROM pg_trigger t JOIN pg_trigger o ON o.tgname = t.tgname AND o.tgrelid = found.oid "
        f"WHERE t.tgrelid = {parent} AND t.tgenabled IN ('O', 'A') AND o.tgenabled NOT IN ('O', 'A')) ORDER BY name"
    )
    return [str(row.name) for row in rows]


def uncovered(connection: Connection, table: str) -> list[str]:
    """Return the partitions that row-level security leaves open while it is on for the table."""
    parent = _PARENT.format(table=table)
    rows = connection.exec_driver_sql(
        f"SELECT name FROM ({PARTITIONS.format(parent=parent)}) AS found JOIN pg_class c ON c.oid = found.oid "
        f"JOIN pg_class p ON p.oid = {parent} "
        "WHERE p.relrowsecurity > c.relrowsecurity OR p.relforcerowsecurity > c.relforcerowsecurity ORDER BY name"
    )
    return [str(row.name) for row in rows]


def is_partitioned_so(connection: Connection, wanted: Partitioning) -> bool:
    """Tell whether the table is partitioned as wanted, by us or by the host, and every partition is guarded."""
    key = connection.exec_driver_sql(
        f"SELECT pg_get_partkeydef(oid) FROM {_PARENT.format(table=wanted.table)} AS found"
    ).scalar()
    if key != wanted.key:
        return False
    found = partitions(connection, wanted.table)
    is_ours = any(is_partition_name(wanted.table, each.name) for each in found)
    is_whole = any(each.is_default for each in found) or not is_ours
    return is_whole and not unguarded(connection, wanted.table)


def block(declared: str, body: str) -> str:
    """Return a DO block; ``space`` is the schema."""
    text = (
        f"DO $tierwright$ DECLARE space oid := quote_ident(current_schema())::regnamespace; {declared} "
        f"BEGIN {body} END $tierwright$"
    )
    return " ".join(text.split())


def months_ahead(wanted: Partitioning, ahead: int = AHEAD, first: dt.date | None = None) -> str:
    """Return the block that makes what is missing of the months ahead, and of the partition of everything else.

    They begin with the current month, unless ``first`` names another one.

    What the host has partitioned itself gets no partitions of ours. A month of which rows are in the partition of
    everything else is left to ``tierwright audit maintain``, which moves them.
    """
    start = "date_trunc('month', now() AT TIME ZONE 'UTC')" if first is None else f"timestamp '{first:%Y-%m}-01'"
    return block(
        f"parent oid; fallback oid; month record; each record; is_taken boolean; {NEW_DECLARED}",
        f"""
        SELECT oid INTO parent FROM pg_class
        WHERE relnamespace = space AND relname = '{wanted.table}' AND relkind = 'p';
        IF parent IS NULL THEN RETURN; END IF;
        IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = parent AND c.relname ~ '{partition_pattern(wanted.table)}') THEN
          SELECT oid INTO fallback FROM ({PARTITIONS.format(parent="parent")}) AS found WHERE is_default;
          FOR month IN
            SELECT start AT TIME ZONE 'UTC' AS lower, (start + interval '1 month') AT TIME ZONE 'UTC' AS upper,
                   '{wanted.table}_' || to_char(start, 'YYYY_MM') AS name
            FROM generate_series({start},
                                 {start} + interval '{ahead} months',
                                 interval '1 month') AS start
          LOOP
            CONTINUE WHEN EXISTS (SELECT FROM ({PARTITIONS.format(parent="parent")}) AS found
                                  WHERE NOT is_default AND found.lower < month.upper AND found.upper > month.lower);
            EXECUTE 'SELECT EXISTS (SELECT FROM {wanted.table} WHERE {wanted.column} >= $1 AND {wanted.column} < $2)'
              INTO is_taken USING month.lower, month.upper;
            CONTINUE WHEN is_taken;
            new_name := month.name; new_bounds := format('FOR VALUES FROM (%L) TO (%L)', month.lower, month.upper);
            {new_partition(wanted.table)}
          END LOOP;
          IF fallback IS NULL THEN
            new_name := '{default_name(wanted.table)}'; new_bounds := 'DEFAULT';
            {new_partition(wanted.table)}
          END IF;
        END IF;
        {guard_partitions(wanted.table)}
        """,
    )


def new_partition(table: str, fill: str = "") -> str:
    """Return PL/pgSQL that makes the partition ``new_name`` with ``new_bounds``; ``fill`` runs before that is one."""
    return _NEW.format(table=table, fill=fill)


def guard_partitions(table: str) -> str:
    """Return PL/pgSQL that gives every partition of ``parent`` the triggers that it lacks, and turns its own on."""
    return f"""
        FOR each IN SELECT found.name, lacking.definition FROM ({PARTITIONS.format(parent="parent")}) AS found,
            LATERAL ({_MISSING_TRIGGERS.format(parent="parent", child="found.oid")}) AS lacking
        LOOP
          EXECUTE replace(each.definition, ' ON {table} ', format(' ON %I ', each.name));
        END LOOP;
        FOR each IN SELECT found.name, o.tgname FROM ({PARTITIONS.format(parent="parent")}) AS found
            JOIN pg_trigger o ON o.tgrelid = found.oid JOIN pg_trigger t ON t.tgrelid = parent AND t.tgname = o.tgname
            WHERE t.tgenabled IN ('O', 'A') AND o.tgenabled NOT IN ('O', 'A')
        LOOP
          EXECUTE format('ALTER TABLE %I ENABLE TRIGGER %I', each.name, each.tgname);
        END LOOP;
    """


NEW_DECLARED = "new_name text; new_bounds text; new_owner text; open record;"
# Attached, not made as a partition: that would lock the whole table. It gets indexes, keys and triggers with it. Nobody
# but the owner may come past the table and its policies.
_NEW = """
    EXECUTE format('CREATE TABLE %I (LIKE {table} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)', new_name);
    {fill}
    SELECT pg_get_userbyid(relowner) INTO new_owner FROM pg_class WHERE oid = parent;
    IF new_owner <> current_user THEN EXECUTE format('ALTER TABLE %I OWNER TO %I', new_name, new_owner); END IF;
    FOR open IN SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS role
        FROM pg_class c, aclexplode(c.relacl)
        WHERE c.relnamespace = space AND c.relname = new_name AND grantee <> c.relowner
    LOOP
      EXECUTE format('REVOKE ALL ON %I FROM %s', new_name, open.role);
    END LOOP;
    IF (SELECT relrowsecurity FROM pg_class WHERE oid = parent) THEN
      EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', new_name);
    END IF;
    IF (SELECT relforcerowsecurity FROM pg_class WHERE oid = parent) THEN
      EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', new_name);
    END IF;
    EXECUTE format('ALTER TABLE {table} ATTACH PARTITION %I %s', new_name, new_bounds);
"""


def quoted_text(text: str) -> str:
    """Return a text as a literal."""
    return "'" + text.replace("'", "''") + "'"
