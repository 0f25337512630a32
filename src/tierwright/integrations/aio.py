"""The calls of :mod:`tierwright.integrations.service`, for hosts with an ``AsyncSession``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from tierwright.integrations.records import ConfigResult, Credentials, Secrets, TenantIntegration
from tierwright.integrations.service import TenantIntegrations
from tierwright.integrations.settings import hidden
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.keys import KeyProvider
from tierwright.services.given import require_async_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")


class AsyncTenantIntegrations:
    """As :class:`~tierwright.integrations.TenantIntegrations`, without blocking the event loop on the database.

    There is one implementation, which runs through ``AsyncSession.run_sync``. A key provider that goes over the network
    blocks the loop while it does; give such a process a provider that remembers data keys, or the synchronous class in
    a thread.

    Args:
        session: the host's session.
        keys: what wraps the keys of secrets.

    Raises:
        SessionMissing: not an ``AsyncSession``.
    """

    def __init__(self, session: AsyncSession, *, keys: KeyProvider | None = None) -> None:
        require_async_session(session, for_sync="Use TenantIntegrations(session).")
        self._session = session
        self._keys = keys

    async def list(self, tenant: str | int | UUID) -> tuple[TenantIntegration, ...]:
        """Return what a tenant has configured; see :meth:`TenantIntegrations.list`."""
        return await self._run(lambda service: service.list(tenant))

    async def get(self, tenant: str | int | UUID, integration: str) -> TenantIntegration:
        """Return what a tenant has configured for one integration; see :meth:`TenantIntegrations.get`."""
        return await self._run(lambda service: service.get(tenant, integration))

    async def credentials(self, tenant: str | int | UUID, integration: str) -> Credentials:
        """Return settings and secrets to connect with; see :meth:`TenantIntegrations.credentials`."""
        return await self._run(lambda service: service.credentials(tenant, integration))

    async def configure(
        self,
        tenant: str | int | UUID,
        integration: str,
        document: Mapping[str, Any] | Hidden[Mapping[str, Any]],
        *,
        expected_version: int | None = None,
        forget: Collection[str] = (),
        replace: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Store settings and secrets; see :meth:`TenantIntegrations.configure`."""
        document = hidden(document)
        given = document
        return await self._run(
            lambda service: service.configure(
                tenant,
                integration,
                given,
                expected_version=expected_version,
                forget=forget,
                replace=replace,
                actor=actor,
                reason=reason,
            )
        )

    async def enable(
        self,
        tenant: str | int | UUID,
        integration: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Switch a configured integration on; see :meth:`TenantIntegrations.enable`."""
        return await self._run(
            lambda service: service.enable(
                tenant, integration, expected_version=expected_version, actor=actor, reason=reason
            )
        )

    async def disable(
        self,
        tenant: str | int | UUID,
        integration: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Switch an integration off; see :meth:`TenantIntegrations.disable`."""
        return await self._run(
            lambda service: service.disable(
                tenant, integration, expected_version=expected_version, actor=actor, reason=reason
            )
        )

    async def remove(
        self,
        tenant: str | int | UUID,
        integration: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Delete settings and secrets; see :meth:`TenantIntegrations.remove`."""
        return await self._run(
            lambda service: service.remove(
                tenant, integration, expected_version=expected_version, actor=actor, reason=reason
            )
        )

    async def reveal(
        self, tenant: str | int | UUID, integration: str, *, actor: str | None = None, reason: str | None = None
    ) -> Secrets:
        """Return the secrets to a person, and note it; see :meth:`TenantIntegrations.reveal`."""
        return await self._run(lambda service: service.reveal(tenant, integration, actor=actor, reason=reason))

    async def _run(self, call: Callable[[TenantIntegrations], T]) -> T:
        return await self._session.run_sync(lambda session: call(TenantIntegrations(session, keys=self._keys)))
