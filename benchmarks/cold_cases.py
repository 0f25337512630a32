"""The measurements of :mod:`benchmarks.cold`, on one database."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from benchmarks.cold_ways import Driver, Statement, decoded, driver, statements_of_store
from benchmarks.common import median
from benchmarks.decisions_warm import calling
from benchmarks.rounds import Case, goal, interleaved, ratio, summary
from benchmarks.tenants import Place
from benchmarks.timeline import watched
from benchmarks.truth import Truth
from tierwright.services import reading
from tierwright.services.entitlements import Entitlements
from tierwright.store import SnapshotStore

ONE_ROW = "driver: one row by primary key"
UNKNOWN = "tierwright check, unknown tenant"
DECODED = "driver: the same statement, documents decoded"
EVERYTHING = "tierwright evaluate_all, no store"
_COUNTED = 20
#: By dialect: how many times one row by the driver an unknown tenant may cost.
ALLOWED = {"sqlite": 5.0, "postgresql": 3.5}
ALLOWED_EVERYTHING = 1.5
ALLOWED_LOAD_MS = 150


def run(place: Place, truth: Truth, rounds: int, resolutions: int) -> dict[str, Any]:
    """Measure an unknown tenant, a whole tenant without a store, and the first load, on a database.

    Raises:
        AssertionError: a wrong answer, more than one statement, or a scan of what the tiers grant.
    """
    engine = sa.create_engine(place.url)
    _count_statements(place, truth)
    with driver(place.url) as raw:
        plan = _plan(raw, engine, truth.tenants[0])
        unknown = _unknown(engine, raw, truth, rounds)
        everything = _everything(engine, raw, truth, rounds, resolutions)
    loads = [_first_load(place.url, truth) for _ in range(rounds + 1)][1:]
    engine.dispose()
    label = place.label
    return {
        "label": label,
        "unknown": unknown,
        "everything": everything,
        "plan": plan,
        "first_load_ms": median(loads),
        "first_loads_ms": loads,
        "goals": [
            goal(f"{label}: unknown tenant, to one row", unknown[UNKNOWN]["ratio"], ALLOWED[engine.dialect.name]),
            goal(f"{label}: all features, to the driver", everything[EVERYTHING]["ratio"], ALLOWED_EVERYTHING),
            goal(f"{label}: first load", median(loads), ALLOWED_LOAD_MS, "ms"),
        ],
    }


# --- an unknown tenant, the catalogue known --------------------------------------------------------------------------


def _unknown(engine: Engine, raw: Driver, truth: Truth, rounds: int) -> dict[str, Any]:
    """Ask about other tenants in every round, so that the store knows none of them."""
    each = len(truth.tenants) // (rounds + 1)
    statement = Statement.tenant(engine)
    rows, one_row = raw.rows, raw.one_row

    def tenants(number: int) -> list[str]:
        return truth.tenants[number * each : (number + 1) * each]

    def pairs(number: int) -> tuple[Sequence[Any], int]:
        chosen = [(tenant, truth.features[i % len(truth.features)]) for i, tenant in enumerate(tenants(number))]
        return chosen, truth.granted_among(chosen)

    def by_key(items: Sequence[Any]) -> int:
        found = 0
        for parameters in items:
            if one_row(parameters):
                found += 1
        return found

    def by_statement(items: Sequence[Any]) -> int:
        found = 0
        for parameters in items:
            if rows(statement.text, parameters):
                found += 1
        return found

    with SnapshotStore(engine, poll_interval=1000, background=False) as store:
        check = Entitlements(store=store).check
        check("somebody", truth.features[0])  # reads the catalogue and keeps the connection
        cases = [
            Case(ONE_ROW, by_key, lambda number: ([(tenant, "main") for tenant in tenants(number)], each)),
            Case(UNKNOWN, calling(check), pairs),
            Case(
                "driver: the store's statement",
                by_statement,
                lambda number: ([statement.parameters(tenant) for tenant in tenants(number)], each),
            ),
        ]
        found = summary(interleaved(cases, rounds), ONE_ROW)
        if len(store.entries) != 1 + each * (rounds + 1):
            raise AssertionError("some tenants were not read")
    return found


def _count_statements(place: Place, truth: Truth) -> None:
    """Prove that an unknown tenant costs one statement, by counting what the database was asked."""

    def asking(how_many: int) -> Callable[[SnapshotStore], None]:
        def ask(store: SnapshotStore) -> None:
            check = Entitlements(store=store).check
            check("somebody", truth.features[0])
            for tenant in truth.tenants[:how_many]:
                if check(tenant, truth.features[0]) != truth.expects(tenant, truth.features[0]):
                    raise AssertionError(f"{tenant}: wrong answer")

        return ask

    log = None if place.server is None else place.server.folder / "log"
    without, with_tenants = (len(statements_of_store(place.url, log, asking(number))) for number in (0, _COUNTED))
    if not without or with_tenants - without != _COUNTED:
        raise AssertionError(f"{with_tenants - without} statements for {_COUNTED} unknown tenants")


# --- everything, from the database -----------------------------------------------------------------------------------


def _everything(engine: Engine, raw: Driver, truth: Truth, rounds: int, each: int) -> dict[str, Any]:
    statement = Statement.everything(engine)
    tenants = truth.tenants[:each]
    granted = sum(sum(truth.of(tenant).values()) for tenant in tenants)

    def ask(number: int) -> tuple[Sequence[Any], int]:
        return tenants, granted

    def parameters(number: int) -> tuple[Sequence[Any], int]:
        return [statement.parameters(tenant) for tenant in tenants], granted

    def by_hand(items: Sequence[Any]) -> int:
        found = 0
        for given in items:
            found += _granted_in(decoded(raw.rows(statement.text, given)))
        return found

    def rows_alone(items: Sequence[Any]) -> int:
        for given in items:
            {row[1]: row for row in raw.rows(statement.text, given)}
        return granted

    with Session(engine) as session:
        evaluate_all = Entitlements(session).evaluate_all
        _prove_everything(engine, evaluate_all, raw, statement, truth)

        def ours(items: Sequence[Any]) -> int:
            found = 0
            for tenant in items:
                found += sum([decision.enabled for decision in evaluate_all(tenant).values()])
            return found

        cases = [
            Case(DECODED, by_hand, parameters),
            Case(EVERYTHING, ours, ask),
            Case("driver: the same statement, rows by feature", rows_alone, parameters),
        ]
        found = interleaved(cases, rounds)
    result = summary(found, DECODED)
    result[EVERYTHING]["ratio_to_rows"] = ratio(found[EVERYTHING], found[cases[2].name])
    return result


def _granted_in(answers: dict[str, tuple[bool, Any]]) -> int:
    """Count what is enabled: ours is counted too, in the same way."""
    return sum([enabled for enabled, _ in answers.values()])


def _prove_everything(
    engine: Engine, evaluate_all: Callable[[str], Any], raw: Driver, statement: Statement, truth: Truth
) -> None:
    """Compare with the truth and with the decoding by hand, and count the statements."""
    with watched(engine) as timeline:
        for tenant in truth.tenants[:_COUNTED]:
            ours = {key: (each.enabled, each.value) for key, each in evaluate_all(tenant).items()}
            by_hand = decoded(raw.rows(statement.text, statement.parameters(tenant)))
            if ours != by_hand or {key: enabled for key, (enabled, _) in ours.items()} != truth.of(tenant):
                raise AssertionError(f"{tenant}: wrong answers")
    if len(timeline.statements) != _COUNTED:
        raise AssertionError(f"{len(timeline.statements)} statements for {_COUNTED} tenants")


def _plan(raw: Driver, engine: Engine, tenant: str) -> str:
    statement = Statement.everything(engine)
    plan = raw.explain(statement.text, statement.parameters(tenant))
    scans = ("Seq Scan on license_tier_features", "SCAN license_tier_features")
    if any(scan in plan for scan in scans) or "idx_tier_features_tier_key" not in plan:
        raise AssertionError(f"what the tiers grant is not read through its index:\n{plan}")
    return plan


# --- the first load --------------------------------------------------------------------------------------------------


def _first_load(url: str, truth: Truth) -> float:
    """Return the milliseconds until a new store on a new engine has answered its first question."""
    reading._known_grant.cache_clear()  # a new process has parsed no document yet
    reading._known_keys.cache_clear()
    reading._known_feature.cache_clear()
    tenant, feature = truth.tenants[-1], truth.features[-1]
    gc.collect()
    start = time.perf_counter()
    engine = sa.create_engine(url)
    with SnapshotStore(engine, poll_interval=1000, background=False) as store:
        answer = Entitlements(store=store).check(tenant, feature)
        spent = time.perf_counter() - start
    engine.dispose()
    if answer != truth.expects(tenant, feature):
        raise AssertionError("wrong answer")
    return 1000 * spent
