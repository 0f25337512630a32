"""Checking whether tenants' integrations work: reading a page of them, asking the probes, writing what is new."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, sessionmaker

from tierwright.errors import InvalidInput
from tierwright.integrations.health_pages import AllTenants, SomeTenants
from tierwright.integrations.health_probes import Probes
from tierwright.integrations.health_report import HealthReport
from tierwright.integrations.health_round import Round
from tierwright.integrations.health_rules import HealthRules
from tierwright.integrations.health_running import Runner, in_own_loop
from tierwright.secrets.keys import KeyProvider
from tierwright.services.transactions import run_in_transaction, run_in_transaction_async
from tierwright.types import canonical_tenant_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker


def check_health(
    database: Engine | Callable[[], Session],
    probes: Probes,
    *,
    keys: KeyProvider | None = None,
    tenants: Iterable[str | int | UUID] | None = None,
    integrations: Collection[str] | None = None,
    timeout: float = 10.0,
    concurrency: int = 8,
    failures: int = 3,
    recoveries: int = 2,
    due: timedelta = timedelta(minutes=15),
) -> HealthReport:
    """Run the probes of the enabled configurations, and write what is new.

    No connection is held while probes run. A row is written where its status or a counter changes, or where it was
    last written longer than ``due`` ago; never where the configuration was changed, or checked by somebody else,
    meanwhile. Neither versions nor ``updated_at`` move.

    Args:
        database: an engine, or what makes sessions.
        probes: the host's.
        keys: for probes that ask for secrets.
        tenants: of these only; all by default, which needs a role that sees all rows.
        integrations: of these only; all that have a probe by default.
        timeout: seconds for each probe.
        concurrency: how many run at a time.
        failures: so many failures in a row make an integration unhealthy.
        recoveries: so many answers in a row make it better again.
        due: how old ``last_health_check`` may become where nothing changes.

    Raises:
        InvalidInput: a number makes no sense, something is no tenant, or an integration has no probe.
        PrivilegeMissing: row-level security hides rows from the current role.
        RetryTransaction: the rows could not be written for too long.
    """
    rules = HealthRules(failures, recoveries)
    work = _round(probes, keys, tenants, integrations, timeout, concurrency, rules, due, isolated=True)
    sessions = sessionmaker(database) if isinstance(database, Engine) else database
    while not work.is_over:
        page = run_in_transaction(sessions, work.read)
        if work.judge(page, in_own_loop(partial(work.run, page))):
            run_in_transaction(sessions, work.write)
        work.turn(page)
    return HealthReport(tuple(work.checks))


async def check_health_async(
    database: AsyncEngine | async_sessionmaker[AsyncSession],
    probes: Probes,
    *,
    keys: KeyProvider | None = None,
    tenants: Iterable[str | int | UUID] | None = None,
    integrations: Collection[str] | None = None,
    timeout: float = 10.0,
    concurrency: int = 8,
    failures: int = 3,
    recoveries: int = 2,
    due: timedelta = timedelta(minutes=15),
) -> HealthReport:
    """Do what :func:`check_health` does, on the caller's event loop; functions that are not async run in threads.

    Args:
        database: an asynchronous engine, or what makes asynchronous sessions.
        probes, keys, tenants, integrations, timeout, concurrency, failures, recoveries, due: as there.

    Raises:
        InvalidInput, PrivilegeMissing, RetryTransaction: as there.
    """
    rules = HealthRules(failures, recoveries)
    work = _round(probes, keys, tenants, integrations, timeout, concurrency, rules, due, isolated=False)
    sessions = _async_sessions(database)
    while not work.is_over:
        page = await run_in_transaction_async(sessions, work.read)
        if work.judge(page, await work.run(page)):
            await run_in_transaction_async(sessions, work.write)
        work.turn(page)
    return HealthReport(tuple(work.checks))


def _round(
    probes: Probes,
    keys: KeyProvider | None,
    tenants: Iterable[str | int | UUID] | None,
    integrations: Collection[str] | None,
    timeout: float,
    concurrency: int,
    rules: HealthRules,
    due: timedelta,
    *,
    isolated: bool,
) -> Round:
    if type(timeout) not in (int, float) or not 0 < timeout < math.inf:
        raise InvalidInput("timeout is not a positive number of seconds.", remedy="Pass one, such as 10.")
    if type(concurrency) is not int or concurrency < 1:
        raise InvalidInput("concurrency is not a positive whole number.", remedy="Pass one, such as 8.")
    if not isinstance(due, timedelta) or due < timedelta(0):
        raise InvalidInput("due is not a span of time.", remedy="Pass a timedelta.")
    pages = _pages(_chosen(probes, integrations), tenants)
    runner = Runner(probes.stuck, timeout=timeout, concurrency=concurrency, isolated=isolated)
    return Round(probes, keys, pages, rules, due, runner)


def _chosen(probes: Probes, integrations: Collection[str] | None) -> Collection[str]:
    """Return the integrations that were asked for; a mistyped one must not pass for one without trouble."""
    if integrations is None:
        return probes.integration_keys
    _refuse_one(integrations, "integrations")
    for key in integrations:
        if key not in probes.integration_keys:
            raise InvalidInput(
                f"{str(key)[:100]!a} has no probe.", remedy=f"These have: {', '.join(probes.integration_keys)}."
            )
    return integrations


def _pages(integrations: Collection[str], tenants: Iterable[str | int | UUID] | None) -> AllTenants | SomeTenants:
    if tenants is None:
        return AllTenants(integrations)
    _refuse_one(tenants, "tenants")
    return SomeTenants(integrations, sorted({canonical_tenant_id(each) for each in tenants}))


def _refuse_one(several: object, what: str) -> None:
    # The characters of a key would be taken for keys.
    if isinstance(several, str) or not isinstance(several, Iterable):
        raise InvalidInput(f"{what} is not a list.", remedy=f'Write {what}=["..."].')


def _async_sessions(database: AsyncEngine | async_sessionmaker[AsyncSession]) -> async_sessionmaker[AsyncSession]:
    from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

    return async_sessionmaker(database) if isinstance(database, AsyncEngine) else database
