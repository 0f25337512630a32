"""The gate before an endpoint."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, WebSocketException
from fastapi.concurrency import run_in_threadpool
from fastapi.requests import HTTPConnection
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

from tierwright.contrib.fastapi.dependencies import Dependency, depends, entitlements_of
from tierwright.contrib.fastapi.problems import GateClosed
from tierwright.errors import EntitlementError, EntitlementsUnavailable, InvalidInput, TierwrightError
from tierwright.resolution.decision import Decision
from tierwright.services.asking import required
from tierwright.services.entitlements import Entitlements
from tierwright.types import is_feature_key


def require_feature(
    feature_key: str, *, tenant: Dependency, session: Dependency = None, store: Dependency = None
) -> Callable[..., Awaitable[Decision]]:
    """Return a dependency that lets a request through only if its tenant may use a feature.

        @app.post("/canvas", dependencies=[Depends(require_feature("agents.canvas", tenant=get_tenant))])

    As a parameter it is the :class:`~tierwright.Decision`, with the value of a limit. It serves endpoints of both
    kinds, and never blocks the event loop. Without ``session`` and ``store`` it asks the application's store.

    Args:
        feature_key: the feature.
        tenant: the host's dependency for the tenant of the request: a function, or ``Depends(function)``.
        session: the host's dependency for a Session or AsyncSession; then its database is asked, and without
            ``store`` only that.
        store: a SnapshotStore, or a dependency for one.

    Returns:
        The dependency. It raises :class:`GateClosed`, which FastAPI answers with 403 where the feature is denied, 503
        with Retry-After where nobody can tell, and 400 where the tenant's identifier is malformed. A web socket is not
        accepted: it is closed with 1008 (policy violation), or 1013 (try again later) where nobody can tell.

    Raises:
        InvalidInput: that is no feature key; a typing error would lock everybody out.
        ConfigurationError: a dependency is no function.
    """
    if not is_feature_key(feature_key):
        raise InvalidInput("This is not a feature key.", remedy="Write it like agents.canvas.")

    tenant_dependency = depends(tenant)
    entitlements_dependency = Depends(entitlements_of(session, store))

    async def gate(
        connection: HTTPConnection, tenant: Any = tenant_dependency, entitlements: Any = entitlements_dependency
    ) -> Decision:
        try:
            return required(await _evaluated(entitlements, tenant, feature_key))
        except (EntitlementError, InvalidInput) as error:
            raise _closed(connection, error) from error

    return gate


def _closed(connection: HTTPConnection, error: TierwrightError) -> Exception:
    # FastAPI answers an HTTPException before a web socket is accepted in some of its versions only.
    if connection.scope["type"] != "websocket":
        return GateClosed(error)
    code = WS_1013_TRY_AGAIN_LATER if isinstance(error, EntitlementsUnavailable) else WS_1008_POLICY_VIOLATION
    return WebSocketException(code, error.code)


async def _evaluated(entitlements: Any, tenant: Any, feature_key: str) -> Decision:
    if isinstance(entitlements, Entitlements):  # it may wait for the database
        return await run_in_threadpool(entitlements.evaluate, tenant, feature_key)
    decision = entitlements.evaluate(tenant, feature_key)
    if inspect.isawaitable(decision):
        decision = await decision
    return decision  # type: ignore[no-any-return]
