"""Findings about lists of feature keys that somebody has broken past this library; until then decisions deny."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.doctor.report import Finding, Severity
from tierwright.resolution.graph import find_cycle
from tierwright.services.key_lists.checking import stored_lists
from tierwright.services.key_lists.rules import FEATURES, LISTS, key_column, kind_of
from tierwright.services.reading import is_readable

#: By the key of a row: its lists, by column.
Lists = Mapping[str, Mapping[str, tuple[str, ...]]]

_MOST_NAMED = 5
_MOST_FINDINGS = 100
#: What is wrong with a list, and what to do.
_REMEDIES = {
    "unreadable": "Write a JSON list of feature keys there, with SQL: where a list cannot be read, everything that it "
    "could name is missing.",
    "unknown": "Create these features, or take the keys out of the list: nobody has a feature that is not there.",
    "self": "Take the feature out of its own list.",
    "contradiction": "Take the key out of one of the two lists.",
    "cycle": "Take one of them out of the depends_on of another: as long as they need each other, nobody has any.",
}


def key_list_findings(connection: Connection) -> Iterator[Finding]:
    """Yield what is wrong with lists of keys; tables or columns that are missing are left to the schema's findings."""
    inspector = sa.inspect(connection)
    existing = set(inspector.get_table_names())
    lists: dict[str, Lists] = {}
    for table, columns in LISTS.items():
        has = {column["name"] for column in inspector.get_columns(table)} if table in existing else set()
        if {key_column(table), *columns} <= has:
            lists[table] = dict(stored_lists(connection, table))
    if FEATURES in lists:
        yield from _found(lists)


def _found(lists: Mapping[str, Lists]) -> Iterator[Finding]:
    features = lists[FEATURES]
    for table, rows in lists.items():
        for name in LISTS[table]:
            kept = {key: row[name] for key, row in rows.items()}
            broken = [key for key, keys in kept.items() if not is_readable(keys)]
            yield from _finding("unreadable", table, name, dict.fromkeys(broken, ()))
            known = {key: keys for key, keys in kept.items() if is_readable(keys)}
            unknown = {key: tuple(sorted(set(keys) - features.keys())) for key, keys in known.items()}
            yield from _finding("unknown", table, name, {key: keys for key, keys in unknown.items() if keys})
            if table == FEATURES:
                yield from _finding("self", table, name, {key: () for key, keys in known.items() if key in keys})
    both = {
        key: tuple(sorted(set(row["depends_on"]).intersection(row["conflicts_with"])))
        for key, row in _readable(features)
    }
    yield from _finding("contradiction", FEATURES, "conflicts_with", {key: keys for key, keys in both.items() if keys})
    yield from _cycles({key: row["depends_on"] for key, row in features.items()})


def _readable(features: Lists) -> Iterator[tuple[str, Mapping[str, tuple[str, ...]]]]:
    return ((key, row) for key, row in features.items() if all(map(is_readable, row.values())))


def _cycles(needed: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    """Yield circles of two and more, each feature in one of them at most: when that is mended, the next one shows."""
    edges = {key: sorted(set(keys) - {key}) for key, keys in needed.items()}
    for _ in range(_MOST_FINDINGS):
        cycle = find_cycle(edges)
        if not cycle:
            return
        yield _made("cycle", FEATURES, "depends_on", f"{' → '.join(cycle)} need each other.", cycle[:-1])
        edges = {key: keys for key, keys in edges.items() if key not in cycle}


def _finding(problem: str, table: str, name: str, rows: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    if not rows:
        return
    some = [f"{key} ({', '.join(keys[:_MOST_NAMED])})" if keys else key for key, keys in sorted(rows.items())]
    rest = ", ..." if len(some) > _MOST_NAMED else ""
    said = {
        "unreadable": "is no list of texts",
        "unknown": "names features that do not exist",
        "self": "names the feature itself",
        "contradiction": "excludes what depends_on needs",
    }[problem]
    message = f"Of {len(some)} {kind_of(table)}(s), {name} {said}: {', '.join(some[:_MOST_NAMED])}{rest}."
    yield _made(problem, table, name, message, sorted(rows))


def _made(problem: str, table: str, name: str, message: str, keys: tuple[str, ...] | list[str]) -> Finding:
    quoted = ", ".join("'" + key.replace("'", "''") + "'" for key in keys[:_MOST_FINDINGS])
    column = key_column(table)
    sql = f"SELECT {column}, {', '.join(LISTS[table])} FROM {table} WHERE {column} IN ({quoted})"
    return Finding(f"keys-{problem}", Severity.ERROR, f"{table}.{name}", message, _REMEDIES[problem], sql)
