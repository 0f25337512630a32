"""One write to a tenant's row of an integration: locked, for the version that the caller has seen, and audited."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from sqlalchemy.orm import Session

from tierwright.errors import ConfigChanged, InvalidInput
from tierwright.integrations import rows
from tierwright.integrations.records import ConfigResult
from tierwright.integrations.rows import Stored
from tierwright.services.audit import Journal, write_pending
from tierwright.services.registry.locking import tenant_write
from tierwright.services.session_state import connection_of
from tierwright.services.transactions import retry
from tierwright.types import AuditAction, AuditEntity


class Write:
    """A write, from the lock to the flush; ``with`` begins and ends it.

    Args:
        session: the host's.
        tenant_id: in its canonical form.
        key: the integration.
        expected: the version that the row must have, 0 where there must be none; None is any.
        actor, reason: who writes, and why.

    Raises:
        InvalidInput: ``expected`` is not a whole number.
        AuditContextMissing: nobody says who writes.
        ReferenceUnknown: there is no such integration.
        ConfigChanged: the row has another version.
        RetryTransaction: another transaction came first.
    """

    def __init__(
        self,
        session: Session,
        tenant_id: str,
        key: str,
        expected: int | None,
        actor: str | None,
        reason: str | None,
    ) -> None:
        if expected is not None and (type(expected) is not int or expected < 0):
            raise InvalidInput("expected_version is not a whole number.", remedy="Pass the config_version you read.")
        self.place = (tenant_id, key)
        self._session = session
        self._expected = expected
        self._journal = Journal.open(session, actor, reason)
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as lock:
            lock.enter_context(tenant_write(self._journal, self.place[0]))
            connection = connection_of(self._session)
            self.registered, self.row = rows.integration_of(connection, *self.place)
            self._refuse_other_version()
            self._lock = lock.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, traceback)

    def existing(self) -> Stored:
        """Return the row.

        Raises:
            NotFound: the tenant has configured nothing.
        """
        if self.row is None:
            raise rows.unconfigured(*self.place)
        return self.row

    def done(
        self, action: AuditAction, values: Mapping[str, Any], said: Mapping[str, Any], warnings: tuple[str, ...] = ()
    ) -> ConfigResult:
        """Write columns, and what the history says of it; nothing where there are none.

        Raises:
            RetryTransaction: somebody who does not lock has written the row meanwhile.
        """
        if values:
            if self.row is None:
                by = self._journal.context.actor
                rows.insert(self._session, *self.place, {"created_by": by, **values})
            elif not rows.update(self._session, self.row, values):
                raise retry()
            self.note(action, new=said)
        before = (0, 0) if self.row is None else (self.row.config_version, self.row.secret_version)
        versions = values.get("config_version", before[0]), values.get("secret_version", before[1])
        return ConfigResult(bool(values), warnings, *versions)

    def switched(self, on: bool) -> ConfigResult:
        """Switch the integration on or off; nothing where it is so already."""
        row = self.existing()
        version = row.config_version + 1
        values = {"is_enabled": on, "config_version": version} if row.is_enabled is not on else {}
        return self.done(AuditAction.ENABLED if on else AuditAction.DISABLED, values, {"config_version": version})

    def removed(self) -> ConfigResult:
        """Delete the row.

        Raises:
            RetryTransaction: as in :meth:`done`.
        """
        row = self.existing()
        if not rows.delete(self._session, row):
            raise retry()
        self.note(AuditAction.DELETED, old={"config_version": row.config_version, "secret_version": row.secret_version})
        return ConfigResult(True)

    def note(self, action: AuditAction, **values: Mapping[str, Any]) -> None:
        """Add an audit entry about the row."""
        tenant_id, key = self.place
        self._journal.record(
            AuditEntity.TENANT_INTEGRATION,
            f"{tenant_id}/{key}",
            action,
            tenant_id=tenant_id,
            feature_key=self.registered.feature_key,
            **values,
        )
        write_pending(self._session)  # at once: the row went past the ORM, so no flush would tell of it

    def _refuse_other_version(self) -> None:
        found = 0 if self.row is None else self.row.config_version
        if self._expected is not None and self._expected != found:
            raise ConfigChanged(
                f"The settings of {self.place[1]} have version {found}, not {self._expected}.",
                remedy="Read them again, and decide anew.",
                details={"expected_version": self._expected, "config_version": found},
            )
