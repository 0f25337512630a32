"""FastAPI: gates before endpoints, the store in the lifespan, and what clients are told."""

import asyncio
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Security, WebSocket
from fastapi.responses import PlainTextResponse
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.websockets import WebSocketDisconnect

from tierwright import AsyncEntitlements, Decision, Entitlements, Reason, SnapshotStore
from tierwright.contrib.fastapi import (
    FEATURE_RESPONSES,
    GateClosed,
    entitlements_of,
    get_entitlements,
    get_store,
    get_sync_entitlements,
    install_handlers,
    require_feature,
    store_lifespan,
)
from tierwright.errors import ConfigurationError, FeatureDenied, InvalidInput
from tierwright.testing import MemoryStore, override_features, seed
from tierwright.testing.ground import async_engine_for

with warnings.catch_warnings():
    # The test client of the lowest Starlette uses a name that the newest anyio deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from fastapi.testclient import TestClient

DOCUMENT: dict[str, Any] = {
    "features": {
        "agents.canvas": False,
        "agents.teams": {"default_value": False, "depends_on": ["agents.canvas"]},
        "limits.seats": {"feature_type": "integer", "default_value": 2},
    },
    "tiers": {"pro": {"features": {"agents.canvas": True, "limits.seats": 50}}},
    "tenants": {"acme": {"licenses": ["pro"]}, "globex": {"overrides": {"agents.teams": True}}},
}
ACME, GLOBEX = {"X-Tenant": "acme"}, {"X-Tenant": "globex"}


def get_tenant(x_tenant: Annotated[str, Header()]) -> str:
    """The host's dependency."""
    return x_tenant


def gated(lifespan: Any = None, **gate: Any) -> FastAPI:
    """Return an application with a gated endpoint of each kind."""
    app = FastAPI(lifespan=lifespan)
    canvas = require_feature("agents.canvas", tenant=get_tenant, **gate)
    limit = require_feature("limits.seats", tenant=Depends(get_tenant), **gate)
    teams = require_feature("agents.teams", tenant=get_tenant, **gate)

    @app.get("/async", dependencies=[Depends(canvas)])
    async def asynchronous() -> str:
        return "async"

    @app.get("/sync", dependencies=[Depends(canvas)])
    def synchronous() -> str:
        return "sync"

    @app.get("/seats/{wanted}")
    async def seats(wanted: int, decision: Annotated[Decision, Depends(limit)]) -> dict[str, Any]:
        return {"allowed": decision.allows(wanted), "limit": decision.value}

    @app.get("/teams", dependencies=[Depends(teams)])
    def both() -> str:
        return "teams"

    return app


@pytest.fixture
def seeded_engine(migrated_engine: Engine) -> Engine:
    with Session(migrated_engine) as session:
        seed(session, DOCUMENT)
        session.commit()
    return migrated_engine


@pytest.fixture
def memory_client() -> Iterator[TestClient]:
    app = gated()
    app.dependency_overrides[get_store] = lambda: MemoryStore(DOCUMENT)
    with TestClient(app) as client:
        yield client


def check_answers(client: TestClient) -> None:
    """Ask what every configuration answers in the same way."""
    for path in ("/async", "/sync"):
        assert client.get(path, headers=ACME).json() == path[1:]
        assert client.get(path, headers=GLOBEX).status_code == 403
    assert client.get("/seats/50", headers=ACME).json() == {"allowed": True, "limit": 50}
    assert client.get("/seats/3", headers=GLOBEX).json() == {"allowed": False, "limit": 2}


# --- where the answer comes from -------------------------------------------------------------------------------------


def test_the_applications_store(seeded_engine: Engine) -> None:
    app = gated(store_lifespan(seeded_engine, background=False))
    with TestClient(app) as client:
        check_answers(client)


def test_a_store_for_an_async_engine(seeded_engine: Engine) -> None:
    app = gated(store_lifespan(async_engine_for(seeded_engine), background=False))
    with TestClient(app) as client:
        check_answers(client)


@pytest.mark.parametrize("with_store", [True, False])
def test_a_synchronous_session(seeded_engine: Engine, with_store: bool) -> None:
    def get_session() -> Iterator[Session]:
        with Session(seeded_engine) as session:
            yield session

    app = gated(
        store_lifespan(seeded_engine, background=False),
        session=Depends(get_session),
        store=get_store if with_store else None,
    )
    with TestClient(app) as client:
        check_answers(client)


@pytest.mark.parametrize("with_store", [True, False])
def test_an_asynchronous_session(seeded_engine: Engine, with_store: bool) -> None:
    engine = async_engine_for(seeded_engine)

    async def get_session() -> Any:
        async with AsyncSession(engine) as session:
            yield session

    with SnapshotStore(seeded_engine, background=False) as store:
        app = gated(session=get_session, store=store if with_store else None)
        with TestClient(app) as client:
            check_answers(client)


def test_entitlements_as_a_dependency(seeded_engine: Engine) -> None:
    def get_session() -> Iterator[Session]:
        with Session(seeded_engine) as session:
            yield session

    app = FastAPI(lifespan=store_lifespan(seeded_engine, background=False))
    install_handlers(app)

    @app.get("/async")
    async def asynchronous(
        tenant: Annotated[str, Depends(get_tenant)],
        entitlements: Annotated[AsyncEntitlements, Depends(get_entitlements)],
    ) -> Any:
        return await entitlements.value(tenant, "limits.seats")

    @app.get("/sync")
    def synchronous(
        tenant: Annotated[str, Depends(get_tenant)],
        entitlements: Annotated[Entitlements, Depends(get_sync_entitlements)],
    ) -> Any:
        return entitlements.value(tenant, "limits.seats")

    @app.get("/models")
    def models(
        tenant: Annotated[str, Depends(get_tenant)],
        entitlements: Annotated[Entitlements, Depends(entitlements_of(get_session, get_store))],
    ) -> Any:
        entitlements.require(tenant, "agents.canvas")
        return [model.key for model in entitlements.models(tenant)]

    with TestClient(app) as client:
        assert client.get("/async", headers=ACME).json() == 50
        assert client.get("/sync", headers=ACME).json() == 50
        assert client.get("/models", headers=ACME).json() == []
        assert client.get("/models", headers=GLOBEX).status_code == 403


# --- what clients are told -------------------------------------------------------------------------------------------


def test_denied_is_403_with_the_reason(memory_client: TestClient) -> None:
    answer = memory_client.get("/teams", headers=GLOBEX)
    assert answer.status_code == 403
    assert answer.json() == {
        "detail": {
            "code": "feature-denied",
            "message": "The tenant may not use agents.teams: PREREQUISITE_NOT_MET.",
            "feature_key": "agents.teams",
            "reason": "PREREQUISITE_NOT_MET",
            "source": "override",
            "tier_key": None,
            "blocked_by": ["agents.canvas"],
            "expires_at": None,
        }
    }


@pytest.mark.parametrize("tenant", ["", "x" * 256])
def test_a_malformed_tenant_is_400(memory_client: TestClient, tenant: str) -> None:
    answer = memory_client.get("/async", headers={"X-Tenant": tenant})
    assert answer.status_code == 400
    assert answer.json()["detail"]["code"] == "invalid-input"
    assert tenant not in answer.json()["detail"]["message"] or not tenant


def test_a_database_that_is_down_is_503_and_the_application_starts(tmp_path: Path) -> None:
    app = gated(store_lifespan("postgresql://nobody@127.0.0.1:1/none", background=False, timeout=0.5))
    with TestClient(app) as client:
        for _ in range(3):
            answer = client.get("/async", headers=ACME)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["detail"]["reason"] == "UNAVAILABLE"
            assert answer.json()["detail"]["code"] == "entitlements-unavailable"


def test_a_session_whose_database_is_down_is_503(seeded_engine: Engine) -> None:
    app = gated(session=lambda: None, store=lambda: MemoryStore({}))
    with TestClient(app) as client, override_features({"agents.canvas": Reason.UNAVAILABLE}):
        assert client.get("/sync", headers=ACME).status_code == 503


def test_handlers_answer_what_endpoints_raise() -> None:
    app = FastAPI()
    install_handlers(app)
    app.dependency_overrides[get_store] = lambda: MemoryStore(DOCUMENT)

    @app.get("/{feature}")
    async def endpoint(
        feature: str, request: Request, entitlements: Annotated[AsyncEntitlements, Depends(get_entitlements)]
    ) -> Any:
        return (await entitlements.require(request.headers["x-tenant"], feature)).enabled

    with TestClient(app) as client:
        assert client.get("/agents.canvas", headers=ACME).json() is True
        denied = client.get("/agents.ghost", headers=ACME)
        assert (denied.status_code, denied.json()["detail"]["reason"]) == (403, "FEATURE_NOT_FOUND")
        assert client.get("/agents.canvas", headers={"X-Tenant": ""}).status_code == 400
        with override_features({"agents.canvas": Reason.UNAVAILABLE}):
            unavailable = client.get("/agents.canvas", headers=ACME)
        assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "5")


def test_a_host_may_answer_otherwise(memory_client: TestClient) -> None:
    app = memory_client.app
    assert isinstance(app, FastAPI)

    @app.exception_handler(GateClosed)
    async def offer(request: Request, error: GateClosed) -> PlainTextResponse:
        assert isinstance(error.error, FeatureDenied)
        return PlainTextResponse(f"buy {error.error.details['feature_key']}", 402)

    app.middleware_stack = None
    answer = memory_client.get("/async", headers=GLOBEX)
    assert (answer.status_code, answer.text) == (402, "buy agents.canvas")


def test_a_web_socket_is_refused_before_it_is_accepted() -> None:
    app = FastAPI()
    app.dependency_overrides[get_store] = lambda: MemoryStore(DOCUMENT)

    @app.websocket("/ws", dependencies=[Depends(require_feature("agents.canvas", tenant=get_tenant))])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("welcome")
        await websocket.close()

    with TestClient(app) as client:
        with client.websocket_connect("/ws", headers=ACME) as session:
            assert session.receive_text() == "welcome"
        for features, code in (({}, 1008), ({"agents.canvas": Reason.UNAVAILABLE}, 1013)):
            with (
                override_features(features),
                pytest.raises(WebSocketDisconnect) as refused,
                client.websocket_connect("/ws", headers=GLOBEX),
            ):
                pass
            assert refused.value.code == code


# --- how it fits into an application ---------------------------------------------------------------------------------


def test_the_documented_responses_are_the_real_ones() -> None:
    app = FastAPI()
    router = APIRouter(responses=FEATURE_RESPONSES)

    @router.get("/canvas", dependencies=[Depends(require_feature("agents.canvas", tenant=get_tenant))])
    async def canvas() -> str:
        return "canvas"

    app.include_router(router)
    responses = app.openapi()["paths"]["/canvas"]["get"]["responses"]
    assert {"200", "400", "403", "503"} <= responses.keys()
    assert "Retry-After" in responses["503"]["headers"]
    problem = app.openapi()["components"]["schemas"]["Problem"]
    app.dependency_overrides[get_store] = lambda: MemoryStore(DOCUMENT)
    with TestClient(app) as client:
        told = client.get("/canvas", headers=GLOBEX).json()["detail"]
    assert told.keys() == problem["properties"].keys()


def test_a_gate_for_a_whole_router_and_for_the_application() -> None:
    gate = Depends(require_feature("agents.canvas", tenant=get_tenant))
    app = FastAPI(dependencies=[gate])
    router = APIRouter(dependencies=[gate])

    @router.get("/inner")
    async def inner() -> str:
        return "inner"

    app.include_router(router)
    app.dependency_overrides[get_store] = lambda: MemoryStore(DOCUMENT)
    with TestClient(app) as client:
        assert client.get("/inner", headers=ACME).status_code == 200
        assert client.get("/inner", headers=GLOBEX).status_code == 403


def test_dependencies_can_be_overridden(seeded_engine: Engine) -> None:
    def get_session() -> Iterator[Session]:
        with Session(seeded_engine) as session:
            yield session

    app = gated(session=get_session)
    app.dependency_overrides[get_tenant] = lambda: "acme"
    with TestClient(app) as client:
        assert client.get("/async").json() == "async"
        app.dependency_overrides[entitlements_of(get_session)] = lambda: Entitlements(store=MemoryStore({}))
        assert client.get("/async").json()["detail"]["reason"] == "FEATURE_NOT_FOUND"


def test_a_tenant_that_is_a_security_dependency() -> None:
    def current_tenant() -> int:
        return 42

    app = FastAPI()
    app.dependency_overrides[get_store] = lambda: MemoryStore(
        {"features": {"f.a": False}, "tenants": {42: {"overrides": {"f.a": True}}}}
    )

    @app.get("/", dependencies=[Depends(require_feature("f.a", tenant=Security(current_tenant, scopes=["read"])))])
    async def endpoint() -> str:
        return "ok"

    with TestClient(app) as client:
        assert client.get("/").status_code == 200


def test_within_a_lifespan_of_the_hosts(seeded_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[SnapshotStore] = []
    close = SnapshotStore.close
    monkeypatch.setattr(SnapshotStore, "close", lambda store: (closed.append(store), close(store)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        async with store_lifespan(seeded_engine, poll_interval=1.0)(app):
            yield {"of": "the host"}

    app = gated(lifespan)
    with TestClient(app) as client:
        check_answers(client)
        store = app.state.tierwright_store
        assert closed == []
        assert "tierwright-refresher" in {thread.name for thread in threading.enumerate()}
    assert closed == [store]
    assert "tierwright-refresher" not in {thread.name for thread in threading.enumerate()}


def test_without_a_store_the_remedy_is_named() -> None:
    with TestClient(gated()) as client, pytest.raises(ConfigurationError, match="store_lifespan"):
        client.get("/async", headers=ACME)


@pytest.mark.parametrize("key", ["canvas", "Agents.Canvas", "", "agents.canvas "])
def test_a_malformed_key_is_refused_where_it_is_written(key: str) -> None:
    with pytest.raises(InvalidInput):
        require_feature(key, tenant=get_tenant)


def test_what_is_no_dependency_is_refused_where_it_is_written() -> None:
    with pytest.raises(ConfigurationError):
        require_feature("agents.canvas", tenant="acme")


def test_the_hook_hears_of_every_decision(seeded_engine: Engine) -> None:
    heard: list[tuple[str, str, bool]] = []
    lifespan = store_lifespan(
        seeded_engine,
        background=False,
        on_decision=lambda tenant, decision: heard.append((tenant, decision.feature_key, decision.enabled)),
    )
    with TestClient(gated(lifespan)) as client:
        client.get("/async", headers=ACME)
        client.get("/sync", headers=GLOBEX)
    assert heard == [("acme", "agents.canvas", True), ("globex", "agents.canvas", False)]


@pytest.mark.parametrize("kind", ["store", "session"])
def test_the_event_loop_is_never_blocked(seeded_engine: Engine, kind: str, monkeypatch: Any) -> None:
    """Whatever may wait for the database runs in another thread than the loop."""
    waited_in: set[int] = set()

    class WaitingSession(Session):
        def connection(self, *args: Any, **kwargs: Any) -> Any:
            waited_in.add(threading.get_ident())
            return super().connection(*args, **kwargs)

    def get_session() -> Iterator[Session]:
        with WaitingSession(seeded_engine) as session:
            yield session

    async def run() -> list[int]:
        with SnapshotStore(seeded_engine, background=False, timeout=30.0) as store:
            reading = store._reader.tenant
            monkeypatch.setattr(
                store._reader, "tenant", lambda tenant: waited_in.add(threading.get_ident()) or reading(tenant)
            )
            app = gated(**({"store": store} if kind == "store" else {"session": get_session}))
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answers = await asyncio.gather(*(client.get("/async", headers=ACME) for _ in range(20)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(run()) == [200] * 20
    assert waited_in
    assert threading.get_ident() not in waited_in


def test_without_fastapi_the_remedy_is_named() -> None:
    code = "import sys; sys.modules['fastapi'] = None; import tierwright.contrib.fastapi"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tierwright[fastapi]'" in done.stderr
