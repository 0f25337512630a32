"""The questions of :mod:`tierwright.services.entitlements`, for hosts with an ``AsyncSession``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from tierwright.resolution.decision import Decision
from tierwright.services.asking import required, session_missing
from tierwright.services.entitlements import REQUIRED, DecisionHook, Entitlements
from tierwright.services.explanation import Explanation, explain
from tierwright.services.given import require_async_session
from tierwright.services.resources import Component, Integration, Model
from tierwright.services.session_state import view_of
from tierwright.types import canonical_tenant_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession  # cannot be imported without greenlet, which a store does not need

    from tierwright.store.snapshot_store import SnapshotStore

T = TypeVar("T")


class AsyncEntitlements:
    """Answers as :class:`~tierwright.Entitlements` does, without blocking the event loop.

    There is one implementation: the session is asked through ``AsyncSession.run_sync``, and a store that must read
    does so in a thread.

    Args:
        session: the host's session. Without one only a store answers, about features and now.
        store: decisions kept in memory, shared by all sessions.
        on_decision: called, on the event loop's thread, with each decision that is given about one feature.

    Raises:
        SessionMissing: neither a session nor a store; or not an ``AsyncSession``.
    """

    __slots__ = ("_on_decision", "_session", "_store", "_view")

    def __init__(
        self,
        session: AsyncSession | None = None,
        *,
        store: SnapshotStore | None = None,
        on_decision: DecisionHook | None = None,
    ) -> None:
        if session is None and store is None:
            raise session_missing("AsyncEntitlements() can ask nobody")
        if session is not None:
            require_async_session(session, for_sync="Use Entitlements(session).")
        self._session = session
        self._store = store
        self._on_decision = on_decision
        self._view = view_of(None if session is None else session.sync_session, store)

    async def check(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> bool:
        """Return whether the tenant may use the feature; see :meth:`tierwright.Entitlements.check`."""
        return (await self.evaluate(tenant, feature_key, at=at)).enabled

    async def evaluate(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> Decision:
        """Return the decision about one feature; see :meth:`tierwright.Entitlements.evaluate`."""
        return await self._ask(tenant, lambda entitlements: entitlements.evaluate(tenant, feature_key, at=at), at)

    async def value(
        self, tenant: str | int | UUID, feature_key: str, *, default: Any = REQUIRED, at: datetime | None = None
    ) -> Any:
        """Return the value of a feature; see :meth:`tierwright.Entitlements.value`."""
        return await self._ask(tenant, lambda asked: asked.value(tenant, feature_key, default=default, at=at), at)

    async def require(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> Decision:
        """Return the decision, or raise where it denies; see :meth:`tierwright.Entitlements.require`."""
        return required(await self.evaluate(tenant, feature_key, at=at))

    async def evaluate_all(self, tenant: str | int | UUID, *, at: datetime | None = None) -> Mapping[str, Decision]:
        """Return all decisions; see :meth:`tierwright.Entitlements.evaluate_all`."""
        return await self._ask(tenant, lambda entitlements: entitlements.evaluate_all(tenant, at=at), at)

    async def explain(self, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None) -> Explanation:
        """Return a decision in sentences; see :meth:`tierwright.Entitlements.explain`."""
        return explain(canonical_tenant_id(tenant), await self.evaluate(tenant, feature_key, at=at))

    async def models(
        self, tenant: str | int | UUID, *, provider: str | None = None, at: datetime | None = None
    ) -> tuple[Model, ...]:
        """Return the active models; see :meth:`tierwright.Entitlements.models`."""
        return await self._ask_session(tenant, lambda asked: asked.models(tenant, provider=provider, at=at), at)

    async def components(self, tenant: str | int | UUID, *, at: datetime | None = None) -> tuple[Component, ...]:
        """Return the active components; see :meth:`tierwright.Entitlements.components`."""
        return await self._ask_session(tenant, lambda entitlements: entitlements.components(tenant, at=at), at)

    async def integrations(self, tenant: str | int | UUID, *, at: datetime | None = None) -> tuple[Integration, ...]:
        """Return the active integrations; see :meth:`tierwright.Entitlements.integrations`."""
        return await self._ask_session(tenant, lambda entitlements: entitlements.integrations(tenant, at=at), at)

    async def _ask(self, tenant: str | int | UUID, question: Callable[[Entitlements], T], at: datetime | None) -> T:
        """Ask the store if it may answer, after it has read what it needs; else the session."""
        if at is None and self._may_use_store():
            return question(Entitlements(store=await self._answered(tenant), on_decision=self._on_decision))
        return await self._ask_session(tenant, question, at)

    async def _ask_session(
        self, tenant: str | int | UUID, question: Callable[[Entitlements], T], at: datetime | None
    ) -> T:
        if self._session is None:
            raise session_missing("Only the database can answer this")
        store = await self._answered(tenant) if at is None and self._may_use_store() else None
        return await self._session.run_sync(
            lambda session: question(Entitlements(session, store=store, on_decision=self._on_decision))
        )

    def _may_use_store(self) -> bool:
        """Tell whether there is a store, and the session has not written what it does not know."""
        return self._view.store is not None and self._view.entries is self._view.store.entries

    async def _answered(self, tenant: str | int | UUID) -> Any:
        """Return what stands for the store in one question; a reading happens in a thread, and no other follows."""
        store: Any = self._view.store
        tenant_id = canonical_tenant_id(tenant)
        entry = store.entries.get(tenant_id)
        if entry is None or monotonic() >= entry.fresh_until:
            entry = await asyncio.to_thread(store.entry, tenant_id)
        return _Answered(entry)


class _Answered:
    """A store that gives the one entry which it was made with."""

    __slots__ = ("_entry", "entries")

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self.entries: dict[str, Any] = {}

    def entry(self, _tenant_id: str) -> Any:
        """Return the entry; None where nobody can tell."""
        return self._entry
