"""Editing the text of a CREATE TABLE: what is cut and added is exactly the constraint that was meant."""

from __future__ import annotations

import itertools
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwright.migrations.dialects import sqlite_sql

TABLE = """CREATE TABLE "x" (a VARCHAR(20) CONSTRAINT c1 CHECK (a IN ('x', 'y)') OR a IS NULL) NOT NULL, -- it's, fine (
 b TEXT DEFAULT 'a, b' COLLATE NOCASE CONSTRAINT nn NOT NULL,
 fk TEXT CONSTRAINT f2 REFERENCES p(k) ON DELETE SET NULL ON UPDATE SET DEFAULT NOT DEFERRABLE DEFAULT NULL,
 g TEXT GENERATED ALWAYS AS (a || b) STORED, "check" TEXT, [odd ' name] TEXT, /* CONSTRAINT no CHECK (0), */
 CONSTRAINT pk PRIMARY KEY (a), -- kept
 CONSTRAINT "Fk One" FOREIGN KEY(fk) REFERENCES [P] (k) ON DELETE SET NULL, CHECK (b <> ''), UNIQUE (b, a),
 CONSTRAINT last CHECK (length(b) < 3) -- tail
) WITHOUT ROWID"""
NAMES = {"c1", "nn", "f2", "pk", "fk one", "last"}


def columns(sql: str) -> list[tuple[object, ...]]:
    """Return the columns of the table that the statement makes."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute(sql)
        found = connection.execute("PRAGMA table_xinfo(x)").fetchall()
    connection.close()
    return found


def test_every_named_constraint_is_found() -> None:
    found = sqlite_sql.named_constraints(TABLE)
    assert set(found) == NAMES
    assert found["c1"].text == "check ( a in ( 'x' , 'y)' ) or a is null )"
    assert found["f2"].text == "references p ( k ) on delete set null on update set default not deferrable"
    assert found["fk one"].text == "foreign key ( fk ) references p ( k ) on delete set null"


def test_unnamed_constraints_are_found() -> None:
    assert sqlite_sql.unnamed_constraints(TABLE) == ["check ( b <> '' )", "unique ( b , a )"]


@pytest.mark.parametrize("name", sorted(NAMES - {"pk", "nn"}))
def test_one_constraint_is_removed_and_nothing_else(name: str) -> None:
    edited = sqlite_sql.without_constraint(TABLE, name)
    assert set(sqlite_sql.named_constraints(edited)) == NAMES - {name}
    assert sqlite_sql.unnamed_constraints(edited) == sqlite_sql.unnamed_constraints(TABLE)
    assert columns(edited) == columns(TABLE)
    assert "-- kept" in edited


@pytest.mark.parametrize("removed", sorted(NAMES - {"pk"}))
def test_a_constraint_is_added_behind_all_others(removed: str) -> None:
    edited = sqlite_sql.with_constraint(sqlite_sql.without_constraint(TABLE, removed), "new", "CHECK (b <> 'z')")
    assert sqlite_sql.named_constraints(edited)["new"].text == "check ( b <> 'z' )"
    assert len(columns(edited)) == len(columns(TABLE))


def test_a_table_is_renamed_with_its_options() -> None:
    renamed = sqlite_sql.renamed(TABLE, "y")
    assert renamed.startswith("CREATE TABLE y (")
    assert sqlite_sql.is_without_rowid(renamed)
    assert not sqlite_sql.is_without_rowid("CREATE TABLE t (without INT, rowid INT)")


def test_collations_are_found() -> None:
    assert sqlite_sql.column_collations(TABLE) == {"b": "nocase"}


@given(st.lists(st.sampled_from(["c1", "f2", "fk one", "last"]), unique=True), st.integers(0, 3))
def test_any_sequence_of_edits_stays_a_table(removed: list[str], added: int) -> None:
    sql = TABLE
    for name in removed:
        sql = sqlite_sql.without_constraint(sql, name)
    for number in range(added):
        sql = sqlite_sql.with_constraint(sql, f"n{number}", f"CHECK (a <> '{number}')")
    assert columns(sql) == columns(TABLE)
    assert set(sqlite_sql.named_constraints(sql)) == NAMES - set(removed) | {f"n{n}" for n in range(added)}


@given(st.text(alphabet="ab'\"`[]-/* \n,()", max_size=40))
def test_tokens_cover_any_text_without_overlap(text: str) -> None:
    found = sqlite_sql.tokens(text)
    assert all(first.end <= second.start for first, second in itertools.pairwise(found))
    assert not text.strip() or found or text.lstrip().startswith(("--", "/*"))
