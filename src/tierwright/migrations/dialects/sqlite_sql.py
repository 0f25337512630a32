"""Reading and editing the text of a SQLite ``CREATE TABLE``.

SQLite keeps the statement that made a table and nothing finer. Editing that text is the only way to change a
constraint without losing what a host added (columns, COLLATE, unnamed constraints, generated columns): a
reflected copy drops some of it. Grammar: https://www.sqlite.org/lang_createtable.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))
      | (?P<string>[xX]?'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<word>[A-Za-z_$\x80-\U0010ffff][\w$]*)
      | (?P<number>\d[\w.]*)
      | (?P<operator><>|!=|<=|>=|==|\|\||<<|>>|->>|->|.)""",
    re.VERBOSE | re.DOTALL,
)
_TABLE_CONSTRAINT = {"constraint", "primary", "unique", "check", "foreign"}
_CLAUSE_START = {"constraint", "primary", "not", "null", "unique", "check", "default", "collate", "references"} | {
    "generated",
    "as",
    "foreign",
}


@dataclass(frozen=True)
class Token:
    """One word, literal or sign; ``text`` is folded so that equal SQL has equal tokens."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Clause:
    """A named constraint found in a table's text: ``text`` is its folded body, ``start:end`` what to cut."""

    name: str
    text: str
    start: int
    end: int


def tokens(sql: str) -> list[Token]:
    """Split ``sql`` into tokens without space and comments; words and quoted names are folded to lower case."""
    return [
        Token(str(match.lastgroup), _fold(str(match.lastgroup), match.group()), match.start(), match.end())
        for match in _TOKEN.finditer(sql)
        if match.lastgroup != "space"
    ]


def folded(sql: str) -> str:
    """Return ``sql`` in a form that is equal for statements that differ in case, quoting of names and space only."""
    return " ".join(token.text for token in tokens(sql))


def named_constraints(sql: str) -> dict[str, Clause]:
    """Return the named constraints of a ``CREATE TABLE``, at table level or inside a column, by lower-case name."""
    parsed = tokens(sql)
    found: dict[str, Clause] = {}
    for item in _items(parsed):
        for clause in _clauses(item):
            found[clause.name] = clause
    return found


def unnamed_constraints(sql: str) -> list[str]:
    """Return the folded text of every constraint at table level that has no name, and of every column's CHECK."""
    found = []
    for item in _items(tokens(sql)):
        starts = [i for i in range(len(item)) if _begins_clause(item, i)]
        for position, i in enumerate(starts):
            word = item[i][0].text
            named = i >= 2 and item[i - 2][0].text == "constraint" and item[i - 2][0].kind == "word"
            if not named and (word == "check" or (i == 0 and word in _TABLE_CONSTRAINT - {"constraint"})):
                end = starts[position + 1] if position + 1 < len(starts) else len(item)
                found.append(" ".join(token.text for token, _ in item[i:end]))
    return sorted(found)


def column_collations(sql: str) -> dict[str, str]:
    """Return the collation of every column that names one, by lower-case column name."""
    found = {}
    for item in _items(tokens(sql)):
        for i, (token, depth) in enumerate(item):
            if depth == 0 and token.kind == "word" and token.text == "collate" and i + 1 < len(item):
                found[item[0][0].text] = item[i + 1][0].text
    return found


def without_constraint(sql: str, name: str) -> str:
    """Return ``sql`` without the constraint ``name``; unchanged where it has none of that name."""
    clause = named_constraints(sql).get(name.lower())
    if clause is None:
        return sql
    before = [token for token in tokens(sql) if token.end <= clause.start][-1]
    if before.text == "," and before.kind == "operator":  # a table-level item of its own: its comma goes with it
        return sql[: before.start] + sql[before.end : clause.start] + sql[clause.end :]
    return sql[: clause.start] + sql[clause.end :]


def with_constraint(sql: str, name: str, clause: str) -> str:
    """Return ``sql`` with the table-level constraint ``name`` appended to its list."""
    close = _items_span(tokens(sql))[1]
    # The line break ends a `-- comment` that may stand before the parenthesis.
    return f"{sql[:close].rstrip()}\n, CONSTRAINT {name} {clause})" + sql[close + 1 :]


def renamed(sql: str, name: str) -> str:
    """Return the ``CREATE TABLE`` with another table name (``name`` must need no quoting)."""
    parsed = tokens(sql)
    opening = _items_span(parsed)[0]
    return f"CREATE TABLE {name} " + sql[opening:]


def is_without_rowid(sql: str) -> bool:
    """Tell whether the table was made ``WITHOUT ROWID``."""
    return "without rowid" in folded(sql[_items_span(tokens(sql))[1] :])


def _fold(kind: str, text: str) -> str:
    if kind == "quoted":
        closing = text[-1]
        return text[1:-1].replace(closing * 2, closing).lower()
    return text.lower() if kind in ("word", "number") else text


def _items_span(parsed: list[Token]) -> tuple[int, int]:
    """Return the offsets of the parentheses around the columns and constraints."""
    depth, opening = 0, -1
    for token in parsed:
        if token.kind == "operator" and token.text == "(":
            depth += 1
            opening = token.start if opening < 0 else opening
        elif token.kind == "operator" and token.text == ")":
            depth -= 1
            if depth == 0:
                return opening, token.start
    raise ValueError("not a CREATE TABLE with a list of columns")


def _items(parsed: list[Token]) -> Iterator[list[tuple[Token, int]]]:
    """Yield each column or constraint as its tokens with their depth (0 is outside of all parentheses)."""
    opening, closing = _items_span(parsed)
    depth = 0
    item: list[tuple[Token, int]] = []
    for token in parsed:
        if not opening < token.start < closing:
            continue
        if token.kind == "operator" and token.text == ")":
            depth -= 1
        if token.kind == "operator" and token.text == "," and depth == 0:
            yield item
            item = []
            continue
        item.append((token, depth))
        if token.kind == "operator" and token.text == "(":
            depth += 1
    yield item


def _clauses(item: list[tuple[Token, int]]) -> Iterator[Clause]:
    starts = [i for i in range(len(item)) if _begins_clause(item, i)]
    for i in starts:
        if item[i][0].text != "constraint" or item[i][0].kind != "word":
            continue
        following = [start for start in starts if start > i + 2]  # i+1 is the name, i+2 the clause's own first word
        end = following[0] if following else len(item)
        yield Clause(
            name=item[i + 1][0].text,
            text=" ".join(token.text for token, _ in item[i + 2 : end]),
            start=item[i][0].start,
            end=item[end - 1][0].end,
        )


def _begins_clause(item: list[tuple[Token, int]], i: int) -> bool:
    token, depth = item[i]
    if depth or token.kind != "word" or token.text not in _CLAUSE_START:
        return False
    before = item[i - 1][0].text if i else ""
    after = item[i + 1][0].text if i + 1 < len(item) else ""
    if token.text in ("null", "default") and before in ("set", "not", "default"):  # SET NULL, NOT NULL, DEFAULT NULL
        return False
    if token.text == "not" and after == "deferrable":
        return False
    if token.text == "references" and _in_foreign_key(item, i):
        return False
    return not (token.text == "as" and before in ("always",))


def _in_foreign_key(item: list[tuple[Token, int]], i: int) -> bool:
    return any(token.kind == "word" and token.text == "foreign" and depth == 0 for token, depth in item[:i])
