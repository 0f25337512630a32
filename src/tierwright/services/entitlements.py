"""Who may use what: the questions that a host asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.orm import Session

from tierwright.errors import EntitlementsUnavailable
from tierwright.resolution.decision import Decision, not_found, unavailable
from tierwright.resolution.layers import complete
from tierwright.services import resources
from tierwright.services.asking import Asker, required, session_missing
from tierwright.services.explanation import Explanation, explain
from tierwright.services.given import no_session
from tierwright.services.resources import Component, Integration, Model
from tierwright.services.session_state import view_of
from tierwright.types import canonical_tenant_id, is_feature_key

if TYPE_CHECKING:
    from tierwright.store.snapshot_store import SnapshotStore

#: Called with a tenant's canonical id and the decision that was given.
DecisionHook = Callable[[str, Decision], None]


class Required:
    """In place of a default that was not given; None is a default."""


REQUIRED = Required()


class Entitlements:
    """Answers which tenant may use which feature, with which value, and why.

    Without a store every answer is read from the session's database, within its transaction. With one, answers come
    from memory, except in a session that has written rows of tierwright: that sees its own writes. Nothing is written.

    Args:
        session: the host's session. Without one only a store answers, about features and now.
        store: decisions kept in memory, shared by all sessions.
        on_decision: called with the tenant's canonical id and each decision that is given about one feature.

    Raises:
        SessionMissing: neither a session nor a store; or not a session, such as a scoped_session (call it first).
    """

    __slots__ = ("_on_decision", "_session", "_store", "_view")

    def __init__(
        self,
        session: Session | None = None,
        *,
        store: SnapshotStore | None = None,
        on_decision: DecisionHook | None = None,
    ) -> None:
        if session is None and store is None:
            raise session_missing("Entitlements() can ask nobody")
        if session is not None and not isinstance(session, Session):
            # A scoped_session is another session in each thread and after remove(), so nothing could be known of it.
            raise no_session(session, for_async="Use AsyncEntitlements(session).")
        self._session = session
        self._store = store
        self._on_decision = on_decision
        self._view = view_of(session, store)
        if on_decision is not None:
            self._view = view_of(None, None)  # nothing at once: decisions are told of on the longer way

    def check(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> bool:
        """Return whether the tenant may use the feature; in doubt, False.

        Args:
            tenant: the host's identifier of the tenant.
            feature_key: the feature; one that does not exist, or that is no key, is denied.
            at: the moment, with a time zone; now by default. Today's rows are evaluated at that moment.

        Raises:
            InvalidInput: that is no tenant, or ``at`` has no time zone.
            HistoryRequired: something that was read has changed since ``at``.
            SessionMissing: ``at`` was given, and there is no session.
        """
        # The way to a fresh answer is written out: it is what the library is measured by.
        try:
            entry = self._view.entries[tenant]  # type: ignore[index]  # other types than str are not in it
            if at is None and monotonic() < entry.fresh_until:
                return feature_key in entry.granted
        except (KeyError, TypeError):  # not read yet, or not even hashable
            return self._evaluate(tenant, feature_key, at).enabled
        return self._evaluate(tenant, feature_key, at).enabled

    def evaluate(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> Decision:
        """Return the decision about one feature: whether, with which value, and why.

        Args:
            tenant, feature_key, at: as in :meth:`check`.

        Raises:
            InvalidInput, HistoryRequired, SessionMissing: as in :meth:`check`.
        """
        try:
            entry = self._view.entries[tenant]  # type: ignore[index]
            if at is None and monotonic() < entry.fresh_until:
                return entry.decisions[feature_key]  # type: ignore[no-any-return]
        except (KeyError, TypeError):
            return self._evaluate(tenant, feature_key, at)
        return self._evaluate(tenant, feature_key, at)

    def value(
        self, tenant: str | int | UUID, feature_key: str, *, default: Any = REQUIRED, at: datetime | None = None
    ) -> Any:
        """Return the value of a feature that the tenant may use; None where it is unlimited or has none.

        Args:
            tenant, feature_key, at: as in :meth:`check`.
            default: what to return where it is denied.

        Raises:
            FeatureDenied: it is denied, and there is no default.
            EntitlementsUnavailable: nobody can tell, and there is no default.
            InvalidInput, HistoryRequired, SessionMissing: as in :meth:`check`.
        """
        decision = self.evaluate(tenant, feature_key, at=at)
        if not decision.enabled and default is not REQUIRED:
            return default
        return required(decision).value

    def require(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> Decision:
        """Return the decision about a feature that the tenant may use; raise where it may not.

        Args:
            tenant, feature_key, at: as in :meth:`check`.

        Raises:
            FeatureDenied: it is denied; the error's ``decision`` says why. For a web layer this is 403.
            EntitlementsUnavailable: nobody can tell. For a web layer this is 503.
            InvalidInput, HistoryRequired, SessionMissing: as in :meth:`check`.
        """
        return required(self.evaluate(tenant, feature_key, at=at))

    def evaluate_all(self, tenant: str | int | UUID, *, at: datetime | None = None) -> Mapping[str, Decision]:
        """Return the decisions about every feature of the registry, by feature key; nobody can change the mapping.

        Args:
            tenant, at: as in :meth:`check`.

        Raises:
            EntitlementsUnavailable: nobody can tell.
            InvalidInput, HistoryRequired, SessionMissing: as in :meth:`check`.
        """
        return complete(self._asker().decisions(canonical_tenant_id(tenant), at))

    def explain(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> Explanation:
        """Return the decision about one feature in sentences for people.

        Args:
            tenant, feature_key, at: as in :meth:`check`.

        Raises:
            InvalidInput, HistoryRequired, SessionMissing: as in :meth:`check`.
        """
        return explain(canonical_tenant_id(tenant), self.evaluate(tenant, feature_key, at=at))

    def models(
        self, tenant: str | int | UUID, *, provider: str | None = None, at: datetime | None = None
    ) -> tuple[Model, ...]:
        """Return the active models, by provider and id, each with what it is for this tenant.

        Args:
            tenant, at: as in :meth:`check`.
            provider: only this one's.

        Raises:
            EntitlementsUnavailable: nobody can tell.
            SessionMissing: there is no session.
            InvalidInput, HistoryRequired: as in :meth:`check`.
        """
        session = self._needed_session()
        return resources.models(session, self.evaluate_all(tenant, at=at), provider)

    def components(self, tenant: str | int | UUID, *, at: datetime | None = None) -> tuple[Component, ...]:
        """Return the active components, by key, each with what it is for this tenant.

        Args:
            tenant, at: as in :meth:`check`.

        Raises:
            EntitlementsUnavailable, SessionMissing, InvalidInput, HistoryRequired: as in :meth:`models`.
        """
        session = self._needed_session()
        return resources.components(session, self.evaluate_all(tenant, at=at))

    def integrations(self, tenant: str | int | UUID, *, at: datetime | None = None) -> tuple[Integration, ...]:
        """Return the active integrations, by key, each with what it is for this tenant.

        Args:
            tenant, at: as in :meth:`check`.

        Raises:
            EntitlementsUnavailable, SessionMissing, InvalidInput, HistoryRequired: as in :meth:`models`.
        """
        session = self._needed_session()
        return resources.integrations(session, self.evaluate_all(tenant, at=at), canonical_tenant_id(tenant))

    # --- the ways to an answer ---------------------------------------------------------------------------------------

    def _evaluate(self, tenant: str | int | UUID, feature_key: str, at: datetime | None) -> Decision:
        tenant_id = canonical_tenant_id(tenant)
        decision = self._decided(tenant_id, feature_key, at)
        if self._on_decision is not None:
            self._on_decision(tenant_id, decision)
        return decision

    def _decided(self, tenant_id: str, feature_key: str, at: datetime | None) -> Decision:
        if not is_feature_key(feature_key):
            return not_found(feature_key if isinstance(feature_key, str) else type(feature_key).__name__)
        try:
            decisions = self._asker().decisions(tenant_id, at)
        except EntitlementsUnavailable:
            return unavailable(feature_key)
        try:
            return decisions[feature_key]
        except KeyError:
            return not_found(feature_key)

    def _asker(self) -> Asker:
        return Asker(self._session, self._store)

    def _needed_session(self) -> Session:
        if self._session is None:
            raise session_missing("Models, components and integrations are in the database only")
        return self._session
