"""FastAPI: what clients are told when a write of an endpoint is refused, and what they are never told."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.integrations import offer, service
from tests.support.registry import ON, feature, integer, seed, tier, writer
from tierwright import Entitlements, errors
from tierwright.contrib.fastapi import WRITE_RESPONSES, Refusal, install_handlers
from tierwright.contrib.fastapi.refusals import refusal
from tierwright.services.registry import Registry
from tierwright.services.transactions import retry
from tierwright.tables import FeatureRegistry

with warnings.catch_warnings():
    # The test client of the lowest Starlette uses a name that the newest anyio deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from fastapi.testclient import TestClient

Write = Callable[[Registry], Any]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
UNFIT = {"feature_type": "boolean", "default_value": {"enabled": False, "value": False}}

#: What an endpoint does -> the status, the code and the details that its client is told.
REFUSED: list[tuple[Write, int, str, dict[str, Any]]] = [
    (lambda registry: registry.features.retire("ui.ghost"), 404, "not-found", {"key": "ui.ghost"}),
    (lambda registry: registry.tiers.grant("ghost", {"ui.canvas": ON}), 404, "not-found", {"key": "ghost"}),
    (
        lambda registry: registry.overrides.set("acme", "ui.ghost", ON),
        422,
        "reference-unknown",
        {"unknown": ["ui.ghost"]},
    ),
    (
        lambda registry: registry.features.create(feature("ui.canvas")),
        409,
        "already-exists",
        {"feature_key": "ui.canvas"},
    ),
    (
        lambda registry: registry.features.change("ui.canvas", depends_on=["ui.limit"]),
        409,
        "cycle-refused",
        {"cycle": ["ui.canvas", "ui.limit", "ui.canvas"]},
    ),
    (
        lambda registry: registry.tiers.grant("empty", {"ui.limit": {"enabled": True, "value": 1}}),
        409,
        "prerequisite-broken",
        {"breaks": [{"tier_key": "empty", "feature_key": "ui.limit", "blocked_by": ["ui.canvas"]}]},
    ),
    (
        lambda registry: registry.overrides.set("acme", "ui.rival", ON),
        409,
        "conflict-refused",
        {"feature_key": "ui.rival", "blocked_by": ["ui.canvas"]},
    ),
    (lambda registry: registry.licenses.assign("acme", "closed"), 409, "tier-closed", {"tier_key": "closed"}),
    (lambda registry: registry.licenses.assign("acme", "deleted"), 409, "tier-deleted", {"tier_key": "deleted"}),
    (
        lambda registry: registry.features.change("ui.limit", **UNFIT),
        409,
        "still-in-use",
        {"feature_key": "ui.limit", "tiers": ["pro"]},
    ),
    (
        lambda registry: service(registry.session).configure("acme", "slack", {"channel": "#a"}, expected_version=7),
        409,
        "config-changed",
        {"expected_version": 7, "config_version": 0},
    ),
    (
        lambda registry: registry.features.create({"feature_key": "ui.new"}),
        400,
        "invalid-input",
        {"problems": [{"field": name, "problem": "Field required"} for name in ("feature_name", "category")]},
    ),
]
IDS = [f"{status} {code}" for _, status, code, _ in REFUSED]


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Return a database with an integration, and with tiers and tenants that stand in the way of writes."""
    offer(migrated_engine)
    with Session(migrated_engine) as session:
        registry = writer(session)
        seed(registry, "ui.canvas", integer("ui.limit", depends_on=["ui.canvas"]))
        seed(registry, feature("ui.rival", conflicts_with=["ui.canvas"]))
        for key in ("pro", "empty", "closed", "deleted"):
            registry.tiers.create(tier(key))
        registry.tiers.grant("pro", {"ui.canvas": ON, "ui.limit": {"enabled": True, "value": 5}})
        registry.tiers.retire("closed")
        registry.tiers.delete("deleted")
        registry.licenses.assign("acme", "pro")
        registry.overrides.set("initech", "ui.limit", {"enabled": True, "value": 9})
        session.commit()
    return migrated_engine


def serving(engine: Engine, write: Write, prepare: Callable[[FastAPI], Any] = install_handlers) -> FastAPI:
    """Return an application with an endpoint that writes in a transaction of its own."""
    app = FastAPI()
    prepare(app)

    @app.put("/", responses=WRITE_RESPONSES)
    def endpoint() -> str:
        with Session(engine) as session, session.begin():
            write(writer(session))
        return "written"

    return app


@pytest.fixture
def put(engine: Engine) -> Iterator[Callable[[Write], Any]]:
    """Return what asks an application whose endpoint does a write."""

    def ask(write: Write) -> Any:
        with TestClient(serving(engine, write), raise_server_exceptions=False) as client:
            return client.put("/")

    return ask


def test_each_refusal_has_its_status_and_says_what_to_do(put: Callable[[Write], Any]) -> None:
    for write, status, code, details in REFUSED:  # in one database: making one takes longer than asking it
        answer = put(write)
        told = answer.json()["detail"]
        assert (answer.status_code, told["code"]) == (status, code), told
        assert list(told) == ["code", "message", "remedy", "details"] == list(Refusal.model_fields)
        assert told["message"]
        assert told["remedy"]
        if code == "invalid-input":
            assert details["problems"][0] in told["details"]["problems"]
        else:
            assert told["details"] == details
        assert "Retry-After" not in answer.headers
    assert put(lambda registry: registry.features.retire("ui.rival")).json() == "written"


def test_a_lost_race_may_be_tried_again(put: Callable[[Write], Any]) -> None:
    def lose(registry: Registry) -> None:
        raise retry()

    answer = put(lose)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"]["code"] == "retry-transaction"


def test_a_moment_that_only_the_history_knows_is_422(put: Callable[[Write], Any]) -> None:
    answer = put(lambda registry: Entitlements(registry.session).check("acme", "ui.canvas", at=LONG_AGO))
    assert (answer.status_code, answer.json()["detail"]["code"]) == (422, "history-required")
    assert answer.json()["detail"]["details"]["at"] == LONG_AGO.isoformat()


def test_what_the_application_does_wrong_stays_a_500(put: Callable[[Write], Any], engine: Engine) -> None:
    copied = sa.insert(FeatureRegistry).from_select(["feature_key"], sa.select(FeatureRegistry.feature_key))
    assert put(lambda registry: registry.session.execute(copied)).status_code == 500
    with Session(engine) as session, pytest.raises(errors.Unrecordable):
        writer(session).session.execute(copied)


def _kinds(root: type[errors.TierwrightError]) -> set[type[errors.TierwrightError]]:
    return {root}.union(*(_kinds(child) for child in root.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(_kinds(errors.WriteRefused), key=lambda kind: kind.code))
def test_every_refusal_is_answered_or_is_the_applications_own(kind: type[errors.TierwrightError]) -> None:
    app = FastAPI()
    install_handlers(app)

    @app.get("/")
    def endpoint() -> None:
        raise kind("Found.", remedy="Do.", details={"key": "a", "tenants": ["other"], "constraint": "pk"})

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/")
    if kind in (errors.Unrecordable, errors.HistoryProtected):
        assert answer.status_code == 500
        assert "Found" not in answer.text
        return
    assert answer.status_code in (404, 409, 422)
    assert answer.json()["detail"] == {"code": kind.code, "message": "Found.", "remedy": "Do.", "details": {"key": "a"}}


# --- what clients are never told -------------------------------------------------------------------------------------


def test_details_name_no_other_tenant(put: Callable[[Write], Any]) -> None:
    """The feature cannot change because of a value that initech holds, and that is nobody else's business."""
    details = put(lambda registry: registry.features.change("ui.limit", **UNFIT)).json()["detail"]["details"]
    assert "initech" not in json.dumps(details)


@pytest.mark.parametrize(
    "document",
    [
        {"channel": 5, "bot_token": "hush-hush"},
        {"channel": "#a", "bot_token": ["hush-hush"]},
        {"channel": "#a", "bot_token": "xoxb", "api_key": "hush-hush"},
        {"channel": "#a", "region": "hush-hush", "bot_token": "xoxb"},
    ],
)
def test_settings_are_never_told_back(put: Callable[[Write], Any], document: dict[str, Any]) -> None:
    answer = put(lambda registry: service(registry.session).configure("acme", "slack", document))
    assert answer.status_code == 400
    assert answer.json()["detail"]["code"] in ("config-invalid", "secret-in-plain-config")
    assert answer.json()["detail"]["details"]
    assert "hush" not in answer.text


def test_what_is_not_on_the_list_is_not_told() -> None:
    error = errors.AlreadyExists("A.", remedy="B.", details={"tier_key": "pro", "driver_error": "password=hush"})
    assert refusal(error)["details"] == {"tier_key": "pro"}


# --- how it fits into an application ---------------------------------------------------------------------------------


async def _own(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse(type(error).__name__, 418)


def _ask(engine: Engine, prepare: Callable[[FastAPI], Any]) -> tuple[int, str]:
    app = serving(engine, lambda registry: registry.features.retire("ui.ghost"), prepare)
    with TestClient(app) as client:
        answer = client.put("/")
    return answer.status_code, answer.text


@pytest.mark.parametrize("kind", [errors.WriteRefused, errors.NotFound])
def test_a_handler_of_the_hosts_wins_wherever_it_stands(engine: Engine, kind: type[errors.TierwrightError]) -> None:
    def before(app: FastAPI) -> None:
        app.add_exception_handler(kind, _own)
        install_handlers(app)

    def after(app: FastAPI) -> None:
        install_handlers(app)
        app.add_exception_handler(kind, _own)

    assert _ask(engine, before) == _ask(engine, after) == (418, "NotFound")


def test_an_error_in_a_web_socket_does_not_get_lost() -> None:
    app = FastAPI()
    install_handlers(app)

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        raise errors.NotFound("There is no tier x.", remedy="Check the key.")

    with TestClient(app) as client, pytest.raises(errors.NotFound), client.websocket_connect("/ws"):
        pass


def test_the_documented_answers_are_the_real_ones(engine: Engine) -> None:
    app = serving(engine, lambda registry: None)
    responses = app.openapi()["paths"]["/"]["put"]["responses"]
    assert {"200", "400", "404", "409", "503"} == responses.keys()
    assert "Retry-After" in responses["503"]["headers"]
    assert app.openapi()["components"]["schemas"]["Refusal"]["required"] == list(Refusal.model_fields)
