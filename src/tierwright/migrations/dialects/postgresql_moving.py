"""Rows that found no month of theirs get one: they leave the partition of everything else, in one transaction.

Nothing is deleted, so no trigger has to be passed: the partition is taken off, its rows are copied to where they
belong, and it is dropped with what was copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.dialects.postgresql_partitions import (
    NEW_DECLARED,
    PARTITIONS,
    Partition,
    block,
    guard_partitions,
    new_partition,
    quoted_text,
)

#: Rows from later than that stay where they are: their months may never come.
FURTHEST = "24 months"
_MOVING = "_tierwright_moving"


def rows_outside(wanted: Partitioning, found: Sequence[Partition]) -> str | None:
    """Return the query for rows that have no month and could have one; None where there can be none.

    It asks the table, whose policies let administrators see them, and reads no partition but that of everything else.
    """
    ranged = [each for each in found if not each.is_default]
    lower = [each.lower for each in ranged if each.lower is not None]
    upper = [each.upper for each in ranged if each.upper is not None]
    sides = [f"{wanted.column} < '{min(lower)}'"] if lower and len(lower) == len(ranged) else []
    sides += [f"{wanted.column} >= '{max(upper)}'"] if upper and len(upper) == len(ranged) else []
    if len(ranged) == len(found) or (ranged and not sides):
        return None
    outside = f"({' OR '.join(sides)}) AND " if sides else ""
    return f"SELECT * FROM {wanted.table} WHERE {outside}{_near(wanted.column)}"


def move_rows(wanted: Partitioning) -> str:
    """Return the block that makes the months of rows that have none; it locks the table while it copies them."""
    table, column = wanted.table, wanted.column
    near = _near(column)

    def fill(condition: str, using: str = "") -> str:
        insert = f"INSERT INTO %I (%s) SELECT %s FROM {_MOVING} WHERE {condition}"
        return f"EXECUTE format({quoted_text(insert)}, new_name, listed, listed){using};"

    return block(
        f"parent oid; fallback text; month record; each record; listed text; {NEW_DECLARED}",
        f"""
        SELECT oid INTO parent FROM pg_class WHERE relnamespace = space AND relname = '{table}' AND relkind = 'p';
        SELECT found.name INTO fallback FROM ({PARTITIONS.format(parent="parent")}) AS found WHERE is_default;
        IF fallback IS NULL THEN RETURN; END IF;
        LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO listed FROM pg_attribute
        WHERE attrelid = parent AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
        EXECUTE format('ALTER TABLE {table} DETACH PARTITION %I', fallback);
        EXECUTE format('ALTER TABLE %I RENAME TO {_MOVING}', fallback);
        ALTER TABLE {_MOVING} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
        FOR month IN
          SELECT start AT TIME ZONE 'UTC' AS lower, (start + interval '1 month') AT TIME ZONE 'UTC' AS upper,
                 '{table}_' || to_char(start, 'YYYY_MM') AS name
          FROM (SELECT DISTINCT date_trunc('month', {column} AT TIME ZONE 'UTC') AS start FROM {_MOVING}
                WHERE {near}) AS months
          ORDER BY start
        LOOP
          new_name := month.name; new_bounds := format('FOR VALUES FROM (%L) TO (%L)', month.lower, month.upper);
          {new_partition(table, fill(f"{column} >= $1 AND {column} < $2", " USING month.lower, month.upper"))}
        END LOOP;
        new_name := '{table}_default'; new_bounds := 'DEFAULT';
        {new_partition(table, fill(f"NOT ({near})"))}
        DROP TABLE {_MOVING};
        {guard_partitions(table)}
        """,
    )


def _near(column: str) -> str:
    return f"isfinite({column}) AND {column} < now() + interval '{FURTHEST}'"
