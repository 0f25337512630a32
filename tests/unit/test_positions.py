"""What a replica's place proves: pure, without a server."""

from __future__ import annotations

import pytest

from tierwright.services.statements import Kind
from tierwright.store.place import Place, place_in
from tierwright.store.positions import Position, Positions

ONE, OTHER = "7 5 20 1", "7 5 20 2"


def place(lsn: int | None, history: str = ONE) -> Place:
    return Place("process", history, lsn)


def known(*positions: tuple[int, float], history: str = ONE) -> Positions:
    made = Positions()
    for lsn, at in positions:
        made.note(history, Position(lsn, at, at + 5, f"{lsn}:"))
    return made


def row(lsn: int | None, more: str) -> list[tuple[object, ...]]:
    return [
        (int(Kind.STATE), "catalog", None, "{}", None, None, 1, None, None, None),
        (int(Kind.PLACE), "7 5 20", None, "started 42", None, None, lsn, more, None, None),
    ]


@pytest.mark.parametrize(("lsn", "expected"), [(9, None), (10, 1.0), (19, 1.0), (20, 2.0), (10**12, 3.0), (None, None)])
def test_a_replica_is_as_recent_as_the_newest_position_that_it_has_passed(lsn: int | None, expected: object) -> None:
    found = known((10, 1.0), (20, 2.0), (30, 3.0)).passed_by(place(lsn))
    assert (found and found.read_at) == expected


def test_positions_of_another_history_prove_nothing_and_are_forgotten() -> None:
    positions = known((10, 1.0), (20, 2.0))
    assert positions.passed_by(place(50, OTHER)) is None
    assert positions.is_foreign(place(50, OTHER))
    assert positions.is_foreign(place(None))
    positions.note(OTHER, Position(5, 3.0, 8.0, "a"))  # a replica was promoted, which had not received everything
    assert positions.passed_by(place(50)) is None
    assert positions.oldest_at == 3.0
    positions.note(OTHER, Position(4, 4.0, 9.0, "b"))  # restored under our feet
    assert positions.oldest_at == positions.newest_at == 4.0


def test_a_position_that_arrives_late_takes_nothing_back() -> None:
    positions = known((10, 1.0), (20, 2.0))
    positions.note(ONE, Position(15, 1.5, 6.5, "a"))
    assert positions.passed_by(place(20)) == Position(20, 2.0, 7.0, "20:")
    positions.note(OTHER, Position(99, 1.5, 6.5, "a"))  # of a server that was the primary once
    assert positions.passed_by(place(20)) == Position(20, 2.0, 7.0, "20:")
    assert positions.oldest_at == 1.0


def test_without_a_commit_in_between_an_earlier_position_proves_as_much_as_a_later_one() -> None:
    positions = known((10, 1.0))
    positions.note(ONE, Position(14, 2.0, 7.0, "10:"))  # the primary has tidied a page, and not sent it yet
    assert positions.passed_by(place(10)) == Position(10, 2.0, 7.0, "10:")
    positions.note(ONE, Position(20, 3.0, 8.0, "20:"))
    assert positions.passed_by(place(14)) == Position(10, 2.0, 7.0, "10:")


def test_few_positions_are_remembered_and_none_at_first() -> None:
    positions = known(*((number, float(number)) for number in range(100)))
    assert positions.newest_at - positions.oldest_at < 10
    empty = Positions()
    assert empty.passed_by(place(5)) is None
    assert empty.newest_at < 0 < empty.oldest_at


@pytest.mark.parametrize(
    ("lsn", "end"),
    [(8192 + 24, 8192), (16 * 2**20 + 40, 16 * 2**20), (8192 + 48, 8192 + 48), (8192, 8192), (8192 + 32, 8192 + 32)],
)
def test_a_position_behind_the_header_of_a_page_is_the_end_of_the_page_before(lsn: int, end: int) -> None:
    assert place_in(row(lsn, "00000001 8192")).lsn == end


def test_a_timeline_is_the_same_however_it_is_written_and_a_place_may_say_none() -> None:
    assert place_in(row(64, "0000000A 8192")).history == place_in(row(64, "a 8192")).history == "7 5 20 10"
    assert place_in(row(None, "8192")).lsn is None
