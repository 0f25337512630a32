"""What may have been meant by a key that no feature has."""

from __future__ import annotations

import time

import pytest

from tierwright.services.near_keys import asked_of, listed

KNOWN = ["agents.canvas", "agents.limit", "agents.teams", "help.chat", "limits.seats", "limits.seats-eu"]


@pytest.mark.parametrize(
    ("keys", "question"),
    [
        (["agents.canvs"], "; did you mean agents.canvas?"),
        (["limits.seat"], "; did you mean limits.seats or limits.seats-eu?"),
        (["agents.limits", "halp.chat"], "; did you mean agents.limit for agents.limits and help.chat for halp.chat?"),
        (["zzz.zzz", "halp.chat"], "; did you mean help.chat for halp.chat?"),
        (["zzz.zzz"], "."),
        (["Agents.Canvas"], "."),
        (["agents"], "."),
        (["agents.canvas" + "s" * 100_000], "."),
        ([], "."),
    ],
)
def test_a_remedy_asks_only_where_something_is_similar(keys: list[str], question: str) -> None:
    assert asked_of(KNOWN, "Correct the key.", keys) == f"Correct the key{question}"


def test_three_are_named_at_most() -> None:
    known = [f"agents.canvas-{number}" for number in range(9)]
    assert asked_of(known, "Do.", ["agents.canvas-x"]).count("agents.canvas-") == 3
    assert asked_of(known, "Do.", [f"agents.canvas-{letter}" for letter in "abcdef"]).count(" for ") == 3


def test_keys_are_listed_as_one_says_them() -> None:
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a or b", "a, b or c"]


def test_a_large_registry_does_not_hold_a_write_up() -> None:
    known = [f"group-{number % 97}.feature-{number}" for number in range(100_000)]
    started = time.monotonic()
    assert "did you mean group-" in asked_of(known, "Do.", ["group-1.featur-1"])
    assert time.monotonic() - started < 2.0  # 10 ms on an idle machine
