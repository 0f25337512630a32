"""The commands that write, on every database: what changes, who did it, and what is refused."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.cli import run, run_json, small_catalogue
from tests.support.registry import history
from tierwright.tables import FeatureAuditLog, ModelRegistry


@pytest.fixture
def url(migrated_engine: Engine) -> str:
    """Return the URL of a database with a small catalogue."""
    return small_catalogue(migrated_engine)


def test_features_from_options_and_files(url: str, tmp_path: Path) -> None:
    file = tmp_path / "feature.json"
    file.write_text(json.dumps({"feature_key": "a.b", "feature_name": "From the file", "category": "x", "icon": "i"}))
    made = run_json("feature", "create", "a.b", "--from", str(file), "--name", "Ä name", "--premium", url=url)
    (entry,) = made["changes"]
    assert (made["changed"], made["warnings"]) == (True, [])
    assert (entry["entity"], entry["key"], entry["action"], entry["old"]) == ("feature", "a.b", "created", None)
    assert entry["new"]["feature_name"] == "Ä name"
    assert (entry["new"]["icon"], entry["new"]["is_premium"]) == ("i", True)
    assert entry["new"]["default_value"] == {"enabled": False, "value": False}
    changed = run("feature", "change", "a.b", "--from", "-", "--no-premium", url=url, text='{"icon": null}').stdout
    assert changed.splitlines() == ["updated feature a.b", "  is_premium: true -> false", '  icon: "i" -> null']
    assert run("feature", "change", "a.b", "--no-premium", url=url).stdout == "nothing to change\n"
    shown = run_json("feature", "show", "a.b", url=url)
    assert (shown["icon"], shown["tiers"], shown["overrides"]) == (None, {}, 0)
    assert "a.b" in [each["feature_key"] for each in run_json("feature", "list", url=url)["features"]]


def test_a_retired_feature_warns_of_what_goes_with_it(url: str) -> None:
    retired = run("feature", "retire", "ui.canvas", url=url).stdout
    assert "warning: These go off with it, because they need ui.canvas: ui.limit." in retired
    assert run_json("evaluate", "acme", "ui.limit", url=url, exit_code=1)["blocked_by"] == ["ui.canvas"]
    assert run_json("feature", "restore", "ui.canvas", url=url)["changes"][0]["action"] == "enabled"
    assert run_json("evaluate", "acme", "ui.limit", url=url)["enabled"] is True


def test_tiers_and_what_they_grant(url: str) -> None:
    run("tier", "create", "team", "--name", "Team", "--rank", "5", "--base", "free", url=url)
    granted = run_json("tier", "grant", "team", "ui.limit", "--value", "3", url=url)["changes"][0]
    assert (granted["key"], granted["new"]) == ("team/ui.limit", {"feature_value": {"enabled": True, "value": 3}})
    documents = {"ui.limit": {"enabled": True, "unlimited": True}, "help.chat": {"enabled": False}}
    changed = run_json("tier", "grant", "team", "--from", "-", url=url, text=json.dumps(documents))["changes"]
    assert [each["key"] for each in changed] == ["team/help.chat", "team/ui.limit"]
    shown = run_json("tier", "show", "team", url=url)
    assert (shown["base"], shown["features"], shown["licenses"]) == ("free", documents, 0)
    assert "base_tier_id" not in shown
    assert len(run_json("tier", "revoke", "team", "help.chat", "ui.limit", url=url)["changes"]) == 2
    moved = run_json("tier", "change", "team", "--base", "pro", "--rank", "6", url=url)["changes"]
    assert [each["new"] for each in moved] == [{"base": "pro"}, {"rank": 6}]
    assert run("tier", "change", "team", "--no-base", url=url).stdout == 'updated tier team\n  base: "pro" -> null\n'
    run("tier", "retire", "team", url=url)
    listed = {each["tier_key"]: each for each in run_json("tier", "list", url=url)["tiers"]}
    assert (listed["team"]["is_active"], listed["pro"]["base"]) == (False, "free")
    closed = run_json("license", "assign", "acme", "team", url=url, exit_code=1)
    assert closed["error"]["code"] == "tier-closed"
    run("tier", "restore", "team", url=url)
    run("license", "assign", "acme", "team", url=url)
    assert run_json("tier", "show", "team", url=url)["licenses"] == 1


def test_a_refused_write_changes_nothing(url: str, migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        before = history(session)
    # One transaction: the first of the two writes is undone with the second.
    refused = run_json("tier", "change", "pro", "--no-base", "--default", url=url, exit_code=1)
    assert refused["error"]["code"] in ("prerequisite-broken", "already-exists")
    refused = run_json("tier", "change", "free", "--base", "pro", "--rank", "3", url=url, exit_code=1)
    assert refused["error"]["code"] == "cycle-refused"
    said = run("override", "set", "acme", "data.nothing", url=url, exit_code=1).stderr
    assert said.startswith("conflict-refused: ")
    assert len(said.splitlines()) == 2
    with Session(migrated_engine) as session:
        assert history(session) == before


def test_licences_trials_and_overrides(url: str) -> None:
    run("tenant", "trial", "initech", "pro", "--days", "14", url=url)
    assert run_json("evaluate", "initech", "ui.limit", url=url)["value"] == 25
    run("license", "end", "initech", "--license-key", "trial", url=url)
    run("evaluate", "initech", "ui.limit", url=url, exit_code=1)
    run("license", "assign", "initech", "pro", "--license-key", "sub-1", "--expires", "2999-01-01T00:00+02:00", url=url)
    assert run_json("evaluate", "initech", "ui.limit", url=url)["expires_at"] == "2998-12-31T22:00:00+00:00"
    run("override", "set", "initech", "ui.limit", "--unlimited", "--days", "3", url=url)
    assert run_json("evaluate", "initech", "ui.limit", url=url)["unlimited"] is True
    run("override", "set", "initech", "ui.limit", "--off", url=url)
    run("evaluate", "initech", "ui.limit", url=url, exit_code=1)
    run("override", "remove", "initech", "ui.limit", url=url)
    run("evaluate", "initech", "ui.limit", url=url)
    both = run_json("override", "set", "initech", "data.nothing", "--deny", "data.history", url=url)
    assert sorted(each["key"] for each in both["changes"]) == ["initech/data.history", "initech/data.nothing"]


def test_a_purge_says_how_much_and_asks(url: str, migrated_engine: Engine) -> None:
    asked = run("tenant", "purge", "acme", url=url, text="n\n", exit_code=1)
    assert "  tenant_license: 1 row(s)\n" in asked.stderr
    assert run_json("tenant", "show", "acme", url=url)["licenses"]
    assert "purged tenant acme" in run("tenant", "purge", "acme", url=url, text="y\n").stdout
    again = run_json("tenant", "purge", "acme", "--yes", url=url)
    assert (again["changed"], again["deleted"]["tenant_license"]) == (False, 0)
    gone = run_json("tenant", "purge", "umbrella", "--yes", url=url)
    assert gone["deleted"] == {
        "tenant_license": 0,
        "tenant_feature_override": 2,
        "tenant_integration_configs": 0,
    }


def test_models_components_and_integrations(url: str, migrated_engine: Engine) -> None:
    exact = "0.000000000000000000001"
    fields = f'{{"model_name": "M", "model_type": "chat", "feature_key": "ui.canvas", "input_price_per_1k": {exact}}}'
    run("model", "create", "acme-ai", "org/m-1", "--from", "-", "--output-price", "1.5", url=url, text=fields)
    with migrated_engine.connect() as connection:
        row = connection.execute(sa.select(ModelRegistry.__table__)).one()  # type: ignore[attr-defined]
    assert (format(row.input_price_per_1k, "f"), format(row.output_price_per_1k, "f")) == (exact, "1.5")
    run("model", "change", "acme-ai", "org/m-1", "--name", "[red]M", url=url)
    run("model", "retire", "acme-ai", "org/m-1", url=url)
    (model,) = run_json("model", "list", "--provider", "acme-ai", url=url)["models"]
    assert (model["model_name"], model["is_active"], model["output_price_per_1k"]) == ("[red]M", False, "1.5")
    run("model", "restore", "acme-ai", "org/m-1", url=url)
    assert "acme-ai/org/m-1" in run("model", "list", url=url).stdout
    assert run_json("model", "list", "--provider", "none", url=url) == {"models": []}

    named = ("--name", "x", "--category", "x")
    run("component", "create", "chart", *named, "--display-name", "Chart", "--requires", "ui.canvas", url=url)
    run("component", "change", "chart", "--feature", "ui.limit", url=url)
    assert run("component", "list", url=url).stdout.split()[:3] == ["chart", "ui.limit,", "ui.canvas"]
    run("component", "retire", "chart", url=url)
    run("component", "restore", "chart", url=url)
    run("integration", "create", "slack", *named, "--feature", "ui.canvas", url=url)
    run("integration", "change", "slack", "--requires", "ui.limit", "--description", "Chat", url=url)
    run("integration", "retire", "slack", url=url)
    (integration,) = run_json("integration", "list", url=url)["integrations"]
    assert (integration["required_features"], integration["is_active"]) == (["ui.limit"], False)
    run("integration", "restore", "slack", url=url)
    unknown = run_json("integration", "change", "slack", "--feature", "no.such", url=url, exit_code=1)
    assert unknown["error"]["code"] == "reference-unknown"


def test_the_history_says_who_and_why(url: str, migrated_engine: Engine) -> None:
    run("license", "assign", "acme", "free", "--actor", "alice@example.com", "--reason", "Ticket 12", url=url)
    run("license", "end", "acme", url=url)
    log = FeatureAuditLog.__table__  # type: ignore[attr-defined]
    statement = sa.select(log.c.performed_by, log.c.reason).where(log.c.tenant_id == "acme").order_by(log.c.id.desc())
    with migrated_engine.connect() as connection:
        newest = [tuple(row) for row in connection.execute(statement.limit(2))]
    assert newest == [(getpass.getuser(), None), ("alice@example.com", "Ticket 12")]


def test_foreign_keys_are_enforced_and_the_schema_is_entered(
    url: str, migrated_engine: Engine, monkeypatch: Any
) -> None:
    from tierwright.cli import database

    with database.writing(url, None) as sessions, sessions() as session:
        if migrated_engine.dialect.name == "sqlite":
            assert session.execute(sa.text("PRAGMA foreign_keys")).scalar() == 1
        else:
            found = session.execute(sa.text("SELECT current_schemas(false)")).scalar_one()
            with migrated_engine.connect() as connection:
                assert found == [connection.exec_driver_sql("SELECT current_schema()").scalar_one()]


def test_a_schema_can_be_named(postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgresql_engine.url.render_as_string(hide_password=False)
    with postgresql_engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema("else%where"))
    run("db", "upgrade", "--schema", "else%where", url=url)
    run("feature", "create", "a.b", "--name", "x", "--category", "x", "--schema", "else%where", url=url)
    assert run_json("feature", "list", url=url, exit_code=1)["error"]["code"] == "schema-drift"
    monkeypatch.setenv("TIERWRIGHT_SCHEMA", "else%where")
    run("tier", "create", "pro", "--name", "Pro", url=url)
    run("tier", "grant", "pro", "a.b", url=url)
    run("tenant", "trial", "acme", "pro", url=url)
    assert run_json("evaluate", "acme", "a.b", url=url)["tier_key"] == "pro"
    assert run_json("tenants", "--with", "a.b", url=url)["tenants"][0]["tenant_id"] == "acme"
    run("tenant", "show", "acme", "--schema", "no_such", url=url, exit_code=3)
    run("license", "end", "acme", "--schema", "no_such", url=url, exit_code=3)
