"""Many threads, many tenants, and what a tenant takes in memory."""

from __future__ import annotations

import gc
import random
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from benchmarks.common import median
from benchmarks.decisions_warm import calling
from benchmarks.rounds import Case, always, goal, interleaved, ratio
from benchmarks.tenants import sqlite
from benchmarks.truth import Truth, TwoLookups
from tierwright.resolution.facts import License
from tierwright.services.entitlements import Entitlements
from tierwright.services.reading import TenantFacts
from tierwright.store import SnapshotStore
from tierwright.store.entry import resolved

THREADS = 8
#: How many readings share their times.
_SHARING = 1000
_ENOUGH = 2_000_000
_IDS: dict[str, Callable[[int], str]] = {
    "UUID, 36 characters": lambda number: str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)),
    "12 characters": lambda number: f"tenant{number:06d}",
}


def threads(sizes: dict[str, int], calls: int, rounds: int) -> dict[str, Any]:
    """Compare the throughput of eight threads with that of one, in turns; each thread makes ``calls`` calls."""
    truth = Truth(**sizes)
    pairs = truth.pairs(calls)
    with sqlite(truth) as place, _store(place.url) as store:
        check = Entitlements(store=store).check
        floor = TwoLookups({tenant: truth.of(tenant) for tenant in truth.tenants}).check
        for tenant in truth.tenants:
            check(tenant, truth.features[0])
        ways = {"tierwright check": calling(check), "floor: method with two .get and defaults": calling(floor)}
        found: dict[str, dict[int, list[float]]] = {name: {1: [], THREADS: []} for name in ways}
        granted = truth.granted_among(pairs)
        for number in range(rounds + 1):
            for name, loop in ways.items():
                for workers in (1, THREADS) if number % 2 else (THREADS, 1):
                    seconds = _together(loop, pairs, granted, workers)
                    if number:
                        found[name][workers].append(workers * calls / seconds)
    ratios = {name: ratio(rates[THREADS], rates[1]) for name, rates in found.items()}
    rates = {name: {str(workers): median(rate) for workers, rate in of.items()} for name, of in found.items()}
    wanted = goal(
        f"{THREADS} threads' checks per second, to one thread's", ratios["tierwright check"], 0.9, at_least=True
    )
    return {"threads": THREADS, "checks_per_second": rates, "ratios": ratios, "goals": [wanted]}


def _together(loop: Callable[[Any], int], pairs: list[tuple[str, str]], granted: int, workers: int) -> float:
    """Return the seconds from the moment when all threads begin until all are done."""
    gate = threading.Barrier(workers + 1)
    answers: list[int] = []

    def work() -> None:
        gate.wait()
        answers.append(loop(pairs))

    started = [threading.Thread(target=work) for _ in range(workers)]
    for thread in started:
        thread.start()
    gc.collect()
    gate.wait()
    start = time.perf_counter()
    for thread in started:
        thread.join()
    spent = time.perf_counter() - start
    if answers != [granted] * workers:
        raise AssertionError(f"{workers} threads: wrong answers")
    return spent


def population(sizes: dict[str, int], populations: list[int], calls: int, rounds: int) -> dict[str, Any]:
    """Compare a check with the two lookups at the same number of known tenants; and weigh a tenant."""
    truth = Truth(**sizes)
    with sqlite(truth) as place:
        points = [_at(place.url, truth, tenants, calls, rounds) for tenants in populations]
        weights = {name: _weight(place.url, truth, populations, make) for name, make in _IDS.items()}
    goals = [goal(f"check at {each['tenants']:,} tenants, to two lookups", each["ratio"], 2.0) for each in points]
    for name, by_population in weights.items():
        heaviest = max(by_population.values())
        goals.append(goal(f"memory of a known tenant, id of {name}", heaviest, 300, "bytes"))
    return {"points": points, "bytes_per_tenant": weights, "goals": goals}


def _at(url: str, truth: Truth, tenants: int, calls: int, rounds: int) -> dict[str, Any]:
    source = random.Random(tenants)
    ids = [_IDS["UUID, 36 characters"](number) for number in range(tenants)]
    tier_of = {tenant: source.choice(truth.tiers) for tenant in ids}
    pairs = [(source.choice(ids), source.choice(truth.features)) for _ in range(calls)]
    granted = sum(truth.granted[tier_of[tenant]][feature] for tenant, feature in pairs)
    floor = TwoLookups({tenant: truth.granted[tier] for tenant, tier in tier_of.items()})
    with _store(url) as store:
        _fill(store, truth, tier_of.items())
        if len(store.entries) != tenants + 1:
            raise AssertionError(f"{len(store.entries)} entries for {tenants} tenants")
        check = Entitlements(store=store).check
        same = always(pairs, granted)
        found = interleaved([Case("floor", calling(floor.check), same), Case("check", calling(check), same)], rounds)
    return {
        "tenants": tenants,
        "floor_ns": median(found["floor"]),
        "check_ns": median(found["check"]),
        "ratio": ratio(found["check"], found["floor"]),
        "rounds": found,
    }


def _weight(url: str, truth: Truth, populations: list[int], make: Callable[[int], str]) -> dict[str, float]:
    """Return by population how much memory each tenant takes, its id included, beyond the tables that all share.

    The dictionary grows by doubling: it is weighed just after it has, too, where each tenant's share is the largest.
    """
    largest = populations[-1]
    doubled = max(2**power * 2 // 3 + 1 for power in range(8, 24) if 2**power * 2 // 3 + 1 <= largest)
    found = {}
    for tenants in (doubled, largest):
        with _store(url) as store:
            _fill(store, truth, ((f"warm {tier}", tier) for tier in truth.tiers))  # makes the shared tables
            gc.collect()
            tracemalloc.start()
            _fill(store, truth, ((make(number), truth.tiers[number % len(truth.tiers)]) for number in range(tenants)))
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        found[f"{tenants:,} tenants"] = taken / tenants
    return found


def _fill(store: SnapshotStore, truth: Truth, tenants: Any) -> None:
    """Put tenants into the store as its own reading does, without a query for each of a million.

    Readings within a hundredth of the poll interval share their times. Of the default of 5 s that are about 1,000
    readings of SQLite; the interval here is much longer, so the sharing is done by count.
    """
    store.entry(truth.tenants[0])
    catalog = store._catalog.current().snapshot
    ids = {tier.key: tier.id for tier in catalog.tiers.values()}
    facts = {key: TenantFacts((License(ids[key], None, None),), ()) for key in truth.tiers}
    for number, (tenant, tier) in enumerate(tenants):
        if number % _SHARING == 0:
            read_at = time.monotonic()
            read_by = read_at + store.poll_interval
        stripe = hash(tenant) % len(store._epochs)
        store._keep(tenant, resolved(catalog, facts[tier], read_at, read_by), stripe, store._epochs[stripe])


def _store(url: str) -> SnapshotStore:
    return SnapshotStore(sa.create_engine(url), poll_interval=10_000, background=False, max_tenants=_ENOUGH)
