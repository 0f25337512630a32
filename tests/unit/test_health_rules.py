"""What answers of a probe make of a status, against a reading of the whole history."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwright.errors import InvalidInput
from tierwright.integrations.health_rules import Health, HealthRules, Outcome
from tierwright.types import HealthStatus

H, D, F, X = Outcome.HEALTHY, Outcome.DEGRADED, Outcome.FAILED, Outcome.INCONCLUSIVE
GOOD, BAD, DOWN = HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY

counts = st.integers(1, 4)
histories = st.lists(st.sampled_from(Outcome), max_size=14)
stored = st.builds(
    Health, st.sampled_from([None, *HealthStatus]), failures=st.integers(-2, 9), successes=st.integers(-2, 9)
)


def told(rules: HealthRules, outcomes: Sequence[Outcome], health: Health = Health()) -> Health:  # noqa: B008  frozen
    for outcome in outcomes:
        health = rules.after(health, outcome)
    return health


def row(outcomes: Sequence[Outcome], *kinds: Outcome) -> int:
    """Return how many outcomes at the end are of these kinds."""
    return len(list(takewhile(lambda outcome: outcome in kinds, reversed(outcomes))))


def expected(rules: HealthRules, history: Sequence[Outcome]) -> list[HealthStatus | None]:
    """Return the statuses in their order, each from the outcomes so far and the moment of the last change."""
    statuses: list[HealthStatus | None] = [None]
    seen: list[Outcome] = []
    since = 0  # what came before the status changed does not count towards the next
    for outcome in history:
        status = statuses[-1]
        if outcome is not X:
            seen.append(outcome)
            recent = seen[since:]
            if row(seen, F) >= rules.failures:
                status = DOWN
            elif outcome is F:
                status = DOWN if status is DOWN else BAD
            elif status is DOWN:
                status = HealthStatus(outcome.value) if row(recent, H, D) >= rules.recoveries else DOWN
            elif outcome is D:
                status = BAD
            elif status is BAD:
                status = GOOD if row(recent, H) >= rules.recoveries else BAD
            else:
                status = GOOD
            if status is not statuses[-1]:
                since = len(seen)
        statuses.append(status)
    return statuses


@given(counts, counts, histories)
def test_the_status_follows_from_the_history(failures: int, recoveries: int, history: list[Outcome]) -> None:
    rules = HealthRules(failures, recoveries)
    statuses = [told(rules, history[:length]).status for length in range(len(history) + 1)]
    assert statuses == expected(rules, history)


@pytest.mark.parametrize(
    ("history", "status"),
    [
        ([], None),
        ([X], None),
        ([H], GOOD),
        ([D], BAD),
        ([F], BAD),
        ([F, F], BAD),
        ([F, F, F], DOWN),
        ([F, F, X, F], DOWN),
        ([F, F, H, F], BAD),
        ([F, F, D, F, F], BAD),
        ([F, H], BAD),
        ([F, H, H], GOOD),
        ([F, H, F, H], BAD),
        ([D, D, D, H], BAD),
        ([D, H, H], GOOD),
        ([F, F, F, H], DOWN),
        ([F, F, F, H, X], DOWN),
        ([F, F, F, H, H], GOOD),
        ([F, F, F, H, F, H], DOWN),
        ([F, F, F, D, D], BAD),
        ([F, F, F, D, H], GOOD),
        ([F, F, F, D, D, H], BAD),
        ([H, H, H, F], BAD),
    ],
)
def test_three_failures_and_two_recoveries(history: list[Outcome], status: HealthStatus | None) -> None:
    assert told(HealthRules(), history).status == status


@given(counts, counts, stored, st.sampled_from(Outcome))
def test_what_goes_on_as_it_was_changes_nothing(
    failures: int, recoveries: int, health: Health, outcome: Outcome
) -> None:
    rules = HealthRules(failures, recoveries)
    settled = told(rules, [outcome] * (failures + 2 * recoveries + 1), health)
    assert rules.after(settled, outcome) == settled


@given(counts, counts, stored, histories)
def test_counters_stay_within_what_decides_whatever_was_stored(
    failures: int, recoveries: int, health: Health, history: list[Outcome]
) -> None:
    rules = HealthRules(failures, recoveries)
    found = told(rules, [*history, H], health)
    assert found.failures == 0
    assert 0 <= found.successes <= recoveries
    assert rules.after(found, F).failures in range(1, failures + 1)


@given(stored)
def test_an_inconclusive_run_changes_nothing(health: Health) -> None:
    assert HealthRules().after(health, X) is health


def test_one_of_each_is_the_last_answer() -> None:
    rules = HealthRules(failures=1, recoveries=1)
    assert [told(rules, [F, outcome]).status for outcome in (H, D, F)] == [GOOD, BAD, DOWN]
    assert told(rules, [F]).status is DOWN


@pytest.mark.parametrize("number", [0, -1, 1_000_001, True, 2.0, "3", None])
def test_numbers_that_make_no_sense_are_refused(number: object) -> None:
    for name in ("failures", "recoveries"):
        with pytest.raises(InvalidInput, match=name):
            HealthRules(**{name: number})  # type: ignore[arg-type]
