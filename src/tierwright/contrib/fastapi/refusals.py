"""What a client is told when a write, or a question that needs the database, is refused."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tierwright.errors import (
    HistoryProtected,
    HistoryRequired,
    NotFound,
    ReferenceUnknown,
    RetryTransaction,
    TierwrightError,
    Unrecordable,
    WriteRefused,
)

#: Seconds after which a client may try again; the transaction that came first lasts milliseconds.
RETRY_AFTER = 1

#: The first that fits. A state that another write made is 409, as PostgREST and advanced-alchemy have it, and a request
#: that could never succeed as it is 422, as FastAPI has it.
_STATUS: dict[type[TierwrightError], int] = {
    NotFound: 404,
    ReferenceUnknown: 422,
    HistoryRequired: 422,
    RetryTransaction: 503,
    WriteRefused: 409,
}
#: No client can put these right: the application's code runs a statement that it must not. They stay a 500, and are
#: logged as one.
_OF_THE_APPLICATION = (Unrecordable, HistoryProtected)
#: Details that are keys of the catalogue, places in what was sent, versions or moments. What else there is, such as
#: other tenants who would lose something, or names of constraints, is for those who read logs.
_TOLD = frozenset(
    {
        "at",
        "blocked_by",
        "breaks",
        "component_key",
        "config_version",
        "count",
        "cycle",
        "expected_version",
        "feature_key",
        "features",
        "heirs",
        "ids",
        "integration_key",
        "key",
        "missing_secrets",
        "model_id",
        "named_by",
        "newest_change",
        "place",
        "places",
        "problems",
        "provider",
        "tier_key",
        "tiers",
        "unknown",
    }
)


class Refusal(BaseModel):
    """The ``detail`` of an answer to what was refused."""

    code: str = Field(description="A stable code, such as not-found, already-exists or retry-transaction.")
    message: str = Field(description="For people; not stable.")
    remedy: str = Field(description="What to do about it, for people; not stable.")
    details: dict[str, Any] = Field(description="Keys, places and versions, for machines.")


class RefusalBody(BaseModel):
    """The body of an answer to what was refused."""

    detail: Refusal


#: For ``responses=`` of routes that write: what the handlers may answer, for OpenAPI. 422 is not among them, so that
#: FastAPI's own stays described; ours has an object as ``detail``, where FastAPI's has a list.
WRITE_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": RefusalBody, "description": "A value breaks the contract of its field."},
    404: {"model": RefusalBody, "description": "What is to be changed does not exist."},
    409: {"model": RefusalBody, "description": "The write does not fit what is stored; nothing was written."},
    503: {
        "model": RefusalBody,
        "description": "Another transaction came first; nothing was written.",
        "headers": {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}},
    },
}


def refusal(error: TierwrightError) -> dict[str, Any]:
    """Return what a client is told about a refusal: code, message, remedy, and the details that may be told."""
    details = {name: value for name, value in error.details.items() if name in _TOLD}
    return {"code": error.code, "message": error.message, "remedy": error.remedy, "details": details}


def install(app: FastAPI) -> None:
    """Have refusals answered, except where the application has a handler for the same class already."""
    for kind in (WriteRefused, HistoryRequired, RetryTransaction):
        if kind not in app.exception_handlers:
            app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> JSONResponse:
    """Return the answer to a refusal; raise again what no client can put right, and what a web socket raised."""
    if not isinstance(error, TierwrightError) or isinstance(error, _OF_THE_APPLICATION):
        raise error
    if request.scope["type"] != "http":  # there is no answer that could be sent, and an error must not get lost
        raise error
    headers = {"Retry-After": str(RETRY_AFTER)} if isinstance(error, RetryTransaction) else None
    return JSONResponse({"detail": refusal(error)}, _status(error), headers)


def _status(error: TierwrightError) -> int:
    return next(status for kind, status in _STATUS.items() if isinstance(error, kind))
