"""What one tenant may use of models, components and integrations, as the command lists it on every database."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from tests.support.cli import run, run_json, small_catalogue, url_of
from tests.support.registry import writer
from tierwright.services.entitlements import Entitlements
from tierwright.services.resources import Component, Integration, Model
from tierwright.types import utc_now

CONFIGS = SQLModel.metadata.tables["tenant_integration_configs"]
COMMANDS = [("models", Model), ("components", Component), ("integrations", Integration)]


def _model(provider: str, model_id: str, feature_key: str, **more: Any) -> dict[str, Any]:
    named = {"provider": provider, "model_id": model_id, "model_name": model_id.upper(), "model_type": "chat"}
    return {**named, "feature_key": feature_key, **more}


def _keyed(kind: str, key: str, **more: Any) -> dict[str, Any]:
    name = "display_name" if kind == "component" else "description"
    return {f"{kind}_key": key, f"{kind}_name": key, name: key.title(), "category": "x", **more}


@pytest.fixture
def url(migrated_engine: Engine) -> str:
    """Return the URL of a database where acme has ui.canvas and ui.limit, but neither data.nothing nor ui.retired."""
    small_catalogue(migrated_engine)
    with Session(migrated_engine) as session:
        registry = writer(session)
        registry.models.create(_model("acme-ai", "big", "ui.limit", input_price_per_1k="0.000000000000000000001"))
        registry.models.create(_model("acme-ai", "gone", "ui.limit"))
        registry.models.retire("acme-ai", "gone")
        registry.models.create(_model("other", "small/er", "data.nothing"))
        registry.components.create(_keyed("component", "editor", required_features=["data.nothing", "help.chat"]))
        registry.components.create(_keyed("component", "public"))
        for key in ("jira", "slack", "teams", "zoom"):
            gate = "data.nothing" if key == "zoom" else "ui.canvas"
            registry.integrations.create(_keyed("integration", key, feature_key=gate))
        registry.features.retire("help.chat")
        registry.licenses.assign("acme", "free", license_key="later", starts_at=utc_now() + timedelta(days=1))
        session.commit()
        now = {"created_at": utc_now(), "updated_at": utc_now(), "config": {}, "is_enabled": True}
        for key, health in (("slack", None), ("teams", "unhealthy")):
            row = {"tenant_id": "acme", "integration_key": key, "health_status": health, **now}
            session.connection().execute(sa.insert(CONFIGS).values(row))
        session.commit()
    return url_of(migrated_engine)


def _lines(*arguments: str, url: str) -> list[list[str]]:
    printed = run(*arguments, url=url).stdout.splitlines()
    assert max(map(len, printed), default=0) <= 120
    return [line.split(maxsplit=2) for line in printed]


def test_people_read_what_is_locked_and_why(url: str) -> None:
    assert _lines("tenant", "models", "acme", url=url) == [
        ["acme-ai/big", "available"],
        ["other/small/er", "locked", "data.nothing NOT_GRANTED"],
    ]
    assert _lines("tenant", "components", "acme", url=url) == [
        ["editor", "locked", "data.nothing NOT_GRANTED, help.chat DISABLED"],
        ["public", "available"],
    ]
    assert _lines("tenant", "integrations", "acme", url=url) == [
        ["jira", "needs_configuration"],
        ["slack", "available"],
        ["teams", "unhealthy"],
        ["zoom", "locked", "data.nothing NOT_GRANTED"],
    ]
    # what another tenant has configured is its own
    assert _lines("tenant", "integrations", "initech", url=url)[1] == ["slack", "needs_configuration"]
    assert _lines("tenant", "models", "wayne", url=url)[0] == ["acme-ai/big", "locked", "ui.limit NOT_GRANTED"]


@pytest.mark.parametrize(("name", "kind"), COMMANDS)
def test_json_is_what_python_returns_and_the_reasons(name: str, kind: type[Any], url: str) -> None:
    found = run_json("tenant", name, "acme", url=url)
    assert list(found) == ["tenant_id", name]
    assert list(found[name][0]) == [*(field.name for field in fields(kind)), "reasons"]
    locked = [each for each in found[name] if each["availability"] == "locked"]
    assert locked
    for each in found[name]:
        assert list(each["reasons"]) == each["blocked_by"]
        assert bool(each["blocked_by"]) is (each["availability"] == "locked")


def test_json_has_exact_prices_and_the_same_answers_as_python(url: str, migrated_engine: Engine) -> None:
    models = run_json("tenant", "models", "acme", url=url)["models"]
    assert (models[0]["input_price_per_1k"], models[0]["output_price_per_1k"]) == ("1E-21", None)
    with Session(migrated_engine) as session:
        asked = Entitlements(session)
        for tenant in ("acme", "globex", "wayne", "nobody"):
            for name, ask in (
                ("models", asked.models),
                ("components", asked.components),
                ("integrations", asked.integrations),
            ):
                listed = run_json("tenant", name, tenant, url=url)[name]
                assert [(each["key"], each["availability"], tuple(each["blocked_by"])) for each in listed] == [
                    (each.key, each.availability.value, each.blocked_by) for each in ask(tenant)
                ]


def test_only_what_can_be_used(url: str) -> None:
    assert _lines("tenant", "models", "acme", "--available", url=url) == [["acme-ai/big", "available"]]
    assert _lines("tenant", "integrations", "acme", "--available", url=url) == [["slack", "available"]]
    nothing = run("tenant", "models", "wayne", "--available", url=url)
    assert (nothing.stdout, nothing.stderr) == ("", "none\n")
    assert run_json("tenant", "models", "wayne", "--available", url=url)["models"] == []


def test_one_provider(url: str) -> None:
    assert _lines("tenant", "models", "acme", "--provider", "other", url=url)[0][0] == "other/small/er"
    for provider in ("nobody", "a\x00b", "\udc80", "%"):
        assert run_json("tenant", "models", "acme", "--provider", provider, url=url)["models"] == []


def test_another_moment(url: str) -> None:
    later = (utc_now() + timedelta(days=8)).isoformat()
    assert run_json("tenant", "models", "globex", url=url)["models"][0]["availability"] == "available"
    found = run_json("tenant", "models", "globex", "--at", later, url=url)["models"][0]
    assert (found["availability"], found["reasons"]) == ("locked", {"ui.limit": "NOT_GRANTED"})
    for name, _ in COMMANDS:
        refused = run_json("tenant", name, "acme", "--at", "2020-01-31T12:00Z", url=url, exit_code=1)
        assert refused["error"]["code"] == "history-required"


def test_a_list_that_something_broke_locks_and_says_so(url: str, migrated_engine: Engine) -> None:
    components = SQLModel.metadata.tables["component_registry"]
    with migrated_engine.begin() as connection:
        connection.execute(components.update().values(required_features=["gone.away"]))
    found = run_json("tenant", "components", "acme", url=url)["components"]
    assert [each["reasons"] for each in found] == [{"gone.away": "FEATURE_NOT_FOUND"}] * 2


@pytest.mark.parametrize(("name", "_kind"), COMMANDS)
def test_what_cannot_be_answered_ends_as_with_the_other_commands(
    name: str, _kind: type[Any], url: str, tmp_path: Path
) -> None:
    assert run_json("tenant", name, " acme", url=url, exit_code=2)["error"]["code"] == "invalid-input"
    assert run_json("tenant", name, "acme", "--at", "soon", url=url, exit_code=2)["error"]["code"] == "invalid-input"
    missing = run_json("tenant", name, "acme", url=f"sqlite:///{tmp_path}/none.sqlite3", exit_code=3)
    assert missing["error"]["code"] == "database-unreachable"
    empty = tmp_path / "empty.sqlite3"
    empty.touch()
    assert run_json("tenant", name, "acme", url=f"sqlite:///{empty}", exit_code=1)["error"]["code"] == "schema-drift"
    assert json.loads(run("tenant", name, "nobody", "--json", url=url).stdout)["tenant_id"] == "nobody"
