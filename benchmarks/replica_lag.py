"""What a replica that is ten seconds behind can do to a revocation, and what a dead one costs.

    python -m benchmarks.replica_lag [--lag 10] [--version 18]

A primary, and a replica that replays everything ``--lag`` seconds late; stores that may read it. Tenants lose their
licence one after the other through a session here; this process wrote that, another one hears of it (LISTEN). Both go
on asking, and read again and again: no answer may grant once one has denied, here or there. The replica itself is asked
too, which proves that it was behind.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from benchmarks.common import RESULTS, median, save, show, stamp
from tests.support import catalogue
from tests.support.postgres import PostgresServer
from tests.support.replica import PRIMARY_SETTINGS, ReplicaServer
from tierwright import Entitlements, SnapshotStore
from tierwright.migrations import upgrade
from tierwright.resolution.decision import Reason
from tierwright.services.registry import Registry

_TENANTS = 50
#: A replica may be far behind, and be asked all the same, where nothing that was said rules it out.
_STORE: dict[str, Any] = {"poll_interval": 60.0, "max_lag": 30.0, "timeout": 2.0}


def main(arguments: list[str] | None = None) -> None:
    """Run it and write ``replica_lag.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replica_lag")
    parser.add_argument("--lag", type=float, default=10.0, help="in seconds")
    parser.add_argument("--version", type=int, default=18, help="of PostgreSQL")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    stamped = stamp()
    with PostgresServer(chosen.version, **PRIMARY_SETTINGS) as primary:
        upgrade(primary.url())
        catalogue.small(_engine(primary.url()), tenants=_TENANTS)
        late = ReplicaServer(primary)
        with late:
            late.catch_up()
            found = _revoked(primary.url(), late, chosen.lag)
            found["dead"] = _dead(primary.url(), late)
    save("replica_lag", {"stamp": stamped, "lag_s": chosen.lag, "version": chosen.version, **found}, chosen.out)
    rows = [[name, each["checks"], each["granted"]] for name, each in found["sessions"].items()]
    show("after the revocation", ("who asked", "checks", "granted"), rows)
    print(f"answers from the replica: {found['replica_readings']}; itself it still granted: {found['replica_granted']}")
    print("a dead replica: " + ", ".join(f"{name} {value:.2f}" for name, value in found["dead"].items()))


def _revoked(url: str, late: ReplicaServer, lag: float) -> dict[str, Any]:
    behind = _engine(late.url())
    late.stop()
    late.settings["recovery_min_apply_delay"] = f"{int(lag * 1000)}ms"
    late.start()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_listen, args=(url, late.url(), lag, theirs))
    other.start()
    ours.recv()
    with SnapshotStore(_engine(url), replicas=[behind], **_STORE) as store, Session(_engine(url)) as session:
        own = Entitlements(session, store=store)
        names = _names()
        assert all(own.check(tenant, "f.a") for tenant in names)
        session.rollback()
        readings = _count_readings(store)
        checks, granted, at_replica, gone = 0, 0, 0, []
        until = time.monotonic() + 2 * lag  # in the second half the replica learns of it
        while time.monotonic() < until:
            if len(gone) < len(names):
                tenant = names[len(gone)]
                Registry(session, actor="benchmark").licenses.end(tenant)
                session.commit()
                gone.append(tenant)
            for tenant in names:
                store.refresh(tenant)
            granted += sum(own.check(tenant, "f.a") for tenant in gone)
            checks += len(gone)
            session.rollback()
            with Session(behind) as uncached:
                at_replica += Entitlements(uncached).check(gone[-1], "f.a")
    heard = ours.recv()
    other.join()
    return {
        "sessions": {"the session that revoked": {"checks": checks, "granted": granted}, "one that heard of it": heard},
        "replica_granted": at_replica,
        "replica_readings": readings[0],
    }


def _listen(url: str, replica: str, lag: float, pipe: Connection) -> None:
    """Ask about all tenants, in a process of its own; tell how often one was granted that was denied before."""
    with SnapshotStore(_engine(url), replicas=[_engine(replica)], listen=True, **_STORE) as store:
        entitlements, denied, checks, granted = Entitlements(store=store), set(), 0, 0
        assert all(entitlements.check(tenant, "f.a") for tenant in _names())
        pipe.send("ready")
        until = time.monotonic() + 2 * lag
        while time.monotonic() < until:
            for tenant in _names():
                is_granted = entitlements.check(tenant, "f.a")
                checks += tenant in denied
                granted += is_granted and tenant in denied
                if not is_granted:
                    denied.add(tenant)
            for tenant in list(denied)[:5]:
                store.refresh(tenant)
        pipe.send({"checks": checks, "granted": granted, "denied": len(denied)})


def _dead(url: str, late: ReplicaServer) -> dict[str, Any]:
    """Stop the replica, and ask: the primary answers."""
    with SnapshotStore(_engine(url), replicas=[_engine(late.url())], **_STORE) as store:
        entitlements = Entitlements(store=store)
        entitlements.check("nobody", "f.a")
        late.stop()
        spent, errors = [], 0
        for number in range(200):
            start = time.perf_counter()
            decision = entitlements.evaluate(f"nobody-{number}", "f.a")
            spent.append((time.perf_counter() - start) * 1000)
            errors += decision.reason is Reason.UNAVAILABLE
    return {"first_ms": spent[0], "median_ms": median(spent), "longest_ms": max(spent), "errors": errors}


def _count_readings(store: SnapshotStore) -> list[int]:
    """Return a list whose only item counts the readings that a replica has answered from now on."""
    count, (replica,) = [0], store._loader._replicas._replicas  # type: ignore[union-attr]  # it has one
    read = replica.tenant

    def counted(*arguments: Any) -> Any:
        rows = read(*arguments)
        count[0] += rows is not None
        return rows

    replica.tenant = counted  # type: ignore[method-assign]  # on this one, to count
    return count


def _names() -> list[str]:
    return ["acme", *(f"t{number}" for number in range(1, _TENANTS))]


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=NullPool)


if __name__ == "__main__":
    main()
