"""One round of checks: what is read, what is run, what is made of the answers, what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from tierwright.integrations import health_rows
from tierwright.integrations.health_pages import AllTenants, SomeTenants
from tierwright.integrations.health_probes import Probes, ProbeTarget
from tierwright.integrations.health_report import HealthCheck
from tierwright.integrations.health_rows import Checked, RowKey
from tierwright.integrations.health_rules import Health, HealthRules, Outcome
from tierwright.integrations.health_running import Answer, Attempt, Opening, Runner
from tierwright.integrations.sealing import open_secrets
from tierwright.secrets.keys import KeyProvider
from tierwright.services.session_state import connection_of
from tierwright.types import utc_now


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer makes of a row.

    Attributes:
        row: as it was read.
        answer: the answer.
        health: what follows.
        is_new: whether that is to be written.
    """

    row: Checked
    answer: Answer
    health: Health
    is_new: bool


class Round:
    """A round of checks, a page at a time: `read`, `run`, `judge`, `write` where that says so, `turn`.

    What takes a session may be done again where another transaction came first.

    Args:
        probes: the host's.
        keys: for probes that ask for secrets.
        pages: whose health is asked for.
        rules: what answers make of a status.
        due: how old ``last_health_check`` may become where nothing changes.
        runner: runs the probes.
    """

    def __init__(
        self,
        probes: Probes,
        keys: KeyProvider | None,
        pages: AllTenants | SomeTenants,
        rules: HealthRules,
        due: timedelta,
        runner: Runner,
    ) -> None:
        self._probes = probes
        self._keys = keys
        self._pages = pages
        self._rules = rules
        self._due = due
        self._runner = runner
        self._verdicts: list[Verdict] = []
        self._written: set[RowKey] = set()
        self.checks: list[HealthCheck] = []

    @property
    def is_over(self) -> bool:
        """Whether everything has been checked."""
        return self._pages.is_over

    def read(self, session: Session) -> list[Checked]:
        """Return the present page.

        Raises:
            PrivilegeMissing: row-level security hides rows from the current role.
        """
        # Where a host reads from a replica, this does not: counters of a while ago would count nothing.
        return self._pages.read(connection_of(session))

    async def run(self, page: Sequence[Checked]) -> list[Answer]:
        """Run the probes of a page."""
        return await self._runner.run([self._attempt(row) for row in page])

    def judge(self, page: Sequence[Checked], answers: Sequence[Answer]) -> bool:
        """Keep what the answers make of the rows; return whether any of that is to be written."""
        self._verdicts = [self._verdict(row, answer) for row, answer in zip(page, answers, strict=True)]
        self._written = set()
        return any(verdict.is_new for verdict in self._verdicts)

    def write(self, session: Session) -> None:
        """Write what is new, in the order in which others lock these rows."""
        connection = connection_of(session)
        scope = self._pages.scope(connection)
        self._written = set()
        for verdict in self._verdicts:
            if verdict.is_new:
                with scope(verdict.row.tenant_id):
                    if health_rows.write(connection, verdict.row, verdict.health):
                        self._written.add(verdict.row.key)

    def turn(self, page: Sequence[Checked]) -> None:
        """Tell what the page has shown, and go on to the next one."""
        self.checks += [self._check(verdict) for verdict in self._verdicts]
        self._pages.turn(page)

    def _attempt(self, row: Checked) -> Attempt:
        opening = Opening(lambda: open_secrets(row.sealed, self._keys, row.binding))
        target = ProbeTarget(row.tenant_id, row.integration_key, row.config, opening)
        return Attempt(self._probes[row.integration_key], target, row.version, opening)

    def _verdict(self, row: Checked, answer: Answer) -> Verdict:
        health = self._rules.after(row.health, answer.outcome)
        is_said = answer.outcome is not Outcome.INCONCLUSIVE
        return Verdict(row, answer, health, is_said and (health != row.health or self._is_due(row)))

    def _check(self, verdict: Verdict) -> HealthCheck:
        row, answer, written = verdict.row, verdict.answer, verdict.row.key in self._written
        return HealthCheck(
            row.tenant_id,
            row.integration_key,
            answer.outcome,
            answer.error,
            before=row.health.status,
            after=verdict.health.status if written else row.health.status,
            written=written,
            superseded=verdict.is_new and not written,
        )

    def _is_due(self, row: Checked) -> bool:
        # In either direction: a clock that was wrong must not put it off for years.
        return row.checked_at is None or abs(utc_now() - row.checked_at) >= self._due
