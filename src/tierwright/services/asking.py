"""Where an answer comes from: the store, or the session's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from tierwright.errors import EntitlementsUnavailable, FeatureDenied, HistoryRequired, SessionMissing
from tierwright.resolution.decision import Decision, Reason
from tierwright.services.hidden_rows import seen
from tierwright.services.missing_tables import missing_tables
from tierwright.services.reading import Catalog, TenantFacts, is_unreachable, read_everything, read_newest_change
from tierwright.services.session_state import connection_of, has_written
from tierwright.types import to_utc, utc_now

if TYPE_CHECKING:
    from tierwright.store.snapshot_store import SnapshotStore


_OFFER = "Offer the tier that has it, or set an override; a web application answers 403 with the reason."
#: Where no tier would help.
_REMEDIES = {
    Reason.FEATURE_NOT_FOUND: "Check the key, or create the feature.",
    Reason.DISABLED: "It is switched off for everybody: restore the feature, or answer 403 with the reason.",
}


class Asker:
    """Finds the decisions of a tenant.

    Args:
        session: the host's session, if there is one.
        store: decisions kept in memory, if there are any.
    """

    def __init__(self, session: Session | None, store: SnapshotStore | None) -> None:
        self._session = session
        self._store = store

    def decisions(self, tenant_id: str, at: datetime | None) -> Mapping[str, Decision]:
        """Return the decisions by feature key; some may be made when they are asked for.

        Args:
            tenant_id: in its canonical form.
            at: the moment, or None for now.

        Raises:
            EntitlementsUnavailable: nobody can tell.
            HistoryRequired: something that was read has changed since ``at``.
            SessionMissing: ``at`` was given, and there is no session.
            InvalidInput: ``at`` has no time zone.
            SchemaDrift: the database was not migrated.
        """
        if at is None and self._store is not None and (self._session is None or not has_written(self._session)):
            entry = self._store.entry(tenant_id)
            if entry is None:
                raise _unavailable("The database cannot be read, and nothing fresh enough is known.")
            return entry.decisions
        if self._session is None:
            raise session_missing("Only the database can answer for another moment")
        try:
            return _read(self._session, tenant_id, at)
        except PoolTimeout as error:
            raise _unavailable("The engine's pool gave no connection in time.") from error
        except DBAPIError as error:
            if not is_unreachable(error):
                missing = missing_tables(error)
                if missing is None:
                    raise
                raise missing from error
            raise _unavailable("The database cannot be reached.") from error
        except OSError as error:  # asyncpg does not wrap what the network says
            raise _unavailable("The database cannot be reached.") from error


def required(decision: Decision) -> Decision:
    """Return a decision that grants.

    Raises:
        FeatureDenied: it denies.
        EntitlementsUnavailable: nobody can tell.
    """
    if decision.enabled:
        return decision
    if decision.reason is Reason.UNAVAILABLE:
        raise _unavailable("The database cannot be read, and nothing fresh enough is known.", decision)
    raise FeatureDenied(
        f"The tenant may not use {decision.feature_key}: {decision.reason.value}.",
        remedy=_REMEDIES.get(decision.reason, _OFFER),
        details=_details(decision),
    )


def session_missing(why: str) -> SessionMissing:
    """Return the error of a question that needs a session."""
    return SessionMissing(f"{why}.", remedy="Pass the session: Entitlements(session, store=store).")


def _read(session: Session, tenant_id: str, at: datetime | None) -> Mapping[str, Decision]:
    moment = None if at is None else to_utc(at)
    if session.autoflush:
        session.flush()  # as the ORM does before it reads
    connection = connection_of(session, writing=False)
    catalog, facts = seen(connection, tenant_id, lambda: _rows_of(connection, tenant_id, moment))
    return catalog.snapshot.resolve(facts.licenses, facts.overrides, moment or utc_now()).decisions


def _rows_of(connection: Connection, tenant_id: str, moment: datetime | None) -> tuple[Catalog, TenantFacts]:
    found = read_everything(connection, tenant_id)
    if moment is not None and moment < utc_now():
        newest = read_newest_change(connection, tenant_id)
        if newest is not None and moment < newest:
            raise HistoryRequired(
                f"Something has changed at {newest.isoformat()}, after {moment.isoformat()}.",
                remedy="Ask for a later moment, or ask the history: tierwright.audit.tenant_history.",
                details={"at": moment.isoformat(), "newest_change": newest.isoformat()},
            )
    return found


def _unavailable(message: str, decision: Decision | None = None) -> EntitlementsUnavailable:
    return EntitlementsUnavailable(
        message,
        remedy="Answer 503 and try again; look whether the database is up, and migrated (`tierwright doctor`).",
        details={} if decision is None else _details(decision),
    )


def _details(decision: Decision) -> dict[str, Any]:
    return {
        "feature_key": decision.feature_key,
        "reason": decision.reason.value,
        "source": decision.source.value,
        "tier_key": decision.tier_key,
        "blocked_by": list(decision.blocked_by),
        "expires_at": None if decision.expires_at is None else decision.expires_at.isoformat(),
    }
