"""Which tenant may use which feature, AI model, component and integration, and why.

from tierwright import Entitlements, SnapshotStore

store = SnapshotStore(engine)
Entitlements(session, store=store).check("acme", "agents.canvas")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierwright.errors import TierwrightError
    from tierwright.resolution.decision import Decision, Reason, Source
    from tierwright.services.aio import AsyncEntitlements
    from tierwright.services.audit import AuditContext
    from tierwright.services.entitlements import Entitlements
    from tierwright.services.registry import Registry
    from tierwright.services.resources import Availability
    from tierwright.services.transactions import run_in_transaction, run_in_transaction_async
    from tierwright.store import SnapshotStore

__all__ = [
    "AsyncEntitlements",
    "AuditContext",
    "Availability",
    "Decision",
    "Entitlements",
    "Reason",
    "Registry",
    "SnapshotStore",
    "Source",
    "TierwrightError",
    "run_in_transaction",
    "run_in_transaction_async",
]

_HOME = {
    "AsyncEntitlements": "tierwright.services.aio",
    "AuditContext": "tierwright.services.audit",
    "Availability": "tierwright.services.resources",
    "Decision": "tierwright.resolution.decision",
    "Entitlements": "tierwright.services.entitlements",
    "Reason": "tierwright.resolution.decision",
    "Registry": "tierwright.services.registry",
    "SnapshotStore": "tierwright.store",
    "Source": "tierwright.resolution.decision",
    "TierwrightError": "tierwright.errors",
    "run_in_transaction": "tierwright.services.transactions",
    "run_in_transaction_async": "tierwright.services.transactions",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: a migration does not pay for the resolver."""
    if name not in _HOME:
        raise AttributeError(f"module 'tierwright' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
