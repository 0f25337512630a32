"""Checks of tenants' integrations on a database: what is written, when, and what is left alone."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.integrations import CONFIGS, KEY_2, KEYS, offer, service
from tests.support.registry import Statements, writer
from tierwright.errors import InvalidInput
from tierwright.integrations import Outcome, Probes, ProbeTarget, check_health, check_health_async, health_pages
from tierwright.secrets import KeyRing
from tierwright.testing.ground import async_engine_for
from tierwright.types import HealthStatus, utc_now

SECRET = "sentinel-health"
LATER = timedelta(days=1)


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Return a database in which acme and globex use slack; initech has configured it, and not switched it on."""
    offer(migrated_engine)
    with Session(migrated_engine) as session:
        calls = service(session)
        for tenant in ("acme", "globex", "initech"):
            calls.configure(tenant, "slack", {"channel": f"#{tenant}", "bot_token": SECRET})
        calls.enable("acme", "slack")
        calls.enable("globex", "slack")
        session.commit()
    return migrated_engine


def probing(probe: Any) -> Probes:
    probes = Probes()
    probes.register("slack")(probe)
    return probes


def row_of(engine: Engine, tenant: str = "acme") -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.select(CONFIGS).where(CONFIGS.c.tenant_id == tenant)).one()


def health_of(engine: Engine, tenant: str = "acme") -> tuple[Any, ...]:
    row = row_of(engine, tenant)
    return row.health_status, row.failure_count, row.success_count


def failing(target: ProbeTarget) -> None:
    raise ConnectionError(target.secrets()["bot_token"])


def updates(engine: Engine) -> list[str]:
    """Return a list that fills with the updates that reach the database."""
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "UPDATE" in statement:
            seen.append(statement)

    return seen


def test_only_what_is_switched_on_and_has_a_probe_is_checked(engine: Engine) -> None:
    offer(engine, "mail")
    asked: list[tuple[str, str, Any]] = []
    probes = probing(lambda target: asked.append((target.tenant_id, target.integration_key, target.config)))
    report = check_health(engine, probes)
    assert sorted(asked, key=str) == [
        ("acme", "slack", {"channel": "#acme"}),
        ("globex", "slack", {"channel": "#globex"}),
    ]
    assert [(check.tenant_id, check.before, check.after) for check in report.checks] == [
        ("acme", None, "healthy"),
        ("globex", None, "healthy"),
    ]
    assert report.ok
    assert row_of(engine).last_health_check is not None
    assert health_of(engine, "initech") == (None, 0, 0)
    with Session(engine) as session:
        writer(session).integrations.retire("slack")
        session.commit()
    assert check_health(engine, probes).checks == ()


def test_a_tenant_or_an_integration_can_be_chosen(engine: Engine) -> None:
    probes = probing(lambda _: None)
    assert [check.tenant_id for check in check_health(engine, probes, tenants=["globex", "nobody"]).checks] == [
        "globex"
    ]
    probes.register("mail")(lambda _: None)
    assert check_health(engine, probes, integrations=["mail"]).checks == ()
    assert len(check_health(engine, probes, integrations=["slack"]).checks) == 2


def test_failures_in_a_row_make_it_unhealthy_and_successes_in_a_row_healthy_again(engine: Engine) -> None:
    found = []
    for probe in (failing, failing, failing, failing, lambda _: None, failing, lambda _: None, lambda _: None):
        check_health(engine, probing(probe), keys=KEYS, tenants=["acme"])
        found.append(health_of(engine))
    assert found == [
        ("degraded", 1, 0),
        ("degraded", 2, 0),
        ("unhealthy", 3, 0),
        ("unhealthy", 3, 0),
        ("unhealthy", 0, 1),
        ("unhealthy", 1, 0),
        ("unhealthy", 0, 1),
        ("healthy", 0, 2),
    ]


def test_where_nothing_happens_nothing_is_written_until_it_is_due(engine: Engine) -> None:
    probes = probing(lambda _: None)
    for _ in range(2):
        check_health(engine, probes)
    before, seen = row_of(engine), updates(engine)
    report = check_health(engine, probes)
    assert [check.written for check in report.checks] == [False, False]
    assert seen == []
    assert row_of(engine) == before
    with engine.begin() as connection:
        connection.execute(sa.update(CONFIGS).values(last_health_check=utc_now() - LATER))
    assert [check.written for check in check_health(engine, probes).checks] == [True, True]
    after = row_of(engine)
    assert utc_now() - after.last_health_check < LATER
    assert (after.config_version, after.secret_version, after.encrypted_config) == (
        before.config_version,
        before.secret_version,
        before.encrypted_config,
    )


def test_the_time_of_the_settings_stays(engine: Engine) -> None:
    before = row_of(engine).updated_at
    check_health(engine, probing(failing), keys=KEYS)
    assert row_of(engine).updated_at == before


def test_what_was_changed_while_the_probe_ran_gets_no_result(engine: Engine) -> None:
    def change(target: ProbeTarget) -> None:
        with Session(engine) as session:
            service(session).configure(target.tenant_id, "slack", {"channel": "#new"})
            session.commit()

    [check] = check_health(engine, probing(change), tenants=["acme"]).checks
    assert (check.superseded, check.written, check.after) == (True, False, None)
    assert health_of(engine) == (None, 0, 0)


def test_settings_that_were_removed_and_made_anew_get_no_result(engine: Engine) -> None:
    def change(target: ProbeTarget) -> None:
        with Session(engine) as session:
            calls = service(session)
            calls.remove(target.tenant_id, "slack")
            calls.configure(target.tenant_id, "slack", {"channel": "#new", "bot_token": SECRET})
            calls.enable(target.tenant_id, "slack")
            session.commit()

    version = row_of(engine).config_version
    [check] = check_health(engine, probing(change), tenants=["acme"]).checks
    assert row_of(engine).config_version == version, "only the version would not tell"
    assert (check.superseded, check.written) == (True, False)
    assert health_of(engine) == (None, 0, 0)


def test_connections_may_have_different_time_zones(engine: Engine) -> None:
    zones = cycle(("UTC", "Asia/Kolkata"))
    if engine.dialect.name == "postgresql":
        event.listen(engine, "begin", lambda each: each.exec_driver_sql(f"SET LOCAL TIME ZONE '{next(zones)}'"))
    assert all(check.written for check in check_health(engine, probing(lambda _: None)).checks)


def test_of_two_checks_at_once_the_second_result_is_dropped(engine: Engine) -> None:
    for _ in range(2):
        check_health(engine, probing(failing), keys=KEYS, tenants=["acme"])

    def fails_meanwhile(_target: ProbeTarget) -> None:
        check_health(engine, probing(failing), keys=KEYS, tenants=["acme"])

    # What this one has read is two failures; its success must not undo the third.
    [check] = check_health(engine, probing(fails_meanwhile), tenants=["acme"]).checks
    assert check.superseded
    assert health_of(engine) == ("unhealthy", 3, 0)


def test_chosen_tenants_are_probed_at_the_same_time(engine: Engine) -> None:
    together = threading.Barrier(2)  # opens when both are there

    def probe(_target: ProbeTarget) -> None:
        together.wait(60)

    assert check_health(engine, probing(probe), tenants=["acme", "globex"]).statuses == {"healthy": 2}


@pytest.mark.parametrize("tenants", [None, ["acme", "globex", "initech", "nobody", "acme"]])
def test_pages_end_where_there_is_nothing_more(
    engine: Engine, tenants: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_pages, "PAGE", 1)
    offer(engine, "mail")
    with Session(engine) as session:
        for tenant in ("acme", "globex"):
            service(session).configure(tenant, "mail", {"channel": "#mail", "bot_token": SECRET})
            service(session).enable(tenant, "mail")
        session.commit()
    probes = probing(lambda _: None)
    probes.register("mail")(lambda _: None)
    found = sorted(
        (check.integration_key, check.tenant_id) for check in check_health(engine, probes, tenants=tenants).checks
    )
    assert found == [("mail", "acme"), ("mail", "globex"), ("slack", "acme"), ("slack", "globex")]


def test_a_round_that_writes_nothing_only_reads(engine: Engine) -> None:
    probes = probing(lambda _: None)
    for _ in range(2):
        check_health(engine, probes)
    seen = Statements(engine)
    check_health(engine, probes)
    assert seen.count <= 2, "the rows, and on PostgreSQL whether all tenants can be seen"


def test_a_clock_that_was_wrong_is_put_right(engine: Engine) -> None:
    probes = probing(lambda _: None)
    for _ in range(2):
        check_health(engine, probes)
    with engine.begin() as connection:
        connection.execute(sa.update(CONFIGS).values(last_health_check=utc_now() + LATER))
    assert [check.written for check in check_health(engine, probes).checks] == [True, True]
    assert row_of(engine).last_health_check <= utc_now()


def test_a_probe_that_cannot_have_its_secrets_says_nothing(engine: Engine) -> None:
    for keys, error in ((None, "SecretsNotConfigured"), (KeyRing({"k1": KEY_2}, "k1"), "DecryptionFailed")):
        report = check_health(engine, probing(failing), keys=keys)
        assert {(check.outcome, check.error, check.written) for check in report.checks} == {
            (Outcome.INCONCLUSIVE, error, False)
        }
        assert not report.ok
    assert health_of(engine) == (None, 0, 0)
    assert check_health(engine, probing(lambda _: HealthStatus.DEGRADED)).statuses == {"degraded": 2}


def test_what_a_probe_raises_is_told_by_its_class_only(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    report = check_health(engine, probing(failing), keys=KEYS)
    assert {check.error for check in report.checks} == {"ConnectionError"}
    assert SECRET not in str(report) + caplog.text + str(row_of(engine))


def test_no_connection_is_held_while_probes_run(engine: Engine) -> None:
    held = 0

    @event.listens_for(engine, "checkout")
    def taken(*_: Any) -> None:
        nonlocal held
        held += 1

    @event.listens_for(engine, "checkin")
    def given_back(*_: Any) -> None:
        nonlocal held
        held -= 1

    seen: list[int] = []
    check_health(engine, probing(lambda _: seen.append(held)))
    assert seen == [0, 0]


def test_an_event_loop_can_wait_for_it(engine: Engine) -> None:
    import asyncio

    from sqlalchemy.ext.asyncio import async_sessionmaker

    async def probe(target: ProbeTarget) -> None:
        await asyncio.sleep(0)
        assert target.secrets()["bot_token"] == SECRET

    async def main() -> Any:
        asynchronous = async_engine_for(engine)
        for database in (async_sessionmaker(asynchronous), asynchronous):
            report = await check_health_async(database, probing(probe), keys=KEYS)
        await asynchronous.dispose()
        return report

    assert asyncio.run(main()).statuses == {"healthy": 2}
    assert health_of(engine) == ("healthy", 0, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": True},
        {"timeout": "10"},
        {"concurrency": 0},
        {"concurrency": 2.0},
        {"failures": 0},
        {"due": timedelta(seconds=-1)},
        {"due": 900},
        {"tenants": [""]},
        {"tenants": "acme"},
        {"tenants": 7},
        {"integrations": "slack"},
        {"integrations": ["slak"]},
    ],
)
def test_what_is_asked_for_is_checked_first(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        check_health(sa.create_engine("sqlite:///no/such/folder/file"), probing(failing), **wrong)
