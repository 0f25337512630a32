"""The writes: every change of the catalogue and of what tenants hold, validated, locked and audited."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from tierwright.services.audit import AuditContext
from tierwright.services.given import require_session
from tierwright.services.registry.features import Features
from tierwright.services.registry.licenses import Licenses
from tierwright.services.registry.overrides import Overrides
from tierwright.services.registry.purging import purge
from tierwright.services.registry.resources import Components, Integrations, Models
from tierwright.services.registry.results import PurgeResult, WriteResult
from tierwright.services.registry.tiers import Tiers

__all__ = ["PurgeResult", "Registry", "WriteResult"]

_ASYNC = "Write in a plain function, and pass that to run_in_transaction_async(), or to session.run_sync()."


class Registry:
    """All writes of one session.

    Every method locks before it reads, validates, writes the rows with one audit entry for each that changed, and
    flushes. It never commits: the host does, or :func:`tierwright.services.transactions.run_in_transaction`. A write
    that would change nothing writes nothing. Every method takes ``actor`` and ``reason``, by keyword; without them the
    AuditContext counts that is attached to the session.

    Every method may raise:

    - AuditContextMissing: nobody says who writes. InvalidInput: a value breaks the contract of its field. Both come
      before any SQL, except for what only the database can tell (a value that does not fit its feature's type).
    - WriteRefused, as one of its children: the write would break the catalogue. Nothing was written.
    - RetryTransaction: another transaction came first. Roll back and begin anew.

    Args:
        session: the host's session.
        actor: who writes; the same as attaching ``AuditContext(actor, reason)`` to the session.
        reason: why.

    Raises:
        TypeError: a reason without an actor.
        SessionMissing: not a session, such as an ``AsyncSession``: its ``run_sync`` gives the one to write with.
    """

    def __init__(self, session: Session, *, actor: str | None = None, reason: str | None = None) -> None:
        require_session(session, for_async=_ASYNC)
        if actor is not None:
            AuditContext(actor, reason).attach(session)
        elif reason is not None:
            raise TypeError("Registry() with a reason needs an actor too")
        #: The session that is written in.
        self.session = session
        self.features = Features(session)
        self.tiers = Tiers(session)
        self.licenses = Licenses(session)
        self.overrides = Overrides(session)
        self.models = Models(session)
        self.components = Components(session)
        self.integrations = Integrations(session)

    def purge(self, tenant: str | int | UUID, *, actor: str | None = None, reason: str | None = None) -> PurgeResult:
        """Delete everything that a tenant holds: licences, overrides and integration settings, but not its history.

        Args:
            tenant: the host's identifier of the tenant.
            actor: who writes.
            reason: why.

        Returns:
            How many rows of which table were deleted; with none, nothing was written.

        Raises:
            InvalidInput: this cannot be a tenant.
            AuditContextMissing: nobody says who writes.
            RetryTransaction: another transaction came first.
        """
        return purge(self.session, tenant, actor=actor, reason=reason)
