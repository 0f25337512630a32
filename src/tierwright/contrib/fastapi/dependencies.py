"""The store in the application's lifespan, and the dependencies that ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Depends
from fastapi.params import Depends as DependsParameter
from fastapi.requests import HTTPConnection
from sqlalchemy.engine import URL

from tierwright.errors import ConfigurationError
from tierwright.migrations.urls import migration_engine
from tierwright.services.aio import AsyncEntitlements
from tierwright.services.entitlements import DecisionHook, Entitlements
from tierwright.store.snapshot_store import SnapshotStore

#: A function that FastAPI calls for its result, or ``Depends(...)`` of one.
Dependency = Any


def store_lifespan(
    database: Any, *, on_decision: DecisionHook | None = None, **options: Any
) -> Callable[[Any], AbstractAsyncContextManager[SnapshotStore]]:
    """Return a lifespan function that opens a store for the application, and closes it at shutdown.

        app = FastAPI(lifespan=store_lifespan(engine))

    Within a lifespan function of your own::

        async with store_lifespan(engine)(app):
            yield

    The store is ``app.state.tierwright_store``. Opening it reads nothing, so a database that is down does not keep
    the application from starting.

    Args:
        database: an Engine, an AsyncEngine or a URL.
        on_decision: called with each decision that the dependencies of this module come to.
        **options: as for :class:`~tierwright.SnapshotStore`.

    Raises:
        StoreUnsupported, DatabaseUrlInvalid, DialectUnsupported, DriverMissing: at start-up, for a wrong database.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        # A URL is opened through a synchronous driver; an engine is the host's.
        engine = migration_engine(database) if isinstance(database, str | URL) else database
        store = SnapshotStore(engine, **options)
        app.state.tierwright_store, app.state.tierwright_on_decision = store, on_decision
        try:
            yield  # nothing: what a lifespan yields is state, which not every server supports
        finally:
            await asyncio.to_thread(store.close)  # it waits for its threads

    return lifespan


async def get_store(connection: HTTPConnection) -> SnapshotStore:
    """Return the store of the application; a dependency.

    Raises:
        ConfigurationError: the application has none.
    """
    store = getattr(connection.app.state, "tierwright_store", None)
    if not isinstance(store, SnapshotStore):
        raise ConfigurationError(
            "The application has no store.",
            remedy="FastAPI(lifespan=store_lifespan(engine)) opens one; or give a gate session= or store=.",
        )
    return store


async def get_entitlements(
    connection: HTTPConnection, store: Annotated[SnapshotStore, Depends(get_store)]
) -> AsyncEntitlements:
    """Return AsyncEntitlements over the application's store; a dependency."""
    return AsyncEntitlements(store=store, on_decision=_hook(connection))


async def get_sync_entitlements(
    connection: HTTPConnection, store: Annotated[SnapshotStore, Depends(get_store)]
) -> Entitlements:
    """Return Entitlements over the application's store, for endpoints that are no coroutines; a dependency."""
    return Entitlements(store=store, on_decision=_hook(connection))


def entitlements_of(session: Dependency = None, store: Dependency = None) -> Callable[..., Any]:
    """Return a dependency for entitlements over the host's session, its store, or both.

    The same arguments give the same function, so that FastAPI calls it once per request and a test can override it.

    Args:
        session: the host's dependency for a Session or an AsyncSession; None asks a store only.
        store: a SnapshotStore, or a dependency for one such as :func:`get_store`; None asks the session only.

    Returns:
        A dependency for AsyncEntitlements, or for Entitlements where the session is a synchronous one. Without any
        argument it is :func:`get_entitlements`.
    """
    if session is None and store is None:
        return get_entitlements
    return _entitlements_of(_called(session), _always(store) if isinstance(store, SnapshotStore) else _called(store))


@lru_cache(maxsize=256)
def _entitlements_of(session: Callable[..., Any], store: Callable[..., Any]) -> Callable[..., Any]:
    async def entitlements(
        connection: HTTPConnection,
        session: Any = Depends(session),  # noqa: B008  FastAPI's way
        store: Any = Depends(store),  # noqa: B008
    ) -> Entitlements | AsyncEntitlements:
        # An AsyncSession has a synchronous one in it; its class cannot be imported where greenlet is missing.
        is_sync = session is not None and not hasattr(session, "sync_session")
        return (Entitlements if is_sync else AsyncEntitlements)(session, store=store, on_decision=_hook(connection))

    return entitlements


@lru_cache(maxsize=256)
def _always(store: SnapshotStore) -> Callable[..., Any]:
    async def given() -> SnapshotStore:
        return store

    return given


def depends(dependency: Dependency) -> Any:
    """Return ``Depends(dependency)``; what is one already is kept, with its scopes."""
    return dependency if isinstance(dependency, DependsParameter) else Depends(_called(dependency))


def _called(dependency: Dependency) -> Callable[..., Any]:
    """Return the function behind a dependency; None stands for one that returns None."""
    if dependency is None:
        return _nothing
    found = dependency.dependency if isinstance(dependency, DependsParameter) else dependency
    if not callable(found):
        raise ConfigurationError(
            f"A {type(found).__name__} is no dependency.", remedy="Pass a function, or Depends(function)."
        )
    return found


async def _nothing() -> None:
    return None


def _hook(connection: HTTPConnection) -> DecisionHook | None:
    found: DecisionHook | None = getattr(connection.app.state, "tierwright_on_decision", None)
    return found
