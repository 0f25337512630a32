"""The commands that answer, on every database: decisions, explanations, tenants."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.cli import run, run_json, small_catalogue
from tests.support.registry import writer
from tierwright import migrations
from tierwright.resolution.decision import unavailable
from tierwright.services import paging
from tierwright.services.entitlements import Entitlements
from tierwright.services.statements import LICENSES
from tierwright.types import utc_now

DECISION = [
    "feature_key",
    "enabled",
    "value",
    "unlimited",
    "reason",
    "source",
    "tier_key",
    "expires_at",
    "blocked_by",
    "tier_deleted",
]


@pytest.fixture
def url(migrated_engine: Engine) -> str:
    """Return the URL of a database with a small catalogue."""
    return small_catalogue(migrated_engine)


@pytest.mark.parametrize(
    ("tenant", "feature", "exit_code", "lines"),
    [
        ("acme", "ui.limit", 0, ["granted ui.limit for acme", "  reason      GRANTED", "  source      tier pro"]),
        (
            "hooli",
            "ui.limit",
            0,
            ["granted ui.limit for hooli", "  source      override", "  value       unlimited"],
        ),
        ("wayne", "ui.canvas", 1, ["denied ui.canvas for wayne", "  reason      NOT_GRANTED"]),
        ("nobody", "help.chat", 0, ["granted help.chat for nobody", "  source      registry_default"]),
        ("nobody", "no.such", 1, ["denied no.such for nobody", "  reason      FEATURE_NOT_FOUND"]),
        ("nobody", "Not A Key", 1, ["denied Not A Key for nobody", "  reason      FEATURE_NOT_FOUND"]),
    ],
)
def test_a_decision_is_readable_and_ends_with_its_exit_code(
    tenant: str, feature: str, exit_code: int, lines: list[str], url: str
) -> None:
    printed = run("evaluate", tenant, feature, url=url, exit_code=exit_code).stdout.splitlines()
    assert [line for line in printed if line in lines] == lines
    assert max(map(len, printed)) <= 80


def test_a_decision_is_json_with_stable_names(url: str, migrated_engine: Engine) -> None:
    found = run_json("evaluate", "acme", "ui.limit", url=url)
    assert list(found) == ["tenant_id", *DECISION]
    assert found["tenant_id"] == "acme"
    assert (found["enabled"], found["value"], found["tier_key"], found["blocked_by"]) == (True, 25, "pro", [])
    denied = run_json("evaluate", "7C9E6679-7425-40DE-944B-E07FC1F90AE7", "data.nothing", url=url, exit_code=1)
    assert denied["tenant_id"] == "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    trial = run_json("evaluate", "globex", "ui.limit", url=url)
    ends = datetime.fromisoformat(trial["expires_at"])
    assert timedelta(days=6) < ends - datetime.now(UTC) < timedelta(days=7)
    with Session(migrated_engine) as session:
        assert Entitlements(session).evaluate("globex", "ui.limit").expires_at == ends


def test_another_moment(url: str) -> None:
    later = (utc_now() + timedelta(days=8)).isoformat()
    assert run_json("evaluate", "globex", "ui.limit", "--at", later, url=url, exit_code=1)["reason"] == "NOT_GRANTED"
    refused = run_json("evaluate", "globex", "ui.limit", "--at", "2020-01-31T12:00Z", url=url, exit_code=3)
    assert refused["error"]["code"] == "history-required"  # 1 would mean denied


def test_a_database_that_is_lost_meanwhile_is_exit_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    migrations.upgrade(url)
    monkeypatch.setattr(Entitlements, "evaluate", lambda *_, **__: unavailable("a.b"))
    assert run_json("evaluate", "acme", "a.b", url=url, exit_code=3)["reason"] == "UNAVAILABLE"
    assert "is not known, so it is denied" in run("explain", "acme", "a.b", url=url, exit_code=3).stdout


def test_an_explanation_is_a_sentence_and_a_remedy(url: str) -> None:
    said = run("explain", "wayne", "ui.canvas", url=url).stdout.splitlines()
    assert said == [
        "Tenant wayne may not use ui.canvas: an override for this tenant denies it.",
        "  Change what denies it, or set an override.",
    ]
    found = run_json("explain", "acme", "ui.limit", url=url)
    assert list(found) == ["tenant_id", "sentence", "remedy", "decision"]
    assert list(found["decision"]) == DECISION
    assert found["sentence"] == "Tenant acme may use ui.limit with the value 25: its tier pro grants it."
    assert found["remedy"] == ""


def test_a_tenant_is_shown_with_all_it_holds(url: str, migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        registry.licenses.assign("acme", "free", license_key="next", starts_at=utc_now() + timedelta(days=5))
        registry.licenses.assign("acme", "free", license_key="old", expires_at=utc_now() + timedelta(days=1))
        registry.licenses.end("acme", "old")
        integration = {"integration_name": "Slack", "category": "chat", "feature_key": "ui.canvas"}
        registry.integrations.create({"integration_key": "slack", **integration})
        session.commit()
    found = run_json("tenant", "show", "acme", url=url)
    assert list(found) == ["tenant_id", "default_tier", "licenses", "overrides", "features", "integrations"]
    assert [(held["license_key"], held["tier_key"], held["state"]) for held in found["licenses"]] == [
        ("main", "pro", "valid"),
        ("next", "free", "later"),
        ("old", "free", "ended"),
    ]
    assert found["default_tier"] is None
    assert found["features"] == {"granted": 4, "denied": 1, "reasons": {"NOT_GRANTED": 1}}
    assert [each["availability"] for each in found["integrations"]] == ["needs_configuration"]
    printed = run("tenant", "show", "acme", url=url).stdout
    assert "features: 4 granted, 1 denied (NOT_GRANTED 1)" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_tenant_that_holds_nothing_is_shown_too(url: str) -> None:
    found = run_json("tenant", "show", "nobody", url=url)
    assert (found["licenses"], found["overrides"], found["default_tier"]) == ([], [], "free")
    assert "the default tier free counts" in run("tenant", "show", "nobody", url=url).stdout
    shown = run("tenant", "show", "umbrella", url=url).stdout
    assert 'data.nothing  {"enabled": true}  valid  (Contract 7)' in shown


def test_who_has_a_feature_is_resolved_truly(url: str) -> None:
    found = run_json("tenants", "--with", "ui.limit", url=url)
    assert [each["tenant_id"] for each in found["tenants"]] == ["acme", "globex", "hooli", "stark"]
    assert [each["source"] for each in found["tenants"]] == ["tier", "tier", "override", "override"]
    assert found["without_licence"]["enabled"] is False
    assert (found["note"], found["complete"]) == (None, True)
    assert [each["tenant_id"] for each in run_json("tenants", "--with", "data.nothing", url=url)["tenants"]] == [
        "umbrella"
    ]
    # wayne holds no licence, and loses by its override what the default tier gives
    canvas = run_json("tenants", "--with", "ui.canvas", url=url)
    assert "wayne" not in [each["tenant_id"] for each in canvas["tenants"]]


def test_a_feature_that_is_on_for_everybody_does_not_show_as_nobody_has_it(url: str) -> None:
    found = run_json("tenants", "--with", "help.chat", url=url)
    assert found["without_licence"]["source"] == "registry_default"
    assert "on for everybody by default" in found["note"]
    assert len(found["tenants"]) == 7
    printed = run("tenants", "--with", "help.chat", url=url).stdout
    assert printed.startswith("Tenants without any licence or override have help.chat too (registry_default)")
    assert "(default_tier free)" in run("tenants", "--with", "ui.canvas", url=url).stdout


def test_a_retired_feature_is_had_by_nobody(url: str) -> None:
    run("feature", "retire", "help.chat", url=url)
    found = run_json("tenants", "--with", "help.chat", url=url)
    assert (found["tenants"], found["note"], found["without_licence"]["reason"]) == ([], None, "DISABLED")
    assert run("tenants", "--with", "help.chat", url=url).stdout == ""


def test_who_is_on_a_tier(url: str) -> None:
    found = run_json("tenants", "--on-tier", "pro", url=url)
    assert [each["tenant_id"] for each in found["tenants"]] == ["acme", "globex"]
    assert found["tenants"][1]["licenses"][0]["license_key"] == "trial"
    run("license", "end", "acme", url=url)
    assert run("tenants", "--on-tier", "pro", url=url).stdout.startswith("globex  ")


def test_what_ends_soon_comes_first(url: str) -> None:
    found = run_json("tenants", "--expiring", "14d", url=url)["tenants"]
    assert [(each["tenant_id"], each["kind"], each["key"], each["tier_key"]) for each in found] == [
        ("stark", "override", "ui.limit", None),
        ("globex", "license", "trial", "pro"),
    ]
    assert found[0]["expires_at"] < found[1]["expires_at"]
    printed = run("tenants", "--expiring", "1w", url=url).stdout.splitlines()
    assert [line.split()[0] for line in printed] == ["stark", "globex"]
    assert run_json("tenants", "--expiring", "12h", url=url)["tenants"] == []


def test_a_limit_says_that_there_is_more(url: str) -> None:
    found = run_json("tenants", "--with", "ui.limit", "--limit", "2", url=url)
    assert (len(found["tenants"]), found["complete"]) == (2, False)
    assert run_json("tenants", "--with", "ui.limit", "--limit", "4", url=url)["complete"] is True
    printed = run("tenants", "--with", "ui.limit", "--limit", "2", url=url)
    assert len(printed.stdout.splitlines()) == 2
    assert printed.stderr == "the first 2; there are more\n"


@pytest.mark.parametrize("page", [1, 2, 3])
def test_pages_neither_lose_nor_repeat(page: int, url: str, migrated_engine: Engine, monkeypatch: Any) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        end = utc_now() + timedelta(days=2)  # all at one moment, so that only the rest of the key tells them apart
        for tenant in ("a", "A", "é", "a b", "zz", "я", "a'; --", "a/b"):
            for key in ("main", "second"):
                registry.licenses.assign(tenant, "pro", license_key=key, expires_at=end)
            registry.overrides.set(tenant, "help.chat", {"enabled": True}, expires_at=end)
        session.commit()
    questions = (("--with", "ui.limit"), ("--on-tier", "pro"), ("--expiring", "14d"), ("--with", "help.chat"))
    whole = [run_json("tenants", *question, url=url)["tenants"] for question in questions]
    assert [len(found) for found in whole] == [12, 10, 26, 15]
    monkeypatch.setattr(paging, "_PAGE", page)
    assert [run_json("tenants", *question, url=url)["tenants"] for question in questions] == whole


def test_a_suspended_licence_counts_nowhere(url: str, migrated_engine: Engine) -> None:
    with migrated_engine.begin() as connection:
        connection.execute(sa.update(LICENSES).where(LICENSES.c.tenant_id == "globex").values(is_active=False))
    assert run_json("tenant", "show", "globex", url=url)["licenses"][0]["state"] == "suspended"
    for question in (("--with", "ui.limit"), ("--on-tier", "pro"), ("--expiring", "14d")):
        found = run_json("tenants", *question, url=url)["tenants"]
        assert "globex" not in [each["tenant_id"] for each in found]


def test_every_tenant_that_is_listed_is_granted_and_no_other(url: str, migrated_engine: Engine) -> None:
    everybody = ["acme", "globex", "initech", "hooli", "umbrella", "stark", "wayne"]
    with Session(migrated_engine) as session:
        entitlements = Entitlements(session)
        for feature_key in entitlements.evaluate_all("acme"):
            found = run_json("tenants", "--with", feature_key, url=url)["tenants"]
            decisions = {tenant: entitlements.evaluate(tenant, feature_key) for tenant in everybody}
            assert [each["tenant_id"] for each in found] == sorted(
                tenant for tenant, decision in decisions.items() if decision.enabled
            )
            assert all(each["source"] == decisions[each["tenant_id"]].source for each in found)


def test_json_is_one_document_also_where_nothing_is_found(migrated_url: str) -> None:
    assert run_json("tenants", "--expiring", "1d", url=migrated_url)["tenants"] == []
    assert json.loads(run("feature", "list", "--json", url=migrated_url).stdout) == {"features": []}
    assert run("tier", "list", url=migrated_url).stderr == "none\n"
