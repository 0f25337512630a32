"""Applies that meet each other, or do not come to their end: the catalogue is always a whole one, old or new."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker
from sqlmodel import Session

from tests.integration.test_concurrent_writes import together
from tests.support.cli import url_of
from tests.support.random_catalogue import catalogue
from tests.support.registry import everything
from tierwright.catalog import ApplyResult, CatalogDocument, apply, export, plan
from tierwright.errors import CatalogChanged, RetryTransaction
from tierwright.services.transactions import run_in_transaction

WHO = {"actor": "tester"}
FOLDER = Path(__file__).parents[2]

#: Applies a plan from a file; kills itself after so many statements, or waits for a line before it begins.
APPLIER = """
import os, signal, sys
import sqlalchemy as sa
from sqlmodel import Session
from tierwright.catalog import Plan, apply
from tierwright.errors import TierwrightError

url, file, statements = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = sa.create_engine(url)
if engine.dialect.name == "sqlite":
    sa.event.listen(engine, "connect", lambda driver, _record: driver.execute("PRAGMA foreign_keys=ON"))
plan = Plan.from_json(open(file, encoding="utf-8").read())
print("ready", flush=True)
sys.stdin.readline()
written = 0

@sa.event.listens_for(engine, "after_cursor_execute")
def _after(connection, cursor, statement, *_):
    global written
    written += statement.startswith(("INSERT", "UPDATE", "DELETE"))
    if written == statements:
        os.kill(os.getpid(), signal.SIGKILL)

try:
    with Session(engine) as session:
        apply(session, plan, allow_loss=True, actor="applier")
        session.commit()
    print("applied", flush=True)
except TierwrightError as error:
    print(type(error).__name__, flush=True)
"""


def start(engine: Engine, file: Path, statements: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPLIER, url_of(engine), str(file), str(statements)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER)


def line(process: subprocess.Popen[str], text: str = "\n") -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write(text)
    process.stdin.flush()


def whole(features: int, rank: int) -> CatalogDocument:
    """Return a catalogue of which every part tells which one it is."""
    feature = {"feature_type": "integer", "default_value": {"enabled": True, "value": rank}, "display_order": rank}
    keys = [f"a.f{number}" for number in range(features)]
    return CatalogDocument.model_validate(
        {
            "features": dict.fromkeys(keys, feature),
            "tiers": {
                "free": {"rank": rank, "is_default": True, "features": dict.fromkeys(keys, rank)},
                f"tier-{rank}": {"rank": rank, "base": "free"},
            },
            "models": {"p": {key: {"model_type": "chat", "feature_key": key, "max_tokens": rank} for key in keys}},
            "integrations": {"i": {"category": "x", "feature_key": keys[0], "description": str(rank)}},
        }
    )


def rank_of(session: Session) -> int:
    """Return which catalogue the database has, having checked that nothing of it is another one's."""
    found = export(session)
    rank = found.tiers["free"].rank
    mine = {key: tier for key, tier in found.tiers.items() if tier.is_active}
    assert mine.keys() == {"free", f"tier-{rank}"}
    expected = whole(len(found.features), rank)
    assert found.model_copy(update={"tiers": mine}) == expected
    return rank


def prepared(engine: Engine, folder: Path, features: int = 5) -> Path:
    """Write the first catalogue, and return the plan of the second one."""
    with Session(engine) as session:
        apply(session, whole(features, 1), **WHO)
        session.commit()
        (folder / "plan.json").write_text(plan(session, whole(features, 2)).to_json(), "utf-8")
    return folder / "plan.json"


def test_a_killed_apply_leaves_the_old_catalogue_whole(migrated_engine: Engine, tmp_path: Path) -> None:
    file = prepared(migrated_engine, tmp_path)
    with Session(migrated_engine) as session:
        before = everything(session)
    # From the lock to the audit entries; the last one lives to the end.
    processes = [start(migrated_engine, file, statements) for statements in (2, 5, 9, 1_000)]
    for process in processes[:-1]:
        line(process)
        assert process.communicate(timeout=60)[0] == ""
        assert process.returncode == -signal.SIGKILL
        with Session(migrated_engine) as session:
            assert everything(session) == before
    line(processes[-1])
    out, _ = processes[-1].communicate(timeout=60)
    assert out == "applied\n"
    with Session(migrated_engine) as session:
        assert rank_of(session) == 2


def test_a_constraint_in_the_middle_leaves_the_old_catalogue_whole(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        apply(session, whole(5, 1), **WHO)
        session.commit()
        session.execute(sa.text(REFUSE[migrated_engine.dialect.name][0]))
        for statement in REFUSE[migrated_engine.dialect.name][1:]:
            session.execute(sa.text(statement))
        session.commit()
        before = everything(session)
        with pytest.raises(sa.exc.DBAPIError, match="no more integrations"):
            apply(session, whole(5, 2), allow_loss=True, **WHO)
        session.rollback()
        assert everything(session) == before


REFUSE = {
    "sqlite": [
        "CREATE TRIGGER refuse BEFORE UPDATE ON integration_registry "
        "BEGIN SELECT RAISE(ABORT, 'no more integrations'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no more integrations'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON integration_registry FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


def test_a_full_disk_leaves_the_old_catalogue_whole(tmp_path: Path, migrated_templates: Callable[[str], str]) -> None:
    file = tmp_path / "full.sqlite3"
    file.write_bytes(Path(migrated_templates("sqlite")).read_bytes())
    engine = sa.create_engine(f"sqlite:///{file}")
    with Session(engine) as session:
        apply(session, whole(5, 1), **WHO)
        session.commit()
        before = everything(session)
        pages = session.execute(sa.text("PRAGMA page_count")).scalar_one()
        session.execute(sa.text(f"PRAGMA max_page_count={pages + 3}"))
        with pytest.raises(sa.exc.OperationalError, match="full"):
            apply(session, whole(800, 2), allow_loss=True, **WHO)
        session.rollback()
        session.execute(sa.text("PRAGMA max_page_count=1000000"))
        assert everything(session) == before
        assert session.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
        apply(session, whole(800, 2), allow_loss=True, **WHO)
        session.commit()
        assert rank_of(session) == 2
    engine.dispose()


def test_of_plans_for_the_same_catalogue_one_is_applied(migrated_engine: Engine) -> None:
    sessions = sessionmaker(migrated_engine, class_=Session)
    run_in_transaction(sessions, lambda session: apply(session, whole(5, 1), **WHO))
    for number in range(3):
        ranks = [10 * number + place for place in range(2, 6)]
        with sessions() as session:
            plans = [plan(session, whole(5, rank)) for rank in ranks]
        outcomes = together(*[applying(sessions, each) for each in plans])
        assert sorted(type(each).__name__ for each in outcomes) == ["ApplyResult", *["CatalogChanged"] * 3], outcomes
        with sessions() as session:
            assert rank_of(session) == ranks[[isinstance(each, ApplyResult) for each in outcomes].index(True)]


def applying(sessions: sessionmaker[Session], planned: Any) -> Callable[[], ApplyResult]:
    return lambda: run_in_transaction(sessions, lambda session: apply(session, planned, allow_loss=True, **WHO))


def test_documents_applied_at_once_are_as_good_as_one_after_the_other(migrated_engine: Engine) -> None:
    sessions = sessionmaker(migrated_engine, class_=Session)
    outcomes = together(*[applying(sessions, whole(5, rank)) for rank in range(1, 7)])
    assert all(isinstance(each, ApplyResult | RetryTransaction) for each in outcomes), outcomes
    with sessions() as session:
        assert rank_of(session) in range(1, 7)


def test_two_processes_with_plans_for_the_same_catalogue(migrated_engine: Engine, tmp_path: Path) -> None:
    file = prepared(migrated_engine, tmp_path, features=40)
    other = tmp_path / "other.json"
    with Session(migrated_engine) as session:
        other.write_text(plan(session, whole(40, 3)).to_json(), "utf-8")
    processes = [start(migrated_engine, each, 1_000_000) for each in (file, other)]
    for process in processes:
        line(process)
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(said) in (["CatalogChanged", "applied"], ["RetryTransaction", "applied"]), said
    with Session(migrated_engine) as session:
        assert rank_of(session) == 2 + said.index("applied")


def test_a_write_of_the_registry_in_between_is_seen(migrated_engine: Engine) -> None:
    source = Random(3)
    with Session(migrated_engine) as session, Session(migrated_engine) as other:
        made = plan(session, catalogue(source))
        session.rollback()
        apply(other, catalogue(source), allow_loss=True, **WHO)
        other.commit()
        with pytest.raises(CatalogChanged):
            apply(session, made, allow_loss=True, **WHO)
