"""The catalogue from the command line, on every database: planned, applied, exported, compared, imported."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.cli import run, run_json, small_catalogue
from tierwright.catalog import CatalogDocument, export, load, parse
from tierwright.cli import catalog_progress
from tierwright.cli.catalog_progress import progress
from tierwright.tables import FeatureAuditLog, ModelRegistry

DOCUMENT = """\
features:
  ui.canvas: {feature_type: boolean, default_value: false}
  ui.limit: {feature_type: integer, default_value: {enabled: false, value: 0}, depends_on: [ui.canvas]}
tiers:
  free:
    is_default: true
    features: {ui.canvas: true}
  pro:
    rank: 10
    base: free
    features: {ui.limit: 25}
"""
MODELS = {
    "x/one": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": 1.5e-7},
    "two": {"litellm_provider": "y", "mode": "embedding"},
    "odd": {},
}
#: For what the command line does by itself: the databases make no difference to it.
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
def url(migrated_engine: Engine) -> str:
    """Return the URL of a database with a small catalogue and some tenants."""
    return small_catalogue(migrated_engine)


@pytest.fixture
def file(url: str, tmp_path: Path) -> Path:
    """Return a file with the database's catalogue."""
    run("catalog", "export", "-o", str(tmp_path / "catalogue.yaml"), url=url)
    return tmp_path / "catalogue.yaml"


def edited(file: Path, old: str, new: str) -> str:
    """Change a text that stands in a file once, and return the file's name."""
    text = file.read_text("utf-8")
    assert text.count(old) == 1, text
    file.write_text(text.replace(old, new), "utf-8")
    return str(file)


def stored(engine: Engine) -> CatalogDocument:
    """Return the catalogue in a database."""
    with engine.connect() as connection:
        return export(connection)


def entries(engine: Engine) -> int:
    """Count the entries of the history."""
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(FeatureAuditLog)).scalar_one()


def test_a_document_is_planned_applied_and_exported(migrated_engine: Engine, migrated_url: str, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.yaml"
    file.write_text(DOCUMENT)
    planned = run("catalog", "plan", str(file), url=migrated_url).stdout
    assert "create tier pro\n" in planned
    assert "create tier feature pro/ui.limit: 25\n" in planned
    assert "6 to create\n" in planned
    assert "gained   any other tenant" in planned
    assert entries(migrated_engine) == 0
    applied = run("catalog", "apply", str(file), "--yes", "--actor", "eva", "--reason", "PR 7", url=migrated_url)
    assert applied.stdout == f"{planned}applied\n"
    assert stored(migrated_engine) == load(file)
    with Session(migrated_engine) as session:
        written = session.exec(sa.select(FeatureAuditLog)).scalars().all()  # type: ignore[call-overload]
    assert {(entry.performed_by, entry.reason) for entry in written} == {("eva", "PR 7")}
    assert len(written) == 6
    assert run("catalog", "apply", str(file), "--yes", url=migrated_url).stdout == "no difference\n"
    assert entries(migrated_engine) == 6
    exported = run("catalog", "export", url=migrated_url).stdout
    assert parse(exported) == load(file)
    as_json = run("catalog", "export", "--format", "json", url=migrated_url).stdout
    assert parse(as_json, "json") == load(file)
    assert run("catalog", "plan", "-", "--exit-code", url=migrated_url, text=as_json).stdout == "no difference\n"


def test_a_plan_says_who_gains_and_who_loses(url: str, file: Path) -> None:
    name = edited(file, "ui.limit: 25", "ui.limit: 5\n      help.chat: false")
    planned = run("catalog", "preview", name, "--exit-code", url=url, exit_code=4).stdout
    assert "change tier feature pro/ui.limit: 25 -> 5\n" in planned
    assert "create tier feature pro/help.chat: false\n" in planned
    assert "  help.chat: 2 lost\n" in planned
    assert "  ui.limit: 2 lowered\n" in planned
    assert "  lost     tenant acme                 help.chat                         true -> denied\n" in planned
    assert "refuses it without --allow-loss" in planned
    complete = run_json("catalog", "plan", name, url=url)
    found = {(each["tenant_id"], each["feature_key"], each["effect"]) for each in complete["outcomes"]}
    assert found == {
        (tenant, *what) for tenant in ("acme", "globex") for what in (("help.chat", "loss"), ("ui.limit", "lowered"))
    }
    assert complete["effect"]["losses"] == {"decisions": 2, "tenants": 2}
    assert [change["kind"] for change in complete["changes"]] == ["create", "change"]
    later = run_json("catalog", "plan", name, "--at", "2999-01-01T00:00Z", url=url)
    assert {each["tenant_id"] for each in later["outcomes"]} == {"acme"}


@on_sqlite
def test_a_loss_is_refused_unless_it_is_allowed(url: str, file: Path, migrated_engine: Engine) -> None:
    name = edited(file, "ui.limit: 25", "ui.limit: 5")
    before, history = stored(migrated_engine), entries(migrated_engine)
    refused = run("catalog", "apply", name, url=url, exit_code=1)  # not even asked
    assert "loss-refused: " in refused.stderr
    assert "Apply this?" not in refused.output
    assert run_json("catalog", "apply", name, "--yes", url=url, exit_code=1)["error"]["code"] == "loss-refused"
    assert (stored(migrated_engine), entries(migrated_engine)) == (before, history)
    applied = run_json("catalog", "apply", name, "--yes", "--allow-loss", url=url)
    assert applied["applied"] is True
    assert applied["effect"]["lowered"] == {"decisions": 2, "tenants": 2}
    assert run_json("evaluate", "acme", "ui.limit", url=url)["value"] == 5


@on_sqlite
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_apply_asks(answer: str, code: int, url: str, file: Path, migrated_engine: Engine) -> None:
    name = edited(file, "ui.limit: 25", "ui.limit: 30")
    before = stored(migrated_engine)
    assert "Apply this?" in run("catalog", "apply", name, url=url, text=answer, exit_code=code).stderr
    assert (stored(migrated_engine) == before) == bool(code)


def test_a_saved_plan_is_applied_to_the_catalogue_it_was_made_for(
    url: str, file: Path, tmp_path: Path, migrated_engine: Engine
) -> None:
    name, plan = edited(file, "ui.limit: 25", "ui.limit: 30"), str(tmp_path / "plan.json")
    run("catalog", "plan", name, "--save", plan, url=url)
    run("feature", "change", "help.chat", "--name", "Chat", url=url)
    refused = run("catalog", "apply", "--plan", plan, url=url, exit_code=1)
    assert "catalog-changed: " in refused.stderr
    run("feature", "change", "help.chat", "--name", "help.chat", url=url)
    edited(file, "ui.limit: 30", "ui.limit: 31")
    assert "document-changed: " in run("catalog", "apply", name, "--plan", plan, url=url, exit_code=1).stderr
    assert stored(migrated_engine).tiers["pro"].features["ui.limit"]["value"] == 25
    assert "applied\n" in run("catalog", "apply", "--plan", plan, url=url).stdout
    assert stored(migrated_engine).tiers["pro"].features["ui.limit"]["value"] == 30
    again = run_json("catalog", "apply", "--plan", plan, url=url, exit_code=1)
    assert again["error"]["code"] == "catalog-changed"


def test_what_left_the_document_is_retired_or_pruned(url: str, file: Path, migrated_engine: Engine) -> None:
    document = json.loads(run("catalog", "export", "--format", "json", url=url).stdout)
    del document["features"]["help.chat"]
    file = file.with_name("less.json")
    file.write_text(json.dumps(document))
    planned = run("catalog", "plan", str(file), url=url).stdout
    assert "retire feature help.chat\n" in planned
    assert "1 to retire\n" in planned
    run("catalog", "apply", str(file), "--yes", "--allow-loss", url=url)
    assert not stored(migrated_engine).features["help.chat"].is_active
    assert run("catalog", "plan", str(file), url=url).stdout == "no difference\n"
    assert "delete feature help.chat\n" in run("catalog", "plan", str(file), "--prune", url=url).stdout
    run("catalog", "apply", str(file), "--yes", "--prune", url=url)
    assert "help.chat" not in stored(migrated_engine).features


@on_sqlite
@pytest.mark.parametrize("command", ["plan", "apply", "diff"])
def test_each_problem_of_a_bad_document_has_a_line_and_nothing_is_changed(
    command: str, url: str, tmp_path: Path, migrated_engine: Engine
) -> None:
    file, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    file.write_text(DOCUMENT.replace("rank: 10", "ramk: 10").replace("{ui.canvas: true}", "{ui.canvas: yes please}"))
    good.write_text(DOCUMENT)
    before = stored(migrated_engine)
    arguments = {"plan": [file], "apply": [file, "--yes"], "diff": [good, file]}[command]
    database = {} if command == "diff" else {"url": url}
    said = run("catalog", command, *map(str, arguments), exit_code=2, **database).stderr.splitlines()  # type: ignore[arg-type]
    assert f"{file}:9:5: tiers.pro.ramk: there is no such field; did you mean 'rank'?" in said
    assert said[-1].startswith("document-invalid: ")
    assert all(line.startswith(f"{file}:") for line in said[:-1])
    assert stored(migrated_engine) == before


def test_bad_documents_as_json_and_from_standard_input() -> None:
    said = run("catalog", "diff", "-", "-", "--json", text="features: [", exit_code=2)
    error = json.loads(said.stdout)["error"]
    assert error["code"] == "document-invalid"
    assert error["details"]["problems"][0]["file"] == "<stdin>"


@on_sqlite
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["plan", "/nowhere/at/all.yaml"], None),
        (["plan", "catalogue.txt"], None),
        (["apply"], None),
        (["apply", "-"], DOCUMENT),
        (["apply", "--plan", "/nowhere/at/all.json"], None),
        (["export", "-o", "catalogue.toml"], None),
        (["export", "-o", "/nowhere/at/all.yaml"], None),
        (["export", "--format", "xml"], None),
        (["import-models", "/nowhere/list.json", "--from", "litellm"], None),
        (["import-models", "-", "--from", "nothing"], "{}"),
        (["import-models", "-", "--from", "litellm"], "[]"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: list[str], text: str | None, url: str, file: Path) -> None:
    assert run("catalog", *arguments, url=url, text=text, exit_code=2).stderr


@on_sqlite
def test_a_plan_that_is_none_is_refused(url: str, file: Path, tmp_path: Path) -> None:
    for content in (b"{}", b"[", b"\xff"):
        (tmp_path / "plan.json").write_bytes(content)
        run("catalog", "apply", "--plan", str(tmp_path / "plan.json"), url=url, exit_code=2)
    run("catalog", "plan", str(file), "--save", str(tmp_path / "plan.json"), url=url)
    run("catalog", "apply", "--plan", str(tmp_path / "plan.json"), "--prune", url=url, exit_code=2)


def test_documents_are_compared_without_a_database(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other"
    one.write_text(DOCUMENT)
    other.mkdir()
    features, _, tiers = DOCUMENT.partition("tiers:")
    (other / "features.yaml").write_text(features)
    (other / "tiers.yaml").write_text(f"tiers:{tiers}".replace("ui.limit: 25", "ui.limit: 26"))
    said = run("catalog", "diff", str(one), str(other), "--exit-code", exit_code=4).stdout
    assert said == "change tier feature pro/ui.limit: 25 -> 26\n1 to change\n"
    assert run("catalog", "diff", str(one), str(one), "--exit-code").stdout == "no difference\n"
    changes = json.loads(run("catalog", "diff", str(other), str(one), "--json").stdout)["changes"]
    assert [(change["entity"], change["key"]) for change in changes] == [("tier_feature", "pro/ui.limit")]


def test_the_schema_is_printed() -> None:
    found = json.loads(run("catalog", "schema").stdout)
    assert found["$schema"].endswith("2020-12/schema")
    assert {"features", "tiers", "models", "components", "integrations"} <= found["properties"].keys()


@on_sqlite
def test_only_a_sample_is_shown(migrated_url: str, tmp_path: Path) -> None:
    features = "".join(f"  many.f{n:03}: {{feature_type: boolean, default_value: true}}\n" for n in range(200))
    (tmp_path / "many.yaml").write_text(f"features:\n{features}")
    said = run("catalog", "plan", str(tmp_path / "many.yaml"), "--sample", "2", url=migrated_url).stdout.splitlines()
    assert said[:3] == ["create feature many.f000", "create feature many.f001", "... and 198 more of create feature"]
    assert said[-1] == "  ... and 198 more of any other tenant"


@pytest.fixture
def model_list(tmp_path: Path) -> Path:
    """Return a small price list."""
    (tmp_path / "list.json").write_text(json.dumps(MODELS))
    return tmp_path / "list.json"


def importing(path: Path, *arguments: str, **options: Any) -> str:
    """Import a list and return what is printed."""
    return run("catalog", "import-models", str(path), "--from", "litellm", *arguments, **options).stdout


def test_models_are_imported_updated_retired_and_revived(url: str, model_list: Path, migrated_engine: Engine) -> None:
    before = stored(migrated_engine)
    shown = importing(model_list, "--dry-run", url=url)
    assert "not imported: odd: it names no provider\n" in shown
    assert "create model x/x/one\n" in shown
    assert shown.endswith("nothing was written\n")
    assert stored(migrated_engine) == before
    assert importing(model_list, url=url, text="y\n").endswith("applied\n")
    found = stored(migrated_engine)
    assert found.features.keys() == before.features.keys() | {"models.x", "models.y"}
    assert str(found.models["x"]["x/one"].input_price_per_1k) == "0.00015"
    assert importing(model_list, "--yes", url=url).endswith("no difference\n")
    run("model", "change", "x", "x/one", "--name", "Our own name", url=url)
    model_list.write_text(json.dumps({"x/one": {**MODELS["x/one"], "supports_vision": True}}))
    changed = importing(model_list, "--yes", url=url)
    assert "  supports_vision: false -> true\n" in changed
    assert "retire model y/two\n" in changed
    found = stored(migrated_engine)
    assert (found.models["x"]["x/one"].model_name, found.models["x"]["x/one"].supports_vision) == ("Our own name", True)
    assert not found.models["y"]["two"].is_active
    model_list.write_text(json.dumps(MODELS))
    assert "restore model y/two\n" in importing(model_list, "--yes", url=url)


def test_models_can_be_imported_into_a_document(model_list: Path, tmp_path: Path) -> None:
    into = tmp_path / "models.yaml"
    assert "4 to create\n" in importing(model_list, "--into", str(into))
    assert load(into).models.keys() == {"x", "y"}
    text = into.read_text("utf-8")
    assert importing(model_list, "--into", str(into)).endswith("no difference\n")
    assert into.read_text("utf-8") == text
    model_list.write_text(json.dumps({key: entry for key, entry in MODELS.items() if key != "two"}))
    importing(model_list, "--into", str(into), text="n\n", exit_code=1)
    importing(model_list, "--into", str(into), "--dry-run")
    assert into.read_text("utf-8") == text
    said = json.loads(importing(model_list, "--into", str(into), "--yes", "--json"))
    assert (said["written"], said["reported"]) == (True, [{"key": "odd", "why": "it names no provider"}])
    assert not load(into).models["y"]["two"].is_active


@on_sqlite
def test_a_model_made_by_hand_is_reported_and_left_alone(url: str, model_list: Path, migrated_engine: Engine) -> None:
    run("model", "create", "x", "x/one", "--name", "Mine", "--type", "chat", "--feature", "ui.canvas", url=url)
    said = run_json("catalog", "import-models", str(model_list), "--from", "litellm", "--yes", url=url)
    assert [each["key"] for each in said["reported"]] == ["odd", "x/one"]
    with Session(migrated_engine) as session:
        names = session.exec(sa.select(ModelRegistry.model_name)).scalars().all()  # type: ignore[call-overload]
    assert sorted(names) == ["Mine", "two"]


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (True, False):
        paper = io.StringIO()
        console = Console(file=paper, force_terminal=is_terminal, width=80)
        monkeypatch.setattr(catalog_progress.output, "console", lambda *, stderr, made=console: made)
        with progress() as shown:
            for done in (0, 50, 100):
                shown.entries(done, 100)
            shown.step("planning")
            shown.step("")
        assert ("100/100" in paper.getvalue(), "planning" in paper.getvalue()) == (is_terminal, is_terminal)
