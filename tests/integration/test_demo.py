"""The main job on real input: the demo on every database, and what it refuses."""

from __future__ import annotations

import io
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel, col

from examples.demo import app, loading
from examples.demo.app import main, run
from examples.demo.catalogue import PRICE_LIST
from examples.demo.database import APPLICATION_ID
from examples.demo.history import MARKER
from examples.demo.loading import DemoRefused
from examples.demo.queries import uses_index
from tests.conftest import EXTERNAL
from tests.support.rows import ROWS, contents
from tierwright.catalog.importers.fields import price_of_1k
from tierwright.catalog.importers.json_list import read_object
from tierwright.migrations import check, upgrade
from tierwright.tables import FeatureAuditLog, ModelRegistry, TenantIntegrationConfig

INDEXES = (
    "idx_tier_features_tier_key",
    "idx_model_registry_feature",
    "idx_tenant_integration_active",
    "idx_feature_audit_key_time",
)
DECISIONS = [
    ("GRANTED", "tier"),
    ("GRANTED", "tier"),
    ("GRANTED", "base_tier"),
    ("GRANTED", "override"),
    ("NOT_GRANTED", "override"),
    ("PREREQUISITE_NOT_MET", "override"),
    ("CONFLICT", "override"),
    ("GRANTED", "default_tier"),
    ("GRANTED", "registry_default"),
    ("NOT_GRANTED", "registry_default"),
    ("FEATURE_NOT_FOUND", "none"),
]


SERVER = "pg" if EXTERNAL else "pg18"
#: Measuring what an example runs would be half of its time; what it runs is measured elsewhere.
pytestmark = pytest.mark.no_cover


@pytest.fixture(params=["sqlite", SERVER])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Name one database of each dialect: the demo is an example, and it loads a large catalogue."""
    return str(request.param)


def paper() -> Console:
    """Return a console that prints into memory."""
    return Console(file=io.StringIO(), width=100)


def printed(console: Console) -> str:
    """Return what was printed, with white space made equal."""
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]  # it is a StringIO


def test_the_demo_answers_every_question_through_its_index(engine: Engine) -> None:
    console = paper()
    outcome = run(engine, console)
    assert [answer.question.index for answer in outcome.answers] == list(INDEXES)
    for answer in outcome.answers:
        assert answer.uses_index, answer.plan
        assert answer.question.index in printed(console)
        assert answer.microseconds > 0
    assert_right(*(answer.rows for answer in outcome.answers))
    assert [(found.decision.reason, found.decision.source) for found in outcome.decisions] == DECISIONS
    assert all(" ".join(found.sentence.split()) in printed(console) for found in outcome.decisions)
    assert all(found.remedy in printed(console) for found in outcome.decisions)
    assert_exact(engine)
    assert_without_secrets(engine)
    check(engine)


def test_a_second_run_writes_nothing_and_refuses_what_is_not_its_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, paper())
    before = contents(engine)
    console = paper()
    outcome = run(engine, console)
    assert outcome.loaded.catalogue is None
    assert [(found.decision.reason, found.decision.source) for found in outcome.decisions] == DECISIONS
    assert all(answer.uses_index for answer in outcome.answers)
    assert "earlier run" in printed(console)
    monkeypatch.setattr(loading, "digest", lambda: "another")
    with pytest.raises(DemoRefused, match="Another edition"):
        run(engine, paper())
    monkeypatch.undo()
    assert contents(engine) == before
    with engine.begin() as connection:
        connection.execute(SQLModel.metadata.tables["feature_registry"].insert().values(**ROWS["feature_registry"][1]))
    before = contents(engine)
    with pytest.raises(DemoRefused, match="not the demo's"):
        run(engine, paper())
    assert contents(engine) == before


def test_rows_of_somebody_else_are_refused_and_kept(engine: Engine) -> None:
    upgrade(engine, "c4d5e6f7a8b9")
    with engine.begin() as connection:
        connection.execute(SQLModel.metadata.tables["feature_registry"].insert().values(**ROWS["feature_registry"][0]))
    before = contents(engine)
    with pytest.raises(DemoRefused, match=r"feature_registry \(1\).*Nothing was changed.*--url"):
        run(engine, paper())
    assert contents(engine) == before
    assert sa.inspect(engine).get_foreign_keys("model_registry") == []  # not even upgraded


def test_a_failed_load_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*_: Any) -> list[dict[str, Any]]:
        return ROWS["feature_audit_log"][:1] * 2

    monkeypatch.setattr(loading, "audit_rows", twice)
    with pytest.raises(DemoRefused, match="Nothing was changed"):
        run(engine, paper())
    assert {count for count, _ in contents(engine).values()} == {0}


def test_a_plan_without_its_index_fails_the_demo(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = app.load

    def load_and_drop(engine: Engine, schema: str | None) -> loading.Loaded:
        loaded = real(engine, schema)
        (index,) = (i for i in SQLModel.metadata.tables["model_registry"].indexes if i.name == INDEXES[1])
        index.drop(engine)
        return loaded

    monkeypatch.setattr(app, "load", load_and_drop)
    console = paper()
    assert main(["--url", database_url], console) == 1
    assert f"Not every plan uses its index: {INDEXES[1]}" in printed(console)


@pytest.mark.parametrize("postgresql_kind", [SERVER], indirect=True)
def test_a_schema_can_be_named(postgresql_engine: Engine) -> None:
    with postgresql_engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema("demo"))
    outcome = run(postgresql_engine, paper(), "demo")
    assert all(answer.uses_index for answer in outcome.answers)
    assert [(found.decision.reason, found.decision.source) for found in outcome.decisions] == DECISIONS
    assert "model_registry" in sa.inspect(postgresql_engine).get_table_names("demo")
    assert "model_registry" not in sa.inspect(postgresql_engine).get_table_names()
    assert run(postgresql_engine, paper(), "demo").loaded.catalogue is None


def test_the_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    assert main([], paper()) == 0
    first = marked_at(tmp_path / app.FILE)
    assert main([], paper()) == 0
    assert marked_at(tmp_path / app.FILE) > first


@pytest.mark.parametrize("kind", ["database", "text"])
def test_a_file_of_somebody_else_is_kept(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    file = tmp_path / app.FILE
    if kind == "text":
        file.write_text("a letter")
    else:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE t (x)")
    before = file.read_bytes()
    console = paper()
    assert main([], console) == 1
    assert "this demo did not make it" in printed(console)
    assert file.read_bytes() == before


def test_an_unfinished_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    with closing(sqlite3.connect(tmp_path / app.FILE)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    (tmp_path / f"{app.FILE}-journal").write_bytes(b"left over")
    assert main([], paper()) == 0


def test_the_environment_names_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    assert main([], paper()) == 0
    assert not (tmp_path / app.FILE).exists()
    assert marked_at(tmp_path / "other.sqlite3")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://host/db", "Use SQLite or PostgreSQL"),
        ("nonsense", "cannot be parsed"),
        ("postgresql://nobody@127.0.0.1:1/none", "stopped"),
        ("sqlite:////nowhere/at/all/demo.db", "stopped"),
    ],
)
def test_a_bad_url_is_a_clear_message(url: str, says: str) -> None:
    console = paper()
    assert main(["--url", url], console) == 1
    assert says in printed(console)
    assert "Traceback" not in printed(console)


@pytest.mark.parametrize(
    "plan",
    [
        ["SCAN feature_audit_log USING INDEX idx_x"],
        ["SEARCH feature_audit_log USING INDEX idx_x_and_more (feature_key=?)"],
        ["Seq Scan on feature_audit_log", "  Filter: (a = 1)"],
        ["Index Scan using idx_x on feature_audit_log", "  Filter: (a = 1)"],
        ["Index Scan using idx_other on feature_audit_log", "  Index Cond: (a = 1)"],
    ],
)
def test_a_plan_that_only_looks_like_it_is_not_accepted(plan: list[str]) -> None:
    assert not uses_index(plan, "idx_x")


def assert_right(tier: Any, models: Any, integrations: Any, audit: Any) -> None:
    """Check the four answers against the data files."""
    assert tier == (("agents.active_limit", {"enabled": True, "value": 25}),)
    listed = [key for key, entry in read_object(PRICE_LIST).items() if entry.get("litellm_provider") == "anthropic"]
    assert [row[0] for row in models] == sorted(listed)
    assert [row[0] for row in integrations] == ["github", "pagerduty", "slack"]  # notion is disabled
    moments = [row[0] for row in audit]
    assert len(moments) == 50
    assert moments == sorted(moments, reverse=True)


def assert_exact(engine: Engine) -> None:
    """Check every stored price against the file."""
    model = ModelRegistry
    columns = (model.model_id, model.input_price_per_1k, model.output_price_per_1k)
    with engine.connect() as connection:
        stored = {row[0]: row[1:] for row in connection.execute(sa.select(*map(col, columns)))}
    assert stored == {
        key: (price_of_1k(entry, "input_cost_per_token"), price_of_1k(entry, "output_cost_per_token"))
        for key, entry in read_object(PRICE_LIST).items()
        if entry.get("litellm_provider")
    }
    assert max(-price.as_tuple().exponent for prices in stored.values() for price in prices if price) == 21


def assert_without_secrets(engine: Engine) -> None:
    """Check that no tenant has anything in ``encrypted_config``."""
    config = TenantIntegrationConfig
    sealed = sa.select(sa.func.count()).select_from(config).where(col(config.encrypted_config).is_not(None))
    with engine.connect() as connection:
        assert connection.execute(sealed).scalar_one() == 0


def clean_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Run in ``folder``, with no database named by the environment."""
    monkeypatch.chdir(folder)
    for name in ("DATABASE_URL", "TIERWRIGHT_SCHEMA"):
        monkeypatch.delenv(name, raising=False)


def marked_at(file: Path) -> str:
    """Return when the demo loaded a file."""
    log = FeatureAuditLog
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
    with engine.connect() as connection:
        moment = connection.execute(sa.select(col(log.performed_at)).where(col(log.entity_id) == MARKER)).scalar_one()
    assert re.match(r"20\d\d-", str(moment))
    return str(moment)
