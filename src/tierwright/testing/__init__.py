"""For the tests of applications that use tierwright.

The pytest plugin brings the fixtures ``grant``, ``override_features`` and ``seed``; the same things are here for other
uses. :mod:`tierwright.testing.suite` is the behaviour suite, for a database of your own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierwright.testing.memory_store import MemoryStore
    from tierwright.testing.overriding import override_features
    from tierwright.testing.seeding import seed

__all__ = ["MemoryStore", "override_features", "seed"]

_HOME = {
    "MemoryStore": "tierwright.testing.memory_store",
    "override_features": "tierwright.testing.overriding",
    "seed": "tierwright.testing.seeding",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the plugin is loaded in every run of pytest."""
    if name not in _HOME:
        raise AttributeError(f"module 'tierwright.testing' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
