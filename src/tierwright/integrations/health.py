"""Checking whether tenants' integrations work: reading a page of them, asking the probes, writing what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from tierwright.errors import InvalidInput
from tierwright.integrations import health_rows
from tierwright.integrations.health_probes import Probes, ProbeTarget
from tierwright.integrations.health_rows import Checked, RowKey
from tierwright.integrations.health_rules import Health, HealthRules, Outcome
from tierwright.integrations.health_running import Answer, Attempt, Opening, Runner, in_own_loop
from tierwright.integrations.sealing import open_secrets
from tierwright.secrets.keys import KeyProvider
from tierwright.services.session_state import connection_of
from tierwright.services.tenant_scope import require_all_tenants, tenant_scope
from tierwright.services.transactions import run_in_transaction, run_in_transaction_async
from tierwright.types import HealthStatus, canonical_tenant_id, utc_now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

_PAGE = 200


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What the check of one configuration has shown.

    Attributes:
        tenant_id: the canonical id of the tenant.
        integration_key: the integration.
        outcome: what the probe has shown.
        error: the class of what it raised; never a message.
        before: the status that the row had.
        after: the status that it has now.
        written: whether the row was written.
        superseded: the configuration was changed while the probe ran, so the answer is about an earlier one.
    """

    tenant_id: str
    integration_key: str
    outcome: Outcome
    error: str | None
    before: HealthStatus | None
    after: HealthStatus | None
    written: bool
    superseded: bool = False


@dataclass(frozen=True)
class HealthReport:
    """What a round of checks has shown.

    Attributes:
        checks: one for each configuration, by integration and tenant.
    """

    checks: tuple[HealthCheck, ...] = ()

    @property
    def statuses(self) -> Counter[str | None]:
        """How many configurations have which status now."""
        return Counter(None if check.after is None else check.after.value for check in self.checks)

    @property
    def ok(self) -> bool:
        """Whether none is unhealthy, and every probe could be run."""
        return not any(
            check.after is HealthStatus.UNHEALTHY or check.outcome is Outcome.INCONCLUSIVE for check in self.checks
        )


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
    last written longer than ``due`` ago; never where the configuration was changed meanwhile. Neither versions nor
    ``updated_at`` move.

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
        InvalidInput: a number is not positive, or something is no tenant.
        PrivilegeMissing: row-level security hides rows from the current role.
        RetryTransaction: the rows could not be written for too long.
    """
    work = _Work(probes, keys, tenants, integrations, timeout, concurrency, failures, recoveries, due, isolated=True)
    sessions = sessionmaker(database) if isinstance(database, Engine) else database
    for tenant_id in work.tenants:
        while page := run_in_transaction(sessions, partial(work.page, tenant_id=tenant_id)):
            answers = in_own_loop(partial(work.runner.run, work.attempts(page, tenant_id)))
            results = list(zip(page, answers, strict=True))
            work.checks += run_in_transaction(sessions, partial(work.written, results=results))
    return HealthReport(tuple(work.checks))


async def check_health_async(
    sessions: async_sessionmaker[AsyncSession],
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
        sessions: makes asynchronous sessions.
        probes, keys, tenants, integrations, timeout, concurrency, failures, recoveries, due: as there.

    Raises:
        InvalidInput, PrivilegeMissing, RetryTransaction: as there.
    """
    work = _Work(probes, keys, tenants, integrations, timeout, concurrency, failures, recoveries, due, isolated=False)
    for tenant_id in work.tenants:
        while page := await run_in_transaction_async(sessions, partial(work.page, tenant_id=tenant_id)):
            answers = await work.runner.run(work.attempts(page, tenant_id))
            results = list(zip(page, answers, strict=True))
            work.checks += await run_in_transaction_async(sessions, partial(work.written, results=results))
    return HealthReport(tuple(work.checks))


@dataclass
class _Work:
    """One round of checks: what is read, what is run, what is written."""

    probes: Probes
    keys: KeyProvider | None
    of_tenants: Iterable[str | int | UUID] | None
    of_integrations: Collection[str] | None
    timeout: float
    concurrency: int
    failures: int
    recoveries: int
    due: timedelta
    isolated: bool
    checks: list[HealthCheck] = field(default_factory=list)

    def __post_init__(self) -> None:
        if type(self.concurrency) is not int or self.concurrency < 1 or not self.timeout > 0:
            raise InvalidInput("timeout and concurrency are positive numbers.", remedy="Leave them out.")
        self.rules = HealthRules(self.failures, self.recoveries)
        chosen = self.probes.integration_keys if self.of_integrations is None else self.of_integrations
        self._integrations = set(chosen) & set(self.probes.integration_keys)
        #: None stands for all of them.
        self.tenants: list[str | None] = [None]
        if self.of_tenants is not None:
            self.tenants = [*sorted({canonical_tenant_id(each) for each in self.of_tenants})]
        self.runner = Runner(
            self.probes.stuck, timeout=self.timeout, concurrency=self.concurrency, isolated=self.isolated
        )
        self._last: dict[str | None, RowKey | None] = {}

    def page(self, session: Session, tenant_id: str | None) -> list[Checked]:
        """Return the next configurations of a tenant, or of all."""
        connection = connection_of(session, writing=False)
        if tenant_id is None:
            require_all_tenants(connection)
            return self._page(connection, tenant_id)
        with tenant_scope(connection, tenant_id):
            return self._page(connection, tenant_id)

    def attempts(self, page: list[Checked], tenant_id: str | None) -> list[Attempt]:
        """Return what is to be run for a page, which is not read again."""
        self._last[tenant_id] = page[-1].key
        return [self._attempt(row) for row in page]

    def written(self, session: Session, results: list[tuple[Checked, Answer]]) -> list[HealthCheck]:
        """Write what is new, and return what was found."""
        connection = connection_of(session)
        found = []
        for row, answer in results:
            with tenant_scope(connection, row.tenant_id):
                found.append(self._written(connection, row, answer))
        return found

    def _page(self, connection: Connection, tenant_id: str | None) -> list[Checked]:
        return health_rows.page_after(connection, self._last.get(tenant_id), _PAGE, self._integrations, tenant_id)

    def _attempt(self, row: Checked) -> Attempt:
        opening = Opening(lambda: open_secrets(row.sealed, self.keys, row.binding))
        target = ProbeTarget(row.tenant_id, row.integration_key, row.config, opening)
        return Attempt(self.probes[row.integration_key], target, row.version, opening)

    def _written(self, connection: Connection, row: Checked, answer: Answer) -> HealthCheck:
        after = self.rules.after(row.health, answer.outcome)
        is_said = answer.outcome is not Outcome.INCONCLUSIVE and (after != row.health or self._is_due(row))
        is_written = is_said and health_rows.write(connection, row, after)
        said = after if is_written or not is_said else row.health
        return self._check(row, answer, said, is_written, is_said and not is_written)

    def _check(self, row: Checked, answer: Answer, after: Health, written: bool, superseded: bool) -> HealthCheck:
        return HealthCheck(
            row.tenant_id,
            row.integration_key,
            answer.outcome,
            answer.error,
            row.health.status,
            after.status,
            written,
            superseded,
        )

    def _is_due(self, row: Checked) -> bool:
        return row.checked_at is None or utc_now() - row.checked_at >= self.due
