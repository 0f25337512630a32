"""What a list of feature keys may hold, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from tierwright.errors import CycleRefused, InvalidInput
from tierwright.services.key_lists.rules import LISTS, Written, refuse_malformed

WAS = {"feature_key": "a.one", "depends_on": ["a.old"], "conflicts_with": []}


@pytest.mark.parametrize(
    "keys",
    [
        None,
        "a.one",
        7,
        {},
        {"a.two": 1},
        ("a.two",),
        ["a.two", 7],
        [None],
        [["a.two"]],
        ["A.Two"],
        ["a"],
        ["a.two"] * 2,
        [f"a.k{number}" for number in range(20_000)],
    ],
)
@pytest.mark.parametrize("table", LISTS)
def test_what_is_no_list_of_keys_is_refused(table: str, keys: Any) -> None:
    name = LISTS[table][0]
    key = {f"{table.removesuffix('_registry')}_key": "a.one"}
    for before in (None, {**key, **{each: [] for each in LISTS[table]}}):
        with pytest.raises(InvalidInput, match=name):
            refuse_malformed([Written(table, before, {**key, name: keys})])


@pytest.mark.parametrize(
    ("lists", "error"),
    [
        ({"depends_on": ["a.one"]}, CycleRefused),
        ({"conflicts_with": ["a.one"]}, InvalidInput),
        ({"depends_on": ["a.two"], "conflicts_with": ["a.three", "a.two"]}, InvalidInput),
        ({"conflicts_with": ["a.old"]}, InvalidInput),
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(lists: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        refuse_malformed([Written("feature_registry", WAS, {**WAS, **lists})])


def test_only_what_changes_is_looked_at() -> None:
    broken = {**WAS, "depends_on": "not a list", "conflicts_with": ["a.one"]}
    refuse_malformed([Written("feature_registry", broken, {**broken, "icon": "star"})])
    refuse_malformed([Written("feature_registry", broken, None)])
    with pytest.raises(InvalidInput):  # under another key all of it is new
        refuse_malformed([Written("feature_registry", broken, {**broken, "feature_key": "a.two"})])
    added = Written("feature_registry", WAS, {**WAS, "depends_on": ["a.old", "a.new"]})
    assert added.newly_named() == {"a.new"}
