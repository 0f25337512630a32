"""What entries leave, and which of them do not agree with the ones before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tierwright.audit.entries import AuditEntry
from tierwright.audit.replay import Replay
from tierwright.types import uuid7

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
OVERRIDE, LICENSE, TIER, GRANT = "tenant_override", "tenant_license", "tier", "tier_feature"


def entry(second: float, kind: str, name: str, action: str, old: Any = None, new: Any = None) -> AuditEntry:
    moment, tenant = BEGINNING + timedelta(seconds=second), "acme" if kind.startswith("tenant") else None
    return AuditEntry(uuid7(), moment, kind, name, tenant, None, action, old, new, *[None] * 5)


def value(amount: int) -> dict[str, Any]:
    return {"feature_value": {"enabled": True, "value": amount}}


def doubts(*entries: AuditEntry, after: int) -> list[str]:
    """Return what the entries after the first few say against these."""
    replay = Replay()
    replay.play(entries[:after])
    replay.doubt()
    replay.play(entries[after:])
    assert not replay.gaps
    return replay.contradictions


def test_a_clock_that_goes_wrong_is_noticed() -> None:
    """The second write was made on a machine whose clock is ahead of the third one's."""
    entries = (
        entry(1, OVERRIDE, "acme/a", "created", None, value(1)),
        entry(2, OVERRIDE, "acme/a", "updated", value(2), value(3)),
        entry(3, OVERRIDE, "acme/a", "updated", value(1), value(2)),
        entry(9, OVERRIDE, "acme/a", "updated", value(3), value(4)),
    )
    assert [len(doubts(*entries, after=number)) for number in range(5)] == [0, 1, 1, 1, 0]


def test_only_the_first_word_about_a_field_matters() -> None:
    """What was contradicted later than the next entry about it says nothing of a moment before both."""
    entries = (
        entry(1, LICENSE, "acme/main", "created", None, {"tier_key": "pro", "is_active": True}),
        entry(2, LICENSE, "acme/main", "updated", {"is_active": True}, {"is_active": False}),
        entry(3, LICENSE, "acme/main", "updated", {"is_active": True}, {"is_active": False}),
        entry(4, LICENSE, "acme/main", "updated", {"tier_key": "max"}, {"tier_key": "free"}),
    )
    said = doubts(*entries, after=1)
    assert said == [
        "tenant_license acme/main: before the entry of 2026-01-01T00:00:04+00:00, tier_key had another value"
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (entry(2, OVERRIDE, "acme/a", "created", None, value(1)), "it was not there"),
        (entry(2, OVERRIDE, "acme/b", "deleted", value(1)), "it was there"),
        (entry(2, "tenant", "acme", "purged", None, {"tenant_feature_override": 2}), "it took 2 rows"),
        (entry(2, TIER, "free", "updated", {"tier_key": "free"}, {"tier_key": "pro"}), "there was no pro"),
    ],
)
def test_what_cannot_be_is_noticed(wrong: AuditEntry, said: str) -> None:
    there = [entry(1, TIER, key, "created", None, {"rank": 1}) for key in ("free", "pro")]
    (found,) = doubts(*there, entry(1, OVERRIDE, "acme/a", "created", None, value(1)), wrong, after=3)
    assert said in found


@pytest.mark.parametrize(
    ("kind", "name", "new"),
    [
        (LICENSE, "acme/main", {"tier_key": 5, "is_active": True, "starts_at": "monday"}),
        (LICENSE, "acme/main", {"tier_key": "pro", "is_active": True, "expires_at": "2026-01-01"}),
        ("feature", "a.b", {"depends_on": 5, "is_active": True, "default_value": [1]}),
        (TIER, "pro", {"rank": "high", "base": [1], "is_default": True}),
        (GRANT, "pro", {"feature_value": 7, "tier_key": {}}),
        (OVERRIDE, "acme/a", "text"),
        ("tenant", "acme", [1]),
    ],
)
def test_what_no_write_says_is_a_gap_and_no_error(kind: str, name: str, new: Any) -> None:
    """Whoever may add entries can add such ones, and nobody can take them away."""
    for action, old in (("created", None), ("updated", new), ("restored", new), ("archived", new), ("purged", None)):
        replay = Replay()
        replay.play([entry(1, kind, name, action, old, new), entry(2, kind, name, "deleted", new)])
        replay.play([entry(1, kind, name, action, old, new)])
        replay.decide(BEGINNING)
        assert "cannot be read" in " ".join(replay.gaps) or (kind == "tenant" and action != "purged")


def test_contents_that_are_not_told_change_nothing() -> None:
    replay = Replay()
    there = {"is_active": True, "is_premium": False, "default_value": {"enabled": True}}
    replay.play([entry(1, "feature", "a.b", "created", None, there)])
    replay.play([entry(2, "feature", "a.b", "updated", None, {"changed": ["created_by"]})])
    assert replay.decide(BEGINNING)["a.b"].enabled
    assert not replay.gaps


def test_grants_may_be_told_of_after_the_tier_that_took_them_along() -> None:
    entries = (
        entry(1, TIER, "pro", "created", None, {"rank": 1}),
        entry(1, GRANT, "pro/a", "created", None, value(1)),
        entry(2, TIER, "pro", "deleted", {"rank": 1}),
        entry(2, GRANT, "pro/a", "deleted", value(1)),
    )
    assert doubts(*entries, after=2) == []


def test_which_of_several_deleted_tiers_is_meant_is_not_guessed() -> None:
    replay = Replay()
    for second in (1, 3):
        replay.play(
            [
                entry(second, TIER, "pro", "created", None, {"rank": 1}),
                entry(second + 1, TIER, "pro", "archived", {"deleted_at": None}, {"deleted_at": f"{second}"}),
            ]
        )
    assert not replay.gaps
    replay.play([entry(5, LICENSE, "acme/main", "created", None, {"tier_key": "pro (deleted)", "is_active": True})])
    assert replay.gaps == ["tenant_license acme/main: which deleted tier pro is meant is not told"]
