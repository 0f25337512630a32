"""FastAPI: endpoints that a tenant may call only with a feature.

from typing import Annotated

from fastapi import Depends, FastAPI
from tierwright import Decision
from tierwright.contrib.fastapi import require_feature, store_lifespan

app = FastAPI(lifespan=store_lifespan(engine))

@app.post("/canvas", dependencies=[Depends(require_feature("agents.canvas", tenant=get_tenant))])
async def canvas(): ...

@app.post("/seats")
async def seats(limit: Annotated[Decision, Depends(require_feature("limits.seats", tenant=get_tenant))]): ...
"""

from tierwright.errors import DependencyMissing

try:
    import fastapi  # noqa: F401
except ImportError as error:
    raise DependencyMissing(
        "FastAPI is not installed.", remedy="Install it: pip install 'tierwright[fastapi]'."
    ) from error

from tierwright.contrib.fastapi.dependencies import (
    entitlements_of,
    get_entitlements,
    get_store,
    get_sync_entitlements,
    store_lifespan,
)
from tierwright.contrib.fastapi.gate import require_feature
from tierwright.contrib.fastapi.problems import FEATURE_RESPONSES, GateClosed, Problem, install_handlers
from tierwright.contrib.fastapi.refusals import WRITE_RESPONSES, Refusal

__all__ = [
    "FEATURE_RESPONSES",
    "WRITE_RESPONSES",
    "GateClosed",
    "Problem",
    "Refusal",
    "entitlements_of",
    "get_entitlements",
    "get_store",
    "get_sync_entitlements",
    "install_handlers",
    "require_feature",
    "store_lifespan",
]
