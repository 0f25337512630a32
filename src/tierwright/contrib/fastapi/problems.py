"""What a client is told when it may not, or when nobody can tell."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tierwright.contrib.fastapi import refusals
from tierwright.errors import EntitlementsUnavailable, FeatureDenied, InvalidInput, TierwrightError
from tierwright.resolution.decision import Reason, Source

#: Seconds after which a client may try again; a store tries about once a second to read a database that is down.
RETRY_AFTER = 5


class Problem(BaseModel):
    """The ``detail`` of an answer that is not a success."""

    code: str = Field(description="A stable code: feature-denied, entitlements-unavailable or invalid-input.")
    message: str = Field(description="For people; not stable.")
    feature_key: str | None = Field(default=None, description="The feature that is needed.")
    reason: Reason | None = Field(default=None, description="The rule that decided.")
    source: Source | None = Field(default=None, description="The row that spoke first about the feature.")
    tier_key: str | None = Field(default=None, description="The tier of that row, if it belongs to one.")
    blocked_by: list[str] | None = Field(default=None, description="Missing prerequisites, or features in conflict.")
    expires_at: datetime | None = Field(default=None, description="Until when the decision's window lasts.")


class ProblemBody(BaseModel):
    """The body of an answer that is not a success."""

    detail: Problem


#: For ``responses=`` of an endpoint, a router or the application: what a gate may answer, for OpenAPI.
FEATURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemBody, "description": "The tenant's identifier is malformed."},
    403: {"model": ProblemBody, "description": "The tenant may not use the feature."},
    503: {
        "model": ProblemBody,
        "description": "Whether the tenant may use the feature is not known now.",
        "headers": {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}},
    },
}

_STATUS: dict[type[TierwrightError], int] = {FeatureDenied: 403, EntitlementsUnavailable: 503, InvalidInput: 400}


class GateClosed(HTTPException):
    """What :func:`require_feature` raises: 403 denied, 503 nobody can tell, 400 malformed tenant.

    A handler for this class may answer otherwise, such as with a page that offers an upgrade.

    Attributes:
        error: the typed error behind it.
    """

    def __init__(self, error: TierwrightError) -> None:
        super().__init__(_status(error), detail=problem(error), headers=_headers(error))
        self.error = error


def problem(error: TierwrightError) -> dict[str, Any]:
    """Return what a client is told about an error: its code, its message and the decision's facts."""
    facts = error.details if isinstance(error, FeatureDenied | EntitlementsUnavailable) else {}
    return {"code": error.code, "message": error.message, **facts}


def install_handlers(app: FastAPI) -> None:
    """Have the errors of ``require`` and ``value`` answered as a gate answers them, and refused writes too.

    FeatureDenied becomes 403, EntitlementsUnavailable 503, InvalidInput 400. Of writes, NotFound becomes 404,
    ReferenceUnknown 422, every other WriteRefused 409, and RetryTransaction 503; HistoryRequired becomes 422. What only
    the application can put right, such as Unrecordable, stays a 500.

    Args:
        app: the application; one handler per class, so that the host may replace any of them afterwards. A handler
            for WriteRefused, RetryTransaction or HistoryRequired that is there already stays.
    """
    for kind in _STATUS:
        app.add_exception_handler(kind, _answer)
    refusals.install(app)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, TierwrightError):  # it is registered for ours only
        raise error
    told = refusals.refusal(error) if isinstance(error, InvalidInput) else problem(error)
    return JSONResponse({"detail": told}, _status(error), _headers(error))


def _status(error: TierwrightError) -> int:
    return next(status for kind, status in _STATUS.items() if isinstance(error, kind))


def _headers(error: TierwrightError) -> dict[str, str] | None:
    return {"Retry-After": str(RETRY_AFTER)} if isinstance(error, EntitlementsUnavailable) else None
