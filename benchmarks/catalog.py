"""What it costs to plan and apply a catalogue: the effect on many tenants, and a list of 4,551 models.

    python -m benchmarks.catalog [--quick] [--only sqlite]

Tenants: 1,000 features, 50 tiers that say something about each of them, one licence a tenant; every fifth tenant has
overrides of three features. A plan turns over what the tiers say about a fifth of the features, or about all.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from benchmarks.common import RESULTS, median, save, show, stamp
from benchmarks.tenants import postgresql, sqlite
from benchmarks.truth import Truth
from tierwright import catalog
from tierwright.catalog import CatalogDocument, importers
from tierwright.services.statements import OVERRIDES

MODELS = Path(__file__).parents[1] / "examples" / "demo" / "data" / "litellm_models.json"
#: name -> seconds
GOALS = {"effect 10000": 3.0, "effect 100000": 20.0, "import": 5.0, "again": 1.5}


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``catalog.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalog")
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--tiers", type=int, default=50)
    parser.add_argument("--tenants", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--versions", type=int, nargs="+", default=[16, 18], help="of PostgreSQL")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, PostgreSQL 18")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.features, chosen.tiers, chosen.tenants = 200, 10, [1_000, 5_000]
        chosen.rounds, chosen.versions = 1, [18]
        if chosen.out == RESULTS:
            chosen.out = Path(__file__).parents[1] / "build" / "benchmarks"
    stamped = stamp()
    found = []
    for opened in _databases(chosen.only, chosen.versions):
        for tenants in chosen.tenants:
            truth = Truth(chosen.features, chosen.tiers, tenants)
            found += _with_database(opened, truth, lambda engine, truth=truth: _effects(engine, truth, chosen.rounds))
        found += _with_database(opened, Truth(1, 1, 1), lambda engine: _models(engine, chosen.rounds))
    save("catalog", {"stamp": stamped, "rounds": chosen.rounds, "measured": found}, chosen.out)
    show(
        "catalogue",
        ("database", "what", "s", "worst", "goal", "MiB more"),
        [
            (
                each["database"],
                each["what"],
                f"{each['seconds']:.2f}",
                f"{each['worst']:.2f}",
                each["goal"] or "",
                each["mib"],
            )
            for each in found
        ],
    )


def _databases(only: str | None, versions: list[int]) -> Iterator[Callable[[Truth], Any]]:
    if only != "postgresql":
        yield sqlite
    if only != "sqlite":
        yield from (postgresql(version) for version in versions)


def _with_database(
    opened: Callable[[Truth], Any], truth: Truth, work: Callable[[Engine], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        place = stack.enter_context(opened(truth))
        engine = sa.create_engine(place.url)
        stack.callback(engine.dispose)
        return [{"database": place.label, **each} for each in work(engine)]


def _effects(engine: Engine, truth: Truth, rounds: int) -> list[dict[str, Any]]:
    source = random.Random(3)
    rows = [
        {"tenant_id": tenant, "feature_key": key, "feature_value": {"enabled": source.random() < 0.5}}
        for tenant in truth.tenants
        if source.random() < 0.2
        for key in source.sample(truth.features, 3)
    ]
    with engine.begin() as connection:
        connection.execute(OVERRIDES.insert(), rows)
    found = []
    with Session(engine) as session:
        now = catalog.export(session)
        for share in (5, 1):
            wanted = _turned(now, truth.features[: len(truth.features) // share])
            name = f"effect {len(truth.tenants)}"
            timed = _timed(lambda wanted=wanted: catalog.plan(session, wanted), rounds)
            found.append(
                {"what": f"{name}, {len(truth.features) // share} features change", "goal": GOALS.get(name), **timed}
            )
    return found


def _turned(document: CatalogDocument, features: list[str]) -> CatalogDocument:
    """Return a catalogue in which tiers deny what they granted of some features, and the other way round."""
    some = set(features)
    tiers = {
        key: tier.model_copy(
            update={
                "features": {
                    feature: {"enabled": not value["enabled"]} if feature in some else value
                    for feature, value in tier.features.items()
                }
            }
        )
        for key, tier in document.tiers.items()
    }
    return document.model_copy(update={"tiers": tiers})


def _models(engine: Engine, rounds: int) -> list[dict[str, Any]]:
    """Import a list into an empty database, and apply the document of it again from YAML."""

    def imported() -> None:
        found = importers.find("litellm").read(MODELS)
        with Session(engine) as session:
            wanted = catalog.import_models(session, found, "litellm")
            catalog.apply(session, wanted, actor="benchmark", allow_loss=True)
            session.commit()

    def again() -> None:
        wanted = catalog.parse(text)
        with Session(engine) as session:
            made = catalog.plan(session, wanted)
            if not catalog.apply(session, made, actor="benchmark").changed:
                session.commit()

    def emptied() -> None:
        with Session(engine) as session:
            catalog.apply(session, CatalogDocument(), prune=True, allow_loss=True, actor="benchmark")
            session.commit()

    emptied()
    first = _timed(imported, rounds, before=emptied)
    with engine.connect() as connection:
        text = catalog.dump(catalog.export(connection))
    return [
        {"what": "import and apply 4,551 models", "goal": GOALS["import"], **first},
        {"what": "load, plan and apply them again", "goal": GOALS["again"], **_timed(again, rounds)},
    ]


def _timed(work: Callable[[], Any], rounds: int, before: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    seconds = []
    memory = _memory()
    for _ in range(rounds):
        before()
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": median(seconds),
        "worst": max(seconds),
        "mib": _memory() - memory,
    }


def _memory() -> int:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
